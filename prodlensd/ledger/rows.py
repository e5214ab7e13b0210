"""The rows of `trace`: one list of columns, from which their order and their SQL follow."""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import Any, Final

from prodlensd.model import Trace

Row = tuple[Any, ...]
#: The fields of a Trace that are columns as they are.
LOGGED: Final = Trace._fields[:-1]
#: What a call costs, in the order of the fields of a Price.
PRICE: Final = ("cost_nanousd", "cost_source", "table_nanousd", "price_id", "unpriced_reason")
#: The columns of `trace`, in its order: those of a `pipeline.row`. The last came with schema 4.
COLUMNS: Final = (
    *LOGGED[:-1],
    *PRICE[:-1],
    *("anomalies", "source_id", "source_offset", "bill", "unpriced_reason"),
)
#: The key in a row.
KEY: Final = slice(0, 2)


def value_of(*columns: str) -> Callable[[Row], Any]:
    """Takes this column out of a row, or of several a tuple."""
    return itemgetter(*map(COLUMNS.index, columns))


#: What a price depends on.
priced_by: Final = value_of(
    *("model", "provider", "call_type", "tokens_in", "tokens_out", "total_tokens"),
    *("cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens", "reasoning_tokens"),
    *("audio_in_tokens", "audio_out_tokens", "status", "cache_hit", "service_tier"),
    *("gateway_nanousd", "bill"),
)
#: Where its line was read: source_id and source_offset.
place_of: Final = value_of("source_id", "source_offset")
#: What the line says of a call beside its key.
as_logged: Final = value_of(*LOGGED[2:])
_PRICED: Final = frozenset(map(COLUMNS.index, PRICE))


def at_the_price_of(other: Row, row: Row) -> Row:
    """The row with what the other call costs."""
    return tuple(other[column] if column in _PRICED else value for column, value in enumerate(row))


# ruff: noqa: S608 - statements are put together from names of columns
# Short, because apsw finds a prepared statement by its text, for every row.
INSERT: Final = f"INSERT INTO trace VALUES ({','.join('?' * len(COLUMNS))})"
INSERT_NEW: Final = f"{INSERT} ON CONFLICT DO NOTHING"
SELECT: Final = f"SELECT {','.join(COLUMNS)} FROM trace WHERE started_us = ? AND key = ?"
# Of two records of one call the richer one stays: the one with fewer NULLs, its price left out, so
# that reading a record again never changes what it cost. Where it was first read stays too, so that
# the sources' counts and the rows agree.
_CHANGED: Final = (*LOGGED[2:], *PRICE, "anomalies")
enriched: Final = value_of(*_CHANGED)
ENRICH: Final = (
    f"UPDATE trace SET ({','.join(_CHANGED)}) = ({','.join('?' * len(_CHANGED))}) "
    "WHERE started_us = ? AND key = ? AND ? < "
    + "+".join(f"({column} IS NULL)" for column in LOGGED[2:])
)
