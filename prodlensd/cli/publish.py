"""`prodlensd publish`."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import click

from prodlensd.app.publication import publish
from prodlensd.cli import EXIT_TRY_LATER, config_option, errors_end_it, load_config
from prodlensd.model import TemporaryError
from prodlensd.text import printable


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
    done = 0
    with errors_end_it(temporary=EXIT_TRY_LATER):
        try:
            for copied in publish(config, everything=everything, is_logged=quiet):
                done += 1
                if not quiet:
                    click.echo(f"{printable(copied.key)}: {copied.size_bytes} bytes")
        except TemporaryError:
            if quiet:  # the log has it, once
                raise SystemExit(EXIT_TRY_LATER) from None
            raise
    if not quiet:
        click.echo(f"{done} snapshots copied" if done else "all snapshots are published")
