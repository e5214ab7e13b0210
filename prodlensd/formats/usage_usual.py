"""The usage objects that LiteLLM and we ourselves write most, read by a typed decoder.

It knows no key that `usage_keys` has not, and of these only the frequent ones; whatever it has any
doubt about, `usage` reads by the whole table. So this is only quick: a test compares the two.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from prodlensd.formats.fields import word
from prodlensd.formats.usage import Reading
from prodlensd.formats.usage_found import MAX_COUNT
from prodlensd.formats.usage_keys import OUTPUT_OF_CALL, STATE_THEIR_COST
from prodlensd.model import NO_BILL, Usage

_Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)] | None
_Zero = Annotated[int, Meta(ge=0, le=0)] | None


class _Lifetimes(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    ephemeral_5m_input_tokens: _Count = None
    ephemeral_1h_input_tokens: _Count = None


class _Input(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    cached_tokens: _Count = None
    cache_creation_tokens: _Count = None
    cache_write_tokens: _Count = None
    cache_creation_token_details: _Lifetimes | None = None
    text_tokens: _Count = None
    audio_tokens: _Count = None
    image_tokens: _Zero = None
    video_tokens: _Zero = None


class _Output(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    reasoning_tokens: _Count = None
    text_tokens: _Count = None
    audio_tokens: _Count = None
    image_tokens: _Zero = None
    video_tokens: _Zero = None
    accepted_prediction_tokens: _Count = None
    rejected_prediction_tokens: _Count = None


class _Usage(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    prompt_tokens: _Count = None
    completion_tokens: _Count = None
    total_tokens: _Count = None
    prompt_tokens_details: _Input | None = None
    completion_tokens_details: _Output | None = None
    cache_creation_input_tokens: _Count = None
    cache_read_input_tokens: _Count = None
    cost: float | None = None
    service_tier: str | None = None
    iterations: None = None  # here and below: often there, and seldom with anything in it
    inference_geo: None = None
    speed: None = None


class _ServerTools(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    web_search_requests: _Zero = None
    web_fetch_requests: _Count = None


class _Step(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """What is said again in a list of one."""

    input_tokens: _Count = None
    output_tokens: _Count = None
    cache_read_input_tokens: _Count = None
    cache_creation_input_tokens: _Count = None
    cache_creation: _Lifetimes | None = None
    type: str | None = None

    def says_the_same(self, usage: MessageUsage) -> bool:
        """Whether it has the counts of the usage around it, and no others."""
        return (
            self.cache_creation in (None, usage.cache_creation)
            and self.output_tokens == usage.output_tokens
            and self.input_tokens == usage.input_tokens
            and self.cache_read_input_tokens == usage.cache_read_input_tokens
            and self.cache_creation_input_tokens == usage.cache_creation_input_tokens
        )


class MessageUsage(_Step, gc=False, forbid_unknown_fields=True):
    """Anthropic's own usage, in which the input has no cached tokens: what is usual in it."""

    service_tier: str | None = None
    server_tool_use: _ServerTools | None = None
    speed: Literal["standard"] | None = None
    inference_geo: Literal["not_available", "global"] | None = None
    iterations: Annotated[tuple[_Step, ...], Meta(max_length=1)] | None = None


_DECODER: Final = msgspec.json.Decoder(_Usage)
_NO_INPUT: Final = _Input()
_NO_OUTPUT: Final = _Output()

_new: Final = tuple.__new__  # makes a NamedTuple in half its constructor's time, once a line


def read_usual(
    usage: msgspec.Raw | dict[str, Any],
    provider: str | None,
    call_type: str | None,
    model: str | None,
) -> Reading | None:
    """What a call used, as `read_usage` and `of_call` read it, of JSON or of the decoded object.

    None where there is more to it: another shape, an anomaly, something that is billed by itself.
    """
    try:
        is_decoded = isinstance(usage, dict)
        sent = msgspec.convert(usage, _Usage) if is_decoded else _DECODER.decode(usage)  # type: ignore[arg-type]
    except (msgspec.DecodeError, UnicodeEncodeError):  # the latter of half a character
        return None
    tokens_in, tokens_out, total = sent.prompt_tokens, sent.completion_tokens, sent.total_tokens
    if not total or tokens_in is None or tokens_out is None or tokens_in + tokens_out != total:
        return None
    into = sent.prompt_tokens_details or _NO_INPUT
    out = sent.completion_tokens_details or _NO_OUTPUT
    reasoning, tier = out.reasoning_tokens, sent.service_tier
    if (
        (cached := _cached(sent, into)) is None
        or sum(filter(None, cached[:2])) > tokens_in
        or (reasoning or 0) > tokens_out
        or (into.audio_tokens or 0) > tokens_in
        or (out.audio_tokens or 0) > tokens_out
        or (tier is not None and word(tier) is None)
        or (sent.cost is not None and provider in STATE_THEIR_COST)
        or call_type in OUTPUT_OF_CALL
    ):
        return None
    if reasoning is not None and model is not None and "claude" in model:
        reasoning = None  # LiteLLM's own estimate
    parts = (*cached, reasoning, into.audio_tokens, out.audio_tokens)
    counts = _new(Usage, (tokens_in, tokens_out, total, *parts))
    return _new(Reading, (counts, NO_BILL, tier, ()))


def read_usual_message(sent: MessageUsage) -> Reading | None:
    """The same of the usage of a message of Anthropic's; None where there is more to it."""
    tokens_in, tokens_out = sent.input_tokens, sent.output_tokens
    read, write = sent.cache_read_input_tokens, sent.cache_creation_input_tokens
    lifetimes, tier = sent.cache_creation, sent.service_tier
    hour = None if lifetimes is None else lifetimes.ephemeral_1h_input_tokens
    if (
        tokens_in is None
        or tokens_out is None
        or (lifetimes is not None and write is None)
        or (hour or 0) > (write or 0)
        or (tier not in (None, "standard") and word(tier) is None)
        or (sent.iterations and not sent.iterations[0].says_the_same(sent))
    ):
        return None
    tokens_in += (read or 0) + (write or 0)
    if not (total := tokens_in + tokens_out):
        return None
    counts = _new(Usage, (tokens_in, tokens_out, total, read, write, hour, None, None, None))
    return _new(Reading, (counts, NO_BILL, tier, ()))


def _cached(sent: _Usage, into: _Input) -> tuple[int | None, int | None, int | None] | None:
    """What was read from the cache, written to it, and of that for an hour; None: see `usage`."""
    read, write = into.cached_tokens, into.cache_creation_tokens
    if read is None:
        read = sent.cache_read_input_tokens
    if write is None:
        write = into.cache_write_tokens
    elif into.cache_write_tokens not in (None, write):
        return None
    if write is None:
        write = sent.cache_creation_input_tokens
    if (lifetimes := into.cache_creation_token_details) is None:
        return read, write, None
    hour = lifetimes.ephemeral_1h_input_tokens
    return None if write is None or (hour or 0) > write else (read, write, hour)
