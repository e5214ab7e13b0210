"""The lock of a folder of snapshots: one writer, or readers of all days of one moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fasteners import InterProcessReaderWriterLock

from prodlensd.model import TemporaryError

LOCK_NAME: Final = ".prodlensd.lock"


class LockedError(TemporaryError):
    """Another program has locked the folder: a compaction, or a reader of all days."""


@contextmanager
def shared_lock(directory: Path) -> Iterator[None]:
    """Keeps all snapshots as they are, for one view of all days.

    Waits for a compaction to end, and later ones wait for this: read and let go. Raises OSError
    when this user may not open the lock file for writing.
    """
    lock = InterProcessReaderWriterLock(str(directory / LOCK_NAME))
    with lock.read_lock():
        yield


@contextmanager
def exclusive_lock(directory: Path) -> Iterator[None]:
    """Keeps others from writing snapshots, and from `shared_lock`. Raises LockedError, OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = InterProcessReaderWriterLock(str(directory / LOCK_NAME))
    if not lock.acquire_write_lock(blocking=False):
        raise LockedError(f"{directory} is locked by another compaction or by a reader")
    try:
        yield
    finally:
        lock.release_write_lock()
