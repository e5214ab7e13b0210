"""What the ledger has counted and added up as it grew: as fast on a large ledger as on a small one.

And the same, counted again from the rows themselves, for `verify` to compare.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from operator import add
from typing import Final, NamedTuple

from prodlensd.ledger.connection import ReadOnly
from prodlensd.ledger.sums import exact_sums, joined
from prodlensd.ledger.writing import TOTALLED, TotalsBySource
from prodlensd.model import US_PER_DAY

_SUMS: Final = exact_sums(TOTALLED)


class Group(NamedTuple):
    """Traces of one day (days since 1970) that have these values in common; the sum of costs."""

    day: int
    source_id: int
    cost_source: str
    anomalies: str | None
    disputed: str | None
    traces: int
    nanousd: int


@dataclass(frozen=True, slots=True)
class TallyReader:
    """The ledger's tallies and totals, as they are kept and as they are counted again."""

    ledger: ReadOnly

    def tally(self, column: str) -> dict[str, int]:
        """How many traces have each value of a column, or open dead letters each `reason`."""
        sql = "SELECT value, traces FROM tally WHERE column = ? AND traces > 0 ORDER BY value"
        return dict(self.ledger.all(sql, (column,)))

    def anomalies(self) -> dict[str, int]:
        """How many traces had each anomaly."""
        counts: Counter[str] = Counter()
        for kinds, traces in self.tally("anomalies").items():
            counts.update(dict.fromkeys(kinds.split(","), traces))
        return dict(counts)

    def tallies(self) -> dict[tuple[str, str], int]:
        """Every tally, by its column and value."""
        rows = self.ledger.all("SELECT column, value, traces FROM tally")
        return {(column, value): traces for column, value, traces in rows}

    def totals_by_source(self) -> TotalsBySource:
        """What the traces of each cost_source add up to: TOTALLED, in its order."""
        sql = f"SELECT cost_source, {', '.join(TOTALLED)} FROM total ORDER BY 1"  # noqa: S608
        return {source: list(map(int, sums)) for source, *sums in self.ledger.all(sql)}

    def recount(self, calls: str = "trace") -> tuple[TotalsBySource, Counter[tuple[str, str]]]:
        """The totals, and the tallies of `status`, counted from the rows of `calls`."""
        totals: TotalsBySource = {}
        tallies: Counter[tuple[str, str]] = Counter()
        sql = f"SELECT cost_source, status, count(*), {_SUMS} FROM {calls} GROUP BY 1, 2"  # noqa: S608
        for source, status, traces, *sums in self.ledger.all(sql):
            tallies["status", status] += traces
            before = totals.get(source, [0] * len(TOTALLED))
            new = [value or 0 for value in joined(sums)]
            totals[source] = list(map(add, before, new))
        return totals, tallies

    def recount_reasons(self) -> Counter[tuple[str, str]]:
        """The tallies of `reason`, counted from the open dead letters themselves."""
        sql = "SELECT reason, count(*) FROM dead_letter WHERE state = 'open' GROUP BY 1"
        letters = self.ledger.all(sql)
        return Counter({("reason", reason): count for reason, count in letters})

    def groups(self, calls: str = "trace") -> Iterator[Group]:
        """All rows of `calls`, counted."""
        # Before 1970 the quotient is to be rounded down as well.
        day = f"(started_us - (started_us % {US_PER_DAY} + {US_PER_DAY}) % {US_PER_DAY})"
        sql = (
            f"SELECT {day} / {US_PER_DAY}, source_id, cost_source, anomalies, disputed, "  # noqa: S608
            f"count(*), {exact_sums(['cost_nanousd'])} FROM {calls} GROUP BY 1, 2, 3, 4, 5"
        )
        for *group, high, low in self.ledger.all(sql):
            (nanousd,) = joined([high, low])
            yield Group._make((*group, nanousd or 0))
