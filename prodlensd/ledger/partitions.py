"""Notes what became of the days' snapshots, and prunes rows that are in them.

A call is in exactly one place for a reader: in `call`, or in `pruned` and then in the snapshot of
its day. Pruning moves it from the one to the other within one transaction, after the snapshot that
holds it was proven.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from prodlensd.ledger import earlier
from prodlensd.ledger.connection import translated
from prodlensd.ledger.days import DayReader, span_of
from prodlensd.ledger.writing import Ledger
from prodlensd.model import SnapshotFile

_OF_DAY: Final = "FROM call WHERE started_us >= ?1 AND started_us < ?2 ORDER BY started_us, key"
_UP_TO: Final = "FROM call WHERE started_us >= ?1 AND (started_us, key) <= (?2, ?3)"
_KEEP: Final = (
    f"INSERT INTO pruned SELECT started_us, key_digest(key), source_id, source_offset {_UP_TO}"
)
_ANNOUNCE: Final = """
    UPDATE partition SET host = ?, directory = ?, sha256 = ?, next_sha256 = ? WHERE day = ?
"""
_MARK_CLEAN: Final = """
    UPDATE partition SET compacted_version = ?, rows = ?, file_bytes = ?, sha256 = ?,
        next_sha256 = NULL, directory = ?, compacted_us = ?
    WHERE day = ?
"""


class Partitions:
    """Notes what became of the days' snapshots. Without state of its own."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._days = DayReader(ledger)
        self.get = self._days.partition

    # The manifest

    def announce(
        self, day: int, host: str, directory: Path, there: bytes | None, coming: bytes
    ) -> None:
        """Notes, before a file is renamed, the digests of the one there and of the one coming.

        After a kill between the renaming and `mark_clean` either is then known as ours. `directory`
        is the folder of the file there: until `mark_clean` it may be the only one.
        """
        self._ledger.write(_ANNOUNCE, (host, str(directory), there, coming, day))

    def mark_clean(
        self, day: int, version: int, file: SnapshotFile, directory: Path, now_us: int
    ) -> None:
        """Notes that the snapshot holds this version of the day; it may have grown meanwhile."""
        self._ledger.write(_MARK_CLEAN, (version, *file, str(directory), now_us, day))

    def mark_unwritten(self, day: int) -> None:
        """Makes the snapshot of this day due to be written again."""
        self._ledger.write("UPDATE partition SET compacted_version = 0 WHERE day = ?", (day,))

    def note_directory(self, directory: Path) -> None:
        """Notes this folder for the files of a version that had only one."""
        sql = "UPDATE partition SET directory = ? WHERE directory IS NULL AND sha256 NOT NULL"
        self._ledger.write(sql, (str(directory),))

    def has_work(self, directory: Path, prune_before_day: int | None) -> bool:
        """Whether a snapshot is behind, or not in this folder, or a day has rows to prune.

        Files are looked at, but not opened.
        """
        try:
            return self._days.has_facts() or any(
                not day.is_clean
                or not day.is_noted
                or day.is_prunable(prune_before_day)
                or not day.is_in(directory)
                for day in self._days.partitions().values()
            )
        except OSError:  # the job will meet it too, and report it
            return True

    # Pruning

    def prune(self, day: int, proven: bytes, most: int) -> int:
        """Moves the first rows of the day to `pruned`, `most` at most; returns how many.

        0 also when its snapshot is behind the ledger, or has another SHA-256 than `proven`.
        """
        db = self._ledger.db
        while self._ledger.spending.sum_up(span_of(day)[1]):  # before the rows are gone
            pass
        with self._ledger.transaction():
            partition = self.get(day)
            if not partition.is_clean or partition.sha256 != proven:
                return 0
            first_rows = f"SELECT started_us, key {_OF_DAY} LIMIT ?3"
            keys = db.execute(first_rows, (*partition.span, most)).fetchall()
            if not keys:
                return 0
            up_to = (partition.span[0], *keys[-1])
            db.execute(_KEEP, up_to)
            db.execute(f"DELETE {_UP_TO}", up_to)
            if db.changes() != len(keys):
                raise AssertionError(f"pruned {db.changes()} rows instead of {len(keys)}")
            db.execute("UPDATE partition SET pruned = pruned + ? WHERE day = ?", (len(keys), day))
        return len(keys)

    def drop_common(self, most: int) -> int:
        """Deletes what only pruned calls had in common, `most` rows at most; returns how many."""
        with self._ledger.transaction():
            return self._ledger.rows.drop_common(most)

    def drop_facts(self, most: int) -> int:
        """Deletes what earlier versions kept of pruned calls, once their day's snapshot has it.

        Returns of how many calls it was: `most` at most, 0 when there are no more.
        """
        if not self._days.has_facts():
            return 0
        db = self._ledger.db
        with self._ledger.transaction():
            db.execute(earlier.DROP, (most,))
            dropped = db.changes()
            if not self._days.has_facts():
                db.execute("DELETE FROM fact")
        return dropped

    def give_back(self, pages: int) -> bool:
        """Gives free pages back to the file system, `pages` at most; whether there are more.

        None in a ledger that an earlier version made: there, free pages are only used again.
        """
        db = self._ledger.db
        with translated(self._ledger.path):
            if db.pragma("auto_vacuum") != 2 or db.pragma("freelist_count") == 0:  # noqa: PLR2004 - incremental
                return False
            with db:
                # A statement of this kind gives back one page for each step.
                db.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()
            return bool(db.pragma("freelist_count"))
