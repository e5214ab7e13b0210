"""The question in an address: `?since=7d&team=core` asks what `--since 7d --team core` does.

And the other way: the address of each page that a page leads to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import tzinfo
from typing import Final
from urllib.parse import parse_qsl, urlencode

from msgspec import Struct

from prodlensd.answers.periods import Period, read_period
from prodlensd.answers.questions import FILTERS, NONE, Filter
from prodlensd.text import none_of

_TIMES: Final = ("since", "until", "timezone")
_KEYS: Final = (*_TIMES, *FILTERS)
_MAX_FIELDS: Final = 50
_OPTION: Final = re.compile(rf"--(?={'|'.join(_KEYS)}\b)")


class Asked(Struct, frozen=True):
    """What a page is asked for.

    `times` are the since, until and timezone of its address, as they were typed.
    """

    period: Period
    filters: tuple[Filter, ...] = ()
    times: tuple[tuple[str, str], ...] = ()

    def address(
        self, times: Mapping[str, str] | None = None, filters: Iterable[Filter] | None = None
    ) -> str:
        """The address of this page, or of one with other times or filters; the zone stays."""
        asked = dict(self.times)
        if times is not None:
            zone = {name: text for name, text in asked.items() if name == "timezone"}
            asked = dict(times) | zone
        chosen = self.filters if filters is None else filters
        fields = [(name, pattern) for name, patterns in chosen for pattern in patterns]
        query = urlencode([*asked.items(), *fields])
        return f"/?{query}" if query else "/"

    def narrowed(self, name: str, value: str | None) -> str:
        """The address of the page that has only the calls with this value; None: without one."""
        pattern = NONE if value is None else value
        others = [one for one in self.filters if one[0] != name]
        return self.address(filters=[*others, (name, (pattern,))])

    def widened(self, name: str) -> str:
        """The address of the page without this filter."""
        return self.address(filters=[one for one in self.filters if one[0] != name])


def read_address(query: str, time_zone: Callable[[str | None], tzinfo], now_us: int) -> Asked:
    """What the part of an address behind the question mark asks for.

    Raises ValueError with a sentence for people. `time_zone` gives the zone of a name, and without
    one the reader's.
    """
    said: dict[str, list[str]] = {}
    for name, text in _fields(query):
        if name not in _KEYS:
            raise ValueError(f"the address: {none_of(name, _KEYS)}")
        said.setdefault(name, []).append(text)
    for name in _TIMES:
        if len(said.get(name, ())) > 1:
            raise ValueError(f"the address: {name} stands there {len(said[name])} times")
    times = {name: said[name][0] for name in _TIMES if name in said}
    try:
        zone = time_zone(times.get("timezone"))
        period = read_period(times.get("since"), times.get("until"), (), zone, now_us)
    except ValueError as error:
        raise ValueError(_OPTION.sub("", str(error))) from error
    filters = tuple((name, tuple(said[name])) for name in FILTERS if name in said)
    return Asked(period, filters, tuple(times.items()))


def _fields(query: str) -> list[tuple[str, str]]:
    """Names and texts, in order. Raises ValueError."""
    try:
        return parse_qsl(
            query, keep_blank_values=True, errors="replace", max_num_fields=_MAX_FIELDS
        )
    except ValueError:
        raise ValueError(f"the address: more than {_MAX_FIELDS} names in it") from None
