"""Logs that were compressed: while we look, into too much, or with what we do not read."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from prodlensd.logs import source
from tests.scenario.proving import PROVEN, verdict

_BOMB_BYTES = 256 << 20
_MEMBER_BYTES = 16 << 20


def compressed_by_arrow(codec: str) -> Callable[[bytes], bytes]:
    def compress(content: bytes) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, codec) as stream:
            stream.write(content)
        compressed: bytes = sink.getvalue().to_pybytes()
        return compressed

    return compress


FOREIGN = {
    "zst": ("zstd", compressed_by_arrow("zstd")),
    "lz4": ("lz4", compressed_by_arrow("lz4")),
    "bz2": ("bzip2", bz2.compress),
    "xz": ("xz", lzma.compress),
}


def open_file_names() -> list[str]:
    links = list(Path("/proc/self/fd").iterdir())
    return [link.readlink().name for link in links if link.is_symlink()]


def names(first: int, last: int) -> list[str]:
    return [f"s{n}" for n in range(first, last + 1)]


@pytest.mark.scenario(37)
def test_a_renamed_file_compressed_bit_by_bit_adds_nothing(world: Any, make_line: Any) -> None:
    lines = [make_line(n, ids=n % 2 == 0) for n in range(1, 31)]
    world.append("a.jsonl", *lines[:25])
    world.step()
    world.append("a.jsonl", *lines[25:])
    (world.logs / "a.jsonl").rename(world.logs / "a.jsonl.1")
    whole = gzip.compress((world.logs / "a.jsonl.1").read_bytes())
    for at in range(0, len(whole), 100):
        world.append("a.jsonl.1.gz", whole[at : at + 100])
        world.step()
    (world.logs / "a.jsonl.1").unlink()
    world.append("a.jsonl", make_line(31))
    world.step()
    assert len(whole) > 300
    assert world.sessions() == names(1, 31)
    assert world.counts() == (61, 31, 30, 0, 0)
    assert verdict(world) == PROVEN


@pytest.mark.long
@pytest.mark.scenario(41)
@pytest.mark.parametrize("filler", [b"\0", b"x"])
def test_a_gzip_file_that_would_fill_all_memory_is_read_in_little(
    world: Any, make_line: Any, filler: bytes
) -> None:
    member = gzip.compress(filler * _MEMBER_BYTES)
    bomb = member * (_BOMB_BYTES // _MEMBER_BYTES)
    world.append("a.jsonl.gz", gzip.compress(make_line(1)), bomb)
    world.append("a.jsonl.gz", gzip.compress(b"\n" + make_line(2)))
    tracemalloc.start()
    world.step()
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (world.logs / "a.jsonl.gz").stat().st_size < _BOMB_BYTES // 100
    assert peak_bytes < 40 << 20
    assert world.sessions() == ["s1", "s2"]
    length = _BOMB_BYTES
    told = [("too_long", length)] if filler == b"x" else []
    assert world.query("SELECT reason, length FROM dead_letters") == told


@pytest.mark.sampled(2)
@pytest.mark.scenario(42)
@pytest.mark.parametrize("suffix", FOREIGN)
def test_a_file_compressed_with_what_is_not_read_is_said_and_gives_no_line(
    world: Any, make_line: Any, suffix: str
) -> None:
    what, compress = FOREIGN[suffix]
    path = world.logs / f"a.jsonl.1.{suffix}"
    path.write_bytes(compress(b"".join(make_line(n, pad=f"{n * 7919}") for n in range(2000))))
    assert path.read_bytes().count(b"\n") > 10
    world.append("a.jsonl", make_line(1))
    for _ in range(2):
        world.step()
        (fault,) = world.faults()
        assert fault == f"{path}: compressed with {what}; only gzip is read"
    size = path.stat().st_size
    assert world.sessions() == ["s1"]
    assert world.query(
        f"SELECT lag_bytes, dead_letters FROM sources WHERE path LIKE '%.{suffix}'"
    ) == [(size, 0)]
    assert verdict(world) == PROVEN
    path.unlink()
    for _ in range(3):
        world.step()
    assert world.faults() == set()
    assert world.query("SELECT reason, known_bytes FROM gaps") == [("vanished", size)]
    assert verdict(world) == ("gaps", [])


@pytest.mark.scenario(34, 42)
@pytest.mark.parametrize("kind", ["xz", "cut gz"])
def test_a_file_of_which_nothing_can_be_read_is_let_go_when_it_is_deleted(
    world: Any, make_line: Any, kind: str
) -> None:
    path = world.logs / "a.jsonl.1.z"
    content = make_line(1)
    path.write_bytes(lzma.compress(content) if kind == "xz" else gzip.compress(content)[:-4])
    world.step()
    assert path.name in open_file_names()
    path.unlink()
    for _ in range(3):
        world.step()
    assert [name for name in open_file_names() if name.startswith(path.name)] == []
    assert world.query("SELECT state FROM sources") == ["gone"]


def test_an_unreadable_file_that_is_written_anew_is_read(
    world: Any, make_line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "_INCOMPLETE_NS", -1)
    path = world.logs / "a.jsonl"
    for content in (lzma.compress(make_line(1)), gzip.compress(make_line(1))[:-4]):
        path.write_bytes(content)
        world.step()
        assert len(world.faults()) == 1
    path.write_bytes(make_line(2))
    world.step()
    assert world.sessions() == ["s2"]
    assert world.faults() == set()
    path.unlink()
    for _ in range(3):
        world.step()
    assert world.query("SELECT DISTINCT state FROM sources ORDER BY 1") == ["gone"]
