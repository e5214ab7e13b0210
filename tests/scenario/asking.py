"""What a report has to say, counted by plain Python: no DuckDB, and none of the program's SQL.

Its rows are those of SQLite, and of pyarrow for calls that are in a snapshot alone.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import apsw
import pyarrow.parquet as pq
import pytest

from prodlensd.answers.calls import FOREVER_US, Calls, Where, open_calls
from prodlensd.answers.periods import Period
from prodlensd.answers.questions import Filter, Question
from prodlensd.answers.report import Figures, Report, answer

Row = dict[str, Any]
Key = tuple[str | None, ...]
ALWAYS = Period(0, None, UTC)
TIMES = ("day", "week", "month", "hour", "weekday")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TOKENS = (
    *("tokens_in", "tokens_out", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens"),
)
_NOT_BILLED = {"cache_hit", "not_billable", "free", "plan"}
#: What sorts the groups → the figure.
_SORTED_BY = {
    "cost": "cost_nanousd",
    "calls": "calls",
    "failed": "errors",
    "input": "tokens_in",
    "output": "tokens_out",
    "cached": "cache_read_tokens",
    "unpriced": "unpriced_calls",
    "plan": "plan_api_nanousd",
}


def ask(
    ledger: Path, folder: Path, by: Sequence[str], calls: Calls | None = None, **more: Any
) -> Report:
    """What the program says, of `calls` that are open already or of the ledger as it is now."""
    question = Question(by=tuple(by), **{"period": ALWAYS} | more)
    if calls is not None:
        return answer(calls, question)
    period = question.period
    until_us = FOREVER_US if period.until_us is None else period.until_us
    with open_calls(Where(ledger, folder, period.since_us, until_us)) as opened:
        return answer(opened, question)


def ask_each(ledger: Path, folder: Path, names: Iterable[Sequence[str]]) -> list[Report]:
    """What the program says by each of these names, of one moment."""
    with open_calls(Where(ledger, folder)) as calls:
        return [ask(ledger, folder, by, calls) for by in names]


# The rows -----------------------------------------------------------------------------------------


def rows_of(ledger: Path, folder: Path) -> list[Row]:
    """All calls: those in the ledger, and those that were pruned from it."""
    db = apsw.Connection(str(ledger), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        cursor = db.execute("SELECT * FROM trace_exact")
        found = [
            _row(dict(zip((name for name, _ in cursor.get_description()), values, strict=True)))
            for values in cursor
        ]
        pruned = set(db.execute("SELECT source_id, source_offset FROM pruned"))
    finally:
        db.close()
    for path in folder.glob("*/*.parquet"):
        for row in pq.ParquetFile(path).read().to_pylist():
            if (row["source_id"], row["source_offset"]) in pruned:
                row["started_us"] = (row["timestamp"] - _EPOCH) // timedelta(microseconds=1)
                exact = {
                    f"{of}_nanousd": None if (usd := row[f"{of}_usd"]) is None else int(usd * 10**9)
                    for of in ("cost", "table_cost")
                }
                found.append(_row(row | exact | {"table_nanousd": exact["table_cost_nanousd"]}))
    return found


def _row(row: Row) -> Row:
    return row | {"tags": json.loads(row["tags"] or "[]")}


# Names --------------------------------------------------------------------------------------------


def _local(row: Row, zone: tzinfo) -> datetime:
    return (_EPOCH + timedelta(microseconds=row["started_us"])).astimezone(zone)


_COLUMNS = {
    "developer": "developer_id",
    "repo": "repo_slug",
    "session": "session_id",
    "key": "key_alias",
    "error": "error_class",
}
_FORMATS = {"day": "%Y-%m-%d", "week": "%G-W%V", "month": "%Y-%m", "hour": "%H:00", "weekday": "%a"}


def names(row: Row, by: str, zone: tzinfo = UTC) -> list[str | None]:
    """Those of a call: one, or several tags."""
    if by == "tag":
        return list(dict.fromkeys(row["tags"])) or [None]
    if by in TIMES:
        return [_local(row, zone).strftime(_FORMATS[by])]
    if by == "source":
        return [json.loads(row["details"] or "{}").get("source", "proxy")]
    return [row[_COLUMNS.get(by, by)]]


def grouped(rows: Iterable[Row], by: Sequence[str], zone: tzinfo = UTC) -> dict[Key, list[Row]]:
    groups: defaultdict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        for first in names(row, by[0], zone):
            for second in names(row, by[1], zone) if len(by) > 1 else [None]:
                groups[(first, second)[: len(by)]].append(row)
    return dict(groups)


def passing(rows: Iterable[Row], filters: Sequence[Filter]) -> list[Row]:
    """The rows that pass each of the filters: of its patterns, one is enough."""

    def fits(name: str | None, pattern: str) -> bool:
        if pattern == "(none)" or name is None:
            return pattern == "(none)" and name is None
        return fnmatchcase(name, pattern.replace("[", "[[]"))

    return [
        row
        for row in rows
        if all(
            any(fits(name, pattern) for name in names(row, by) for pattern in patterns)
            for by, patterns in filters
        )
    ]


# Figures ------------------------------------------------------------------------------------------


def total(rows: Iterable[Row], column: str) -> Any:
    """The sum of what is known; None where nothing is."""
    known = [row[column] for row in rows if row[column] is not None]
    return sum(known) if known else None


def quantile(values: Sequence[float], share: float) -> float | None:
    """Between the two values around the place: the one that numpy calls linear."""
    ordered = sorted(values)
    if not ordered:
        return None
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def figures(rows: Sequence[Row]) -> dict[str, Any]:
    """What these rows add up to, under the names of Figures; what lists say is left out."""

    def request(row: Row) -> Any:
        return row["call_id"] or (row["source_id"], row["source_offset"])

    requests = {request(row) for row in rows}
    succeeded = [row for row in rows if row["status"] == "success"]
    unpriced = [row for row in rows if row["cost_source"] == "unpriced"]
    latency = [row["latency_ms"] for row in succeeded if row["latency_ms"] is not None]
    ttft = [row["ttft_ms"] for row in succeeded if row["ttft_ms"] is not None]
    ratios = [row["diff_ratio"] for row in rows if row["diff_ratio"] is not None]
    on_plan = [row for row in rows if row["cost_source"] == "plan"]
    by_source: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_source[row["cost_source"]].append(row)
    return {
        "calls": len(rows),
        "requests": len(requests),
        "failed_requests": len(requests - {request(row) for row in succeeded}),
        "billed_calls": sum(row["cost_source"] not in _NOT_BILLED for row in rows),
        "errors": sum(row["status"] == "failure" for row in rows),
        **{name: total(rows, name) for name in (*_TOKENS, "cost_nanousd", "accepted_lines")},
        "unpriced_calls": len(unpriced),
        "unpriced_tokens": total([{"all": _all_tokens(row)} for row in unpriced], "all"),
        "unpriced_reasons": dict(
            Counter((row["unpriced_reason"] or "unknown").split(":")[0] for row in unpriced)
        ),
        "cost_by_source": {
            source: (len(among), total(among, "cost_nanousd"))
            for source, among in by_source.items()
        },
        "latency_p50_ms": quantile(latency, 0.5),
        "latency_p95_ms": quantile(latency, 0.95),
        "latency_p99_ms": quantile(latency, 0.99),
        "ttft_p50_ms": quantile(ttft, 0.5),
        "ttft_p95_ms": quantile(ttft, 0.95),
        "sessions": len({row["session_id"] for row in rows} - {None}),
        "diff_ratio": sum(ratios) / len(ratios) if ratios else None,
        "plan_calls": len(on_plan),
        "plan_api_nanousd": total(on_plan, "table_nanousd"),
        "plan_unpriced_calls": sum(row["table_nanousd"] is None for row in on_plan),
    }


def _all_tokens(row: Row) -> int | None:
    if row["total_tokens"] is not None:
        return int(row["total_tokens"])
    known = [row[name] for name in ("tokens_in", "tokens_out") if row[name] is not None]
    return sum(known) if known else None


_NEARLY = ("latency", "ttft", "diff_ratio")


def assert_same(rows: Sequence[Row], found: Figures | None) -> None:
    """The figures of a report are those of the rows."""
    assert found is not None
    expected, said = figures(rows), plain(found)
    assert {} == {name: (of, said[name]) for name, of in expected.items() if of != said[name]}


def plain(found: Figures) -> dict[str, Any]:
    """The same of a report, to compare with."""
    said: dict[str, Any] = {name: getattr(found, name) for name in figures([])}
    said |= {name: pytest.approx(of) for name, of in said.items() if name.startswith(_NEARLY)}
    sources = found.cost_by_source.items()
    return said | {"cost_by_source": {name: (of.calls, of.cost_nanousd) for name, of in sources}}


# The order ----------------------------------------------------------------------------------------


def _rank(rows: Sequence[Row], sort: str) -> tuple[Any, ...]:
    if sort == "name":
        return ()
    summed = figures(rows)[_SORTED_BY[sort]]
    return summed is None, -(summed or 0), -len(rows)


def _by_name(by: str, name: str | None) -> tuple[Any, ...]:
    if by == "weekday":
        return (("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun").index(str(name)),)
    return name is None, name or ""


def first(groups: dict[Key, list[Row]], by: Sequence[str], sort: str, top: int) -> list[Key]:
    """The keys of the groups that are shown, the largest first, before they are put in order."""

    def rank(key: Key) -> Any:
        return _rank(groups[key], sort), [_by_name(*of) for of in zip(by, key, strict=True)]

    return sorted(groups, key=rank)[: top or None]


def in_order(
    keys: Iterable[Key],
    groups: dict[Key, list[Row]],
    firsts: dict[Key, list[Row]],
    by: Sequence[str],
    sort: str,
) -> list[Key]:
    """Times from early to late, names by the sum of all that they are of."""

    def rank(key: Key) -> Any:
        among = [firsts[key[:1]], groups[key]][-len(by) :]
        return [
            _by_name(name, value) if name in TIMES else (_rank(rows, sort), _by_name(name, value))
            for name, value, rows in zip(by, key, among, strict=True)
        ]

    return sorted(keys, key=rank)


# All of it ----------------------------------------------------------------------------------------


def assert_right(
    ledger: Path,
    folder: Path,
    by: Sequence[str],
    rows: list[Row],
    calls: Calls | None = None,
    **more: Any,
) -> None:
    """Each figure of the report is what Python counts, and each group stands in its place."""
    found = ask(ledger, folder, by, calls, **more)
    until_us, zone = found.period.until_us or 2**63, found.period.zone
    asked = [
        row
        for row in passing(rows, more.get("filters", ()))
        if found.period.since_us <= row["started_us"] < until_us
    ]
    sort = more.get("sort", "cost")
    groups, firsts = grouped(asked, by, zone), grouped(asked, by[:1], zone)
    keys = first(groups, by, sort, 0 if set(by) <= set(TIMES) else found.top)
    assert in_order(keys, groups, firsts, by, sort) == [group.key for group in found.groups]
    for group in found.groups:
        assert_same(groups[group.key], group.figures)
    assert_same(asked, found.total)
    assert len(groups) - len(keys) == found.more_groups
    left = {id(row): row for key in groups.keys() - set(keys) for row in groups[key]}
    assert bool(left) == (found.rest is not None)
    if left:
        assert_same([*left.values()], found.rest)
    shown = {key[0] for key in keys} if len(by) > 1 else set()
    assert shown == set(found.firsts or {})
    for name in shown:
        assert_same(firsts[name,], (found.firsts or {})[name])
