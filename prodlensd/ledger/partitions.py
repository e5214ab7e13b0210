"""The writing side of snapshots: the manifest, what is pruned, and what was published.

A call is in exactly one place for a reader: in `trace`, or in `pruned` and then in the snapshot of
its day. Pruning moves it from the one to the other within one transaction, after the snapshot that
holds it was proven.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from prodlensd.ledger.connection import translated
from prodlensd.ledger.days import PARTITION_COLUMNS, Partition, span_of
from prodlensd.ledger.sources import FINISHED
from prodlensd.ledger.writing import Ledger
from prodlensd.model import SnapshotFile

#: The facts of a trace that many others share and no snapshot holds, in the order of `fact.facts`.
FACTS: Final = ("session_via", "developer_via", "service_tier", "anomalies", "details")

# ruff: noqa: S608 - statements are put together from names of columns
_NOT_NOTED: Final = "(directory IS NULL AND sha256 NOT NULL)"
_FACTS: Final = f"json_array({', '.join(FACTS)})"
_NEXT: Final = "FROM trace WHERE started_us >= ?1 AND started_us < ?2 ORDER BY started_us, key"
_CHOSEN: Final = "FROM trace WHERE started_us >= ?1 AND (started_us, key) <= (?2, ?3)"
_KEEP_FACTS: Final = f"INSERT OR IGNORE INTO fact (facts) SELECT DISTINCT {_FACTS} {_CHOSEN}"
_KEEP: Final = f"""
    INSERT INTO pruned SELECT
        started_us, key_digest(key), source_id, source_offset,
        (SELECT fact_id FROM fact WHERE facts = {_FACTS}),
        cache_write_1h_tokens, audio_in_tokens, audio_out_tokens, cache_hit,
        gateway_nanousd, table_nanousd, price_id
    {_CHOSEN}
"""


class Partitions:
    """Notes what became of the days' snapshots. Without state of its own."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._db = ledger.db

    # The manifest

    def get(self, day: int) -> Partition:
        """How far the snapshot of this day is."""
        with translated(self._ledger.path):
            return Partition(
                *self._db.execute(
                    f"SELECT {PARTITION_COLUMNS} FROM partition WHERE day = ?", (day,)
                ).get
            )

    def announce(
        self, day: int, host: str, directory: Path, there: bytes | None, coming: bytes
    ) -> None:
        """Notes, before a file is renamed, the digests of the one there and of the one coming.

        So that after a kill between the renaming and `mark_clean` either is known for ours.
        `directory` is where the one there is: until `mark_clean` it may be all there is.
        """
        with self._ledger.transaction():
            self._db.execute(
                "UPDATE partition SET host = ?, directory = ?, sha256 = ?, next_sha256 = ? "
                "WHERE day = ?",
                (host, str(directory), there, coming, day),
            )

    def mark_clean(
        self, day: int, version: int, file: SnapshotFile, directory: Path, now_us: int
    ) -> None:
        """Notes which version of the day its snapshot holds; later changes have raised it."""
        with self._ledger.transaction():
            self._db.execute(
                "UPDATE partition SET compacted_version = ?, rows = ?, file_bytes = ?, sha256 = ?, "
                "next_sha256 = NULL, directory = ?, compacted_us = ? WHERE day = ?",
                (version, *file, str(directory), now_us, day),
            )

    def mark_unwritten(self, day: int) -> None:
        """Has the snapshot of this day written again: of the same version, so the same file."""
        with self._ledger.transaction():
            self._db.execute("UPDATE partition SET compacted_version = 0 WHERE day = ?", (day,))

    def note_directory(self, directory: Path) -> None:
        """Notes that the files of a version that had only one folder are in this one."""
        with self._ledger.transaction():
            self._db.execute(
                f"UPDATE partition SET directory = ? WHERE {_NOT_NOTED}", (str(directory),)
            )

    def has_work(self, directory: Path, prune_before_day: int | None) -> bool:
        """Whether a day's snapshot is behind, or not in this folder, or may not be its own.

        Or a day before this one has rows to prune. No file is opened for it.
        """
        sql = (
            f"SELECT 1 FROM partition WHERE version > compacted_version OR {_NOT_NOTED} "
            "OR (day < ? AND rows > pruned) LIMIT 1"
        )
        with translated(self._ledger.path):
            if self._db.execute(sql, (prune_before_day,)).get is not None:
                return True
            days = self._db.execute(f"SELECT {PARTITION_COLUMNS} FROM partition").fetchall()
        try:
            return not all(Partition._make(row).is_in(directory) for row in days)
        except OSError:  # whoever does the work says what it is
            return True

    # Pruning

    def prune(self, day: int, proven: bytes, most: int) -> int:
        """Moves the first rows of the day, so many at most, to `pruned`; returns how many.

        0 as well when its snapshot is not the one with the digest `proven`, or behind the ledger.
        """
        with self._ledger.transaction():
            partition = self.get(day)
            if not partition.is_clean or partition.sha256 != proven:
                return 0
            from_us, until_us = span_of(day)
            next_rows = f"SELECT started_us, key {_NEXT} LIMIT ?3"
            keys = self._db.execute(next_rows, (from_us, until_us, most)).fetchall()
            if not keys:
                return 0
            chosen = (from_us, *keys[-1])
            self._db.execute(_KEEP_FACTS, chosen)
            self._db.execute(_KEEP, chosen)
            self._db.execute(f"DELETE {_CHOSEN}", chosen)
            if self._db.changes() != len(keys):
                raise AssertionError(f"pruned {self._db.changes()} rows instead of {len(keys)}")
            self._db.execute(
                "UPDATE partition SET pruned = pruned + ? WHERE day = ?", (len(keys), day)
            )
        return len(keys)

    def give_back(self, pages: int) -> bool:
        """Gives so many free pages back to the system; whether there are more of them.

        Not in a ledger that an earlier version made: there, free pages are only used again.
        """
        with translated(self._ledger.path):
            if self._db.pragma("auto_vacuum") != 2 or self._db.pragma("freelist_count") == 0:  # noqa: PLR2004 - incremental
                return False
            with self._db:
                # A statement of this kind gives back one page for each step.
                self._db.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()
            return bool(self._db.pragma("freelist_count"))

    # Logs

    def has_finished_logs(self, read_before_us: int, kept_before_us: int) -> bool:
        """Whether `Reader.finished_sources` has any."""
        sql = f"SELECT 1 FROM source {FINISHED} LIMIT 1"
        with translated(self._ledger.path):
            return self._db.execute(sql, (read_before_us, kept_before_us)).get is not None

    def note_kept(self, source_id: int, now_us: int) -> None:
        """Notes that this log was not proven, so that it is not read again and again."""
        with self._ledger.transaction():
            self._db.execute(
                "UPDATE source SET kept_us = ? WHERE source_id = ?", (now_us, source_id)
            )
