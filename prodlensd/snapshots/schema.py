"""The types of a snapshot's columns, as Arrow has them."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from prodlensd.snapshots.columns import COLUMNS

NANOUSD: Final = pa.decimal128(19, 0)  # the digits of 64 bits
USD: Final = pa.decimal128(18, 9)  # the same 128 bits, read as dollars

_TYPES: Final = {
    "VARCHAR": pa.string(),
    "BIGINT": pa.int64(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMPTZ": pa.timestamp("us", tz="UTC"),
    "DECIMAL(18, 9)": USD,
}
#: Strings are dictionary-encoded in the file only: as types of columns, dictionaries could differ
#: between files, and some readers cannot join those.
SCHEMA: Final = pa.schema([(name, _TYPES[kind]) for name, kind in COLUMNS.items()])

#: Of these hardly two are alike.
_IDS: Final = ("session_id", "call_id", "response_id")


def _encoded(field: pa.Field) -> pa.Field:
    if field.type != pa.string() or field.name in _IDS:
        return field
    return field.with_type(pa.dictionary(pa.int32(), field.type))


#: The same as tables made of the ledger's rows have it: texts that repeat are there once, so that
#: less of them is sent from process to process, and nobody looks for them again.
ENCODED_SCHEMA: Final = pa.schema(list(map(_encoded, SCHEMA)))
