"""The command lines of one word that are answered at once, before click is loaded.

Their work takes less time than that. The same words are in `commands`, with options and help.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from prodlensd import __version__
from prodlensd.cli.streams import standard_streams

if TYPE_CHECKING:
    from pathlib import Path

VERSION: Final = f"prodlensd {__version__}"
#: Whoever starts us has written by then, or has nothing to say.
_PATIENCE_S: Final = 0.2
_MOST_BYTES: Final = 1 << 20


def is_answered(arguments: list[str]) -> bool:
    """Answers these arguments, if that needs no more than they say."""
    if len(arguments) != 1 or arguments[0] not in _ANSWERS:
        return False
    with standard_streams():
        _ANSWERS[arguments[0]]()
    return True


def show_version() -> None:
    """`prodlensd --version`."""
    sys.stdout.write(f"{VERSION}\n")


def show_statusline(config_path: Path | None = None) -> None:
    """`prodlensd statusline`: one line, or nothing."""
    with suppress(Exception, KeyboardInterrupt):  # a line is no place for a message
        from prodlensd.app.statusline import said  # noqa: PLC0415 - not for the version

        sys.stdout.write(said(_stdin(), config_path))


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


_ANSWERS: Final[Mapping[str, Callable[[], None]]] = {
    "-V": show_version,
    "--version": show_version,
    "statusline": show_statusline,
}
