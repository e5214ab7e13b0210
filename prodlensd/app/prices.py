"""The prices of a configuration, and which calls of its ledger have none or a disputed one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, NamedTuple

from prodlensd.app.books import Books
from prodlensd.config import Config
from prodlensd.ledger import Doubtful, Reader, Span
from prodlensd.model import Price, Trace
from prodlensd.pricing import (
    ALWAYS,
    FOREVER,
    Billed,
    Pricer,
    Quote,
    Rates,
    billed,
    known_models,
    modifiers_of,
    provider_of,
)
from prodlensd.text import alike

__all__ = [
    "ALWAYS",
    "EXAMPLE",
    "FOREVER",
    "Billed",
    "Doubtful",
    "Doubts",
    "Priced",
    "Quote",
    "Rates",
    "check",
    "meant",
    "modifiers_of",
    "quote",
    "quote_of_call",
]

#: The tokens of a call that shows what rates mean.
EXAMPLE: Final = {"tokens_in": 10_000, "tokens_out": 1000, "cache_read_tokens": 8000}


class Priced(NamedTuple):
    """What a call costs, and what of it: its `cost_source`, the rates, and what is billed at them.

    `price` is what the ledger has for the call; of an example what it would cost.
    """

    call: Trace
    provider: str
    source: str
    quote: Quote
    billed: list[Billed]
    price: Price


def quote(config: Config, model: str, provider: str | None, at_us: int, tier: str | None) -> Priced:
    """What a call of this model costs. Raises LedgerError, or OSError without an answer."""
    with _prices(config) as (_, pricer):
        return _priced(pricer, _call(model, provider, at_us, tier), None)


def quote_of_call(config: Config, call_id: str, span: Span | None = None) -> Priced | None:
    """What a call of the ledger costs now, and what it has there; None when it is not there.

    It is found faster when the span is given that it started in.

    Raises LedgerError, also without a ledger, or OSError without an answer.
    """
    with Reader(config.store.path) as reader:
        found = reader.prices.call(call_id, span)
        if found is None:
            return None
        with Books(config.pricing, reader.prices) as books:
            return _priced(books.pricer, *found)


def meant(priced: Priced) -> list[str]:
    """The models that may be meant where no price list has this one."""
    word, _, sought = priced.quote.reason.partition(":")
    if word not in ("model_unknown", "provider_unknown"):
        return []
    seller = priced.provider or sought.partition("/")[0]
    return alike((priced.call.model or "").removeprefix(f"{seller}/"), known_models(seller))


class Doubts(NamedTuple):
    """Calls without a price, each with the source that they would have one from now, and disputed.

    Of those on a plan it is the price at the API. Where there is none now, "unpriced".
    """

    unpriced: list[tuple[Doubtful, str]]
    on_plan: list[tuple[Doubtful, str]]
    disputed: list[Doubtful]


def check(config: Config) -> Doubts:
    """Which models of the ledger have no price, or a disputed one.

    Raises LedgerError, also without a ledger, or OSError when a price book gives no answer.
    """
    with (
        Reader(config.store.path) as reader,
        Books(config.pricing, reader.prices) as books,
    ):
        unpriced, on_plan = (
            [(calls, _source(books.pricer.price(calls.last))) for calls in found]
            for found in (reader.prices.unpriced(), reader.prices.unpriced_on_plan())
        )
        return Doubts(unpriced, on_plan, reader.prices.disputed())


def _source(price: Price) -> str:
    return price.source if price.is_known else "unpriced"


@contextmanager
def _prices(config: Config) -> Iterator[tuple[Reader | None, Pricer]]:
    """The prices of this configuration, and of its ledger where there is one."""
    path = config.store.path
    with ExitStack() as stack:
        reader = stack.enter_context(Reader(path)) if path.exists() else None
        books = stack.enter_context(Books(config.pricing, reader.prices if reader else None))
        yield reader, books.pricer


def _priced(pricer: Pricer, call: Trace, price: Price | None) -> Priced:
    source, found = pricer.quote(call)
    rates = found.rates
    if price is None:  # an example of a model without output has none
        call = call if rates is None or rates.output is not None else call._replace(tokens_out=0)
        price = pricer.price(call)
    lines = [] if rates is None else [line for line in billed(rates, call) if line[1]]
    return Priced(call, provider_of(call), source, found, lines, price)


def _call(model: str | None, provider: str | None, at_us: int, tier: str | None) -> Trace:
    empty = Trace._make([None] * len(Trace._fields))
    call = {"started_us": at_us, "status": "success", "cache_hit": False, "anomalies": ()}
    names = {"model": model, "provider": provider, "service_tier": tier}
    return empty._replace(**names, **call, **EXAMPLE)  # type: ignore[arg-type]
