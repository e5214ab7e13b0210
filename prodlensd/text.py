"""Text for a terminal: what comes from outside made printable, tables, money, sizes, durations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from decimal import ROUND_HALF_EVEN, Decimal


def printable(text: str) -> str:
    """A text from outside, such as a path, without what steers a terminal or ends a line."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Collection[str],
    max_width: int | None = None,
    title: Callable[[str], str] = str,
) -> str:
    """Columns as wide as they must be, at most `max_width` cells; those named in `right` end even.

    The cells may come from outside. `title` styles the first line.
    """
    # Width on a terminal is not the number of characters: 日本 takes four cells.
    from rich.cells import cell_len, set_cell_size  # noqa: PLC0415 - only where a table is drawn

    def fitted(cell: str) -> str:
        cell = printable(cell)
        if max_width is None or cell_len(cell) <= max_width:
            return cell
        return f"{set_cell_size(cell, max_width - 1).rstrip()}…"

    columns = []
    for name, *cells in zip(header, *rows, strict=True):
        column = [fitted(cell) for cell in (name, *cells)]
        width = max(map(cell_len, column))
        padded = ((cell, " " * (width - cell_len(cell))) for cell in column)
        columns.append([space + cell if name in right else cell + space for cell, space in padded])
    first, *lines = ("  ".join(cells).rstrip() for cells in zip(*columns, strict=True))
    return "\n".join([title(first), *lines])


def money(nanousd: int) -> str:
    """Dollars: cents from one dollar on, below it four significant digits."""
    usd = Decimal(nanousd).scaleb(-9)
    places = 2 if usd >= 1 or not usd else max(2, 3 - usd.adjusted())
    rounded = f"{usd.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN):,f}"
    cents = rounded.index(".") + 3
    return f"${rounded[:cents]}{rounded[cents:].rstrip('0')}"


def counted(count: int, thing: str) -> str:
    """A count and its thing: "1 call", "12,345 calls"."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def size(count: float) -> str:
    """Bytes in the largest unit that leaves a digit before the point."""
    if count < 1000:  # noqa: PLR2004 - the step between two units
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 1000:  # noqa: PLR2004
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"


def duration(seconds: float) -> str:
    """Seconds in the largest unit of which there are two."""
    for unit, length_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
