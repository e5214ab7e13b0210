"""Rotations as programs really do them, live and while the daemon was down."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from prodlensd.logs import source
from tests.scenario.proving import PROVEN, verdict

_KEPT = [".1", ".2", ".3", ".4", ".5"]


def names(first: int, last: int) -> list[str]:
    return [f"s{n}" for n in range(first, last + 1)]


@pytest.mark.scenario(2)
def test_files_found_at_the_first_start_are_read_from_their_head(
    world: Any, make_line: Any
) -> None:
    world.append("a.jsonl", *(make_line(n) for n in range(1, 1001)))
    world.restart()
    world.step()
    assert len(world.sessions()) == 1000


@pytest.mark.scenario(28)
def test_a_thousand_tiny_files_are_read_at_once(world: Any) -> None:
    for number in range(1000):
        world.append(f"{number}.jsonl", b'{"timestamp":%d,"usage":{}}\n' % (1_767_225_600 + number))
    world.step()
    assert world.counts() == (1000, 1000, 0, 0, 0)


@pytest.mark.scenario(9)
def test_a_writer_that_stays_on_a_renamed_file_is_followed(
    world: Any, make_line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ns = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now_ns)
    with (world.logs / "a.jsonl").open("ab", buffering=0) as writer:
        writer.write(make_line(1))
        world.step()
        (world.logs / "a.jsonl").rename(world.logs / "a.jsonl.1")
        for number in range(2, 9):
            now_ns += 10_000_000_000
            world.step()
            writer.write(make_line(number))
    world.step()
    assert not (world.logs / "a.jsonl").exists()
    assert world.sessions() == names(1, 8)
    assert world.counts() == (8, 8, 0, 0, 0)


@pytest.mark.scenario(10)
def test_three_rotations_between_two_looks_lose_nothing(world: Any, make_line: Any) -> None:
    world.append("a.jsonl", make_line(1))
    world.step()
    for rotation in range(3):
        for kept in (2, 1):
            if (world.logs / f"a.jsonl.{kept}").exists():
                (world.logs / f"a.jsonl.{kept}").rename(world.logs / f"a.jsonl.{kept + 1}")
        (world.logs / "a.jsonl").rename(world.logs / "a.jsonl.1")
        world.append("a.jsonl", make_line(rotation + 2))
    assert len(list(world.logs.iterdir())) == 4
    world.step()
    assert world.sessions() == names(1, 4)


@pytest.mark.sampled(2)
@pytest.mark.scenario(11)
@pytest.mark.parametrize(("rotations_a_look", "all_seen"), [(3, True), (8, False)])
def test_many_files_rotated_fast_lose_only_what_no_look_could_see(
    world: Any, make_line: Any, rotations_a_look: int, all_seen: bool
) -> None:
    seen: set[str] = set()
    for rotation in range(50):
        for number, name in enumerate("abcdefghijklmnopqrst"):
            paths = [world.logs / f"{name}.jsonl{suffix}" for suffix in ("", *_KEPT)]
            for newer, older in reversed(list(pairwise(paths))):
                if newer.exists():
                    newer.replace(older)
            world.append(f"{name}.jsonl", make_line(rotation * 20 + number))
        if rotation % rotations_a_look == 0:
            world.step()
            seen.update(sessions_in(world.logs))
    world.step()
    seen.update(sessions_in(world.logs))
    assert (len(seen) == 1000) is all_seen
    assert sorted(world.sessions()) == sorted(seen)
    assert world.query("SELECT count(*) FROM gaps") == [0]


def sessions_in(folder: Path) -> set[str]:
    content = b"".join(path.read_bytes() for path in folder.iterdir())
    return {found.decode() for found in re.findall(rb'"session_id": "(s\d+)"', content)}


@pytest.mark.scenario(13)
def test_a_file_renamed_while_the_daemon_is_down_is_read_on(world: Any, make_line: Any) -> None:
    path = world.logs / "a.jsonl"
    world.append("a.jsonl", make_line(1, ids=False), make_line(2))
    world.step()
    world.stop()
    world.append("a.jsonl", make_line(3, ids=False))
    inode = path.stat().st_ino
    path.rename(world.logs / "a.jsonl.1")
    world.append("a.jsonl", make_line(4, ids=False))
    assert (world.logs / "a.jsonl.1").stat().st_ino == inode != path.stat().st_ino
    world._start()
    world.step()
    assert world.sessions() == names(1, 4)
    assert world.counts() == (4, 4, 0, 0, 0)
    assert verdict(world) == PROVEN


@pytest.mark.scenario(14)
def test_lines_that_were_seen_and_rotated_away_before_they_were_read_are_a_gap(
    world: Any, make_line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "READ_BYTES", 1000)
    path = world.logs / "a.jsonl"
    world.append("a.jsonl", *(make_line(n) for n in range(1, 51)))
    size = path.stat().st_size
    world.daemon._survey()
    world.daemon._ingest_round()
    ((offset, read),) = world.query("SELECT offset, lines FROM sources")
    assert 0 < read < 50
    world.stop()
    for kept in range(1, 4):
        (world.logs / "a.jsonl").replace(world.logs / "a.jsonl.1")  # which throws the old one away
        world.append("a.jsonl", make_line(60 + kept))
    world._start()
    for _ in range(3):
        world.step()
    assert world.sessions() == [*names(1, read), "s62", "s63"]
    # Another file may have been given the inode at once, and so look like the one that was read.
    assert world.query("SELECT source_offset, known_bytes, state FROM gaps") == [
        (offset, size - offset, "open")
    ]
    assert verdict(world) == ("gaps", [])


def test_what_was_rotated_away_unread_while_the_daemon_was_down_is_a_gap(
    world: Any, make_line: Any
) -> None:
    world.append("a.jsonl", make_line(1), make_line(2)[:20])
    world.step()
    world.stop()
    (world.logs / "a.jsonl").unlink()
    world._start()
    for _ in range(3):
        world.step()
    assert world.query("SELECT reason, known_bytes, state FROM gaps") == [("vanished", 20, "open")]


@pytest.mark.scenario(15)
def test_moved_away_truncated_and_moved_back(world: Any, make_line: Any) -> None:
    world.append("a.jsonl", make_line(1))
    world.step()
    (world.logs / "a.jsonl").rename(world.logs / "b.jsonl")
    os.truncate(world.logs / "b.jsonl", 0)
    (world.logs / "b.jsonl").rename(world.logs / "a.jsonl")
    assert (world.logs / "a.jsonl").stat().st_size == 0
    world.append("a.jsonl", make_line(2))
    world.step()
    assert world.sessions() == names(1, 2)


@pytest.mark.scenario(17)
def test_lines_written_between_copy_and_truncate_are_lost_and_never_doubled(
    world: Any, make_line: Any
) -> None:
    world.append("a.jsonl", make_line(1))
    world.step()
    shutil.copy(world.logs / "a.jsonl", world.logs / "a.jsonl.1")
    world.append("a.jsonl", make_line(2))
    os.truncate(world.logs / "a.jsonl", 0)
    world.append("a.jsonl", make_line(3))
    world.step()
    assert world.sessions() == ["s1", "s3"]
    assert world.counts() == (3, 2, 1, 0, 0)


@pytest.mark.scenario(18)
def test_a_copy_seen_half_done_adds_nothing_and_tears_nothing(world: Any, make_line: Any) -> None:
    whole = b"".join(make_line(n, ids=n % 2 == 0) for n in range(1, 11))
    world.append("a.jsonl", whole)
    world.step()
    for at in range(0, len(whole), 300):
        world.append("a.jsonl.1", whole[at : at + 300])
        world.step()
    assert world.sessions() == names(1, 10)
    assert world.query("SELECT count(*) FROM dead_letters") == [0]


@pytest.mark.long
@pytest.mark.scenario(22)
def test_fifty_one_truncations(world: Any, make_line: Any) -> None:
    path = world.logs / "a.jsonl"
    path.touch()
    inode = path.stat().st_ino
    for number in range(51):
        os.truncate(path, 0)
        world.append("a.jsonl", make_line(number, ids=number % 2 == 0))
        world.step()
    assert path.stat().st_ino == inode
    assert world.sessions() == names(0, 50)


@pytest.mark.scenario(23, 24)
@pytest.mark.parametrize("running", [True, False])
def test_truncated_and_grown_past_the_old_place(world: Any, make_line: Any, running: bool) -> None:
    world.append("a.jsonl", make_line(1), make_line(2))
    world.step()
    size = (world.logs / "a.jsonl").stat().st_size
    if not running:
        world.stop()
    os.truncate(world.logs / "a.jsonl", 0)
    world.append("a.jsonl", *(make_line(n) for n in range(3, 9)))
    assert (world.logs / "a.jsonl").stat().st_size > size
    if not running:
        world._start()
    world.step()
    assert world.sessions() == names(1, 8)


@pytest.mark.scenario(27)
def test_files_that_begin_alike_are_told_apart(world: Any, make_line: Any) -> None:
    header = make_line(0, pad="h" * 8192)
    for number, name in enumerate("abc", start=1):
        world.append(f"{name}.jsonl", header, make_line(number))
    world.step()
    for name in "abc":
        (world.logs / f"{name}.jsonl").rename(world.logs / f"{name}.jsonl.1")
    world.append("a.jsonl", header, make_line(4))
    world.step()
    assert world.sessions() == names(0, 4)


@pytest.mark.scenario(30, 31)
@pytest.mark.parametrize("running", [True, False])
def test_an_inode_given_to_another_file_is_not_taken_for_the_old_one(
    world: Any, make_line: Any, running: bool
) -> None:
    world.append("a.jsonl", make_line(1))
    world.step()
    inode = (world.logs / "a.jsonl").stat().st_ino
    world.tailer.close() if running else world.stop()
    (world.logs / "a.jsonl").unlink()
    for attempt in range(200):
        path = world.logs / f"new{attempt}.jsonl"
        path.touch()
        if path.stat().st_ino == inode:
            break
    else:
        pytest.skip("this file system does not give an inode again")
    for other in world.logs.glob("new*.jsonl"):
        if other != path:
            other.unlink()
    path.write_bytes(make_line(2) + make_line(3))
    if not running:
        world._start()
    world.step()
    assert world.sessions() == names(1, 3)


@pytest.mark.long
@pytest.mark.scenario(35)
def test_deleted_and_made_again_a_hundred_times(world: Any, make_line: Any) -> None:
    for number in range(100):
        world.append("a.jsonl", make_line(number, ids=number % 2 == 0))
        world.step()
        (world.logs / "a.jsonl").unlink()
    assert len(world.sessions()) == 100
    assert len(set(world.sessions())) == 100


@pytest.mark.scenario(36)
def test_a_file_that_came_and_went_unseen_is_missing_and_does_no_harm(
    world: Any, make_line: Any
) -> None:
    world.append("a.jsonl", make_line(1))
    world.append("b.jsonl", make_line(2))
    (world.logs / "b.jsonl").unlink()
    world.step()
    assert world.sessions() == ["s1"]
    assert len(world.query("SELECT path FROM sources")) == 1


@pytest.mark.scenario(46)
def test_a_log_shortened_to_the_middle_of_a_line_goes_on_after_it(
    world: Any, make_line: Any
) -> None:
    world.append("a.jsonl", *(make_line(n) for n in (1, 2, 3)))
    world.step()
    os.truncate(world.logs / "a.jsonl", len(make_line(1)) + 40)
    world.append("a.jsonl", b"\n", make_line(4))
    world.step()
    assert world.sessions() == names(1, 4)
    assert world.query("SELECT reason FROM dead_letters") == ["invalid_json"]


@pytest.mark.scenario(88)
def test_two_files_alike_without_ids_are_taken_for_a_copy_and_shown_as_duplicates(
    world: Any, make_line: Any
) -> None:
    world.append("a.jsonl", make_line(1, ids=False))
    world.append("b.jsonl", make_line(1, ids=False))
    world.step()
    assert world.counts() == (2, 1, 1, 0, 0)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_gap_is_resolved_when_its_bytes_turn_up_in_a_copy(
    world: Any, make_line: Any, compressed: bool
) -> None:
    world.append("a.jsonl", make_line(1))
    world.step()
    world.append("a.jsonl", make_line(2)[:50])
    world.step()
    whole = (world.logs / "a.jsonl").read_bytes() + make_line(2)[50:]
    os.truncate(world.logs / "a.jsonl", 0)
    world.append("a.jsonl", make_line(3))
    world.step()
    assert world.query("SELECT known_bytes, state FROM gaps") == [(50, "open")]
    name = "a.jsonl.1.gz" if compressed else "a.jsonl.1"
    world.append(name, gzip.compress(whole) if compressed else whole)
    world.step()
    assert world.query("SELECT known_bytes, state FROM gaps") == [(50, "resolved")]
    assert world.sessions() == names(1, 3)
