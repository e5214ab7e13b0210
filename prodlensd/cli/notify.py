"""`prodlensd notify`."""

from __future__ import annotations

from pathlib import Path

import click

from prodlensd.app.notification import notify, send_test
from prodlensd.cli import EXIT_TRY_LATER, config_option, errors_end_it, load_config
from prodlensd.model import TemporaryError


@click.command()
@config_option
@click.option("--test", "is_test", is_flag=True, help="Send a message that means nothing.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but the log.")
def command(config_path: Path | None, is_test: bool, quiet: bool) -> None:
    """Tell notify.webhook now what has changed since it was last told.

    The daemon does it by itself: when a budget crosses a line, or the health changes.

    Example: prodlensd notify --test

    Exit code: 0, 1 without a ledger or an address, 75 when the webhook did not take it: the daemon
    tries again.
    """
    config = load_config(config_path)
    with errors_end_it(temporary=EXIT_TRY_LATER):
        if is_test:
            send_test(config)
            click.echo("notify.webhook took the message")
            return
        try:
            told = list(notify(config, is_logged=quiet))
        except TemporaryError:
            if quiet:  # the log has it, once
                raise SystemExit(EXIT_TRY_LATER) from None
            raise
    if not quiet:
        click.echo("\n".join(told) or "nothing has changed since it was last told")
