"""Copies the snapshots that are up to date to where the team's are, and tries again.

Being offline for days is normal: nothing is lost by it, and the first attempt that succeeds copies
all that has come up since. Any step may be killed and repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from prodlensd import snapshots
from prodlensd.ledger import (
    FailedAttempts,
    Ledger,
    Partition,
    Partitions,
    Publishing,
    Reader,
)
from prodlensd.model import US_PER_S
from prodlensd.snapshots import Destination

_FIRST_WAIT_S: Final = 60
_LONGEST_WAIT_S: Final = 3600


class Copied(NamedTuple):
    """One snapshot copied."""

    key: str
    size_bytes: int


class PublishError(Exception):
    """Not all could be copied."""


def publish(
    ledger: Ledger,
    reader: Reader,
    url: str,
    *,
    open_destination: Callable[[str], Destination],
    path_of: Callable[[Partition], Path],
    now: Callable[[], int],
) -> Iterator[Copied]:
    """Copies what is due to be copied to `url`, oldest day first, and says so as each is there.

    Raises PublishError when that fails; when to try again is then noted in the ledger.
    """
    notes, before = Publishing(ledger), reader.publishing.failed()
    try:
        target = open_destination(url)
        for partition in reader.publishing.due(url):
            path = path_of(partition)
            found = snapshots.digest(path) if path.exists() else b""
            if found != partition.sha256:
                _have_written_again(partition, Partitions(ledger))
                continue
            key = "/".join(path.parts[-2:])
            target.put(path, key)
            notes.note_copied(url, partition, now())
            yield Copied(key, partition.file_bytes or 0)
    except (OSError, ValueError) as error:
        failed = _one_more(before, str(error), now())
        notes.note_failed(failed)
        raise PublishError(failed.fault) from error
    if before is not None:
        notes.note_failed(None)


def _have_written_again(partition: Partition, partitions: Partitions) -> None:
    """Leaves a file that is gone or damaged to the next compaction, which knows what to do.

    Not when it is another one by now: then it was written meanwhile, and the next attempt has it.
    """
    if partitions.get(partition.day) == partition:
        partitions.mark_unwritten(partition.day)


def _one_more(before: FailedAttempts | None, fault: str, now_us: int) -> FailedAttempts:
    """The wait doubles with each attempt that fails in a row."""
    failures, since_us = (before.failures, before.since_us) if before else (0, now_us)
    wait_s = min(_FIRST_WAIT_S << min(failures, 10), _LONGEST_WAIT_S)
    return FailedAttempts(failures + 1, since_us, now_us + wait_s * US_PER_S, fault)
