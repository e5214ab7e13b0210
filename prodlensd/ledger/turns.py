"""Takes turns with other programs at what only one can have at a time, such as a write lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

#: The longest turn that others are left.
_LONGEST_S: Final = 0.1


class Turns:
    """A context manager for each of our turns: others are left as much time as it took.

    `now_s` is a clock that never goes back, `wait` sleeps; both in seconds. The mutable state: when
    our turn began, and when theirs ends.
    """

    def __init__(self, now_s: Callable[[], float], wait: Callable[[float], object]) -> None:
        self._now_s = now_s
        self._wait = wait
        self._began_s = self._theirs_until_s = now_s()

    def __enter__(self) -> None:
        """Waits until their turn ends, and begins ours."""
        if (left_s := self._theirs_until_s - self._now_s()) > 0:
            self._wait(left_s)
        self._began_s = self._now_s()

    def __exit__(self, *_: object) -> None:
        """Ends our turn and begins theirs, whatever else we do meanwhile."""
        now_s = self._now_s()
        self._theirs_until_s = now_s + min(now_s - self._began_s, _LONGEST_S)

    def give(self) -> None:
        """Ends our turn, lets others have theirs, and begins the next."""
        self.__exit__()
        self.__enter__()
