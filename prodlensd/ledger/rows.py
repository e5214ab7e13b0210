"""The rows of `trace`: one list of columns, from which their order follows.

Of two records of one call the richer one stays: the one with fewer NULLs, its price left out, so
that reading a record again never changes what it cost. Where it was first read stays too, so that
the sources' counts and the rows agree.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from operator import itemgetter
from typing import Any, Final

from prodlensd.model import Price, Trace

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
#: Those that `common` has (see `call_rows`), in the same order.
COMMON: Final = (
    *("session_via", "developer_id", "developer_via", "repo_slug", "model", "provider"),
    *("call_type", "status", "status_code", "cache_hit", "service_tier", "end_user", "tags"),
    *("details", "cost_source", "price_id", "anomalies", "unpriced_reason"),
)
#: Those that `call` has, before `common_id`.
OWN: Final = tuple(column for column in COLUMNS if column not in COMMON)
#: The key in a row, and the call id that is no part of it.
KEY: Final = slice(0, 2)
CALL_ID: Final = COLUMNS.index("call_id")


def value_of(*columns: str) -> Callable[[Row], Any]:
    """Takes this column out of a row, or of several a tuple."""
    return itemgetter(*map(COLUMNS.index, columns))


#: What a price depends on.
PRICED_BY: Final = (
    *("model", "provider", "call_type", "tokens_in", "tokens_out", "total_tokens"),
    *("cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens", "reasoning_tokens"),
    *("audio_in_tokens", "audio_out_tokens", "status", "cache_hit", "service_tier"),
    *("gateway_nanousd", "bill"),
)
priced_by: Final = value_of(*PRICED_BY)
#: Where its line was read: source_id and source_offset.
_PLACE: Final = ("source_id", "source_offset")
place_of: Final = value_of(*_PLACE)
#: What the line says of a call beside its key.
as_logged: Final = value_of(*LOGGED[2:])
_PRICED: Final = frozenset(map(COLUMNS.index, PRICE))
_PLACED: Final = frozenset(map(COLUMNS.index, _PLACE))
#: Facts of one record only, so that no two of them contradict each other: what the price depends
#: on, and the price; a name and where it was found; the times. The first of each say who has more.
_TOGETHER: Final = (
    (PRICED_BY, (*PRICE, "anomalies", "status_code")),
    (("session_id",), ("session_via",)),
    (("developer_id",), ("developer_via",)),
    (("latency_ms", "ttft_ms"), ()),
)
_GROUPS: Final = tuple(
    (value_of(*first, first[0]), tuple(map(COLUMNS.index, (*first, *others))))
    for first, others in _TOGETHER
)
_ALONE: Final = tuple(
    COLUMNS.index(name)
    for name in LOGGED[3:-1]
    if name != "details" and not any(name in (*one, *two) for one, two in _TOGETHER)
)
_SESSION: Final = slice(COLUMNS.index("session_id"), COLUMNS.index("session_via") + 1)
_PLACE_AND_KEY: Final = tuple(map(COLUMNS.index, ("started_us", "key", "call_id", *_PLACE)))
_DETAILS: Final = COLUMNS.index("details")


def at_the_price_of(other: Row, row: Row) -> Row:
    """The row with what the other call costs."""
    return tuple(other[column] if column in _PRICED else value for column, value in enumerate(row))


def at_the_price(price: Price, row: Row) -> Row:
    """The row with this price."""
    values = dict(zip(map(COLUMNS.index, PRICE), price, strict=True))
    return tuple(values.get(column, value) for column, value in enumerate(row))


def at_the_place_of(other: Row, row: Row) -> Row:
    """The row as it is kept: where the other was read first."""
    return tuple(other[column] if column in _PLACED else value for column, value in enumerate(row))


def _names_session(row: Row) -> bool:
    return row[_SESSION][1] not in (None, "trace_id")


def filled(row: Row, other: Row) -> Row:
    """The row with what another witness of the call knows beside it, at the row's place.

    The richer of the two is believed, and the poorer fills what it does not say.
    """
    is_poorer = as_logged(row).count(None) > as_logged(other).count(None)
    rich, poor = (other, row) if is_poorer else (row, other)
    full = list(rich)
    for column in _ALONE:
        full[column] = poor[column] if rich[column] is None else rich[column]
    for said_by, group in _GROUPS:
        if said_by(rich).count(None) > said_by(poor).count(None):
            for column in group:
                full[column] = poor[column]
    # An id of the trace, which LiteLLM may have made up, is no session where the other names one.
    if (named := next((of for of in (rich, poor) if _names_session(of)), None)) is not None:
        full[_SESSION] = named[_SESSION]
    facts, more = (json.loads(of[_DETAILS] or "{}") for of in (rich, poor))
    if more.keys() - facts.keys() or is_poorer:
        full[_DETAILS] = json.dumps(more | facts, separators=(",", ":")) if more or facts else None
    for column in _PLACE_AND_KEY:
        full[column] = row[column]
    if row[CALL_ID] is not None and row[1] == f" {row[CALL_ID]}":
        full[CALL_ID] = str(other[1]).partition(" ")[0] or other[CALL_ID]
    return tuple(full)
