"""Tables on stdout: as wide as the terminal, and all in full where stdout is none."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

import click

from prodlensd.text import Cell, Column, Row, fitted

#: Names are cut from the middle, to this many cells and no fewer.
NAME_CELLS: Final = 12
_Command = TypeVar("_Command", bound=Callable[..., Any])


def wide_option(command: _Command) -> _Command:
    """Adds --wide, which `drawn` takes."""
    told = "Show all columns, numbers and names in full, however wide the terminal is."
    return click.option("--wide", is_flag=True, help=told)(command)


def drawn(
    columns: Sequence[Column],
    rows: Iterable[Row | Sequence[Cell]],
    *,
    wide: bool = False,
    how: str = "--wide shows all",
) -> str:
    """The table as stdout has room for it.

    Without a terminal all is shown in full, for grep and files. $COLUMNS counts on a terminal only:
    readline leaves it in the environment of what a program starts, whatever stdout is there.
    """
    is_terminal = sys.stdout.isatty()
    return fitted(
        columns,
        rows,
        width=shutil.get_terminal_size().columns if is_terminal else None,
        wide=wide,
        title=lambda line: click.style(line, bold=True),
        rule=is_terminal,
        how=how,
    )
