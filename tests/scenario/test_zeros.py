"""Zeros where bytes are to come: a file may have its size first, and its bytes in any order.

None of them is a line, none of them is behind us before something follows, and none of them is
taken for what stands in its place later.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prodlensd.logs import source as source_module
from prodlensd.logs import zeros
from prodlensd.logs.zeros import ZEROS_WAIT_NS
from tests.scenario.proving import PROVEN, verdict


def lines(make_line: Any, first: int, last: int) -> list[bytes]:
    return [make_line(n, ids=n % 2 == 0) for n in range(first, last + 1)]


def names(first: int, last: int) -> list[str]:
    return [f"s{n}" for n in range(first, last + 1)]


class Preallocated:
    """A log that has its whole size at once, and is written in place."""

    def __init__(self, path: Path, size_bytes: int, *, sparse: bool) -> None:
        self._file = path.open("w+b", buffering=0)
        if sparse:
            os.truncate(path, size_bytes)
        else:
            self._file.write(bytes(size_bytes))
        self._place = 0

    def write(self, *content: bytes) -> None:
        for block in content:
            os.pwrite(self._file.fileno(), block, self._place)
            self._place += len(block)

    def skip(self, count: int) -> None:
        self._place += count

    def close(self) -> None:
        self._file.close()


@pytest.mark.sampled(4)
@pytest.mark.scenario(92)
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("ids", ["mixed", "none"])
def test_a_log_that_has_its_size_before_its_bytes_is_read_line_by_line(
    world: Any, make_line: Any, sparse: bool, ids: str
) -> None:
    log = Preallocated(world.logs / "a.jsonl", 1 << 20, sparse=sparse)
    sent = [make_line(n, ids=ids == "mixed" and n % 2 == 0) for n in range(1, 41)]
    for number, line in enumerate(sent):
        log.write(line)
        world.step()
        assert world.sessions() == names(1, number + 1)
        if number % 7 == 0:
            world.restart()
            world.step()
    assert world.counts() == (40, 40, 0, 0, 0), "each line once, and read once"
    assert world.query("SELECT lag_bytes FROM sources") == [0], "zeros are nothing to read"
    log.close()
    assert verdict(world) == PROVEN


@pytest.mark.long
@pytest.mark.scenario(92)
def test_lines_in_a_preallocated_log_cost_what_they_cost_elsewhere(
    world: Any, make_line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Preallocated(world.logs / "a.jsonl", 64 << 20, sparse=False)
    log.write(*lines(make_line, 1, 2000))
    world.step()
    read_bytes = 0
    real = os.pread

    def counting(file: int, count: int, offset: int) -> bytes:
        nonlocal read_bytes
        block = real(file, count, offset)
        read_bytes += len(block)
        return block

    monkeypatch.setattr(os, "pread", counting)
    begin_s = time.monotonic()
    for number in range(2001, 2101):
        log.write(make_line(number))
        world.daemon.ingest([str(world.logs / "a.jsonl")])
    log.close()
    assert world.counts() == (2100, 2100, 0, 0, 0)
    # What follows each line is looked at in blocks, and all of the zeros once a second.
    looks = 2 + time.monotonic() - begin_s
    assert read_bytes < 100 * 3 * source_module.READ_BYTES + looks * (64 << 20)


@pytest.mark.scenario(92)
def test_half_a_line_before_zeros_waits_for_its_other_half(world: Any, make_line: Any) -> None:
    log = Preallocated(world.logs / "a.jsonl", 1 << 16, sparse=True)
    line = make_line(1, ids=False)
    log.write(line[:50])
    world.step()
    log.write(line[50:])
    world.step()
    log.close()
    assert world.sessions() == ["s1"]
    assert world.counts() == (1, 1, 0, 0, 0)


@pytest.mark.scenario(92)
def test_half_a_line_before_more_zeros_than_a_line_may_be_long_is_no_long_line(
    world: Any, make_line: Any
) -> None:
    world.max_line_bytes = 1000
    world.restart()
    log = Preallocated(world.logs / "a.jsonl", 1 << 20, sparse=True)
    sent = lines(make_line, 1, 5)
    log.write(sent[0][:30])
    world.step()
    log.write(sent[0][30:], *sent[1:])
    world.step()
    log.close()
    assert world.sessions() == names(1, 5)
    assert world.counts() == (5, 5, 0, 0, 0)


@pytest.mark.scenario(92)
def test_a_preallocated_log_cut_to_what_was_written_is_the_same_log(
    world: Any, make_line: Any
) -> None:
    path = world.logs / "a.jsonl"
    log = Preallocated(path, 1 << 20, sparse=True)
    sent = lines(make_line, 1, 3)
    log.write(*sent)
    world.step()
    os.truncate(path, sum(map(len, sent)))
    path.rename(world.logs / "a.jsonl.1")
    for _ in range(3):
        world.step()
    log.close()
    assert world.counts() == (3, 3, 0, 0, 0)
    assert world.query("SELECT count(*) FROM gaps") == [0]


@pytest.mark.scenario(92)
@pytest.mark.parametrize("is_open", [True, False])
def test_a_preallocated_log_that_is_deleted_has_lost_no_zeros(
    world: Any, make_line: Any, is_open: bool
) -> None:
    path = world.logs / "a.jsonl"
    log = Preallocated(path, 1 << 20, sparse=True)
    log.write(*lines(make_line, 1, 3))
    world.step()
    if not is_open:
        world.tailer._close_all_but(0)
    log.close()
    path.unlink()
    for _ in range(3):
        world.step()
    assert world.sessions() == names(1, 3)
    assert world.query("SELECT state FROM sources") == ["gone"]
    assert world.query("SELECT count(*) FROM gaps") == [0]


@pytest.fixture
def patient(world: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A world that gives zeros their time; called, it lets some nanoseconds pass."""
    world.zeros_wait_ns = ZEROS_WAIT_NS
    world.restart()
    passed_ns = 0

    def clock() -> float:
        return 1000 + passed_ns / 1e9

    def let_pass(duration_ns: int) -> None:
        nonlocal passed_ns
        passed_ns += duration_ns

    monkeypatch.setattr(world.daemon, "_clock", clock)
    return let_pass


