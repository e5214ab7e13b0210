"""The columns of a report for people: what each shows, and what is left out first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from prodlensd.answers.report import Figures
from prodlensd.answers.wording import at_api_prices, cost, has_cost, short_cost
from prodlensd.text import (
    Both,
    Cell,
    count_cell,
    latency_cell,
    money_cell,
    none_of,
    percent,
    short_money,
)


class Shown(NamedTuple):
    """A column: its cell of some figures and of all calls together.

    figures  of a question, beside those that every report has
    keep     which columns go first where there is no room; None: never
    """

    title: str
    cell: Callable[[Figures, Figures], Cell]
    figures: tuple[str, ...] = ()
    keep: int | None = None


def _count(count: int | None) -> Cell:
    return "-" if count is None else count_cell(count)


def _time(ms: float | None) -> Cell:
    return "-" if ms is None else latency_cell(ms)


def _money(nanousd: int | None) -> Cell:
    return "-" if nanousd is None else money_cell(nanousd)


def _each(figures: Figures, count: int | None) -> Cell:
    return cost(figures, count) if count else "-"


def _share(figures: Figures, total: Figures) -> Cell:
    known = has_cost(figures)
    return percent(figures.cost_nanousd or 0, total.cost_nanousd or 0) if known else "-"


def _sources(figures: Figures) -> str:
    return ", ".join(f"{source} {of.calls:,}" for source, of in figures.cost_by_source.items())


#: The first of them are shown where no others are asked for.
COLUMNS: Final[dict[str, Shown]] = {
    "calls": Shown("calls", lambda one, _: _count(one.calls)),
    "failed": Shown("failed", lambda one, _: percent(one.errors, one.calls), keep=3),
    "input": Shown("input", lambda one, _: _count(one.tokens_in), keep=5),
    "cached": Shown(
        "cached", lambda one, _: percent(one.cache_read_tokens or 0, one.tokens_in or 0), keep=4
    ),
    "output": Shown("output", lambda one, _: _count(one.tokens_out), keep=5),
    "cost": Shown("cost", lambda one, _: Both(cost(one), short_cost(one))),
    "plan": Shown(
        "plan at API",
        lambda one, _: Both(at_api_prices(one), at_api_prices(one, short_money)),
        keep=6,
    ),
    "share": Shown("share", _share, keep=2),
    "bar": Shown("", lambda *_: 0.0, keep=1),  # its length is for the table to say
    "requests": Shown("requests", lambda one, _: _count(one.requests), ("requests",), 3),
    "failed_requests": Shown(
        "failed requests", lambda one, _: _count(one.failed_requests), ("requests",), 3
    ),
    "billed": Shown("billed", lambda one, _: _count(one.billed_calls), keep=3),
    "unpriced": Shown("unpriced", lambda one, _: _count(one.unpriced_calls), keep=3),
    "cache_read": Shown("cache read", lambda one, _: _count(one.cache_read_tokens), keep=3),
    "cache_write": Shown(
        "cache write", lambda one, _: _count(one.cache_write_tokens), ("cache_write_tokens",), 3
    ),
    "reasoning": Shown(
        "reasoning", lambda one, _: _count(one.reasoning_tokens), ("reasoning_tokens",), 3
    ),
    "cache_saving": Shown(
        "cache saving", lambda one, _: _money(one.cache_saved_nanousd), ("cache_saved_picos",), 3
    ),
    "ttft_p50": Shown("ttft p50", lambda one, _: _time(one.ttft_p50_ms), ("ttft_ms",), 3),
    "ttft_p95": Shown("ttft p95", lambda one, _: _time(one.ttft_p95_ms), ("ttft_ms",), 3),
    "p50": Shown("p50", lambda one, _: _time(one.latency_p50_ms), ("latency_ms",), 3),
    "p95": Shown("p95", lambda one, _: _time(one.latency_p95_ms), ("latency_ms",), 3),
    "p99": Shown("p99", lambda one, _: _time(one.latency_p99_ms), ("latency_ms",), 3),
    "cost_per_call": Shown("per call", lambda one, _: _each(one, one.calls), keep=3),
    "sessions": Shown("sessions", lambda one, _: _count(one.sessions), ("sessions",), 3),
    "cost_per_session": Shown(
        "per session", lambda one, _: _each(one, one.sessions), ("sessions",), 3
    ),
    "accepted_lines": Shown(
        "accepted lines", lambda one, _: _count(one.accepted_lines), ("accepted_lines",), 3
    ),
    "diff_ratio": Shown(
        "diff ratio",
        lambda one, _: "-" if one.diff_ratio is None else f"{one.diff_ratio:.2f}",
        ("diff_ratios", "with_diff_ratio"),
        3,
    ),
    "sources": Shown("sources", lambda one, _: _sources(one), keep=3),
}
DEFAULT: Final = ("calls", "failed", "input", "cached", "output", "cost", "share", "bar")


def with_plan(names: Sequence[str], total: Figures) -> Sequence[str]:
    """The usual columns, and behind the cost what calls on a plan would have cost, if there are."""
    if not total.plan_calls or "plan" in names or tuple(names[: len(DEFAULT)]) != DEFAULT:
        return names
    place = names.index("cost") + 1
    return (*names[:place], "plan", *names[place:])


def read_columns(text: str | None) -> tuple[str, ...]:
    """The columns of a list with commas; with a plus before it, on top of the usual ones.

    Raises ValueError for a name that is none.
    """
    if text is None:
        return DEFAULT
    said = [name.strip() for name in text.split(",") if name.strip()]
    names = [name.removeprefix("+") for name in said]
    if not names or not set(names) <= COLUMNS.keys():
        unknown = next((name for name in names if name not in COLUMNS), "")
        raise ValueError(f"--columns: {none_of(unknown, COLUMNS)}")
    is_more = said[0].startswith("+")
    return tuple(dict.fromkeys([*DEFAULT, *names] if is_more else names))
