"""Copies the snapshots that are up to date to where the team's are, and tries again.

Being offline for days is normal: nothing is lost by it, and the first attempt that succeeds copies
all that has come up since. Any step may be killed and repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from prodlensd import snapshots
from prodlensd.model import US_PER_S, SnapshotFile
from prodlensd.publish import Destination
from prodlensd.store import DayReader, Partitions
from prodlensd.store.days import Partition, Publishing

_FIRST_WAIT_S: Final = 60
_LONGEST_WAIT_S: Final = 3600


class Copied(NamedTuple):
    """One snapshot copied."""

    key: str
    size_bytes: int


class PublishError(Exception):
    """Not all could be copied."""


def publish(
    partitions: Partitions,
    reader: DayReader,
    url: str,
    *,
    open_destination: Callable[[str], Destination],
    path_of: Callable[[Partition], Path],
    now: Callable[[], int],
) -> Iterator[Copied]:
    """Copies what is due to be copied to `url`, oldest day first, and says so as each is there.

    Raises PublishError when that fails; when to try again is then noted in the ledger.
    """
    before = reader.publishing()
    try:
        target = open_destination(url)
        for partition in reader.unpublished(url):
            path = path_of(partition)
            file = SnapshotFile(partition.rows or 0, path.stat().st_size, snapshots.digest(path))
            if file.sha256 != partition.sha256:
                _check_is_new(partition, partitions, path)
                continue
            key = "/".join(path.parts[-2:])
            target.put(path, key)
            partitions.mark_published(url, partition.day, file, now())
            yield Copied(key, file.size_bytes)
    except (OSError, ValueError) as error:
        failing = _failing_since(before, str(error), now())
        partitions.note_publishing(failing)
        raise PublishError(failing.fault) from error
    if before is not None:
        partitions.note_publishing(None)


def _check_is_new(partition: Partition, partitions: Partitions, path: Path) -> None:
    """Passes when the file was written anew meanwhile: the next attempt has it."""
    if partitions.get(partition.day) == partition:
        raise OSError(f"{path} is not what was written: see prodlensd verify")


def _failing_since(before: Publishing | None, fault: str, now_us: int) -> Publishing:
    failures, since_us = (before.failures, before.since_us) if before else (0, now_us)
    wait_s = min(_FIRST_WAIT_S << min(failures, 10), _LONGEST_WAIT_S)
    return Publishing(failures + 1, since_us, now_us + wait_s * US_PER_S, fault)
