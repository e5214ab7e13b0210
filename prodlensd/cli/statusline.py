"""`prodlensd statusline`: what the status line of Claude Code or tmux shows."""

from __future__ import annotations

import json
import os
import select
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import click

from prodlensd.answers.statusline import line
from prodlensd.app.ledger import reading_spent
from prodlensd.app.zone import local_clock
from prodlensd.cli import config_option
from prodlensd.config import load
from prodlensd.moments import now_us

#: Whoever starts us has written by then, or has nothing to say.
_PATIENCE_S: Final = 0.2
_MOST_BYTES: Final = 1 << 20


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
    with suppress(Exception):  # a line is no place for a message
        click.echo(_line(config_path), nl=False)


def _line(config_path: Path | None) -> str:
    session, config = _session(_stdin()), load(config_path)
    with reading_spent(config) as spent:
        said = line(spent, session, now_us(), local_clock())
    return f"{said}\n" if said else ""


def _session(text: bytes) -> str | None:
    """The session that the JSON object on stdin names."""
    with suppress(ValueError, RecursionError):
        found = json.loads(text)
        session = found.get("session_id") if isinstance(found, dict) else None
        return session if isinstance(session, str) else None
    return None


def _stdin() -> bytes:
    """What we were handed; a terminal hands nothing, and no pipe is waited for long."""
    text = b""
    if sys.stdin is None or sys.stdin.isatty():
        return text
    while len(text) < _MOST_BYTES and select.select([0], [], [], _PATIENCE_S)[0]:
        if not (more := os.read(0, _MOST_BYTES)):
            break
        text += more
    return text
