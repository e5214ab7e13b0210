"""The wall clock jumps a year ahead and back: nothing that is unread goes out of date."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

_YEAR_NS = 365 * 86_400 * 10**9
_LONG_AGO_S = 1_700_000_000

Jump = Callable[[int], None]


@pytest.fixture
def jump(monkeypatch: pytest.MonkeyPatch) -> Iterator[Jump]:
    """Moves the wall clock away from where it is by so many nanoseconds. Time itself goes on."""
    real = time.time_ns
    shift = 0

    def jump(ns: int) -> None:
        nonlocal shift
        shift = ns

    monkeypatch.setattr(time, "time_ns", lambda: real() + shift)
    yield jump
    monkeypatch.undo()
    assert abs(time.time_ns() - real()) < _YEAR_NS // 2


def stamps(world: Any) -> set[int]:
    """The years, counted from now, in which the ledger believes that sources were first seen."""
    now_us = time.time_ns() // 1000
    shifts = world.query("SELECT first_seen_us FROM source")
    return {round((at - now_us) * 1000 / _YEAR_NS) for at in shifts}


@pytest.mark.scenario(84)
def test_a_clock_that_jumps_under_load_loses_nothing_and_doubles_nothing(
    world: Any, make_line: Any, jump: Jump
) -> None:
    number = 0
    for round_, years in zip(range(24), cycle([0, 1, -1, 1]), strict=False):
        jump(years * _YEAR_NS)
        for name in ("a", "b"):
            lines = [make_line(n, ids=n % 2 == 0) for n in range(number, number + 3)]
            number += 3
            world.append(f"{name}.jsonl", *lines)
            stamp_s = _LONG_AGO_S if round_ % 3 else (time.time_ns() + _YEAR_NS) // 10**9
            os.utime(world.logs / f"{name}.jsonl", (stamp_s, stamp_s))
        half = make_line(1000 + round_, ids=False)
        world.append("half.jsonl", half[:40])
        world.daemon.ingest()
        jump(-years * _YEAR_NS)
        world.append("half.jsonl", half[40:])
        world.append("new.jsonl" if round_ % 2 else f"{round_}.jsonl", make_line(2000 + round_))
        world.daemon.ingest()
        if round_ % 5 == 0:
            (world.logs / "a.jsonl").rename(world.logs / f"a.jsonl.{round_}")
        if round_ % 7 == 0:
            world.restart()
        world.step()
    jump(0)
    world.step()
    assert stamps(world) == {-1, 0, 1}
    written = number + 2 * 24
    assert world.counts() == (written, written, 0, 0, 0)
    assert len(set(world.sessions())) == written
    assert world.query("SELECT count(*) FROM gaps") == [0]
    assert world.query("SELECT DISTINCT state FROM sources") == ["live"]


@pytest.mark.scenario(84)
@pytest.mark.parametrize("years", [1, -1])
def test_a_file_that_left_with_its_writer_is_followed_through_a_jump(
    world: Any, make_line: Any, jump: Jump, tmp_path: Path, years: int
) -> None:
    with (world.logs / "a.jsonl").open("ab", buffering=0) as writer:
        writer.write(make_line(1))
        world.step()
        (world.logs / "a.jsonl").rename(tmp_path / "away.log")
        world.step()
        jump(years * _YEAR_NS)
        for number in (2, 3):
            for _ in range(4):
                world.step()
            writer.write(make_line(number))
        world.step()
    assert world.sessions() == ["s1", "s2", "s3"]
    assert world.query("SELECT count(*) FROM gaps") == [0]


@pytest.mark.scenario(84)
def test_a_deleted_file_with_unread_lines_is_read_through_a_jump(
    world: Any, make_line: Any, jump: Jump
) -> None:
    with (world.logs / "a.jsonl").open("ab", buffering=0) as writer:
        writer.write(make_line(1))
        world.step()
        (world.logs / "a.jsonl").unlink()
        writer.write(make_line(2))
        jump(_YEAR_NS)
        for _ in range(4):
            world.step()
        writer.write(make_line(3))
        jump(-_YEAR_NS)
        for _ in range(4):
            world.step()
    assert world.sessions() == ["s1", "s2", "s3"]


@pytest.mark.scenario(84)
def test_a_gzip_file_still_being_written_through_a_jump_is_read_when_it_is_whole(
    world: Any, make_line: Any, jump: Jump
) -> None:
    whole = gzip.compress(make_line(1) + make_line(2))
    world.append("a.jsonl.gz", whole[:50])
    world.step()
    jump(_YEAR_NS)
    world.step()
    assert any("not a complete gzip file" in fault for fault in world.faults())
    world.append("a.jsonl.gz", whole[50:])
    world.step()
    assert world.sessions() == ["s1", "s2"]
    assert world.faults() == set()


@pytest.mark.scenario(84)
def test_a_clock_set_back_before_the_restart_takes_nothing_from_the_ledger(
    world: Any, make_line: Any, jump: Jump
) -> None:
    jump(_YEAR_NS)
    world.daemon.begin()
    world.append("a.jsonl", make_line(1), make_line(2, ids=False))
    world.step()
    jump(-_YEAR_NS)
    world.restart()
    world.daemon.begin()
    world.append("a.jsonl", make_line(3, ids=False))
    world.step()
    world.daemon.beat("running", force=True)
    assert world.sessions() == ["s1", "s2", "s3"]
    assert world.counts() == (3, 3, 0, 0, 0)
    assert world.query("SELECT phase FROM daemon") == ["running"]
