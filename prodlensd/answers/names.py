"""Which names calls have, for whoever has typed one that none has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from prodlensd.answers.calls import Calls
from prodlensd.answers.questions import BY, NONE, Filter
from prodlensd.text import alike

#: The names that are most like one: there may be a million sessions. That name itself comes first.
_LIKELY: Final = """
    SELECT name FROM (SELECT {name} AS name FROM calls) WHERE name IS NOT NULL GROUP BY name
    ORDER BY contains(lower(name), lower($said)) DESC,
        jaro_winkler_similarity(lower(name), lower($said)) DESC, name
    LIMIT 100
"""


class Unknown(NamedTuple):
    """A value of a filter that no call has, and the names that may be meant."""

    filter: str
    value: str
    meant: list[str]


def unknown_values(calls: Calls, filters: Iterable[Filter]) -> list[Unknown]:
    """The values of filters that no call has, but for patterns. Raises LedgerError."""
    found = []
    for name, values in filters:
        column = "unnest(tag_list)" if name == "tag" else BY[name].sql
        for value in values:
            if value == NONE or {"*", "?"} & set(value):
                continue
            said = value.encode(errors="replace").decode()  # lone surrogates are no text
            rows = calls.rows(_LIKELY.format(name=column), {"said": said})
            names = [known for (known,) in rows]
            if value not in names:
                found.append(Unknown(name, value, alike(value, names)))
    return found
