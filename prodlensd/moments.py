"""Moments and days: microseconds since 1970 in UTC, as numbers and as text."""

from __future__ import annotations

import time


def now_us() -> int:
    """The time now."""
    return time.time_ns() // 1000
