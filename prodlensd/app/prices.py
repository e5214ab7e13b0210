"""The prices of a configuration, and which calls of its ledger have none or a disputed one."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final, NamedTuple

from prodlensd.app.books import Books
from prodlensd.config import Config
from prodlensd.ledger import Doubtful, Reader
from prodlensd.model import Trace
from prodlensd.pricing import ALWAYS, FOREVER, Quote, Rates, cost_nanousd, provider_of

__all__ = ["ALWAYS", "EXAMPLE", "FOREVER", "Doubtful", "Priced", "Quote", "Rates", "check", "quote"]

#: The tokens of a call that shows what rates mean.
EXAMPLE: Final = {"tokens_in": 10_000, "tokens_out": 1000, "cache_read_tokens": 8000}


class Priced(NamedTuple):
    """What an example call costs: its `cost_source`, where that stands, and in nano-dollars.

    `nanousd` is None where the rates are not enough for the example.
    """

    call: Trace
    provider: str
    source: str
    quote: Quote
    nanousd: int | None


def quote(config: Config, model: str, provider: str | None, at_us: int, tier: str | None) -> Priced:
    """What a call of this model costs. Raises LedgerError, or OSError without an answer."""
    call = _call(model, provider, at_us, tier)
    path = config.store.path
    with ExitStack() as stack:
        reader = stack.enter_context(Reader(path)) if path.exists() else None
        books = stack.enter_context(Books(config.pricing, reader.prices if reader else None))
        source, found = books.pricer.quote(call)
    nanousd = None
    if (rates := found.rates) is not None:
        call = call if rates.output is not None else call._replace(tokens_out=0)
        nanousd = cost_nanousd(rates, call)
    return Priced(call, provider_of(call), source, found, nanousd)


def check(config: Config) -> tuple[list[tuple[Doubtful, str]], list[Doubtful]]:
    """The unpriced calls, each with the `cost_source` they would have now; and the disputed ones.

    Raises LedgerError, also without a ledger, or OSError when a price book gives no answer.
    """
    with (
        Reader(config.store.path) as reader,
        Books(config.pricing, reader.prices) as books,
    ):
        unpriced = []
        for calls in reader.prices.unpriced():
            call = _call(calls.model, calls.provider, calls.last_us, calls.tier)
            unpriced.append((calls, books.pricer.quote(call)[0]))
        return unpriced, reader.prices.disputed()


def _call(model: str | None, provider: str | None, at_us: int, tier: str | None) -> Trace:
    empty = Trace._make([None] * len(Trace._fields))
    call = {"started_us": at_us, "status": "success", "cache_hit": False, "anomalies": ()}
    names = {"model": model, "provider": provider, "service_tier": tier}
    return empty._replace(**names, **call, **EXAMPLE)  # type: ignore[arg-type]
