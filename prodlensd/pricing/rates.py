"""Rates, what a call costs at them, and what a price book is. Whole numbers only, rounded once.

A rate is in pico-USD for one of a unit. Of a token, that is USD per million tokens times a million.
A unit without a rate has no price: none is filled in from another unit, but where the vendor itself
says that it costs the same (see `rates_of`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final, NamedTuple, Protocol

from prodlensd.model import Trace, bill_of

PICO_PER_NANO: Final = 1000
_HALF: Final = PICO_PER_NANO // 2
#: A million dollars. A higher cost comes from nonsense in the log, and the price is unknown.
MAX_NANOUSD: Final = 10**15

#: Service tiers, as logged and in lower case, that are billed at the standard price.
STANDARD_TIERS: Final = frozenset({"", "standard", "default", "auto", "on_demand"})

#: A quote that holds for all time reaches from ALWAYS to FOREVER (microseconds, as in SQLite).
ALWAYS: Final = -(2**63)
FOREVER: Final = 2**63 - 1


class Rates(NamedTuple):
    """Pico-USD for one of each unit; None: the price of this unit is not known.

    input       fresh text; `cache_read`, `cache_write` (5 minutes) and `audio_in` are other input
    output      what is not reasoning or audio
    above       (tokens, rates), ascending: a call with more input tokens is billed wholly at these
    others      the rates of further units, by the names of `Bill.units`
    """

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None
    audio_in: int | None = None
    audio_out: int | None = None
    above: tuple[tuple[int, Rates], ...] = ()
    others: tuple[tuple[str, int], ...] = ()


_FIELDS: Final = Rates._fields[:-2]

#: The units of `Bill.units` that are parts of the input; of the output; of what was written to the
#: cache, with other lifetimes than 5 minutes and an hour; of what was read from it.
INPUT_PARTS: Final = ("image_in_tokens", "video_in_tokens", "document_in_tokens")
OUTPUT_PARTS: Final = ("image_out_tokens", "video_out_tokens")
WRITE_PARTS: Final = ("cache_write_30m_tokens", "cache_write_12h_tokens")
READ_PARTS: Final = (
    "audio_cache_read_tokens",
    "image_cache_read_tokens",
    "video_cache_read_tokens",
    "document_cache_read_tokens",
)


class Origin(NamedTuple):
    """Where rates come from, in words for people.

    book    the price book, with its version
    entry   the entry in it
    match   how the model's name matches the entry
    """

    book: str
    entry: str = ""
    match: str = ""


class Quote(NamedTuple):
    """The rates from `from_us` until just before `until_us`; None when the price is unknown.

    `reason` says then why: one of `model.UNPRICED_REASONS`, with its name behind a colon.
    """

    rates: Rates | None
    from_us: int = ALWAYS
    until_us: int = FOREVER
    origin: Origin = Origin("")
    reason: str = ""

    def within(self, other: Quote) -> Quote:
        """The quote, for as long as both hold."""
        return self._replace(
            from_us=max(self.from_us, other.from_us), until_us=min(self.until_us, other.until_us)
        )


#: What a price depends on beside the model and the time, as (name, value) in the order of names:
#: `service_tier` and those of `Bill.modifiers`. Standard ones are left out.
Modifiers = tuple[tuple[str, str], ...]


class Question(NamedTuple):
    """What a price book is asked: `model` as logged, when the call started, how it was served."""

    provider: str
    model: str
    at_us: int
    modifiers: Modifiers = ()


class PriceBook(Protocol):
    """One source of prices."""

    def quote(self, question: Question) -> Quote:
        """The rates of such a call. Raises OSError when the book cannot be asked just now."""

    def expect(self, questions: Collection[Question]) -> None:
        """Prepares the answers to these, where that is faster together; here it is not."""
        del questions


def modifiers_of(trace: Trace) -> Modifiers:
    """The modifiers of a call that are not standard."""
    tier = trace.service_tier
    if trace.bill is None:
        return () if tier is None or tier.lower() in STANDARD_TIERS else (("service_tier", tier),)
    modifiers = dict(bill_of(trace.bill).modifiers)
    if tier is not None and tier.lower() not in STANDARD_TIERS:
        modifiers["service_tier"] = tier
    return tuple(sorted(modifiers.items()))


def tier_text(modifiers: Modifiers) -> str:
    """The modifiers as a text, by which a price is kept: of a service tier alone, its name."""
    if len(modifiers) == 1 and modifiers[0][0] == "service_tier":
        return modifiers[0][1]
    return " ".join(f"{name}={value}" for name, value in modifiers)


def pico(usd_per_million: Decimal | float | str) -> int:
    """A rate in pico-USD per token. Raises ValueError for anything that is not a price."""
    try:
        value = Decimal(str(usd_per_million))
    except ArithmeticError as error:
        raise ValueError(f"not a price: {usd_per_million!r}") from error
    if not value.is_finite() or not 0 <= value <= 10**6:
        raise ValueError(f"a price per million tokens must be from 0 to 1,000,000: {value}")
    return int((value * 10**6).to_integral_value(ROUND_HALF_EVEN))


#: What vendors say themselves of a unit without a rate of its own: (unit, factor, of this unit).
_SAID_BY_ALL: Final = (("cache_read", Fraction(1), "input"), ("reasoning", Fraction(1), "output"))
_MODALITIES: Final = ("audio_in", "image_in_tokens", "video_in_tokens", "document_in_tokens")
_SAID: Final = {
    # platform.claude.com/docs/en/build-with-claude/prompt-caching
    "anthropic": (
        ("cache_write", Fraction(5, 4), "input"),
        ("cache_write_1h", Fraction(2), "input"),
    ),
    # platform.openai.com/docs/guides/prompt-caching: writing is free until GPT-5.6 asks for it, and
    # for 30 minutes where nothing else is said
    "openai": (
        ("cache_write", Fraction(1), "input"),
        ("cache_write_30m_tokens", Fraction(1), "cache_write"),
    ),
    # ai.google.dev/gemini-api/docs/pricing: one input price, but where audio has one of its own
    "google": (
        *((unit, Fraction(1), "input") for unit in _MODALITIES),
        *((unit, Fraction(1), "cache_read") for unit in READ_PARTS[1:]),
    ),
    # somebody's own price for every token
    "flat": (
        *((unit, Fraction(1), "input") for unit in ("cache_write", *_MODALITIES)),
        *((unit, Fraction(1), "cache_write") for unit in ("cache_write_1h", *WRITE_PARTS)),
        *((unit, Fraction(1), "cache_read") for unit in READ_PARTS),
        *((unit, Fraction(1), "output") for unit in ("audio_out", *OUTPUT_PARTS)),
    ),
}


def rates_of(
    picos: Mapping[str, int], vendor: str = "", above: tuple[tuple[int, Rates], ...] = ()
) -> Rates:
    """Rates of `picos`, keyed by the fields of Rates and the names of `Bill.units`.

    A rate that is missing is filled in only where the vendor itself says what it is.
    """
    known = dict(picos)
    for unit, factor, other in (*_SAID.get(vendor, ()), *_SAID_BY_ALL):
        if unit not in known and other in known:
            known[unit] = round(known[other] * factor)
    others = tuple(sorted(item for item in known.items() if item[0] not in _FIELDS))
    return Rates(**{name: known.get(name) for name in _FIELDS}, above=above, others=others)


def flat_rates(input_usd_per_million: float, output_usd_per_million: float) -> Rates:
    """Rates with one price for every input token, and one for every output token."""
    picos = {"input": pico(input_usd_per_million), "output": pico(output_usd_per_million)}
    return rates_of(picos, "flat")


@lru_cache(maxsize=1024)
def to_json(rates: Rates) -> str:
    """Rates as JSON: a list in the order of their fields."""
    return json.dumps(rates, separators=(",", ":"))


#: How many fields rates had when each missing one was filled in from another.
_FIELDS_BEFORE: Final = 9


def from_list(fields: list[Any]) -> Rates:
    """Rates of the list that their JSON holds.

    In those of earlier versions, audio has the price of text where the book had none for it: there
    it counts as unknown.
    """
    *flat, above, others = fields if len(fields) > _FIELDS_BEFORE else [*fields, ()]
    steps = tuple((over, from_list(dearer)) for over, dearer in above)
    rates = Rates._make([*flat, steps, tuple((unit, rate) for unit, rate in others)])
    if len(fields) > _FIELDS_BEFORE:
        return rates
    return rates._replace(
        audio_in=None if rates.audio_in == rates.input else rates.audio_in,
        audio_out=None if rates.audio_out == rates.output else rates.audio_out,
    )


class Cost(NamedTuple):
    """A cost in nano-dollars; None with the reason: one of `model.UNPRICED_REASONS`."""

    nanousd: int | None
    reason: str | None = None


#: A unit, how much of it is billed, and its rate.
Billed = tuple[str, float, int | None]


def cost(rates: Rates, trace: Trace) -> Cost:
    """What the call costs at these rates, rounded half to even."""
    # Where output is not billed there must be none; otherwise its count must be known.
    if trace.tokens_in is None or (trace.tokens_out is None and rates.output is not None):
        return _USAGE_MISSING
    if (picos := _plain_picos(rates, trace)) is None:
        picos = 0
        for unit, quantity, rate in billed(rates, trace):
            if not quantity:
                continue
            if quantity < 0:
                return _USAGE_MISMATCH
            if rate is None:
                return Cost(None, f"unit_without_rate:{unit}")
            picos += int(quantity * rate)  # only seconds have fractions
    nano, rest = divmod(picos, PICO_PER_NANO)
    nano += rest > _HALF or (rest == _HALF and nano % 2)
    return _new(Cost, (nano, None)) if nano <= MAX_NANOUSD else Cost(None, "cost_too_large")


_new: Final = tuple.__new__  # makes a NamedTuple in half its constructor's time, once a call
#: The counts of a `Usage` within a trace.
_USAGE: Final = slice(Trace._fields.index("tokens_in"), Trace._fields.index("audio_out_tokens") + 1)


def _plain_picos(rates: Rates, trace: Trace) -> int | None:
    """What most calls cost, in a third of the time that `billed` takes; None: ask `billed`."""
    usage: Any = trace[_USAGE]
    tokens_in, tokens_out, _, read, write, hour, reasoning, audio_in, audio_out = usage
    if audio_in or audio_out or trace.bill is not None or rates.above:
        return None
    read, write, hour, reasoning = read or 0, write or 0, hour or 0, reasoning or 0
    out = (tokens_out or 0) - reasoning
    # In the order of the fields of Rates, which has more of them.
    quantities = (tokens_in - read - write, out, read, write - hour, hour, reasoning)
    each: tuple[Any, ...] = rates
    picos = 0
    for quantity, rate in zip(quantities, each, strict=False):
        if quantity:
            if rate is None or quantity < 0:
                return None
            picos += quantity * rate
    return picos


def billed(rates: Rates, trace: Trace) -> list[Billed]:
    """The disjoint units of the call, each with its quantity and its rate."""
    tokens_in, tokens_out = trace.tokens_in or 0, trace.tokens_out or 0
    for threshold, dearer in rates.above:
        if tokens_in > threshold:
            rates = dearer
    read, write = trace.cache_read_tokens or 0, trace.cache_write_tokens or 0
    hour, reasoning = trace.cache_write_1h_tokens or 0, trace.reasoning_tokens or 0
    frequent: list[Billed] = [
        ("tokens_in", tokens_in - read - write, rates.input),
        ("cache_read_tokens", read, rates.cache_read),
        ("cache_write_tokens", write - hour, rates.cache_write),
        ("cache_write_1h_tokens", hour, rates.cache_write_1h),
        ("tokens_out", tokens_out - reasoning, rates.output),
        ("reasoning_tokens", reasoning, rates.reasoning),
    ]
    if trace.bill is None and not trace.audio_in_tokens and not trace.audio_out_tokens:
        return frequent
    return _with_others(frequent, rates, trace)


_USAGE_MISSING: Final = Cost(None, "usage_missing")
_USAGE_MISMATCH: Final = Cost(None, "usage_mismatch")


def _with_others(frequent: list[Billed], rates: Rates, trace: Trace) -> list[Billed]:
    """The same with audio and the units of the bill, each taken out of the whole it is part of.

    What was read from the cache is taken for text, as far as the bill does not name it and there is
    room: what of the audio does not fit into the fresh input was read from the cache.
    """
    units = dict(bill_of(trace.bill).units)
    audio_in, audio_out = trace.audio_in_tokens or 0, trace.audio_out_tokens or 0
    for modality in ("image", "video", "document"):
        cached = units.get(f"{modality}_cache_read_tokens", 0)
        if part := units.get(f"{modality}_in_tokens"):
            units[f"{modality}_in_tokens"] = max(0, part - cached)
    fresh = frequent[0][1] - _sum(units, INPUT_PARTS)
    cached_audio = units.pop("audio_cache_read_tokens", 0) or max(0, audio_in - max(0, fresh))
    audio_in = int(max(0, audio_in - cached_audio))
    parts = {
        "tokens_in": audio_in + _sum(units, INPUT_PARTS),
        "tokens_out": audio_out + _sum(units, OUTPUT_PARTS),
        "cache_read_tokens": cached_audio + _sum(units, READ_PARTS),
        "cache_write_tokens": _sum(units, WRITE_PARTS),
    }
    others = dict(rates.others)
    return [
        *((unit, quantity - parts.get(unit, 0), rate) for unit, quantity, rate in frequent),
        ("audio_in_tokens", audio_in, rates.audio_in),
        ("audio_out_tokens", audio_out, rates.audio_out),
        ("audio_cache_read_tokens", cached_audio, others.get("audio_cache_read_tokens")),
        *((unit, quantity, others.get(unit)) for unit, quantity in units.items()),
    ]


def _sum(units: Mapping[str, float], names: Iterable[str]) -> float:
    return sum(units.get(name, 0) for name in names)
