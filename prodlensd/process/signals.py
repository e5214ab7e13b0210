"""Signals, noted for the loop to look at in its own time.

The interpreter's own handler, which is in C, writes to a pipe that ends any wait; what it then
calls is a method in C as well. So no line of Python ever runs in a handler: none can wait for a
lock that the interrupted code holds, and no burst of signals can nest.
"""

from __future__ import annotations

import signal
from typing import Any, Final, Self

from prodlensd.process.wakeup import Wakeup

_STOP: Final = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """SIGTERM and SIGINT ask to stop, SIGHUP to read the configuration again. A context manager.

    Only in the main thread. The previous handlers are restored at exit. The mutable state: the
    signals that came, by number.
    """

    def __init__(self) -> None:
        self.wakeup = Wakeup()
        self._came: dict[int, Any] = {}
        self._before: dict[int, Any] = {}
        self._fd_before = -1

    def __enter__(self) -> Self:
        # A full pipe is no reason for a warning: it ends the wait all the same.
        self._fd_before = signal.set_wakeup_fd(self.wakeup.write_end, warn_on_full_buffer=False)
        for number in (*_STOP, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._came.__setitem__)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._fd_before)

    @property
    def stop_asked(self) -> bool:
        """Whether SIGTERM or SIGINT has come."""
        return not self._came.keys().isdisjoint(_STOP)

    @property
    def reload_asked(self) -> bool:
        """Whether SIGHUP has come since the last `take_reload`."""
        return signal.SIGHUP in self._came

    def take_reload(self) -> bool:
        """Whether SIGHUP has come since the last call."""
        asked = self.reload_asked
        self._came.pop(signal.SIGHUP, None)
        return asked
