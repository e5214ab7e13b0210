"""A ledger of an earlier version goes on as if it had always been of this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import pytest

from prodlensd.store import Reader, StoreError, connection, schema
from tests.scenario.conftest import World
from tests.scenario.proving import PROVEN, verdict

FIRST = 1


@pytest.fixture
def old_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_line: Any) -> World:
    """What the first version leaves: a schema of its own, and a day it had compacted."""
    folder = tmp_path / "old"
    folder.mkdir()
    ledger = folder / "prodlens.db"
    db = apsw.Connection(str(ledger))
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(schema.MIGRATIONS[0])
    db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}; PRAGMA user_version = {FIRST}")
    db.execute("INSERT INTO partition VALUES (20454, 3, 3, 1, 2, 4000)")
    db.close()
    with monkeypatch.context() as patch:
        patch.setattr(connection, "_migrate", lambda *_: None)
        patch.setattr("prodlensd.store.store.Store._not_pruned", lambda _self, rows: rows)
        world = World(folder)
        world.append("a.jsonl", make_line(1), make_line(2, ids=False), b"garbage\n")
        world.settle()
        world.stop()
    return world


@pytest.mark.scenario(80)
def test_a_ledger_of_the_first_version_is_brought_up_to_date(
    old_world: World, tmp_path: Path, make_line: Any
) -> None:
    assert old_world.query("PRAGMA user_version") == [FIRST]
    rows = old_world.query("SELECT * FROM traces")
    old_world._start()
    assert old_world.query("PRAGMA user_version") == [schema.SCHEMA_VERSION]
    assert rows == old_world.query("SELECT * FROM traces")
    assert old_world.dirty_days() == {20454}, "no manifest names its snapshot yet"
    old_world.append("a.jsonl", make_line(3))
    old_world.step()
    assert [written.rows for written in old_world.compact(tmp_path / "parquet")] == [3]
    assert old_world.prune(tmp_path / "parquet") == 3
    old_world.append("b.jsonl", make_line(1), make_line(4))
    old_world.settle()
    assert old_world.sessions() == ["s4"]
    old_world.stop()


@pytest.mark.scenario(80)
def test_who_only_reads_is_told_to_start_the_daemon_first(old_world: World) -> None:
    with (
        pytest.raises(StoreError, match="schema 1 is of an earlier prodlensd"),
        Reader(old_world.ledger),
    ):
        pass
    assert old_world.query("PRAGMA user_version") == [FIRST]


def test_both_ways_lead_to_the_same_schema(old_world: World, tmp_path: Path) -> None:
    old_world._start()
    old_world.stop()
    (tmp_path / "new").mkdir()
    new_world = World(tmp_path / "new")
    new_world.stop()
    asked = "SELECT type, name, sql FROM sqlite_schema ORDER BY 1, 2"
    assert new_world.query(asked) == old_world.query(asked)
    assert verdict(new_world) == PROVEN
