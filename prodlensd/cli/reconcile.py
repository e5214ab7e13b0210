"""`prodlensd reconcile`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import click

from prodlensd.answers.bills import Refused
from prodlensd.answers.reconcile import Day
from prodlensd.app.reconciliation import Compared, reconcile
from prodlensd.cli import as_json, config_option, errors_end_it, load_config
from prodlensd.cli.tables import NAME_CELLS, drawn, wide_option
from prodlensd.model import NANOUSD_PER_USD
from prodlensd.text import Column, counted, money, printable, some

_AGREES, _DIFFERS, _CANNOT = 0, 1, 2
_COLUMNS: Final = (
    Column("day"),
    Column("billed", "right"),
    Column("ledger", "right"),
    Column("difference", "right"),
    Column("what may explain it", least_cells=2 * NAME_CELLS, cut="end"),
)
#: So many rows that cannot be read are named.
_MOST_NAMED: Final = 10


@click.command()
@config_option
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--provider",
    "providers",
    multiple=True,
    metavar="NAME",
    help="Compare with calls of this provider; * and ? fit any. Default: of who sends the bill.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1e6),
    default=0.01,
    show_default=True,
    metavar="USD",
    help="By how much a day may differ.",
)
@click.option("--json", "as_json_", is_flag=True, help="Print one JSON object.")
@wide_option
def command(
    config_path: Path | None,
    file: Path,
    providers: tuple[str, ...],
    tolerance: float,
    as_json_: bool,
    wide: bool,
) -> None:
    """Compare a provider's bill with the ledger, day by day (UTC).

    FILE is what Anthropic's cost_report or OpenAI's organization/costs answers, the CSV of the cost
    page of one of their consoles, or a CSV with the columns day and usd.

    Example: prodlensd reconcile bill.csv

    Exit code: 0 when all days agree, 1 when one differs or a row cannot be read, 2 when nothing can
    be compared.
    """
    config = load_config(config_path, exit_code=_CANNOT)
    try:
        with errors_end_it():
            found = reconcile(config, file, providers, round(tolerance * NANOUSD_PER_USD))
    except click.ClickException as error:
        error.exit_code = _CANNOT  # type: ignore[misc] # click's own way
        raise
    agrees = found.reconciled is not None and found.reconciled.agrees and not found.bill.refused
    if as_json_:
        click.echo(as_json("reconcile", {"agrees": agrees, **_content(found)}))
    else:
        click.echo("\n".join(_lines(found, wide=wide)))
    _name(found.bill.refused)
    if found.reconciled is None:
        sys.exit(_CANNOT)
    sys.exit(_AGREES if agrees else _DIFFERS)


def _content(found: Compared) -> dict[str, Any]:
    days = found.reconciled.days if found.reconciled else ()
    return {
        "provider": found.bill.provider,
        "compared_with": list(found.providers),
        "days": [
            {
                "day": day.day.isoformat(),
                "billed_usd": None if day.billed is None else day.billed / NANOUSD_PER_USD,
                "ledger_usd": day.ledger / NANOUSD_PER_USD,
                "difference_usd": day.difference / NANOUSD_PER_USD,
                "calls": day.calls,
                "agrees": day.agrees,
                "reasons": day.reasons,
            }
            for day in days
        ],
        "notes": found.reconciled.notes if found.reconciled else (),
        "refused": [refused._asdict() for refused in found.bill.refused],
    }


def _lines(found: Compared, *, wide: bool) -> list[str]:
    if found.reconciled is None:
        return ["the bill has no day that can be read"]
    days = found.reconciled.days
    lines = drawn(_COLUMNS, [_row(day) for day in days], wide=wide).splitlines()
    whose = some([printable(name) for name in found.providers]) if found.providers else "all"
    billed, ledger = sum(day.billed or 0 for day in days), sum(day.ledger for day in days)
    differing = sum(not day.agrees for day in days)
    verdict = (
        f"{counted(differing, 'day')} of {len(days)} differ" if differing else "all days agree"
    )
    return [
        *lines,
        "",
        f"billed {_usd(billed)}, in the ledger {_usd(ledger)} (provider: {whose}): {verdict}",
        *found.reconciled.notes,
    ]


def _row(day: Day) -> list[str]:
    billed = "-" if day.billed is None else _usd(day.billed)
    difference = f"{'+' * (day.difference > 0)}{_usd(day.difference)}" if day.difference else "-"
    return [day.day.isoformat(), billed, _usd(day.ledger), difference, "; ".join(day.reasons)]


def _usd(nanousd: int) -> str:
    return f"{'-' * (nanousd < 0)}{money(abs(nanousd))}"


def _name(refused: list[Refused]) -> None:
    for place, why in refused[:_MOST_NAMED]:
        click.echo(f"{place}: {why}", err=True)
    if (more := len(refused) - _MOST_NAMED) > 0:
        click.echo(f"and {counted(more, 'row')} more that cannot be read", err=True)
