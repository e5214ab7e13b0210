"""Signals → flags. The handlers do nothing else; the loop looks at the flags in its own time."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, Self

_STOP: Final = (signal.SIGTERM, signal.SIGINT)


class Signals:
    """SIGTERM and SIGINT ask to stop, SIGHUP to read the configuration again. A context manager.

    `wake` is called from the handler, to end a wait. The handlers that stood before come back at
    exit.
    """

    def __init__(self, wake: Callable[[], None] = lambda: None) -> None:
        self.wake = wake
        self.stop = threading.Event()
        self._reload = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (*_STOP, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number in _STOP:
            self.stop.set()
        else:
            self._reload = True
        self.wake()

    @property
    def reload_asked(self) -> bool:
        """Whether a reload is waiting to be taken."""
        return self._reload

    def take_reload(self) -> bool:
        """Whether a reload was asked for since the last call."""
        asked, self._reload = self._reload, False
        return asked
