"""`prodlensd prices`: which price a model has and why, and which models have none."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import click

from prodlensd.app import prices
from prodlensd.app.prices import ALWAYS, EXAMPLE, FOREVER, Priced, Quote, Rates
from prodlensd.cli import as_json, completing, config_option, errors_end_it, load_config
from prodlensd.cli.prices_check import check
from prodlensd.cli.typed import Group
from prodlensd.model import OperationalError, bill_of
from prodlensd.moments import iso_time, moment_us, now_us, short_time
from prodlensd.text import money, printable

_PICO_PER_USD_PER_MILLION: Final = 1_000_000
PICO_PER_USD: Final = 10**12
PICO_PER_NANO: Final = 1000
#: What is paid by use is priced by the thousand, as vendors do.
_USES: Final = 1000
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


@click.group(cls=Group)
def command() -> None:
    """Show which price a model has and why; check which models have none."""


command.add_command(check)


@command.command(short_help="The price of a model: where it is from, how it was found.")
@config_option
@click.argument("model", required=False, shell_complete=completing.models)
@click.option("--call", "call_id", metavar="ID", help="A call of the ledger, in MODEL's place.")
@click.option(
    "--provider",
    metavar="NAME",
    shell_complete=completing.names_of("provider"),
    help="As LiteLLM names it; default: MODEL's prefix.",
)
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
    model: str | None,
    call_id: str | None,
    provider: str | None,
    date: datetime | None,
    tier: str | None,
    as_json_: bool,
) -> None:
    """Show the price of a call of MODEL, where it is from, and how it was found.

    MODEL is the name as logged, e.g. anthropic/claude-sonnet-4-5. This is the price by the
    configuration and the price table; what the proxy reports for a call is not known here. With
    --call, what a call of the ledger costs: every unit that is billed, and what chose the price.

    Example: prodlensd prices show anthropic/claude-sonnet-4-5 --at 2026-11-01

    Exit code: 0, 1 when there is no price.
    """
    config = load_config(config_path)
    if (model is None) == (call_id is None):
        raise click.UsageError("name either a MODEL or, with --call, a call of the ledger")
    at_us = now_us() if date is None else moment_us(date.replace(tzinfo=UTC))
    with errors_end_it():
        if call_id is None:
            priced = prices.quote(config, model or "", provider, at_us, tier)
        elif (found := prices.quote_of_call(config, call_id)) is not None:
            priced = found
        else:
            raise OperationalError(f"{call_id}: no call of the ledger has this id, or it is pruned")
    if as_json_:
        click.echo(as_json("prices-show", priced_as_dict(priced)))
    else:
        _print(priced)
    if priced.source == "unpriced":
        raise click.exceptions.Exit(1)


# show -------------------------------------------------------------------------------------------


def _print(priced: Priced) -> None:
    call = priced.call
    modifiers = "".join(
        f", {name.removeprefix('service_')} {said}" for name, said in prices.modifiers_of(call)
    )
    _line("model", f"{call.model or ''}, provider {priced.provider or 'unknown'}{modifiers}")
    print_price(priced)


def print_price(priced: Priced) -> None:
    """The price, where it is from, and what is billed at it."""
    call, quote = priced.call, priced.quote
    if quote.rates is None:
        _line("price", _NO_RATES[priced.source])
        if priced.source == "unpriced":
            _line("reason", quote.reason)
            _line("", f"→ {_advice(priced)}")
    else:
        origin = quote.origin
        entry = f", {origin.entry}" if origin.entry else ""
        _line("price", f"{priced.source}: {origin.book}{entry}")
        if origin.match:
            _line("found", f"the name {origin.match}")
        _line("valid", _window(quote))
        _print_rates(quote.rates)
    if call.key is not None:
        _print_call(priced)
    elif priced.price.nanousd is not None and priced.billed:
        _print_example(priced)


def _advice(priced: Priced) -> str:
    """What to do about a model without a price."""
    if meant := prices.meant(priced):
        return f"did you mean {', '.join(meant)}?"
    if priced.provider:
        return "give it one under [[pricing.override]]"
    return "name who sells it: --provider anthropic, or anthropic/… before the name"


def _print_rates(rates: Rates) -> None:
    _line("rates", "USD per million tokens")
    for threshold, tier in ((0, rates), *rates.above):
        if threshold:
            _line("", f"the whole call when its input is over {threshold:,} tokens:")
        for unit, name in _UNITS.items():
            rate = getattr(tier, unit)
            _line("", f"{name:26}{'none' if rate is None else _usd(rate):>12}")
        for unit, rate in tier.others:
            if unit.endswith("_tokens"):
                _line("", f"{unit:26}{_usd(rate):>12}")
    uses = [(unit, rate) for unit, rate in rates.others if not unit.endswith("_tokens")]
    for unit, rate in uses:
        _line("", f"{unit:26}{_usd(rate // _USES):>12} for {_USES:,}")


def _print_example(priced: Priced) -> None:
    tokens_in, read = EXAMPLE["tokens_in"], EXAMPLE["cache_read_tokens"]
    sold = {unit: (quantity, rate) for unit, quantity, rate in priced.billed}
    units = ("tokens_in", "cache_read_tokens", "tokens_out")
    parts = [
        f"{quantity:,} x {_usd(rate or 0)}"
        for quantity, rate in (sold.get(unit, (0, 0)) for unit in units)
    ]
    _line("example", f"{tokens_in:,} tokens in, {read:,} of them read from a cache,")
    cost = money(priced.price.nanousd or 0)
    _line("", f"{priced.call.tokens_out or 0:,} out: ({' + '.join(parts)}) / 1M = {cost}")


def _print_call(priced: Priced) -> None:
    """What is billed of one call, and what the ledger has for its cost."""
    call, price, bill = priced.call, priced.price, bill_of(priced.call.bill)
    title = "billed"
    for unit, quantity, rate in priced.billed:
        if rate is None:
            _line(title, f"{unit:26}{quantity:>12,} without a rate")
        else:
            cost = money(round(quantity * rate / PICO_PER_NANO))
            _line(title, f"{unit:26}{quantity:>12,} {cost}")
        title = ""
    for iteration in bill.iterations:
        tokens = f"{iteration.get('tokens_in', 0):,} in, {iteration.get('tokens_out', 0):,} out"
        _line("within", f"{iteration.get('model') or call.model}: {tokens}, at its own price")
    if bill.unknown:
        _line("unknown", f"{', '.join(bill.unknown)}: nobody here knows what they cost")
    if bill.provider_nanousd is not None:
        _line("provider", f"says it charged {money(bill.provider_nanousd)}")
    if call.gateway_nanousd is not None:
        _line("gateway", f"reported {money(call.gateway_nanousd)}")
    if price.nanousd is not None:
        _line("ledger", f"{money(price.nanousd)}, {price.source}")
    if not price.is_known:
        title = "ledger" if price.nanousd is None else "API"
        _line(title, f"unpriced: {price.reason or 'the reason was not kept'}")


def _usd(pico: int) -> str:
    """USD for a million, of a rate for one."""
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


def priced_as_dict(priced: Priced) -> dict[str, Any]:
    """The same for programs."""
    call, quote = priced.call, priced.quote
    rates = quote.rates
    return {
        "model": call.model,
        "provider": priced.provider or None,
        "at": iso_time(call.started_us),
        "tier": call.service_tier,
        "modifiers": dict(prices.modifiers_of(call)),
        "cost_source": priced.source,
        "unpriced_reason": quote.reason if priced.source == "unpriced" else None,
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
        "usd_per_use": {
            unit: rate / PICO_PER_USD
            for unit, rate in (() if rates is None else rates.others)
            if not unit.endswith("_tokens")
        },
        "call": _call_as_dict(priced) if call.key is not None else None,
    }


def _rates_as_dict(rates: Rates) -> dict[str, float | None]:
    picos = {unit: getattr(rates, unit) for unit in _UNITS}
    picos |= {unit: rate for unit, rate in rates.others if unit.endswith("_tokens")}
    million = _PICO_PER_USD_PER_MILLION
    return {unit: None if pico is None else pico / million for unit, pico in picos.items()}


def _call_as_dict(priced: Priced) -> dict[str, Any]:
    price = priced.price
    return {
        "billed": [
            {"unit": unit, "quantity": quantity, "usd_each": rate and rate / PICO_PER_USD}
            for unit, quantity, rate in priced.billed
        ],
        "bill": bill_of(priced.call.bill)._asdict(),
        "gateway_nanousd": priced.call.gateway_nanousd,
        "ledger": {
            "cost_nanousd": price.nanousd,
            "cost_source": price.source,
            "unpriced_reason": price.reason,
        },
    }
