"""Ledgers as earlier versions wrote them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import apsw
import pytest

from prodlensd.ledger import connection, schema
from prodlensd.ledger.rows import COLUMNS
from prodlensd.ledger.sources import _CHECKPOINTS as CHECKPOINTS

#: The schemas with which dead letters have a state, calls a bill, snapshots all there is, sources
#: count records, sources have a format, and what is common is kept once.
LETTER_STATES, BILLS, WHOLE_SNAPSHOTS, RECORDS, FORMATS, COMMON_ONCE = 3, 4, 5, 6, 9, 10
_COLUMNS = "key, source_id, source_offset, length, reason, detail, raw, received_us"
# Bound as this version binds them: behind the bytes comes a digest.
_OLD_LETTER = (
    f"INSERT INTO dead_letter ({_COLUMNS}) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?9 "
    "WHERE ?8 IS NULL ON CONFLICT DO NOTHING"
)
_OLD_ADVANCE = """
    UPDATE source SET path = ?1, size_bytes = ?2, offset = ?3, chain = ?4,
        record_bytes = ?6, record_digest = ?7, lines = lines + ?8, traces = traces + ?9,
        duplicates = duplicates + ?10, dead_letters = dead_letters + ?11, blanks = blanks + ?12,
        last_read_us = ?15
    WHERE ?5 = '' AND ?13 NOT NULL AND ?14 = 0 AND source_id = ?16 AND offset = ?17
        AND state = 'live'
"""
#: The memory of a transcript was not yet kept, and is empty of a log.
_ADVANCE_OF_LOGS = """
    UPDATE source SET path = ?1, size_bytes = ?2, offset = ?3, chain = ?4,
        record_bytes = ?6, record_digest = ?7, lines = lines + ?8, traces = traces + ?9,
        duplicates = duplicates + ?10, dead_letters = dead_letters + ?11, blanks = blanks + ?12,
        records = records + ?13, passed_over = passed_over + ?14, last_read_us = ?15
    WHERE ?5 = '' AND source_id = ?16 AND offset = ?17 AND state = 'live'
"""
_REGISTER_LOG = """
    INSERT INTO source (path, host, dev, inode, size_bytes, chain, first_seen_us, state)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE ?9 = 'log' RETURNING source_id
"""
#: Rows had no bill and no reason before schema 4.
_OLD_COLUMNS = len(COLUMNS) - 2
OLD = ", ".join(COLUMNS[:_OLD_COLUMNS])


def begin(ledger: Path, version: int) -> apsw.Connection:
    """A ledger of that schema, with nothing in it."""
    db = apsw.Connection(str(ledger))
    db.execute("PRAGMA journal_mode = WAL")
    for script in schema.MIGRATIONS[:version]:
        db.execute(script)
    # Its views were others; that there were some has to do.
    db.execute("CREATE VIEW traces AS SELECT * FROM trace")
    db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}; PRAGMA user_version = {version}")
    return db


def write_as(version: int, patch: pytest.MonkeyPatch) -> None:
    """Makes the program write to such a ledger as the version did that began it."""
    patch.setattr(connection, "_migrate", lambda *_: None)
    patch.setattr("prodlensd.ledger.writing.Ledger._not_pruned", lambda _self, rows: rows)
    patch.setattr("prodlensd.ledger.writing.Ledger._drop_known", lambda *_: None)
    if version < FORMATS:
        sources = "prodlensd.ledger.sources"
        of_logs = CHECKPOINTS.replace("format, memory", "'log', ''")
        patch.setattr(f"{sources}._CHECKPOINTS", of_logs)
        patch.setattr(f"{sources}._REGISTER", _REGISTER_LOG)
        patch.setattr("prodlensd.ledger.writing._ADVANCE", _ADVANCE_OF_LOGS)
        transcript_calls = "prodlensd.ledger.transcript_calls.TranscriptCalls"
        patch.setattr(f"{transcript_calls}.parted", lambda _self, rows: ([], rows))
    if version < RECORDS:
        patch.setattr("prodlensd.ledger.writing._INSERT_LETTER", _OLD_LETTER)
        patch.setattr("prodlensd.ledger.writing._ADVANCE", _OLD_ADVANCE)
    patch.setattr("prodlensd.ledger.writing.Spending.add", lambda *_: None)
    patch.setattr("prodlensd.ledger.writing.Witnesses.parted", lambda _self, rows: ([], rows))
    if version < COMMON_ONCE:
        columns = _OLD_COLUMNS if version < BILLS else len(COLUMNS)
        patch.setattr(
            "prodlensd.ledger.call_rows.CallRows.insert",
            lambda self, rows: self._db.executemany(
                f"INSERT INTO trace VALUES ({', '.join('?' * columns)})",
                [row[:columns] for row in rows],
            ),
        )
    if version < BILLS:
        patch.setattr("prodlensd.ledger.tallies.count_words", lambda _: Counter())
