"""The folders themselves: renamed, replaced, mounted over, moved in and out."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from tests.scenario.conftest import World
from tests.service.conftest import Machine

_LONG_AGO_S = 1_700_000_000

Append = Callable[[Path], BinaryIO]


@pytest.fixture
def append() -> Iterator[Append]:
    """Programs that keep their log file open."""
    files: list[BinaryIO] = []

    def opened(path: Path) -> BinaryIO:
        files.append(path.open("ab", buffering=0))
        return files[-1]

    yield opened
    for file in files:
        file.close()


class DeepWorld(World):
    """Its daemon looks into the folders in the log folder as well."""

    def _start(self) -> None:
        super()._start()
        self.tailer._logs._recursive = True


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[DeepWorld]:
    deep = DeepWorld(tmp_path)
    yield deep
    deep.stop()


def names(first: int, last: int) -> list[str]:
    return [f"s{number}" for number in range(first, last + 1)]


def at_rest(path: Path) -> None:
    """As if written long ago: a file that has just been written is looked at again anyway."""
    os.utime(path, (_LONG_AGO_S, _LONG_AGO_S))


def settle(world: World) -> None:
    """As often as it takes to let go what can be let go."""
    for _ in range(4):
        world.step()


# The log folder


@pytest.mark.scenario(63)
def test_a_log_folder_renamed_and_made_again_is_followed_by_its_path(
    world: Any, make_line: Any, append: Append, tmp_path: Path
) -> None:
    writer = append(world.logs / "a.jsonl")
    writer.write(make_line(1))
    at_rest(world.logs / "a.jsonl")
    world.step()
    world.logs.rename(tmp_path / "old")
    world.logs.mkdir()
    writer.write(make_line(2, ids=False))
    world.append("a.jsonl", make_line(3, ids=False))
    world.step()
    writer.write(make_line(4))
    settle(world)
    assert (tmp_path / "old" / "a.jsonl").stat().st_ino != (world.logs / "a.jsonl").stat().st_ino
    assert world.sessions() == names(1, 4)
    assert world.counts() == (4, 4, 0, 0, 0)


@pytest.mark.scenario(63)
def test_a_log_folder_replaced_by_a_link_to_another_is_followed_by_its_path(
    world: Any, make_line: Any, append: Append, tmp_path: Path
) -> None:
    writer = append(world.logs / "a.jsonl")
    writer.write(make_line(1))
    at_rest(world.logs / "a.jsonl")
    world.step()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.jsonl").write_bytes(make_line(3))
    world.logs.rename(tmp_path / "old")
    world.logs.symlink_to(elsewhere)
    writer.write(make_line(2))
    settle(world)
    assert world.sessions() == names(1, 3)
    world.logs.unlink()
    world.logs.symlink_to(tmp_path / "old")
    writer.write(make_line(4))
    settle(world)
    assert world.sessions() == names(1, 4)
    assert len(set(world.query("SELECT key FROM trace"))) == 4


@pytest.mark.scenario(63)
def test_a_log_folder_that_is_away_for_a_while_is_no_loss_and_said(
    world: Any, make_line: Any, append: Append, tmp_path: Path
) -> None:
    writer = append(world.logs / "a.jsonl")
    writer.write(make_line(1))
    at_rest(world.logs / "a.jsonl")
    world.step()
    world.logs.rename(tmp_path / "old")
    settle(world)
    assert world.faults() == {f"{world.logs}: No such file or directory"}
    assert world.query("SELECT state FROM sources") == ["live"]
    writer.write(make_line(2))
    (tmp_path / "old").rename(world.logs)
    settle(world)
    assert world.faults() == set()
    assert world.counts() == (2, 2, 0, 0, 0)


@pytest.mark.scenario(63)
def test_what_is_written_into_a_folder_that_left_for_good_is_read_through_open_files(
    world: Any, make_line: Any, append: Append, tmp_path: Path
) -> None:
    writer = append(world.logs / "a.jsonl")
    writer.write(make_line(1))
    at_rest(world.logs / "a.jsonl")
    world.step()
    world.logs.rename(tmp_path / "old")
    world.step()
    writer.write(make_line(2))
    settle(world)
    assert world.faults() == {f"{world.logs}: No such file or directory"}
    assert world.sessions() == names(1, 2)


@pytest.mark.scenario(63)
def test_a_folder_that_cannot_be_listed_keeps_no_deleted_file_of_another_folder(
    world: Any, make_line: Any, append: Append, tmp_path: Path
) -> None:
    missing = tmp_path / "missing"
    world.tailer._logs.directories = [str(world.logs), str(missing)]
    writer = append(world.logs / "a.jsonl")
    writer.write(make_line(1))
    at_rest(world.logs / "a.jsonl")
    world.step()
    assert world.faults() == {f"{missing}: No such file or directory"}
    (world.logs / "a.jsonl").unlink()
    writer.write(make_line(2))
    settle(world)
    assert world.sessions() == names(1, 2)
    writer.close()
    settle(world)
    assert world.query("SELECT state FROM sources") == ["gone"]
    assert world.tailer._sources == {}


@pytest.mark.scenario(63)
def test_a_disk_mounted_over_the_log_folder_is_read_and_so_is_what_it_hides(
    world: Any, make_line: Any, append: Append
) -> None:
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    if not mount or not unmount or os.geteuid() != 0:
        pytest.skip("only root may mount a disk")
    writer = append(world.logs / "a.jsonl")
    writer.write(make_line(1))
    at_rest(world.logs / "a.jsonl")
    world.step()
    mounting = [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(world.logs)]
    if subprocess.run(mounting, check=False, capture_output=True).returncode:
        pytest.skip("this machine may not mount a disk")
    try:
        assert not list(world.logs.iterdir())
        world.append("a.jsonl", make_line(2))
        writer.write(make_line(3))
        settle(world)
        assert world.sessions() == names(1, 3)
        world.tailer.close()
    finally:
        subprocess.run([unmount, str(world.logs)], check=True)
    writer.write(make_line(4))
    settle(world)
    assert world.sessions() == names(1, 4)
    assert world.counts()[:2] == (4, 4)


# Folders in the log folder


@pytest.mark.scenario(64)
def test_a_folder_moved_in_with_its_files_is_read(
    deep: DeepWorld, make_line: Any, tmp_path: Path
) -> None:
    deep.append("a.jsonl", make_line(1))
    deep.step()
    coming = tmp_path / "coming" / "inner"
    coming.mkdir(parents=True)
    (coming / "b.jsonl").write_bytes(make_line(2))
    (coming.parent / "c.jsonl").write_bytes(make_line(3))
    coming.parent.rename(deep.logs / "d")
    deep.step()
    deep.append("d/inner/b.jsonl", make_line(4))
    deep.step()
    assert deep.sessions() == names(1, 4)
    assert deep.counts() == (4, 4, 0, 0, 0)


@pytest.mark.scenario(64)
def test_a_folder_moved_out_with_unread_lines_is_read_to_its_end_and_may_come_back(
    deep: DeepWorld, make_line: Any, append: Append, tmp_path: Path
) -> None:
    (deep.logs / "d").mkdir()
    writer = append(deep.logs / "d" / "a.jsonl")
    writer.write(make_line(1))
    at_rest(deep.logs / "d" / "a.jsonl")
    deep.step()
    writer.write(make_line(2, ids=False))
    (deep.logs / "d").rename(tmp_path / "away")
    settle(deep)
    writer.write(make_line(3, ids=False))
    settle(deep)
    assert deep.sessions() == names(1, 3)
    (tmp_path / "away").rename(deep.logs / "e")
    writer.write(make_line(4, ids=False))
    settle(deep)
    assert deep.sessions() == names(1, 4)
    assert deep.counts() == (4, 4, 0, 0, 0)
    assert deep.query("SELECT path FROM sources") == [str(deep.logs / "e" / "a.jsonl")]


@pytest.mark.scenario(64)
def test_a_folder_moved_out_and_back_while_the_daemon_was_down_adds_nothing(
    deep: DeepWorld, make_line: Any, tmp_path: Path
) -> None:
    (deep.logs / "d").mkdir()
    deep.append("d/a.jsonl", make_line(1, ids=False))
    deep.step()
    deep.stop()
    (deep.logs / "d").rename(tmp_path / "away")
    deep._start()
    settle(deep)
    assert deep.query("SELECT state FROM sources") == ["gone"]
    (tmp_path / "away").rename(deep.logs / "e")
    deep.append("e/a.jsonl", make_line(2, ids=False))
    settle(deep)
    assert deep.sessions() == names(1, 2)


@pytest.mark.long
@pytest.mark.scenario(64)
def test_a_running_daemon_reads_what_is_moved_in_and_what_is_written_there_later(
    home: Path, make_line: Any, wait_until: Callable[..., Any], tmp_path: Path
) -> None:
    machine = Machine(home, wait_until)
    machine.config.write_text("[logs]\nrecursive = true\nrescan_interval_s = 1\n")
    coming = tmp_path / "coming"
    coming.mkdir()
    (coming / "a.jsonl").write_bytes(make_line(1))
    try:
        machine.start("--config", str(machine.config))
        coming.rename(machine.logs / "d")
        counted = "SELECT count(*), sum(duplicates) FROM traces, sources"
        wait_until(lambda: machine.query(counted) == [(1, 0)], "the line that was moved in")
        with (machine.logs / "d" / "a.jsonl").open("ab") as file:
            file.write(make_line(2))
        wait_until(lambda: machine.query(counted) == [(2, 0)], "the line written there")
    finally:
        machine.reap()
