"""Rotations as programs really do them, live and while the daemon was down."""

from __future__ import annotations

import gzip
import os
import shutil
from typing import Any

import pytest


def names(first: int, last: int) -> list[str]:
    return [f"s{n}" for n in range(first, last + 1)]


def test_files_found_at_the_first_start_are_read_from_their_head(
    world: Any, make_line: Any
) -> None:
    world.append("a.jsonl", *(make_line(n) for n in range(1, 1001)))
    world.restart()
    world.step()
    assert len(world.sessions()) == 1000


def test_a_thousand_tiny_files_are_read_at_once(world: Any, make_line: Any) -> None:
    for number in range(1000):
        world.append(f"{number}.jsonl", make_line(number))
    world.step()
    assert world.counts() == (1000, 1000, 0, 0, 0)


def test_a_writer_that_stays_on_a_renamed_file_is_followed(world: Any, make_line: Any) -> None:
    with (world.logs / "a.jsonl").open("ab", buffering=0) as writer:
        writer.write(make_line(1))
        world.step()
        (world.logs / "a.jsonl").rename(world.logs / "a.jsonl.1")
        for number in (2, 3):
            world.step()
            writer.write(make_line(number))
    world.step()
    assert world.sessions() == names(1, 3)


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


def test_many_files_rotated_fast_lose_only_what_was_thrown_away_unread(
    world: Any, make_line: Any
) -> None:
    number, thrown_away = 0, 0
    for rotation in range(30):
        for name in "abcde":
            oldest = world.logs / f"{name}.jsonl.3"
            thrown_away += oldest.exists()
            for kept in (2, 1):
                if (world.logs / f"{name}.jsonl.{kept}").exists():
                    (world.logs / f"{name}.jsonl.{kept}").rename(
                        world.logs / f"{name}.jsonl.{kept + 1}"
                    )
            if (world.logs / f"{name}.jsonl").exists():
                (world.logs / f"{name}.jsonl").rename(world.logs / f"{name}.jsonl.1")
            world.append(f"{name}.jsonl", make_line(number))
            number += 1
        if rotation % 2:
            world.step()
    world.step()
    assert thrown_away > 100
    assert world.counts()[:3] == (150, 150, 0)


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


def test_moved_away_truncated_and_moved_back(world: Any, make_line: Any) -> None:
    world.append("a.jsonl", make_line(1))
    world.step()
    (world.logs / "a.jsonl").rename(world.logs / "b.jsonl")
    os.truncate(world.logs / "b.jsonl", 0)
    (world.logs / "b.jsonl").rename(world.logs / "a.jsonl")
    world.append("a.jsonl", make_line(2))
    world.step()
    assert world.sessions() == names(1, 2)


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


def test_a_copy_seen_half_done_adds_nothing_and_tears_nothing(world: Any, make_line: Any) -> None:
    whole = b"".join(make_line(n, ids=n % 2 == 0) for n in range(1, 11))
    world.append("a.jsonl", whole)
    world.step()
    for at in range(0, len(whole), 300):
        world.append("a.jsonl.1", whole[at : at + 300])
        world.step()
    assert world.sessions() == names(1, 10)
    assert world.query("SELECT count(*) FROM dead_letters") == [0]


def test_fifty_one_truncations(world: Any, make_line: Any) -> None:
    for number in range(51):
        (world.logs / "a.jsonl").touch()
        os.truncate(world.logs / "a.jsonl", 0)
        world.append("a.jsonl", make_line(number, ids=number % 2 == 0))
        world.step()
    assert world.sessions() == names(0, 50)


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


def test_deleted_and_made_again_a_hundred_times(world: Any, make_line: Any) -> None:
    for number in range(100):
        world.append("a.jsonl", make_line(number, ids=number % 2 == 0))
        world.step()
        (world.logs / "a.jsonl").unlink()
    assert len(world.sessions()) == 100
    assert len(set(world.sessions())) == 100


def test_a_file_that_came_and_went_unseen_is_missing_and_does_no_harm(
    world: Any, make_line: Any
) -> None:
    world.append("a.jsonl", make_line(1))
    world.append("b.jsonl", make_line(2))
    (world.logs / "b.jsonl").unlink()
    world.step()
    assert world.sessions() == ["s1"]


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
