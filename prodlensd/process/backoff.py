"""How long to wait before something that failed is tried again."""

from __future__ import annotations

from typing import Final

#: Enough for any longest wait, and few enough for a float.
_MAX_DOUBLINGS: Final = 16


def back_off_s(failures: int, *, first_s: float, longest_s: float) -> float:
    """The wait in seconds after this many earlier failures: it doubles, up to `longest_s`."""
    return min(first_s * (1 << min(failures, _MAX_DOUBLINGS)), longest_s)
