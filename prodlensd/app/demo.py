"""What the ledger of the demonstration holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from prodlensd.ledger import LedgerError, Reader, span_of

#: The day of the sample calls: 2025-10-12, in days since 1970.
_DAY: Final = 20_373
COLUMNS: Final = (
    "session_id", "developer_id", "model", "tokens_in", "tokens_out", "cost_nanousd", "cost_source"
)  # fmt: skip


def count_lines(ledger: Path) -> int | None:
    """How many lines were ingested; None while no daemon has begun the ledger."""
    try:
        with Reader(ledger) as reader:
            return reader.sources.counts().lines if reader.heartbeat() else None
    except LedgerError:
        return None


def sample_calls(ledger: Path) -> list[tuple[Any, ...]]:
    """The sample calls, with these columns of the ledger. Raises LedgerError."""
    with Reader(ledger) as reader:
        return list(reader.days.traces(*span_of(_DAY), COLUMNS))
