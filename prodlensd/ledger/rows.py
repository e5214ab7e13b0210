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
PRICE: Final = ("cost_nanousd", "cost_source", "table_nanousd", "price_id")
#: The columns of `trace`, in its order: those of a `pipeline.row`.
COLUMNS: Final = (
    *LOGGED,
    *PRICE,
    *("anomalies", "source_id", "source_offset"),
)
#: Slices of a row: its key; what a richer record changes; what of that is logged; its price.
KEY: Final = slice(0, 2)
ENRICHED: Final = slice(2, len(COLUMNS) - 2)
AS_LOGGED: Final = slice(2, len(LOGGED))
AS_PRICED: Final = slice(AS_LOGGED.stop, AS_LOGGED.stop + len(PRICE))


def value_of(*columns: str) -> Callable[[Row], Any]:
    """Takes this column out of a row, or of several a tuple."""
    return itemgetter(*map(COLUMNS.index, columns))


#: What a price depends on.
priced_by: Final = value_of(
    *("model", "provider", "call_type", "tokens_in", "tokens_out", "total_tokens"),
    *("cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens", "reasoning_tokens"),
    *("audio_in_tokens", "audio_out_tokens", "status", "cache_hit", "service_tier"),
    "gateway_nanousd",
)

# ruff: noqa: S608 - statements are put together from names of columns
# Short, because apsw finds a prepared statement by its text, for every row.
INSERT: Final = f"INSERT INTO trace VALUES ({','.join('?' * len(COLUMNS))})"
INSERT_NEW: Final = f"{INSERT} ON CONFLICT DO NOTHING"
SELECT: Final = f"SELECT {','.join(COLUMNS)} FROM trace WHERE started_us = ? AND key = ?"
# Of two records of one call the richer one stays: the one with fewer NULLs, its price left out, so
# that reading a record again never changes what it cost. Where it was first read stays too, so that
# the sources' counts and the rows agree.
_CHANGED: Final = COLUMNS[ENRICHED]
ENRICH: Final = (
    f"UPDATE trace SET ({','.join(_CHANGED)}) = ({','.join('?' * len(_CHANGED))}) "
    "WHERE started_us = ? AND key = ? AND ? < "
    + "+".join(f"({column} IS NULL)" for column in COLUMNS[AS_LOGGED])
)
