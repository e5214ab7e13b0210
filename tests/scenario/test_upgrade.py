"""A ledger of an earlier version goes on as if it had always been of this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from prodlensd.ledger import Ledger, LedgerError, Reader, schema
from tests.scenario.conftest import World
from tests.scenario.earlier import OLD, begin, write_as
from tests.scenario.proving import PROVEN, verdict

#: What has not the same in common as other lines: a model, an anomaly, a reason for no price.
ODD: Final = {"usage": {"input_tokens": -1}, "attributes": {"llm.model_name": "openai/gpt-4o"}}


@pytest.fixture(params=range(1, schema.SCHEMA_VERSION))
def old_world(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_line: Any,
) -> World:
    """What an earlier version leaves: a schema of its own, and a day it had compacted."""
    folder = tmp_path / "old"
    folder.mkdir()
    with begin(folder / "prodlens.db", request.param) as db:
        columns = "day, version, compacted_version, compacted_us, rows, file_bytes"
        db.execute(f"INSERT INTO partition ({columns}) VALUES (20454, 3, 3, 1, 2, 4000)")
    db.close()
    with monkeypatch.context() as patch:
        write_as(request.param, patch)
        world = World(folder)
        lines = make_line(1), make_line(2, ids=False), make_line(9, **ODD), b"garbage\n"
        world.append("a.jsonl", *lines)
        world.settle()
        world.stop()
    return world


def version_of(world: World) -> int:
    return int(world.query("PRAGMA user_version")[0])


@pytest.mark.scenario(80)
def test_a_ledger_of_an_earlier_version_is_brought_up_to_date(
    old_world: World, tmp_path: Path, make_line: Any
) -> None:
    assert version_of(old_world) < schema.SCHEMA_VERSION
    rows = old_world.query(f"SELECT {OLD} FROM trace")
    totals = old_world.query("SELECT cost_nanousd + 0, tokens_in + 0 FROM total")
    old_world._start()
    assert version_of(old_world) == schema.SCHEMA_VERSION
    assert rows == old_world.query(f"SELECT {OLD} FROM trace")
    assert totals == old_world.query("SELECT cost_nanousd + 0, tokens_in + 0 FROM total")
    assert old_world.query("SELECT reason, state FROM dead_letters") == [("invalid_json", "open")]
    assert old_world.query("SELECT timestamp FROM traces LIMIT 1") == [
        "2026-01-01T00:00:01.000000Z"
    ]
    assert old_world.dirty_days() == {20454}, "its rows are not those of the snapshot"
    old_world.append("a.jsonl", make_line(3))
    old_world.step()
    assert [written.rows for written in old_world.compact(tmp_path / "parquet")] == [4]
    assert old_world.prune(tmp_path / "parquet") == 4
    old_world.append("b.jsonl", make_line(1), make_line(4))
    old_world.settle()
    assert old_world.sessions() == ["s4"]
    old_world.stop()


@pytest.mark.scenario(80)
def test_who_only_reads_is_told_to_start_the_daemon_first(old_world: World) -> None:
    with (
        pytest.raises(LedgerError, match=r"schema \d is of an earlier prodlensd"),
        Reader(old_world.ledger),
    ):
        pass
    assert version_of(old_world) < schema.SCHEMA_VERSION


def test_both_ways_lead_to_the_same_schema(old_world: World, tmp_path: Path) -> None:
    old_world._start()
    old_world.stop()
    (tmp_path / "new").mkdir()
    new_world = World(tmp_path / "new")
    new_world.stop()
    asked = "SELECT type, name, sql FROM sqlite_schema ORDER BY 1, 2"
    assert new_world.query(asked) == old_world.query(asked)
    assert verdict(new_world) == PROVEN


def test_new_calls_find_what_those_of_the_earlier_version_have_in_common(
    old_world: World, make_line: Any
) -> None:
    old_world._start()
    kept = old_world.query("SELECT common_id FROM common")
    old_world.append("a.jsonl", make_line(4), make_line(10, **ODD))
    old_world.settle()
    assert old_world.query("SELECT common_id FROM common") == kept


def test_who_waits_is_told_while_a_large_ledger_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "prodlens.db"
    with begin(path, schema.SCHEMA_VERSION - 1) as db:
        columns = "started_us, key, status, cache_hit, cost_source, source_id, source_offset"
        rows = ((n, f"c{n} r{n}") for n in range(1000))
        db.executemany(
            f"INSERT INTO trace ({columns}) VALUES (?, ?, 'success', 0, 'unpriced', 1, 0)", rows
        )
    db.close()
    told: list[None] = []
    with Ledger(path, migrating=lambda: told.append(None)) as ledger:
        assert ledger.value("SELECT count(*) FROM traces") == 1000
    assert len(told) > 10
    told.clear()
    with Ledger(path, migrating=lambda: told.append(None)):
        assert not told
