"""Files beyond four GiB: nothing in the way of an offset is 32 bits wide, or slow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

_HOLE_BYTES = (4 << 30) + (1 << 20) + 7


def is_sparse(path: Path) -> bool:
    status = path.stat()
    return status.st_blocks * 512 < status.st_size // 4


@pytest.mark.scenario(54)
def test_lines_beyond_four_gib_have_their_offsets_and_are_read_once(
    world: Any, make_line: Any
) -> None:
    path = world.logs / "a.jsonl"
    lines = [make_line(n, ids=n % 2 == 0) for n in range(1, 7)]
    long_line = b"x" * (world.max_line_bytes + 1) + b"\n"
    world.append("a.jsonl", *lines[:2])
    os.truncate(path, path.stat().st_size + _HOLE_BYTES)
    world.append("a.jsonl", lines[2], long_line, lines[3])
    assert is_sparse(path)
    world.step()
    start = len(lines[0]) + len(lines[1]) + _HOLE_BYTES
    after = start + len(lines[2]) + len(long_line)
    assert start > 1 << 32
    offsets = world.query("SELECT source_offset FROM traces ORDER BY source_offset")
    assert offsets == [0, len(lines[0]), start, after]
    assert world.query("SELECT source_offset, length, reason FROM dead_letters") == [
        (start + len(lines[2]), len(long_line) - 1, "too_long")
    ]
    world.restart()
    world.append("a.jsonl", lines[4])
    world.step()
    path.rename(world.logs / "a.jsonl.1")
    world.append("a.jsonl.1", lines[5])
    world.step()
    assert world.sessions() == [f"s{n}" for n in range(1, 7)]
    assert world.counts() == (7, 6, 0, 1, 0)
    end = after + sum(map(len, lines[3:]))
    assert world.query("SELECT offset, lag_bytes FROM sources") == [(end, 0)]


@pytest.mark.scenario(54)
def test_a_hole_is_passed_over_without_reading_it(
    world: Any, make_line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_bytes = 0
    real = os.pread

    def counting(file: int, count: int, offset: int) -> bytes:
        nonlocal read_bytes
        got = real(file, count, offset)
        read_bytes += len(got)
        return got

    monkeypatch.setattr(os, "pread", counting)
    hole = 256 << 20
    world.append("a.jsonl", make_line(1))
    path = world.logs / "a.jsonl"
    os.truncate(path, path.stat().st_size + hole)
    world.append("a.jsonl", make_line(2))
    assert is_sparse(path)
    world.step()
    assert world.sessions() == ["s1", "s2"]
    assert read_bytes < hole // 4


@pytest.mark.scenario(54)
def test_a_file_that_ends_in_a_hole_is_read_on_after_it(world: Any, make_line: Any) -> None:
    path = world.logs / "a.jsonl"
    world.append("a.jsonl", make_line(1))
    os.truncate(path, path.stat().st_size + (8 << 20))
    world.step()
    assert world.query("SELECT offset, lag_bytes FROM sources") == [(len(make_line(1)), 0)]
    world.append("a.jsonl", make_line(2))
    world.step()
    assert world.sessions() == ["s1", "s2"]
    assert world.counts() == (2, 2, 0, 0, 0)


@pytest.mark.scenario(54)
def test_zeros_that_are_no_hole_do_not_hold_up_the_other_files(
    world: Any, make_line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    zeros = 96 << 20
    with (world.logs / "a.jsonl").open("wb") as file:
        file.write(make_line(1))
        for _ in range(zeros >> 20):
            file.write(bytes(1 << 20))
        file.write(make_line(2))
    os.utime(world.logs / "a.jsonl", (1, 1))  # the oldest is read first
    assert not is_sparse(world.logs / "a.jsonl")
    world.append("b.jsonl", make_line(3))
    rounds = 0
    committed: dict[str, int] = {}
    real_round, real_commit = world.daemon._ingest_round, world.store.commit

    def ingest_round() -> bool:
        nonlocal rounds
        rounds += 1
        return bool(real_round())

    def commit(outcomes: Any, *more: Any) -> Any:
        outcomes = list(outcomes)
        for outcome in outcomes:
            committed.setdefault(f"{outcome.end.path[-7:]}:{outcome.start.offset}", rounds)
        return real_commit(outcomes, *more)

    monkeypatch.setattr(world.daemon, "_ingest_round", ingest_round)
    monkeypatch.setattr(world.store, "commit", commit)
    world.step()
    assert world.sessions() == ["s1", "s2", "s3"]
    hole = committed[f"a.jsonl:{len(make_line(1))}"]
    assert committed["b.jsonl:0"] == 1
    assert hole > committed["b.jsonl:0"], "they are looked through a part at a time"
