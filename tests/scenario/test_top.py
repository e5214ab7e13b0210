"""The groups that cost most, and the rest as one: what Python finds in the snapshots' rows.

Whatever is left out of a report, its columns add up to all calls.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import apsw
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from prodlensd import snapshots
from prodlensd.answers.periods import Period
from prodlensd.answers.report import NOT_BILLED, Figures, Report, report
from prodlensd.ledger import Ledger, Reader
from prodlensd.ledger.days import Partition
from prodlensd.ledger.rows import COLUMNS
from prodlensd.pricing import Pricer
from tests.scenario.conftest import World

NEW_YEAR = 20454  # days since 1970
ALWAYS = Period(0, None, UTC)
TOKENS = ("tokens_in", "tokens_out", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
BY = [
    ("session",),
    ("model",),
    ("developer", "session"),
    ("session", "developer"),
    ("day", "session"),
    ("session", "day"),
    ("model", "month"),
]
_COLUMN = {
    "session": "session_id",
    "developer": "developer_id",
    "model": "model",
    "day": "event_date",
    "month": "event_month",
}


# The answers of a ledger, and of Python


def calls(seed: int) -> Iterator[bytes]:
    """Calls with equal costs, without names, without prices, and with requests in many groups."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    for number in range(chance.randrange(40, 160)):
        failed = chance.random() < 0.2
        details = {"cached_tokens": chance.choice([None, 0, 3])}
        record = {
            "timestamp": f"2026-01-{chance.randrange(1, 5):02d}T12:00:{number % 60:02d}Z",
            "id": f"chatcmpl-{number}",
            "litellm_call_id": f"call-{chance.randrange(60)}",
            "cost_usd": chance.choice([None, 0.25, 0.5, 0.5, round(chance.random(), 9), 1e6]),
            "attributes": {
                "llm.model_name": chance.choice(["ollama/llama", "acme/m", "acme/ü", None]),
                "status": "failure" if failed else "success",
                "cache_hit": chance.random() < 0.1,
                "latency_ms": chance.choice([None, chance.randrange(1000) / 8]),
            },
            "usage": {}
            if failed
            else {
                "prompt_tokens": chance.randrange(10, 100),
                "completion_tokens": chance.choice([0, number]),
                "prompt_tokens_details": details,
            },
            "metadata": {
                "session_id": chance.choice([None, *(f"s{n}" for n in range(20))]),
                "developer_id": chance.choice([None, "ann", "bob", "böb", "Zoe"]),
            },
        }
        yield json.dumps(record).encode() + b"\n"


def ledger_of(world: World, folder: Path, seed: int) -> list[dict[str, Any]]:
    """A world of these calls, of which the first two days are pruned; the rows of all."""
    world.daemon._pricer = Pricer(free_providers=["ollama"])
    world.append("a.jsonl", *calls(seed))
    world.step()
    world.compact(folder)
    paths = sorted(folder.glob("*/*.parquet"))
    rows = [
        row | {"event_date": day, "event_month": day[:7]}
        for path in paths
        for day in [path.parent.name.removeprefix("event_date=")]
        for row in pq.ParquetFile(path).read().to_pylist()
    ]
    assert world.prune(folder, NEW_YEAR + 2) > 0
    return rows


