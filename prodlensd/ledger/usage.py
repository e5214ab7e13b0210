"""What the calls of a span of time add up to: the SQL behind `report`.

Every span is [from, until) in microseconds since 1970: a range of the primary key.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from prodlensd.ledger.calls import CallReader
from prodlensd.ledger.connection import Database, translated
from prodlensd.ledger.days import Span
from prodlensd.ledger.schema import REASON_WORD
from prodlensd.ledger.sums import exact_sums, joined

#: What calls can be grouped by → its column, and the column of how the value was found.
COLUMNS: Final[dict[str, tuple[str, str | None]]] = {
    "developer": ("developer_id", "developer_via"),
    "model": ("model", None),
    "provider": ("provider", None),
    "repo": ("repo_slug", None),
    "session": ("session_id", "session_via"),
}

#: One value for each name in `by`; None where calls have none.
Key = tuple[str | None, ...]

# ruff: noqa: S608 - statements are put together from names of columns
_SPAN: Final = "WHERE started_us >= ? AND started_us < ?"
# The proxy's id of the client's request, which its retries and fallbacks share. A call without one
# is a request of its own, identified by its digest.
_REQUEST: Final = (
    "coalesce(call_id, iif(typeof(key) = 'text', substr(key, 1, instr(key, ' ') - 1), key))"
)
_ALL_TOKENS: Final = "coalesce(total_tokens, tokens_in + tokens_out, tokens_in, tokens_out)"
#: What is added up, in the order of the fields of `Sums` from `tokens_in` on.
_SUMMED: Final = (
    *("tokens_in", "tokens_out", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens"),
    "cost_nanousd",
    f"iif(cost_source = 'unpriced', {_ALL_TOKENS}, NULL)",
)
_SUMS: Final = f"count(*), sum(status = 'failure'), {exact_sums(_SUMMED)}"


class Sums(NamedTuple):
    """Calls with one key, one way in which each name was found, and one source of their price.

    Of unpriced calls also one word of why (see `model.UNPRICED_REASONS`); None: not known.

    A sum is None when no call has a value; `unpriced_tokens` are those of calls without a price.
    """

    key: Key
    via: Key
    cost_source: str
    unpriced_reason: str | None
    calls: int
    errors: int
    tokens_in: int | None
    tokens_out: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    cost_nanousd: int | None
    unpriced_tokens: int | None


class Requests(NamedTuple):
    """How many requests clients made, each of one call or more, and how many had no success."""

    requests: int = 0
    failed_requests: int = 0


class Cost(NamedTuple):
    """How many calls one key has, and what they cost; None when no cost is known."""

    key: Key
    calls: int
    nanousd: int | None


class Latency(NamedTuple):
    """Percentiles over the successful calls that carry a latency; None when there is none."""

    p50_ms: float | None = None
    p95_ms: float | None = None


#: The calls of the groups that `show` was given, and all others.
SHOWN: Final = "temp.shown_call"
REST: Final = "temp.rest_call"


@dataclass(frozen=True, slots=True)
class UsageReader:
    """Adds up calls; `by` are names out of COLUMNS.

    `calls` narrows an answer to SHOWN or to REST; None: all calls.
    """

    ledger: Database
    all_calls: CallReader

    def _from(self, calls: str | None) -> str:
        return f"FROM {calls or self.all_calls.table} {_SPAN}"

    def has_more_groups(self, most: int, by: Sequence[str], spans: Iterable[Span]) -> bool:
        """Whether these spans have more than `most` groups in all, without counting them all."""
        sql = f"SELECT DISTINCT {', '.join(_columns(by))} {self._from(None)} LIMIT ?"
        for from_us, until_us in spans:
            counted = f"SELECT count(*) FROM ({sql})"
            most -= self.ledger.value(counted, (from_us, until_us, most + 1))
            if most < 0:
                return True
        return False

    def costs(self, by: Sequence[str], from_us: int, until_us: int) -> Iterator[Cost]:
        """What the calls of each key cost, one key at a time: there may be millions."""
        values = ["count(*)", exact_sums(["cost_nanousd"])]
        grouped = self._grouped(_columns(by), values, self._from(None), (from_us, until_us))
        for key, (calls, *halves) in grouped:
            yield Cost(key, calls, *joined(halves))

    def show(self, by: Sequence[str], groups: Iterable[tuple[Span, Key]]) -> None:
        """Divides all calls into those of these groups, SHOWN, and REST. Can be called once."""
        columns = _columns(by)
        names = ", ".join(columns)
        same = " AND ".join(f"shown.{column} IS call.{column}" for column in columns)
        # Not EXISTS, which SQLite may turn into a join that reads the calls once for each group.
        is_shown = (
            f"(SELECT count(*) FROM temp.shown WHERE {same} "
            "AND call.started_us >= from_us AND call.started_us < until_us)"
        )
        insert = f"INSERT INTO temp.shown VALUES ({', '.join('?' * (len(columns) + 2))})"
        db = self.ledger.db
        with translated(self.ledger.path):
            db.execute(
                f"CREATE TEMP TABLE shown ({names}, from_us, until_us, "
                f"PRIMARY KEY ({names}, from_us))"
            )
            for view, which in (("shown_call", is_shown), ("rest_call", f"NOT {is_shown}")):
                select = f"SELECT * FROM {self.all_calls.table} AS call WHERE {which}"
                db.execute(f"CREATE TEMP VIEW {view} AS {select}")
            db.executemany(insert, ((*key, *span) for span, key in groups))

    def sums(
        self, by: Sequence[str], from_us: int, until_us: int, calls: str | None = None
    ) -> Iterator[Sums]:
        """The calls of the span, counted and added up."""
        columns, vias = _columns(by), [via or "NULL" for _, via in map(COLUMNS.__getitem__, by)]
        keys = ", ".join([*columns, *vias, "cost_source", REASON_WORD])
        groups = ", ".join(str(number) for number in range(1, 2 * len(by) + 3))
        sql = f"SELECT {keys}, {_SUMS} {self._from(calls)} GROUP BY {groups}"
        middle, end = len(by), 2 * len(by)
        for row in self.ledger.all(sql, (from_us, until_us)):
            source, reason, count, errors, *halves = row[end:]
            sums = joined(halves)
            yield Sums(row[:middle], row[middle:end], source, reason, count, errors, *sums)

    def requests(
        self, by: Sequence[str], from_us: int, until_us: int, calls: str | None = None
    ) -> dict[Key, Requests]:
        """The requests behind the calls of each key."""
        columns = _columns(by)
        each = ", ".join([*columns, "max(status = 'success') AS succeeded"])
        request = ", ".join([*columns, _REQUEST])
        origin = f"FROM (SELECT {each} {self._from(calls)} GROUP BY {request})"
        counts = ["count(*)", "coalesce(sum(NOT succeeded), 0)"]
        return {
            key: Requests(*values)
            for key, values in self._grouped(columns, counts, origin, (from_us, until_us))
        }

    def latencies(
        self, by: Sequence[str], from_us: int, until_us: int, calls: str | None = None
    ) -> dict[Key, Latency]:
        """How long the calls of each key took."""
        took = "iif(status = 'success', latency_ms, NULL)"
        shares = [f"percentile_cont({took}, {share})" for share in (0.5, 0.95)]
        origin, span = self._from(calls), (from_us, until_us)
        return {
            key: Latency(*values)
            for key, values in self._grouped(_columns(by), shares, origin, span)
        }

    def _grouped(
        self, keys: list[str], values: list[str], origin: str, span: tuple[int, int]
    ) -> Iterator[tuple[Key, tuple[Any, ...]]]:
        """Each key with its values; without keys, the values of all."""
        grouping = f"GROUP BY {', '.join(keys)}" if keys else ""
        sql = f"SELECT {', '.join(keys + values)} {origin} {grouping}"
        for row in self.ledger.all(sql, span):
            yield row[: len(keys)], row[len(keys) :]


def _columns(by: Sequence[str]) -> list[str]:
    return [COLUMNS[name][0] for name in by]
