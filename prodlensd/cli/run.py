"""`prodlensd run`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from prodlensd.app.daemon import run
from prodlensd.cli import EXIT_TRY_LATER, config_option, errors_end_it, fail, load_config
from prodlensd.process import AlreadyRunningError, Signals


@click.command()
@config_option
@click.option("--once", is_flag=True, help="Ingest everything there is, compact, and exit.")
@click.pass_obj
def command(caught: Signals | None, config_path: Path | None, once: bool) -> None:
    """Run the daemon in the foreground.

    Example: prodlensd run --once

    Exit code: 0, 1 on a failure while running, 75 when another instance runs, 78 for a bad
    configuration.
    """
    config = load_config(config_path)
    os.umask(0o077)
    try:
        with errors_end_it():
            run(config, config_path, caught, once=once)
    except AlreadyRunningError as error:
        raise fail(str(error), EXIT_TRY_LATER) from error
