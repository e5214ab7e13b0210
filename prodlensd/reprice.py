"""Prices calls again, each at the prices of its own time, and says what changed.

A day is one transaction: whoever reprices may be killed at any moment and run again, and a second
run finds nothing to change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from prodlensd.model import Price, Trace
from prodlensd.store import Change, PriceReader, Selection


class Kind(NamedTuple):
    """Changes alike."""

    provider: str | None
    model: str | None
    old_source: str
    new_source: str


class Sum(NamedTuple):
    """How many calls, and what they cost before and after, in nano-dollars."""

    calls: int = 0
    old_nanousd: int = 0
    new_nanousd: int = 0


@dataclass(slots=True)
class Repriced:
    """What became of the calls that were looked at."""

    seen: int = 0
    unpriced: int = 0  # of those seen, still without a price
    pruned: int = 0  # calls of those days that are in snapshots only, and were not looked at
    changes: dict[Kind, Sum] = field(default_factory=dict)

    @property
    def total(self) -> Sum:
        """All changes together."""
        return Sum(*map(sum, zip(Sum(), *self.changes.values(), strict=True)))

    def add(self, change: Change) -> None:
        """Counts a change that was made, or would be."""
        trace, old, new = change.trace, change.old, change.new
        kind = Kind(trace.provider, trace.model, old.source, new.source)
        calls, before, after = self.changes.get(kind, Sum())
        self.changes[kind] = Sum(calls + 1, before + (old.nanousd or 0), after + (new.nanousd or 0))


#: Writes the changes of one day (days since 1970) as they come, and yields those that were made.
Write = Callable[[int, Iterator[Change]], Iterator[Change]]


def reprice(
    reader: PriceReader,
    selection: Selection,
    *,
    price: Callable[[Trace], Price],
    write: Write,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Repriced:
    """Prices the selected calls again; `progress` is told how many days of how many are done.

    Raises StoreError, or OSError when a price cannot be asked; the days before are then done.
    """
    days = reader.days(selection)
    repriced = Repriced(pruned=reader.pruned(days))
    for done, day in enumerate(days):
        progress(done, len(days))
        for change in write(day, _changes(reader, day, selection, price, repriced)):
            repriced.add(change)
    progress(len(days), len(days))
    return repriced


def _changes(
    reader: PriceReader,
    day: int,
    selection: Selection,
    price: Callable[[Trace], Price],
    repriced: Repriced,
) -> Iterator[Change]:
    for trace, gateway_nanousd, old in reader.calls(day, selection):
        new = price(trace)
        repriced.seen += 1
        repriced.unpriced += new.nanousd is None
        if new[:3] != old[:3]:
            yield Change(trace, gateway_nanousd, old, new)


def write_nothing(_day: int, changes: Iterator[Change]) -> Iterator[Change]:
    """What would change."""
    return changes
