"""Decides what a call cost and why: the order in which the sources of a price are believed."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from functools import partial
from hashlib import blake2b
from typing import Final, Literal, NamedTuple, Protocol

from prodlensd.model import NANOUSD_PER_USD, PinnedPrice, Price, Trace
from prodlensd.pricing.overrides import Override, Overrides
from prodlensd.pricing.rates import (
    ALWAYS,
    FOREVER,
    MAX_NANOUSD,
    Origin,
    PriceBook,
    Question,
    Quote,
    Rates,
    cost_nanousd,
    from_list,
    to_json,
)

_CACHE_HIT: Final = Price(0, "cache_hit")
_NOT_BILLABLE: Final = Price(0, "not_billable")
_FREE: Final = Price(0, "free")
_UNPRICED: Final = Price(None, "unpriced")

_NO_NAMES: Final = ("", "", "")
_MAX_REMEMBERED: Final = 4096
_MAX_NAME: Final = 300  # characters; longer is no model, and would only fill the memory
_MAX_USD: Final = MAX_NANOUSD / NANOUSD_PER_USD
#: Calls that answer without tokens, so that an absent count of them is no gap in the record.
_WITHOUT_OUTPUT: Final = ("embedding", "rerank", "moderation")

_new: Final = tuple.__new__  # makes a Price in half its constructor's time, once a call


class Pins(Protocol):
    """Where rates are kept for good, with their provenance, when a call is first priced at them."""

    def pin(self, price: PinnedPrice, unnamed: Callable[[], PinnedPrice]) -> int:
        """Keeps a price; one that is kept already stays as it is. Returns the id it is kept by.

        Where that would be too many names, the `unnamed` one is kept instead: the same without the
        names of the call, and so the same for all calls that an entry of a book is the price of.
        """

    def pinned(self, provider: str, model: str, tier: str, at_us: int) -> PinnedPrice | None:
        """The newest table price kept for such a call."""


class Pricer:
    """Prices traces. Its only state is what it remembers of its price books.

    `book` knows list prices; what it has lost since, `pins` still know; what neither knows is
    looked up in `second_book`.
    """

    def __init__(
        self,
        *,
        prefer: Literal["gateway", "table"] = "gateway",
        free_providers: Collection[str] = (),
        fallback: Rates | None = None,
        overrides: Sequence[Override] = (),
        book: PriceBook | None = None,
        second_book: PriceBook | None = None,
        pins: Pins | None = None,
    ) -> None:
        self._prefer_table = prefer == "table"
        # LiteLLM logs "ollama_chat" for the chat route of "ollama"
        self._free_providers = {*free_providers, *(f"{name}_chat" for name in free_providers)}
        self._overrides = _ByRates("override", Overrides(overrides), pins) if overrides else None
        tables = _Tables(book, pins, second_book, without=self._free_providers)
        self._table = _ByRates("table", tables, pins)
        self._fallback = None if fallback is None else _ByRates("fallback", _Flat(fallback), pins)

    def price(self, trace: Trace) -> Price:  # noqa: PLR0911 - one for each cost_source
        """What `trace` cost. Raises OSError when the price book cannot be asked just now."""
        if trace.cache_hit:
            return _CACHE_HIT
        if trace.status == "failure" and not (
            trace.tokens_in or trace.tokens_out or trace.total_tokens
        ):
            return _NOT_BILLABLE
        table = self._table.cost(trace)
        table_nanousd = None if table is None else table[0]
        if self._overrides is not None and (own := self._overrides.cost(trace)) is not None:
            return Price(own[0], "override", table_nanousd, own[1])
        gateway_nanousd = _gateway_nanousd(trace)
        if table is not None and (gateway_nanousd is None or self._prefer_table):
            return _new(Price, (table_nanousd, "table", *table))
        if gateway_nanousd is not None:
            return _new(Price, (gateway_nanousd, "gateway", *(table or (None, None))))
        if self._is_free(provider_of(trace)):
            return _FREE
        if self._fallback is not None and (flat := self._fallback.cost(trace)) is not None:
            return Price(flat[0], "fallback", None, flat[1])
        return _UNPRICED

    def questions(self, traces: Iterable[Trace]) -> list[Question]:
        """What the price books will be asked when these calls are priced, but for what is rare."""
        return [
            question
            for question in self._table.questions(
                trace for trace in traces if not trace.cache_hit and trace.status != "failure"
            )
            if not self._is_free(question[0])
        ]

    def quote(self, trace: Trace) -> tuple[str, Quote]:
        """By whose rates such a call is priced where the gateway's cost does not count.

        That is a `cost_source`, and the rates: none for "free" and for "unpriced".
        """
        for rates in filter(None, (self._overrides, self._table, self._fallback)):
            if rates is self._fallback and self._is_free(provider_of(trace)):
                return "free", Quote(None)
            if (quote := rates.quote(trace)).rates is not None:
                return rates.source, quote
        return ("free" if self._is_free(provider_of(trace)) else "unpriced"), Quote(None)

    def _is_free(self, provider: str) -> bool:
        return provider in self._free_providers


def _gateway_nanousd(trace: Trace) -> int | None:
    usd = trace.cost_gateway_usd
    # 0.0 may mean free, failed to price or unknown model: it is no evidence of anything
    return nanousd_of(usd) or None if usd is not None and 0.0 < usd <= _MAX_USD else None


class _Held(NamedTuple):
    """A book's answer, and what it is pinned as."""

    rates: Rates | None
    from_us: int
    until_us: int
    price_id: int | None


