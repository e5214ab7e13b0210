"""`prodlensd reprice`."""

from __future__ import annotations

import os
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import click

from prodlensd import __version__
from prodlensd.answers.periods import read_period
from prodlensd.app.books import Books, fingerprint
from prodlensd.cli import as_json, config_option, fail, load_config
from prodlensd.cli.bar import bar
from prodlensd.app.compaction import write_snapshots
from prodlensd.cli.report import time_options
from prodlensd.cli.zone import time_zone
from prodlensd.config import Config
from prodlensd.jobs.repricing import Repriced, Write, reprice, write_nothing
from prodlensd.ledger import (
    Ledger,
    LedgerError,
    Partitions,
    Prices,
    Reader,
    Selection,
    Turns,
)
from prodlensd.moments import now_us
from prodlensd.pricing import ALWAYS, FOREVER
from prodlensd.text import money, table

#: Whose price can be another one now; the others have none to be looked up.
_SOURCES = ("unpriced", "table", "override", "fallback", "free", "gateway")
#: What an upgrade of the prices may change: after it nothing is left to be done by itself.
_EVERYTHING = Selection(("unpriced",), ALWAYS, FOREVER)


def _read_sources(_ctx: click.Context, _param: click.Parameter, value: str) -> tuple[str, ...]:
    sources = tuple(dict.fromkeys(part.strip() for part in value.split(",")))
    if unknown := [source for source in sources if source not in _SOURCES]:
        raise click.BadParameter(f"{unknown[0]!r} is none of {', '.join(_SOURCES)}")
    return sources


@click.command()
@config_option
@click.option(
    "--source",
    "sources",
    default="unpriced",
    metavar="NAME[,NAME]",
    callback=_read_sources,
    help=f"Calls whose cost_source is one of these (default: unpriced): {', '.join(_SOURCES)}.",
)
@time_options
@click.option("--model", metavar="NAME", help="Only this model, as logged; * for any characters.")
@click.option("--provider", metavar="NAME", help="Only calls of this provider, as logged.")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
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
    as_json_: bool,
    quiet: bool,
) -> None:
    """Price calls again, each at the prices of its own time; each change is kept.

    Without options: the calls without a price, as the daemon does by itself when
    the price table or the configuration's prices have changed. The history of all changes is the
    view cost_changes. Safe at any time, also while the daemon runs; a second run changes nothing.

    Example: prodlensd reprice --source table --since 2026-11-01 --dry-run

    Exit code: 0, 1 when it failed (what was written by then stays: run it again).
    """
    config = load_config(config_path)
    os.umask(0o077)
    if not config.store.path.exists():
        raise fail(f"no ledger at {config.store.path}: has the daemon run yet?")
    try:
        period = read_period(since, until, (), time_zone(timezone), now_us())
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    first_us = ALWAYS if since is None else period.since_us
    end_us = FOREVER if period.until_us is None else period.until_us
    selection = Selection(sources, first_us, end_us, model, provider)
    try:
        repriced = _reprice(config, selection, dry_run=dry_run, quiet=quiet)
    except (LedgerError, OSError) as error:
        raise fail(str(error)) from error
    if as_json_:
        click.echo(as_json("reprice", _as_dict(repriced, dry_run=dry_run)))
    elif not quiet:
        _print(repriced, dry_run=dry_run)


def _reprice(config: Config, selection: Selection, *, dry_run: bool, quiet: bool) -> Repriced:
    told = fingerprint(config.pricing)
    with ExitStack() as stack:
        reader = stack.enter_context(Reader(config.store.path))
        write: Write = write_nothing
        prices = None
        if not dry_run:
            ledger = stack.enter_context(
                Ledger(config.store.path, durability=config.store.durability)
            )
            prices = Prices(ledger, now_us)
            write = prices.repricing(__version__, selection, now_us()).write
        books = Books(config.pricing, prices or reader.prices)
        stack.callback(books.close)
        progress = stack.enter_context(bar("pricing again", shown=not quiet))
        repriced = reprice(
            reader,
            selection,
            pricer=books.pricer,
            write=write,
            turn=Turns(time.monotonic, threading.Event().wait),
            progress=progress,
        )
        if prices is not None:
            prices.write_pins()
            if selection == _EVERYTHING:
                prices.note_fingerprint(told)
    if repriced.changes and not dry_run and config.parquet.enabled:
        _write_snapshots(config, quiet=quiet)
    return repriced


def _write_snapshots(config: Config, *, quiet: bool) -> None:
    from prodlensd.jobs.compaction import SnapshotLostError  # noqa: PLC0415 - loads pyarrow
    from prodlensd.snapshots import LockedError  # noqa: PLC0415

    try:
        with Ledger(config.store.path) as ledger, Reader(config.store.path) as reader:
            for _ in write_snapshots(config, Partitions(ledger), reader):
                pass
    except (LockedError, SnapshotLostError) as error:
        if not quiet:
            click.echo(f"{error}; the snapshots follow later", err=True)


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
            | {
                "calls": change.calls,
                "old_cost_nanousd": change.old_nanousd,
                "new_cost_nanousd": change.new_nanousd,
            }
            for kind, change in sorted(repriced.changes.items(), key=str)
        ],
    }


def _print(repriced: Repriced, *, dry_run: bool) -> None:
    total = repriced.total
    if repriced.changes:
        header = ("model", "provider", "was", "is", "calls", "cost before", "cost after")
        click.echo(
            table(
                header,
                [
                    (
                        kind.model or "(none)",
                        kind.provider or "(none)",
                        kind.old_source,
                        kind.new_source,
                        f"{change.calls:,}",
                        _cost(kind.old_source, change.old_nanousd),
                        _cost(kind.new_source, change.new_nanousd),
                    )
                    for kind, change in sorted(
                        repriced.changes.items(), key=lambda item: (-item[1].calls, str(item))
                    )
                ],
                right=header[4:],
            )
        )
    verb = "would change" if dry_run else "changed"
    said = f"{total.calls:,} of {repriced.seen:,} calls {verb}"
    if repriced.changes:
        delta = total.new_nanousd - total.old_nanousd
        said += f": {'-' if delta < 0 else '+'}{money(abs(delta))}"
    if repriced.unpriced:
        said += f"; {repriced.unpriced:,} stay unpriced (see prodlensd prices check)"
    if repriced.pruned:
        said += f"; {repriced.pruned:,} pruned calls of these days keep their prices"
    click.echo(said)


def _cost(source: str, nanousd: int) -> str:
    return "-" if source == "unpriced" else money(nanousd)
