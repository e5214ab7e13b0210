"""What a call cost and why: the order in which the sources of a price are believed."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from functools import partial
from hashlib import blake2b
from typing import Final, Literal, NamedTuple, Protocol

from prodlensd.model import (
    Bill,
    PinnedPrice,
    Price,
    Trace,
    Usage,
    bill_json,
    bill_of,
    provider_in,
)
from prodlensd.pricing.overrides import Override, Overrides
from prodlensd.pricing.rates import (
    ALWAYS,
    FOREVER,
    Modifiers,
    Origin,
    PriceBook,
    Question,
    Quote,
    Rates,
    cost,
    from_list,
    modifiers_of,
    tier_text,
    to_json,
)

_CACHE_HIT: Final = Price(0, "cache_hit")
_NOT_BILLABLE: Final = Price(0, "not_billable")
_FREE: Final = Price(0, "free")

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

    def price(self, trace: Trace) -> Price:
        """What the call cost. Raises OSError when a price book cannot be asked just now."""
        price = self._usual(trace)
        if trace.bill is not None and bill_of(trace.bill).plan:
            return _on_plan(price)
        return price

    def _usual(self, trace: Trace) -> Price:
        if trace.cache_hit:
            return _CACHE_HIT
        if trace.status == "failure" and not (
            trace.tokens_in or trace.tokens_out or trace.total_tokens
        ):
            return _NOT_BILLABLE
        table, table_id, reason = self._table.price(trace)
        if self._overrides is not None:
            own, own_id, _ = self._overrides.price(trace)
            if own is not None:
                return Price(own, "override", table, own_id)
        return self._charged(trace, table, table_id) or self._unlisted(trace, reason)

    def _charged(self, trace: Trace, table: int | None, table_id: int | None) -> Price | None:
        """The cost by the gateway, the provider or the price table; None when none knows it."""
        # 0 may mean free, failed to price or unknown model, and so is no evidence of any of them.
        gateway = trace.gateway_nanousd or None
        if table is not None and self._prefer_table:
            return _new(Price, (table, "table", table, table_id, None))
        if gateway is not None:
            return _new(Price, (gateway, "gateway", table, table_id, None))
        if trace.bill and (charged := bill_of(trace.bill).provider_nanousd) is not None:
            return Price(charged, "provider", table, table_id)
        if table is not None:
            return _new(Price, (table, "table", table, table_id, None))
        return None

    def _unlisted(self, trace: Trace, reason: str | None) -> Price:
        """The cost of a call of which nobody says what it costs."""
        if self._is_free(provider_of(trace)):
            return _FREE
        if self._fallback is not None:
            flat, flat_id, _ = self._fallback.price(trace)
            if flat is not None:
                return Price(flat, "fallback", None, flat_id)
        return Price(None, "unpriced", reason=reason)

    def questions(self, traces: Sequence[Trace]) -> list[Question]:
        """What `price` will ask the price books about these calls, but for rare cases."""
        asked_of = [trace for trace in traces if not trace.cache_hit and trace.status != "failure"]
        questions = self._table.questions(asked_of)
        return [question for question in questions if not self._is_free(question.provider)]

    def expect(self, traces: Sequence[Trace]) -> None:
        """Has the price books look up at once what `price` will ask about these calls.

        A book in a process of its own answers many questions in little more time than one. Raises
        OSError as `price` does.
        """
        if questions := self.questions(traces):
            self._table.expect(questions)

    def quote(self, trace: Trace) -> tuple[str, Quote]:
        """The `cost_source` and rates of such a call where neither gateway nor provider count.

        "free" and "unpriced" have no rates; for the latter the quote of the price table says why.
        """
        table = self._table.quote(trace)
        if self._overrides is not None and (own := self._overrides.quote(trace)).rates is not None:
            return "override", own
        if table.rates is not None:
            return "table", table
        if self._is_free(provider_of(trace)):
            return "free", table
        if self._fallback is not None and (flat := self._fallback.quote(trace)).rates is not None:
            return "fallback", flat
        return "unpriced", table

    def _is_free(self, provider: str) -> bool:
        return provider in self._free_providers


def _on_plan(price: Price) -> Price:
    """The price of a call on a plan: nothing, and beside it what the API would have asked.

    Where nobody knows that, the reason is kept. What a gateway charged was charged.
    """
    if price.source in ("gateway", "provider"):
        return price
    return Price(0, "plan", price.nanousd, price.price_id, price.reason)


class _Held(NamedTuple):
    """A price book's answer, and the id it is pinned by."""

    rates: Rates | None
    from_us: int
    until_us: int
    reason: str
    price_id: int | None


#: A cost in nano-dollars, the id of the pinned price behind it, and why there is none.
_Priced = tuple[int | None, int | None, str | None]
#: What one answer of a book is for: provider, model, and the modifiers as the call has them.
_Kind = tuple[str | None, str | None, str | None, Modifiers]


