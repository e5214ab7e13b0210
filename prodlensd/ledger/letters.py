"""What somebody decided about dead letters: to accept them, and to keep only the fact of them.

Such a letter is still a row, and counted in its source: lines = traces + duplicates + dead letters
+ blanks. The tally of `reason`, which is what `status` warns of, counts the open ones only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from prodlensd.ledger.connection import BUSY_TIMEOUT_MS, translated
from prodlensd.ledger.writing import Ledger

#: What each operation changes: the letters in the states that it comes after.
BEFORE: Final = {"dismissed": ("open",), "purged": ("open", "dismissed")}
_FIND: Final = "SELECT reason, state, length(raw) FROM dead_letter WHERE key = ?"
_DISMISS: Final = "UPDATE dead_letter SET state = 'dismissed' WHERE key = ?"
_DELETE: Final = """
    DELETE FROM dead_letter WHERE key = ?
    RETURNING rowid, key, source_id, source_offset, length, reason, detail, received_us
"""
_KEEP_THE_FACT: Final = """
    INSERT INTO dead_letter (
        rowid, key, source_id, source_offset, length, reason, detail, received_us, raw, state
    ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, x'', 'purged')
"""
#: Others wait no longer for us than this.
_LOG_PATIENCE_MS: Final = 50


class Accepted(NamedTuple):
    """What one transaction accepted: letters of each reason, and the bytes kept of them before."""

    letters: Counter[str]
    kept_bytes: int


class Letters:
    """The writing side. Without state of its own."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._db = ledger.db

    def accept(self, state: str, keys: Iterable[bytes]) -> Accepted:
        """Moves these letters to the state `dismissed` or `purged`, all or none.

        Those that are there already, or gone, are passed over.
        """
        accepted: Counter[str] = Counter()
        opened: Counter[str | None] = Counter()
        due: list[tuple[bytes]] = []
        kept_bytes = 0
        with self._ledger.transaction(), self._overwriting():
            for key in dict.fromkeys(keys):
                letter = self._db.execute(_FIND, (key,)).fetchone()
                if letter is None or letter[1] not in BEFORE[state]:
                    continue
                reason, before, size_bytes = letter
                due.append((key,))
                accepted[reason] += 1
                opened[reason] -= before == "open"
                kept_bytes += size_bytes
            self._dismiss(due) if state == "dismissed" else self._purge(due)
            self._ledger.tally("reason", opened)
        return Accepted(accepted, kept_bytes)

    def _dismiss(self, keys: list[tuple[bytes]]) -> None:
        self._db.executemany(_DISMISS, keys)

    def _purge(self, keys: list[tuple[bytes]]) -> None:
        """Deletes the letters and inserts what stays of them, in their places.

        An update would leave each page to the one short row that is left in it.
        """
        facts = self._db.executemany(_DELETE, keys).fetchall()
        self._db.executemany(_KEEP_THE_FACT, facts)

    @contextmanager
    def _overwriting(self) -> Iterator[None]:
        """Pages that are freed within are overwritten with zeros."""
        before = self._db.pragma("secure_delete")
        self._db.execute("PRAGMA secure_delete = ON")
        try:
            yield
        finally:
            self._db.execute(f"PRAGMA secure_delete = {before}")

    def empty_log(self) -> bool:
        """Moves what the write-ahead log holds to the database, and the log to no bytes at all.

        False when somebody is reading or writing just now.
        """
        with translated(self._ledger.path):
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._db.set_busy_timeout(_LOG_PATIENCE_MS)
            try:
                busy, *_ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").get
            finally:
                self._db.set_busy_timeout(BUSY_TIMEOUT_MS)
        return not busy