class _ByRates:
    """Prices by the rates of a book, and remembers each of its answers for as long as it holds."""

    def __init__(self, source: str, book: PriceBook, pins: Pins | None) -> None:
        self.source = source
        self._book = book
        self._pins = pins
        # the last answer for each provider, model and tier: logs run forward in time
        self._held: dict[tuple[str | None, str | None, str | None], _Held] = {}

    def cost(self, trace: Trace) -> tuple[int, int | None] | None:
        """Nano-dollars, and the pinned price they come from; None where it has no price."""
        held = self._held.get((trace.provider, trace.model, trace.service_tier))
        if held is None or not held[1] <= trace.started_us < held[2]:
            held = self._hold(trace)
        rates = held[0]
        if rates is None:
            return None
        nanousd = cost_nanousd(rates, trace)
        if nanousd is None and trace.tokens_out is None and _is_without_output(trace):
            nanousd = cost_nanousd(rates, trace._replace(tokens_out=0))
        if nanousd is None or nanousd > MAX_NANOUSD:
            return None
        return nanousd, held[3]

    def questions(self, traces: Iterable[Trace]) -> list[Question]:
        """What the book will be asked for these calls: the first of each kind not remembered."""
        first: dict[tuple[str | None, str | None, str | None], Trace] = {}
        for trace in traces:
            first.setdefault((trace.provider, trace.model, trace.service_tier), trace)
        new = [first[kind] for kind in first.keys() - self._held.keys()]
        return list(filter(None, map(_question, new)))

    def quote(self, trace: Trace) -> Quote:
        """The book's answer for such a call."""
        question = _question(trace)
        return Quote(None) if question is None else self._book.quote(*question)

    def _hold(self, trace: Trace) -> _Held:
        quote = self.quote(trace)
        price_id = None
        if quote.rates is not None and self._pins is not None:
            named = _pinned(self.source, _names(self.source, trace), quote, quote.rates)
            price_id = self._pins.pin(named, partial(_unnamed, named, quote, quote.rates))
        held = _Held(quote.rates, quote.from_us, quote.until_us, price_id)
        if len(self._held) >= _MAX_REMEMBERED:
            self._held.clear()
        self._held[trace.provider, trace.model, trace.service_tier] = held
        return held


