"""Copies the snapshots that are up to date to the team's, at publish.url.

To be offline for days is normal: nothing is lost, and the first attempt that succeeds copies all
that is due by then. Any step can be killed and repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from prodlensd import snapshots
from prodlensd.ledger import (
    FailedAttempts,
    Ledger,
    Partition,
    Partitions,
    Publishing,
    Reader,
)
from prodlensd.model import TemporaryError
from prodlensd.snapshots import Destination


class Copied(NamedTuple):
    """One snapshot copied."""

    key: str
    size_bytes: int


class PublishError(TemporaryError):
    """Not all snapshots could be copied."""


def publish(
    ledger: Ledger,
    reader: Reader,
    url: str,
    *,
    open_destination: Callable[[str], Destination],
    path_of: Callable[[Partition], Path],
    now: Callable[[], int],
) -> Iterator[Copied]:
    """Copies the snapshots that are due to `url`, the oldest day first; yields each when copied.

    Raises PublishError when one cannot be copied; the ledger then has when to try again.
    """
    notes, before = Publishing(ledger), reader.publishing.failed()
    try:
        target = open_destination(url)
        for partition in reader.publishing.due(url):
            path = path_of(partition)
            found = snapshots.digest(path) if path.exists() else b""
            if found != partition.sha256:
                _mark_unwritten(partition, Partitions(ledger))
                continue
            key = "/".join(path.parts[-2:])
            target.put(path, key)
            notes.note_copied(url, partition, now())
            yield Copied(key, partition.file_bytes or 0)
    except (OSError, ValueError) as error:
        failed = FailedAttempts.one_more(before, str(error), now())
        notes.note_failed(failed)
        raise PublishError(failed.fault) from error
    if before is not None:
        notes.note_failed(None)


def _mark_unwritten(partition: Partition, partitions: Partitions) -> None:
    """Makes a file that is gone or damaged due to be written again by the next compaction.

    Not when the day's file has been written meanwhile: the next attempt copies that one.
    """
    if partitions.get(partition.day) == partition:
        partitions.mark_unwritten(partition.day)
