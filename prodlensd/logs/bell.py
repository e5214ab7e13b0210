"""watchdog's events → a wake-up, and which files to look at. Never what happened to them.

Events may be lost, doubled or late: the daemon looks at everything at its own pace as well, so a
lost one costs time and never a line.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from prodlensd.process import Wakeup, wait

if TYPE_CHECKING:  # `status` follows the same files, and does not need to load watchdog
    from watchdog.events import FileSystemEvent
    from watchdog.observers.api import BaseObserver

#: What changes a log. Opening and closing a file are events too, and some of them are our own.
_CHANGES: Final = frozenset({"created", "modified", "moved", "deleted"})
_OF_ONE_FILE: Final = frozenset({"created", "modified"})
#: When more files than this have changed, all are looked at.
_MAX_CHANGED: Final = 1000
#: Where watching fails it is tried again after the first time, then after twice as long each time.
_FIRST_RETRY_S: Final = 5.0
_LONGEST_RETRY_S: Final = 600.0


class Bell:
    """Rings when something changes in the folders, or in those of `transcripts` that are there.

    A context manager. The mutable state: which files changed since they were last taken, watchdog's
    observer, and when to try again where it fails.
    """

    def __init__(
        self,
        directories: Sequence[Path],
        *,
        recursive: bool = False,
        transcripts: Sequence[Path] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directories = directories
        self._recursive = recursive
        self._transcripts = transcripts
        self._clock = clock
        self.wakeup = Wakeup()
        self._lock = threading.Lock()  # between watchdog's thread and ours, in no signal handler
        self._changed: set[str] | None = set()  # None: anything may have
        self._observer: BaseObserver | None = None
        self._fault = ""
        self._folders: list[tuple[int, int] | None] = []
        self._named: dict[str, str] = {}  # a watched folder, and its name in the configuration
        self._retry_s = _FIRST_RETRY_S
        self._next_retry_s = 0.0

    def __enter__(self) -> Self:
        self._watch()
        return self

    def _watch(self) -> None:
        from watchdog.events import FileSystemEventHandler  # noqa: PLC0415
        from watchdog.observers import Observer  # noqa: PLC0415

        handler = FileSystemEventHandler()
        handler.on_any_event = self.on_any_event  # type: ignore[method-assign]
        self._folders = self._seen_folders()
        self._fault = ""
        observer: BaseObserver | None = None
        try:
            observer = Observer()
            for directory, recursive in self._watched():
                # Of a link watchdog would watch the link itself.
                folder = os.path.realpath(directory)
                self._named[folder] = os.fspath(directory)
                observer.schedule(handler, folder, recursive=recursive)
            observer.start()
            self._observer = observer
            self._fault = self._unwatched()
        except (OSError, RuntimeError) as error:
            # No instance, watch, descriptor or thread left, or no such folder. Then new lines are
            # only seen at the daemon's own pace.
            self._fault = str(error)
            if observer is not None:
                observer.stop()  # the watches that it did get, and their threads

    def _watched(self) -> Iterator[tuple[Path, bool]]:
        """The folders to watch, and whether those below them are to be watched as well.

        A missing folder of logs is a fault. One of transcripts is made by an agent, if it runs.
        """
        yield from ((directory, self._recursive) for directory in self._directories)
        yield from ((directory, True) for directory in self._transcripts if directory.is_dir())

    def _unwatched(self) -> str:
        """How many folders have no watch, as text: watchdog passes over those that get none."""
        watched = list(self._watched())
        if not any(recursive for _, recursive in watched):
            return ""
        watches = 0
        for info in Path("/proc/self/fdinfo").glob("*"):  # Linux; nothing elsewhere
            with suppress(OSError):
                watches += info.read_text().count("inotify wd:")
        folders = sum(
            sum(1 for _ in os.walk(directory)) if recursive else 1
            for directory, recursive in watched
        )
        return f"{folders - watches} folders are not watched" if 0 < watches < folders else ""

    def _seen_folders(self) -> list[tuple[int, int] | None]:
        """The folders that the paths lead to now, by device and inode; None for a missing one."""
        seen: list[tuple[int, int] | None] = []
        for directory in (*self._directories, *self._transcripts):
            try:
                status = directory.stat()
            except OSError:
                seen.append(None)
            else:
                seen.append((status.st_dev, status.st_ino))
        return seen

    def repair(self) -> None:
        """Watches anew where watching has stopped, or a folder was removed and made again.

        watchdog reports neither, nor anything in a folder made again. Where no watches can be had,
        each attempt costs as much as the first: they become rarer.
        """
        is_same = self._seen_folders() == self._folders
        now_s = self._clock()
        if self.state == "ok" and is_same:
            self._retry_s = _FIRST_RETRY_S
            return
        if is_same and now_s < self._next_retry_s:
            return
        self._next_retry_s = now_s + self._retry_s
        self._retry_s = min(2 * self._retry_s, _LONGEST_RETRY_S)
        self._stop()
        self._watch()
        self._note(None)  # whatever went unseen

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(timeout=1)
            self._observer = None

    @property
    def state(self) -> str:
        """Either "ok", or "degraded: " and why: then new lines are seen only by rescans."""
        if self._observer is None or self._fault:
            return f"degraded: {self._fault}"
        emitters = self._observer.emitters
        if not self._observer.is_alive() or not all(emitter.is_alive() for emitter in emitters):
            return "degraded: watchdog has stopped"
        return "ok"

    def wait(self, timeout_s: float) -> bool:
        """Waits for a ring; False after the timeout."""
        return wait(timeout_s, self.wakeup)

    def take(self) -> set[str] | None:
        """The files that changed since the last call, by path; None when anything may have."""
        with self._lock:
            changed, self._changed = self._changed, set()
        return changed

    def _note(self, path: str | None) -> None:
        """Notes that this file has changed (None: anything may have), and rings."""
        with self._lock:
            if path is None or self._changed is None or len(self._changed) >= _MAX_CHANGED:
                self._changed = None
            else:
                self._changed.add(path)
        self.wakeup.ring()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Called by watchdog, in its thread."""
        kind = event.event_type
        # Linux reports the file that came or went in it as well.
        is_echo = event.is_directory and kind == "modified" and sys.platform == "linux"
        if kind not in _CHANGES or is_echo:
            return
        # A move or a deletion is rare, and may concern more than one file.
        of_one = kind in _OF_ONE_FILE and not event.is_directory
        self._note(self._path(event) if of_one else None)

    def _path(self, event: FileSystemEvent) -> str | None:
        """The file's path under the configured folder's name; None when it is in none of them."""
        path = os.fsdecode(event.src_path)
        for folder, name in self._named.items():
            if path.startswith(f"{folder}/"):
                return name + path[len(folder) :]
        return None
