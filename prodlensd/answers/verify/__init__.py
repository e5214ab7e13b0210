"""Proves the ledger: reads every log file that is still there again, and compares.

What is proven of a source: each line before its offset is in the ledger once, as the trace or dead
letter that was first read there, or as a duplicate of one read elsewhere, or is blank; its counters
are those very numbers; its checkpoint's digests come out the same. And of the whole ledger: its
tables hold as many rows as the sources count, the tallies and totals are true, the database is
sound, and each snapshot holds its day.

The ledger is read as it was at one moment, so a daemon may go on meanwhile. A file that is gone by
now, or whose bytes are no longer those that were committed, is named and not compared: the daemon
takes it for another source as well.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec import Struct

from prodlensd.answers.facts import Follow
from prodlensd.answers.verify.differences import Difference, Differences
from prodlensd.answers.verify.ledger import LedgerChecks
from prodlensd.answers.verify.rereading import Places, Replay, Rereader, Unread, reread
from prodlensd.ledger import Counts, LedgerError, Partition, Reader, Source
from prodlensd.logs import PassedOver
from prodlensd.model import Checkpoint, Sighting

COMPLETE: Final = "complete"
GAPS: Final = "gaps"
BROKEN: Final = "broken"
EXIT_CODES: Final = {COMPLETE: 0, BROKEN: 1, GAPS: 3}

__all__ = [
    "BROKEN",
    "COMPLETE",
    "EXIT_CODES",
    "GAPS",
    "Difference",
    "Follow",
    "Unread",
    "Verdict",
    "proven",
    "verify",
]


class Verdict(Struct, frozen=True):
    """What was proven, and what does not hold."""

    sources: int
    reread: int  # of the sources, those read again
    unread: tuple[Unread, ...]
    totals: Counts
    open_gaps: int
    known_lost_bytes: int
    snapshots: int  # those compared with their day
    snapshots_due: int  # those that are behind the ledger, and not compared
    differences: tuple[Difference, ...]
    more_differences: int
    passed_over: dict[str, PassedOver]  # files in the log folders that no rule takes for logs

    @property
    def state(self) -> str:
        """COMPLETE, GAPS or BROKEN."""
        if self.differences:
            return BROKEN
        return GAPS if self.open_gaps else COMPLETE


def verify(
    ledger_path: Path,
    *,
    follow: Follow,
    snapshot_path: Callable[[Partition], Path] | None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Verdict:
    """Compares the ledger with the logs, with itself, and with its snapshots.

    Pruned calls are read from their snapshots. `snapshot_path` gives the place of a day's snapshot;
    None: there are none to compare. `progress` gets the bytes read so far, and those to read in
    all. Raises LedgerError.
    """
    differences = Differences()
    with Reader(ledger_path) as reader, reader.one_moment():
        sources, totals = reader.sources.all(), reader.sources.counts()
        gaps = reader.sources.open_gaps()
        checks = LedgerChecks(reader, str(ledger_path), differences)
        places = Places(follow)
        places.look()
        _compare_folders(places, differences)
        rereader = Rereader(reader, follow, places.find)
        unread: list[Unread] = []
        compared = due = 0
        sound = checks.compare_integrity()
        try:
            unread = reread(sources, rereader, places.look, differences, progress)
            unread = [*map(places.explained, unread)]
            checks.compare_tables(sources, snapshot_path)
            if snapshot_path is not None:
                compared, due = checks.compare_snapshots(ledger_path, snapshot_path)
        except LedgerError as error:
            if sound:
                raise
            differences.expect(str(ledger_path), "database", "readable", str(error))
    return Verdict(
        sources=len(sources),
        reread=len(sources) - len(unread),
        unread=tuple(unread),
        totals=totals,
        open_gaps=gaps.number,
        known_lost_bytes=gaps.known_bytes,
        snapshots=compared,
        snapshots_due=due,
        differences=tuple(differences.named),
        more_differences=differences.count - len(differences.named),
        passed_over=places.passed_over,
    )


def _compare_folders(places: Places, differences: Differences) -> None:
    """Adds a difference for each folder that is there and cannot be read."""
    for folder, reason in places.unreadable_folders():
        differences.add(Difference(folder, None, "folder", "readable", reason))


def proven(
    reader: Reader,
    sources: list[Source],
    *,
    follow: Follow,
) -> set[int]:
    """Of these live sources, those whose file is there and holds nothing that the ledger lacks.

    As in `verify`: read again from 0, each line is in the ledger once. Raises LedgerError.
    """
    tailer = follow(())

    def find(checkpoint: Checkpoint) -> Sighting | None:
        sighting = tailer.sight(checkpoint.path)
        is_same = sighting is not None and sighting.inode == checkpoint.inode
        return sighting if is_same else None

    rereader = Rereader(reader, follow, find)
    replays = [Replay(source) for source in sources]
    differences = Differences()
    unread = {u.source_id for u in rereader.compare(replays, differences, lambda _bytes: None)}
    return {
        replay.goal.source_id
        for replay in replays
        if replay.finished and not replay.differences.count and replay.goal.source_id not in unread
    }
