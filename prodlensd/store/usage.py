"""What the calls of a span of time add up to: the SQL behind `report`.

Every span is [from, until) in microseconds since 1970, and is found by the primary key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from prodlensd.store.calls import CallReader
from prodlensd.store.sums import exact_sums, joined

#: What calls can be told apart by → its column, and the column that says how it was found.
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
# The gateway's id of the client's request, which its retries and fallbacks share. A call that has
# none is a request of its own, known by its digest.
_REQUEST: Final = (
    "coalesce(call_id, iif(typeof(key) = 'text', substr(key, 1, instr(key, ' ') - 1), key))"
)
_ALL_TOKENS: Final = "coalesce(total_tokens, tokens_in + tokens_out, tokens_in, tokens_out)"
#: What is summed up, in the order of the fields of `Sums` from `tokens_in` on.
_SUMMED: Final = (
    *("tokens_in", "tokens_out", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens"),
    "cost_nanousd",
    f"iif(cost_source = 'unpriced', {_ALL_TOKENS}, NULL)",
)
_SUMS: Final = f"count(*), sum(status = 'failure'), {exact_sums(_SUMMED)}"


class Sums(NamedTuple):
    """Calls with one key, one way in which each name was found, and one source of their price.

    A sum is None when no call has a value; `unpriced_tokens` are those of calls without a price.
    """

    key: Key
    via: Key
    cost_source: str
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
    """Requests of clients, each one call or more, and those of which no call succeeded."""

    requests: int = 0
    failed_requests: int = 0


class Latency(NamedTuple):
    """Percentiles over the successful calls that carry a latency; None when there is none."""

    p50_ms: float | None = None
    p95_ms: float | None = None


class UsageReader(CallReader):
    """A read-only view of the ledger that adds up calls; `by` are names out of COLUMNS."""

    @property
    def _span(self) -> str:
        return f"FROM {self._calls} {_SPAN}"

    def first_call_us(self, from_us: int, until_us: int) -> int | None:
        """When the first call of the span started; None when it has none."""
        first = [
            f"SELECT min(started_us) AS at_us FROM {table} {_SPAN}" for table in ("trace", "pruned")
        ]
        sql = f"SELECT min(at_us) FROM ({' UNION ALL '.join(first)})"
        ((at_us,),) = self._all(sql, (from_us, until_us) * 2)
        return None if at_us is None else int(at_us)

    def last_call_us(self) -> int | None:
        """When the last call of all started."""
        sql = (
            "SELECT max(at_us) FROM (SELECT max(started_us) AS at_us FROM trace "
            "UNION ALL SELECT max(started_us) FROM pruned)"
        )
        ((at_us,),) = self._all(sql)
        return None if at_us is None else int(at_us)

    def sums(self, by: Sequence[str], from_us: int, until_us: int) -> Iterator[Sums]:
        """The calls of the span, counted and added up."""
        columns, vias = _columns(by), [via or "NULL" for _, via in map(COLUMNS.__getitem__, by)]
        keys = ", ".join([*columns, *vias, "cost_source"])
        groups = ", ".join(str(number) for number in range(1, 2 * len(by) + 2))
        sql = f"SELECT {keys}, {_SUMS} {self._span} GROUP BY {groups}"
        middle, end = len(by), 2 * len(by)
        for row in self._all(sql, (from_us, until_us)):
            source, calls, errors, *halves = row[end:]
            yield Sums(row[:middle], row[middle:end], source, calls, errors, *joined(halves))

    def requests(self, by: Sequence[str], from_us: int, until_us: int) -> dict[Key, Requests]:
        """The requests behind the calls of each key."""
        columns = _columns(by)
        each = ", ".join([*columns, "max(status = 'success') AS succeeded"])
        request = ", ".join([*columns, _REQUEST])
        origin = f"FROM (SELECT {each} {self._span} GROUP BY {request})"
        counts = ["count(*)", "coalesce(sum(NOT succeeded), 0)"]
        return {
            key: Requests(*values)
            for key, values in self._grouped(columns, counts, origin, (from_us, until_us))
        }

    def latencies(self, by: Sequence[str], from_us: int, until_us: int) -> dict[Key, Latency]:
        """How long the calls of each key took."""
        took = "iif(status = 'success', latency_ms, NULL)"
        shares = [f"percentile_cont({took}, {share})" for share in (0.5, 0.95)]
        return {
            key: Latency(*values)
            for key, values in self._grouped(_columns(by), shares, self._span, (from_us, until_us))
        }

    def _grouped(
        self, keys: list[str], values: list[str], origin: str, span: tuple[int, int]
    ) -> Iterator[tuple[Key, tuple[Any, ...]]]:
        """Each key with its values; without keys, the values of all."""
        grouping = f"GROUP BY {', '.join(keys)}" if keys else ""
        sql = f"SELECT {', '.join(keys + values)} {origin} {grouping}"
        for row in self._all(sql, span):
            yield row[: len(keys)], row[len(keys) :]


def _columns(by: Sequence[str]) -> list[str]:
    return [COLUMNS[name][0] for name in by]
