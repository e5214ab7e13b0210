"""Prices calls again, each at the prices of its own time, and adds up what changed.

Calls are priced first, CALLS_AT_ONCE at a time, and then their changes are written in one
transaction: the ledger is locked only for that. This can be killed at any moment and run again: a
change is written whole, with its history and with all that counts it, and a second run does the
rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final, NamedTuple

from msgspec import Struct, field

from prodlensd.ledger import Change, Reader, Selected, Selection
from prodlensd.pricing import Pricer


class Kind(NamedTuple):
    """What changes have in common that are added up together."""

    provider: str | None
    model: str | None
    old_source: str
    new_source: str


class Sum(NamedTuple):
    """How many calls, and what they cost before and after, in nano-dollars."""

    calls: int = 0
    old_nanousd: int = 0
    new_nanousd: int = 0


class Repriced(Struct):
    """What became of the selected calls."""

    seen: int = 0
    unpriced: int = 0  # of those seen, still without a price, if on a plan at the API
    pruned: int = 0  # calls of those days that are in snapshots only: not priced again
    changes: dict[Kind, Sum] = field(default_factory=dict)

    @property
    def total(self) -> Sum:
        """All changes together."""
        return Sum(*map(sum, zip(Sum(), *self.changes.values(), strict=True)))

    def add(self, change: Change) -> None:
        """Adds a change that was made, or would be."""
        trace, old, new = change.trace, change.old, change.new
        kind = Kind(trace.provider, trace.model, old.source, new.source)
        calls, before, after = self.changes.get(kind, Sum())
        self.changes[kind] = Sum(calls + 1, before + (old.nanousd or 0), after + (new.nanousd or 0))


#: How many calls are priced at once, and so the most changes of one transaction: it takes
#: milliseconds, and the daemon commits in between.
CALLS_AT_ONCE: Final = 200
#: Writes changes in one transaction; returns those that were made.
Write = Callable[[Sequence[Change]], Sequence[Change]]


def reprice(
    reader: Reader,
    selection: Selection,
    *,
    pricer: Pricer,
    write: Write,
    turn: AbstractContextManager[object],
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Repriced:
    """Prices the selected calls again; `progress` is called with the days done and all days.

    `turn` is entered for each transaction, so that other programs can write in between. Raises
    LedgerError, or OSError when a price cannot be asked; what was written before is done.
    """
    days = reader.prices.days(selection)
    repriced = Repriced(pruned=reader.prices.pruned(days))
    for done, day in enumerate(days):
        progress(done, len(days))
        for calls in reader.prices.calls(day, selection, CALLS_AT_ONCE):
            pricer.expect([trace for trace, *_ in calls])
            if changes := _changes(calls, pricer, repriced):
                with turn:
                    made = write(changes)
                for change in made:
                    repriced.add(change)
    progress(len(days), len(days))
    return repriced


def _changes(calls: list[Selected], pricer: Pricer, repriced: Repriced) -> list[Change]:
    changes = []
    for trace, old in calls:
        new = pricer.price(trace)
        repriced.seen += 1
        repriced.unpriced += not new.is_known
        if new[:3] != old[:3]:
            changes.append(Change(trace, old, new))
    return changes


def write_nothing(changes: Sequence[Change]) -> Sequence[Change]:
    """Stands in for writing in a dry run: what would change."""
    return changes
