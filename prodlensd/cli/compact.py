"""`prodlensd compact`."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import click

from prodlensd.app.compaction import compact
from prodlensd.cli import EXIT_TRY_LATER, config_option, errors_end_it, load_config
from prodlensd.text import printable


@click.command()
@config_option
@click.option("-q", "--quiet", is_flag=True, help="Print nothing; what is deleted is logged.")
def command(config_path: Path | None, quiet: bool) -> None:
    """Bring the Parquet snapshots up to date now, and apply [retention].

    With retention.store_days, calls that are older and in a snapshot leave the ledger; with
    retention.log_days, old logs that are in the ledger line by line are deleted.

    Example: prodlensd compact

    Exit code: 0, 1 when it failed, 75 when another program holds the ledger or the snapshots.
    """
    config = load_config(config_path)
    os.umask(0o077)
    gc.disable()  # what becomes columns by the million holds no cycles
    done = 0
    with errors_end_it(temporary=EXIT_TRY_LATER):
        for done, step in enumerate(compact(config), start=1):  # noqa: B007 - counted for after
            if not quiet:
                click.echo(f"{printable(str(step.path))}: {step.what}")
    if not done and not quiet:
        click.echo("all snapshots are up to date")
