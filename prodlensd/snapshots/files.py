"""One UTC day of the ledger → one Parquet file, atomically.

`<directory>/event_date=YYYY-MM-DD/<host>.parquet`, a hive layout that DuckDB, pandas, Polars and
Spark read as one table. A file is complete or does not exist: it is written under a name that
readers pass over, flushed to disk, and renamed. Snapshots are derived from the ledger, but for the
calls that were pruned from it: these are in snapshots only.

To read one file, or several that need not be of one moment, takes no lock. To read all days as they
were at one moment, read within `shared_lock`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from prodlensd.durable import replacing
from prodlensd.model import SnapshotFile
from prodlensd.snapshots.columnar import GROUP_ROWS, encoded, joined, raw, typed
from prodlensd.snapshots.columns import LEDGER_NAMES
from prodlensd.snapshots.schema import ENCODED_SCHEMA, NANOUSD, SCHEMA, USD

#: In these columns hardly any value repeats: a dictionary would make them larger. Whole numbers as
#: their differences take no more bits than they need; ids all have the same length, or begin alike.
_ENCODINGS: Final = {
    **dict.fromkeys(("timestamp", "source_offset"), "DELTA_BINARY_PACKED"),
    **dict.fromkeys(("tokens_in", "tokens_out", "total_tokens"), "DELTA_BINARY_PACKED"),
    **dict.fromkeys(("cache_read_tokens", "cache_write_tokens"), "DELTA_BINARY_PACKED"),
    **dict.fromkeys(("cost_usd", "gateway_cost_usd", "table_cost_usd"), "DELTA_BINARY_PACKED"),
    "call_id": "DELTA_LENGTH_BYTE_ARRAY",
    "response_id": "DELTA_BYTE_ARRAY",
    **dict.fromkeys(("latency_ms", "ttft_ms"), "PLAIN"),
}
#: Nobody is spared a row group by knowing the first and last of these in the alphabet.
_WITHOUT_STATISTICS: Final = ("call_id", "response_id", "details")


def digest(path: Path) -> bytes:
    """The SHA-256 of a file. Raises OSError."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").digest()


# Writing ----------------------------------------------------------------------------------------


