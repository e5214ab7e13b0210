"""Decides what a call cost and why: the order in which the sources of a price are believed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final, Literal

from prodlensd.model import NANOUSD_PER_USD, Price, Trace
from prodlensd.pricing.overrides import Override, Overrides
from prodlensd.pricing.rates import MAX_NANOUSD, PriceBook, Quote, Rates, cost_nanousd

_CACHE_HIT: Final = Price(0, "cache_hit")
_NOT_BILLABLE: Final = Price(0, "not_billable")
_FREE: Final = Price(0, "free")
_UNPRICED: Final = Price(None, "unpriced")

_MAX_REMEMBERED: Final = 4096
_MAX_NAME: Final = 300  # characters; longer is no model, and would only fill the memory
_MAX_USD: Final = MAX_NANOUSD / NANOUSD_PER_USD
#: Calls that answer without tokens, so that an absent count of them is no gap in the record.
_WITHOUT_OUTPUT: Final = ("embedding", "rerank", "moderation")

_new: Final = tuple.__new__  # makes a Price in half its constructor's time, once a call


class Pricer:
    """Prices traces. Its only state is what it remembers of its price books."""

    def __init__(
        self,
        *,
        prefer: Literal["gateway", "table"] = "gateway",
        free_providers: Collection[str] = (),
        fallback: Rates | None = None,
        overrides: Sequence[Override] = (),
        book: PriceBook | None = None,
    ) -> None:
        # LiteLLM logs "ollama_chat" for the chat route of "ollama"
        self._free_providers = {*free_providers, *(f"{name}_chat" for name in free_providers)}
        sources: list[Callable[[Trace], Price | None]] = [_gateway]
        if free_providers:
            sources.append(self._free)
        if book is not None:  # what the user calls free has no list price, whoever is asked first
            table = _ByRates(book, "table", self._free_providers).price
            sources.insert(0 if prefer == "table" else len(sources), table)
        if overrides:
            sources.insert(0, _ByRates(Overrides(overrides), "override").price)
        if fallback is not None:
            sources.append(_ByRates(_Flat(fallback), "fallback").price)
        self._sources = tuple(sources)

    def price(self, trace: Trace) -> Price:
        """What `trace` cost. Raises OSError when the price book cannot be asked just now."""
        if trace.cache_hit:
            return _CACHE_HIT
        if trace.status == "failure" and not (
            trace.tokens_in or trace.tokens_out or trace.total_tokens
        ):
            return _NOT_BILLABLE
        for source in self._sources:
            price = source(trace)
            if price is not None:
                return price
        return _UNPRICED

    def _free(self, trace: Trace) -> Price | None:
        return _FREE if (trace.provider or provider_of(trace)) in self._free_providers else None


def _gateway(trace: Trace) -> Price | None:
    usd = trace.cost_gateway_usd
    # 0.0 may mean free, failed to price or unknown model: it is no evidence of anything
    if usd is None or not 0.0 < usd <= _MAX_USD:
        return None
    return _new(Price, (nanousd_of(usd), "gateway"))


class _ByRates:
    """Prices by the rates of a book, and remembers each of its answers for as long as it holds."""

    def __init__(self, book: PriceBook, source: str, without: Collection[str] = ()) -> None:
        self._book = book
        self._source = source
        self._without = without  # providers never asked for
        # the last answer for each provider, model and tier: logs run forward in time
        self._quotes: dict[tuple[str | None, str | None, str | None], Quote] = {}

    def price(self, trace: Trace) -> Price | None:
        quote = self._quotes.get((trace.provider, trace.model, trace.service_tier))
        if quote is None or not quote[1] <= trace.started_us < quote[2]:
            quote = self._ask(trace)
        rates = quote[0]
        if rates is None:
            return None
        nanousd = cost_nanousd(rates, trace)
        if nanousd is None and trace.tokens_out is None and _is_without_output(trace):
            nanousd = cost_nanousd(rates, trace._replace(tokens_out=0))
        if nanousd is None or nanousd > MAX_NANOUSD:
            return None
        return _new(Price, (nanousd, self._source))

    def _ask(self, trace: Trace) -> Quote:
        key = (trace.provider, trace.model, trace.service_tier)
        provider = provider_of(trace)
        if provider in self._without or sum(len(part or "") for part in key) > _MAX_NAME:
            return Quote(None)
        quote = self._book.quote(provider, trace.model or "", trace.started_us, trace.service_tier)
        if len(self._quotes) >= _MAX_REMEMBERED:
            self._quotes.clear()
        self._quotes[key] = quote
        return quote


class _Flat:
    """The fallback as a price book: the same for every call."""

    def __init__(self, rates: Rates) -> None:
        self._quote = Quote(rates)

    def quote(self, provider: str, model: str, at_us: int, tier: str | None) -> Quote:
        del provider, model, at_us, tier
        return self._quote


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
