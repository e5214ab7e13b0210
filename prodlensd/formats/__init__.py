"""Log formats: one file each, pure. To add one: a file, and a line in FORMATS.

A format's marker is a cheap look: a line without it cannot be in that format. A format answers None
for a line that is not its own and raises `BadLine` for one that is and cannot be used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from prodlensd.formats import decoding, litellm_payload, trace_line
from prodlensd.model import BadLine, Trace


class Format(NamedTuple):
    """One log format: how to tell at a glance, and how to read it."""

    marker: bytes
    parse: Callable[[bytes], Trace | None]


FORMATS: Final[dict[str, Format]] = {
    "litellm_payload": Format(b'"startTime"', litellm_payload.parse),
    "trace_line": Format(b'"timestamp"', trace_line.parse),
}


def parse(line: bytes) -> Trace:
    """The trace that this line holds; raises BadLine and nothing else, whatever the bytes."""
    for marker, parse_as in FORMATS.values():
        if marker in line and (trace := parse_as(line)) is not None:
            return trace
    raise decoding.why_unread(line)


__all__ = ["FORMATS", "BadLine", "Format", "parse"]
