"""What the ledger counts and adds up as it grows: as fast on a large ledger as on a small one.

A tally is how many traces have a value of a column; a total is the sum of a column over the traces
of a cost_source. Both can be counted again from the rows themselves, for `verify` to compare.

Of `unpriced_reason` the words are tallied, without the names behind them. A call on a plan has a
cost; where only its price at the API is not known, "plan " stands before the word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import add
from typing import Any, Final, NamedTuple

from msgspec import Struct

from prodlensd.ledger.connection import Database
from prodlensd.ledger.rows import Row, value_of
from prodlensd.ledger.schema import REASON_WORD
from prodlensd.ledger.spent import ON_PLAN
from prodlensd.ledger.sums import exact_sums, joined
from prodlensd.ledger.transactions import Writer
from prodlensd.model import US_PER_DAY

#: What the ledger adds up for each cost_source: the columns of `total`, which has no more of them.
TOTALLED: Final = (
    "cost_nanousd",
    "tokens_in",
    "tokens_out",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
)
#: One sum for each of TOTALLED, by cost_source.
TotalsBySource = dict[str, list[int]]
_SUMS: Final = exact_sums(TOTALLED)
_OF_PLAN: Final = f"{ON_PLAN} "
_REASON_WORD: Final = f"iif(cost_source = '{ON_PLAN}', '{_OF_PLAN}', '') || {REASON_WORD}"


class CountedTraces(NamedTuple):
    """Traces of one day (days since 1970) that have these values in common; the sum of costs."""

    day: int
    source_id: int
    cost_source: str
    anomalies: str | None
    disputed: str | None
    traces: int
    nanousd: int


class TallyReader(Struct, frozen=True):
    """The ledger's tallies and totals, as they are kept and as they are counted again."""

    ledger: Database

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

    def unpriced_reasons(self) -> dict[str, int]:
        """How many traces have no price, for each reason."""
        return {word: n for word, n in self._reasons() if not word.startswith(_OF_PLAN)}

    def unpriced_on_plan(self) -> int:
        """How many traces on a plan have no price at the API."""
        return sum(n for word, n in self._reasons() if word.startswith(_OF_PLAN))

    def _reasons(self) -> Iterable[tuple[str, int]]:
        return self.tally("unpriced_reason").items()

    def tallies(self) -> dict[tuple[str, str], int]:
        """Every tally, by its column and value."""
        rows = self.ledger.all("SELECT column, value, traces FROM tally")
        return {(column, value): traces for column, value, traces in rows}

    def totals_by_source(self) -> TotalsBySource:
        """What the traces of each cost_source add up to: TOTALLED, in its order."""
        sql = f"SELECT cost_source, {', '.join(TOTALLED)} FROM total ORDER BY 1"
        return {source: list(map(int, sums)) for source, *sums in self.ledger.all(sql)}

    def recount(self, calls: str = "trace") -> tuple[TotalsBySource, Counter[tuple[str, str]]]:
        """The totals, and the tallies of `status` and of `unpriced_reason`, from these rows."""
        totals: TotalsBySource = {}
        tallies: Counter[tuple[str, str]] = Counter()
        sql = (
            f"SELECT cost_source, status, {_REASON_WORD}, count(*), {_SUMS} FROM {calls} "
            "GROUP BY 1, 2, 3"
        )
        for source, status, reason, traces, *sums in self.ledger.all(sql):
            tallies["status", status] += traces
            if reason is not None:
                tallies["unpriced_reason", reason] += traces
            before = totals.get(source, [0] * len(TOTALLED))
            new = [value or 0 for value in joined(sums)]
            totals[source] = list(map(add, before, new))
        return totals, tallies

    def recount_reasons(self) -> Counter[tuple[str, str]]:
        """The tallies of `reason`, counted from the open dead letters themselves."""
        sql = "SELECT reason, count(*) FROM dead_letter WHERE state = 'open' GROUP BY 1"
        letters = self.ledger.all(sql)
        return Counter({("reason", reason): count for reason, count in letters})

    def groups(self, calls: str = "trace") -> Iterator[CountedTraces]:
        """All rows of `calls`, counted."""
        # Before 1970 the quotient is to be rounded down as well.
        day = f"(started_us - (started_us % {US_PER_DAY} + {US_PER_DAY}) % {US_PER_DAY})"
        sql = (
            f"SELECT {day} / {US_PER_DAY}, source_id, cost_source, anomalies, disputed, "
            f"count(*), {exact_sums(['cost_nanousd'])} FROM {calls} GROUP BY 1, 2, 3, 4, 5"
        )
        for *group, high, low in self.ledger.all(sql):
            (nanousd,) = joined([high, low])
            yield CountedTraces._make((*group, nanousd or 0))


