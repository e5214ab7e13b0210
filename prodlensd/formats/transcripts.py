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

from prodlensd.formats.decoding import decode
from prodlensd.formats.fields import details, epoch_us, text
from prodlensd.formats.usage import Reading, of_call, read_usage
from prodlensd.model import NO_BILL, BadLine, Trace, bill_json

#: How calls were found whose session a transcript names.
VIA: Final = "transcript"
_HALF: Final = re.compile("[\ud800-\udfff]")


class Caller(NamedTuple):
    """What a transcript does not say of its calls, and the folder in which the agent worked may."""

    developer_id: str | None = None
    developer_via: str | None = None
    repo_slug: str | None = None
    is_on_plan: bool = False


#: Who called in a folder, by its path; in none that is named, by None.
CallerIn = Callable[[str | None], Caller]


class About(NamedTuple):
    """What the calls of a session have in common; fields as in `Trace`."""

    session_id: str | None
    developer_id: str | None
    developer_via: str | None
    repo_slug: str | None
    model: str | None
    provider: str | None
    details: str | None
    is_on_plan: bool


class Again(NamedTuple):
    """A line that says no more of a call than one before it, in this same reading."""


AGAIN: Final = Again()

Decoder = msgspec.json.Decoder[Any]


class Transcript(Protocol):
    """Reads the lines of one file in their order. The mutable state: its memory."""

    def read(self, line: bytes) -> Trace | Again | None:
        """What a line tells; None when that is no call. Raises BadLine when it cannot be read."""

    def memory(self) -> str:
        """What the lines so far say of those after them; to begin a Transcript with."""


#: Begins to read where a memory was kept, or with "" at a file's first line.
Begin = Callable[[str, CallerIn], Transcript]


def decoded(line: bytes, usual: Decoder, decoder: Decoder) -> Any:  # noqa: ANN401 - their type
    """The record on a line, as it mostly is or else as the other decoder has it; None: as neither.

    Raises BadLine.
    """
    try:
        return usual.decode(line)
    except _REFUSED:
        pass
    try:
        try:
            return decoder.decode(line)
        except msgspec.ValidationError:
            return None
        except _REFUSED:
            return decoder.decode(_strict(line))
    except msgspec.ValidationError:
        return None


#: What decoders raise: the last for bytes in a text that are not UTF-8.
_REFUSED: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)


def _strict(line: bytes) -> bytes:
    """The record without what strict JSON has not: NaN, and halves of characters."""
    text_ = _HALF.sub("\ufffd", json.dumps(decode(line), ensure_ascii=False))
    strict = json.loads(text_, parse_constant=lambda _: None)
    return json.dumps(strict, ensure_ascii=False).encode()  # orjson writes no large numbers


def about_calls(
    caller: Caller, *, session: object, model: str | None, provider: str | None, **facts: object
) -> About:
    """What is known of the calls of a session, `facts` among their details."""
    whose = (caller.developer_id, caller.developer_via, caller.repo_slug)
    return About(
        text(session), *whose, model, provider, details(**facts), is_on_plan=caller.is_on_plan
    )


def trace_of(
    started_us: int, key: str, call_id: str, call_type: str, about: About, reading: Reading
) -> Trace:
    """The trace of a call: a success, or the agent would have noted no usage."""
    usage, bill, tier, anomalies = reading
    session_id, developer_id, developer_via, repo_slug, model, provider, details, is_on_plan = about
    if is_on_plan:
        bill = bill._replace(plan=True)
    return _new(
        Trace,
        (
            started_us,
            key,
            call_id,
            session_id,
            VIA if session_id else None,
            developer_id,
            developer_via,
            repo_slug,
            model,
            provider,
            call_type,
            *usage,
            *_UNKNOWN_TIMES,
            "success",
            None,
            False,
            tier,
            *_UNKNOWN_FACTS,
            details,
            None,
            None if bill is NO_BILL else bill_json(bill),
            anomalies,
        ),
    )


_new: Final = tuple.__new__  # makes a NamedTuple in half its constructor's time, once a call
#: Of latency_ms and ttft_ms; and from end_user to accepted_lines.
_UNKNOWN_TIMES: Final = (None, None)
_UNKNOWN_FACTS: Final = (None, None, None, None, None)


def reading_of(usage: Any, call_type: str, about: About) -> Reading:  # noqa: ANN401 - of the log
    """What a usage object says, by the whole table of its keys."""
    return of_call(read_usage(usage, about.provider, call_type), about.model, "success")


def start_us(timestamp: object) -> int:
    """When a call started, in microseconds since 1970. Raises BadLine."""
    if (started_us := epoch_us(timestamp)) is None:
        raise BadLine("bad_timestamp", "timestamp: expected ISO 8601, e.g. 2026-11-01T12:00:00Z")
    return started_us


def one_word(value: object, of: str) -> str:
    """A name that can be part of a key. Raises BadLine, which calls it `of`."""
    name = text(value)
    if name is None or " " in name or not name.isprintable():
        raise BadLine("unknown_format", f"{of}: expected an id, one word")
    return name
