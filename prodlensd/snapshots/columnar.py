"""Rows of the ledger → tables, column by column.

A value of a row costs as much in Python as all else that becomes of it. So a row has only what its
call has for itself, and the number of what it has in common with others, which is looked up once.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, repeat
from typing import Any, Final, Protocol

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from prodlensd.snapshots.columns import COMMON, NO_NUMBER, OF_DETAILS, OWN
from prodlensd.snapshots.schema import ENCODED_SCHEMA, NANOUSD, SCHEMA, USD

#: Rows of a row group, or somewhat more; as many are held in memory at once.
GROUP_ROWS: Final = 65_536
#: Rows of what is common that are held in memory at once: more than one group can need.
_MOST_COMMON: Final = 2 * GROUP_ROWS
#: Rows that are turned into columns at once: few enough to stay in the processor's cache.
_SLICE_ROWS: Final = 256


class Days(Protocol):
    """The ledger's calls: see `ledger.DayReader`."""

    def own_rows(self, from_us: int, until_us: int) -> Iterator[tuple[Any, ...]]:
        """The values of OWN, and the number of what is common, of each call of the span in turn.

        For a whole number that a call does not have, NO_NUMBER.
        """

    def common_rows(self, common_ids: Iterable[int]) -> Iterator[tuple[Any, ...]]:
        """These numbers, each with the values of COMMON, in any order."""

    def hosts(self) -> Mapping[int, str]:
        """The host that each source was read on."""


class Tables:
    """The ledger's calls as tables. What they have in common is looked up once.

    The mutable state: what is known of that, in `_common`.
    """

    def __init__(self, days: Days) -> None:
        self._days = days
        self._common = _Common(days)

    def of(self, from_us: int, until_us: int) -> Iterator[pa.Table]:
        """The calls of the span, as tables of ENCODED_SCHEMA, of GROUP_ROWS at most."""
        rows = self._days.own_rows(from_us, until_us)
        while own := _columns(rows, GROUP_ROWS):
            columns = {name: typed(own[name], ENCODED_SCHEMA.field(name)) for name in OWN}
            columns |= _of_ids(columns["response_id"], columns["call_id"])
            columns |= _of_sources(columns["source_id"], self._days.hosts())
            columns |= self._common.columns(own[_COMMON_ID].dictionary_encode())
            ordered = [columns[name] for name in ENCODED_SCHEMA.names]
            yield pa.table(ordered, schema=ENCODED_SCHEMA)


def _columns(rows: Iterator[Sequence[Any]], most: int) -> dict[str, pa.Array]:
    """The columns of the next rows, of `most` or somewhat more; {} when there are no more."""
    columns = [_Numbers() if field.type == pa.int64() else _Others(field) for field in _RAW]
    for _ in range(0, most, _SLICE_ROWS):
        if not (part := list(islice(rows, _SLICE_ROWS))):
            break
        for column, values in zip(columns, zip(*part, strict=True), strict=True):
            column.add(values)
    arrays = [column.array() for column in columns]
    return dict(zip(_RAW.names, arrays, strict=True)) if len(arrays[0]) else {}


