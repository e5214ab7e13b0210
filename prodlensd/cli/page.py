"""`prodlensd page`: how the daemon has pages made. Not for people."""

from __future__ import annotations

from pathlib import Path

import click

from prodlensd.app.page import serve
from prodlensd.cli import config_option, load_config


@click.command(hidden=True)
@config_option
def command(config_path: Path | None) -> None:
    """Answer each line of standard input, the question of an address in JSON, with a page."""
    serve(load_config(config_path))
