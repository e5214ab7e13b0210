"""watchdog → one wake-up. The only thing a file event says here is "look again".

Events may be lost, doubled or late: the daemon looks at its own pace as well, so a lost one costs
latency and never a line.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
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
        self._folders: list[tuple[int, int] | None] = []

    def __enter__(self) -> Self:
        self._watch()
        return self

    def _watch(self) -> None:
        self._folders = self._seen_folders()
        observer = Observer()
        try:
            for directory in self._directories:
                # Of a link watchdog would watch the link itself.
                folder = os.path.realpath(directory)
                observer.schedule(self, folder, recursive=self._recursive)
            observer.start()
        except (OSError, RuntimeError) as error:
            # No watches left, or no such folder. Then we look at our own pace only.
            self._fault = str(error)
            observer.stop()  # the watches that it did get, and their threads
        else:
            self._observer = observer
            self._fault = self._unwatched() if self._recursive else ""

    def _unwatched(self) -> str:
        """Says how many folders have no watch: watchdog passes over those that it gets none for."""
        watches = 0
        for info in Path("/proc/self/fdinfo").glob("*"):  # Linux; nothing elsewhere
            with suppress(OSError):
                watches += info.read_text().count("inotify wd:")
        folders = sum(1 for directory in self._directories for _ in os.walk(directory))
        return f"{folders - watches} folders are not watched" if 0 < watches < folders else ""

    def _seen_folders(self) -> list[tuple[int, int] | None]:
        """Which folders the paths lead to now."""
        seen: list[tuple[int, int] | None] = []
        for directory in self._directories:
            try:
                status = directory.stat()
            except OSError:
                seen.append(None)
            else:
                seen.append((status.st_dev, status.st_ino))
        return seen

    def repair(self) -> None:
        """Watches anew where watching has stopped, or a folder was removed and made again.

        watchdog says nothing of either, and of a folder made again it never speaks.
        """
        if self.state == "ok" and self._seen_folders() == self._folders:
            return
        self._stop()
        self._watch()

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(timeout=1)
            self._observer = None

    @property
    def state(self) -> str:
        """Says "ok", or "degraded: " and why: new lines are then seen by rescanning only."""
        if self._observer is None or self._fault:
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
