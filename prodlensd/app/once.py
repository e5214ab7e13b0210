"""One pass over the logs, for the person who asked for it: how far it is, and what was new."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from prodlensd.ledger import TOTALLED, Counts, Reader, Tail

#: (done, of how many).
Progress = Callable[[int, int], None]

_COST: Final = TOTALLED.index("cost_nanousd")


class Held(NamedTuple):
    """What a ledger holds: its lines by source, and the cost of its calls."""

    counts: Counts
    lines: dict[int, int]
    nanousd: int
    unpriced: int  # calls without a price

    @property
    def files(self) -> int:
        """The sources that have lines."""
        return sum(lines > 0 for lines in self.lines.values())

    def since(self, before: Held) -> Held:
        """What it holds that it did not hold before."""
        new = {source: n - before.lines.get(source, 0) for source, n in self.lines.items()}
        return Held(
            Counts(*(b - a for a, b in zip(before.counts, self.counts, strict=True))),
            new,
            # A richer record of a known call may have changed what that costs.
            max(0, self.nanousd - before.nanousd),
            max(0, self.unpriced - before.unpriced),
        )


class Pass:
    """A pass of the daemon. `bar` shows how far it is: it gets the bytes read, and of how many.

    The mutable state: what the ledger held before and at the end.
    """

    def __init__(
        self, ledger_path: Path, bar: Callable[[], AbstractContextManager[Progress]]
    ) -> None:
        self._ledger_path = ledger_path
        self._bar = bar
        self._before: Held | None = None
        self.held: Held | None = None

    @property
    def new(self) -> Held | None:
        """What was new; None before the end."""
        return None if self.held is None or self._before is None else self.held.since(self._before)

    @contextmanager
    def watched(self) -> Iterator[Callable[[], None]]:
        """Notes what is new by the end; what it gives is to be called now and then, for the bar.

        Raises LedgerError.
        """
        self._before = self._look()
        began_bytes = sum(tail.offset for tail in self._tails())
        with self._bar() as progress:

            def step() -> None:
                tails = self._tails()
                read_bytes = sum(tail.offset for tail in tails) - began_bytes
                unread_bytes = sum(max(0, tail.size_bytes - tail.offset) for tail in tails)
                progress(read_bytes, read_bytes + unread_bytes)

            yield step
        self.held = self._look()

    def _look(self) -> Held:
        with Reader(self._ledger_path) as reader:
            return _held(reader)

    def _tails(self) -> list[Tail]:
        with Reader(self._ledger_path) as reader:
            return reader.sources.tails()


def _held(reader: Reader) -> Held:
    totals = reader.tallies.totals_by_source().values()
    return Held(
        reader.sources.counts(),
        {source.checkpoint.source_id: source.counts.lines for source in reader.sources.all()},
        sum(sums[_COST] for sums in totals),
        reader.tallies.tally("cost_source").get("unpriced", 0),
    )
