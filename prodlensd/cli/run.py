"""`prodlensd run`."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import click

from prodlensd.app.daemon import run
from prodlensd.app.once import Held, Pass
from prodlensd.cli import EXIT_TRY_LATER, config_option, errors_end_it, fail, load_config
from prodlensd.cli.bar import bar
from prodlensd.config import Config
from prodlensd.process import AlreadyRunningError, Signals
from prodlensd.text import at_least, counted, money, printable


@click.command()
@config_option
@click.option("--once", is_flag=True, help="Ingest everything there is, compact, and exit.")
@click.pass_obj
def command(caught: Signals | None, config_path: Path | None, once: bool) -> None:
    """Run the daemon in the foreground.

    With --once it says at the end what was new.

    Example: prodlensd run --once

    Exit code: 0, 1 on a failure while running, 75 when another instance runs, 78 for a bad
    configuration.
    """
    config = load_config(config_path)
    os.umask(0o077)
    try:
        with errors_end_it():
            if once:
                click.echo(_once(config, config_path, caught))
            else:
                run(config, config_path, caught)
    except AlreadyRunningError as error:
        raise fail(str(error), EXIT_TRY_LATER) from error


def _once(config: Config, config_path: Path | None, caught: Signals | None) -> str:
    """Ingests everything there is; what was new, in words."""
    once = Pass(config.store.path, partial(bar, "reading the logs"))
    run(config, config_path, caught, once=once)
    new, held = once.new, once.held
    if new is None or held is None:  # asked to stop before it began
        return "nothing was read"
    if new.counts.lines:
        return f"{_sum(new)}; see prodlensd report"
    if held.counts.lines:
        calls, files = counted(held.counts.traces, "call"), counted(held.files, "file")
        return f"nothing new: {calls} from {files} are in the ledger; see prodlensd report"
    folders = printable(", ".join(map(str, config.logs.directories)))
    return f"nothing to read in {folders}; prodlensd doctor says what is not wired"


def _sum(new: Held) -> str:
    counts = new.counts
    parts = [f"{counted(counts.traces, 'call')} from {counted(new.files, 'file')}"]
    if counts.duplicates:
        parts.append(f"{counts.duplicates:,} known already")
    if counts.passed_over:
        parts.append(f"{counts.passed_over:,} that are no calls")
    if counts.dead_letters:
        parts.append(counted(counts.dead_letters, "dead letter"))
    if counts.traces:
        cost = at_least(money(new.nanousd), is_exact=not new.unpriced)
        parts.append("no known price" if new.unpriced >= counts.traces else cost)
    return ", ".join(parts)
