"""What a page is made of: tables, charts, tiles; and where its names lead.

All of it is plain text, which the template escapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from prodlensd.answers.page.address import Asked
from prodlensd.answers.questions import NONE
from prodlensd.answers.report import Report
from prodlensd.text import printable


class Cell(NamedTuple):
    """A cell: its text, where it leads, its colour, and a bar as a part of the longest.

    `state`: that of a budget, which has a colour, too.
    """

    text: str
    href: str | None = None
    colour: int | None = None
    bar: float | None = None
    state: str = ""


class Table(NamedTuple):
    """Rows of cells, of which the first is a name and the others are numbers.

    `least` are the columns that are left out on a phone, by their number. The last row may be the
    total.
    """

    titles: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    has_total: bool = False
    least: Sequence[int] = ()


class Chart(NamedTuple):
    """A drawing with its title, its table, and, where it has colours, what they mean.

    `drawings` are the wide and the narrow one, or one for all. `said` is what it shows, in words.
    """

    name: str
    title: str
    said: str
    drawings: Sequence[str]
    table: Table
    legend: Sequence[Cell | tuple[str, str]] = ()


class Section(NamedTuple):
    """A table under a title; `note` is what to know of its names."""

    name: str
    title: str
    table: Table
    note: str = ""


class Tile(NamedTuple):
    """A headline number."""

    title: str
    value: str
    notes: Sequence[str]


class Sign(NamedTuple):
    """One thing of the data's quality; `advice` where there is something to do."""

    title: str
    value: str
    advice: str = ""


class Link(NamedTuple):
    """A link of the navigation."""

    text: str
    href: str
    is_current: bool = False


class Links(Protocol):
    """Where names and days lead."""

    def name(self, by: str, value: str | None) -> str | None:
        """Where a developer, a model … leads."""

    def bar(self, key: str) -> str | None:
        """Where an hour, day, week or month leads."""


class Addresses(Struct, frozen=True):
    """The links of a page that is served: each leads to a page of its own."""

    asked: Asked

    def name(self, by: str, value: str | None) -> str | None:
        """The page of this name alone."""
        return self.asked.narrowed(by, value)

    def bar(self, key: str) -> str | None:
        """The page of this day, week or month."""
        return None if ":" in key else self.asked.address(times={"since": key, "until": key})


class Anchors(Struct, frozen=True):
    """The links of a file: each leads to a section of it, where there is one."""

    ranked: Mapping[str, Report]

    def name(self, by: str, value: str | None) -> str | None:
        """The section that says what this name is made of."""
        found = self.ranked.get(by)
        names = [group.key[0] for group in found.groups] if found else []
        return f"#{anchor(by, names.index(value))}" if value in names else None

    def bar(self, key: str) -> str | None:
        """Nowhere: a file has one period."""
        del key
        return None


def anchor(by: str, place: int) -> str:
    """The name of a section that says what the `place`th name is made of."""
    return f"{by}-{place + 1}"


def shown(name: str | None) -> str:
    """A name from outside, as a page shows it."""
    return NONE if name is None else printable(name)
