"""A transcript of Claude Code: `projects/**/*.jsonl`, one file a session, or a sub-agent of one.

The answer of one call is a line for each block of its content. All of them have the id of the
message, and the usage as it was when they were written: while the answer streams, its counts grow.
The same lines stand in other files again, where a session was forked, copied or resumed. So a call
is known by the id of its message alone.

The shape of these lines is known from public reports (docs/transcripts.md), not from a description.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import orjson

from prodlensd.formats.fields import epoch_us, provider_of, text
from prodlensd.formats.transcripts import AGAIN, Again, CallLine, decoded, one_word, trace_of
from prodlensd.formats.usage import of_call, read_usage
from prodlensd.formats.usage_usual import read_usual_message
from prodlensd.model import BadLine

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


class _Line(msgspec.Struct, gc=False):
    message: _Message
    type: Any = None
    timestamp: Any = None
    session: Any = msgspec.field(name="sessionId", default=None)
    folder: Any = msgspec.field(name="cwd", default=None)
    forked_from: _Origin | None = msgspec.field(name="forkedFrom", default=None)
    branch: Any = msgspec.field(name="gitBranch", default=None)
    is_sidechain: Any = msgspec.field(name="isSidechain", default=None)
    is_error: Any = msgspec.field(name="isApiErrorMessage", default=None)


_DECODER: Final = msgspec.json.Decoder(_Line)


class ClaudeCode:
    """See `Transcript`. The mutable state: the last message told of, and its usage."""

    def __init__(self, memory: str = "") -> None:
        del memory  # each line says all by itself
        self._last: tuple[object, object] = (None, None)

    def memory(self) -> str:
        """None is needed."""
        return ""

    def read(self, line: bytes) -> CallLine | Again | None:
        """See `Transcript`."""
        if _MARKER not in line:
            return None
        record: _Line | None = decoded(line, _DECODER)
        if record is None or record.type != "assistant" or record.is_error is True:
            return None
        message = record.message
        usage = bytes(message.usage)
        if not usage or message.model == _SYNTHETIC:
            return None
        said = (message.id, usage)
        if said == self._last:
            return AGAIN
        call = _call(record, message)
        self._last = said
        return call


def _call(record: _Line, message: _Message) -> CallLine:
    message_id = one_word(message.id, "message.id")
    started_us = epoch_us(record.timestamp)
    if started_us is None:
        raise BadLine("bad_timestamp", "timestamp: expected ISO 8601, e.g. 2026-11-01T12:00:00Z")
    model = text(message.model)
    provider = _provider(model)
    reading = read_usual_message(message.usage)
    if reading is None:
        usage = read_usage(orjson.loads(bytes(message.usage)), provider, _CALL_TYPE)
        reading = of_call(usage, model, "success")
    trace = trace_of(
        started_us=started_us,
        key=f" {NAME} {message_id}",
        call_id=message_id,
        session=record.session if record.forked_from is None else record.forked_from.session,
        model=model,
        provider=provider,
        call_type=_CALL_TYPE,
        reading=reading,
        source=NAME,
        branch=text(record.branch),
        subagent=True if record.is_sidechain is True else None,
    )
    return CallLine(trace, record.folder if type(record.folder) is str else None)


def _provider(model: str | None) -> str | None:
    """Who sells the model: the transcript does not say, but names differ.

    Bedrock and Vertex spell Claude's models in ways of their own. Other models are answered by
    whatever stands behind an address that speaks Anthropic's protocol: not known.
    """
    if model is None or not model.startswith("claude"):
        is_bedrock = model is not None and "anthropic.claude" in model
        return "bedrock" if is_bedrock else provider_of(model)
    return "vertex_ai" if "@" in model else "anthropic"
