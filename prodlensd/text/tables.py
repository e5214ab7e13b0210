"""Tables that fit a terminal. Cells may come from outside: all are made printable."""

from __future__ import annotations

import textwrap
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from prodlensd.text.plain import latency, money, printable, short_count, short_money

_GAP: Final = "  "
_BLOCKS: Final = " ▏▎▍▌▋▊▉█"
#: Fewer cells tell nothing, more tell no more.
_MIN_BAR_CELLS: Final = 6
_MAX_BAR_CELLS: Final = 40


class Both(NamedTuple):
    """A cell with a shorter text for where there is little room; neither is ever cut."""

    full: str
    short: str


def count_cell(count: int) -> Both:
    """A count: 2,908,118,851 or 2.91B."""
    return Both(f"{count:,}", short_count(count))


def money_cell(nanousd: int) -> Both:
    """An amount: $1,795.84 or $1,796."""
    return Both(money(nanousd), short_money(nanousd))


def latency_cell(ms: float) -> Both:
    """How long something took: 4,514 ms or 4.5 s."""
    return Both(f"{ms:,.0f} ms", latency(ms))


#: A number is the length of a bar, as a part of the longest: 0 to 1.
Cell = str | Both | float


class Column(Struct, frozen=True):
    """What all cells of a column have in common.

    `keep`: where there is no room, columns go from the lowest to the highest; None: never.
    `least_cells`: names are cut, but not below this; None: never. `cut`: what of them goes.
    `align`: a "bar" takes what room is left, and shows nothing where none is.
    """

    title: str
    align: Literal["left", "right", "bar"] = "left"
    keep: int | None = None
    least_cells: int | None = None
    cut: Literal["start", "middle", "end"] = "middle"


class Row(Struct, frozen=True):
    """A line of a table, where more than its cells is to be said.

    `indent`: how many cells the first one is moved in, as below a subtotal.
    `is_total`: a rule goes above it, where rules are drawn.
    """

    cells: Sequence[Cell]
    indent: int = 0
    is_total: bool = False


def fitted(
    columns: Sequence[Column],
    rows: Iterable[Row | Sequence[Cell]],
    *,
    width: int | None = None,
    wide: bool = False,
    title: Callable[[str], str] = str,
    rule: bool = False,
    how: str = "--wide shows all",
) -> str:
    """The table in at most `width` cells, or, without it or when `wide`, all of it in full.

    What takes too much room is shortened in this order, as far as needed: cells that have a short
    text, a column at a time; then names; then columns are left out, and a last line names them and
    says `how` to see them. No digit is ever cut. A table that is too wide even so stays too wide:
    of columns that are never left out there must not be many.

    `title` styles the first line. `rule` draws a line above a total.
    """
    lines = [row if isinstance(row, Row) else Row(row) for row in rows]
    shapes = [_Shape.of(column, index, lines) for index, column in enumerate(columns)]
    texts = [shape for shape in shapes if shape.column.align != "bar"]
    room = None if wide else width
    kept = texts if room is None else _kept(texts, room)
    if room is not None:
        _shorten(kept, room)
    bars = [shape for shape in shapes if shape.column.align == "bar"]
    _give_room(bars, (width or 0) - _total(shape.cells for shape in kept))
    shown = [shape for shape in shapes if shape in kept or (shape in bars and shape.cells)]
    first, *drawn = (_GAP.join(cells).rstrip() for cells in zip(*map(_drawn, shown), strict=True))
    if rule:
        length = _total(shape.cells for shape in shown)
        drawn = [
            part
            for line, row in zip(drawn, lines, strict=True)
            for part in (["─" * length] * row.is_total + [line])
        ]
    left_out = [shape.title for shape in texts if shape not in kept]
    said = f"not shown: {', '.join(left_out)} ({how})"
    return "\n".join([title(first), *drawn, *(textwrap.wrap(said, width or 80) * bool(left_out))])


# How wide ----------------------------------------------------------------------------------------


