"""The usage of one call, in any shape that LiteLLM or a provider logs: counts, and the bill.

Knows no prices. Every key is looked up in one table (`usage_keys`): a key that is not there and
holds something is reported as not understood.

The shapes differ in one dangerous way: whether the input count already holds the cached tokens
(OpenAI, LiteLLM, Gemini: inclusive) or not (Anthropic, Bedrock: exclusive). Each shape's convention
is checked against its total. Counts that do not add up are an anomaly, never repaired in silence.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from prodlensd.formats.fields import MAX_COST_USD, nanousd_of, word
from prodlensd.formats.usage_found import MAX_COUNT, USAGE_MISMATCH, USAGE_TYPE, Found
from prodlensd.formats.usage_keys import KEYS, OUTPUT_OF_CALL, STANDARD, STATE_THEIR_COST
from prodlensd.model import NANOUSD_PER_USD, NO_BILL, Bill, Usage

USAGE_EXCLUSIVE: Final = "usage_exclusive"  # an inclusive shape whose cached tokens came on top
USAGE_UNKNOWN: Final = "usage_unknown"  # holds something that is not understood and may cost money
USAGE_MISSING: Final = "usage_missing"  # a success that counted nothing: the counts were lost
COARSE_USAGE: Final = "coarse_usage"  # set by callers who only found totals without cache detail

_TICKS_PER_NANOUSD: Final = 10  # docs.x.ai: a tick is 1e-10 dollar

_new: Final = tuple.__new__  # makes a NamedTuple in half its constructor's time, once a line


class Reading(NamedTuple):
    """What a usage object says: counts, the rest of the bill, the tier served, what was odd."""

    usage: Usage
    bill: Bill = NO_BILL
    service_tier: str | None = None
    anomalies: tuple[str, ...] = ()


_NO_USAGE: Final = Usage()
_NOTHING_READ: Final = Reading(_NO_USAGE)


def read_usage(
    record: object, provider: str | None = None, call_type: str | None = None
) -> Reading:
    """The call's tokens as `Usage` defines them, and what else its price depends on. Never raises.

    What was charged is believed of a `provider` that states it. Zeros are counts as well: whether
    they mean that the counts were lost, the status tells (see `of_call`). The output of a
    `call_type` that makes pictures or speech is no text, unless the usage says that it is.
    """
    if record is None or record == {}:
        return _NOTHING_READ
    if not isinstance(record, dict):
        return Reading(Usage(), anomalies=(USAGE_TYPE,))
    get = record.get
    tokens_in, tokens_out, total = get("input_tokens"), get("output_tokens"), get("total_tokens")
    if (
        len(record) == 3  # noqa: PLR2004 - our own plain trace line, by far the most frequent
        and type(tokens_in) is type(tokens_out) is type(total) is int
        and tokens_in + tokens_out == total <= MAX_COUNT
        and tokens_in >= 0 <= tokens_out
        and call_type not in OUTPUT_OF_CALL
    ):
        usage = _new(Usage, (tokens_in, tokens_out, total, None, None, None, None, None, None))
        return _new(Reading, (usage, NO_BILL, None, ()))
    found = Found()
    found.read(record, KEYS, "")
    exclusive = _shaped(record, found)
    if call_type in OUTPUT_OF_CALL:
        _split_output(found, OUTPUT_OF_CALL[call_type])
    usage = _settle(found, exclusive=exclusive)
    tier = found.words.pop("service_tier", None)
    bill = _bill(found, usage, provider)
    if bill.unknown:
        found.odd.append(USAGE_UNKNOWN)
    return Reading(usage, bill, tier, tuple(dict.fromkeys(found.odd)) if found.odd else ())


def of_call(reading: Reading, model: str | None, status: str) -> Reading:
    """What such a call used, as far as its log can be believed.

    LiteLLM estimates the reasoning tokens of Claude models itself. And it logs a success with a
    usage of zeros when it lost the counts of a stream or a transcription (litellm #36357, #36523).
    """
    usage = reading.usage
    if usage.reasoning_tokens is not None and model is not None and "claude" in model:
        reading = reading._replace(usage=usage._replace(reasoning_tokens=None))
    if status == "success" and not any(usage) and not reading.bill.units and usage != _NO_USAGE:
        odd = (*reading.anomalies, USAGE_MISSING)
        reading = reading._replace(usage=_NO_USAGE, anomalies=odd)
    return reading


def modified(bill: Bill, **words: str | None) -> Bill:
    """The bill with modifiers that stand elsewhere in the line; those in the usage come first."""
    more = {
        name: said
        for name, said in words.items()
        if said and name not in bill.modifiers and said.lower() not in STANDARD.get(name, ())
    }
    return bill._replace(modifiers={**bill.modifiers, **more}) if more else bill


# The bill -----------------------------------------------------------------------------------------


def _bill(found: Found, usage: Usage, provider: str | None) -> Bill:
    """What was found beside the counts."""
    iterations = _iterations(found)
    if _is_the_same(iterations, usage):
        iterations = []
    charged = _charged_nanousd(found, provider)
    held = (found.units, found.words, iterations, found.unknown, charged)
    if not any(held):
        return NO_BILL
    unknown = tuple(sorted(found.unknown))
    return Bill(found.units, found.words, tuple(iterations), unknown, charged)


def _iterations(found: Found) -> list[dict[str, Any]]:
    """Anthropic's list of what it did within the call, each at a model of its own."""
    iterations = []
    for part in found.iterations:
        model = part.get("model")
        inner = read_usage({k: v for k, v in part.items() if k not in ("model", "type")})
        is_named = model is None or word(model) is not None
        if not is_named or inner.anomalies or inner.bill != NO_BILL or inner.service_tier:
            found.not_understood("iterations")
            return []
        counts = {name: count for name, count in inner.usage._asdict().items() if count is not None}
        iterations.append(counts if model is None else {"model": model, **counts})
    return iterations


def _is_the_same(iterations: list[dict[str, Any]], usage: Usage) -> bool:
    """Whether the iterations say again what the counts beside them say, and of one model."""
    if len({iteration.get("model") for iteration in iterations}) != 1:
        return False
    names = ("tokens_in", "tokens_out", "cache_read_tokens", "cache_write_tokens")
    return all(
        sum(iteration.get(name, 0) for iteration in iterations) == (getattr(usage, name) or 0)
        for name in names
    )


def _charged_nanousd(found: Found, provider: str | None) -> int | None:
    """What the provider says it charged; None when it names no amount.

    0 is none: it is also written where it is not known. With a key of the user's own, OpenRouter
    charges its fee beside what the upstream provider asks.
    """
    money = found.money
    if type(ticks := money.get("ticks")) is int and ticks:
        amounts: list[Any] = [ticks / (_TICKS_PER_NANOUSD * NANOUSD_PER_USD)]
    elif money and provider in STATE_THEIR_COST:
        cost = money.get("cost")
        if isinstance(cost, dict):  # Perplexity
            cost = cost.get("total_cost")
        amounts = [cost, money.get("upstream") if money.get("is_byok") is True else None]
    else:
        return None
    total = 0
    for amount in filter(None, amounts):
        if type(amount) not in (int, float) or not 0 <= amount <= MAX_COST_USD:
            found.not_understood("cost")
            return None
        total += nanousd_of(amount)
    return total or None


# Counts of each shape into one meaning ------------------------------------------------------------


def _shaped(record: dict[str, Any], found: Found) -> bool:
    """Finds `tokens_in`, `tokens_out` and `total` of the record's shape among the counts.

    Returns whether the shape leaves cached tokens out of the input.
    """
    counts = found.counts
    beside = "beside_read" in counts or "beside_write" in counts
    for name, outer in (
        ("cache_read_tokens", "beside_read"),
        ("cache_write_tokens", "beside_write"),
    ):
        if outer in counts:
            counts.setdefault(name, counts[outer])
    if "prompt" in counts or "completion" in counts:
        shape, exclusive = ("prompt", "completion"), False
    elif "native_in" in counts or "native_out" in counts:
        details = record.get("input_tokens_details") or record.get("input_token_details")
        shape, exclusive = ("native_in", "native_out"), beside and not details
    elif "gemini_in" in counts or "gemini_out" in counts or "gemini_total" in counts:
        _gemini(counts, found)
        shape, exclusive = ("gemini_in", "gemini_out"), False
    else:
        shape, exclusive = ("bedrock_in", "bedrock_out"), True
    for name, sent in zip(("tokens_in", "tokens_out"), shape, strict=True):
        if sent in counts:
            counts[name] = counts[sent]
    if (context := counts.get("context")) and context != counts.get("tokens_in"):
        found.not_understood("initial_prompt_tokens")  # by which the price is chosen, says LiteLLM
    return exclusive


def _split_output(found: Found, made: str) -> None:
    """Takes the output for what such a call makes, where the usage does not divide it."""
    tokens_out = found.counts.get("tokens_out")
    divided = {"text_out", "audio_out_tokens"} & found.counts.keys() or {
        unit for unit in found.units if "_out_" in unit
    }
    if tokens_out and not divided:
        found.take(made, tokens_out, "completion_tokens")


def _gemini(counts: dict[str, int], found: Found) -> None:
    """Gemini's usageMetadata: thoughts stand beside the candidates if the total says so."""
    total, thoughts = counts.get("gemini_total"), counts.get("gemini_thoughts")
    if "gemini_in" in counts and counts.get("gemini_tools"):
        counts["gemini_in"] += counts["gemini_tools"]  # what tools returned is input as well
    prompt, out = counts.get("gemini_in"), counts.get("gemini_out", 0)
    if thoughts and prompt is not None:
        if total is None:
            found.odd.append(USAGE_MISMATCH)  # whether the candidates include them is not known
        elif total == prompt + out + thoughts:
            counts["gemini_out"] = out + thoughts
    if thoughts is not None:
        counts["reasoning_tokens"] = thoughts
    if total is not None:
        counts["total"] = total


def _settle(found: Found, *, exclusive: bool) -> Usage:
    """The counts, made inclusive; where their total contradicts the convention, it is believed."""
    get, odd = found.counts.get, found.odd
    tokens_in, tokens_out, total = get("tokens_in"), get("tokens_out"), get("total")
    read, write, reasoning = get("cache_read_tokens"), _written(found), get("reasoning_tokens")
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
    return Usage(
        *(tokens_in, tokens_out, total, read, write),
        _part("cache_write_1h_tokens", write, found),
        _part("reasoning_tokens", tokens_out, found),
        _part("audio_in_tokens", tokens_in, found),
        _part("audio_out_tokens", tokens_out, found),
    )


def _written(found: Found) -> int | None:
    """What was written to the cache: as counted, else the sum of what was written by lifetime."""
    get, units = found.counts.get, found.units
    if (write := get("cache_write_tokens")) is not None:
        return write
    hour = get("cache_write_1h_tokens")
    others = (units.get("cache_write_30m_tokens"), units.get("cache_write_12h_tokens"))
    by_lifetime = (get("write_5m"), hour, *others)
    return int(sum(filter(None, by_lifetime))) if any(by_lifetime) else hour


def _part(name: str, whole: int | None, found: Found) -> int | None:
    """The count of that name; None, and not understood, when it is larger than its whole."""
    part = found.counts.get(name)
    if part and whole is not None and part > whole:
        found.odd.append(USAGE_MISMATCH)
        found.not_understood(name)
        return None
    return part
