"""A ledger, asked as another process would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw


def query(ledger: Path, sql: str) -> list[Any]:
    """The rows; single columns without their tuple."""
    db = apsw.Connection(str(ledger), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return [row[0] if len(row) == 1 else row for row in db.execute(sql)]
    finally:
        db.close()
