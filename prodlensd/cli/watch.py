"""`prodlensd watch`."""

from __future__ import annotations

import os
import select
import shutil
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import tzinfo
from pathlib import Path
from typing import Final

import click

from prodlensd.app import overview as overviews
from prodlensd.app.ledger import reading
from prodlensd.app.zone import time_zone
from prodlensd.cli import config_option, errors_end_it, load_config
from prodlensd.cli.overview import lines
from prodlensd.cli.show import COLUMNS, cells
from prodlensd.cli.tables import drawn
from prodlensd.config import Config
from prodlensd.moments import now_us
from prodlensd.text import Row

_LOOK_EVERY_S: Final = 0.25
#: Drawing anew asks all calls of two months: so many times as long it then waits, but no longer
#: than that.
_PAUSES: Final = 4
_LONGEST_PAUSE_S: Final = 5.0
_MOST_CALLS: Final = 50
#: From here on a time shows in a list: without its year.
_BEGIN: Final = len("2026-")
_LEAVE: Final = frozenset(b"qQ\x03\x04")  # q, and what Ctrl-C and Ctrl-D are where nobody waits


@click.command()
@config_option
def command(config_path: Path | None) -> None:
    """Show the overview and the last calls, and again as lines arrive; q leaves.

    Where stdout is no terminal it is shown once.

    Example: prodlensd watch

    Exit code: 0, 1 without a ledger, 78 for a bad configuration.
    """
    config, zone = load_config(config_path), time_zone(None)
    with errors_end_it():
        if sys.stdout.isatty() and sys.stdin.isatty():
            with suppress(KeyboardInterrupt):
                _watch(config, zone)
        else:
            click.echo(_view(config, zone, _MOST_CALLS))


def _watch(config: Config, zone: tzinfo) -> None:
    from rich.console import Console  # noqa: PLC0415 - only for a terminal
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False)
    live = Live(
        console=console,
        screen=True,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    shown: tuple[os.terminal_size, int, int] | None = None
    next_s = 0.0
    with reading(config) as reader, _single_keys(), live:
        while not _LEAVE & set(_pressed(_LOOK_EVERY_S if shown else 0.0)):
            size = shutil.get_terminal_size()
            now = size, reader.version(), int(time.time()) // 60
            is_resized = shown is None or size != shown[0]
            if now == shown or (not is_resized and time.monotonic() < next_s):
                continue
            shown, began_s = now, time.monotonic()
            view = _view(config, zone, _MOST_CALLS).splitlines()[: size.lines - 1]
            live.update(Text.from_ansi("\n".join(view), no_wrap=True), refresh=True)
            ended_s = time.monotonic()
            next_s = ended_s + min((ended_s - began_s) * _PAUSES, _LONGEST_PAUSE_S)


def _view(config: Config, zone: tzinfo, most: int) -> str:
    """All that is shown, the newest call first among the calls."""
    at_us = now_us()
    seen = overviews.overview(config, at_us, zone, latest_calls=most)
    calls = [Row(cells(call, _BEGIN)) for call in seen.latest]
    title = click.style("last calls (UTC); q leaves", bold=True)
    table = ["", title, drawn(COLUMNS, calls)] if calls else []
    return "\n".join([*lines(config.host, seen, at_us, zone), *table])


@contextmanager
def _single_keys() -> Iterator[None]:
    """A key is there when it is pressed, and not shown; as it was at the end."""
    before = termios.tcgetattr(0)
    tty.setcbreak(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


def _pressed(patience_s: float) -> bytes:
    """The keys that are pressed within this time; a terminal that is gone is taken for Ctrl-D."""
    if not select.select([0], [], [], patience_s)[0]:
        return b""
    try:
        return os.read(0, 64) or b"\x04"
    except OSError:
        return b"\x04"
