"""What the formats of transcripts have in common.

A transcript is the file in which a coding agent keeps all of a session, and mostly holds what was
said. Of its lines only those are decoded that can tell of a call, and nothing is kept of the
others. Several lines may tell of one call, and so may lines of other files: each says by its key
which call it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import orjson

from prodlensd.formats.decoding import decode
from prodlensd.formats.fields import details, text
from prodlensd.formats.usage import Reading
from prodlensd.model import BadLine, Trace, bill_json

#: How calls were found whose session a transcript names.
VIA: Final = "transcript"
_HALF: Final = re.compile("[\ud800-\udfff]")


class CallLine(NamedTuple):
    """What a line tells of a call, and in which folder the agent worked; not yet who called."""

    trace: Trace
    folder: str | None
    repo_slug: str | None = None


class Again(NamedTuple):
    """A line that says no more of a call than one before it, in this same reading."""


AGAIN: Final = Again()


class Transcript(Protocol):
    """Reads the lines of one file in their order. The mutable state: its memory."""

    def read(self, line: bytes) -> CallLine | Again | None:
        """What a line tells; None when that is no call. Raises BadLine when it cannot be read."""

    def memory(self) -> str:
        """What the lines so far say of those after them; to begin a Transcript with."""


#: Begins to read where a memory was kept, or with "" at a file's first line.
Begin = Callable[[str], Transcript]


def decoded(line: bytes, decoder: msgspec.json.Decoder[Any]) -> Any:  # noqa: ANN401 - the decoder's type
    """The record on a line; None when it is none of the decoder's type. Raises BadLine."""
    try:
        try:
            return decoder.decode(line)
        except msgspec.ValidationError:
            return None
        except (msgspec.DecodeError, RecursionError):
            return decoder.decode(_strict(line))
    except msgspec.ValidationError:
        return None


def _strict(line: bytes) -> bytes:
    """The record without what strict JSON has not: NaN, and halves of characters."""
    text_ = _HALF.sub("\ufffd", json.dumps(decode(line), ensure_ascii=False))
    return orjson.dumps(json.loads(text_, parse_constant=lambda _: None))


def trace_of(
    *,
    started_us: int,
    key: str,
    call_id: str | None,
    session: object,
    model: str | None,
    provider: str | None,
    call_type: str,
    reading: Reading,
    **facts: object,
) -> Trace:
    """The trace of a call of a transcript: a success, or the agent would have noted no usage."""
    session_id = text(session)
    return Trace(
        started_us=started_us,
        key=key,
        call_id=call_id,
        session_id=session_id,
        session_via=VIA if session_id else None,
        developer_id=None,
        developer_via=None,
        repo_slug=None,
        model=model,
        provider=provider,
        call_type=call_type,
        **reading.usage._asdict(),
        latency_ms=None,
        ttft_ms=None,
        status="success",
        status_code=None,
        cache_hit=False,
        service_tier=reading.service_tier,
        end_user=None,
        tags=None,
        accepted=None,
        diff_ratio=None,
        accepted_lines=None,
        details=details(**facts),
        gateway_nanousd=None,
        bill=bill_json(reading.bill),
        anomalies=reading.anomalies,
    )


def one_word(value: object, of: str) -> str:
    """A name that can be part of a key. Raises BadLine, which calls it `of`."""
    name = text(value)
    if name is None or " " in name or not name.isprintable():
        raise BadLine("unknown_format", f"{of}: expected an id, one word")
    return name
