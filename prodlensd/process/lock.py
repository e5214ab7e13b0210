"""One daemon per ledger: a lock file beside it, released by the kernel however the daemon ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from prodlensd.model import TemporaryError

if TYPE_CHECKING:
    from fasteners import InterProcessLock

#: Longer than `is_held` holds the lock to see whether it can.
_ACQUIRE_S: Final = 0.5


class AlreadyRunningError(Exception):
    """Another process holds the lock."""


def lock_path(ledger_path: Path) -> Path:
    """The lock file of a ledger. Never deleted: two processes would then lock two files."""
    return ledger_path.with_name(f"{ledger_path.name}.lock")


def import_lock_path(ledger_path: Path) -> Path:
    """The lock file of the import into a ledger. Never deleted, either."""
    return ledger_path.with_name(f"{ledger_path.name}.import.lock")


@contextmanager
def import_lock(ledger_path: Path) -> Iterator[None]:
    """Keeps other imports out. Raises TemporaryError."""
    path = import_lock_path(ledger_path)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = _lock_file(path)
    if not lock.acquire(blocking=False):
        raise TemporaryError(f"another import is running: it holds {path}")
    try:
        yield
    finally:
        lock.release()


class InstanceLock:
    """Held while the daemon runs. A context manager; entering it raises AlreadyRunningError."""

    def __init__(self, ledger_path: Path) -> None:
        self._path = lock_path(ledger_path)
        self._lock = _lock_file(self._path)

    def __enter__(self) -> Self:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._lock.acquire(timeout=_ACQUIRE_S, delay=0.05, max_delay=0.05):
            raise AlreadyRunningError(f"another prodlensd is running: it holds {self._path}")
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def is_held(ledger_path: Path) -> bool | None:
    """Whether a daemon runs on this ledger; None where this user may not ask for its lock.

    Not to be called in the daemon's own process: that would free the lock.
    """
    path = lock_path(ledger_path)
    try:
        if not path.exists():
            return False
        if not os.access(path, os.R_OK | os.W_OK):
            return None
        probe = _lock_file(path)
        if probe.acquire(blocking=False):
            probe.release()
            return False
    except OSError:
        return None
    return True


def _lock_file(path: Path) -> InterProcessLock:
    from fasteners import InterProcessLock  # noqa: PLC0415 - signals are to be caught before it loads

    return InterProcessLock(str(path))
