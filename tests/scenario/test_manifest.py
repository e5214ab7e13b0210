"""The manifest is not believed: snapshots are looked for where they should be, and written again.

What is to be seen after each story: every call once in the folder of the snapshots, by DuckDB,
which knows nothing of us; and every call once in the ledger and the snapshots as one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from prodlensd import durable
from prodlensd.jobs.compaction import SnapshotLostError
from prodlensd.ledger import Partitions
from tests.scenario.conftest import World
from tests.scenario.deaths import DiedError, deadly
from tests.scenario.proving import proof

DAYS = (1, 2, 3)
NEW_YEAR = 20454  # days since 1970
_SNAPSHOTS = "read_parquet('{}/*/*.parquet', hive_partitioning = true)"


def call(number: int, *, day: int) -> bytes:
    record = {
        "timestamp": f"2026-01-{day:02d}T00:{number // 60:02d}:{number % 60:02d}Z",
        "usage": {"input_tokens": 10, "output_tokens": number},
        "metadata": {"session_id": f"s{day}-{number}"},
    }
    return json.dumps(record).encode() + b"\n"


class Days:
    """Three days of ten calls in a ledger, compacted into `folder`; and what was written so far."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.folder = folder
        self.sessions: set[str] = set()
        for day in DAYS:
            self.write(day, *range(10))
        self.compact()

    def write(self, day: int, *numbers: int) -> None:
        self.world.append("a.jsonl", *(call(number, day=day) for number in numbers))
        self.world.settle()
        self.sessions |= {f"s{day}-{number}" for number in numbers}

    def compact(self) -> list[int]:
        """How many rows each file has that was written."""
        return [written.rows for written in self.world.compact(self.folder)]

    def file(self, day: int, folder: Path | None = None) -> Path:
        return (folder or self.folder) / f"event_date=2026-01-{day:02d}" / "laptop.parquet"

    def contents(self, folder: Path | None = None) -> dict[str, bytes]:
        root = folder or self.folder
        return {str(path.relative_to(root)): path.read_bytes() for path in root.glob("*/*")}

    def prune(self, until_day: int) -> None:
        self.world.prune(self.folder, NEW_YEAR + until_day)

    def prune_some(self, day: int) -> None:
        partitions = Partitions(self.world.store)
        proven = partitions.get(NEW_YEAR + day - 1).sha256
        assert proven is not None
        assert partitions.prune(NEW_YEAR + day - 1, proven, 4) == 4

    def in_duckdb(self) -> Counter[str]:
        table = _SNAPSHOTS.format(self.folder)
        with duckdb.connect() as db:
            return Counter(
                row[0] for row in db.execute(f"SELECT session_id FROM {table}").fetchall()
            )

    def rows(self, day: int) -> int:
        with duckdb.connect() as db:
            (found,) = db.execute(f"SELECT count(*) FROM '{self.file(day)}'").fetchall()
        return int(found[0])

    def has_work(self) -> bool:
        return Partitions(self.world.store).has_work(self.folder, None)

    def check(self) -> None:
        """Every call is there once for everybody, and there is nothing left to do."""
        once = dict.fromkeys(self.sessions, 1)
        assert once == self.in_duckdb()
        assert (self.compact(), self.has_work()) == ([], False)
        kept = self.world.query("SELECT source_id, source_offset, session_id FROM trace")
        sql = f"SELECT source_id, source_offset, session_id FROM {_SNAPSHOTS.format(self.folder)}"
        with duckdb.connect() as db:
            archived = db.execute(sql).fetchall()
        pruned = set(self.world.query("SELECT source_id, source_offset FROM pruned"))
        found = [*kept, *(row for row in archived if row[:2] in pruned)]
        assert once == Counter(session for *_, session in found)
        self.prove()

    def prove(self) -> None:
        found = proof(self.world, self.folder)
        assert ("complete", ()) == (found.state, found.differences)


@pytest.fixture
def days(world: World, tmp_path: Path) -> Days:
    return Days(world, tmp_path / "parquet")


def delete_folder(days: Days) -> None:
    shutil.rmtree(days.folder)


def delete_a_file(days: Days) -> None:
    days.file(2).unlink()


def cut_a_file(days: Days) -> None:
    os.truncate(days.file(2), 100)


DAMAGES = [(delete_folder, 3), (delete_a_file, 1), (cut_a_file, 1)]


# What can be written again ------------------------------------------------------------------------


