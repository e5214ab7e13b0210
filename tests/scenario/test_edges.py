"""Lines that come in bits, wait, end where a read ends, or are longer than memory should hold."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import pytest

from prodlensd.logs import source
from tests.scenario.proving import PROVEN, verdict

_A_MINUTE_NS = 61_000_000_000
_READ_BYTES = 128


def names(first: int, last: int) -> list[str]:
    return [f"s{n}" for n in range(first, last + 1)]


@pytest.mark.scenario(5)
def test_half_a_line_waits_for_its_other_half_however_long(
    world: Any, make_line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_line(2)
    world.append("a.jsonl", make_line(1), whole[:100])
    for minute in range(20):
        now_ns = time.time_ns()
        with monkeypatch.context() as patch:
            patch.setattr(time, "time_ns", lambda at=now_ns + minute * _A_MINUTE_NS: at)
            world.step()
        assert world.sessions() == ["s1"]
        assert world.query("SELECT lag_bytes FROM sources") == [100]
    world.append("a.jsonl", whole[100:])
    world.step()
    assert world.sessions() == ["s1", "s2"]
    assert world.counts() == (2, 2, 0, 0, 0)


@pytest.mark.scenario(6)
def test_a_writer_of_single_bytes_is_waited_for(world: Any) -> None:
    lines = [
        b'{"timestamp":%d,"usage":{},"metadata":{"session_id":"s%d"}}\n' % (1_767_225_600 + n, n)
        for n in range(1, 201)
    ]
    looks = 0
    with (world.logs / "a.jsonl").open("ab", buffering=0) as file:
        for number, byte in enumerate(b"".join(lines)):
            file.write(bytes([byte]))
            if number % 29 == 0:  # falls on each place in a line, sooner or later
                world.daemon.ingest()
                looks += 1
    world.step()
    assert looks > len(lines)
    assert world.sessions() == names(1, 200)
    assert verdict(world) == PROVEN


@pytest.mark.scenario(7)
def test_a_read_may_end_anywhere_in_a_line(
    world: Any, make_line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "READ_BYTES", _READ_BYTES)
    split = set()
    for number in range(_READ_BYTES + 10):
        line = make_line(number, model="é€😀").replace(b"\n", b"\r\n")
        line = line.replace(rb"\u00e9\u20ac\ud83d\ude00", "é€😀".encode())
        content = b" " * number + b"{}\r\n" + line
        world.append(f"{number}.jsonl", content)
        split |= {content[at - 1 : at + 1] for at in range(_READ_BYTES, len(content), _READ_BYTES)}
    assert {b"\r\n", "é".encode(), "€".encode()[:2], "😀".encode()[1:3]} <= split
    world.step()
    files = _READ_BYTES + 10
    assert sorted(world.sessions()) == sorted(names(0, files - 1))
    assert world.counts() == (2 * files, files, 0, files, 0)
    assert world.query("SELECT DISTINCT length FROM dead_letters WHERE path LIKE '%/3.jsonl'") == [
        len(b"   {}\r")
    ]


@pytest.mark.sampled(2)
@pytest.mark.scenario(53)
@pytest.mark.parametrize("size_bytes", [64 << 10, 16 << 20, 256 << 20])
def test_a_long_line_is_read_in_little_memory(world: Any, make_line: Any, size_bytes: int) -> None:
    with (world.logs / "a.jsonl").open("wb") as file:
        head, _, rest = make_line(2, pad="PAD").partition(b"PAD")
        file.write(make_line(1) + head)
        for _ in range(0, size_bytes, 64 << 10):
            file.write(b"x" * (64 << 10))
        file.write(rest + make_line(3))
        assert file.tell() > size_bytes
    tracemalloc.start()
    world.step()
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 40 << 20
    if size_bytes < world.max_line_bytes:
        assert world.sessions() == ["s1", "s2", "s3"]
    else:
        assert world.sessions() == ["s1", "s3"]
        length = size_bytes + len(head + rest) - 1
        assert world.query("SELECT reason, length FROM dead_letters") == [("too_long", length)]


@pytest.mark.scenario(29)
def test_empty_files_and_empty_lines_are_no_trouble(world: Any, make_line: Any) -> None:
    world.append("a.jsonl")
    world.append("b.jsonl", b"\n")
    world.append("c.jsonl", b"\n\n", make_line(1))
    world.step()
    assert (world.logs / "a.jsonl").stat().st_size == 0
    assert world.sessions() == ["s1"]
    assert world.counts() == (4, 1, 0, 0, 3)
    assert world.faults() == set()
    assert verdict(world) == PROVEN


@pytest.mark.scenario(51)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_file_in_utf_16_is_set_aside_and_holds_up_nothing(
    world: Any, make_line: Any, encoding: str
) -> None:
    lines = make_line(1) + make_line(2)
    world.append("a.jsonl", lines.decode().encode(encoding))
    world.append("b.jsonl", make_line(3))
    world.step()
    assert world.sessions() == ["s3"]
    reasons = world.query("SELECT reason FROM dead_letters ORDER BY source_offset")
    assert reasons[0] == ("invalid_utf8" if encoding == "utf-16" else "invalid_json")
    assert set(reasons[1:]) == {"invalid_json"}
    kept = world.query("SELECT source_offset, raw FROM dead_letters ORDER BY 1")
    content = (world.logs / "a.jsonl").read_bytes()
    assert all(content[offset:].startswith(raw) for offset, raw in kept)
    assert verdict(world) == PROVEN