class _Numbers:
    """Whole numbers. Arrow would take three times as long to look at each of them."""

    def __init__(self) -> None:
        self._packed = bytearray()

    def add(self, values: tuple[int, ...]) -> None:
        self._packed += struct.pack(f"{len(values)}q", *values)

    def array(self) -> pa.Array:
        buffers = [None, pa.py_buffer(self._packed)]
        numbers = pa.Array.from_buffers(pa.int64(), len(self._packed) // 8, buffers)
        return pc.if_else(pc.equal(numbers, NO_NUMBER), None, numbers)


class _Others:
    """Values of this type, or None."""

    def __init__(self, field: pa.Field) -> None:
        self._type = field.type
        self._arrays: list[pa.Array] = []

    def add(self, values: tuple[Any, ...]) -> None:
        if values[0] is None and values.count(None) == len(values):
            self._arrays.append(pa.nulls(len(values), self._type))  # a tenth of the time
        else:
            self._arrays.append(pa.array(values, self._type))

    def array(self) -> pa.Array:
        return joined(pa.chunked_array(self._arrays, self._type))


def raw(field: pa.Field) -> pa.Field:
    """The type that the ledger has this column in."""
    is_whole = field.type == USD or pa.types.is_boolean(field.type)
    return field.with_type(pa.int64()) if is_whole else field


def _number(field: pa.Field) -> pa.Field:
    return field.with_type(pa.int64()) if pa.types.is_timestamp(field.type) else raw(field)


_COMMON_ID: Final = "common_id"
#: What a row has.
_RAW: Final = pa.schema([*(_number(SCHEMA.field(name)) for name in OWN), (_COMMON_ID, pa.int64())])


def typed(column: pa.Array, field: pa.Field) -> pa.Array:
    """The ledger's values of this column in the type that the field has."""
    column = encoded(column, field)
    if field.type == USD:
        nano = column.cast(NANOUSD)
        return pa.Array.from_buffers(USD, len(nano), nano.buffers(), nano.null_count)
    return column if column.type == field.type else column.cast(field.type)


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


def _of_sources(source_ids: pa.Array, hosts: Mapping[int, str]) -> dict[str, pa.Array]:
    """The host of each call."""
    sources = source_ids.dictionary_encode()
    known_as = pa.array([hosts.get(id_) for id_ in sources.dictionary.to_pylist()], pa.string())
    return {"host": encoded(known_as, ENCODED_SCHEMA.field("host")).take(sources.indices)}


class _Common:
    """What calls have in common. The mutable state: what is known of it, with its numbers."""

    def __init__(self, days: Days) -> None:
        self._days = days
        self._known = self._looked_up([])

    def columns(self, numbers: pa.DictionaryArray) -> dict[str, pa.Array]:
        """The columns of COMMON and OF_DETAILS, for calls with these numbers."""
        rows = pc.index_in(numbers.dictionary, value_set=self._known[_COMMON_ID])
        if rows.null_count:
            self._learn(numbers.dictionary.filter(rows.is_null()))
            return self.columns(numbers)
        return {
            name: encoded(self._known[name].take(rows), ENCODED_SCHEMA.field(name)).take(
                numbers.indices
            )
            for name in (*COMMON, *OF_DETAILS)
        }

    def _learn(self, numbers: pa.Array) -> None:
        """Looks these up; of more than can be held at once, only they are known then.

        Raises AssertionError when one is not there.
        """
        found = self._looked_up(numbers.to_pylist())
        if missing := len(numbers) - len(found[_COMMON_ID]):
            raise AssertionError(f"{missing} rows of common are gone: see prodlensd verify")
        if len(self._known[_COMMON_ID]) + len(numbers) > _MOST_COMMON:
            self._known = found
        else:
            before = self._known
            self._known = {name: pa.concat_arrays([before[name], found[name]]) for name in found}

    def _looked_up(self, numbers: list[int]) -> dict[str, pa.Array]:
        """The columns of what is common, with the numbers."""
        rows = list(self._days.common_rows(numbers))
        columns = zip(*rows, strict=True) if rows else repeat(())
        fields = [pa.field(_COMMON_ID, pa.int64()), *map(SCHEMA.field, COMMON)]
        parts = {
            it.name: pa.array(values, raw(it).type).cast(it.type)
            for it, values in zip(fields, columns, strict=False)
        }
        return parts | _of_details(parts["details"].dictionary_encode())


def _of_details(details: pa.DictionaryArray) -> dict[str, pa.Array]:
    """The columns that are parts of `details`."""
    objects = list(map(orjson.loads, details.dictionary.to_pylist()))
    fields = map(SCHEMA.field, OF_DETAILS)
    parts = {it.name: pa.array([part.get(it.name) for part in objects], it.type) for it in fields}
    return {name: values.take(details.indices) for name, values in parts.items()}


def encoded(column: pa.Array, field: pa.Field) -> pa.Array:
    """The column with a dictionary, where the field has one."""
    is_due = pa.types.is_dictionary(field.type) and column.type != field.type
    return column.dictionary_encode() if is_due else column
