"""Files that leave: unlinked, renamed away, or compressed, while they still hold unread lines."""

from __future__ import annotations

import gzip
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from prodlensd.logs import source, writers


@pytest.fixture
def writer(world: Any) -> Any:
    """A program that keeps its log file open."""
    file = (world.logs / "a.jsonl").open("ab", buffering=0)
    yield file
    file.close()


def open_files() -> list[str]:
    """What our descriptors lead to; Linux marks files without a name as deleted."""
    links = list(Path("/proc/self/fd").iterdir())
    return [str(link.readlink()) for link in links if link.is_symlink()]


def deleted_logs(world: Any) -> list[str]:
    return [path for path in open_files() if path == f"{world.logs}/a.jsonl (deleted)"]


@pytest.mark.scenario(32)
def test_a_file_deleted_with_unread_lines_is_read_through_its_descriptor(
    world: Any, make_line: Any, writer: Any
) -> None:
    writer.write(make_line(1))
    world.step()
    writer.write(make_line(2))
    (world.logs / "a.jsonl").unlink()
    world.step()
    assert world.sessions() == ["s1", "s2"]


@pytest.mark.scenario(33, 34)
def test_a_writer_that_goes_on_after_the_deletion_is_followed_until_it_closes(
    world: Any, make_line: Any, writer: Any
) -> None:
    writer.write(make_line(1))
    world.step()
    (world.logs / "a.jsonl").unlink()
    for number in (2, 3, 4):
        world.step()
        world.step()
        writer.write(make_line(number))
    world.step()
    assert world.sessions() == ["s1", "s2", "s3", "s4"]
    assert world.query("SELECT state FROM sources") == ["live"]
    assert deleted_logs(world)
    writer.close()
    for _ in range(2):
        world.step()
    assert world.query("SELECT state FROM sources") == ["gone"]
    assert deleted_logs(world) == []
    assert world.query("SELECT count(*) FROM gaps") == [0]


@pytest.mark.scenario(12)
def test_a_file_renamed_out_of_the_folder_is_read_to_its_end(
    world: Any, make_line: Any, writer: Any, tmp_path: Path
) -> None:
    writer.write(make_line(1))
    world.step()
    writer.write(make_line(2))
    (world.logs / "a.jsonl").rename(tmp_path / "elsewhere.log")
    world.step()
    writer.write(make_line(3))
    world.step()
    assert world.sessions() == ["s1", "s2", "s3"]


def test_the_last_line_of_a_deleted_file_counts_without_its_newline_when_it_is_whole(
    world: Any, make_line: Any, writer: Any
) -> None:
    writer.write(make_line(1) + make_line(2).rstrip(b"\n"))
    world.step()
    assert world.sessions() == ["s1"]
    (world.logs / "a.jsonl").unlink()
    writer.close()
    for _ in range(3):
        world.step()
    assert world.sessions() == ["s1", "s2"]
    world.append("again.jsonl", make_line(1), make_line(2))
    world.step()
    assert world.sessions() == ["s1", "s2"]


def test_the_torn_last_line_of_a_deleted_file_is_a_dead_letter(
    world: Any, make_line: Any, writer: Any
) -> None:
    writer.write(make_line(1) + make_line(2)[:30])
    world.step()
    (world.logs / "a.jsonl").unlink()
    writer.close()
    for _ in range(3):
        world.step()
    assert world.sessions() == ["s1"]
    assert world.query("SELECT reason, raw FROM dead_letters") == [
        ("unterminated", make_line(2)[:30])
    ]
    assert world.query("SELECT state FROM sources") == ["gone"]


@pytest.mark.scenario(38)
@pytest.mark.parametrize("running", [True, False])
def test_a_rotated_and_compressed_file_adds_only_what_was_unread(
    world: Any, make_line: Any, running: bool
) -> None:
    lines = [make_line(n, ids=n % 2 == 0) for n in range(1, 81)]
    world.append("a.jsonl", *lines[:30])
    world.step()
    if not running:
        world.stop()
    (world.logs / "a.jsonl.1.gz").write_bytes(gzip.compress(b"".join(lines)))
    (world.logs / "a.jsonl").unlink()
    if not running:
        world._start()
    for _ in range(3):
        world.step()
    assert world.sessions() == [f"s{n}" for n in range(1, 81)]
    assert world.counts() == (110, 80, 30, 0, 0)
    world.restart()
    world.step()
    assert world.counts() == (110, 80, 30, 0, 0)


