"""A transcript of Claude Code: `projects/**/*.jsonl`, one file a session, or a sub-agent of one.

The answer of one call is a line for each block of its content. All of them have the id of the
message, and the usage as it was when they were written: while the answer streams, its counts grow.
The same lines stand in other files again, where a session was forked, copied or resumed. So a call
is known by the id of its message alone.

The shape of these lines is known from public reports (docs/transcripts.md), not from a description.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec
import orjson

from prodlensd.formats.fields import provider_of, text
from prodlensd.formats.transcripts import (
    AGAIN,
    About,
    Again,
    CallerIn,
    about_calls,
    decoded,
    one_word,
    reading_of,
    start_us,
    trace_of,
)
from prodlensd.formats.usage import Reading
from prodlensd.formats.usage_usual import MessageUsage, read_usual_message
from prodlensd.model import Trace

NAME: Final = "claude_code"
#: Only a line with this key can tell of a call. In a text that was said, its quotes are escaped.
_MARKER: Final = b'"usage"'
#: The "model" of what Claude Code itself says in place of an answer.
_SYNTHETIC: Final = "<synthetic>"
#: As LiteLLM calls a call of this kind.
_CALL_TYPE: Final = "anthropic_messages"


class _Message(msgspec.Struct, gc=False):
    id: Any = None
    model: Any = None
    usage: msgspec.Raw = msgspec.Raw(b"")


class _Origin(msgspec.Struct, gc=False):
    session: Any = msgspec.field(name="sessionId", default=None)


class _Facts(msgspec.Struct, gc=False, kw_only=True):
    type: Any = None
    timestamp: Any = None
    session: Any = msgspec.field(name="sessionId", default=None)
    folder: Any = msgspec.field(name="cwd", default=None)
    forked_from: _Origin | None = msgspec.field(name="forkedFrom", default=None)
    branch: Any = msgspec.field(name="gitBranch", default=None)
    is_sidechain: Any = msgspec.field(name="isSidechain", default=None)
    is_error: Any = msgspec.field(name="isApiErrorMessage", default=None)


class _Line(_Facts, gc=False, kw_only=True):
    message: _Message


# The same as it mostly is, in one step: a usage that is read apart takes twice the time.


class _UsualMessage(msgspec.Struct, gc=False):
    id: str | None = None
    model: str | None = None
    usage: MessageUsage | msgspec.UnsetType = msgspec.UNSET


class _UsualLine(_Facts, gc=False, kw_only=True):
    message: _UsualMessage
    timestamp: datetime | None = None


_DECODER: Final = msgspec.json.Decoder(_Line)
_USUAL: Final = msgspec.json.Decoder(_UsualLine)


class ClaudeCode:
    """See `Transcript`.

    The mutable state: the last message that was read; what sessions have in common.
    """

    def __init__(self, memory: str, caller_in: CallerIn) -> None:
        del memory  # each line says all by itself
        self._caller_in = caller_in
        self._last: _Message | _UsualMessage | None = None
        self._abouts: dict[tuple[object, ...], About] = {}

    def memory(self) -> str:
        """None is needed."""
        return ""

    def read(self, line: bytes) -> Trace | Again | None:
        """See `Transcript`."""
        if line.rfind(_MARKER) < 0:  # from the end, where it is: a third faster than `in`
            return None
        record: _Line | _UsualLine | None = decoded(line, _USUAL, _DECODER)
        if record is None or record.type != "assistant" or record.is_error is True:
            return None
        message = record.message
        if not message.usage or message.model == _SYNTHETIC:
            return None
        if message == self._last:
            return AGAIN
        trace = self._trace(record, line)
        self._last = message
        return trace

    def _trace(self, record: _Line | _UsualLine, line: bytes) -> Trace:
        message = record.message
        message_id = one_word(message.id, "message.id")
        started_us = start_us(record.timestamp)
        known = self._about(record, message.model)
        key = f" {NAME} {message_id}"
        reading = _usual_reading(message) or _reading(line, known)
        return trace_of(started_us, key, message_id, _CALL_TYPE, known, reading)

    def _about(self, record: _Facts, model: object) -> About:
        forked_from = record.forked_from
        session = record.session if forked_from is None else forked_from.session
        said = (session, record.folder, record.branch, record.is_sidechain, model)
        try:
            known = self._abouts.get(said)
        except TypeError:  # names that are lists or objects
            return self._read_about(*said)
        if known is None:
            known = self._abouts[said] = self._read_about(*said)
        return known

    def _read_about(
        self, session: object, folder: object, branch: object, is_sidechain: object, model: object
    ) -> About:
        named = text(model)
        return about_calls(
            self._caller_in(folder if type(folder) is str else None),
            session=session,
            model=named,
            provider=_provider(named),
            source=NAME,
            branch=text(branch),
            subagent=True if is_sidechain is True else None,
        )


def _usual_reading(message: _Message | _UsualMessage) -> Reading | None:
    usage = message.usage
    return read_usual_message(usage) if isinstance(usage, MessageUsage) else None


def _reading(line: bytes, about: About) -> Reading:
    usage = decoded(line, _DECODER, _DECODER).message.usage
    return reading_of(orjson.loads(bytes(usage)), _CALL_TYPE, about)


def _provider(model: str | None) -> str | None:
    """Who sells the model: the transcript does not say, but names differ.

    Bedrock and Vertex spell Claude's models in ways of their own. Other models are answered by
    whatever stands behind an address that speaks Anthropic's protocol: not known.
    """
    if model is None or not model.startswith("claude"):
        is_bedrock = model is not None and "anthropic.claude" in model
        return "bedrock" if is_bedrock else provider_of(model)
    return "vertex_ai" if "@" in model else "anthropic"
