"""Reading the same bytes again, for whatever reason, adds nothing; a changed file loses nothing.

Half of the lines here carry no ids, so that the chain digest is put to the test as well.
"""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.scenario.proving import PROVEN, verdict

_LONG_AGO_S = 1_700_000_000


def lines(make_line: Any, first: int, last: int) -> list[bytes]:
    return [make_line(n, ids=n % 2 == 0) for n in range(first, last + 1)]


def names(first: int, last: int) -> list[str]:
    return [f"s{n}" for n in range(first, last + 1)]


@pytest.mark.scenario(3)
def test_a_restart_reads_on_where_it_was(world: Any, make_line: Any) -> None:
    world.append("a.jsonl", *lines(make_line, 1, 10))
    world.step()
    world.stop()
    world.append("a.jsonl", *lines(make_line, 11, 20))
    world._start()
    world.step()
    assert world.sessions() == names(1, 20)
    assert world.counts() == (20, 20, 0, 0, 0)


@pytest.mark.scenario(89)
def test_a_lost_checkpoint_costs_reading_again_and_nothing_else(world: Any, make_line: Any) -> None:
    world.append("a.jsonl", *lines(make_line, 1, 10), b"garbage\n", *lines(make_line, 11, 12))
    world.step()
    with world.store.db as db:
        db.execute("UPDATE source SET state = 'gone'")
    world.restart()
    world.step()
    assert world.sessions() == names(1, 12)
    assert world.query("SELECT count(*) FROM dead_letters") == [1]
    assert world.counts() == (26, 12, 13, 1, 0)


@pytest.mark.scenario(8)
def test_a_renamed_file_stays_the_same_source(world: Any, make_line: Any) -> None:
    world.append("a.jsonl", *lines(make_line, 1, 5))
    world.step()
    with (world.logs / "a.jsonl").open("ab", buffering=0) as writer:
        (world.logs / "a.jsonl").rename(world.logs / "a.jsonl.1")
        writer.write(b"".join(lines(make_line, 6, 10)))
    world.append("a.jsonl", *lines(make_line, 11, 12))
    world.step()
    assert world.sessions() == names(1, 12)
    assert world.counts() == (12, 12, 0, 0, 0)
    assert sorted(Path(path).name for path in world.query("SELECT path FROM sources")) == [
        "a.jsonl",
        "a.jsonl.1",
    ]


@pytest.mark.parametrize("running", [True, False])
def test_copytruncate_counts_every_line_once(world: Any, make_line: Any, running: bool) -> None:
    world.append("a.jsonl", *lines(make_line, 1, 5))
    world.step()
    if not running:
        world.stop()
    shutil.copy(world.logs / "a.jsonl", world.logs / "a.jsonl.1")
    os.truncate(world.logs / "a.jsonl", 0)
    world.append("a.jsonl", *lines(make_line, 6, 7))
    if not running:
        world._start()
    world.step()
    assert world.sessions() == names(1, 7)
    assert world.counts() == (12, 7, 5, 0, 0)


def test_a_file_rewritten_longer_than_before_is_read_from_its_start(
    world: Any, make_line: Any
) -> None:
    world.append("a.jsonl", *lines(make_line, 1, 2))
    world.step()
    inode = (world.logs / "a.jsonl").stat().st_ino
    os.truncate(world.logs / "a.jsonl", 0)
    world.append("a.jsonl", *lines(make_line, 3, 9))
    world.step()
    assert (world.logs / "a.jsonl").stat().st_ino == inode
    assert world.sessions() == names(1, 9)
    assert world.query("SELECT state, lines FROM sources ORDER BY source_id") == [
        ("replaced", 2),
        ("live", 7),
    ]


