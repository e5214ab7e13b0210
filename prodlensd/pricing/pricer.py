"""What a call cost and why: the order in which the sources of a price are believed."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Final, Literal, NamedTuple, Protocol

from prodlensd.model import PinnedPrice, Price, Trace, provider_in
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
#: A longer name is not one of a model, and would only fill the memory.
_MAX_NAME_CHARS: Final = 300
#: Calls whose answers have no tokens: for them, an absent count of output tokens is 0.
_WITHOUT_OUTPUT: Final = ("embedding", "rerank", "moderation")

_new: Final = tuple.__new__  # makes a Price in half its constructor's time, once a call


class Pins(Protocol):
    """Keeps rates for good, with their provenance, from the first call that is priced at them."""

    def pin(self, price: PinnedPrice, unnamed: Callable[[], PinnedPrice]) -> int:
        """Keeps a price, unless it is kept already; the id by which it is kept.

        Once there are too many names, the `unnamed` price is kept instead: the same without the
        names of the call, and so one for all calls that share an entry of a price book.
        """

    def pinned(self, provider: str, model: str, tier: str, at_us: int) -> PinnedPrice | None:
        """The newest table price kept for such a call."""


class Pricer:
    """Prices traces. The mutable state: the answers of its price books that still hold.

    A table price comes from the first of `books`; where that has none, from `pins`, which keep what
    it once had; and where these have none, from the next of `books`. Without books there is none.
    """

    def __init__(
        self,
        *,
        prefer: Literal["gateway", "table"] = "gateway",
        free_providers: Collection[str] = (),
        fallback: Rates | None = None,
        overrides: Sequence[Override] = (),
        books: Sequence[PriceBook] = (),
        pins: Pins | None = None,
    ) -> None:
        self._prefer_table = prefer == "table"
        # LiteLLM logs "ollama_chat" for the chat route of "ollama"
        self._free_providers = {*free_providers, *(f"{name}_chat" for name in free_providers)}
        self._overrides = _ByRates("override", Overrides(overrides), pins) if overrides else None
        tables = _Tables(books, pins, without=self._free_providers)
        self._table = _ByRates("table", tables, pins)
        self._fallback = None if fallback is None else _ByRates("fallback", _Flat(fallback), pins)

    def price(self, trace: Trace) -> Price:  # noqa: PLR0911 - one for each cost_source
        """What the call cost. Raises OSError when a price book cannot be asked just now."""
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
        # 0 may mean free, failed to price or unknown model, and so is no evidence of any of them.
        gateway_nanousd = trace.gateway_nanousd or None
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
        """What `price` will ask the price books about these calls, but for rare cases."""
        return [
            question
            for question in self._table.questions(
                trace for trace in traces if not trace.cache_hit and trace.status != "failure"
            )
            if not self._is_free(question[0])
        ]

    def expect(self, traces: Iterable[Trace]) -> None:
        """Has the price books look up at once what `price` will ask about these calls.

        A book in a process of its own answers many questions in little more time than one. Raises
        OSError as `price` does.
        """
        if questions := self.questions(traces):
            self._table.expect(questions)

    def quote(self, trace: Trace) -> tuple[str, Quote]:
        """The `cost_source` and rates of such a call where the gateway's cost does not count.

        "free" and "unpriced" have no rates.
        """
        for rates in filter(None, (self._overrides, self._table, self._fallback)):
            if rates is self._fallback and self._is_free(provider_of(trace)):
                return "free", Quote(None)
            if (quote := rates.quote(trace)).rates is not None:
                return rates.source, quote
        return ("free" if self._is_free(provider_of(trace)) else "unpriced"), Quote(None)

    def _is_free(self, provider: str) -> bool:
        return provider in self._free_providers


class _Held(NamedTuple):
    """A price book's answer, and the id it is pinned by."""

    rates: Rates | None
    from_us: int
    until_us: int
    price_id: int | None


