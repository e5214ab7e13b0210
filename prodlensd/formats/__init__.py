"""Log formats: one file each, pure. To add one: a file, and a line in FORMATS.

A format is given a decoded record. It answers None when the record is in another format, raises
`NotACall` for one of its own that is known and no call, and `BadLine` for one that cannot be read.
The two formats that LiteLLM writes also have a quick way from the bytes (`parse_strict`), which is
tried first. Most lines are one record; for the others see `parts`.

The lines of a transcript are not tried with these: its folder names the format (`TRANSCRIPTS`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from prodlensd.formats import (
    claude_code,
    codex,
    litellm_payload,
    litellm_spend,
    otel_log,
    otel_span,
    trace_line,
)
from prodlensd.formats.decoding import check_utf8, decode
from prodlensd.formats.layout import is_document, transcript_of
from prodlensd.formats.parts import Parts, holds_parts
from prodlensd.formats.transcripts import AGAIN, Begin, Caller
from prodlensd.model import BadLine, NotACall, Trace

FORMATS: Final[dict[str, Callable[[dict[str, Any]], Trace | None]]] = {
    "trace_line": trace_line.parse,
    "litellm_payload": litellm_payload.parse,
    "litellm_spend": litellm_spend.parse,
    "otel_span": otel_span.parse,
    "otel_log": otel_log.parse,
}
#: The formats of transcripts, and what begins to read a file of each.
TRANSCRIPTS: Final[dict[str, Begin]] = {
    claude_code.NAME: claude_code.ClaudeCode,
    codex.NAME: codex.Codex,
}


def _beginning_with(*names: str) -> tuple[Callable[[dict[str, Any]], Trace | None], ...]:
    """All formats, these first."""
    return tuple(FORMATS[name] for name in dict.fromkeys((*names, *FORMATS)))


_TRACE_LINE_FIRST: Final = _beginning_with("trace_line", "litellm_payload")
_PAYLOAD_FIRST: Final = _beginning_with("litellm_payload", "trace_line")


def parse_line(line: bytes) -> Trace | Parts:
    """The trace on this line, or the parts of a line that holds any number of records but one.

    Raises BadLine and nothing else, whatever the bytes.
    """
    if holds_parts(line):
        return Parts(line, parse)
    try:
        return parse(line)
    except NotACall:
        return _NO_PARTS


def parse(line: bytes) -> Trace:
    """The trace of one record. Raises BadLine, and NotACall for one that is known and no call."""
    if not line.isascii():
        check_utf8(line)  # the typed decoders do not look into what they skip
    # A trace line usually begins with its time. A wrong guess costs time and nothing else.
    looks_like_trace_line = line.find(b'"timestamp"', 0, 64) > 0
    trace = None if looks_like_trace_line else litellm_payload.parse_strict(line)
    if trace is None:
        trace = trace_line.parse_strict(line)
    if trace is not None:
        return trace
    record = decode(line)
    for parse_decoded in _TRACE_LINE_FIRST if looks_like_trace_line else _PAYLOAD_FIRST:
        trace = parse_decoded(record)
        if trace is not None:
            return trace
    raise BadLine(
        "unknown_format",
        "neither a trace line, nor a LiteLLM payload, nor a span: a trace line needs "
        '"timestamp" and "usage"',
    )


#: Of a line whose one record is no call.
_NO_PARTS: Final = Parts(b"[]", parse)

__all__ = [
    "AGAIN",
    "FORMATS",
    "TRANSCRIPTS",
    "BadLine",
    "Caller",
    "NotACall",
    "Parts",
    "is_document",
    "parse",
    "parse_line",
    "transcript_of",
]
