"""Tables of any columns as one Parquet file: answers, not snapshots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from prodlensd.durable import replacing


class Batches(Protocol):
    """Record batches of one schema."""

    schema: pa.Schema

    def __iter__(self) -> Iterator[pa.RecordBatch]: ...


def write_table(file: BinaryIO, batches: Batches) -> int:
    """Writes all rows to the file; returns how many. Raises OSError or ValueError."""
    rows = 0
    with pq.ParquetWriter(file, batches.schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def write_rows(path: Path, titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Writes an answer as a Parquet file, whole or not at all. Raises OSError.

    Whole numbers that 64 bits cannot hold become decimals.
    """
    columns = list(zip(*rows, strict=True)) or [() for _ in titles]
    table = pa.table(
        {title: _column(values) for title, values in zip(titles, columns, strict=True)}
    )
    with replacing(path) as file:
        pq.write_table(table, file)


def _column(values: Sequence[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (OverflowError, pa.ArrowInvalid):
        return pa.array([None if value is None else Decimal(value) for value in values])
