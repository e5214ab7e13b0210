"""What a file is that somebody names: a transcript or an export, and how its records stand."""

from __future__ import annotations

from itertools import islice
from typing import Final

import orjson

from prodlensd.formats import claude_code, codex
from prodlensd.formats.table import is_table
from prodlensd.model import LOG

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


#: How many lines of a file are looked at to tell whether it is a transcript.
_LINES_OF_TRANSCRIPT: Final = 100


def transcript_of(head: bytes) -> str:
    """The format of the transcript that begins so; LOG when it is none.

    By what lines of a session have, or those that stand in a file without any.
    """
    for line in islice(head.split(b"\n"), _LINES_OF_TRANSCRIPT):
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if type(record) is not dict or type(record.get("type")) is not str:
            continue
        if type(record.get("payload")) is dict and record["type"] in _OF_CODEX:
            return codex.NAME
        if {"sessionId", "uuid"} <= record.keys() or record["type"] in _OF_CLAUDE_CODE:
            return claude_code.NAME
    return LOG


_OF_CLAUDE_CODE: Final = frozenset({"summary", "file-history-snapshot"})
_OF_CODEX: Final = frozenset({"session_meta", "turn_context", "event_msg", "response_item"})


def _is_record(line: bytes) -> bool:
    if line.strip()[:1] not in (b"{", b"["):
        return False
    try:
        return bool(orjson.loads(line))
    except orjson.JSONDecodeError:
        return False
