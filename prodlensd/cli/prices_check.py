"""`prodlensd prices check`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from prodlensd.app import prices
from prodlensd.app.prices import Doubtful
from prodlensd.cli import as_json, config_option, errors_end_it, load_config
from prodlensd.cli.tables import NAME_CELLS, drawn, wide_option
from prodlensd.config import user_file
from prodlensd.moments import iso_time
from prodlensd.text import Cell, Column, count_cell, counted, money_cell, printable


@click.command(short_help="The models whose calls have no price, or a disputed one.")
@config_option
@wide_option
@click.option("--json", "as_json_", is_flag=True, help="Print one JSON object.")
def check(config_path: Path | None, wide: bool, as_json_: bool) -> None:
    """List the models in the ledger whose calls have no price, or a disputed one.

    A price is disputed when what the proxy reported is more than twice, or less than half, what
    the price table says.

    Example: prodlensd prices check

    Exit code: 0 when there are none, 1 when there are some, or the ledger cannot be read.
    """
    config = load_config(config_path)
    with errors_end_it():
        found = prices.check(config)
    unpriced, on_plan, disputed = found
    if as_json_:
        content = {
            "unpriced": [*map(_unpriced_as_dict, unpriced)],
            "disputed": [_doubtful_as_dict(calls) for calls in disputed],
            "unpriced_on_plan": [*map(_unpriced_as_dict, on_plan)],
        }
        click.echo(as_json("prices-check", content))
    else:
        why = Column("why", keep=4, least_cells=_WHY_CELLS, cut="end")
        for title, of in (("unpriced model", unpriced), ("unpriced model on a plan", on_plan)):
            whys = [_why(*calls) for calls in of]
            _print_calls(title, [calls for calls, _ in of], {why: whys}, wide=wide)
        gateways = [money_cell(calls.gateway_nanousd or 0) for calls in disputed]
        tables = [money_cell(calls.table_nanousd or 0) for calls in disputed]
        costs = {Column("gateway", "right"): gateways, Column("table", "right"): tables}
        _print_calls("disputed model", disputed, costs, wide=wide)
        if not any(found):
            click.echo("every call has a price, and none is disputed")
        for advice in _advice([*unpriced, *on_plan], config.path or user_file()):
            click.echo(f"\n{advice}", err=True)
    if any(found):
        raise click.exceptions.Exit(1)


#: Enough of a reason to know it by.
_WHY_CELLS: Final = 36
#: The reasons that a price of one's own answers.
_OVERRIDABLE: Final = ("model_unknown", "provider_unknown", "price_unknown")
_OVERRIDE: Final = """\
[[pricing.override]]
model = {name}
input_usd_per_million = …
output_usd_per_million = …"""
#: For so many models the lines to paste are shown.
_MOST_SHOWN: Final = 3
_WHY: Final = {
    "usage_missing": "the calls do not say how many tokens they had",
    "usage_mismatch": "a part of the tokens is larger than the whole",
    "usage_unknown": "the usage holds %s, which is not understood",
    "model_missing": "the calls name no model",
    "provider_unknown": "no price book has the provider %s",
    "model_unknown": "no price book has %s",
    "price_unknown": "no price at that time is known for %s",
    "modifier_unknown": "no price is known under %s",
    "unit_without_rate": "no rate is known for %s",
    "cost_too_large": "the counts would cost more than a million dollars",
}


def _why(calls: Doubtful, source: str) -> str:
    """Why they have no price, when the last of them would now have one of this source."""
    if source != "unpriced":
        return f"has a price now ({source})"
    word, _, name = (calls.reason or "").partition(":")
    if word not in _WHY:
        return "no price is known" if calls.tokens else _WHY["usage_missing"]
    return _WHY[word].replace("%s", name or "it")


def _advice(unpriced: Sequence[tuple[Doubtful, str]], file: Path) -> Iterator[str]:
    """What gives these calls a price, each once: with the lines to paste into the file."""
    if any(source != "unpriced" for _, source in unpriced):
        yield "→ prodlensd reprice gives calls the price that they have now"
    names = dict.fromkeys(
        calls.model
        for calls, source in unpriced
        if source == "unpriced" and (calls.reason or "").partition(":")[0] in _OVERRIDABLE
    )
    if names:
        yield f"→ prices of your own, in {printable(str(file))}:"
        shown = list(names)[:_MOST_SHOWN]
        more = len(names) - len(shown)
        left_out = f"\n# and {counted(more, 'more model')} in the same way" if more else ""
        yield "\n\n".join(_OVERRIDE.format(name=json.dumps(name)) for name in shown) + left_out
        yield "→ then: prodlensd reprice"


def _print_calls(
    title: str,
    doubtful: list[Doubtful],
    more: Mapping[Column, Sequence[Cell]],
    *,
    wide: bool,
) -> None:
    """A table of the models with these calls, and `more` columns; nothing where there are none."""
    if not doubtful:
        return
    columns = (
        Column(title, least_cells=NAME_CELLS),
        Column("provider", keep=2, least_cells=NAME_CELLS),
        Column("tier", keep=1),
        Column("calls", "right"),
        Column("tokens", "right", keep=3),
        *more,
    )
    rows = [
        (
            calls.model or "(none)",
            calls.provider or "(none)",
            calls.tier or "-",
            count_cell(calls.calls),
            count_cell(calls.tokens or 0),
            *values,
        )
        for calls, *values in zip(doubtful, *more.values(), strict=True)
    ]
    click.echo(drawn(columns, rows, wide=wide))


def _unpriced_as_dict(unpriced: tuple[Doubtful, str]) -> dict[str, Any]:
    return _doubtful_as_dict(unpriced[0]) | {"why": _why(*unpriced)}


def _doubtful_as_dict(calls: Doubtful) -> dict[str, Any]:
    return {
        "model": calls.model,
        "provider": calls.provider,
        "tier": calls.tier,
        "unpriced_reason": calls.reason,
        "calls": calls.calls,
        "tokens": calls.tokens or 0,
        "gateway_nanousd": calls.gateway_nanousd,
        "table_nanousd": calls.table_nanousd,
        "last_call_at": iso_time(calls.last.started_us),
    }
