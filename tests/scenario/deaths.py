"""Death on the way: a call of ours that ends the process, as a SIGKILL would."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any


class DiedError(BaseException):
    """In place of a SIGKILL: nothing of ours catches it."""


def deadly(real: Callable[..., Any], nth: int, when: str) -> Callable[..., None]:
    """`real`, whose `nth` call is the last: death comes "before" its work is done, or "after"."""
    calls = count(1)

    def dying(*arguments: Any, **named: Any) -> None:
        number = next(calls)
        if number < nth or when == "after":
            real(*arguments, **named)
        if number == nth:
            raise DiedError

    return dying
