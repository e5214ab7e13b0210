"""Logs that are copied and then truncated in place, by rotators that cannot do it better."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from tests.scenario.proving import PROVEN, verdict

_ROUNDS = 10


def lines(make_line: Any, first: int, last: int) -> list[bytes]:
    return [make_line(n, ids=n % 2 == 0) for n in range(first, last + 1)]


def names(first: int, last: int) -> list[str]:
    return [f"s{n}" for n in range(first, last + 1)]


def shift(world: Any) -> None:
    """Makes place for a new first copy, as logrotate does."""
    for kept in range(_ROUNDS, 0, -1):
        copy = world.logs / f"a.jsonl.{kept}"
        if copy.exists():
            copy.rename(world.logs / f"a.jsonl.{kept + 1}")


@pytest.mark.scenario(16)
def test_ten_rounds_of_copytruncate_count_every_line_once_and_leave_no_gap_open(
    world: Any, make_line: Any
) -> None:
    path = world.logs / "a.jsonl"
    with path.open("ab", buffering=0) as writer:
        for number in range(0, 8 * _ROUNDS, 8):
            writer.write(b"".join(lines(make_line, number + 1, number + 5)))
            world.step()
            writer.write(b"".join(lines(make_line, number + 6, number + 8)))
            world.daemon._survey()  # seen, and not read when they are cut off
            shift(world)
            shutil.copy(path, world.logs / "a.jsonl.1")
            os.truncate(path, 0)
            assert path.stat().st_ino == os.fstat(writer.fileno()).st_ino
            world.step()
    assert path.stat().st_size == 0
    assert world.sessions() == names(1, 8 * _ROUNDS)
    assert world.query("SELECT state, count(*) FROM gaps GROUP BY 1") == [("resolved", _ROUNDS)]
    assert verdict(world) == PROVEN


@pytest.mark.scenario(19)
@pytest.mark.parametrize("down", ["c", "t", "w", "ct", "tw", "ctw"])
@pytest.mark.parametrize("unread", [0, 3])
def test_copytruncate_around_a_restart(world: Any, make_line: Any, down: str, unread: int) -> None:
    """The daemon is down while the file is copied (c), truncated (t), and written to again (w)."""
    path = world.logs / "a.jsonl"
    actions: dict[str, Callable[[], object]] = {
        "c": lambda: shutil.copy(path, world.logs / "a.jsonl.1"),
        "t": lambda: os.truncate(path, 0),
        "w": lambda: world.append("a.jsonl", *lines(make_line, 10, 12)),
    }
    world.append("a.jsonl", *lines(make_line, 1, 9 - unread))
    world.step()
    world.append("a.jsonl", *lines(make_line, 10 - unread, 9))
    up = True
    for when, action in actions.items():
        if up and when in down:
            world.stop()
            up = False
        elif not up and when not in down:
            world._start()
            up = True
        action()
        if up:
            world.step()
    if not up:
        world._start()
    world.step()
    assert path.read_bytes() == b"".join(lines(make_line, 10, 12))
    assert world.sessions() == names(1, 12)
    assert verdict(world) == PROVEN


@pytest.mark.scenario(21)
@pytest.mark.parametrize("running", [True, False])
def test_a_truncated_file_with_fewer_bytes_than_were_read_begins_again(
    world: Any, make_line: Any, running: bool
) -> None:
    path = world.logs / "a.jsonl"
    world.append("a.jsonl", *lines(make_line, 1, 10))
    world.step()
    before = path.stat()
    if not running:
        world.stop()
    os.truncate(path, 0)
    world.append("a.jsonl", *lines(make_line, 11, 13))
    if not running:
        world._start()
    assert path.stat().st_ino == before.st_ino
    assert path.stat().st_size < before.st_size
    world.step()
    assert world.sessions() == names(1, 13)
    assert world.counts() == (13, 13, 0, 0, 0)
    assert verdict(world) == PROVEN
