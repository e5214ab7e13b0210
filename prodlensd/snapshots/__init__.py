"""One day, one Parquet file, whole; and where copies of it go. The only room with pyarrow."""

from prodlensd.snapshots.destinations import Destination, destination
from prodlensd.snapshots.files import (
    GROUP_ROWS,
    count,
    digest,
    grouped,
    ledger_rows,
    measure,
    merged,
    read_groups,
    rows_at,
    tables,
    write_snapshot,
)
from prodlensd.snapshots.locks import LockedError, exclusive_lock, shared_lock
from prodlensd.snapshots.published import Published, Table
from prodlensd.snapshots.results import write_rows, write_table
from prodlensd.snapshots.schema import LEDGER_COLUMNS, SCHEMA

__all__ = [
    "GROUP_ROWS",
    "LEDGER_COLUMNS",
    "SCHEMA",
    "Destination",
    "LockedError",
    "Published",
    "Table",
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
    "write_rows",
    "write_snapshot",
    "write_table",
]