@pytest.mark.scenario(25)
def test_a_file_rewritten_to_the_same_size_is_noticed(world: Any, make_line: Any) -> None:
    path = world.logs / "a.jsonl"
    world.append("a.jsonl", make_line(1), make_line(2))
    os.utime(path, (_LONG_AGO_S, _LONG_AGO_S))  # or it would be looked at again in any case
    world.step()
    before = path.stat()
    path.write_bytes(make_line(3) + make_line(4))
    os.utime(path, (_LONG_AGO_S, _LONG_AGO_S))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    world.step()
    assert world.sessions() == names(1, 4)


@pytest.mark.scenario(26)
def test_equal_tails_do_not_deceive_the_check(world: Any, make_line: Any) -> None:
    path = world.logs / "a.jsonl"

    def padded(number: int) -> bytes:
        line: bytes = make_line(number, ids=False, z="x" * 4096)
        return line

    path.write_bytes(padded(1) + padded(2))
    world.step()
    size, tail = path.stat().st_size, path.read_bytes()[-4096:]
    path.write_bytes(padded(3) + padded(4) + padded(5))
    assert path.read_bytes()[size - 4096 : size] == tail
    world.step()
    assert world.sessions() == names(1, 5)


@pytest.mark.scenario(44)
def test_an_editors_save_under_a_new_inode_adds_the_new_line_only(
    world: Any, make_line: Any
) -> None:
    world.append("a.jsonl", *lines(make_line, 1, 4))
    world.step()
    inode = (world.logs / "a.jsonl").stat().st_ino
    (world.logs / "new").write_bytes(b"".join(lines(make_line, 1, 5)))
    (world.logs / "new").replace(world.logs / "a.jsonl")
    assert (world.logs / "a.jsonl").stat().st_ino != inode
    world.step()
    assert world.sessions() == names(1, 5)


@pytest.mark.scenario(45)
def test_an_older_backup_put_back_is_not_counted_again(world: Any, make_line: Any) -> None:
    world.append("a.jsonl", *lines(make_line, 1, 6))
    world.step()
    (world.logs / "a.jsonl").write_bytes(b"".join(lines(make_line, 1, 3)))
    world.step()
    world.append("a.jsonl", *lines(make_line, 7, 8))
    world.step()
    assert world.sessions() == names(1, 8)


def test_bytes_destroyed_before_they_were_read_are_a_gap(world: Any, make_line: Any) -> None:
    world.append("a.jsonl", make_line(1), make_line(2)[:50])
    world.step()
    os.truncate(world.logs / "a.jsonl", 0)
    world.append("a.jsonl", make_line(3))
    world.step()
    assert world.sessions() == ["s1", "s3"]
    assert world.query("SELECT reason, known_bytes, state FROM gaps") == [("rewritten", 50, "open")]


def test_a_deleted_file_is_a_source_that_is_gone(world: Any, make_line: Any) -> None:
    world.append("a.jsonl", make_line(1))
    world.step()
    (world.logs / "a.jsonl").unlink()
    world.step()
    world.step()
    assert world.query("SELECT state FROM sources") == ["gone"]
    assert world.query("SELECT count(*) FROM gaps") == [0]


@pytest.mark.scenario(47)
def test_a_hard_link_is_the_same_file(world: Any, make_line: Any) -> None:
    world.append("a.jsonl", make_line(1, ids=False))
    os.link(world.logs / "a.jsonl", world.logs / "b.jsonl")
    world.step()
    assert world.counts() == (1, 1, 0, 0, 0)


