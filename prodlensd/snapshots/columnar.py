"""Rows of the ledger → tables, column by column.

A value of a row costs as much in Python as all else that becomes of it. So rows come with as few
values as can be: what repeats is one text for several columns, and each text is taken apart once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from prodlensd.snapshots.columns import ALONE, OF_DETAILS, TOGETHER
from prodlensd.snapshots.schema import ENCODED_SCHEMA, NANOUSD, SCHEMA, USD

#: Rows of a row group, or somewhat more; as many are held in memory at once.
GROUP_ROWS: Final = 65_536
#: Rows that are turned into columns at once: few enough to stay in the processor's cache.
_SLICE_ROWS: Final = 256


def tables(rows: Iterator[Sequence[Any]]) -> Iterator[pa.Table]:
    """Rows of LEDGER_COLUMNS as tables of ENCODED_SCHEMA, of GROUP_ROWS at most."""
    while slices := list(_slices(rows, GROUP_ROWS)):
        table = pa.Table.from_batches(slices)
        columns = {name: typed(table[name], ENCODED_SCHEMA.field(name)) for name in ALONE}
        columns |= _of_ids(columns["response_id"], columns["call_id"])
        columns |= _of_details(columns["details"])
        for names in TOGETHER:
            columns |= _of_arrays(joined(table[names[0]].dictionary_encode()), names)
        ordered = [columns[name] for name in ENCODED_SCHEMA.names]
        yield pa.table(ordered, schema=ENCODED_SCHEMA)


def _slices(rows: Iterator[Sequence[Any]], most: int) -> Iterator[pa.RecordBatch]:
    for _ in range(0, most, _SLICE_ROWS):
        if not (part := list(islice(rows, _SLICE_ROWS))):
            return
        columns = zip(*part, strict=True)
        yield pa.record_batch(list(map(_array, columns, _RAW)), schema=_RAW)


def _array(values: tuple[Any, ...], field: pa.Field) -> pa.Array:
    if values[0] is None and values.count(None) == len(values):
        return pa.nulls(len(values), field.type)  # a tenth of the time, and frequent
    return pa.array(values, field.type)


def raw(field: pa.Field) -> pa.Field:
    """The type that the ledger has this column in."""
    is_whole = field.type == USD or pa.types.is_boolean(field.type)
    return field.with_type(pa.int64()) if is_whole else field


#: What a row of LEDGER_COLUMNS has: columns that go together are called by the first of them.
_RAW: Final = pa.schema(
    [raw(SCHEMA.field(name)) for name in ALONE] + [(names[0], pa.string()) for names in TOGETHER]
)


def typed(column: pa.ChunkedArray, field: pa.Field) -> pa.Array:
    """The ledger's values of this column in the type that the field has."""
    array = joined(encoded(column, field))
    if field.type == USD:
        nano = array.cast(NANOUSD)
        return pa.Array.from_buffers(USD, len(nano), nano.buffers(), nano.null_count)
    return array if array.type == field.type else array.cast(field.type)


def joined(column: pa.ChunkedArray) -> pa.Array:
    """The column in one piece."""
    combined = column.combine_chunks()
    return combined.chunk(0) if isinstance(combined, pa.ChunkedArray) else combined


def _of_ids(ids: pa.Array, own_call_id: pa.Array) -> dict[str, pa.Array]:
    """The two ids of a call, which are its key with a space between, or its own one."""
    parts = pc.split_pattern(ids, " ", max_splits=1)
    return {
        "call_id": pc.coalesce(own_call_id, pc.list_element(parts, 0)),
        "response_id": pc.list_element(parts, 1),
    }


def _of_details(details: pa.DictionaryArray) -> dict[str, pa.Array]:
    """The columns that are parts of `details`."""
    objects = _read(details)
    fields = map(SCHEMA.field, OF_DETAILS)
    parts = {it.name: pa.array([part.get(it.name) for part in objects], it.type) for it in fields}
    return _spread(parts, details.indices)


def _of_arrays(arrays: pa.DictionaryArray, names: Sequence[str]) -> dict[str, pa.Array]:
    """The columns with these names: their values in a row are one array of JSON."""
    fields = map(SCHEMA.field, names)
    columns = zip(fields, zip(*_read(arrays), strict=True), strict=True)
    parts = {it.name: pa.array(values, raw(it).type).cast(it.type) for it, values in columns}
    return _spread(parts, arrays.indices)


def _read(texts: pa.DictionaryArray) -> list[Any]:
    """What the JSON of each text says, of which there are as many as different ones."""
    return list(map(orjson.loads, texts.dictionary.to_pylist()))


def _spread(parts: Mapping[str, pa.Array], indices: pa.Array) -> dict[str, pa.Array]:
    """For each row the value with its index, or NULL."""
    return {
        name: encoded(values, ENCODED_SCHEMA.field(name)).take(indices)
        for name, values in parts.items()
    }


def encoded(column: pa.Array | pa.ChunkedArray, field: pa.Field) -> pa.Array | pa.ChunkedArray:
    """The column with a dictionary, where the field has one."""
    is_due = pa.types.is_dictionary(field.type) and column.type != field.type
    return column.dictionary_encode() if is_due else column
