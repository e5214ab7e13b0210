"""The token counts of one call, in any shape that LiteLLM or a provider logs. Knows no prices.

The shapes differ in one dangerous way: whether the input count already holds the cached tokens
(OpenAI, LiteLLM, Gemini: inclusive) or not (Anthropic, Bedrock: exclusive). Each shape's convention
is checked against its total. Counts that do not add up are an anomaly, never repaired in silence.
"""

from __future__ import annotations

from typing import Final

from prodlensd.model import Usage

USAGE_TYPE: Final = "usage_type"  # a count that is not a whole number in [0, 10**12]: left out
USAGE_MISMATCH: Final = "usage_mismatch"  # the counts contradict each other
USAGE_EXCLUSIVE: Final = "usage_exclusive"  # an inclusive shape whose cached tokens came on top
COARSE_USAGE: Final = "coarse_usage"  # set by callers who only found totals without cache detail

#: More than any call has. The sums within a call (an input with its cache, a total) fit 64 bits;
#: those of many calls need not (see ledger.sums).
MAX_COUNT: Final = 10**12

_NOTHING: Final = Usage()
_new: Final = tuple.__new__  # makes a Usage in half its constructor's time, once a line


def read_usage(record: object) -> tuple[Usage, tuple[str, ...]]:
    """The call's tokens as `Usage` defines them, and the anomalies. Never raises."""
    if not isinstance(record, dict):
        return _NOTHING, () if record is None else (USAGE_TYPE,)
    get = record.get
    tokens_in, tokens_out, total = get("input_tokens"), get("output_tokens"), get("total_tokens")
    if (
        len(record) == 3  # noqa: PLR2004 - our own plain trace line, by far the most frequent
        and type(tokens_in) is type(tokens_out) is type(total) is int
        and tokens_in + tokens_out == total <= MAX_COUNT
        and tokens_in >= 0 <= tokens_out
    ):
        return _new(Usage, (tokens_in, tokens_out, total, None, None, None, None, None, None)), ()
    odd: list[str] = []
    if get("prompt_tokens") is not None or get("completion_tokens") is not None:
        usage = _openai(record, odd)
    elif tokens_in is not None or tokens_out is not None:
        usage = _native(record, odd)
    elif any(get(name) is not None for name in _GEMINI):
        usage = _gemini(record, odd)
    elif get("inputTokens") is not None or get("outputTokens") is not None:
        usage = _bedrock(record, odd)
    else:
        usage = Usage(total_tokens=_count(total, odd))
    return usage, tuple(dict.fromkeys(odd)) if odd else ()


def _count(value: object, odd: list[str]) -> int | None:
    """A whole number of tokens; None when absent, or, with an anomaly, when it is not one."""
    if type(value) is int and 0 <= value <= MAX_COUNT:  # `type is`: a bool is not a count
        return value
    if value is None:
        return None
    if isinstance(value, float) and 0 <= value <= MAX_COUNT and value.is_integer():
        return int(value)
    # int() of many digits takes long
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 16:  # noqa: PLR2004
        return _count(int(value), odd)
    odd.append(USAGE_TYPE)
    return None


def _sub(record: dict[str, object], name: str) -> dict[str, object]:
    """The object under `name`; an empty one when there is none."""
    value = record.get(name)
    return value if isinstance(value, dict) else {}


def _first(record: dict[str, object], odd: list[str], *names: str) -> int | None:
    """The count under the first of `names` that was sent."""
    for name in names:
        if (value := record.get(name)) is not None:
            return _count(value, odd)
    return None


def _openai(record: dict[str, object], odd: list[str]) -> Usage:
    """OpenAI chat and LiteLLM's usage_object: the prompt includes every cached token."""
    get = record.get
    read = write = hour = audio_in = reasoning = audio_out = None
    details = get("prompt_tokens_details")
    if isinstance(details, dict):
        read = _count(details.get("cached_tokens"), odd)
        write = _count(details.get("cache_creation_tokens"), odd)
        if write is None:
            write = _count(details.get("cache_write_tokens"), odd)
        audio_in = _count(details.get("audio_tokens"), odd)
        split = details.get("cache_creation_token_details")
        if isinstance(split, dict):
            hour = _count(split.get("ephemeral_1h_input_tokens"), odd)
    if read is None:  # Anthropic's name, then DeepSeek's, then Moonshot's
        read = _first(
            record, odd, "cache_read_input_tokens", "prompt_cache_hit_tokens", "cached_tokens"
        )
    if write is None:
        write = _count(get("cache_creation_input_tokens"), odd)
    if hour is None and "cache_creation" in record:
        hour = _count(_sub(record, "cache_creation").get("ephemeral_1h_input_tokens"), odd)
    details = get("completion_tokens_details")
    if isinstance(details, dict):
        reasoning = _count(details.get("reasoning_tokens"), odd)
        audio_out = _count(details.get("audio_tokens"), odd)
    logged = Usage(
        _count(get("prompt_tokens"), odd),
        _count(get("completion_tokens"), odd),
        _count(get("total_tokens"), odd),
        read,
        write,
        hour,
        reasoning,
        audio_in,
        audio_out,
    )
    return _settle(logged, odd, exclusive=False)


