"""The dead letters, and how they are accepted: dismissed, or purged, which removes their bytes.

An accepted letter is still a row, and counted in its source: lines = traces + duplicates + dead
letters + blanks. The tally of `reason`, which `status` warns of, counts the open letters only.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from msgspec import Struct

from prodlensd.ledger.connection import BUSY_TIMEOUT_MS, Database, translated
from prodlensd.ledger.sources import Place
from prodlensd.ledger.writing import Ledger
from prodlensd.model import LOG


class Refused(NamedTuple):
    """A dead letter without its bytes: of `length`, the ledger has `kept_bytes`."""

    key: bytes
    source_id: int
    path: str
    source_offset: int
    length: int
    kept_bytes: int
    reason: str
    detail: str
    received_us: int
    state: str  # one of LETTER_STATES
    format: str = LOG  # of its source

    @property
    def is_of_transcript(self) -> bool:
        """Whether its bytes are in the transcript only; its key is their digest."""
        return self.format != LOG


#: Yet to be looked at; accepted; accepted, and its bytes removed.
LETTER_STATES: Final = ("open", "dismissed", "purged")
_COLUMNS: Final = (
    "d.key, d.source_id, coalesce(s.path, ''), d.source_offset, d.length, length(d.raw), "
    "d.reason, d.detail, d.received_us, d.state, coalesce(s.format, 'log')"
)
_FROM: Final = "FROM dead_letter AS d LEFT JOIN source AS s USING (source_id)"
_REFUSED: Final = f"SELECT {_COLUMNS} {_FROM}"
_CHOSEN: Final = "(?1 IS NULL OR d.reason = ?1) AND d.state IN (SELECT value FROM json_each(?2))"


class LetterReader(Struct, frozen=True):
    """The dead letters, in all three states."""

    ledger: Database

    def count_by_state(self, reason: str | None = None) -> dict[str, int]:
        """How many there are (of one reason) in each state. Looks at all of them."""
        sql = "SELECT state, count(*) FROM dead_letter WHERE ?1 IS NULL OR reason = ?1 GROUP BY 1"
        return dict.fromkeys(LETTER_STATES, 0) | dict(self.ledger.all(sql, (reason,)))

    def count_by_source(self) -> dict[int, int]:
        """How many each source has. Looks at all of them."""
        sql = "SELECT source_id, count(*) FROM dead_letter GROUP BY source_id"
        return dict(self.ledger.all(sql))

    def newest(
        self,
        reason: str | None = None,
        states: Iterable[str] = LETTER_STATES,
        most: int | None = None,
    ) -> Iterator[Refused]:
        """Those (of one reason) in these states, newest first, `most` of them or all."""
        chosen = (reason, json.dumps(list(states)), -1 if most is None else most)
        sql = f"{_REFUSED} WHERE {_CHOSEN} ORDER BY d.rowid DESC LIMIT ?3"
        return map(Refused._make, self.ledger.all(sql, chosen))

    def in_pages(
        self, reason: str | None, states: Iterable[str], page_letters: int
    ) -> Iterator[Refused]:
        """Those (of one reason) in these states that are there now, oldest first.

        They are read `page_letters` at a time. Between two pages no view is held open, which would
        let the write-ahead log grow.
        """
        chosen = (reason, json.dumps(list(states)))
        sql = (
            f"SELECT d.rowid, {_COLUMNS} {_FROM} WHERE {_CHOSEN} "
            "AND d.rowid > ?3 AND d.rowid <= ?4 ORDER BY d.rowid LIMIT ?5"
        )
        last = self.ledger.value("SELECT coalesce(max(rowid), 0) FROM dead_letter")
        after = 0
        while page := list(self.ledger.all(sql, (*chosen, after, last, page_letters))):
            yield from (Refused._make(letter) for _, *letter in page)
            after = page[-1][0]

    def with_bytes(self, reason: str | None = None) -> Iterator[tuple[Refused, bytes]]:
        """Those (of one reason) with their bytes, oldest first, read as one view.

        Not those whose bytes were purged.
        """
        chosen = (reason, json.dumps(["open", "dismissed"]))
        sql = f"SELECT {_COLUMNS}, d.raw {_FROM} WHERE {_CHOSEN} ORDER BY d.rowid"
        return ((Refused._make(letter), raw) for *letter, raw in self.ledger.all(sql, chosen))

    def between(self, first_key: bytes, last_key: bytes) -> list[Refused]:
        """Those with keys in this range, both ends included, but no more than two of them.

        Two mean that the range does not identify one letter.
        """
        sql = f"{_REFUSED} WHERE d.key BETWEEN ? AND ? LIMIT 2"
        return [Refused._make(letter) for letter in self.ledger.all(sql, (first_key, last_key))]

    def bytes_of(self, key: bytes) -> bytes:
        """What is kept of this letter's bytes; nothing when it is no longer there."""
        sql = "SELECT coalesce(max(raw), x'') FROM dead_letter WHERE key = ?"
        return bytes(self.ledger.value(sql, (key,)))

    def place(self, key: bytes) -> Place | None:
        """Where the letter of this key was read; None when there is none."""
        sql = "SELECT source_id, source_offset FROM dead_letter WHERE key = ?"
        return self.ledger.one(sql, (key,))


#: The states that a letter can be accepted from, by the state that it comes to.
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
#: Other programs wait no longer for us than this.
_LOG_PATIENCE_MS: Final = 50


class Accepted(NamedTuple):
    """How many letters of each reason one transaction accepted, and how many bytes they had."""

    letters: Counter[str]
    kept_bytes: int


class Letters:
    """Accepts dead letters. Without state of its own."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._db = ledger.db

    def accept(self, state: str, keys: Iterable[bytes]) -> Accepted:
        """Brings these letters to the state `dismissed` or `purged`, all or none.

        Letters that are in it already, or gone, are passed over.
        """
        accepted: Counter[str] = Counter()
        opened: Counter[str] = Counter()
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
            if state == "dismissed":
                self._db.executemany(_DISMISS, due)
            else:  # deleted and inserted again: an update would leave one short row to each page
                facts = self._db.executemany(_DELETE, due).fetchall()
                self._db.executemany(_KEEP_THE_FACT, facts)
            self._ledger.tallies.count("reason", opened)
        return Accepted(accepted, kept_bytes)

    @contextmanager
    def _overwriting(self) -> Iterator[None]:
        """Within, pages that are freed are overwritten with zeros."""
        before = self._db.pragma("secure_delete")
        self._db.execute("PRAGMA secure_delete = ON")
        try:
            yield
        finally:
            self._db.execute(f"PRAGMA secure_delete = {before}")

    def empty_log(self) -> bool:
        """Moves the write-ahead log into the database, and shortens its file to nothing.

        False when another program is reading or writing just now.
        """
        with translated(self._ledger.path):
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            self._db.set_busy_timeout(_LOG_PATIENCE_MS)
            try:
                busy, *_ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").get
            finally:
                self._db.set_busy_timeout(BUSY_TIMEOUT_MS)
        return not busy
