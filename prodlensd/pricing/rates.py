"""Rates, what a call costs at them, and what a price book is. Whole numbers only, rounded once.

A rate is in pico-USD per token, which is exactly USD per million tokens times a million.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple, Protocol

from prodlensd.model import Trace, Usage

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
    """Pico-USD per token, every unit filled in (see `rates_of`). `output` None: not billed.

    above   (tokens, rates), ascending: a call with more input tokens is billed wholly at these
    """

    input: int
    output: int | None
    cache_read: int
    cache_write: int
    cache_write_1h: int
    reasoning: int | None
    audio_in: int
    audio_out: int | None
    above: tuple[tuple[int, Rates], ...] = ()


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
    """The rates from `from_us` until just before `until_us`; None when the price is unknown."""

    rates: Rates | None
    from_us: int = ALWAYS
    until_us: int = FOREVER
    origin: Origin = Origin("")

    def within(self, other: Quote) -> Quote:
        """The quote, for as long as both hold."""
        return self._replace(
            from_us=max(self.from_us, other.from_us), until_us=min(self.until_us, other.until_us)
        )


#: What a price book is asked: provider, model, at_us, tier (see `PriceBook.quote`).
Question = tuple[str, str, int, str | None]


class PriceBook(Protocol):
    """One source of prices."""

    def quote(self, provider: str, model: str, at_us: int, tier: str | None) -> Quote:
        """The rates of a call that started at `at_us`; `model` as logged, `tier` as served.

        Raises OSError when the book cannot be asked just now.
        """

    def expect(self, questions: Collection[Question]) -> None:
        """Prepares the answers to these, where that is faster together; here it is not."""
        del questions


def pico(usd_per_million: Decimal | float | str) -> int:
    """A rate in pico-USD per token. Raises ValueError for anything that is not a price."""
    try:
        value = Decimal(str(usd_per_million))
    except ArithmeticError as error:
        raise ValueError(f"not a price: {usd_per_million!r}") from error
    if not value.is_finite() or not 0 <= value <= 10**6:
        raise ValueError(f"a price per million tokens must be from 0 to 1,000,000: {value}")
    return int((value * 10**6).to_integral_value(ROUND_HALF_EVEN))


def rates_of(
    picos: Mapping[str, int],
    provider: str,
    above: tuple[tuple[int, Rates], ...] = (),
) -> Rates:
    """Rates of `picos`, keyed by the fields of Rates; the missing ones follow from the others.

    Where no rate for cache writes is given, only Anthropic is known to charge more for them.
    """
    get, base = picos.get, picos["input"]
    anthropic = provider == "anthropic"
    write = get("cache_write", base * 5 // 4 if anthropic else base)
    output = get("output")
    return Rates(
        input=base,
        output=output,
        cache_read=get("cache_read", base),
        cache_write=write,
        cache_write_1h=get("cache_write_1h", base * 2 if anthropic else write),
        reasoning=get("reasoning", output),
        audio_in=get("audio_in", base),
        audio_out=get("audio_out", output),
        above=above,
    )


@lru_cache(maxsize=1024)
def to_json(rates: Rates) -> str:
    """Rates as JSON: a list in the order of their fields."""
    return json.dumps(rates, separators=(",", ":"))


def from_list(fields: list[Any]) -> Rates:
    """Rates of the list that their JSON holds."""
    *flat, above = fields
    return Rates._make([*flat, tuple((over, from_list(dearer)) for over, dearer in above)])


def flat_rates(input_usd_per_million: float, output_usd_per_million: float) -> Rates:
    """Rates with one price for every input token, and one for every output token."""
    return rates_of(
        {"input": pico(input_usd_per_million), "output": pico(output_usd_per_million)}, ""
    )


def cost_nanousd(rates: Rates, tokens: Usage | Trace) -> int | None:
    """The cost in nano-dollars, rounded half to even; None without a count that is billed."""
    tokens_in, tokens_out = tokens.tokens_in, tokens.tokens_out
    for threshold, dearer in rates.above:
        if tokens_in is not None and tokens_in > threshold:
            rates = dearer
    in_rate, out_rate, _, _, _, reasoning, _, audio_out, _ = rates
    # Where output is not billed there must be none; otherwise its count must be known.
    if tokens_in is None or (tokens_out if out_rate is None else tokens_out is None):
        return None
    picos = tokens_in * in_rate
    if tokens_out and out_rate is not None:
        picos += tokens_out * out_rate
        if not reasoning == audio_out == out_rate:
            picos += _output_difference(rates, tokens, tokens_out)
    if tokens.cache_read_tokens or tokens.cache_write_tokens or tokens.audio_in_tokens:
        picos += _input_difference(rates, tokens, tokens_in)
    nano, rest = divmod(picos, PICO_PER_NANO)
    return nano + (rest > _HALF or (rest == _HALF and nano % 2))


def _input_difference(rates: Rates, tokens: Usage | Trace, tokens_in: int) -> int:
    """What cached and audio input cost beyond (mostly below) the same number of plain tokens."""
    read, write = tokens.cache_read_tokens or 0, tokens.cache_write_tokens or 0
    hour = min(tokens.cache_write_1h_tokens or 0, write)
    audio = min(tokens.audio_in_tokens or 0, max(0, tokens_in - read - write))
    return (
        read * rates.cache_read
        + (write - hour) * rates.cache_write
        + hour * rates.cache_write_1h
        + audio * rates.audio_in
        - (read + write + audio) * rates.input
    )


def _output_difference(rates: Rates, tokens: Usage | Trace, tokens_out: int) -> int:
    """What reasoning and audio cost beyond (or below) the same number of plain output tokens."""
    audio = min(tokens.audio_out_tokens or 0, tokens_out)
    reasoning = min(tokens.reasoning_tokens or 0, tokens_out - audio)
    extra = reasoning * (rates.reasoning or 0) + audio * (rates.audio_out or 0)
    return extra - (reasoning + audio) * (rates.output or 0)