def _native(record: dict[str, object], odd: list[str]) -> Usage:
    """`input_tokens`: Anthropic if cache counts stand beside it, else OpenAI Responses or plain."""
    details_in = _sub(record, "input_tokens_details")
    details_out = _sub(record, "output_tokens_details")
    read = _count(record.get("cache_read_input_tokens"), odd)
    write = _count(record.get("cache_creation_input_tokens"), odd)
    exclusive = not details_in and (read is not None or write is not None)
    if read is None:
        read = _count(details_in.get("cached_tokens"), odd)
    if write is None:
        write = _first(details_in, odd, "cache_creation_tokens", "cache_write_tokens")
    logged = Usage(
        _count(record.get("input_tokens"), odd),
        _count(record.get("output_tokens"), odd),
        _count(record.get("total_tokens"), odd),
        read,
        write,
        _count(_sub(record, "cache_creation").get("ephemeral_1h_input_tokens"), odd),
        _first(details_out, odd, "reasoning_tokens", "thinking_tokens"),
        _count(details_in.get("audio_tokens"), odd),
        _count(details_out.get("audio_tokens"), odd),
    )
    return _settle(logged, odd, exclusive=exclusive)


_GEMINI: Final = ("promptTokenCount", "candidatesTokenCount", "totalTokenCount")


def _gemini(record: dict[str, object], odd: list[str]) -> Usage:
    """Gemini's usageMetadata: thoughts stand beside the candidates if the total says so."""
    prompt, out, total = (_count(record.get(name), odd) for name in _GEMINI)
    thoughts = _count(record.get("thoughtsTokenCount"), odd)
    tools = _count(record.get("toolUsePromptTokenCount"), odd)
    if prompt is not None and tools:  # what tools returned is input as well
        prompt += tools
    if thoughts and prompt is not None:
        if total is None:
            odd.append(USAGE_MISMATCH)  # whether the candidates include them is not known
        elif total == prompt + (out or 0) + thoughts:
            out = (out or 0) + thoughts
    logged = Usage(
        prompt,
        out,
        total,
        _count(record.get("cachedContentTokenCount"), odd),
        reasoning_tokens=thoughts,
        audio_in_tokens=_audio(record.get("promptTokensDetails"), odd),
        audio_out_tokens=_audio(record.get("candidatesTokensDetails"), odd),
    )
    return _settle(logged, odd, exclusive=False)


def _audio(modalities: object, odd: list[str]) -> int | None:
    """The audio part of Gemini's list of {modality, tokenCount}."""
    for part in modalities if isinstance(modalities, list) else ():
        if isinstance(part, dict) and part.get("modality") == "AUDIO":
            return _count(part.get("tokenCount"), odd)
    return None


def _bedrock(record: dict[str, object], odd: list[str]) -> Usage:
    """Bedrock converse: the input excludes what the cache read and wrote."""
    details = record.get("cacheDetails")
    hour = None
    for part in details if isinstance(details, list) else ():
        if isinstance(part, dict) and part.get("ttl") == "1h":
            hour = _count(part.get("inputTokens"), odd)
    logged = Usage(
        _count(record.get("inputTokens"), odd),
        _count(record.get("outputTokens"), odd),
        _count(record.get("totalTokens"), odd),
        _first(record, odd, "cacheReadInputTokens", "cacheReadInputTokenCount"),
        _first(record, odd, "cacheWriteInputTokens", "cacheWriteInputTokenCount"),
        hour,
    )
    return _settle(logged, odd, exclusive=True)


def _settle(logged: Usage, odd: list[str], *, exclusive: bool) -> Usage:
    """The counts, made inclusive; where their total contradicts the convention, it is believed."""
    tokens_in, tokens_out, total, read, write, hour, reasoning, audio_in, audio_out = logged
    if write is None:
        write = hour
    cached = (read or 0) + (write or 0)
    if tokens_in is not None and tokens_out is not None and total is not None:
        if total == tokens_in + tokens_out:
            exclusive = False
        elif total == tokens_in + cached + tokens_out:
            if not exclusive:
                odd.append(USAGE_EXCLUSIVE)
            exclusive = True
        elif reasoning and total == tokens_in + cached * exclusive + tokens_out + reasoning:
            tokens_out += reasoning  # xAI counts it beside the completion
        else:
            odd.append(USAGE_MISMATCH)
    if tokens_in is not None and cached > tokens_in and not exclusive:
        exclusive = True
        odd.append(USAGE_EXCLUSIVE)
        total = None  # it left the cached tokens out as well
    if tokens_in is not None and exclusive:
        tokens_in += cached
    if total is None and tokens_in is not None and tokens_out is not None:
        total = tokens_in + tokens_out
    hour = _part(hour, write, odd) if hour else hour
    reasoning = _part(reasoning, tokens_out, odd) if reasoning else reasoning
    audio_in = _part(audio_in, tokens_in, odd) if audio_in else audio_in
    audio_out = _part(audio_out, tokens_out, odd) if audio_out else audio_out
    counts = (tokens_in, tokens_out, total, read, write, hour, reasoning, audio_in, audio_out)
    return _new(Usage, counts)


def _part(part: int, whole: int | None, odd: list[str]) -> int | None:
    """`part`; None, with an anomaly, when it is larger than its whole."""
    if whole is not None and part > whole:
        odd.append(USAGE_MISMATCH)
        return None
    return part