class _Shape(Struct, eq=False):
    """A column with its texts, and the mutable state of fitting it: how it is to be shown."""

    column: Column
    title: str
    full: list[str]
    short: list[str]
    parts: list[float]  # of a bar
    indents: list[int]
    full_cells: int = 0
    short_cells: int = 0
    cells: int = 0
    is_short: bool = False

    @classmethod
    def of(cls, column: Column, index: int, rows: Sequence[Row]) -> _Shape:
        cells = [row.cells[index] for row in rows]
        both = [cell if isinstance(cell, tuple) else (cell, cell) for cell in cells]
        shape = cls(
            column,
            printable(column.title),
            [printable(full) if isinstance(full, str) else "" for full, _ in both],
            [printable(short) if isinstance(short, str) else "" for _, short in both],
            [cell if isinstance(cell, int | float) else 0 for cell in cells],
            [0 if index else row.indent for row in rows],
        )
        shape.full_cells, shape.short_cells = map(shape.widest, (shape.full, shape.short))
        shape.cells = 0 if column.align == "bar" else shape.full_cells
        return shape

    def widest(self, texts: list[str]) -> int:
        widths = (_cells(text) + more for text, more in zip(texts, self.indents, strict=True))
        return max(_cells(self.title), *widths, 0)

    @property
    def saving(self) -> int:
        """How many cells the short texts save."""
        return self.full_cells - self.short_cells

    @property
    def least(self) -> int:
        """How narrow it can be."""
        least = self.column.least_cells
        if least is None:
            return self.short_cells
        return min(self.short_cells, max(least, _cells(self.title)))


def _cells(text: str) -> int:
    """How wide a terminal draws a text: that is not the number of its characters."""
    if text.isascii():  # most are, and it is printable
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 - only where it is needed

    return cell_len(text)


def _total(widths: Iterable[int]) -> int:
    """The width of a table whose columns have these."""
    each = list(widths)
    return sum(each) + len(_GAP) * max(len(each) - 1, 0)


def _kept(shapes: Sequence[_Shape], room: int) -> list[_Shape]:
    """The columns that fit when all are as narrow as they can be."""
    kept = list(shapes)
    # Of those of one rank, the last goes first: sorted keeps their order.
    goers = (shape for shape in reversed(shapes) if shape.column.keep is not None)
    for shape in sorted(goers, key=lambda shape: shape.column.keep or 0):
        if _total(each.least for each in kept) <= room:
            break
        kept.remove(shape)
    return kept


def _shorten(shapes: Sequence[_Shape], room: int) -> None:
    """Numbers first, that which saves most before others; then the widest names."""
    for shape in sorted(shapes, key=lambda shape: -shape.saving):
        if _total(each.cells for each in shapes) <= room or not shape.saving:
            break
        shape.is_short = True
        shape.cells = shape.short_cells

    def within(shape: _Shape, limit: int) -> int:
        """How wide it is when no name is wider than this, as far as it may be cut."""
        is_name = shape.column.least_cells is not None
        return min(shape.cells, max(shape.least, limit)) if is_name else shape.cells

    limits = range(max((shape.cells for shape in shapes), default=0) + 1)
    limit = bisect_right(
        limits, room, key=lambda limit: _total(within(shape, limit) for shape in shapes)
    )
    for shape in shapes:
        shape.cells = within(shape, limit - 1)


def _give_room(bars: Sequence[_Shape], room: int) -> None:
    for bar in bars:
        left = min(room - len(_GAP), _MAX_BAR_CELLS)
        if left >= max(_MIN_BAR_CELLS, _cells(bar.title)):
            bar.cells = left
            room -= left + len(_GAP)


# Drawing -----------------------------------------------------------------------------------------


def _drawn(shape: _Shape) -> list[str]:
    """The title and the cells, each exactly as wide as the column."""
    if shape.column.align == "bar":
        texts = [_bar(part, shape.cells) for part in shape.parts]
    else:
        texts = [
            " " * indent + _cut(text, shape.cells - indent, shape.column.cut)
            for text, indent in zip(
                shape.short if shape.is_short else shape.full, shape.indents, strict=True
            )
        ]
    padded = ((text, " " * (shape.cells - _cells(text))) for text in (shape.title, *texts))
    is_right = shape.column.align == "right"
    return [space + text if is_right else text + space for text, space in padded]


def _cut(text: str, cells: int, where: Literal["start", "middle", "end"]) -> str:
    """The text with a part left out, so that it takes no more than these cells."""
    if _cells(text) <= cells:
        return text
    kept_cells = max(cells - len("…"), 0)
    head_cells = {"start": 0, "middle": (kept_cells + 1) // 2, "end": kept_cells}[where]
    tail_cells = kept_cells - head_cells
    places = range(len(text) + 1)
    end = bisect_right(places, head_cells, key=lambda place: _cells(text[:place])) - 1
    start = bisect_left(places, -tail_cells, key=lambda place: -_cells(text[place:]))
    # An accent stays with its letter, or goes with it.
    while start < len(text) and unicodedata.category(text[start]).startswith("M"):
        start += 1
    return f"{text[:end].rstrip()}…{text[start:].lstrip()}"


def _bar(part: float, cells: int) -> str:
    """A bar of eighths of a cell; what is not nothing is at least one of them."""
    eighths = min(max(round(part * cells * 8), int(part > 0)), cells * 8)
    whole, rest = divmod(eighths, 8)
    return (_BLOCKS[-1] * whole + _BLOCKS[rest]).rstrip()