@pytest.mark.scenario(93)
@pytest.mark.parametrize("within", [True, False])
def test_bytes_that_come_out_of_order_are_waited_for(
    world: Any, make_line: Any, patient: Callable[[int], None], within: bool
) -> None:
    """Two writers have each reserved a place; the second is faster."""
    path = world.logs / "a.jsonl"
    first, second = make_line(1, ids=False), make_line(2, ids=False)
    with path.open("w+b", buffering=0) as file:
        if within:  # the second half of the first line is late
            os.pwrite(file.fileno(), first[:40], 0)
        os.pwrite(file.fileno(), second, len(first))
        world.step()
        assert world.sessions() == []
        patient(ZEROS_WAIT_NS // 2)
        world.step()
        assert world.sessions() == []
        os.pwrite(file.fileno(), first, 0)
        world.step()
    assert world.sessions() == ["s1", "s2"]
    assert world.counts() == (2, 2, 0, 0, 0)
    assert verdict(world) == PROVEN


@pytest.mark.scenario(93)
def test_zeros_that_nobody_fills_are_a_hole_after_their_time(
    world: Any, make_line: Any, patient: Callable[[int], None]
) -> None:
    path = world.logs / "a.jsonl"
    with path.open("w+b", buffering=0) as file:
        os.pwrite(file.fileno(), make_line(1), 500)
        world.step()
        assert world.sessions() == []
        patient(ZEROS_WAIT_NS)
        world.step()
    assert world.sessions() == ["s1"]
    assert world.query("SELECT source_offset FROM traces") == [500]
    assert verdict(world) == PROVEN


@pytest.mark.long
@pytest.mark.scenario(93)
def test_a_growing_file_full_of_zeros_is_not_held_up_at_each_of_them(
    world: Any, patient: Callable[[int], None]
) -> None:
    """UTF-16, say: every second byte is a zero."""
    path = world.logs / "a.jsonl"
    for _ in range(50):
        with path.open("ab") as file:
            file.write("what ever\n".encode("utf-16-le") * 100)
        world.step()
        patient(ZEROS_WAIT_NS // 4)
    for _ in range(3):
        patient(ZEROS_WAIT_NS)
        world.step()
    (lines_read,) = world.query("SELECT sum(lines) FROM sources")
    assert lines_read == 50 * 100


@pytest.mark.scenario(20)
@pytest.mark.parametrize("read_bytes", [257, 4096, 1 << 22])
def test_holes_of_any_size_one_after_another_swallow_no_line_between_them(
    world: Any, make_line: Any, monkeypatch: pytest.MonkeyPatch, read_bytes: int
) -> None:
    """What is known of one run of zeros says nothing of another."""
    monkeypatch.setattr(source_module, "READ_BYTES", read_bytes)
    path = world.logs / "a.jsonl"
    world.append("a.jsonl", *lines(make_line, 1, 5))
    for number in range(6, 12):
        os.truncate(path, 2 * path.stat().st_size)
        world.append("a.jsonl", make_line(number, ids=False))
    world.step()
    assert world.sessions() == names(1, 11)
    assert world.counts() == (11, 11, 0, 0, 0)
    assert world.query("SELECT state FROM sources") == ["live"]
    assert verdict(world) == PROVEN


@pytest.mark.scenario(20)
@pytest.mark.parametrize("max_line_bytes", [1000, 1 << 20])
def test_zeros_within_a_line_are_passed_however_many_looks_that_takes(
    world: Any, make_line: Any, monkeypatch: pytest.MonkeyPatch, max_line_bytes: int
) -> None:
    """The file is at rest: nothing else would have it looked at again."""
    monkeypatch.setattr(zeros, "_BLOCK_BYTES", 1000)
    monkeypatch.setattr(zeros, "_BLOCKS_AT_ONCE", 1)
    monkeypatch.setattr(source_module, "READ_BYTES", 1000)
    world.max_line_bytes = max_line_bytes
    world.restart()
    world.append("a.jsonl", b'{"half', bytes(50_000), b'"}\n', make_line(1))
    os.utime(world.logs / "a.jsonl", (1_700_000_000, 1_700_000_000))
    world.step()
    assert world.sessions() == ["s1"]
    assert world.counts() == (2, 1, 0, 1, 0)


@pytest.mark.scenario(92)
def test_a_long_line_is_proven_by_the_bytes_that_were_read(
    world: Any, make_line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by those that stand in the file when the proof is taken."""
    world.max_line_bytes = 1000
    world.restart()
    path = world.logs / "a.jsonl"
    long = make_line(1, pad="x" * 3000)
    path.write_bytes(long + make_line(2))
    real, is_changed = os.fstat, False

    def fstat(file: int) -> os.stat_result:
        nonlocal is_changed
        if not is_changed and Path(f"/proc/self/fd/{file}").readlink() == path:
            is_changed = world.tailer._sources != {} and world.tailer._open != {}
            if is_changed:  # the long line was read; now something else stands there
                path.write_bytes(make_line(3) + make_line(4))
        return real(file)

    monkeypatch.setattr(os, "fstat", fstat)
    for _ in range(3):
        world.step()
    monkeypatch.undo()
    world.step()
    assert {"s3", "s4"} <= set(world.sessions())
