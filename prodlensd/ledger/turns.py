"""Takes turns with other programs at something that only one can have, such as a write lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

#: Nobody is left more time in a row than this.
_LONGEST_S: Final = 0.1


class Turns:
    """Leaves others as much time between our turns as these take: a context manager for each.

    `now_s` is a clock that never goes back, `wait` sleeps; both in seconds. The mutable state: when
    our turn began, and until when it is theirs.
    """

    def __init__(self, now_s: Callable[[], float], wait: Callable[[float], object]) -> None:
        self._now_s = now_s
        self._wait = wait
        self._began_s = self._theirs_until_s = now_s()

    def __enter__(self) -> None:
        """Waits for what is left of their turn, and begins ours."""
        if (left_s := self._theirs_until_s - self._now_s()) > 0:
            self._wait(left_s)
        self._began_s = self._now_s()

    def __exit__(self, *_: object) -> None:
        """Ends our turn; what we do from now on without it is their time as well."""
        now_s = self._now_s()
        self._theirs_until_s = now_s + min(now_s - self._began_s, _LONGEST_S)

    def give(self) -> None:
        """Ends our turn, lets others have theirs, and begins the next."""
        self.__exit__()
        self.__enter__()
