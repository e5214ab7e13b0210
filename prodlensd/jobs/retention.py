"""Prunes rows that are in a proven snapshot, and deletes logs that are proven to be in the ledger.

Nothing goes before the place that also holds it was compared, byte by byte. Both can be killed at
any moment and run again: a row moves within one transaction, and a log is deleted whole.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from prodlensd import snapshots
from prodlensd.ledger import Partition, Partitions, Reader, Source, Sources
from prodlensd.logs import keeping_writers_out
from prodlensd.model import file_id

#: Few enough for one transaction to take milliseconds: the daemon commits in between.
_ROWS_AT_ONCE: Final = 2_000
_PAGES_AT_ONCE: Final = 128
#: How many logs are proven by one reading of the folders.
_LOGS_AT_ONCE: Final = 16


class Pruned(NamedTuple):
    """A snapshot that alone holds its rows now, and how many were moved."""

    path: Path
    rows: int


def prune(
    partitions: Partitions,
    reader: Reader,
    path_of: Callable[[Partition], Path],
    prove: Callable[[Partition, Path], bytes | None],
    *,
    before_day: int,
    pause: Callable[[], None],
) -> Iterator[Pruned]:
    """Moves the rows of days before this one (days since 1970) out of the ledger.

    `prove` gives the digest of a file that is the manifest's, or None: then the next compaction
    writes the day again. `pause` is called after each transaction, so that other programs can
    write. Needs `snapshots.exclusive_lock` around it. Raises LedgerError or OSError.
    """
    for partition in reader.days.partitions().values():
        if not partition.is_prunable(before_day):
            continue
        path = path_of(partition)
        proven = prove(partition, path)
        if proven is None:
            partitions.mark_unwritten(partition.day)
            continue
        held = snapshots.count(path)
        expected = reader.days.count(*partition.span) + partition.pruned
        if held != expected:
            if partitions.get(partition.day) != partition:
                continue  # a late row has come: the next compaction is first
            raise AssertionError(f"{path} holds {held} calls, and the ledger {expected}")
        rows = 0
        while moved := partitions.prune(partition.day, proven, _ROWS_AT_ONCE):
            rows += moved
            pause()
        while partitions.give_back(_PAGES_AT_ONCE):
            pause()
        yield Pruned(path, rows)
    while partitions.drop_common(_ROWS_AT_ONCE):
        pause()
    while partitions.give_back(_PAGES_AT_ONCE):
        pause()


# Logs -------------------------------------------------------------------------------------------


class OldLog(NamedTuple):
    """An old log, and why it was `kept`; None: it was deleted."""

    path: str
    kept: str | None


def delete_logs(
    sources: Sources,
    reader: Reader,
    prove: Callable[[list[Source]], set[int]],
    *,
    untouched_us: int,
    patience_us: int,
    now_us: int,
) -> Iterator[OldLog]:
    """Deletes the logs that were last written to `untouched_us` ago or before, if nothing is lost.

    `prove` gives the source_id of those that are in the ledger line by line. A log that is not, or
    that cannot be deleted, is not read again for `patience_us`. Raises LedgerError.
    """
    before_us = now_us - untouched_us
    found = _old_logs(sources, reader, before_us, now_us - patience_us, now_us)
    while group := list(islice(found, _LOGS_AT_ONCE)):
        proven = prove([source for source, _ in group])
        for source, status in group:
            checkpoint = source.checkpoint
            kept: str | None = "what it holds is not all in the ledger: see prodlensd verify"
            if checkpoint.source_id in proven:
                kept = _delete(Path(checkpoint.path), status)
            if kept is not None:
                sources.note_kept(checkpoint.source_id, now_us)
            yield OldLog(checkpoint.path, kept)


def _old_logs(
    sources: Sources, reader: Reader, before_us: int, kept_before_us: int, now_us: int
) -> Iterator[tuple[Source, os.stat_result]]:
    for source in reader.sources.finished(before_us, kept_before_us):
        status = _untouched(source, before_us)
        if status is None:
            sources.note_kept(source.checkpoint.source_id, now_us)
        else:
            yield source, status


def _untouched(source: Source, before_us: int) -> os.stat_result | None:
    """The file of a source, if it is there, old, and not longer than what was read of it."""
    checkpoint = source.checkpoint
    with suppress(OSError):
        status = os.lstat(checkpoint.path)
        same = (file_id(status)[1], stat.S_ISREG(status.st_mode)) == (checkpoint.inode, True)
        whole = checkpoint.is_gzip or status.st_size == checkpoint.offset
        if same and whole and status.st_mtime_ns // 1000 < before_us:
            return status
    return None


def _delete(path: Path, expected: os.stat_result) -> str | None:
    """Deletes the file, if it is the one that was proven; returns why it did not, or None.

    The file is renamed first. A program that opens it by its name from then on finds no file and
    begins a new one; a program that had opened it before is kept waiting, and so it is noticed. The
    daemon follows a file of the other name too, should we be killed before the end.
    """
    aside = f".{path.name}.prodlensd-deletes"
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        return f"its folder cannot be opened: {error.strerror}"
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.open(path.name, flags, dir_fd=folder)
        try:
            with keeping_writers_out(file) as has_writer:
                if has_writer():
                    return "somebody may still write to it"
                if _identity(os.fstat(file)) != _identity(expected):
                    return "it has changed since"
                os.rename(path.name, aside, src_dir_fd=folder, dst_dir_fd=folder)
                if is_late := has_writer():
                    _link(aside, path.name, folder, expected.st_ino)
                os.unlink(aside, dir_fd=folder)
                os.fsync(folder)
                return "somebody has just opened it" if is_late else None
        finally:
            os.close(file)
    except OSError as error:
        return f"it cannot be deleted: {error.strerror}"
    finally:
        os.close(folder)


def _link(aside: str, name: str, folder: int, inode: int) -> None:
    """Gives a file its name back; when that has been taken, the name with the inode after it."""
    try:
        os.link(aside, name, src_dir_fd=folder, dst_dir_fd=folder)
    except FileExistsError:
        os.link(aside, f"{name}.{inode}", src_dir_fd=folder, dst_dir_fd=folder)


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
