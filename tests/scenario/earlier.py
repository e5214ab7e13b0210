"""Ledgers as earlier versions wrote them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import apsw
import pytest

from prodlensd.ledger import connection, schema
from prodlensd.ledger.rows import COLUMNS

#: The schemas with which dead letters have a state, calls a bill, and snapshots all there is.
LETTER_STATES, BILLS, WHOLE_SNAPSHOTS = 3, 4, 5
_OLD_LETTER = "INSERT INTO dead_letter VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
#: Rows had no bill and no reason before schema 4.
_OLD_COLUMNS = len(COLUMNS) - 2
OLD = ", ".join(COLUMNS[:_OLD_COLUMNS])
_OLD_INSERT = (
    f"INSERT INTO trace SELECT {', '.join(f'?{n + 1}' for n in range(_OLD_COLUMNS))} "
    f"WHERE ?{_OLD_COLUMNS + 1} IS NULL OR ?{_OLD_COLUMNS + 2} NOT NULL OR 1"
)


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
    patch.setattr("prodlensd.ledger.writing.Ledger._drop_purged", lambda *_: 0)
    if version < LETTER_STATES:
        patch.setattr("prodlensd.ledger.writing.Ledger._insert_dead_letter", _insert_old_letter)
    if version < BILLS:
        patch.setattr("prodlensd.ledger.writing.INSERT", _OLD_INSERT)
        patch.setattr("prodlensd.ledger.tallies.count_words", lambda _: Counter())


def _insert_old_letter(self: Any, letter: Any, now_us: int) -> bool:
    before = self.db.total_changes()
    self.db.execute(_OLD_LETTER, (*letter, now_us))
    return bool(self.db.total_changes() > before)
