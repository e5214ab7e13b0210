"""One session with its calls in order, or one call with all that its row has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from prodlensd.answers.calls import Calls
from prodlensd.moments import moment_of
from prodlensd.snapshots import COLUMNS

#: Of a session or an id with more, these are shown; the total is of all, always.
MOST_CALLS: Final = 10_000

_LISTED: Final = (
    "started_us, model, tokens_in, cache_read_tokens, tokens_out, cost_usd, cost_source, ttft_ms, "
    "latency_ms, status, status_code, session_id, developer_id, repo_slug, call_id"
)
#: Money as whole nano-dollars; times as `started_us` alone.
_NAMES: Final = [name for name in COLUMNS if name != "timestamp"]

# ruff: noqa: S608 - statements are put together from names of columns
# Reads three columns of all calls. What is shown is then read from its own time only.
_FIND: Final = """
    SELECT count(*) FILTER (session_id = $name), count(*) FILTER (call_id = $name),
        min(started_us), max(started_us)
    FROM calls WHERE session_id = $name OR call_id = $name
"""
_WHICH: Final = "{column} = $name AND timestamp BETWEEN $first AND $last"
_LIST: Final = f"""
    SELECT {_LISTED} FROM calls WHERE {_WHICH}
    ORDER BY started_us, source_id, source_offset LIMIT {MOST_CALLS}
"""
_LATEST: Final = f"""
    SELECT {_LISTED} FROM calls ORDER BY started_us DESC, source_id, source_offset LIMIT $most
"""
_TOTAL: Final = f"""
    SELECT count(*), sum(tokens_in), sum(cache_read_tokens), sum(tokens_out), sum(cost_usd),
        count(*) FILTER (cost_source = 'unpriced'), count(*) FILTER (status = 'failure'),
        count(*) FILTER (cost_source = 'plan'), sum(table_cost_usd) FILTER (cost_source = 'plan'),
        count(*) FILTER (cost_source = 'plan' AND table_cost_usd IS NULL)
    FROM calls WHERE {_WHICH}
"""
_LAST: Final = f"""
    SELECT started_us, {", ".join(_NAMES)} FROM calls WHERE {_WHICH}
    ORDER BY started_us DESC, source_id DESC, source_offset DESC LIMIT 1
"""


class Listed(NamedTuple):
    """A call of a list. Times in microseconds since 1970, money in nano-dollars."""

    started_us: int
    model: str | None
    tokens_in: int | None
    cache_read_tokens: int | None
    tokens_out: int | None
    cost_nanousd: int | None
    cost_source: str
    ttft_ms: float | None
    latency_ms: float | None
    status: str
    status_code: int | None
    session_id: str | None
    developer_id: str | None
    repo_slug: str | None
    call_id: str | None


class Total(NamedTuple):
    """What all calls of a list add up to; None: no call says it.

    `plan_api_nanousd` is what the API would have asked for those on a plan, which is in no cost; of
    `plan_unpriced_calls` nobody knows it.
    """

    calls: int
    tokens_in: int | None
    cache_read_tokens: int | None
    tokens_out: int | None
    cost_nanousd: int | None
    unpriced_calls: int
    failed_calls: int
    plan_calls: int
    plan_api_nanousd: int | None
    plan_unpriced_calls: int


class Shown(NamedTuple):
    """The calls of a session, or those with one id: then `row` is all there is of the last one.

    `same_id` says how many calls have the session's name as their id.
    """

    name: str
    calls: Sequence[Listed]
    total: Total
    row: dict[str, Any] | None
    same_id: int


def show(calls: Calls, name: str) -> Shown | None:
    """The session of this name, or else the call with this id; None when there is neither."""
    [(of_session, of_call, first_us, last_us)] = calls.rows(_FIND, {"name": name})
    if not of_session and not of_call:
        return None
    column = "session_id" if of_session else "call_id"
    which = {"name": name, "first": moment_of(first_us), "last": moment_of(last_us)}

    def ask(sql: str) -> list[Any]:
        return calls.rows(sql.format(column=column), which)

    listed = [Listed._make([*row[:5], _nanousd(row[5]), *row[6:]]) for row in ask(_LIST)]
    [(*sums, cost_usd, unpriced, failed, on_plan, api_usd, without)] = ask(_TOTAL)
    counts = (unpriced, failed, on_plan)
    total = Total._make([*sums, _nanousd(cost_usd), *counts, _nanousd(api_usd), without])
    if of_session:
        return Shown(name, listed, total, None, of_call)
    [values] = ask(_LAST)
    row = dict(zip(("started_us", *_NAMES), values, strict=True))
    for money in ("cost_usd", "gateway_cost_usd", "table_cost_usd"):
        row[money.replace("_usd", "_nanousd")] = _nanousd(row.pop(money))
    return Shown(name, listed, total, row, 0)


def latest(calls: Calls, most: int) -> tuple[Listed, ...]:
    """The last calls of all, the newest first."""
    rows = calls.rows(_LATEST, {"most": most})
    return tuple(Listed._make([*row[:5], _nanousd(row[5]), *row[6:]]) for row in rows)


def _nanousd(usd: Any) -> int | None:  # noqa: ANN401 - a Decimal of nine places
    return None if usd is None else int(usd.scaleb(9))
