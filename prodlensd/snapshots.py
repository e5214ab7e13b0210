"""One UTC day of the ledger → one Parquet file, atomically.

`<directory>/event_date=YYYY-MM-DD/<host>.parquet`, a hive layout that DuckDB, pandas, Polars and
Spark read as one table. A file is complete or not there: it is written under a name that no reader
looks for, flushed to disk, and renamed. Snapshots are derived; the ledger is the truth.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.parquet as pq

_TEXT: Final = pa.dictionary(pa.int32(), pa.string())

#: The columns of the `traces` view but for `event_date`, which is the folder's, with real types.
SCHEMA: Final = pa.schema(
    [
        ("session_id", pa.string()),
        ("developer_id", _TEXT),
        ("repo_slug", _TEXT),
        ("timestamp", pa.timestamp("us", tz="UTC")),
        ("model", _TEXT),
        ("provider", _TEXT),
        ("call_type", _TEXT),
        ("tokens_in", pa.int64()),
        ("tokens_out", pa.int64()),
        ("total_tokens", pa.int64()),
        ("cache_read_tokens", pa.int64()),
        ("cache_write_tokens", pa.int64()),
        ("reasoning_tokens", pa.int64()),
        ("latency_ms", pa.float64()),
        ("ttft_ms", pa.float64()),
        ("status", _TEXT),
        ("status_code", pa.int64()),
        ("cost_usd", pa.decimal128(18, 9)),
        ("cost_source", _TEXT),
        ("call_id", pa.string()),
        ("end_user", _TEXT),
        ("tags", _TEXT),
        ("accepted", pa.bool_()),
        ("diff_ratio", pa.float64()),
        ("accepted_lines", pa.int64()),
        ("source_id", pa.int64()),
        ("source_offset", pa.int64()),
        ("host", _TEXT),
    ]
)

#: What the ledger gives for these columns: the exact value instead of the view's text or float.
_EXACT: Final = {"timestamp": "started_us", "cost_usd": "cost_nanousd"}
#: The ledger's columns for one row of a snapshot, in the snapshot's order.
LEDGER_COLUMNS: Final[tuple[str, ...]] = tuple(_EXACT.get(name, name) for name in SCHEMA.names)

_ROW_GROUP_ROWS: Final = 65_536
_EPOCH: Final = date(1970, 1, 1)


def snapshot_path(directory: Path, day: int, host: str) -> Path:
    """Where the snapshot of a day (days since 1970) stands."""
    return directory / f"event_date={_EPOCH + timedelta(days=day)}" / f"{host}.parquet"


def write_snapshot(path: Path, rows: Iterator[Sequence[Any]]) -> tuple[int, int]:
    """Writes rows of LEDGER_COLUMNS in place of the file at `path`; returns their number and bytes.

    Raises OSError; what stood at `path` before is then untouched.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.tmp"
    temporary.unlink(missing_ok=True)  # of somebody who was killed
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
            written = _write(file, rows)
            file.flush()
            os.fsync(file.fileno())
            size_bytes = file.tell()
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)
    return written, size_bytes


def measure(path: Path) -> tuple[int, int]:
    """How many rows the snapshot at `path` holds, and the sum of their costs in nano-dollars.

    Every cost is read, group by group. Raises OSError, or ValueError when it is no such file.
    """
    rows, usd = 0, Decimal()
    with path.open("rb") as opened, pq.ParquetFile(opened) as file:
        for batch in file.iter_batches(_ROW_GROUP_ROWS, columns=["cost_usd"]):
            rows += batch.num_rows
            usd += sum(filter(None, batch.column("cost_usd").to_pylist()), Decimal())
    return rows, int(usd.scaleb(9))


def _write(file: BinaryIO, rows: Iterator[Sequence[Any]]) -> int:
    written = 0
    with pq.ParquetWriter(file, SCHEMA, compression="zstd", write_statistics=True) as writer:
        while group := list(islice(rows, _ROW_GROUP_ROWS)):
            writer.write_table(_table(group))
            written += len(group)
    return written


def _table(rows: list[Sequence[Any]]) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.table(
        [_array(column, field) for column, field in zip(columns, SCHEMA, strict=True)],
        schema=SCHEMA,
    )


def _array(column: tuple[Any, ...], field: pa.Field) -> pa.Array:
    if field.name == "cost_usd":
        column = tuple(None if nano is None else Decimal(nano).scaleb(-9) for nano in column)
    elif field.name == "accepted":
        column = tuple(None if value is None else bool(value) for value in column)
    elif pa.types.is_dictionary(field.type):
        return pa.array(column, pa.string()).dictionary_encode()
    return pa.array(column, field.type)


def _sync_folder(folder: Path) -> None:
    """Makes the rename itself durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