class _ByRates:
    """Costs at the rates of a price book. The mutable state: its answers that still hold."""

    def __init__(self, source: str, book: PriceBook, pins: Pins | None) -> None:
        self.source = source
        self._book = book
        self._pins = pins
        # the last answer for each provider, model and tier: logs run forward in time
        self._held: dict[tuple[str | None, str | None, str | None], _Held] = {}

    def cost(self, trace: Trace) -> tuple[int, int | None] | None:
        """Nano-dollars, and the id of the pinned price they come from; None without a price."""
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
        """What `cost` will ask the book: one question for each kind of call not yet answered."""
        first: dict[tuple[str | None, str | None, str | None], Trace] = {}
        for trace in traces:
            first.setdefault((trace.provider, trace.model, trace.service_tier), trace)
        new = [first[kind] for kind in first.keys() - self._held.keys()]
        return list(filter(None, map(_question, new)))

    def expect(self, questions: Collection[Question]) -> None:
        """See `PriceBook.expect`."""
        self._book.expect(questions)

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
    """What a book is asked about such a call; None when the names are too long to be any."""
    model, tier = trace.model or "", trace.service_tier
    if len(model) + len(trace.provider or "") + len(tier or "") > _MAX_NAME_CHARS:
        return None
    return provider_of(trace), model, trace.started_us, tier


class _Tables(PriceBook):
    """Table prices: the first book's, else a pinned one that it once had, else the next book's.

    Providers that are free by configuration (`without`) have none.
    """

    def __init__(
        self, books: Sequence[PriceBook], pins: Pins | None, *, without: Collection[str]
    ) -> None:
        pinned = [] if pins is None else [_Pinned(pins)]
        self._books = [*books[:1], *pinned, *books[1:]]
        self._without = without

    def expect(self, questions: Collection[Question]) -> None:
        for book in self._books:
            book.expect(questions)

    def quote(self, provider: str, model: str, at_us: int, tier: str | None) -> Quote:
        quote = Quote(None)
        if provider in self._without:
            return quote
        for book in self._books:
            quote = book.quote(provider, model, at_us, tier).within(quote)
            if quote.rates is not None:
                return quote
        # No price is known now, but one may have been pinned for an earlier time.
        return quote._replace(from_us=at_us)


class _Pinned(PriceBook):
    """The table prices that were pinned as a price book."""

    def __init__(self, pins: Pins) -> None:
        self._pins = pins

    def quote(self, provider: str, model: str, at_us: int, tier: str | None) -> Quote:
        # Prices that were pinned without names have no model either, and are no call's.
        price = self._pins.pinned(provider, model, tier or "", at_us) if model else None
        if price is None:
            return Quote(None)
        origin = Origin(price.book, price.entry, price.match)
        return Quote(from_list(json.loads(price.rates)), price.from_us, price.until_us, origin)


class _Flat(PriceBook):
    """The fallback as a price book: the same rates for every call."""

    def __init__(self, rates: Rates) -> None:
        self._quote = Quote(rates, origin=Origin("configuration", "pricing.fallback"))

    def quote(self, provider: str, model: str, at_us: int, tier: str | None) -> Quote:
        del provider, model, at_us, tier
        return self._quote


def _names(source: str, trace: Trace) -> tuple[str, str, str]:
    """The names that a price is pinned with: the call's provider, model and tier."""
    if source == "fallback":  # the same for every call
        return _NO_NAMES
    return provider_of(trace), trace.model or "", trace.service_tier or ""


def _pinned(source: str, call: tuple[str, str, str], quote: Quote, rates: Rates) -> PinnedPrice:
    """The price to pin. Its id leaves out the book's version: equal rates are one price."""
    window = (quote.from_us, quote.until_us)
    origin = quote.origin
    identity = repr((source, call, origin.book.split(" ")[0], origin.entry, window, rates)).encode()
    price_id = int.from_bytes(blake2b(identity, digest_size=8).digest(), "big") % FOREVER
    return PinnedPrice(price_id, source, *call, *origin, *window, to_json(rates))


def _unnamed(named: PinnedPrice, quote: Quote, rates: Rates) -> PinnedPrice:
    """The same without names and days: one for all calls that share an entry of a price book."""
    always = quote._replace(from_us=ALWAYS, until_us=FOREVER)
    return _pinned(named.source, _NO_NAMES, always, rates)


def provider_of(trace: Trace) -> str:
    """The provider of the call: as logged, else the prefix of the model's name, else ""."""
    return trace.provider or provider_in(trace.model)


def _is_without_output(trace: Trace) -> bool:
    return any(kind in (trace.call_type or "") for kind in _WITHOUT_OUTPUT)