@pytest.mark.scenario(49)
def test_only_regular_files_of_the_right_name_are_read(
    world: Any, make_line: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret.jsonl"
    secret.write_bytes(make_line(1))
    (world.logs / "link.jsonl").symlink_to(secret)
    (world.logs / "loop.jsonl").symlink_to(world.logs / "loop.jsonl")
    (world.logs / "nowhere.jsonl").symlink_to(world.logs / "nothing")
    os.mkfifo(world.logs / "fifo.jsonl")
    monkeypatch.chdir(world.logs)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.jsonl")
    (world.logs / "folder.jsonl").mkdir()
    (world.logs / "notes.txt").write_bytes(make_line(2))
    world.append("a.jsonl", make_line(3))
    world.step()
    assert len(list(world.logs.iterdir())) == 8
    assert world.sessions() == ["s3"]
    assert len(world.query("SELECT path FROM sources")) == 1
    assert world.faults() == set()


@pytest.mark.scenario(62)
def test_a_folder_removed_and_made_again_is_followed(world: Any, make_line: Any) -> None:
    world.append("a.jsonl", make_line(1))
    world.step()
    shutil.rmtree(world.logs)
    world.step()
    world.logs.mkdir()
    world.append("a.jsonl", make_line(2))
    world.step()
    assert world.sessions() == ["s1", "s2"]


@pytest.mark.scenario(58)
def test_a_huge_file_does_not_starve_a_small_one(world: Any, make_line: Any) -> None:
    world.append("a.jsonl", *(make_line(n, pad="x" * 1000) for n in range(1000, 3000)), b"")
    world.append("a.jsonl", *(make_line(n, pad="x" * 4000) for n in range(1)))
    huge = b"".join(make_line(n, pad="x" * 2000) for n in range(3000)) * 2
    world.append("b.jsonl", huge)
    world.append("c.jsonl", make_line(3599))
    world.daemon._survey()
    world.daemon._ingest_round()
    lag = dict(world.query("SELECT path, lag_bytes FROM sources"))
    assert lag[str(world.logs / "c.jsonl")] == 0
    assert lag[str(world.logs / "b.jsonl")] > 0


def test_a_name_that_is_no_text_is_said_and_keeps_nothing_else_from_being_read(
    world: Any, make_line: Any
) -> None:
    Path(os.fsdecode(os.fsencode(world.logs) + b"/\xff.jsonl")).write_bytes(make_line(1))
    world.append("a.jsonl", make_line(2))
    world.step()
    assert world.sessions() == ["s2"]
    assert any("not UTF-8" in fault for fault in world.faults())


@pytest.mark.scenario(43)
@pytest.mark.parametrize("removed", ["a.jsonl", "a-backup.jsonl"])
def test_a_copy_under_another_name_adds_nothing_whichever_is_removed(
    world: Any, make_line: Any, removed: str
) -> None:
    world.append("a.jsonl", *lines(make_line, 1, 6))
    world.step()
    shutil.copy(world.logs / "a.jsonl", world.logs / "a-backup.jsonl")
    world.step()
    assert world.counts() == (12, 6, 6, 0, 0)
    (world.logs / removed).unlink()
    for _ in range(3):
        world.step()
    (left,) = world.logs.iterdir()
    world.append(left.name, *lines(make_line, 7, 8))
    world.step()
    assert left.name != removed
    assert world.sessions() == names(1, 8)
    assert world.query("SELECT count(*) FROM gaps") == [0]
    assert verdict(world) == PROVEN


@pytest.mark.scenario(48)
def test_a_link_to_the_newest_log_counts_nothing_twice(world: Any, make_line: Any) -> None:
    link = world.logs / "current.jsonl"
    for number in (1, 2):
        target = world.logs / f"{number}.jsonl"
        target.touch()
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        world.append("current.jsonl", *lines(make_line, 10 * number, 10 * number + 4))
        world.step()
        assert link.resolve() == target
        assert target.stat().st_size > 0
    assert world.sessions() == [*names(10, 14), *names(20, 24)]
    assert world.counts() == (10, 10, 0, 0, 0)
    assert verdict(world) == PROVEN


@pytest.mark.scenario(67)
def test_lines_written_while_the_watcher_is_dead_are_read_by_looking(
    world: Any, make_line: Any
) -> None:
    with world.daemon._bell as bell:
        world.append("a.jsonl", make_line(1))
        assert bell.wait(100)
        world.step()
        bell._observer.stop()
        bell._observer.join()
        while bell.wait(0.1):
            pass
        world.append("a.jsonl", make_line(2))
        assert not bell.wait(0.2)
        world.step()
        assert bell.state == "degraded: watchdog has stopped"
        assert world.sessions() == ["s1", "s2"]
