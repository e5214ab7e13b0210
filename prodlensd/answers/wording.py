"""Figures in words: the same for tables, the overview and the page."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from prodlensd import text
from prodlensd.answers.periods import Period, local_time
from prodlensd.answers.report import Figures, Report
from prodlensd.text import at_least, counted, money, short_money

#: Ways in which a name is only claimed.
_CLAIMS: Final = frozenset(
    {"header", "metadata", "user_id", "body", "span", "git", "configuration"}
)


def has_claims(found: Report) -> bool:
    """Whether some names of a report are mere claims of who called."""
    ways = (way for group in found.groups for via in group.via for way in via)
    return any(way in _CLAIMS for way in ways)


def cost(figures: Figures, parts: int = 1) -> str:
    """The cost, or a part of it, which never looks complete where a call's price is not known."""
    return _cost(figures, money, parts)


def short_cost(figures: Figures) -> str:
    """The same in few cells."""
    return _cost(figures, short_money)


def _cost(figures: Figures, said: Callable[[int], str], parts: int = 1) -> str:
    unpriced = figures.unpriced_calls
    if not has_cost(figures):
        return "unpriced" if unpriced else "-"
    return at_least(said((figures.cost_nanousd or 0) // parts), is_exact=not unpriced)


def on_plan(figures: Figures) -> str:
    """What the API would have asked for the calls on a plan, named so; empty without any."""
    if not figures.plan_calls:
        return ""
    nanousd, unpriced = figures.plan_api_nanousd or 0, figures.plan_unpriced_calls
    return text.on_plan(nanousd, figures.plan_calls, unpriced, is_exact=not unpriced)


def at_api_prices(figures: Figures, said: Callable[[int], str] = money) -> str:
    """The same in a column of that name."""
    unpriced = figures.plan_unpriced_calls
    if not figures.plan_calls:
        return "-"
    if unpriced == figures.plan_calls:
        return "unpriced"
    return at_least(said(figures.plan_api_nanousd or 0), is_exact=not unpriced)


def has_cost(figures: Figures) -> bool:
    """Whether some call has a price; what sends no bill says nothing of those that do."""
    unpriced = figures.unpriced_calls
    all_unpriced = unpriced > 0 and unpriced == figures.billed_calls
    return figures.cost_nanousd is not None and not all_unpriced


def change(before: int | None, now: int | None) -> str:
    """By how much something has changed: +12.5 %; "new" where there was nothing before."""
    if not before or now is None:
        return "new" if now else "-"
    share = 100 * (now - before) / before
    return f"{share:+,.1f} %"


def days_of(period: Period, extent: tuple[int, int] | None) -> str:
    """The days of a period, as far as there are calls: 27 Oct – 26 Nov 2026 (31 days, UTC)."""
    first, last = ends_of(period, extent)
    days = (last.date() - first.date()) / timedelta(days=1) + 1
    shown = (
        day_name(last)
        if first.date() == last.date()
        else f"{day_name(first, last)} – {day_name(last)}"  # noqa: RUF001
    )
    return f"{shown} ({counted(max(1, round(days)), 'day')}, {period.zone})"


def ends_of(period: Period, extent: tuple[int, int] | None) -> tuple[datetime, datetime]:
    """The first and last moment of a period, as far as there are calls, by the zone's clock."""
    first_us, last_us = extent or (0, 0)
    until_us = last_us if period.until_us is None else period.until_us - 1
    first = local_time(max(period.since_us, first_us), period.zone)
    return first, local_time(max(min(until_us, last_us), period.since_us), period.zone)


def day_name(day: datetime, other: datetime | None = None) -> str:
    """A day: 27 Oct 2026; without its year where the other has the same."""
    year = "" if other is not None and other.year == day.year else f" {day:%Y}"
    return f"{day.day} {day:%b}{year}"
