"""`prodlensd publish`."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import click

from prodlensd.app.publication import days_due, publish
from prodlensd.cli import EXIT_TRY_LATER, config_option, errors_end_it, load_config
from prodlensd.cli.bar import bar
from prodlensd.model import TemporaryError
from prodlensd.text import counted, printable, size


@click.command()
@config_option
@click.option("--all", "everything", is_flag=True, help="Copy all of them, also those copied once.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but the log.")
def command(config_path: Path | None, everything: bool, quiet: bool) -> None:
    """Copy the snapshots that are up to date to publish.url now.

    A copy that was made is not looked at again: when the bucket or folder has lost files, --all
    copies all snapshots once more.

    Example: prodlensd publish --all

    Exit code: 0, 1 without a ledger or an address, 75 when not all could be copied: the daemon
    tries again.
    """
    config = load_config(config_path)
    # Ctrl-C ends us at once: as an exception it would complete an upload in the middle.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.umask(0o077)
    sizes_bytes: list[int] = []
    with errors_end_it(temporary=EXIT_TRY_LATER), bar("copying", shown=not quiet) as told:
        try:
            due = days_due(config, everything=everything) if told.is_shown else 0
            for copied in publish(config, everything=everything, is_logged=quiet):
                sizes_bytes.append(copied.size_bytes)
                told(len(sizes_bytes), due)
                if not quiet:
                    told.say(f"{printable(copied.key)}: {copied.size_bytes} bytes")
        except TemporaryError:
            if quiet:  # the log has it, once
                raise SystemExit(EXIT_TRY_LATER) from None
            raise
    if quiet:
        return
    copies = f"{counted(len(sizes_bytes), 'snapshot')} copied, {size(sum(sizes_bytes))}"
    click.echo(copies if sizes_bytes else "all snapshots are published")
