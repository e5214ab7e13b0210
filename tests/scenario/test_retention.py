"""Pruned rows are in their snapshot and nowhere else; logs go when nothing goes with them."""

from __future__ import annotations

import fcntl
import gzip
import json
import math
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from prodlensd import snapshots
from prodlensd.answers.verify import proven
from prodlensd.jobs import retention
from prodlensd.jobs.compaction import SnapshotLostError
from prodlensd.jobs.repricing import reprice, write_nothing
from prodlensd.jobs.retention import OldLog, delete_logs
from prodlensd.ledger import (
    Change,
    LedgerError,
    Letters,
    Partitions,
    Prices,
    Reader,
    Selection,
)
from prodlensd.ledger.days import span_of
from prodlensd.ledger.rows import COLUMNS
from prodlensd.ledger.sources import Source
from prodlensd.model import US_PER_DAY, Price
from tests.scenario.asking import ask_each
from tests.scenario.conftest import PricedBy, World
from tests.scenario.proving import follow, proof

NEW_YEAR = 20454  # days since 1970
#: One question to every column that a report can be asked for.
QUESTIONS = [("day", "provider"), ("developer", "model"), ("session",), ("month", "repo")]


def call(number: int, *, day: int = 1, hour: int = 0, ids: bool = True, **metadata: Any) -> bytes:
    record: dict[str, Any] = {
        "timestamp": f"2026-01-{day:02d}T{hour:02d}:{number // 60:02d}:{number % 60:02d}.25Z",
        "attributes": {
            "llm.model_name": ("anthropic/claude-sonnet-4-5", "openai/gpt-4o")[number % 2],
            "latency_ms": number * 1.5,
            "status": "failure" if number % 7 == 0 else "success",
        },
        "usage": {"input_tokens": 10, "output_tokens": number, "cache_read_tokens": 3},
        "metadata": {
            "session_id": f"s{number}" if number % 5 else None,
            "session_via": "header",
            "developer_id": f"dev{number % 3}",
            "developer_via": "key_user" if number % 3 else "metadata",
            "team": "core",
            "repo": "acme/web",
        }
        | metadata,
    }
    if ids:
        record |= {"id": f"chatcmpl-{number}", "litellm_call_id": f"call-{number // 2}"}
    return json.dumps(record).encode() + b"\n"


def reports(world: World, folder: Path, questions: Sequence[Any] = QUESTIONS) -> list[Any]:
    asked = ask_each(world.ledger, folder, questions)
    return [(found.groups, found.total, found.ledger) for found in asked]


def verdict(world: World, folder: Path) -> tuple[str, list[str], int]:
    found = proof(world, folder)
    return found.state, [str(difference) for difference in found.differences], found.snapshots


def places(world: World, folder: Path) -> Counter[tuple[int, int]]:
    """Where a reader of ledger and snapshots finds each call: each is to be found once."""
    found = Counter(world.query("SELECT source_id, source_offset FROM trace"))
    pruned = set(world.query("SELECT source_id, source_offset FROM pruned"))
    for path in folder.glob("*/*.parquet"):
        columns = pq.ParquetFile(path).read(["source_id", "source_offset"]).to_pydict()
        found.update(place for place in zip(*columns.values(), strict=True) if place in pruned)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "parquet"


@pytest.fixture
def days(world: World, folder: Path) -> World:
    """Three days of calls, with and without ids, dead letters and a duplicate, compacted."""
    for day in (1, 2, 3):
        lines = [call(100 * day + n, day=day, ids=n % 4 > 0) for n in range(40)]
        world.append("a.jsonl", *lines, lines[1], b"garbage\n", b"\n")
    world.step()
    assert len(world.compact(folder)) == 3
    return world


def test_a_pruned_day_is_asked_and_proven_like_any_other(days: World, folder: Path) -> None:
    before = reports(days, folder)
    there = places(days, folder)
    assert days.prune(folder) == 120
    assert days.query("SELECT count(*) FROM trace") == [0]
    assert (before, there) == (reports(days, folder), places(days, folder))
    assert verdict(days, folder) == ("complete", [], 3)


