"""`prodlensd prices`: which price a model has and why, and which models have none."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import click

from prodlensd.app import prices
from prodlensd.app.prices import ALWAYS, EXAMPLE, FOREVER, Doubtful, Priced, Quote, Rates
from prodlensd.cli import as_json, config_option, errors_end_it, load_config
from prodlensd.moments import iso_time, moment_us, now_us, short_time
from prodlensd.text import money, printable, table

_PICO_PER_USD_PER_MILLION: Final = 1_000_000
_NO_RATES: Final = {
    "free": "free: the provider is one of pricing.free_providers",
    "unpriced": "unpriced: no price is known for this exact name, provider, time and tier",
}
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
@click.option("--provider", metavar="NAME", help="As LiteLLM names it; default: MODEL's prefix.")
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
    """Show the price of a call of MODEL, where it is from, and how it was found.

    MODEL is the name as logged, e.g. anthropic/claude-sonnet-4-5. This is the price by the
    configuration and the price table; what the proxy reports for a call is not known here.

    Example: prodlensd prices show anthropic/claude-sonnet-4-5 --at 2026-11-01

    Exit code: 0, 1 when there is no price.
    """
    config = load_config(config_path)
    at_us = now_us() if date is None else moment_us(date.replace(tzinfo=UTC))
    with errors_end_it():
        priced = prices.quote(config, model, provider, at_us, tier)
    if as_json_:
        click.echo(as_json("prices-show", _as_dict(priced)))
    else:
        _print(priced)
    if priced.source == "unpriced":
        raise click.exceptions.Exit(1)


@command.command()
@config_option
@click.option("--json", "as_json_", is_flag=True, help="Print one JSON object.")
def check(config_path: Path | None, as_json_: bool) -> None:
    """List the models in the ledger whose calls have no price, or a disputed one.

    A price is disputed when what the proxy reported is more than twice, or less than half, what
    the price table says.

    Example: prodlensd prices check

    Exit code: 0 when there are none, 1 when there are some, or the ledger cannot be read.
    """
    with errors_end_it():
        unpriced, disputed = prices.check(load_config(config_path))
    reasons = [_why(calls, source) for calls, source in unpriced]
    if as_json_:
        content = {
            "unpriced": [
                _doubtful_as_dict(calls) | {"why": why}
                for (calls, _), why in zip(unpriced, reasons, strict=True)
            ],
            "disputed": [_doubtful_as_dict(calls) for calls in disputed],
        }
        click.echo(as_json("prices-check", content))
    else:
        _print_calls("unpriced", [calls for calls, _ in unpriced], {"why": reasons})
        costs = {
            "gateway": [money(calls.gateway_nanousd or 0) for calls in disputed],
            "table": [money(calls.table_nanousd or 0) for calls in disputed],
        }
        _print_calls("disputed", disputed, costs)
        if not unpriced and not disputed:
            click.echo("every call has a price, and none is disputed")
    if unpriced or disputed:
        raise click.exceptions.Exit(1)


# show -------------------------------------------------------------------------------------------


def _print(priced: Priced) -> None:
    call, quote = priced.call, priced.quote
    tier = f", tier {call.service_tier}" if call.service_tier else ""
    _line("model", f"{call.model or ''}, provider {priced.provider or 'unknown'}{tier}")
    if quote.rates is None:
        _line("price", _NO_RATES[priced.source])
        if priced.source == "unpriced":
            advice = "give it one under [[pricing.override]]"
            if not priced.provider:
                advice = "name who sells it: --provider anthropic, or anthropic/… before the name"
            _line("", f"→ {advice}")
        return
    origin = quote.origin
    entry = f", {origin.entry}" if origin.entry else ""
    _line("price", f"{priced.source}: {origin.book}{entry}")
    if origin.match:
        _line("found", f"the name {origin.match}")
    _line("valid", _window(quote))
    _print_rates(quote.rates)
    if priced.nanousd is not None:
        _print_example(quote.rates, call.tokens_out, priced.nanousd)


def _print_rates(rates: Rates) -> None:
    _line("rates", "USD per million tokens")
    for threshold, tier in ((0, rates), *rates.above):
        if threshold:
            _line("", f"the whole call when its input is over {threshold:,} tokens:")
        for unit, name in _UNITS.items():
            rate = getattr(tier, unit)
            _line("", f"{name:26}{'none' if rate is None else _usd(rate):>12}")


def _print_example(rates: Rates, tokens_out: int | None, nanousd: int) -> None:
    tokens_in, read = EXAMPLE["tokens_in"], EXAMPLE["cache_read_tokens"]
    parts = [
        f"{tokens_in - read:,} x {_usd(rates.input)}",
        f"{read:,} x {_usd(rates.cache_read)}",
        f"{tokens_out:,} x {_usd(rates.output or 0)}",
    ]
    _line("example", f"{tokens_in:,} tokens in, {read:,} of them read from a cache,")
    _line("", f"{tokens_out:,} out: ({' + '.join(parts)}) / 1M = {money(nanousd)}")


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


def _as_dict(priced: Priced) -> dict[str, Any]:
    call, quote = priced.call, priced.quote
    rates = quote.rates
    return {
        "model": call.model,
        "provider": priced.provider or None,
        "at": iso_time(call.started_us),
        "tier": call.service_tier,
        "cost_source": priced.source,
        "book": quote.origin.book or None,
        "entry": quote.origin.entry or None,
        "match": quote.origin.match or None,
        "valid_from": None if quote.from_us == ALWAYS else iso_time(quote.from_us),
        "valid_until": None if quote.until_us == FOREVER else iso_time(quote.until_us),
        "usd_per_million_tokens": None if rates is None else _rates_as_dict(rates),
        "above": [
            {"tokens_in_over": threshold, "usd_per_million_tokens": _rates_as_dict(dearer)}
            for threshold, dearer in (() if rates is None else rates.above)
        ],
    }


def _rates_as_dict(rates: Rates) -> dict[str, float | None]:
    picos = {unit: getattr(rates, unit) for unit in _UNITS}
    million = _PICO_PER_USD_PER_MILLION
    return {unit: None if pico is None else pico / million for unit, pico in picos.items()}


# check ------------------------------------------------------------------------------------------


def _why(calls: Doubtful, source: str) -> str:
    """Why they have no price, when calls like them would now have a cost of this source."""
    if not calls.tokens:
        return "the calls do not say how many tokens they had"
    if source != "unpriced":
        return f"has a price now ({source}), unless tokens are missing: prodlensd reprice"
    return "no price is known: give it one under [[pricing.override]]"


def _print_calls(title: str, doubtful: list[Doubtful], more: dict[str, list[str]]) -> None:
    """A table of the models with these calls, and `more` columns; nothing where there are none."""
    if not doubtful:
        return
    header = (f"{title} model", "provider", "tier", "calls", "tokens", *more)
    rows = [
        (
            calls.model or "(none)",
            calls.provider or "(none)",
            calls.tier or "-",
            f"{calls.calls:,}",
            f"{calls.tokens or 0:,}",
            *values,
        )
        for calls, *values in zip(doubtful, *more.values(), strict=True)
    ]
    click.echo(table(header, rows, right={*header[3:]} - {"why"}))


def _doubtful_as_dict(calls: Doubtful) -> dict[str, Any]:
    return {
        "model": calls.model,
        "provider": calls.provider,
        "tier": calls.tier,
        "calls": calls.calls,
        "tokens": calls.tokens or 0,
        "gateway_nanousd": calls.gateway_nanousd,
        "table_nanousd": calls.table_nanousd,
        "last_call_at": iso_time(calls.last_us),
    }
