"""Log formats: one file each, pure. To add one: a file, and a line in FORMATS.

A format answers None for a line that is not its own, and raises `BadLine` for one that is its own
and cannot be used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prodlensd.formats import decoding, litellm_payload, otel_span, trace_line
from prodlensd.model import BadLine, Trace

FORMATS: Final[dict[str, Callable[[bytes], Trace | None]]] = {
    "trace_line": trace_line.parse,
    "litellm_payload": litellm_payload.parse,
    "otel_span": otel_span.parse,
}


def _beginning_with(*names: str) -> tuple[Callable[[bytes], Trace | None], ...]:
    """All formats, these first."""
    return tuple(FORMATS[name] for name in dict.fromkeys((*names, *FORMATS)))


_TRACE_LINE_FIRST: Final = _beginning_with("trace_line", "litellm_payload")
_PAYLOAD_FIRST: Final = _beginning_with("litellm_payload", "trace_line")


def parse(line: bytes) -> Trace:
    """The trace that this line holds; raises BadLine and nothing else, whatever the bytes."""
    # A trace line usually begins with its time. Guessing wrong costs a second look, no more.
    for parse_as in _TRACE_LINE_FIRST if b'"timestamp"' in line[:64] else _PAYLOAD_FIRST:
        trace = parse_as(line)
        if trace is not None:
            return trace
    raise decoding.why_unread(line)


__all__ = ["FORMATS", "BadLine", "parse"]