def test_only_days_before_the_limit_are_pruned(days: World, folder: Path) -> None:
    before = reports(days, folder)
    assert days.prune(folder, NEW_YEAR + 2) == 80
    assert days.query("SELECT DISTINCT event_date FROM traces") == ["2026-01-03"]
    assert before == reports(days, folder)
    assert verdict(days, folder) == ("complete", [], 3)


def test_a_pruned_call_leaves_nothing_but_what_tells_it_from_others_and_where_it_was(
    days: World, folder: Path
) -> None:
    """Each column of `trace`, whatever it may be, is in the snapshot as it was."""
    columns = [
        column
        for table in ("call", "common")
        for column in days.query(f"SELECT name, type FROM pragma_table_info('{table}')")
        if column[0] in COLUMNS
    ]
    by_hand = {"started_us", "key", "call_id", "details", "source_id", "source_offset"}
    numbered = {"INTEGER": "source_offset % 2 + 0", "REAL": "source_offset + 0.5"}
    marks: dict[str, str] = {}
    for name, kind in columns:
        if name not in by_hand:
            value = numbered.get(kind, f"'{name} ' || source_offset")
            marks[name] = value
    selected = ", ".join(f"{marks.get(name, name)} AS {name}" for name in COLUMNS)
    with days.store.transaction():
        changed = f"SELECT {selected} FROM trace WHERE source_offset % 3 > 0"
        for row in days.store.db.execute(changed).fetchall():
            days.store.rows.update(row)
    days.store.write("UPDATE partition SET version = version + 1")
    days.compact(folder)
    names = [name for name, _ in columns if name not in ("key", "call_id")]
    keys = "iif(typeof(key) = 'text', key, NULL)"
    before = days.query(f"SELECT {', '.join(names)}, {keys} FROM trace")
    assert days.prune(folder) == 120
    asked = [*names, "call_id", "response_id"]
    found: list[Any] = []
    for path in sorted(folder.glob("*/*.parquet")):
        for *values, call_id, response_id in snapshots.ledger_rows(path, asked):
            found.append((*values, response_id and f"{call_id} {response_id}"))
    assert sorted(before, key=str) == sorted(found, key=str)
    kept = days.query("SELECT name FROM pragma_table_info('pruned')")
    assert kept == ["started_us", "key", "source_id", "source_offset"]
    assert days.query("SELECT count(*) FROM pruned") == [120]
    assert days.query("SELECT count(*) FROM common") == [0], "nobody has it in common any more"
    left = "SELECT 1 FROM pruned_before UNION ALL SELECT 1 FROM fact"
    assert days.query(left) == [], "only earlier versions wrote there"


@pytest.mark.long
def test_reading_an_old_log_again_adds_nothing_that_was_pruned(days: World, folder: Path) -> None:
    before = reports(days, folder)
    days.prune(folder)
    (days.logs / "b.jsonl").write_bytes((days.logs / "a.jsonl").read_bytes())
    (days.logs / "c.jsonl.gz").write_bytes(gzip.compress((days.logs / "a.jsonl").read_bytes()))
    (days.logs / "a.jsonl").unlink()
    days.settle()
    days.restart()
    days.settle()
    assert days.query("SELECT count(*) FROM trace") == [0]
    assert before == reports(days, folder)
    assert verdict(days, folder) == ("complete", [], 3)


@pytest.mark.long
def test_a_late_row_of_a_pruned_day_joins_the_others(days: World, folder: Path) -> None:
    days.prune(folder)
    late = [call(50, day=2, hour=3), call(51, day=2, hour=0, ids=False)]
    days.append("late.jsonl", *late)
    days.settle()
    before = reports(days, folder)
    assert days.dirty_days() == {NEW_YEAR + 1}
    assert [written.rows for written in days.compact(folder)] == [42]
    assert Counter(places(days, folder).values()) == {1: 122}
    assert before == reports(days, folder)
    assert days.prune(folder) == 2
    assert before == reports(days, folder)
    assert verdict(days, folder) == ("complete", [], 3)
    (day,) = [path for path in folder.glob("*/*.parquet") if "01-02" in str(path)]
    times = pq.ParquetFile(day).read(["timestamp"])["timestamp"].to_pylist()
    assert len(times) == 42
    assert times == sorted(times)


