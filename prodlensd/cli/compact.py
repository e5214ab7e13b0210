"""`prodlensd compact`."""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from pathlib import Path

import click

from prodlensd.app.compaction import Step, compact, days_due
from prodlensd.cli import EXIT_TRY_LATER, config_option, errors_end_it, load_config
from prodlensd.cli.bar import bar
from prodlensd.text import counted, printable, size


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
    done: dict[str, list[Step]] = {"written": [], "pruned": [], "deleted": []}
    with errors_end_it(temporary=EXIT_TRY_LATER), bar("writing snapshots", shown=not quiet) as told:
        due = days_due(config) if told.is_shown else 0
        for step in compact(config):
            done[step.what].append(step)
            told(len(done["written"]), due)
            if not quiet:
                told.say(f"{printable(str(step.path))}: {_line(step)}")
    if not quiet:
        click.echo(_sum(done["written"], done["pruned"], done["deleted"]))


def _line(step: Step) -> str:
    return {
        "written": f"{step.rows} rows, {step.size_bytes} bytes",
        "pruned": f"{step.rows} rows pruned from the ledger",
        "deleted": "deleted",
    }[step.what]


def _sum(written: Sequence[Step], pruned: Sequence[Step], deleted: Sequence[Step]) -> str:
    parts = []
    if written:
        size_bytes = sum(step.size_bytes for step in written)
        rows = counted(sum(step.rows for step in written), "call")
        parts.append(f"{counted(len(written), 'snapshot')} written, {rows}, {size(size_bytes)}")
    if pruned:
        rows = counted(sum(step.rows for step in pruned), "call")
        parts.append(f"{counted(len(pruned), 'day')} pruned, {rows}")
    if deleted:
        parts.append(f"{counted(len(deleted), 'log')} deleted")
    return "; ".join(parts) or "all snapshots are up to date"
