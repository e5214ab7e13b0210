"""How a snapshot comes about: by whom it is read, what it says of itself, and who may look on."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from prodlensd import snapshots
from prodlensd.jobs import compaction
from prodlensd.ledger.views import TRACES_COLUMNS
from prodlensd.snapshots import exclusive_lock, shared_lock
from tests.scenario.conftest import World


@pytest.fixture
def world_of_a_day(world: World, make_line: Any) -> World:
    numbers = [*range(0, 600, 2), *range(1, 600, 2)]  # two writers, each in order
    world.append("a.jsonl", *(make_line(n, ids=n % 3 > 0) for n in numbers))
    world.step()
    return world


def content(folder: Path) -> Any:
    (file,) = folder.glob("*/*.parquet")
    return pq.ParquetFile(file).read()


def test_a_snapshot_says_of_each_call_what_the_view_says(world: World, tmp_path: Path) -> None:
    attributes = {"stream": True, "error_class": "Timeout", "cache_hit": True}
    about = {"team": 'a "team"', "key_alias": "名前", "session_id": "s", "end_user": "e"}
    lines: list[dict[str, Any]] = [
        {"litellm_call_id": "c", "id": "r", "attributes": attributes, "metadata": about},
        {"litellm_call_id": "c", "id": "r2", "attributes": {"stream": False}},
        {"litellm_call_id": "alone", "metadata": about},
        {"id": "alone", "metadata": {"team": "b"}},
        {},
        {"usage": {"input_tokens": 3, "odd": {"deep": 1}}, "cost_usd": 0.1, "attributes": about},
    ]
    for second, more in enumerate(lines):
        record = {"timestamp": f"2026-01-01T00:00:{second:02d}.5Z", "usage": {}, **more}
        world.append("a.jsonl", json.dumps(record).encode() + b"\n")
    world.step()
    world.compact(tmp_path)
    columns = [name for name in TRACES_COLUMNS if name not in ("event_date", "started_us")]
    told = world.query(f"SELECT {', '.join(columns)} FROM traces ORDER BY timestamp")
    rows = content(tmp_path).select(columns).to_pylist()
    assert told == [tuple(map(as_in_the_view, row.values())) for row in rows]
    ids = content(tmp_path).select(["call_id", "response_id"]).to_pylist()
    assert [tuple(pair.values()) for pair in ids] == [
        *(("c", "r"), ("c", "r2"), ("alone", None)),
        *((None, None), (None, None), (None, None)),
    ]


def as_in_the_view(value: Any) -> Any:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M:%S.%fZ}"
    return float(value) if isinstance(value, Decimal) else value


@pytest.mark.long
def test_helpers_read_what_we_would_read_ourselves(
    world_of_a_day: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world_of_a_day.compact(tmp_path / "ours")
    with world_of_a_day.store.db as db:
        db.execute("UPDATE partition SET version = version + 1")
    monkeypatch.setattr(compaction, "_FEW_ROWS", 100)
    monkeypatch.setattr(compaction, "_HELPERS", 2)
    ended: list[int | None] = []
    real = compaction._Worker.end

    def end(worker: Any) -> None:
        real(worker)
        ended.append(worker._child.poll())

    monkeypatch.setattr(compaction._Worker, "end", end)
    world_of_a_day.compact(tmp_path / "theirs")
    assert [-signal.SIGKILL] * 2 == ended, "there were two, and they ended with us"
    ours = content(tmp_path / "ours")
    assert ours.num_rows == 600
    assert ours.equals(content(tmp_path / "theirs"))
    times = ours["timestamp"].to_pylist()
    assert times == sorted(times)


def test_a_helper_that_dies_leaves_the_old_file_and_the_day_dirty(
    world_of_a_day: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world_of_a_day.compact(tmp_path)
    before = content(tmp_path)
    world_of_a_day.append("b.jsonl", b'{"timestamp": "2026-01-01T05:00:00Z", "usage": {}}\n')
    world_of_a_day.step()
    monkeypatch.setattr(compaction, "_FEW_ROWS", 100)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(OSError, match="worker of the compaction"):
        world_of_a_day.compact(tmp_path)
    monkeypatch.undo()
    assert before.equals(content(tmp_path))
    assert len(world_of_a_day.dirty_days()) == 1
    assert [path.name for path in tmp_path.glob("*/.*")] == []
    assert [written.rows for written in world_of_a_day.compact(tmp_path)] == [601]


def test_a_snapshot_says_what_it_is(world_of_a_day: World, tmp_path: Path) -> None:
    world_of_a_day.compact(tmp_path)
    (file,) = tmp_path.glob("*/*.parquet")
    told = {
        name.decode(): text.decode()
        for name, text in (pq.read_schema(file).metadata or {}).items()
        if name.startswith(b"prodlensd.")
    }
    writer = told.pop("prodlensd.writer")
    assert told == {
        "prodlensd.schema_version": "3",
        "prodlensd.watermark": str(world_of_a_day.query("SELECT version FROM partition")[0]),
        "prodlensd.rows": "600",
        "prodlensd.price_book": "none",
        "prodlensd.host": "laptop",
    }
    assert writer.startswith("prodlensd ")
    columns = pq.ParquetFile(file).metadata.row_group(0)
    by_name = {columns.column(n).path_in_schema: columns.column(n) for n in range(28)}
    assert {column.compression for column in by_name.values()} == {"ZSTD"}
    assert by_name["timestamp"].statistics.has_min_max
    assert by_name["model"].has_dictionary_page
    manifest = "SELECT state, rows, file_bytes, sha256 FROM snapshots"
    assert world_of_a_day.query(manifest) == [
        ("clean", 600, file.stat().st_size, snapshots.digest(file).hex())
    ]


def test_a_reader_of_all_days_holds_a_compaction_up_and_waits_for_one(tmp_path: Path) -> None:
    with shared_lock(tmp_path), shared_lock(tmp_path):  # readers do not hold up each other
        code = (
            "import sys, pathlib; from prodlensd.snapshots import exclusive_lock\n"
            "with exclusive_lock(pathlib.Path(sys.argv[1])): pass"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False
        )
        assert "LockedError" in done.stderr
    code = (
        "import sys, pathlib; from prodlensd.snapshots import shared_lock\n"
        "print('begins', flush=True)\n"
        "with shared_lock(pathlib.Path(sys.argv[1])): print('reads', flush=True)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        with exclusive_lock(tmp_path):
            assert reader.stdout.readline() == "begins\n"
            ready, _, _ = select.select([reader.stdout], [], [], 1)
            assert ready == [], "it read while a day might have been written"
        assert reader.stdout.readline() == "reads\n"
