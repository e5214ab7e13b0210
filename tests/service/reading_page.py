"""What a page says, read as a browser reads it."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from typing import NamedTuple


class Tag(NamedTuple):
    name: str
    attributes: dict[str, str | None]


class Page(HTMLParser):
    """The tags of a page, its links, and the texts of its tables, by the titles above them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[Tag] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.tiles: dict[str, str] = {}
        self.text = ""
        self._title = ""
        self._within: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(Tag(tag, dict(attrs)))
        if tag == "div" and (title := dict(attrs).get("aria-label")) is not None:
            self._title = title
            self.tables[title] = []
        if tag == "tr":
            self.tables[self._title].append([])
        if tag in ("th", "td"):
            self.tables[self._title][-1].append("")
        if tag in ("th", "td", "dt", "dd", "style", "title", "h1", "p"):
            self._within.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._within and self._within[-1] == tag:
            self._within.pop()

    def handle_data(self, data: str) -> None:
        within = self._within[-1] if self._within else ""
        if within != "style":
            self.text += data
        if within in ("th", "td"):
            self.tables[self._title][-1][-1] += data.strip()
        if within == "dt":
            self._tile = data
            self.tiles[data] = ""
        if within == "dd" and not self.tiles[self._tile]:
            self.tiles[self._tile] = data

    def attributes(self, name: str) -> Iterator[str]:
        for tag in self.tags:
            if (value := tag.attributes.get(name)) is not None:
                yield value