def _question(trace: Trace) -> Question | None:
    """What a book is asked for the price of such a call; None for what is no name of a model."""
    model, tier = trace.model or "", trace.service_tier
    if len(model) + len(trace.provider or "") + len(tier or "") > _MAX_NAME:
        return None
    return provider_of(trace), model, trace.started_us, tier


class _Tables:
    """List prices: the book's, else those it once had, else the second book's."""

    def __init__(
        self,
        book: PriceBook | None,
        pins: Pins | None,
        second_book: PriceBook | None,
        *,
        without: Collection[str],
    ) -> None:
        self._book = book
        self._pins = pins
        self._second_book = second_book
        self._without = without  # what the user calls free has no list price

    def quote(self, provider: str, model: str, at_us: int, tier: str | None) -> Quote:
        if provider in self._without:
            return Quote(None)
        asked = provider, model, at_us, tier
        quote = self._book.quote(*asked) if self._book is not None else Quote(None)
        # A call without a model is not one of those whose names were not kept.
        if quote.rates is None and self._pins is not None and model:
            pinned = self._pins.pinned(provider, model, tier or "", at_us)
            if pinned is not None:
                return _quote(pinned).within(quote)
        if quote.rates is None and self._second_book is not None:
            quote = self._second_book.quote(*asked).within(quote)
        # What nobody knows now may have been known before: the pins are for the past.
        return quote if quote.rates is not None else quote._replace(from_us=at_us)


class _Flat:
    """The fallback as a price book: the same for every call."""

    def __init__(self, rates: Rates) -> None:
        self._quote = Quote(rates, origin=Origin("configuration", "pricing.fallback"))

    def quote(self, provider: str, model: str, at_us: int, tier: str | None) -> Quote:
        del provider, model, at_us, tier
        return self._quote


def _names(source: str, trace: Trace) -> tuple[str, str, str]:
    """What a price is kept under: the call's provider, model and tier."""
    if source == "fallback":  # the same for every call
        return _NO_NAMES
    return provider_of(trace), trace.model or "", trace.service_tier or ""


def _pinned(source: str, call: tuple[str, str, str], quote: Quote, rates: Rates) -> PinnedPrice:
    """The price to keep. Its id leaves out the version of the book: equal rates are one price."""
    window = (quote.from_us, quote.until_us)
    origin = quote.origin
    told = repr((source, call, origin.book.split(" ")[0], origin.entry, window, rates)).encode()
    price_id = int.from_bytes(blake2b(told, digest_size=8).digest(), "big") % FOREVER
    return PinnedPrice(price_id, source, *call, *origin, *window, to_json(rates))


def _unnamed(named: PinnedPrice, quote: Quote, rates: Rates) -> PinnedPrice:
    """The same, kept once for all calls that it is the price of: not of certain days either."""
    always = quote._replace(from_us=ALWAYS, until_us=FOREVER)
    return _pinned(named.source, _NO_NAMES, always, rates)


def _quote(price: PinnedPrice) -> Quote:
    origin = Origin(price.book, price.entry, price.match)
    return Quote(from_list(json.loads(price.rates)), price.from_us, price.until_us, origin)


def provider_of(trace: Trace) -> str:
    """Who served the call: as the gateway says, else the prefix of the model's name, else ""."""
    if trace.provider:
        return trace.provider
    provider, slash, _ = (trace.model or "").partition("/")
    return provider if slash else ""


def nanousd_of(usd: float) -> int:
    """An amount in nano-USD, rounded half to even of the number as it is printed."""
    scaled = usd * NANOUSD_PER_USD
    nearest = round(scaled)
    # the product is off by less than its last bit, which matters only next to a half
    if scaled < 2**42 and -0.49 < scaled - nearest < 0.49:  # noqa: PLR2004
        return nearest
    return int((Decimal(repr(usd)) * NANOUSD_PER_USD).to_integral_value(ROUND_HALF_EVEN))


def _is_without_output(trace: Trace) -> bool:
    return any(kind in (trace.call_type or "") for kind in _WITHOUT_OUTPUT)