@pytest.mark.long
@pytest.mark.parametrize("rows_at_once", [20, pytest.param(7, marks=pytest.mark.long)])
def test_a_day_that_is_pruned_halfway_is_whole_for_every_reader(
    days: World, folder: Path, monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    monkeypatch.setattr(retention, "_ROWS_AT_ONCE", rows_at_once)
    before = reports(days, folder, QUESTIONS[1:2])
    seen = 0
    with Reader(days.ledger) as reader:
        partitions = Partitions(days.store)
        for day in range(NEW_YEAR, NEW_YEAR + 3):
            proof = partitions.get(day).sha256
            assert proof is not None
            while partitions.prune(day, proof, rows_at_once):
                seen += 1
                assert before == reports(days, folder, QUESTIONS[1:2])
                assert set(places(days, folder).values()) == {1}
            assert reader.days.count(*span_of(day)) == 0
    assert seen == 3 * math.ceil(40 / rows_at_once)
    assert verdict(days, folder) == ("complete", [], 3)


@pytest.mark.long
def test_a_half_pruned_day_that_gets_late_rows_is_written_whole(days: World, folder: Path) -> None:
    partitions = Partitions(days.store)
    proof = partitions.get(NEW_YEAR).sha256
    assert proof is not None
    assert partitions.prune(NEW_YEAR, proof, 15) == 15
    days.append("late.jsonl", call(7, day=1), call(8, day=1, hour=2))
    days.settle()
    before = reports(days, folder)
    assert partitions.prune(NEW_YEAR, proof, 15) == 0, "not while its snapshot is behind"
    days.compact(folder)
    assert partitions.prune(NEW_YEAR, proof, 15) == 0, "that is the proof of another file"
    assert before == reports(days, folder)
    assert verdict(days, folder) == ("complete", [], 3)
    assert days.prune(folder) == 107
    assert before == reports(days, folder)
    assert verdict(days, folder) == ("complete", [], 3)


def test_a_repriced_row_and_an_enriched_one_make_their_day_dirty_again(
    days: World, folder: Path
) -> None:
    with Reader(days.ledger) as reader:
        everything = Selection(("table", "unpriced"), 0, 2**62)
        (calls,) = reader.prices.calls(NEW_YEAR, everything, 1000)
    changes = [Change(*call, Price(77, "override")) for call in calls]
    repricing = Prices(days.store, lambda: 1).repricing("test", everything, 1)
    assert repricing.write(changes)
    richer = json.loads(call(201, day=2))
    richer["attributes"]["ttft_ms"] = 12.5
    days.append("richer.jsonl", json.dumps(richer).encode() + b"\n")
    days.settle()
    assert days.dirty_days() == {NEW_YEAR, NEW_YEAR + 1}
    assert len(days.compact(folder)) == 2
    assert verdict(days, folder) == ("complete", [], 3)
    rows = pq.ParquetFile(next(folder.glob("*01-02/*"))).read(["ttft_ms"])["ttft_ms"].to_pylist()
    assert [ttft for ttft in rows if ttft] == [12.5]


def test_a_pruned_call_keeps_its_price_and_reprice_says_how_many_do(
    days: World, folder: Path
) -> None:
    days.prune(folder, NEW_YEAR + 2)
    everything = Selection(("unpriced", "table"), 0, 2**62)
    with Reader(days.ledger) as reader:
        found = reprice(
            reader,
            everything,
            pricer=PricedBy(lambda _: Price(9, "table")),
            write=write_nothing,
            turn=nullcontext(),
        )
    assert (40, 80) == (found.seen, found.pruned)


def test_a_restored_ledger_does_not_write_over_what_it_has_forgotten(
    days: World, folder: Path, tmp_path: Path
) -> None:
    days.stop()
    backup = tmp_path / "backup.db"
    shutil.copy(days.ledger, backup)
    days._start()
    days.append("b.jsonl", call(50, day=1), call(51, day=1))
    days.step()
    days.compact(folder)
    path = next(folder.glob("*01-01/*"))
    content = path.read_bytes()
    days.stop()
    shutil.copy(backup, days.ledger)
    (days.logs / "b.jsonl").unlink()
    days._start()
    days.append("c.jsonl", call(52, day=1))
    days.step()
    with pytest.raises(SnapshotLostError, match="holds more calls than this ledger"):
        days.compact(folder)
    assert content == path.read_bytes()


@pytest.mark.long
@pytest.mark.parametrize("damage", ["gone", "changed", "cut"])
def test_a_snapshot_that_is_not_the_one_written_is_written_again_before_its_day_is_pruned(
    days: World, folder: Path, damage: str
) -> None:
    before = reports(days, folder)
    _damage(next(folder.glob("*01-01/*")), damage)
    assert days.prune(folder) == 80, "the other days"
    assert days.query("SELECT count(*) FROM trace") == [40]
    assert before == reports(days, folder)
    assert [written.rows for written in days.compact(folder)] == [40]
    assert days.prune(folder) == 40
    assert before == reports(days, folder)
    assert verdict(days, folder) == ("complete", [], 3)


def test_a_half_pruned_day_whose_snapshot_is_gone_is_pruned_no_further(
    days: World, folder: Path
) -> None:
    partitions = Partitions(days.store)
    proof_of_day = partitions.get(NEW_YEAR).sha256
    assert proof_of_day is not None
    assert partitions.prune(NEW_YEAR, proof_of_day, 15) == 15
    next(folder.glob("*01-01/*")).unlink()
    assert days.prune(folder) == 80
    assert days.query("SELECT count(*) FROM trace") == [25]
    with pytest.raises(SnapshotLostError, match="15 pruned calls are in no other place"):
        days.compact(folder)


@pytest.mark.long
@pytest.mark.parametrize("damage", ["changed", "gone", "cut"])
def test_a_damaged_snapshot_of_a_pruned_day_is_never_written_over(
    days: World, folder: Path, damage: str
) -> None:
    before = reports(days, folder)
    days.prune(folder)
    days.append("late.jsonl", call(50, day=1), call(51, day=2))
    days.settle()
    path = next(folder.glob("*01-01/*"))
    content = path.read_bytes()
    _damage(path, damage)
    left = path.read_bytes() if path.exists() else None
    with pytest.raises(SnapshotLostError, match="40 pruned calls are in no other place"):
        days.compact(folder)
    assert left == (path.read_bytes() if path.exists() else None)
    assert days.dirty_days() == {NEW_YEAR}, "the other day was written all the same"
    assert verdict(days, folder)[0] == "broken"
    if damage != "changed":
        with pytest.raises(LedgerError, match="40 pruned calls of 2026-01-01 cannot be read"):
            reports(days, folder)
    path.write_bytes(content)
    assert [written.rows for written in days.compact(folder)] == [41]
    assert verdict(days, folder) == ("complete", [], 3)
    assert before != reports(days, folder)


def _damage(path: Path, damage: str) -> None:
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        os.truncate(path, path.stat().st_size // 2)
    else:
        pq.write_table(pq.ParquetFile(path).read(), path)


def test_a_ledger_begun_anew_does_not_write_over_what_outlived_the_last_one(
    days: World, folder: Path
) -> None:
    path = next(folder.glob("*01-01/*"))
    content = path.read_bytes()
    days.stop()
    for suffix in ("", "-wal", "-shm"):
        days.ledger.with_name(days.ledger.name + suffix).unlink(missing_ok=True)
    (days.logs / "a.jsonl").unlink()
    days._start()
    days.append("b.jsonl", call(101, day=1))
    days.step()
    with pytest.raises(SnapshotLostError, match="holds more calls than this ledger"):
        days.compact(folder)
    assert content == path.read_bytes()
    path.unlink()
    assert [written.rows for written in days.compact(folder)] == [1]


def test_a_day_keeps_the_name_of_its_file_when_the_host_is_called_otherwise(
    days: World, folder: Path
) -> None:
    days.append("late.jsonl", call(50, day=3), call(1, day=4))
    days.settle()
    days.compact(folder, host="renamed")
    names = sorted(str(path.relative_to(folder)) for path in folder.glob("*/*.parquet"))
    assert names[2:] == [
        "event_date=2026-01-03/laptop.parquet",
        "event_date=2026-01-04/renamed.parquet",
    ]


@pytest.mark.long
def test_pruning_gives_the_pages_back_to_the_system(world: World, folder: Path) -> None:
    for hour in range(20):
        named = (f"{hour}-{n}-{'s' * 200}" for n in range(500))
        lines = [call(n, hour=hour, session_id="s", tags=[name]) for n, name in enumerate(named)]
        world.append("a.jsonl", *lines)
    world.step()
    world.compact(folder)
    world.store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before_bytes = world.ledger.stat().st_size
    rows = world.prune(folder)
    assert rows > 4000
    world.store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert world.query("PRAGMA freelist_count") == [0]
    assert world.ledger.stat().st_size < before_bytes / 2


# Logs -------------------------------------------------------------------------------------------

LATER_US = 2_000_000_000_000_000  # 2033


def delete(
    world: World, now_us: int = LATER_US, meanwhile: Callable[[], None] = lambda: None
) -> list[OldLog]:
    """Deletes what was untouched for ten days; `meanwhile` happens after the proof."""

    def prove(sources: list[Source]) -> set[int]:
        with Reader(world.ledger) as reader:
            found = proven(reader, sources, follow=partial(follow, world))
        meanwhile()
        return found

    with Reader(world.ledger) as reader:
        verdicts = delete_logs(
            world.store.sources,
            reader,
            prove,
            untouched_us=10 * US_PER_DAY,
            patience_us=US_PER_DAY,
            now_us=now_us,
        )
        return list(verdicts)


@pytest.mark.long
def test_a_log_that_is_wholly_ingested_and_old_is_deleted(days: World, folder: Path) -> None:
    log = days.logs / "a.jsonl"
    (days.logs / "b.jsonl.gz").write_bytes(gzip.compress(call(1) + call(2, ids=False)))
    days.step()
    before = reports(days, folder)
    assert Counter(delete(days)) == {
        OldLog(str(log), None): 1,
        OldLog(str(days.logs / "b.jsonl.gz"), None): 1,
    }
    assert list(days.logs.iterdir()) == []
    days.step()
    days.step()
    assert days.query("SELECT DISTINCT state FROM sources") == ["gone"]
    assert days.query("SELECT count(*) FROM gaps") == [0]
    assert before == reports(days, folder)


def test_a_log_goes_after_its_rows_were_pruned_as_well(days: World, folder: Path) -> None:
    days.prune(folder)
    assert [verdict.kept for verdict in delete(days)] == [None]


@pytest.mark.parametrize(
    "what",
    [
        "young",
        "half a line",
        "not yet read",
        "a long line cut",
        "edited",
        "a row lost",
        "written to",
    ],
)
def test_a_log_of_which_anything_would_be_lost_is_kept(world: World, what: str) -> None:
    world.max_line_bytes = 1 << 17
    world.restart()
    log = world.logs / "a.jsonl"
    world.append("a.jsonl", call(1), call(2, ids=False), b"garbage\n")
    if what == "a long line cut":
        world.append("a.jsonl", b"x" * (1 << 18) + b"\n")
    world.step()
    now_us, kept, writer = LATER_US, None, None
    if what == "young":
        now_us = log.stat().st_mtime_ns // 1000 + US_PER_DAY
    elif what == "half a line":
        world.append("a.jsonl", b'{"half":')
        world.step()
    elif what == "not yet read":
        world.append("a.jsonl", call(3))
    elif what == "edited":
        log.write_bytes(log.read_bytes().replace(b'"core"', b'"kore"'))
        kept = "what it holds is not all in the ledger: see prodlensd verify"
    elif what == "a row lost":
        with world.store.db as db:
            db.execute("DELETE FROM call WHERE source_offset = 0")
        kept = "what it holds is not all in the ledger: see prodlensd verify"
    elif what == "written to":
        writer = log.open("ab")
        kept = "somebody may still write to it"
    verdicts = delete(world, now_us)
    if writer is not None:
        writer.close()
    assert log.exists()
    assert [verdict.kept for verdict in verdicts] == ([] if kept is None else [kept])
    assert delete(world, now_us + US_PER_DAY - 1) == [], "not looked at again so soon"


def test_a_long_line_that_was_cut_keeps_its_log_no_longer_once_it_is_purged(world: World) -> None:
    world.max_line_bytes = 1 << 17
    world.restart()
    world.append("a.jsonl", call(1), b"x" * (1 << 18) + b"\n")
    world.step()
    keys = world.query("SELECT key FROM dead_letter")
    for state, expected in (("dismissed", []), ("purged", [None])):
        Letters(world.store).accept(state, keys)
        assert [verdict.kept for verdict in delete(world)] == expected


def test_a_log_that_changes_between_its_proof_and_its_end_is_kept(world: World) -> None:
    world.append("a.jsonl", call(1))
    world.step()
    verdicts = delete(world, meanwhile=lambda: world.append("a.jsonl", call(2)))
    assert [verdict.kept for verdict in verdicts] == ["it has changed since"]
    world.step()
    assert world.counts()[1] == 2


def test_nothing_but_the_proven_file_is_deleted(world: World, tmp_path: Path) -> None:
    outside = tmp_path / "outside.jsonl"
    outside.write_bytes(call(9))
    world.append("a.jsonl", call(1))
    world.append("other.txt", b"not a log")
    world.step()

    def swap() -> None:
        (world.logs / "a.jsonl").unlink()
        (world.logs / "a.jsonl").symlink_to(outside)

    assert [verdict.kept is None for verdict in delete(world, meanwhile=swap)] == [False]
    assert outside.read_bytes() == call(9)
    assert sorted(path.name for path in world.logs.iterdir()) == ["a.jsonl", "other.txt"]


def test_who_opens_a_log_while_it_goes_has_it_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.append("a.jsonl", call(1))
    world.step()
    real = os.rename
    opened = threading.Event()

    def late_writer(path: Path) -> None:
        opened.set()
        with path.open("ab") as file:
            file.write(call(2))

    writer = threading.Thread(target=late_writer, args=(world.logs / "a.jsonl",))

    def rename(*arguments: Any, **named: Any) -> None:
        file = next(fd for fd in map(_number, Path("/proc/self/fd").iterdir()) if _is_leased(fd))
        writer.start()
        opened.wait(100)
        pause = threading.Event()
        for _ in range(1000):  # until the kernel keeps it waiting
            if fcntl.fcntl(file, fcntl.F_GETLEASE) != fcntl.F_RDLCK:
                break
            pause.wait(0.005)
        real(*arguments, **named)

    monkeypatch.setattr(os, "rename", rename)
    before = signal.getsignal(signal.SIGIO)
    assert [verdict.kept for verdict in delete(world)] == ["somebody has just opened it"]
    assert before == signal.getsignal(signal.SIGIO)
    writer.join(100)
    assert [path.name for path in world.logs.iterdir()] == ["a.jsonl"]
    world.step()
    assert world.counts()[1] == 2


def _number(path: Path) -> int:
    return int(path.name)


def _is_leased(file: int) -> bool:
    try:
        return fcntl.fcntl(file, fcntl.F_GETLEASE) == fcntl.F_RDLCK
    except OSError:
        return False
