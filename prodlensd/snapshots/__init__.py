"""One day, one Parquet file, whole; and where copies of it go. The only room with pyarrow."""

from prodlensd.snapshots.destinations import Destination, destination
from prodlensd.snapshots.files import (
    LockedError,
    count,
    digest,
    exclusive_lock,
    grouped,
    ledger_rows,
    measure,
    merged,
    read_groups,
    rows_at,
    shared_lock,
    tables,
    write_snapshot,
)
from prodlensd.snapshots.schema import LEDGER_COLUMNS, SCHEMA

__all__ = [
    "LEDGER_COLUMNS",
    "SCHEMA",
    "Destination",
    "LockedError",
    "count",
    "destination",
    "digest",
    "exclusive_lock",
    "grouped",
    "ledger_rows",
    "measure",
    "merged",
    "read_groups",
    "rows_at",
    "shared_lock",
    "tables",
    "write_snapshot",
]
