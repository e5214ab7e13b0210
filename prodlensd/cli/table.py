"""Columns of text on stdout."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import click


def print_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, right: Collection[str]
) -> None:
    """Columns as wide as they must be; those named in `right` are numbers."""
    table = [header, *(tuple(map(plain, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = (
            cell.rjust(width) if name in right else cell.ljust(width)
            for name, cell, width in zip(header, row, widths, strict=True)
        )
        click.echo("  ".join(cells).rstrip())


def plain(text: str) -> str:
    """What comes from outside (a path, say) cannot steer a terminal."""
    return text if text.isprintable() else ascii(text)