@pytest.mark.sampled(2)
@pytest.mark.scenario(101)
@pytest.mark.parametrize(("damage", "files"), DAMAGES)
def test_what_is_missing_is_written_again(
    days: Days, damage: Callable[[Days], None], files: int
) -> None:
    assert not days.has_work()
    before = days.contents()
    damage(days)
    assert days.has_work()
    assert days.compact() == [10] * files
    assert before == days.contents(), "the very same files: nothing is to be published again"
    days.check()
    days.write(2, 10)
    assert days.compact() == [11]
    days.check()


@pytest.mark.scenario(101)
@pytest.mark.parametrize(("damage", "files"), DAMAGES)
def test_a_late_line_is_not_all_that_is_written_after_a_loss(
    days: Days, damage: Callable[[Days], None], files: int
) -> None:
    damage(days)
    days.write(2, 10, 11)
    assert sorted(days.compact()) == [10] * (files - 1) + [12]
    days.check()


@pytest.mark.sampled(2)
@pytest.mark.scenario(101)
@pytest.mark.parametrize("damage", [delete_folder, delete_a_file, cut_a_file])
def test_what_cannot_be_written_again_is_named_and_the_rest_is_written(
    days: Days, damage: Callable[[Days], None]
) -> None:
    content = days.file(2).read_bytes()
    days.prune_some(2)
    damage(days)
    days.write(3, 10)
    for _ in range(2):  # as long as it lasts
        assert days.has_work()
        with pytest.raises(SnapshotLostError, match="4 pruned calls are in no other place") as lost:
            days.compact()
        assert str(days.file(2)) in str(lost.value)
    assert {day: 10 + (day == 3) for day in (1, 3)} == {day: days.rows(day) for day in (1, 3)}
    assert proof(days.world, days.folder).state == "broken"
    days.file(2).parent.mkdir(exist_ok=True)
    days.file(2).write_bytes(content)
    assert days.compact() == [10]
    days.check()


