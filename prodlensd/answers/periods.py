"""Periods of time as people name them, and the days, weeks and months of a time zone.

All moments are microseconds since 1970.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final, NamedTuple

from prodlensd.model import US_PER_DAY, US_PER_S
from prodlensd.moments import moment_of, moment_us
from prodlensd.text import did_you_mean

UNITS: Final = ("day", "week", "month")
FOREVER_US: Final = 2**63 - 1

#: Where a report without `since` begins: in the day, week or month of this many days ago.
_DAYS_BACK: Final = {"day": 30, "week": 7 * 11, "month": 334}
_DAY: Final = timedelta(days=1)
#: The last day that has a next one in every zone.
_LAST_US: Final = moment_us(datetime(9999, 12, 30, tzinfo=UTC))
_BACK: Final = r"([0-9]{1,6})(h|d|w|mo)\Z"
_MONTH: Final = r"[0-9]{4}-[0-9]{2}\Z"
_WEEK: Final = r"[0-9]{4}-?W[0-9]{2}\Z"
#: The names of a unit around a day, and how many units before today's that is.
_NAMED: Final = {
    "today": ("day", 0),
    "yesterday": ("day", 1),
    "this-week": ("week", 0),
    "last-week": ("week", 1),
    "this-month": ("month", 0),
    "last-month": ("month", 1),
}
_ALWAYS: Final = "always"
#: The times that have a name.
TIMES: Final = (*_NAMED, _ALWAYS)
_ACCEPTED: Final = (
    "2026-11-01, 2026-W47, 2026-11, 2026-11-01T14:30, today, yesterday, this-week, last-week, "
    "this-month, last-month, 7d, 4w, 3mo (that day), 24h (that moment) or always"
)


class Period(NamedTuple):
    """[since_us, until_us), or without an end, and the zone of its days, weeks and months.

    `unit`: it begins with a whole one, and ends with one unless it still runs; None: with no unit.
    """

    since_us: int
    until_us: int | None
    zone: tzinfo
    unit: str | None = None


def read_period(
    since: str | None, until: str | None, by: Sequence[str], zone: tzinfo, now_us: int
) -> Period:
    """From the start of `since` to the end of `until`; a named day, week or month is wholly in it.

    Without `since`: from 30 days before the end, or now; by week or month the last twelve of them.
    Raises ValueError for what does not name a time.
    """
    until_us = None if until is None else _moments("--until", until, zone, now_us)[1]
    if since is not None:
        since_us, _, unit = _moments("--since", since, zone, now_us)
        if until_us is not None and until_us <= since_us:
            raise ValueError(f"--until {until} ends before --since {since} begins")
    else:
        unit = unit_of(by) or "day"
        end = local_time(now_us if until_us is None else max(until_us - 1, 0), zone).date()
        first = _CALENDAR[unit][0](end - timedelta(days=_DAYS_BACK[unit]))
        since_us = max(_midnight_us(first, zone), 0)
    if until_us is not None:
        unit = _unit_between(since_us, until_us, zone)
    return Period(since_us, until_us, zone, unit)


def _unit_between(since_us: int, until_us: int, zone: tzinfo) -> str | None:
    """The largest unit of which whole ones lie between two moments; None for none."""
    for unit in ("month", "week", "day"):
        if all(span_around(at_us, unit, zone)[0] == at_us for at_us in (since_us, until_us)):
            return unit
    return None


def _moments(option: str, text: str, zone: tzinfo, now_us: int) -> tuple[int, int, str | None]:
    """Start and end of what `text` names, and its unit: a moment is both, and has no unit."""
    unit: str | None = None
    try:
        if text == _ALWAYS:
            start_us, end_us = 0, _LAST_US
        elif "T" in text:
            moment = datetime.fromisoformat(text)
            start_us = end_us = moment_us(moment if moment.tzinfo else moment.replace(tzinfo=zone))
        elif (back := re.match(_BACK, text)) and back[2] == "h":
            start_us = end_us = now_us - int(back[1]) * 3600 * US_PER_S
        else:
            unit, day = _unit_and_day(text, local_time(now_us, zone).date())
            begin, following, _ = _CALENDAR[unit]
            first = begin(day)
            start_us, end_us = _midnight_us(first, zone), _midnight_us(following(first), zone)
    except (ValueError, OverflowError):
        meant = did_you_mean(text, TIMES) or f"; accepted are {_ACCEPTED}"
        raise ValueError(f"{option}: {text!r} is not a time{meant}") from None
    return min(max(start_us, 0), _LAST_US), min(max(end_us, 0), _LAST_US), unit


def _unit_and_day(text: str, today: date) -> tuple[str, date]:
    """The day, week or month that a text names, by a day in it."""
    if text in _NAMED:
        unit, count = _NAMED[text]
        return unit, _back(today, unit, count)
    if back := re.match(_BACK, text):
        return "day", _back(today, {"d": "day", "w": "week", "mo": "month"}[back[2]], int(back[1]))
    if re.match(_MONTH, text):
        return "month", date.fromisoformat(f"{text}-01")
    return "week" if re.match(_WEEK, text) else "day", date.fromisoformat(text)


def _back(day: date, unit: str, count: int) -> date:
    """The day so many days, weeks or months ago, or the last of a month that is too short for it.

    Raises ValueError or OverflowError before the year 1.
    """
    if unit != "month":
        return day - timedelta(days=count * (7 if unit == "week" else 1))
    year, month = divmod(day.year * 12 + day.month - 1 - count, 12)
    first = date(year, month + 1, 1)
    return min(_CALENDAR["month"][1](first) - _DAY, first + timedelta(days=day.day - 1))


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


def previous(period: Period, now_us: int) -> Period | None:
    """The period of the same length before this one; None where nothing can have been before it.

    Whole days, weeks or months are compared with as many before them. Of a period that still runs,
    with the same part of it: of a month until the 18th at noon, the month before until its 18th at
    noon, or its end. Other moments: what ends where the period begins.
    """
    since_us, zone, unit = period.since_us, period.zone, period.unit
    end_us = now_us if period.until_us is None else min(period.until_us, now_us)
    if since_us <= 0 or end_us <= since_us:
        return None
    if unit is None:
        return Period(max(2 * since_us - end_us, 0), since_us, zone)
    count, last_us = 1, since_us
    while (following_us := span_around(last_us, unit, zone)[1]) < end_us:
        count, last_us = count + 1, following_us
    first_us = since_us
    for _ in range(count):
        first_us = max(span_around(first_us - 1, unit, zone)[0], 0)
    until_us = since_us
    if end_us < following_us:
        passed = local_time(end_us, zone).replace(tzinfo=None) - _midnight(last_us, zone)
        there = _midnight(span_around(since_us - 1, unit, zone)[0], zone) + passed
        until_us = min(moment_us(there.replace(tzinfo=zone)), since_us)
    return Period(first_us, until_us, zone, unit)


class RunningMonth(NamedTuple):
    """The month around now: [since_us, today_us) are the days that are over, whole.

    `days_left` has today in it. Both count the days that there are in the zone.
    """

    name: str
    since_us: int
    today_us: int
    until_us: int
    days_over: int
    days_left: int


def running_month(now_us: int, zone: tzinfo) -> RunningMonth:
    """What a forecast to the end of the month around now stands on."""
    since_us, until_us, name = span_around(now_us, "month", zone)
    today_us = span_around(now_us, "day", zone)[0]
    starts = [since_us]
    while (following_us := span_around(starts[-1], "day", zone)[1]) < until_us:
        starts.append(following_us)
    over = bisect_left(starts, today_us)
    return RunningMonth(name, since_us, today_us, until_us, over, len(starts) - over)


#: No zone has changed its clocks twice in less than 6.9 days since 1970.
_STEP_US: Final = 6 * US_PER_DAY


def offsets(first_us: int, last_us: int, zone: tzinfo) -> list[tuple[int, int]]:
    """How far the zone is ahead of UTC, in seconds, from which moment on, between two moments.

    The first begins at `first_us`; each other is a change, exact to the microsecond, up to and
    with `last_us`.
    """
    found = [(first_us, _offset_s(first_us, zone))]
    before_us = first_us
    while before_us < last_us:
        after_us = min(before_us + _STEP_US, last_us)
        offset_s = _offset_s(after_us, zone)
        if offset_s != found[-1][1]:
            moments = range(before_us, after_us)
            changed = bisect_left(moments, x=True, key=lambda us: _offset_s(us, zone) == offset_s)
            found.append((before_us + changed, offset_s))
        before_us = after_us
    return found


def _offset_s(at_us: int, zone: tzinfo) -> int:
    offset = local_time(at_us, zone).utcoffset()
    return 0 if offset is None else offset // timedelta(seconds=1)


def _midnight(start_us: int, zone: tzinfo) -> datetime:
    """The midnight of the day that begins at this moment, as its clock would show it."""
    return local_time(start_us, zone).replace(hour=0, minute=0, second=0, tzinfo=None)


def local_time(at_us: int, zone: tzinfo) -> datetime:
    """A moment by the clock of a zone; one after the year 9999 as its last."""
    return moment_of(min(at_us, _LAST_US)).astimezone(zone)


def _midnight_us(day: date, zone: tzinfo) -> int:
    """The start of a day; where its midnight is skipped, when clocks were set forward."""
    return moment_us(datetime.combine(day, time(), tzinfo=zone))
