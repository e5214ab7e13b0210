"""`prodlensd reprice`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click

from prodlensd.answers.periods import read_period
from prodlensd.app.repricing import ALWAYS, FOREVER, Repriced, Selection, reprice
from prodlensd.app.zone import time_zone
from prodlensd.cli import as_json, completing, config_option, errors_end_it, load_config
from prodlensd.cli.bar import bar
from prodlensd.cli.report import time_options
from prodlensd.cli.tables import NAME_CELLS, drawn, wide_option
from prodlensd.config import Config
from prodlensd.moments import now_us
from prodlensd.text import Cell, Column, count_cell, money, money_cell, none_of

#: Costs that come from prices, or would if there were any: the other sources need none.
_SOURCES: Final = (
    *("unpriced", "table", "override", "fallback", "free", "provider", "gateway", "plan"),
)


def _read_sources(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, ...]:
    sources = tuple(dict.fromkeys(part.strip() for part in value.split(",")))
    if unknown := [source for source in sources if source not in _SOURCES]:
        raise click.BadParameter(none_of(unknown[0], _SOURCES))
    return sources


@click.command()
@config_option
@click.option(
    "--source",
    "sources",
    default="unpriced",
    metavar="NAME[,NAME]",
    callback=_read_sources,
    shell_complete=completing.comma_list(_SOURCES),
    help=f"Calls whose cost_source is one of these (default: unpriced): {', '.join(_SOURCES)}.",
)
@time_options
@click.option(
    "--model",
    metavar="NAME",
    shell_complete=completing.models,
    help="Only this model, as logged; * for any characters.",
)
@click.option(
    "--provider",
    metavar="NAME",
    shell_complete=completing.names_of("provider"),
    help="Only calls of this provider, as logged.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@wide_option
@click.option("--json", "as_json_", is_flag=True, help="Print one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing.")
def command(  # noqa: PLR0913 - one for each option
    *,
    config_path: Path | None,
    sources: tuple[str, ...],
    since: str | None,
    until: str | None,
    timezone: str | None,
    model: str | None,
    provider: str | None,
    dry_run: bool,
    wide: bool,
    as_json_: bool,
    quiet: bool,
) -> None:
    """Price calls again, each at the price of its own time, and keep what each cost before.

    Without options: the calls that have no price so far, those on a plan that have none at the API
    too. The daemon does the same by itself when the price table or the prices in the configuration
    have changed. The view cost_changes has the
    history. Safe at any time, also while the daemon runs; a second run changes nothing.

    Example: prodlensd reprice --source table --since 2026-11-01 --dry-run

    Exit code: 0, 1 when it failed (what was written by then stays: run it again).
    """
    config = load_config(config_path)
    os.umask(0o077)
    try:
        period = read_period(since, until, (), time_zone(timezone), now_us())
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    since_us = ALWAYS if since is None else period.since_us
    until_us = FOREVER if period.until_us is None else period.until_us
    selection = Selection(sources, since_us, until_us, model, provider)
    with errors_end_it():
        with bar("pricing again", shown=not quiet) as progress:
            repriced = reprice(config, selection, progress, dry_run=dry_run)
        if repriced.changes and not dry_run and config.parquet.enabled:
            _write_snapshots(config, quiet=quiet)
    if as_json_:
        click.echo(as_json("reprice", _as_dict(repriced, dry_run=dry_run)))
    elif not quiet:
        _print(repriced, dry_run=dry_run, wide=wide)


def _write_snapshots(config: Config, *, quiet: bool) -> None:
    from prodlensd.app.compaction import write_snapshots  # noqa: PLC0415 - loads pyarrow

    late = write_snapshots(config)
    if late is not None and not quiet:
        click.echo(f"{late}; the snapshots follow later", err=True)


def _as_dict(repriced: Repriced, *, dry_run: bool) -> dict[str, object]:
    total = repriced.total
    return {
        "dry_run": dry_run,
        "calls_seen": repriced.seen,
        "calls_changed": total.calls,
        "calls_unpriced": repriced.unpriced,
        "calls_pruned": repriced.pruned,
        "old_cost_nanousd": total.old_nanousd,
        "new_cost_nanousd": total.new_nanousd,
        "changes": [
            kind._asdict()
            | dict(zip(("calls", "old_cost_nanousd", "new_cost_nanousd"), change, strict=True))
            for kind, change in sorted(repriced.changes.items(), key=str)
        ],
    }


#: What a table of changes shows; where there is no room, the change itself stays.
_COLUMNS: Final = (
    Column("model", least_cells=NAME_CELLS),
    Column("provider", keep=1, least_cells=NAME_CELLS),
    Column("was", keep=2),
    Column("is", keep=3),
    Column("calls", "right"),
    Column("cost before", "right", keep=4),
    Column("cost after", "right"),
)


def _print(repriced: Repriced, *, dry_run: bool, wide: bool) -> None:
    total = repriced.total
    if repriced.changes:
        by_calls = sorted(repriced.changes.items(), key=lambda item: (-item[1].calls, str(item)))
        rows = [
            (
                kind.model or "(none)",
                kind.provider or "(none)",
                kind.old_source,
                kind.new_source,
                count_cell(change.calls),
                _cost(kind.old_source, change.old_nanousd),
                _cost(kind.new_source, change.new_nanousd),
            )
            for kind, change in by_calls
        ]
        click.echo(drawn(_COLUMNS, rows, wide=wide))
    verb = "would change" if dry_run else "changed"
    outcome = f"{total.calls:,} of {repriced.seen:,} calls {verb}"
    if repriced.changes:
        delta = total.new_nanousd - total.old_nanousd
        outcome += f": {'-' if delta < 0 else '+'}{money(abs(delta))}"
    if repriced.unpriced:
        outcome += f"; {repriced.unpriced:,} stay unpriced (see prodlensd prices check)"
    if repriced.pruned:
        outcome += f"; {repriced.pruned:,} pruned calls of these days keep their prices"
    click.echo(outcome)


def _cost(source: str, nanousd: int) -> Cell:
    return "-" if source == "unpriced" else money_cell(nanousd)
