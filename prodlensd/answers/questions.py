"""What a report may be asked for: names to group by and to filter by, and figures.

To add a name to ask by, or a figure, add a row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, Final, NamedTuple

from msgspec import Struct

from prodlensd.answers.periods import Period
from prodlensd.text import none_of


def _text(value: Any) -> str:  # noqa: ANN401 - whatever DuckDB gives
    return str(value)


def _in_order(name: str | None) -> tuple[Any, ...]:
    return (name is None, name or "")


class By(NamedTuple):
    """What calls can be grouped by: SQL over a row of `calls`, in local time where it is a time.

    via     the column that says how the value was found, where some ways are mere claims
    name    the value as people read it
    order   the name as it sorts among others, where it is a time
    """

    sql: str
    is_time: bool = False
    via: str | None = None
    name: Callable[[Any], str] = _text
    order: Callable[[str | None], tuple[Any, ...]] = _in_order


def _week(first: date) -> str:
    return f"{first:%G-W%V}"


def _month(first: date) -> str:
    return first.isoformat()[: len("2026-11")]


_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

#: `local` is the start of the call by the reader's clock.
BY: Final[dict[str, By]] = {
    "day": By("CAST(local AS DATE)", is_time=True, name=date.isoformat),
    "week": By("CAST(date_trunc('week', local) AS DATE)", is_time=True, name=_week),
    "month": By("CAST(date_trunc('month', local) AS DATE)", is_time=True, name=_month),
    "hour": By("hour(local)", is_time=True, name=lambda hour: f"{hour:02d}:00"),
    "weekday": By(
        "isodow(local)",
        is_time=True,
        name=lambda day: _WEEKDAYS[day - 1],
        order=lambda name: (_WEEKDAYS.index(name),),
    ),
    "developer": By("developer_id", via="developer_via"),
    "team": By("team"),
    "key": By("key_alias"),
    "model": By("model"),
    "provider": By("provider"),
    "repo": By("repo_slug"),
    "session": By("session_id", via="session_via"),
    "tag": By("tag"),
    "end_user": By("end_user"),
    "status": By("status"),
    "error": By("error_class"),
    "host": By("host"),
    # Who told of the call: the transcript of a coding agent, or else the proxy.
    "source": By("coalesce(json_extract_string(details, '$.source'), 'proxy')"),
}
#: The names that are found in several ways, some of them mere claims.
WITH_VIA: Final = tuple(name for name, by in BY.items() if by.via)
MAX_BY: Final = 2
#: What calls can be filtered by.
FILTERS: Final = (
    *("developer", "team", "model", "provider", "repo", "session", "tag", "status", "host"),
    "source",
)
#: Stands for calls that have no value, as a table shows them.
NONE: Final = "(none)"

#: No provider sends a bill for calls whose price comes from these.
NOT_BILLED: Final = ("cache_hit", "not_billable", "free", "plan")
_NOT_BILLED: Final = ", ".join(f"'{source}'" for source in NOT_BILLED)
# ruff: noqa: S608 - statements are put together from names of columns
# The proxy's id of the client's request, which its retries and fallbacks share. A call without one
# is a request of its own.
_REQUEST: Final = "coalesce(call_id, source_id || ' ' || source_offset)"
_ALL_TOKENS: Final = "coalesce(total_tokens, tokens_in + tokens_out, tokens_in, tokens_out)"

#: What a cell has (see `grouping`) → SQL that adds it up over calls; the others are plain sums.
CELL: Final[dict[str, str]] = {
    "calls": "count(*)",
    "all_tokens": f"sum({_ALL_TOKENS})",
    "table_cost_usd": "sum(table_cost_usd) FILTER (cost_source = 'plan')",
    "plan_unpriced_calls": "count(*) FILTER (cost_source = 'plan' AND table_cost_usd IS NULL)",
    "cache_saved_picos": "sum(cache_read_tokens * (fresh_picos - cached_picos))",
    "diff_ratios": "sum(diff_ratio)",
    "with_diff_ratio": "count(diff_ratio)",
}


class Sum(NamedTuple):
    """A figure of the report, or a part of one: what cells have of it, all or those `where`."""

    of: str
    where: str = ""

    @property
    def sql(self) -> str:
        """SQL over cells. Of none, as over no calls: a count is 0, a sum is not known."""
        added = f"sum({self.of})" + (f" FILTER ({self.where})" if self.where else "")
        return f"coalesce({added}, 0)" if CELL.get(self.of, "").startswith("count") else added


#: All cells are of one status and of one source of cost.
SUMS: Final[dict[str, Sum]] = {
    "calls": Sum("calls"),
    "billed_calls": Sum("calls", f"cost_source NOT IN ({_NOT_BILLED})"),
    "errors": Sum("calls", "status = 'failure'"),
    "tokens_in": Sum("tokens_in"),
    "tokens_out": Sum("tokens_out"),
    "cache_read_tokens": Sum("cache_read_tokens"),
    "cache_write_tokens": Sum("cache_write_tokens"),
    "reasoning_tokens": Sum("reasoning_tokens"),
    "cost_usd": Sum("cost_usd"),
    "unpriced_calls": Sum("calls", "cost_source = 'unpriced'"),
    "unpriced_tokens": Sum("all_tokens", "cost_source = 'unpriced'"),
    "plan_calls": Sum("calls", "cost_source = 'plan'"),
    "plan_api_usd": Sum("table_cost_usd"),
    "plan_unpriced_calls": Sum("plan_unpriced_calls"),
    "cache_saved_picos": Sum("cache_saved_picos"),
    "accepted_lines": Sum("accepted_lines"),
    "diff_ratios": Sum("diff_ratios"),
    "with_diff_ratio": Sum("with_diff_ratio"),
}


#: The figures of calls on a plan: without such a call they are nothing, and cost nothing.
OF_PLAN: Final = ("plan_calls", "plan_api_usd", "plan_unpriced_calls")


class Apart(NamedTuple):
    """Figures that are found in a reading of their own, since all values are held until its end.

    of      the distinct values, with what is kept of each, or the calls that count
    values  SQL over these
    """

    of: str
    values: tuple[str, ...]


APART: Final[dict[str, Apart]] = {
    "requests": Apart(
        f"SELECT {{keys}}{_REQUEST} AS request, max(status = 'success') AS succeeded "
        "FROM ({rows}) GROUP BY ALL",
        ("count(*)", "count(*) FILTER (NOT succeeded)"),
    ),
    "sessions": Apart(
        "SELECT DISTINCT {keys}session_id FROM ({rows}) WHERE session_id NOT NULL", ("count(*)",)
    ),
    "latency_ms": Apart(
        "SELECT {keys}latency_ms FROM ({rows}) WHERE status = 'success' AND latency_ms NOT NULL",
        ("quantile_cont(latency_ms, [0.5, 0.95, 0.99])",),
    ),
    "ttft_ms": Apart(
        "SELECT {keys}ttft_ms FROM ({rows}) WHERE status = 'success' AND ttft_ms NOT NULL",
        ("quantile_cont(ttft_ms, [0.5, 0.95])",),
    ),
}
ALL_FIGURES: Final = frozenset((*SUMS, *APART))
#: Those that every report has: few columns, and what a cost needs to be honest.
ALWAYS: Final = (
    *("calls", "billed_calls", "errors", "tokens_in", "tokens_out", "cache_read_tokens"),
    *("cost_usd", "unpriced_calls", "unpriced_tokens", *OF_PLAN),
)


#: What groups of names can be sorted by, the largest first → the sum; by name they ascend.
SORTS: Final[dict[str, str]] = {
    "cost": "cost_usd",
    "calls": "calls",
    "failed": "errors",
    "input": "tokens_in",
    "output": "tokens_out",
    "cached": "cache_read_tokens",
    "unpriced": "unpriced_calls",
    "plan": "plan_api_usd",
    "name": "",
}


#: A name of FILTERS, and patterns: a call passes when its value fits one of them.
Filter = tuple[str, tuple[str, ...]]


class Question(Struct, frozen=True, kw_only=True):
    """What a report is asked for.

    filters   a call passes when it passes each
    sort      one of SORTS
    top       how many groups are shown, the first by `sort`; 0: all
    figures   of SUMS and APART, beside those that every report has
    by_source whether the sources of each group's cost are wanted
    """

    by: tuple[str, ...]
    period: Period
    filters: tuple[Filter, ...] = ()
    sort: str = "cost"
    top: int = 0
    figures: frozenset[str] = ALL_FIGURES
    by_source: bool = True

    @property
    def sums(self) -> list[str]:
        """The figures to add up in one reading, in the order of SUMS."""
        return [name for name in SUMS if name in ALWAYS or name in self.figures]

    @property
    def apart(self) -> list[str]:
        """Those that take a reading each."""
        return [name for name in APART if name in self.figures]


def read_by(text: str) -> tuple[str, ...]:
    """The names to group by, one or two with a comma. Raises ValueError."""
    by = tuple(name.strip() for name in text.split(","))
    if unknown := [name for name in by if name not in BY]:
        raise ValueError(f"--by: {none_of(unknown[0], BY)}")
    if len(by) > MAX_BY or len(set(by)) < len(by):
        raise ValueError(f"--by {text!r}: expected one or two names, not the same twice")
    return by


def sql_of_filters(filters: Sequence[Filter]) -> tuple[str, dict[str, str]]:
    """A condition over a row of `calls`, and the values of its parameters."""
    conditions, values = ["true"], {}
    for name, patterns in filters:
        options = []
        for number, pattern in enumerate(patterns):
            parameter = f"{name}_{number}"
            if pattern == NONE:
                options.append("len(tag_list) = 0" if name == "tag" else f"{BY[name].sql} IS NULL")
                continue
            values[parameter] = _like(pattern)
            fits = f"{{}} LIKE ${parameter} ESCAPE '\\'"
            options.append(
                f"len(list_filter(tag_list, lambda t: {fits.format('t')})) > 0"
                if name == "tag"
                else fits.format(BY[name].sql)
            )
        conditions.append(f"({' OR '.join(options)})")
    return " AND ".join(conditions), values


def _like(pattern: str) -> str:
    """A pattern of LIKE, to which `?` is a character: to DuckDB's GLOB it is a byte."""
    pattern = re.sub(r"[\ud800-\udfff]", "\ufffd", pattern)  # bytes that are no text
    return re.sub(r"([%_\\])", r"\\\1", pattern).replace("*", "%").replace("?", "_")