class _ByRates:
    """Costs at the rates of a price book. The mutable state: its answers that still hold."""

    def __init__(self, source: str, book: PriceBook, pins: Pins | None) -> None:
        self.source = source
        self._book = book
        self._pins = pins
        # the last answer for each kind of call: logs run forward in time
        self._held: dict[_Kind, _Held] = {}

    def price(self, trace: Trace) -> _Priced:
        """What the call costs, or why the book cannot tell."""
        if trace.bill is not None:
            bill = bill_of(trace.bill)
            if bill.unknown:
                return None, None, f"usage_unknown:{bill.unknown[0]}"
            if bill.iterations:
                return self._price_of_iterations(trace, bill)
        return self._price(trace)

    def _price(self, trace: Trace) -> _Priced:
        kind = _kind(trace)
        held = self._held.get(kind)
        if held is None or not held[1] <= trace.started_us < held[2]:
            held = self._hold(kind, trace)
        rates, _, _, reason, price_id = held
        if trace.tokens_in is None:
            return None, None, "usage_missing"
        if rates is None:
            return None, None, reason
        if trace.tokens_out is None and _is_without_output(trace):
            trace = trace._replace(tokens_out=0)
        nanousd, reason_of_cost = cost(rates, trace)
        return nanousd, None if nanousd is None else price_id, reason_of_cost

    def _price_of_iterations(self, trace: Trace, bill: Bill) -> _Priced:
        """The sum of what the provider did within the call, each at its own model."""
        rest = bill_json(bill._replace(iterations=()))
        total, price_id = 0, None
        for number, iteration in enumerate(bill.iterations):
            model = iteration.get("model")
            # A model of another route's name is looked for at its maker alone: a scope is lost.
            if model is not None and not (trace.model or "").endswith(model):
                if provider_of(trace) not in ("", "anthropic"):
                    return None, None, f"model_unknown:{model}"
            else:
                model = trace.model
            part = trace._replace(
                **{**_NO_COUNTS, **iteration, "model": model, "bill": rest if not number else None}
            )
            nanousd, part_id, reason = self._price(part)
            if nanousd is None:
                return None, None, reason
            total += nanousd
            price_id = part_id if number == 0 else price_id
        return total, price_id, None

    def questions(self, traces: Sequence[Trace]) -> list[Question]:
        """What `price` will ask the book: one question for each kind of call not yet answered."""
        new = set(map(_kind, traces)) - self._held.keys()
        if not new:
            return []
        first = {_kind(trace): trace for trace in reversed(traces)}
        return list(filter(None, (_question(first[kind]) for kind in new)))

    def expect(self, questions: Collection[Question]) -> None:
        """See `PriceBook.expect`."""
        self._book.expect(questions)

    def quote(self, trace: Trace) -> Quote:
        """The book's answer for such a call."""
        if not trace.model and self.source != "fallback":
            return Quote(None, reason="model_missing")
        question = _question(trace)
        if question is None:
            return Quote(None, reason="model_unknown")
        return self._book.quote(question)

    def _hold(self, kind: _Kind, trace: Trace) -> _Held:
        quote = self.quote(trace)
        price_id = None
        if quote.rates is not None and self._pins is not None:
            named = _pinned(self.source, _names(self.source, trace), quote, quote.rates)
            price_id = self._pins.pin(named, partial(_unnamed, named, quote, quote.rates))
        held = _Held(quote.rates, quote.from_us, quote.until_us, quote.reason, price_id)
        if len(self._held) >= _MAX_REMEMBERED:
            self._held.clear()
        self._held[kind] = held
        return held


_NO_COUNTS: Final = dict.fromkeys(Usage._fields)


def _kind(trace: Trace) -> _Kind:
    modifiers = () if trace.bill is None else modifiers_of(trace)
    return trace.provider, trace.model, trace.service_tier, modifiers


def _question(trace: Trace) -> Question | None:
    """What a book is asked about such a call; None when the names are too long to be any."""
    model, modifiers = trace.model or "", modifiers_of(trace)
    if len(model) + len(trace.provider or "") + len(tier_text(modifiers)) > _MAX_NAME_CHARS:
        return None
    return Question(provider_of(trace), model, trace.started_us, modifiers)


#: Of several books' reasons, the one that knows most about the call.
_TELLING: Final = ("modifier_unknown", "price_unknown", "model_unknown", "provider_unknown")


def _says(reason: str) -> int:
    word = reason.partition(":")[0]
    return -_TELLING.index(word) if word in _TELLING else -len(_TELLING)


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

    def quote(self, question: Question) -> Quote:
        if question.provider in self._without:
            return Quote(None, reason=f"provider_unknown:{question.provider}")
        quote, reasons = Quote(None), []
        for book in self._books:
            quote = book.quote(question).within(quote)
            if quote.rates is not None:
                return quote
            reasons.append(quote.reason)
        # No price is known now, but one may have been pinned for an earlier time.
        reason = max(filter(None, reasons), key=_says, default=f"model_unknown:{question.model}")
        return quote._replace(from_us=question.at_us, reason=reason)


class _Pinned(PriceBook):
    """The table prices that were pinned as a price book."""

    def __init__(self, pins: Pins) -> None:
        self._pins = pins

    def quote(self, question: Question) -> Quote:
        provider, model, at_us, modifiers = question
        # Prices that were pinned without names have no model either, and are no call's.
        tier = tier_text(modifiers)
        price = self._pins.pinned(provider, model, tier, at_us) if model else None
        if price is None:
            return Quote(None)
        origin = Origin(price.book, price.entry, price.match)
        return Quote(from_list(json.loads(price.rates)), price.from_us, price.until_us, origin)


class _Flat(PriceBook):
    """The fallback as a price book: the same rates for every call."""

    def __init__(self, rates: Rates) -> None:
        self._quote = Quote(rates, origin=Origin("configuration", "pricing.fallback"))

    def quote(self, question: Question) -> Quote:
        del question
        return self._quote


def _names(source: str, trace: Trace) -> tuple[str, str, str]:
    """The names that a price is pinned with: the call's provider, model and modifiers."""
    if source == "fallback":  # the same for every call
        return _NO_NAMES
    return provider_of(trace), trace.model or "", tier_text(modifiers_of(trace))


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