def test_who_looks_loads_no_parquet_and_opens_no_file(days: Days) -> None:
    for day in DAYS:
        days.file(day).chmod(0)
    code = (
        "import pathlib, sys\n"
        "import prodlensd.cli.run\n"
        "from prodlensd.ledger import Partitions, Ledger\n"
        "with Ledger(pathlib.Path(sys.argv[1])) as store:\n"
        "    print(Partitions(store).has_work(pathlib.Path(sys.argv[2]), None))\n"
        "    print('pyarrow' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code, str(days.world.ledger), str(days.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "False\nFalse\n"


def test_a_folder_that_cannot_be_looked_at_is_work_for_who_says_why(
    days: Days, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = Path.stat

    def refuse(path: Path, **how: Any) -> Any:
        if days.folder in (path, *path.parents):
            raise PermissionError(13, "Permission denied")
        return look(path, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", refuse)
        assert days.has_work()
        with pytest.raises(PermissionError):
            days.compact()
    days.check()


# Another folder -----------------------------------------------------------------------------------

PRUNED: dict[str, Callable[[Days], None]] = {
    "nothing": lambda _days: None,
    "a day": lambda days: days.prune(1),
    "some rows of a day": lambda days: days.prune_some(2),
    "everything": lambda days: days.prune(3),
}


@pytest.mark.sampled(10)
@pytest.mark.scenario(102)
@pytest.mark.parametrize("late", ["before", "after", "never"])
@pytest.mark.parametrize("pruned", PRUNED)
def test_another_folder_gets_every_day_and_the_old_one_is_left_as_it_was(
    days: Days, tmp_path: Path, pruned: str, late: str
) -> None:
    PRUNED[pruned](days)
    old, before = days.folder, days.contents()
    if late == "before":
        days.write(2, 10)
    days.folder = tmp_path / "another"
    days.prove()
    assert days.has_work()
    assert days.compact() == [10, 11 if late == "before" else 10, 10]
    days.check()
    if late == "after":
        days.write(2, 10)
        assert days.compact() == [11]
        days.check()
    assert before == days.contents(old)
    shutil.rmtree(old)
    days.check()


def test_a_folder_that_is_configured_again_gets_what_has_come_meanwhile(
    days: Days, tmp_path: Path
) -> None:
    days.prune(2)
    old = days.folder
    days.folder = tmp_path / "another"
    days.compact()
    days.write(1, 10)
    days.compact()
    days.folder = old
    assert days.compact() == [11, 10, 10]
    days.check()


@pytest.mark.scenario(102)
@pytest.mark.parametrize("put_back", ["where it was", "where it belongs now"])
def test_without_the_old_folder_what_is_lost_is_named_until_it_is_put_back(
    days: Days, tmp_path: Path, put_back: str
) -> None:
    days.prune(1)
    kept = tmp_path / "kept"
    shutil.move(days.folder, kept)
    old, days.folder = days.folder, tmp_path / "another"
    days.write(2, 10)
    with pytest.raises(SnapshotLostError, match="is gone, and 10 pruned calls") as lost:
        days.compact()
    assert str(days.file(1, old)) in str(lost.value)
    assert dict.fromkeys(days.sessions - {f"s1-{n}" for n in range(10)}, 1) == days.in_duckdb()
    target = days.file(1, old if put_back == "where it was" else days.folder)
    target.parent.mkdir(parents=True)
    shutil.copy(days.file(1, kept), target)
    assert days.compact() == [10]
    days.check()


def test_a_folder_that_was_moved_by_hand_is_taken_as_it_is(days: Days, tmp_path: Path) -> None:
    days.prune(2)
    shutil.move(days.folder, tmp_path / "another")
    days.folder = tmp_path / "another"
    before = days.contents()
    days.compact()
    days.check()
    assert before == days.contents()


def test_an_old_file_that_is_damaged_or_unreadable_is_not_copied(
    days: Days, tmp_path: Path
) -> None:
    days.prune(2)
    days.file(1).write_bytes(days.file(2).read_bytes())
    days.file(2).unlink()
    days.file(2).mkdir()
    days.folder = tmp_path / "another"
    with pytest.raises(SnapshotLostError) as lost:
        days.compact()
    assert "was changed, and 10" in str(lost.value)
    assert "cannot be read (Is a directory), and 10" in str(lost.value)
    assert dict.fromkeys((f"s3-{n}" for n in range(10)), 1) == days.in_duckdb()


@pytest.mark.parametrize("pruned", ["nothing", "a day"])
def test_what_stands_in_the_new_folder_and_holds_more_is_not_written_over(
    days: Days, tmp_path: Path, pruned: str
) -> None:
    PRUNED[pruned](days)
    old, days.folder = days.folder, tmp_path / "another"
    days.write(1, 10)
    days.compact()
    stranger = days.file(1).read_bytes()
    days.folder = tmp_path / "third"
    days.compact()
    days.file(1, old).write_bytes(stranger + b"more of it")
    days.folder = old
    days.compact()
    days.check()  # as many calls: nothing of it is lost
    days.folder = tmp_path / "fourth"
    days.file(1).parent.mkdir(parents=True)
    with duckdb.connect() as db:
        db.execute(f"COPY (SELECT * FROM range(12)) TO '{days.file(1)}' (FORMAT parquet)")
    content = days.file(1).read_bytes()
    with pytest.raises(SnapshotLostError, match="holds more calls than this ledger"):
        days.compact()
    assert content == days.file(1).read_bytes()


def test_a_ledger_whose_manifest_notes_no_folder_means_the_one_there_was(
    days: Days, tmp_path: Path
) -> None:
    days.prune(1)
    with days.world.store.db as db:
        db.execute("UPDATE partition SET directory = NULL")
    days.prove()
    assert days.has_work(), "to note it, before there is another"
    assert days.compact() == []
    days.check()
    days.folder = tmp_path / "another"
    assert days.compact() == [10, 10, 10]
    days.check()


# Death on the way ---------------------------------------------------------------------------------


SEAMS: list[tuple[Any, str]] = [
    (Partitions, "note_directory"),
    (Partitions, "mark_unwritten"),
    (Partitions, "announce"),
    (Path, "replace"),
    (durable, "_sync_folder"),
    (Partitions, "mark_clean"),
]


@pytest.mark.sampled(15)
@pytest.mark.scenario(103)
@pytest.mark.parametrize("then", ["goes on", "goes back", "goes elsewhere"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("owner", "name"), SEAMS)
def test_a_death_while_the_snapshots_move_loses_nothing(
    days: Days,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    when: str,
    then: str,
) -> None:
    days.prune(1)
    days.prune_some(2)
    days.write(1, 10)
    old, days.folder = days.folder, tmp_path / "another"
    real = getattr(owner, name)
    deaths = 0
    for nth in (1, 2, 3):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, deadly(real, nth, when))
            try:
                days.compact()
            except DiedError:
                deaths += 1
        days.prove()
        days.write(3, 20 + nth)
    assert deaths > 0
    days.folder = {"goes on": days.folder, "goes back": old}.get(then, tmp_path / "third")
    days.compact()
    days.check()
