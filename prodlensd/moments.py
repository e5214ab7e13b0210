"""Moments as microseconds since 1970 in UTC, days as days since 1970; and both as text."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def now_us() -> int:
    """The time now."""
    return time.time_ns() // 1000


def moment_us(moment: datetime) -> int:
    """The moment in microseconds since 1970. It must know its time zone."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def moment_of(us: int) -> datetime:
    """The moment, in UTC. Raises OverflowError after the year 9999."""
    return EPOCH + timedelta(microseconds=us)


def iso_time(us: int) -> str:
    """ISO 8601 in UTC, for programs: always six digits, as in the SQL views, so that it sorts."""
    return moment_of(us).isoformat(timespec="microseconds").replace("+00:00", "Z")


def short_time(us: int) -> str:
    """ISO 8601 in UTC, for people: without the fraction of a second."""
    return moment_of(us).isoformat(timespec="seconds").replace("+00:00", "Z")


def day_of(day: int) -> date:
    """The date of a day since 1970."""
    return (EPOCH + timedelta(days=day)).date()