@pytest.mark.scenario(40)
def test_a_gzip_file_still_being_written_waits_until_it_is_whole(
    world: Any, make_line: Any
) -> None:
    whole = (
        gzip.compress(make_line(1)) + gzip.compress(b"") + gzip.compress(make_line(2)) + b"\0" * 99
    )
    for part in (whole[:10], whole[10:50], whole[50:-150]):
        world.append("a.jsonl.gz", part)
        world.step()
        assert world.sessions() in ([], ["s1"])
        if part is not whole[50:-150]:
            assert world.sessions() == []
    world.append("a.jsonl.gz", whole[len(whole) - 150 :])
    world.step()
    assert world.sessions() == ["s1", "s2"]


@pytest.mark.scenario(39)
@pytest.mark.parametrize("damage", ["header", "data", "checksum", "cut", "junk"])
def test_a_damaged_gzip_file_gives_no_line_and_is_said(
    world: Any, make_line: Any, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "READ_BYTES", 1000)  # the damage lies behind what is read first
    good = gzip.compress(b"".join(make_line(n, pad=str(n)) for n in range(200)))
    bad = {
        "header": good[:2] + b"\xff" + good[3:],
        "data": good[:300] + bytes(64) + good[364:],
        "checksum": good[:-8] + bytes(8),
        "cut": good[:-8],
        "junk": good + b"junk",
    }[damage]
    world.append("a.jsonl.gz", bad)
    world.step()
    assert world.faults() == set()
    monkeypatch.setattr(source, "_INCOMPLETE_NS", -1)
    world.restart()
    world.step()
    assert world.sessions() == []
    assert any("not a complete gzip file" in fault for fault in world.faults())
    (world.logs / "a.jsonl.gz").write_bytes(good)
    world.step()
    assert len(world.sessions()) == 200
    assert world.faults() == set()


def test_a_gzip_file_read_in_many_pieces_and_interrupted_is_exact(
    world: Any, make_line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "READ_BYTES", 1000)
    whole = b"".join(make_line(n, ids=n % 2 == 0) for n in range(1, 101))
    world.append("a.jsonl.gz", gzip.compress(whole.rstrip(b"\n")))
    world.daemon._survey()
    for _ in range(12):
        world.daemon._ingest_round()
    some = len(world.sessions())
    assert 0 < some < 100
    world.restart()
    world.step()
    assert world.sessions() == [f"s{n}" for n in range(1, 101)]


@pytest.mark.scenario(20)
def test_a_hole_left_by_a_writer_that_kept_its_place_is_no_line(world: Any, make_line: Any) -> None:
    with (world.logs / "a.jsonl").open(
        "r+b" if (world.logs / "a.jsonl").exists() else "w+b", buffering=0
    ) as file:
        file.write(make_line(1))
        world.step()
        place = file.tell() + (3 << 20)
        shutil.copy(world.logs / "a.jsonl", world.logs / "a.jsonl.1")
        os.truncate(world.logs / "a.jsonl", 0)
        file.seek(place)
        file.write(make_line(2))
        world.step()
        file.write(make_line(3))
        world.step()
    assert (world.logs / "a.jsonl").read_bytes()[:place] == bytes(place)
    assert world.sessions() == ["s1", "s2", "s3"]
    assert world.query("SELECT count(*) FROM dead_letters") == [0]


@contextmanager
def few_descriptors() -> Iterator[None]:
    """Twenty more than are in use, for all that happens within."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(open_files()) + 20, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.scenario(59)
def test_more_files_than_descriptors_are_all_read(world: Any, make_line: Any) -> None:
    for number in range(200):
        world.append(f"{number}.jsonl", make_line(number))
    with few_descriptors():
        world.settle()
    world.append("7.jsonl", make_line(1000))
    with few_descriptors():
        world.settle()
    world.check()
    assert len(world.sessions()) == 201
    assert world.query("SELECT DISTINCT state FROM sources") == ["live"]


@pytest.mark.scenario(60)
def test_a_file_that_may_not_be_read_is_no_gap_and_heals(
    world: Any, make_line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.append("a.jsonl", make_line(1))
    real_open = os.open

    def refuse(path: Any, *arguments: Any, **more: Any) -> int:
        if str(path).endswith("a.jsonl"):
            raise PermissionError(13, "Permission denied")
        return real_open(path, *arguments, **more)

    monkeypatch.setattr(os, "open", refuse)
    world.step()
    assert world.faults() == {f"{world.logs / 'a.jsonl'}: Permission denied"}
    monkeypatch.undo()
    world.step()
    assert world.faults() == set()
    assert world.sessions() == ["s1"]
    assert world.query("SELECT count(*) FROM gaps") == [0]


def test_a_lease_tells_whether_anybody_can_still_write(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb"):
        reader = os.open(path, os.O_RDONLY)
        path.unlink()
        assert writers.has_writer(reader) is True
    assert writers.has_writer(reader) is False
    os.close(reader)
