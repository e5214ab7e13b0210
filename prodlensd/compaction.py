"""Brings the snapshots up to date with the ledger, one dirty day at a time.

Any step may be killed and repeated: a day is marked clean only after its file stands, and only for
the version of the day that was there before it was read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from fasteners import InterProcessReaderWriterLock

from prodlensd import snapshots
from prodlensd.store import Reader, Store

LOCK_NAME: Final = ".prodlensd.lock"


class CompactionLockedError(Exception):
    """Another compaction is running, or a reader holds the folder still."""


class Compacted(NamedTuple):
    """One snapshot written."""

    path: Path
    rows: int
    size_bytes: int


def compact(
    store: Store, reader: Reader, directory: Path, host: str, *, now: Callable[[], int]
) -> list[Compacted]:
    """Writes the snapshot of every dirty day; `now` is the time in microseconds.

    Raises CompactionLockedError, StoreError or OSError.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = InterProcessReaderWriterLock(str(directory / LOCK_NAME))
    if not lock.acquire_write_lock(blocking=False):
        raise CompactionLockedError(f"{directory} is locked by another compaction or by a reader")
    try:
        written = []
        for dirty in store.dirty_days():
            path = snapshots.snapshot_path(directory, dirty.day, host)
            day = reader.day(dirty.day, snapshots.LEDGER_COLUMNS)
            rows, size_bytes = snapshots.write_snapshot(path, day)
            store.mark_clean(dirty, rows=rows, file_bytes=size_bytes, now_us=now())
            written.append(Compacted(path, rows, size_bytes))
        return written
    finally:
        lock.release_write_lock()
