"""A table of LiteLLM's spend logs, as `COPY … CSV HEADER` and others write it (RFC 4180)."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from prodlensd.formats import litellm_spend
from prodlensd.formats.decoding import check_utf8
from prodlensd.model import BadLine, Trace

#: What the header of such a table names, whatever else it does.
_NAMED: Final = frozenset({"request_id", "startTime", "call_type"})
_MAX_HEADER_BYTES: Final = 64 << 10
_HEADER: Final = re.compile(rb'[A-Za-z_"][A-Za-z0-9_ ,;"\t]*+\r?\Z')
#: A value may be as long as a whole prompt.
_MAX_VALUE_CHARS: Final = 1 << 30


def is_table(text: bytes) -> bool:
    """Whether the text begins with the header of such a table."""
    if text[:1] in (b"{", b"["):
        return False
    header = text[:_MAX_HEADER_BYTES].partition(b"\n")[0]
    return _HEADER.match(header) is not None and set(_names(header)) >= _NAMED


def rows(text: bytes) -> Iterator[tuple[int, int, Any]]:
    """The span of each row of the table, and what reads its bytes."""
    names: list[str] | None = None
    for begin, end in _spans(text):
        if names is None:
            names = _names(text[begin:end])
        elif text[begin:end].strip():
            yield begin, end, partial(_parse, names)


def _spans(text: bytes) -> Iterator[tuple[int, int]]:
    """The span of each row, without its newline: one that is between quotes ends no row."""
    begin = at = quotes = 0
    while at < len(text):
        newline = text.find(b"\n", at)
        end = len(text) if newline < 0 else newline
        quotes += text.count(b'"', at, end)
        at = end + 1
        if quotes % 2 == 0 or newline < 0:
            yield begin, end
            begin, quotes = at, 0


def _names(header: bytes) -> list[str]:
    return next(csv.reader([header.decode("ascii", "replace").strip()]), [])


def _parse(names: list[str], row: bytes) -> Trace:
    check_utf8(row)
    csv.field_size_limit(_MAX_VALUE_CHARS)
    try:
        values = next(csv.reader([row.decode()], strict=True), [])
    except csv.Error as error:
        raise BadLine("unknown_format", f"not a row of CSV: {error}") from None
    if len(values) != len(names):
        raise BadLine("unknown_format", f"{len(values)} values in {len(names)} columns")
    trace = litellm_spend.parse(dict(zip(names, values, strict=True)))
    if trace is None:
        raise BadLine("unknown_format", "a row without an id")
    return trace
