"""A progress bar on stderr, where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import Progress


class Bar:
    """Called with how much is done, and of how much. Without `drawn` it shows nothing."""

    def __init__(self, what: str, drawn: Progress | None) -> None:
        self._drawn = drawn
        self._task = None if drawn is None else drawn.add_task(what, total=None)

    @property
    def is_shown(self) -> bool:
        """Whether anybody sees it: what only it needs can be left out."""
        return self._drawn is not None

    def __call__(self, done: int, total: int) -> None:
        """Shows that so much is done."""
        if self._drawn is not None and self._task is not None:
            self._drawn.update(self._task, completed=done, total=max(done, total))

    def say(self, line: str) -> None:
        """Prints a line of the answer; the bar goes on below it."""
        if self._drawn is not None:
            self._drawn.stop()
        click.echo(line)
        if self._drawn is not None:
            _start(self._drawn)


@contextmanager
def bar(what: str, *, shown: bool = True) -> Iterator[Bar]:
    """Shows how far `what` is, on a terminal only; the bar is gone at the end."""
    if not shown or not sys.stderr.isatty():
        yield Bar(what, None)
        return
    from rich.console import Console  # noqa: PLC0415 - only for a terminal
    from rich.progress import Progress  # noqa: PLC0415

    console = Console(stderr=True)
    if console.is_dumb_terminal:  # it could not take a bar away again
        yield Bar(what, None)
        return
    # Our streams stay ours: stdout is the answer, and may go elsewhere; stderr has the log.
    drawn = Progress(console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
    _start(drawn)
    try:
        yield Bar(what, drawn)
    finally:
        drawn.stop()


def _start(drawn: Progress) -> None:
    drawn.start()
    drawn.console.show_cursor()  # where a signal ends us, nobody else would