# ruff: noqa: S608 - statements are put together from names of columns
_COUNT: Final = """
    INSERT INTO tally (column, value, traces) VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET traces = traces + excluded.traces
"""
_TOTAL_OF: Final = f"SELECT {', '.join(TOTALLED)} FROM total WHERE cost_source = ?"
_SET_TOTAL: Final = f"INSERT OR REPLACE INTO total VALUES (?{', ?' * len(TOTALLED)})"
_COST_SOURCE: Final = value_of("cost_source")
_COSTS: Final = value_of("gateway_nanousd", "table_nanousd")
_REASON: Final = value_of("unpriced_reason")
_REASON_AND_SOURCE: Final = value_of("unpriced_reason", "cost_source")
_TALLIED: Final = {name: value_of(name) for name in ("status", "anomalies", "cost_source")}
_TOTALLED: Final = tuple(map(value_of, TOTALLED))


def count_disputed(costs: Iterable[tuple[int | None, int | None]]) -> int:
    """How many costs by gateway and by table are a factor of two apart: see `schema.DISPUTED`.

    Counted at once, in a quarter of the time that a call for each pair would take.
    """
    return sum(1 for a, b in costs if a and b is not None and (a > 2 * b or b > 2 * a))


def count_words(reasons: Iterable[tuple[str, str]]) -> Counter[str]:
    """How often each word of `unpriced_reason` is there, by that and the cost_source of calls."""
    return Counter(
        f"{_OF_PLAN if source == ON_PLAN else ''}{reason.partition(':')[0]}"
        for reason, source in reasons
    )


class Tallies:
    """Keeps the tallies and totals, within a transaction. Without state of its own."""

    def __init__(self, ledger: Writer) -> None:
        self._ledger = ledger

    def add(self, rows: Sequence[Row], sign: int = 1) -> None:
        """Counts these rows and adds them up; with the sign -1 it takes them out again.

        Column by column: one loop over the rows takes half as long again.
        """
        for column, value in _TALLIED.items():
            self.count(column, Counter(map(value, rows)), sign)
        self.count("disputed", {"yes": count_disputed(map(_COSTS, rows))}, sign)
        unpriced = map(_REASON_AND_SOURCE, filter(_REASON, rows))
        self.count("unpriced_reason", count_words(unpriced), sign)
        sources = set(map(_COST_SOURCE, rows))
        for source in sources:
            its = rows if len(sources) == 1 else [r for r in rows if _COST_SOURCE(r) == source]
            sums = (sum(filter(None, map(value, its))) for value in _TOTALLED)
            self.add_up({source: [sign * total for total in sums]})

    def count(self, column: str, counts: Mapping[Any, int], sign: int = 1) -> None:
        """Adds to how many traces have each value of a column, or dead letters each reason.

        That a column has no value is not counted.
        """
        counted = [(column, value, sign * n) for value, n in counts.items() if value and n]
        self._ledger.db.executemany(_COUNT, counted)

    def add_up(self, totals: TotalsBySource) -> None:
        """Adds to what the traces of each cost_source add up to."""
        for source, sums in totals.items():
            if not any(sums):
                continue
            before = self._ledger.db.execute(_TOTAL_OF, (source,)).fetchone() or [0] * len(TOTALLED)
            after = [str(int(old) + new) for old, new in zip(before, sums, strict=True)]
            self._ledger.db.execute(_SET_TOTAL, (source, *after))
