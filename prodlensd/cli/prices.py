"""`prodlensd prices`: which price a model has and why, and which models have none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import click

from prodlensd.app.books import Books
from prodlensd.cli import as_json, config_option, fail, load_config
from prodlensd.config import Config
from prodlensd.ledger import Doubtful, LedgerError, Reader
from prodlensd.model import Trace
from prodlensd.moments import iso_time, moment_us, now_us, short_time
from prodlensd.pricing import (
    ALWAYS,
    FOREVER,
    BookUnavailableError,
    Quote,
    Rates,
    cost_nanousd,
    provider_of,
)
from prodlensd.text import money, printable, table

_PICO_PER_USD_PER_MILLION: Final = 1_000_000
#: A call to show what the rates mean.
_EXAMPLE: Final = {"tokens_in": 10_000, "tokens_out": 1000, "cache_read_tokens": 8000}
_UNITS: Final = {
    "input": "input",
    "cache_read": "input read from a cache",
    "cache_write": "input written to a cache",
    "cache_write_1h": "  … for one hour",
    "audio_in": "audio input",
    "output": "output",
    "reasoning": "reasoning output",
    "audio_out": "audio output",
}


@click.group()
def command() -> None:
    """Show which price a model has and why; check which models have none."""


@command.command()
@config_option
@click.argument("model")
@click.option("--provider", metavar="NAME", help="As LiteLLM calls it; default: MODEL's prefix.")
@click.option(
    "--at",
    "date",
    type=click.DateTime(
        ["%Y-%m-%d", *(f"%Y-%m-%dT%H:%M:%S{more}" for more in ("", "Z", ".%f", ".%fZ"))]
    ),
    metavar="DATE",
    help="The price at that time, in UTC; default: now.",
)
@click.option("--tier", metavar="NAME", help="The service tier, e.g. flex; default: the standard.")
@click.option("--json", "as_json_", is_flag=True, help="Print one JSON object.")
def show(
    config_path: Path | None,
    model: str,
    provider: str | None,
    date: datetime | None,
    tier: str | None,
    as_json_: bool,
) -> None:
    """Show what a call of MODEL costs, where that stands, and how it was found.

    MODEL is the name as logged, e.g. anthropic/claude-sonnet-4-5. What the gateway reports for a
    call is not known here; where it counts, the price shown is kept beside it.

    Example: prodlensd prices show anthropic/claude-sonnet-4-5 --at 2026-11-01

    Exit code: 0, 1 when no price is known.
    """
    config = load_config(config_path)
    at_us = now_us() if date is None else moment_us(date.replace(tzinfo=UTC))
    trace = _a_call(model, provider, at_us, tier)
    with _told_errors(), _books(config) as (books, _):
        source, quote = books.pricer.quote(trace)
    if as_json_:
        click.echo(as_json("prices-show", _as_dict(trace, source, quote)))
    else:
        _print(trace, source, quote)
    if source == "unpriced":
        raise click.exceptions.Exit(1)


@command.command()
@config_option
@click.option("--json", "as_json_", is_flag=True, help="Print one JSON object.")
def check(config_path: Path | None, as_json_: bool) -> None:
    """List the models in the ledger whose calls have no price, or a disputed one.

    Disputed: what the gateway reported and the price table are more than a factor of two apart.

    Example: prodlensd prices check

    Exit code: 0 when there are none, 1 when there are some, or the ledger cannot be read.
    """
    config = load_config(config_path)
    with _told_errors(), _books(config) as (books, reader):
        if reader is None:
            raise fail(f"no ledger at {config.store.path}: has the daemon run yet?")
        unpriced = [(of, _why(of, books)) for of in reader.prices.unpriced()]
        disputed = reader.prices.disputed()
    if as_json_:
        content = {
            "unpriced": [_doubtful_as_dict(of) | {"why": why} for of, why in unpriced],
            "disputed": [_doubtful_as_dict(of) for of in disputed],
        }
        click.echo(as_json("prices-check", content))
    else:
        _print_unpriced(unpriced)
        _print_disputed(disputed)
        if not unpriced and not disputed:
            click.echo("every call has a price, and none is disputed")
    if unpriced or disputed:
        raise click.exceptions.Exit(1)


def _a_call(model: str | None, provider: str | None, at_us: int, tier: str | None) -> Trace:
    empty = Trace._make([None] * len(Trace._fields))
    call = {"started_us": at_us, "status": "success", "cache_hit": False, "anomalies": ()}
    names = {"model": model, "provider": provider, "service_tier": tier}
    return empty._replace(**names, **call, **_EXAMPLE)  # type: ignore[arg-type]


@contextmanager
def _books(config: Config) -> Iterator[tuple[Books, Reader | None]]:
    """The prices of the configuration, and the ledger, where there is one, for what it keeps."""
    with ExitStack() as stack:
        path = config.store.path
        reader = stack.enter_context(Reader(path)) if path.exists() else None
        books = Books(config.pricing, None if reader is None else reader.prices)
        stack.callback(books.close)
        yield books, reader


@contextmanager
def _told_errors() -> Iterator[None]:
    try:
        yield
    except (LedgerError, BookUnavailableError) as error:
        raise fail(str(error)) from error


# show -------------------------------------------------------------------------------------------


def _print(trace: Trace, source: str, quote: Quote) -> None:
    provider = provider_of(trace)
    tier = f", tier {trace.service_tier}" if trace.service_tier else ""
    _line(
        "model",
        f"{printable(trace.model or '')}, provider {printable(provider) or 'unknown'}{tier}",
    )
    if quote.rates is None:
        said = {
            "free": "free: the provider is one of pricing.free_providers",
            "unpriced": "unpriced: no price is known for this exact name, provider, time and tier",
        }
        _line("price", said[source])
        if source == "unpriced":
            sold = "→ give it one under [[pricing.override]]"
            asked = "→ say who sells it: --provider anthropic, or anthropic/… before the name"
            _line("", sold if provider else asked)
        return
    origin = quote.origin
    _line("price", f"{source}: {origin.book}{', ' if origin.entry else ''}{origin.entry}")
    if origin.match:
        _line("found", f"the name {origin.match}")
    _line("valid", _window(quote))
    _print_rates(quote.rates)
    _print_example(quote.rates, trace)


def _print_rates(rates: Rates) -> None:
    _line("rates", "USD per million tokens")
    for unit, name in _UNITS.items():
        rate = getattr(rates, unit)
        _line("", f"{name:26}{'none' if rate is None else _usd(rate):>12}")
    for threshold, dearer in rates.above:
        _line("", f"the whole call when its input is over {threshold:,} tokens:")
        for unit, name in _UNITS.items():
            rate = getattr(dearer, unit)
            _line("", f"{name:26}{'none' if rate is None else _usd(rate):>12}")


def _print_example(rates: Rates, trace: Trace) -> None:
    trace = trace if rates.output is not None else trace._replace(tokens_out=0)
    nanousd = cost_nanousd(rates, trace)
    if nanousd is None:
        return
    tokens_in, read = _EXAMPLE["tokens_in"], _EXAMPLE["cache_read_tokens"]
    parts = [
        f"{tokens_in - read:,} x {_usd(rates.input)}",
        f"{read:,} x {_usd(rates.cache_read)}",
        f"{trace.tokens_out:,} x {_usd(rates.output or 0)}",
    ]
    _line("example", f"{tokens_in:,} tokens in, {read:,} of them read from a cache,")
    _line("", f"{trace.tokens_out:,} out: ({' + '.join(parts)}) / 1M = {money(nanousd)}")


def _usd(pico: int) -> str:
    usd = f"{Decimal(pico) / _PICO_PER_USD_PER_MILLION:f}"
    whole, _, fraction = usd.partition(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"


def _window(quote: Quote) -> str:
    if (quote.from_us, quote.until_us) == (ALWAYS, FOREVER):
        return "at any time"
    since = "" if quote.from_us == ALWAYS else f"from {short_time(quote.from_us)}"
    until = "" if quote.until_us == FOREVER else f"until {short_time(quote.until_us)}"
    return f"{since} {until}".strip()


def _line(name: str, value: str) -> None:
    click.echo(f"{name:9}{printable(value)}")


def _as_dict(trace: Trace, source: str, quote: Quote) -> dict[str, Any]:
    rates = quote.rates
    return {
        "model": trace.model,
        "provider": provider_of(trace) or None,
        "at": iso_time(trace.started_us),
        "tier": trace.service_tier,
        "cost_source": source,
        "book": quote.origin.book or None,
        "entry": quote.origin.entry or None,
        "match": quote.origin.match or None,
        "valid_from": None if quote.from_us == ALWAYS else iso_time(quote.from_us),
        "valid_until": None if quote.until_us == FOREVER else iso_time(quote.until_us),
        "usd_per_million_tokens": None if rates is None else _rates_as_dict(rates),
        "above": []
        if rates is None
        else [
            {"tokens_in_over": threshold, "usd_per_million_tokens": _rates_as_dict(dearer)}
            for threshold, dearer in rates.above
        ],
    }


def _rates_as_dict(rates: Rates) -> dict[str, float | None]:
    picos = {unit: getattr(rates, unit) for unit in _UNITS}
    return {
        unit: None if pico is None else pico / _PICO_PER_USD_PER_MILLION
        for unit, pico in picos.items()
    }


# check ------------------------------------------------------------------------------------------


def _why(of: Doubtful, books: Books) -> str:
    if not of.tokens:
        return "the calls do not say how many tokens they had"
    source, _ = books.pricer.quote(_a_call(of.model, of.provider, of.last_us, of.tier))
    if source != "unpriced":
        return f"has a price now ({source}), unless tokens are missing: prodlensd reprice"
    return "no price is known: give it one under [[pricing.override]]"


def _print_unpriced(unpriced: list[tuple[Doubtful, str]]) -> None:
    if not unpriced:
        return
    header = ("unpriced model", "provider", "tier", "calls", "tokens", "why")
    rows = [(*_names(of), f"{of.calls:,}", f"{of.tokens or 0:,}", why) for of, why in unpriced]
    click.echo(table(header, rows, right=("calls", "tokens")))


def _print_disputed(disputed: list[Doubtful]) -> None:
    if not disputed:
        return
    header = ("disputed model", "provider", "tier", "calls", "tokens", "gateway", "table")
    rows = [
        (
            *_names(of),
            f"{of.calls:,}",
            f"{of.tokens or 0:,}",
            money(of.gateway_nanousd or 0),
            money(of.table_nanousd or 0),
        )
        for of in disputed
    ]
    click.echo(table(header, rows, right=header[3:]))


def _names(of: Doubtful) -> tuple[str, str, str]:
    return of.model or "(none)", of.provider or "(none)", of.tier or "-"


def _doubtful_as_dict(of: Doubtful) -> dict[str, Any]:
    return {
        "model": of.model,
        "provider": of.provider,
        "tier": of.tier,
        "calls": of.calls,
        "tokens": of.tokens or 0,
        "gateway_nanousd": of.gateway_nanousd,
        "table_nanousd": of.table_nanousd,
        "last_call_at": iso_time(of.last_us),
    }
