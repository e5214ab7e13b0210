"""Prices calls again, each at the prices of its own time, and says what changed.

Calls are priced first, some at a time, and then their changes are written, in one transaction: the
ledger is held for no longer than that takes. Whoever reprices may be killed at any moment and run
again: what was written is whole, each call's change with its history and all that counts it, and a
second run does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from prodlensd.ledger import Change, Reader, Selected, Selection
from prodlensd.model import Price, Trace


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


#: How many calls are priced at once, and so the most changes of one transaction: few enough for the
#: daemon to commit in between without anybody noticing.
CALLS_AT_ONCE: Final = 200
#: Writes changes of one day (days since 1970) in one transaction; returns those that were made.
Write = Callable[[int, Sequence[Change]], Sequence[Change]]


def reprice(
    reader: Reader,
    selection: Selection,
    *,
    price: Callable[[Trace], Price],
    write: Write,
    turn: AbstractContextManager[object],
    expect: Callable[[list[Trace]], None] = lambda _traces: None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Repriced:
    """Prices the selected calls again; `progress` hears how many days of how many are done.

    `expect` is given the calls before they are priced, some at a time. `turn` is entered for each
    transaction, so that others can have theirs in between. Raises LedgerError, or OSError when a
    price cannot be asked; what was written before is done.
    """
    days = reader.prices.days(selection)
    repriced = Repriced(pruned=reader.prices.pruned(days))
    for done, day in enumerate(days):
        progress(done, len(days))
        for calls in reader.prices.calls(day, selection, CALLS_AT_ONCE):
            expect([trace for trace, *_ in calls])
            if changes := _changes(calls, price, repriced):
                with turn:
                    made = write(day, changes)
                for change in made:
                    repriced.add(change)
    progress(len(days), len(days))
    return repriced


def _changes(
    calls: list[Selected], price: Callable[[Trace], Price], repriced: Repriced
) -> list[Change]:
    changes = []
    for trace, gateway_nanousd, old in calls:
        new = price(trace)
        repriced.seen += 1
        repriced.unpriced += new.nanousd is None
        if new[:3] != old[:3]:
            changes.append(Change(trace, gateway_nanousd, old, new))
    return changes


def write_nothing(_day: int, changes: Sequence[Change]) -> Sequence[Change]:
    """What would change."""
    return changes
