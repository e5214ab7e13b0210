"""The SQL of groups: which there are, and what the calls of each add up to.

The calls are read once, into cells: what the calls add up to that are alike in all that is asked
for, in their status and in the source of their cost. All sums are of cells. Figures that are not
sums take a reading each, and so does each step of a question by tag, where a call may be in several
groups. Sums and percentiles are exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from msgspec import Struct, field

from prodlensd.answers.calls import Calls
from prodlensd.answers.periods import Period, offsets
from prodlensd.answers.questions import (
    APART,
    BY,
    CELL,
    OF_PLAN,
    SORTS,
    SUMS,
    Apart,
    Question,
    sql_of_filters,
)
from prodlensd.model import US_PER_S

# ruff: noqa: S608 - statements are put together from names of columns

#: 9999-12-31: later moments are no times for DuckDB.
_LAST_US: Final = 253_402_300_799_999_999
_REASON_WORD: Final = "split_part(unpriced_reason, ':', 1)"
#: The values of the names that are asked for, as DuckDB has them.
_Values = tuple[Any, ...]


class Source(NamedTuple):
    """Calls whose cost comes from one source; `reason` is why they have none."""

    cost_source: str
    reason: str | None
    calls: int
    cost_usd: Decimal | None


class Sums(Struct):
    """What calls add up to.

    `vias` are the ways in which each name of a group was found, `sums` and `apart` the figures of
    SUMS and APART that were asked for; one of the latter is empty where no call contributes to it.
    """

    vias: tuple[tuple[str, ...], ...]
    sums: Mapping[str, Any]
    apart: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    sources: list[Source] = field(default_factory=list)


class Found(Struct, frozen=True):
    """All that was asked for.

    `firsts` are those of the first of two names that some group is of; `rest` is of the calls in
    groups that are not shown, `more_groups` of them.
    """

    groups: Mapping[_Values, Sums]
    firsts: Mapping[_Values, Sums]
    total: Sums
    rest: Sums | None
    more_groups: int


class _Level(NamedTuple):
    """One way to divide the calls: into groups and the rest, into first names, or not at all.

    columns  what divides them: whether they are shown, and the names, NULL where they are not
    rows     SQL for the calls; where they are grouped by tag, a call may be there once for each
    cells    SQL for what they add up to, in parts that are to be added
    """

    columns: tuple[str, ...]
    rows: str
    cells: str


class Grouping:
    """One question, put to the calls: the mutable state is a temporary table of the database."""

    def __init__(self, calls: Calls, question: Question) -> None:
        self._calls = calls
        self._question = question
        condition, values = sql_of_filters(question.filters)
        period = question.period
        self._values = values | {"since": _within(period.since_us)}
        if period.until_us is not None:
            self._values["until"] = _within(period.until_us)
        if "cache_saved_picos" in question.sums:
            calls.load_prices()
        self._rows = _rows(question, condition, calls.spans)
        self._sums = [name for name in question.sums if calls.may_be_on_plan or name not in OF_PLAN]
        self._keys = tuple(f"k{number}" for number in range(len(question.by)))
        self._vias = tuple(f"via{n}" if BY[by].via else "" for n, by in enumerate(question.by))
        self._by_tag = "tag" in question.by

    def found(self) -> Found:
        """The answer."""
        if not self._by_tag:
            self._make_cells()
        more_groups = self._rank()
        groups, *firsts, total = self._add_up(self._levels(is_cut=more_groups > 0))
        rest = next((of for (is_shown, *_), of in groups.items() if not is_shown), None)
        return Found(_shown(groups), _shown(*firsts), total[()], rest, more_groups)

    def _make_cells(self) -> None:
        """Reads the calls once, into a table of cells by the keys."""
        self._do(f"CREATE OR REPLACE TEMP TABLE cells AS {self._cells(self._keys, self._rows)}")

    def _cells(self, columns: Sequence[str], rows: str) -> str:
        """SQL for what the calls add up to, by these columns and by all else that divides them."""
        by = [*columns, *filter(None, self._vias), "status", "cost_source"]
        if self._question.by_source:
            by.append(f"{_REASON_WORD} AS reason")
        parts = dict.fromkeys(SUMS[name].of for name in self._sums)
        sums = [f"{CELL.get(part, f'sum({part})')} AS {part}" for part in parts]
        return f"SELECT {', '.join([*by, *sums])} FROM ({rows}) GROUP BY ALL"

    def _rank(self) -> int:
        """Ranks the groups, where not all of them may be shown; returns how many are not."""
        question = self._question
        if not question.top or all(BY[name].is_time for name in question.by):
            return 0
        keys = ", ".join(self._keys)
        if self._by_tag:  # the cells of a tag are for the ranking alone: see `_levels`
            self._make_cells()
        ((groups,),) = self._do(f"SELECT count(*) FROM (SELECT DISTINCT {keys} FROM cells)")
        if groups <= question.top:
            return 0
        names = ", ".join(f"{key} NULLS LAST" for key in self._keys)
        sort = SORTS[question.sort]
        value = "sum(calls) DESC, " if sort else ""
        if sort in self._sums:
            value = f"{SUMS[sort].sql} DESC NULLS LAST, {value}"
        self._do(
            f"CREATE OR REPLACE TEMP TABLE ranked AS SELECT {keys}, row_number() OVER "
            f"(ORDER BY {value}{names}) AS place FROM cells GROUP BY {keys}"
        )
        return int(groups) - question.top

    def _levels(self, *, is_cut: bool) -> list[_Level]:
        """The groups, first names where there are two, and all calls."""
        ways = [("is_shown", *(f"g{number}" for number in range(len(self._keys))))]
        if len(self._keys) > 1:
            ways.append(("is_first", "f0"))
        ways.append(())
        rows = self._marked(self._rows, is_cut=is_cut)
        if not self._by_tag:
            cells = self._marked("FROM cells", is_cut=is_cut)
            return [_Level(columns, rows, cells) for columns in ways]
        # A call may be there once for each of its tags.
        once = f"SELECT * FROM ({rows}) WHERE tag_at = 1"
        groups = rows
        if is_cut:  # of a call's tags that are not shown, one is enough
            place = "PARTITION BY host, source_id, source_offset, is_shown"
            groups = f"SELECT * FROM ({rows}) QUALIFY is_shown OR row_number() OVER ({place}) = 1"
        firsts = rows if self._question.by[0] == "tag" else once
        return [
            _Level(columns, of, self._cells(columns, of))
            for columns, of in zip(ways, (groups, *[firsts] * (len(ways) - 2), once), strict=True)
        ]

    def _marked(self, rows: str, *, is_cut: bool) -> str:
        """SQL for these rows with what they are grouped by.

        `g0`, `g1` are the keys of a group that is shown, `f0` of a first name that is: all others
        are one group, whatever their number.
        """
        shown = first = "true"
        joins = ""
        if is_cut:
            top = f"(SELECT * FROM ranked WHERE place <= {self._question.top})"
            joins = f"LEFT JOIN {top} AS s ON {_same(self._keys, 's')}"
            shown = first = "s.place IS NOT NULL"
            if len(self._keys) > 1:
                firsts = f"(SELECT DISTINCT k0, true AS is_there FROM {top})"
                joins += f" LEFT JOIN {firsts} AS f ON {_same(['k0'], 'f')}"
                first = "coalesce(f.is_there, false)"
        keys = [f"if({shown}, r.{key}, NULL) AS g{n}" for n, key in enumerate(self._keys)]
        columns = [f"{shown} AS is_shown", *keys]
        if len(self._keys) > 1:
            columns += [f"{first} AS is_first", f"if({first}, r.k0, NULL) AS f0"]
        return f"SELECT r.*, {', '.join(columns)} FROM ({rows}) AS r {joins}"

    def _add_up(self, levels: Sequence[_Level]) -> list[dict[_Values, Sums]]:
        """What the calls of each row of each level add up to."""
        names = self._sums
        vias = [
            f"list({via}) FILTER (is_shown AND {via} NOT NULL)" if via else "NULL"
            for via in self._vias
        ]
        found: list[dict[_Values, Sums]] = []
        for level in levels:
            of_level: dict[_Values, Sums] = {}
            values = [*vias, *(SUMS[name].sql for name in names)]
            for key, row in self._grouped(level.columns, values, level.cells):
                ways = tuple(tuple(sorted(set(way or ()))) for way in row[: len(vias)])
                of_level[key] = Sums(ways, dict(zip(names, row[len(vias) :], strict=True)))
            vias = []  # of groups alone
            for name in self._question.apart:
                for sums in of_level.values():
                    sums.apart[name] = ()
                for key, row in self._apart(level, APART[name]):
                    of_level[key].apart[name] = row
            found.append(of_level)
        self._add_sources(levels, found)
        return found

    def _add_sources(self, levels: Sequence[_Level], found: list[dict[_Values, Sums]]) -> None:
        """Adds the calls of each row by the source of their cost, and by why they have none.

        Of all calls alone where no more is asked for, and of none where each has a price.
        """
        values = ("sum(calls)", "sum(cost_usd)")
        asked = [(level.columns, level.cells) for level in levels]
        if not self._question.by_source:
            if not found[-1][()].sums["unpriced_calls"]:
                return
            added = "count(*) AS calls, sum(cost_usd) AS cost_usd"
            of = f"SELECT cost_source, {_REASON_WORD} AS reason, {added} FROM ({levels[-1].rows})"
            found, asked = found[-1:], [((), f"{of} GROUP BY ALL")]
        for of_level, (columns, cells) in zip(found, asked, strict=True):
            for key, row in self._grouped((*columns, "cost_source", "reason"), values, cells):
                of_level[key[:-2]].sources.append(Source(key[-2], key[-1], *row))
            for sums in of_level.values():
                sums.sources.sort(key=lambda source: (source.cost_source, source.reason or ""))

    def _apart(self, level: _Level, figure: Apart) -> Iterator[tuple[_Values, _Values]]:
        """A figure that is not a sum, of one level: it holds all values."""
        keys = "".join(f"{column}, " for column in level.columns)
        return self._grouped(
            level.columns, figure.values, figure.of.format(keys=keys, rows=level.rows)
        )

    def _grouped(
        self, columns: Sequence[str], values: Sequence[str], rows: str
    ) -> Iterator[tuple[_Values, _Values]]:
        """The values of each group of these rows, by the columns; without columns, of all rows."""
        grouped = f" GROUP BY {', '.join(columns)}" if columns else ""
        for row in self._do(f"SELECT {', '.join([*columns, *values])} FROM ({rows}){grouped}"):
            yield row[: len(columns)], row[len(columns) :]

    def _do(self, sql: str) -> list[tuple[Any, ...]]:
        asked = {name: value for name, value in self._values.items() if f"${name}" in sql}
        return self._calls.rows(sql, asked)


def _shown(level: Mapping[_Values, Sums] | None = None) -> dict[_Values, Sums]:
    """Those of names that are shown, by these names."""
    return {tuple(key): of for (is_shown, *key), of in (level or {}).items() if is_shown}


def _rows(question: Question, condition: str, spans: Sequence[tuple[int, int]]) -> str:
    """SQL for the calls that are asked for, with the values of the names as k0 and k1."""
    by = [BY[name] for name in question.by]
    keys = [f"{one.sql} AS k{n}" for n, one in enumerate(by)]
    vias = [f"{one.via} AS via{n}" for n, one in enumerate(by) if one.via]
    origin = _UNNESTED if "tag" in question.by else "calls"
    if "cache_saved_picos" in question.sums:
        origin += _WITH_PRICES
    local = f"make_timestamp(least(started_us + {_offset_us(question.period, spans)}, {_LAST_US}))"
    asked = condition
    if question.period.since_us > 0:
        asked += " AND timestamp >= make_timestamptz($since)"
    if question.period.until_us is not None:
        asked += " AND timestamp < make_timestamptz($until)"
    inner = f"SELECT *, {local} AS local FROM {origin} WHERE {asked}"
    return f"SELECT *, {', '.join([*keys, *vias])} FROM ({inner})"


#: The calls once for each of their tags, which are numbered from 1.
_UNNESTED: Final = """(
    SELECT *, unnest(own) AS tag, unnest(range(1, len(own) + 1)) AS tag_at
    FROM (SELECT *, if(len(tag_list) = 0, [NULL], list_distinct(tag_list)) AS own FROM calls)
) AS calls"""
#: The list price behind each call, in the row for as many input tokens as it has.
_WITH_PRICES: Final = (
    " LEFT JOIN prices ON prices.price_id = calls.price_id "
    "AND calls.tokens_in > prices.over AND calls.tokens_in <= prices.up_to"
)


def _offset_us(period: Period, spans: Sequence[tuple[int, int]]) -> str:
    """SQL for how far the zone's clock is ahead of UTC at `started_us`, in microseconds.

    Right within the spans: the changes of all years until a call in the year 9999 are too many.
    """
    changes: list[tuple[int, int]] = []
    for from_us, until_us in spans:
        for change in offsets(from_us, until_us - 1, period.zone):
            if not changes or changes[-1][1] != change[1]:
                changes.append(change)
    return _chosen(changes or [(0, 0)])


def _chosen(changes: Sequence[tuple[int, int]]) -> str:
    """SQL for the offset at `started_us`, found by halves: DuckDB bounds how deep SQL is nested."""
    if len(changes) == 1:
        return str(changes[0][1] * US_PER_S)
    half = len(changes) // 2
    before, after = _chosen(changes[:half]), _chosen(changes[half:])
    return f"if(started_us < {changes[half][0]}, {before}, {after})"


def _same(keys: Iterable[str], other: str) -> str:
    return " AND ".join(f"r.{key} IS NOT DISTINCT FROM {other}.{key}" for key in keys)


def _within(at_us: int) -> int:
    """The moment, as far as DuckDB knows moments."""
    return min(max(at_us, 0), _LAST_US)
