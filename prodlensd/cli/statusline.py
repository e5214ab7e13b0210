"""`prodlensd statusline`: what the status line of Claude Code or tmux shows."""

from __future__ import annotations

from pathlib import Path

import click

from prodlensd.cli import config_option
from prodlensd.cli.at_once import show_statusline


@click.command()
@config_option
def command(config_path: Path | None) -> None:
    """Print one line for a status line: the cost of the session and of today.

    Claude Code hands a JSON object on stdin; its session_id is the session. Without one, only today
    is told. It prints nothing where there is nothing to say, and never an error: prodlensd doctor
    tells why.

    Example: prodlensd statusline

    Exit code: 0, always.
    """
    show_statusline(config_path)