def figures(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What these rows add up to."""

    def total(column: str, among: Sequence[dict[str, Any]] = rows) -> Any:
        known = [row[column] for row in among if row[column] is not None]
        return sum(known) if known else None

    def cost(among: Sequence[dict[str, Any]]) -> int | None:
        usd = total("cost_usd", among)
        return None if usd is None else int(usd * 10**9)

    requests = {row["call_id"] for row in rows}
    succeeded = {row["call_id"] for row in rows if row["status"] == "success"}
    unpriced = [row for row in rows if row["cost_source"] == "unpriced"]
    succeeded_in = [row["latency_ms"] for row in rows if row["status"] == "success"]
    took = [latency_ms for latency_ms in succeeded_in if latency_ms is not None]
    by_source = defaultdict(list)
    for row in rows:
        by_source[row["cost_source"]].append(row)
    return {
        "requests": len(requests),
        "failed_requests": len(requests - succeeded),
        "calls": len(rows),
        "billed_calls": sum(row["cost_source"] not in NOT_BILLED for row in rows),
        "errors": sum(row["status"] == "failure" for row in rows),
        **{name: total(name) for name in TOKENS},
        "cost_nanousd": cost(rows),
        "cost_by_source": {
            source: (len(among), cost(among)) for source, among in sorted(by_source.items())
        },
        "unpriced_calls": len(unpriced),
        "unpriced_reasons": dict(
            Counter(row["unpriced_reason"].partition(":")[0] for row in unpriced).most_common()
        ),
        "unpriced_tokens": total("total_tokens", unpriced),
        "latency_p50_ms": quantile(took, 0.5),
        "latency_p95_ms": quantile(took, 0.95),
    }


def quantile(values: list[float], share: float) -> float | None:
    """Arrow's, which interpolates as the report does; None of no values."""
    (found,) = pc.quantile(pa.array(values, pa.float64()), q=share).to_pylist()
    return None if found is None else float(found)


def plain(found: Figures | None) -> dict[str, Any]:
    """The same of a report, to compare."""
    assert found is not None
    return {
        name: pytest.approx(value) if name.startswith("latency") else value
        for name, value in asdict(found).items()
    } | {"cost_by_source": {name: tuple(cost) for name, cost in found.cost_by_source.items()}}


Key = tuple[str | None, ...]


def grouped(rows: list[dict[str, Any]], by: Sequence[str]) -> dict[Key, list[dict[str, Any]]]:
    groups: defaultdict[Key, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[*(row[_COLUMN[name]] for name in by)].append(row)
    return groups


def dearest(rows: list[dict[str, Any]], by: Sequence[str], top: int) -> list[Key]:
    """The keys that cost most: by cost, then calls; of equal ones those that come first by name."""

    def rank(among: list[dict[str, Any]], *names: str | None) -> tuple[Any, ...]:
        cost = figures(among)["cost_nanousd"]
        named = tuple((name is None, name or "") for name in names)
        return (cost is None, -(cost or 0), -len(among), named)

    groups, firsts = grouped(rows, by), grouped(rows, by[:1])
    names = [place for place, name in enumerate(by) if name not in ("day", "month")]
    times = [place for place in range(len(by)) if place not in names]
    order = [*names, *times]
    shown = sorted(groups, key=lambda key: rank(groups[key], *(key[place] for place in order)))[
        :top
    ]

    def report_order(key: Key) -> list[Any]:
        parts = ((by[0], firsts[key[:1]], key[0]), (by[-1], groups[key], key[-1]))
        return [n if of in ("day", "month") else rank(among, n) for of, among, n in parts]

    return sorted(shown, key=report_order)


def read(folder: Path, partition: Partition, columns: Sequence[str]) -> Any:
    return snapshots.ledger_rows(partition.path(folder), columns)


def asked(world: World, folder: Path, by: tuple[str, ...], top: int) -> Report:
    return report(world.ledger, by, ALWAYS, partial(read, folder), top)


@pytest.mark.parametrize("seed", range(4))
def test_the_dearest_groups_and_the_rest_are_those_that_python_finds(
    world: World, tmp_path: Path, seed: int
) -> None:
    folder = tmp_path / "parquet"
    rows = ledger_of(world, folder, seed)
    for by in BY:
        groups = grouped(rows, by)
        for top in {1, len(groups) // 2, len(groups) - 1}:
            found = asked(world, folder, by, top)
            keys = dearest(rows, by, top)
            assert keys == [group.key for group in found.groups], (by, top)
            for group in found.groups:
                assert figures(groups[group.key]) == plain(group.figures)
            left = [row for key, among in groups.items() if key not in keys for row in among]
            assert len(groups) - top == found.more_groups
            assert figures(left) == plain(found.rest), (by, top)
            assert figures(rows) == plain(found.total), (by, top)


@pytest.mark.parametrize("by", BY)
def test_a_report_of_no_more_groups_than_asked_for_leaves_nothing_out(
    world: World, tmp_path: Path, by: tuple[str, ...]
) -> None:
    folder = tmp_path / "parquet"
    rows = ledger_of(world, folder, seed=7)
    groups = len(grouped(rows, by))
    full, exactly = asked(world, folder, by, 0), asked(world, folder, by, groups)
    assert (groups, 0, None) == (len(full.groups), full.more_groups, full.rest)
    assert (full.groups, full.total) == (exactly.groups, exactly.total)
    assert (0, None) == (exactly.more_groups, exactly.rest)


@pytest.mark.parametrize("by", BY)
def test_what_is_shown_stands_in_the_order_of_the_whole_report(
    world: World, tmp_path: Path, by: tuple[str, ...]
) -> None:
    folder = tmp_path / "parquet"
    ledger_of(world, folder, seed=11)
    full, few = asked(world, folder, by, 0), asked(world, folder, by, 5)
    places = [full.groups.index(group) for group in few.groups]
    assert all(before < after for before, after in pairwise(places))


def test_times_alone_are_all_shown(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "parquet"
    rows = ledger_of(world, folder, seed=3)
    found = asked(world, folder, ("day",), 1)
    assert (len(grouped(rows, ("day",))), 0) == (len(found.groups), found.more_groups)


# Memory


def ledger_of_sessions(path: Path, count: int) -> None:
    """A ledger of so many calls, each a session of its own."""
    nothing = dict.fromkeys(COLUMNS)
    nothing |= {"status": "success", "cache_hit": 0, "cost_source": "table", "source_id": 1}

    def row(number: int) -> tuple[Any, ...]:
        more = {
            "started_us": NEW_YEAR * 86_400_000_000 + number,
            "key": f"call-{number} chatcmpl-{number}",
            "session_id": f"{number * 0x9E3779B97F4A7C15 % 2**64:064x}",
            "tokens_in": number,
            "cost_nanousd": number * 7919 % 1000,
            "latency_ms": number / 8,
            "source_offset": number,
        }
        return tuple((nothing | more)[column] for column in COLUMNS)

    insert = f"INSERT INTO trace VALUES ({', '.join('?' * len(COLUMNS))})"
    with Ledger(path, host="laptop") as store, store.transaction():
        store.db.executemany(insert, map(row, range(count)))


def no_snapshot(_partition: Partition, _columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    raise AssertionError("nothing is pruned")


def peak_bytes(ledger: Path, by: tuple[str, ...], top: int) -> tuple[int, int]:
    """The most that Python and SQLite held during a report."""
    apsw.memory_high_water(True)  # noqa: FBT003 - apsw takes it by position only
    before = apsw.memory_used()
    tracemalloc.start()
    try:
        found = report(ledger, by, ALWAYS, no_snapshot, top)
        python = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.more_groups == found.total.calls - top
    return python, apsw.memory_high_water() - before


@pytest.mark.parametrize("by", [("session",), ("day", "session"), ("session", "model")])
def test_memory_does_not_grow_with_the_sessions(tmp_path: Path, by: tuple[str, ...]) -> None:
    few, many = tmp_path / "few.db", tmp_path / "many.db"
    ledger_of_sessions(few, 1_000)
    ledger_of_sessions(many, 10_000)
    python, sqlite = peak_bytes(few, by, 100)
    more_python, more_sqlite = peak_bytes(many, by, 100)
    # All 9,000 sessions more are 16 MB. What SQLite holds more are bounded caches, and latencies.
    assert more_python < 2 * python
    assert more_sqlite < sqlite + 8_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says which files are open")
def test_what_does_not_fit_memory_is_sorted_beside_the_ledger_and_gone_after(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "ledger"
    folder.mkdir()
    ledger_of_sessions(folder / "prodlens.db", 30_000)
    opened = nameless()
    with Reader(folder / "prodlens.db") as reader:
        rows = reader.usage.sums(("session",), 0, 2**62)
        next(rows)
        assert {str(folder)} == {str(Path(path).parent) for path in nameless() - opened}
    assert opened == nameless()
    assert {path.name.removeprefix("prodlens.db") for path in folder.iterdir()} <= {
        "",
        "-wal",
        "-shm",
    }


def nameless() -> set[str]:
    """The open files that have no name any more, or never had one: gone however we end."""
    opened = map(os.path.realpath, Path("/proc/self/fd").iterdir())
    return {path for path in opened if path.endswith(" (deleted)")}
