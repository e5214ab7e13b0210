"""watchdog → one wake-up. The only thing a file event says here is "look again".

Events may be lost, doubled or late: the daemon looks at its own pace as well, so a lost one costs
latency and never a line.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

#: What changes a log. Opening and closing a file are events too, and some of them are our own.
_CHANGES: Final = frozenset({"created", "modified", "moved", "deleted"})


class Bell(FileSystemEventHandler):
    """Rings when something changes in the directories. A context manager.

    The mutable state: whether it has rung since the last wait, and watchdog's observer.
    """

    def __init__(self, directories: Sequence[Path], *, recursive: bool = False) -> None:
        self._directories = directories
        self._recursive = recursive
        self._rung = threading.Event()
        self._observer: BaseObserver | None = None
        self._fault = ""

    def __enter__(self) -> Self:
        observer = Observer()
        try:
            for directory in self._directories:
                observer.schedule(self, str(directory), recursive=self._recursive)
            observer.start()
        except (OSError, RuntimeError) as error:
            # No watches left, or no such folder. Then we look at our own pace only.
            self._fault = str(error)
        else:
            self._observer = observer
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(timeout=1)

    @property
    def state(self) -> str:
        """Says "ok", or "degraded: " and why: new lines are then seen by rescanning only."""
        if self._observer is None:
            return f"degraded: {self._fault}"
        emitters = self._observer.emitters
        if not self._observer.is_alive() or not all(emitter.is_alive() for emitter in emitters):
            return "degraded: watchdog has stopped"
        return "ok"

    def ring(self) -> None:
        """Wakes the waiter, now or at its next wait. Safe in a signal handler."""
        self._rung.set()

    def wait(self, timeout_s: float) -> bool:
        """Waits for a ring; says whether there was one."""
        rung = self._rung.wait(timeout_s)
        self._rung.clear()
        return rung

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called by watchdog, in its thread."""
        if event.event_type in _CHANGES:
            self.ring()
