"""Tables of any columns as one Parquet file: answers, not snapshots."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

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


def write_rows(path: Path, columns: Mapping[str, type], rows: Sequence[Sequence[Any]]) -> None:
    """Writes an answer as a Parquet file, whole or not at all. Raises OSError.

    `columns` are their titles with the types of their values: str, int, float or Decimal, the last
    with nine places. Whole numbers that 64 bits cannot hold become decimals without places.
    """
    values = list(zip(*rows, strict=True)) or [() for _ in columns]
    table = pa.table(
        {
            title: _column(column, kind)
            for (title, kind), column in zip(columns.items(), values, strict=True)
        }
    )
    with replacing(path) as file:
        pq.write_table(table, file)


_TYPES: Final = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    Decimal: pa.decimal128(38, 9),
}


def _column(values: Sequence[Any], kind: type) -> pa.Array:
    try:
        return pa.array(values, _TYPES[kind])
    except (OverflowError, pa.ArrowInvalid):
        exact = [None if value is None else Decimal(value) for value in values]
        return pa.array(exact, pa.decimal128(38, 0))