def grouped(parts: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in tables of at least GROUP_ROWS, but for the last: each a row group."""
    held: list[pa.Table] = []
    for part in parts:
        held.append(part)
        if sum(table.num_rows for table in held) >= GROUP_ROWS:
            yield _group(held)
            held = []
    if held:
        yield _group(held)


def _group(parts: Sequence[pa.Table]) -> pa.Table:
    table = pa.concat_tables(parts).unify_dictionaries()
    columns = list(map(encoded, table.columns, ENCODED_SCHEMA))
    return pa.table(columns, schema=ENCODED_SCHEMA)


def write_snapshot(
    path: Path,
    groups: Iterable[pa.Table],
    *,
    metadata: Mapping[str, str],
    announce: Callable[[SnapshotFile], None],
) -> SnapshotFile:
    """Writes the row groups in place of the file at `path`, with the metadata in its schema.

    `announce` is called with the new file before it is renamed. Raises OSError; the file that was
    at `path` is then untouched.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with replacing(path) as file:
        output = _Output(file)
        rows = _write(output, groups, metadata)
        written = SnapshotFile(rows, output.tell(), output.sha256.digest())
        announce(written)
    return written


def _write(file: _Output, groups: Iterable[pa.Table], metadata: Mapping[str, str]) -> int:
    rows = 0
    with pq.ParquetWriter(
        file,
        ENCODED_SCHEMA,
        compression="zstd",
        use_dictionary=[name for name in SCHEMA.names if name not in _ENCODINGS],
        column_encoding=_ENCODINGS,
        store_decimal_as_integer=True,
        write_statistics=[name for name in SCHEMA.names if name not in _WITHOUT_STATISTICS],
        write_batch_size=8192,  # a twelfth less time than with the default of 1024
        store_schema=False,  # Parquet's own types are enough, and 2 kB smaller
        sorting_columns=[pq.SortingColumn(SCHEMA.get_field_index("timestamp"))],
    ) as writer:
        for group in groups:
            writer.write_table(group, row_group_size=group.num_rows)
            rows += group.num_rows
        noted = {**metadata, "rows": str(rows)}
        writer.add_key_value_metadata({f"prodlensd.{name}": text for name, text in noted.items()})
    return rows


class _Output:
    """Writes to a file, and digests what is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size_bytes = 0
        self.sha256 = sha256()
        self.closed = False

    def write(self, block: Any) -> int:  # noqa: ANN401 - whatever pyarrow hands over
        self.sha256.update(block)
        self._size_bytes += len(block)
        return self._file.write(block)

    def tell(self) -> int:
        return self._size_bytes

    def flush(self) -> None:
        self._file.flush()


# Reading ----------------------------------------------------------------------------------------


def count(path: Path) -> int:
    """How many rows the snapshot at `path` has by its metadata. Raises OSError or ValueError."""
    with path.open("rb") as opened, pq.ParquetFile(opened) as file:
        return int(file.metadata.num_rows)


def measure(path: Path) -> tuple[int, int]:
    """How many rows the snapshot at `path` holds, and the sum of their costs in nano-dollars.

    Every cost is read, group by group. Raises OSError, or ValueError for another kind of file.
    """
    rows = nanousd = 0
    for table in read_groups(path, ["cost_usd"]):
        rows += table.num_rows
        nanousd += sum(filter(None, _values(table["cost_usd"])))
    return rows, nanousd


def read_groups(path: Path, names: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The rows of a snapshot (these columns of them), a row group at a time.

    A column that came after the file was written is NULL. Raises OSError, or ValueError for another
    kind of file.
    """
    wanted = SCHEMA.names if names is None else names
    with path.open("rb") as opened, pq.ParquetFile(opened) as file:
        held = [name for name in wanted if name in file.schema_arrow.names]
        for batch in file.iter_batches(GROUP_ROWS, columns=held):
            yield _complete(pa.Table.from_batches([batch]), wanted)


def _complete(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """The table with exactly these columns of SCHEMA, in this order."""
    fields = [SCHEMA.field(name) for name in names]
    columns = [
        table[field.name]
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in fields
    ]
    return pa.table(columns, schema=pa.schema(fields))


def ledger_rows(path: Path, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """These of LEDGER_COLUMNS, for each row of a snapshot, as the ledger had them.

    Raises OSError, or ValueError for another kind of file.
    """
    columns = [_FILED[name] for name in names]
    for table in read_groups(path, columns):
        yield from zip(*(_values(table[name]) for name in columns), strict=True)


_FILED: Final = {ledger_name: name for name, ledger_name in LEDGER_NAMES.items()}


def _values(column: pa.ChunkedArray) -> list[Any]:
    """The ledger's values of this column, in a tenth of the time that `to_pylist` takes."""
    array = _untyped(column)
    if pa.types.is_string(array.type):
        array = array.dictionary_encode()
        texts = [*array.dictionary.to_pylist(), None]
        return [texts[index] for index in _numbers(array.indices.fill_null(-1), "i")]
    if pa.types.is_int64(array.type):
        return _numbers(array, "q")
    return _numbers(array, "d") if pa.types.is_float64(array.type) else array.to_pylist()


def _numbers(array: pa.Array, code: Literal["i", "q", "d"]) -> list[Any]:
    """The numbers of an array, which has this format of `struct`; None for its nulls."""
    if not len(array):
        return []
    held: memoryview[Any] = memoryview(array.buffers()[1]).cast(code)
    numbers: list[Any] = held[array.offset :][: len(array)].tolist()
    for index in pc.indices_nonzero(array.is_null()).to_pylist() if array.null_count else ():
        numbers[index] = None
    return numbers


def _untyped(column: pa.ChunkedArray) -> pa.Array:
    """The column; costs and times as the whole numbers that they are in the ledger."""
    array = joined(column)
    if array.type == USD:
        bits = (array.buffers(), array.null_count, array.offset)
        array = pa.Array.from_buffers(NANOUSD, len(array), *bits)
    elif not pa.types.is_timestamp(array.type):
        return array
    return array.cast(pa.int64())


# Merging ----------------------------------------------------------------------------------------


def merged(ours: Iterator[pa.Table], theirs: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """The rows of two streams of tables, each in order of time, in one order of time.

    Holds a table or two of each stream at a time. Their texts have no dictionaries, nor have ours
    then.
    """
    ours = (table.cast(SCHEMA) for table in ours)
    one, other = next(ours, None), next(theirs, None)
    while one is not None and other is not None:
        # Each stream's next table begins at or after the end of its present one: up to the earlier
        # of the two ends, all rows are here.
        until = min(one["timestamp"][-1].as_py(), other["timestamp"][-1].as_py())
        (first, one), (second, other) = _split(one, until), _split(other, until)
        yield pa.concat_tables([first, second]).sort_by("timestamp")
        one = one if one.num_rows else next(ours, None)
        other = other if other.num_rows else next(theirs, None)
    for rest, more in ((one, ours), (other, theirs)):
        if rest is not None:
            yield rest
            yield from more


def _split(table: pa.Table, until: Any) -> tuple[pa.Table, pa.Table]:  # noqa: ANN401 - a time
    """The rows until a time, which is included, and those after it."""
    upto = pc.sum(pc.less_equal(table["timestamp"], until)).as_py() or 0
    return table.slice(0, upto), table.slice(upto)


class Facts(Protocol):
    """What is known of one row beside its snapshot: a NamedTuple of some of LEDGER_COLUMNS."""

    def _asdict(self) -> dict[str, Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


def rows_at(
    tables: Iterable[pa.Table],
    places: Callable[[int, int], Mapping[tuple[int, int], Facts | None]],
) -> Iterator[pa.Table]:
    """The rows of these tables that were read at one of `places`, with the facts of each.

    `places` gives those of a span of time: from and to, both included, in microseconds. A place is
    (source_id, source_offset). A fact is taken where the row has none.
    """
    for table in tables:
        times = _values(table["timestamp"])
        there = places(times[0], times[-1])
        pairs = [*zip(_values(table["source_id"]), _values(table["source_offset"]), strict=True)]
        kept = table.filter(pa.array([pair in there for pair in pairs]))
        if kept.num_rows:
            yield _with_facts(kept, [there[pair] for pair in pairs if pair in there])


def _with_facts(table: pa.Table, facts: list[Facts | None]) -> pa.Table:
    """The table with these facts, row by row, where it has NULL."""
    names = next((known._asdict().keys() for known in facts if known is not None), ())
    rows = (known or (None,) * len(names) for known in facts)
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        index = SCHEMA.get_field_index(_FILED[name])
        field = SCHEMA.field(index)
        known = typed(pa.array(values, raw(field).type), field)
        table = table.set_column(index, field, pc.coalesce(table.column(index), known))
    return table
