"""Periods of time as people name them, and the days, weeks and months of a time zone.

All moments are microseconds since 1970.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

from prodlensd.model import US_PER_S
from prodlensd.moments import moment_of, moment_us

UNITS: Final = ("day", "week", "month")
FOREVER_US: Final = 2**63 - 1

#: Where a report without `since` begins: in the day, week or month of this many days ago.
_DAYS_BACK: Final = {"day": 30, "week": 7 * 11, "month": 334}
_DAY: Final = timedelta(days=1)
#: The last day that has a next one in every zone.
_LAST_US: Final = moment_us(datetime(9999, 12, 30, tzinfo=UTC))
_BACK: Final = re.compile(r"[0-9]{1,6}[dh]\Z")
_ACCEPTED: Final = (
    "2026-11-01, 2026-11-01T14:30, today, yesterday, 7d (that day), 24h (that moment) or always"
)


@dataclass(frozen=True, slots=True)
class Period:
    """[since_us, until_us), or without an end, and the zone of its days, weeks and months."""

    since_us: int
    until_us: int | None
    zone: tzinfo


def read_period(
    since: str | None, until: str | None, by: Sequence[str], zone: tzinfo, now_us: int
) -> Period:
    """From the start of `since` to the end of `until`; a named day is wholly in it.

    Without `since`: from 30 days before the end, or now; by week or month the last twelve of them.
    Raises ValueError for what does not name a time.
    """
    until_us = None if until is None else _moments(until, zone, now_us)[1]
    if since is not None:
        since_us = _moments(since, zone, now_us)[0]
        if until_us is not None and until_us <= since_us:
            raise ValueError(f"{until!r} is before {since!r}")
        return Period(since_us, until_us, zone)
    unit = unit_of(by) or "day"
    end = local_time(now_us if until_us is None else max(until_us - 1, 0), zone).date()
    first = _CALENDAR[unit][0](end - timedelta(days=_DAYS_BACK[unit]))
    return Period(max(_midnight_us(first, zone), 0), until_us, zone)


def _moments(text: str, zone: tzinfo, now_us: int) -> tuple[int, int]:
    """Start and end of what `text` names: a day has both, a moment is its own."""
    try:
        if text == "always":
            start_us, end_us = 0, _LAST_US
        elif "T" in text:
            moment = datetime.fromisoformat(text)
            start_us = end_us = moment_us(moment if moment.tzinfo else moment.replace(tzinfo=zone))
        elif text.endswith("h") and _BACK.match(text):
            start_us = end_us = now_us - int(text[:-1]) * 3600 * US_PER_S
        else:
            day = _day(text, local_time(now_us, zone).date())
            start_us, end_us = _midnight_us(day, zone), _midnight_us(day + _DAY, zone)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a time; accepted are {_ACCEPTED}") from None
    return min(max(start_us, 0), _LAST_US), min(max(end_us, 0), _LAST_US)


def _day(text: str, today: date) -> date:
    if text == "today":
        return today
    if text == "yesterday":
        return today - _DAY
    if _BACK.match(text):
        return today - timedelta(days=int(text[:-1]))
    return date.fromisoformat(text)


def unit_of(by: Sequence[str]) -> str | None:
    """The day, week or month among these names; None when there is none."""
    return next((name for name in by if name in UNITS), None)


def span_around(at_us: int, unit: str, zone: tzinfo) -> tuple[int, int, str]:
    """The day, ISO week or month around a moment in a zone: its start, its end and its name."""
    begin, following, name = _CALENDAR[unit]
    first = begin(local_time(at_us, zone).date())
    # Where clocks are set back over midnight, the end of the day before comes twice.
    while (until_us := _next_midnight_us(first, following, zone)) <= at_us:
        first = following(first)
    return _midnight_us(first, zone), until_us, name(first)


def _next_midnight_us(first: date, following: Callable[[date], date], zone: tzinfo) -> int:
    try:
        return _midnight_us(following(first), zone)
    except OverflowError:
        return FOREVER_US


#: The unit → the first day of the one around a day, the first day of the next, the name by it.
_CALENDAR: Final[
    dict[str, tuple[Callable[[date], date], Callable[[date], date], Callable[[date], str]]]
] = {
    "day": (lambda day: day, lambda first: first + _DAY, date.isoformat),
    "week": (
        lambda day: day - timedelta(days=day.weekday()),
        lambda first: first + timedelta(days=7),
        lambda first: f"{first:%G-W%V}",
    ),
    "month": (
        lambda day: day.replace(day=1),
        lambda first: (first + timedelta(days=31)).replace(day=1),
        lambda first: first.isoformat()[: len("2026-11")],
    ),
}


def local_time(at_us: int, zone: tzinfo) -> datetime:
    """A moment by the clock of a zone; one after the year 9999 as its last."""
    return moment_of(min(at_us, _LAST_US)).astimezone(zone)


def _midnight_us(day: date, zone: tzinfo) -> int:
    """The start of a day; where its midnight is skipped, when clocks were set forward."""
    return moment_us(datetime.combine(day, time(), tzinfo=zone))
