"""Lines that hold many records, and each record with its place.

A JSON array, as LiteLLM's generic API callback sends it; and a request of OTLP/JSON, as the file
exporter of OpenTelemetry's collector writes it: spans, log records, or metrics, which are no calls.
And an export of LiteLLM's spend logs: a page of its API, or a table (see `table`).
A record is judged by itself: one that cannot be read spoils no other. Memory holds one at a time,
however long the line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from prodlensd.formats import otel_log, otel_span
from prodlensd.formats.decoding import decode
from prodlensd.formats.structure import elements, is_all, members, value_end
from prodlensd.formats.table import is_table, rows
from prodlensd.model import BadLine, NotACall, Part, Trace

_BEGINS: Final = re.compile(
    rb'\s*+(?:\[\s*+[\]{]|\{\s*+(?:"resource(?:Spans|Logs|Metrics)"\s*+:|"data"\s*+:\s*+\[))'
)
_SEPARATOR: Final = re.compile(rb"[\s,]*+")
_RAW: Final = msgspec.json.Decoder(msgspec.Raw)
_RAWS: Final = msgspec.json.Decoder(list[msgspec.Raw])
#: Of an array with more commas, the elements are found one by one: that takes five times as long,
#: and no memory.
_MAX_COMMAS: Final = 500_000

Parse = Callable[[bytes], Trace]


class _Request(NamedTuple):
    """A kind of OTLP request: where its records are in each resource, and how they are read."""

    scopes: bytes
    records: bytes
    parse: Callable[[dict[str, Any]], Trace | None]


_REQUESTS: Final = {
    b"resourceSpans": _Request(b"scopeSpans", b"spans", otel_span.parse),
    b"resourceLogs": _Request(b"scopeLogs", b"logRecords", otel_log.parse),
}


def holds_parts(line: bytes) -> bool:
    """Whether it begins as a line that holds many records does."""
    return _BEGINS.match(line) is not None or (line[:1] != b"{" and is_table(line))


class Parts:
    """The records of such a line, as often as they are asked for; there may be none."""

    def __init__(self, line: bytes, parse: Parse) -> None:
        """`parse` reads a record of an array. Raises BadLine when the line's structure is broken.

        What is no strict JSON (see `decoding`) may still have a sound structure.
        """
        self._line = line
        self._parse = parse
        self._is_table = is_table(line)
        if self._is_table:
            return
        try:
            _RAW.decode(line)
        except (msgspec.DecodeError, RecursionError):
            if not is_all(line, value_end(line, _skip(line, 0))):
                raise BadLine(
                    "invalid_json", "more follows the end of an array or object"
                ) from None
        for _ in self._found():
            pass

    def __iter__(self) -> Iterator[Part]:
        for begin, end, parse in self._found():
            found: Trace | BadLine | None
            try:
                found = parse(self._line[begin:end])
            except BadLine as bad:
                found = bad
            except NotACall:
                found = None
            yield Part(begin, end - begin, found)

    def bytes_of(self, part: Part) -> bytes:
        """The bytes of this one of them."""
        return self._line[part.begin : part.begin + part.length]

    def _found(self) -> Iterator[tuple[int, int, Parse]]:
        """The span of each record, and what reads it."""
        line = self._line
        if self._is_table:
            yield from rows(line)
            return
        begin = _skip(line, 0)
        if line[begin : begin + 1] == b"[":
            for span in _elements(line, begin):
                yield *span, self._parse
            return
        for name, of_request in _members(line, begin).items():
            if name == b"data":  # a page of the API of LiteLLM's spend logs
                for span in _listed(line, of_request):
                    yield *span, self._parse
            elif (request := _REQUESTS.get(name)) is not None:
                for resource, _ in _listed(line, of_request):
                    yield from _of_resource(line, resource, request)


def _of_resource(line: bytes, begin: int, request: _Request) -> Iterator[tuple[int, int, Parse]]:
    """The records of one resource of a request."""
    of_resource = _members(line, begin)
    resource = _decoded(line, of_resource.get(b"resource"))
    for scope_begin, _ in _listed(line, of_resource.get(request.scopes)):
        of_scope = _members(line, scope_begin)
        scope = _decoded(line, of_scope.get(b"scope"))
        parse = partial(_read, request.parse, {"resource": resource, "scope": scope})
        for span in _listed(line, of_scope.get(request.records)):
            yield *span, parse


def _read(
    parse: Callable[[dict[str, Any]], Trace | None], about: dict[str, Any], record: bytes
) -> Trace:
    if (trace := parse(decode(record) | about)) is not None:
        return trace
    raise BadLine("unknown_format", "neither a span nor a log record")


_Span = tuple[int, int]


def _elements(line: bytes, begin: int) -> Iterator[_Span]:
    """As `elements`, of a line that is an array, and faster where there are not too many."""
    if line.count(b",") <= _MAX_COMMAS:
        with suppress(msgspec.DecodeError, RecursionError):
            raws, end = _RAWS.decode(line), begin + 1
            for raw in raws:
                begin = _skip(line, end)
                end = begin + len(raw)
                yield begin, end
            return
    yield from elements(line, begin)


def _skip(line: bytes, at: int) -> int:
    separator = _SEPARATOR.match(line, at)
    return at if separator is None else separator.end()


def _listed(line: bytes, span: _Span | None) -> Iterator[_Span]:
    """The elements of a list that may be absent or null. Raises BadLine for anything else."""
    if span is not None and not line.startswith(b"null", span[0]):
        yield from elements(line, span[0])


def _members(line: bytes, begin: int) -> dict[bytes, _Span]:
    return {name: (value, end) for name, value, end in members(line, begin)}


def _decoded(line: bytes, span: _Span | None) -> dict[str, Any]:
    if span is None or line.startswith(b"null", span[0]):
        return {}
    return decode(line[slice(*span)])
