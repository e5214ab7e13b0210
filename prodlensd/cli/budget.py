"""`prodlensd budget`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from prodlensd.answers.budgets import OVER, UNDER, UNKNOWABLE, WARNING, Standing, worst
from prodlensd.app.budgets import standing
from prodlensd.cli import as_json, config_option, errors_end_it, load_config
from prodlensd.cli.tables import NAME_CELLS, drawn
from prodlensd.moments import now_us
from prodlensd.text import Cell, Column, money_cell

#: By how bad it is: an "over" is certain, whatever other calls may have cost.
EXIT_CODES: Final = {UNDER: 0, WARNING: 1, OVER: 2, UNKNOWABLE: 3}
COLOURS: Final = {UNDER: "green", WARNING: "yellow", OVER: "red", UNKNOWABLE: "magenta"}
_COLUMNS: Final = (
    Column("budget", least_cells=NAME_CELLS),
    Column("of", least_cells=NAME_CELLS, keep=2),
    Column("in", keep=3),
    Column("spent", "right"),
    Column("limit", "right"),
    Column("share", "right", keep=5),
    Column("", "bar", keep=1),
    Column("by the end", "right", keep=4),
    Column("state"),
)
_NONE: Final = "no budget is configured: see [[budget]] in the configuration"


@click.command()
@config_option
@click.option("--check", is_flag=True, help="Let the exit code say how the worst budget stands.")
@click.option("--json", "as_json_", is_flag=True, help="Print one JSON object.")
def command(config_path: Path | None, check: bool, as_json_: bool) -> None:
    """Show what is spent of each budget, and what it will be by the end.

    A budget runs for a day, a week or a month of this machine's time zone. It is unknowable while
    calls without a price could lead over it.

    Example: prodlensd budget --check

    Exit code: 0, 1 without a ledger, 78 for a bad configuration; with --check: 0 all under, 1 a
    warning, 2 one is over, 3 unknowable, or without a ledger.
    """
    config = load_config(config_path)
    try:
        with errors_end_it():
            found = standing(config, now_us())
    except click.ClickException as error:
        if check:
            error.exit_code = EXIT_CODES[UNKNOWABLE]  # type: ignore[misc] # click's own way
        raise
    if as_json_:
        budgets = [each.as_dict() for each in found]
        click.echo(as_json("budget", {"state": worst(found), "budgets": budgets}))
    else:
        click.echo(table(found) if found else _NONE)
    sys.exit(EXIT_CODES[worst(found)] if check else 0)


def table(found: list[Standing]) -> str:
    """The budgets, a line each, and below them why some are unknowable."""
    drawn_lines = drawn(_COLUMNS, [_row(each) for each in found]).splitlines()
    lines = [_coloured(line) for line in drawn_lines]
    doubts = [f"{each.budget.name}: {each.doubt}" for each in found if each.state == UNKNOWABLE]
    lines += [f"{each.budget.name}: {each.on_plan_text}" for each in found if each.on_plan.calls]
    if doubts:
        lines += ["", *doubts, "prodlensd prices check says what they lack"]
    return "\n".join(lines)


def _row(each: Standing) -> list[Cell]:
    return [
        each.budget.name,
        each.budget.whose,
        each.period,
        each.spent_text,
        money_cell(each.budget.limit_nanousd),
        each.share_text,
        min(each.share, 1.0),
        each.expected_text,
        each.state,
    ]


def _coloured(line: str) -> str:
    """The line of a budget with the state at its end in colour."""
    named, gap, state = line.rpartition("  ")
    return f"{named}{gap}{click.style(state, fg=COLOURS[state])}" if state in COLOURS else line
