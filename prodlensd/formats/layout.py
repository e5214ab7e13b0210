"""How the records stand in a file that was exported: a line each, or all in one document."""

from __future__ import annotations

from itertools import islice
from typing import Final

import orjson

from prodlensd.formats.table import is_table

_BOM: Final = b"\xef\xbb\xbf"
_LINES_TRIED: Final = 10
_LONG_BYTES: Final = 1 << 20


def is_document(head: bytes) -> bool:
    """Whether a file that begins so is one document: JSON over several lines, or a table.

    So is one whose first line does not end there: it may be longer than a line of a log can be.
    """
    head = head.removeprefix(_BOM).strip()
    if is_table(head):
        return True
    if head[:1] not in (b"{", b"["):
        return False
    # Of JSON that is laid out, no line is an object by itself.
    lines = islice(filter(bytes.strip, head.split(b"\n", _LINES_TRIED)), _LINES_TRIED)
    if b"\n" not in head:
        return len(head) >= _LONG_BYTES
    return not any(map(_is_record, lines))


def _is_record(line: bytes) -> bool:
    if line.strip()[:1] not in (b"{", b"["):
        return False
    try:
        return bool(orjson.loads(line))
    except orjson.JSONDecodeError:
        return False
