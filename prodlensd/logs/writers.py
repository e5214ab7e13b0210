"""Who has a file open for writing. Linux says so when asked for a read lease on it."""

from __future__ import annotations

import errno
import fcntl
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def has_writer(file: int) -> bool | None:
    """Whether any process has this file open for writing; None where the system does not say.

    Only for a file without a name: if another process could open it, that would break the lease
    with a signal that nothing here expects.
    """
    is_leased = _lease(file)
    if is_leased:
        _end_lease(file)
    return None if is_leased is None else not is_leased


@contextmanager
def keeping_writers_out(file: int) -> Iterator[Callable[[], bool]]:
    """Makes a process wait that opens this file for writing; yields whether there is any.

    That is True as well where the system does not say. Only in the main thread: SIGIO, which
    reports such an open, is ignored meanwhile.
    """
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        if not _lease(file):
            yield lambda: True
            return
        try:
            # A lease that is being broken is no longer the one that was taken.
            yield lambda: fcntl.fcntl(file, fcntl.F_GETLEASE) != fcntl.F_RDLCK
        finally:
            _end_lease(file)
    finally:
        signal.signal(signal.SIGIO, before)


def _lease(file: int) -> bool | None:
    """Takes a read lease; False when the file has a writer, None where no lease can be had."""
    if not hasattr(fcntl, "F_SETLEASE"):
        return None
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return False if error.errno == errno.EAGAIN else None
    return True


def _end_lease(file: int) -> None:
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
