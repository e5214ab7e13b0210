"""Events that do not come: too many at once, no watches left, or writers that make none."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prodlensd.logs.bell import Bell
from tests.service.conftest import Machine

_LONG_AGO_S = 1_700_000_000
_QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")
#: created, opened, modified, closed
_EVENTS_A_FILE = 4
_MOST_FILES = 20_000
_WATCHES = 3
#: In a user namespace of its own the limit is nobody else's, and may be set by anybody.
_LIMITED = 'echo %d > /proc/sys/user/max_inotify_watches && exec "$@"'


def stamped_line(make_line: Any, number: int) -> bytes:
    hours, seconds = divmod(number, 3600)
    line: bytes = make_line(
        number, timestamp=f"2026-01-01T{hours:02d}:{seconds // 60:02d}:{seconds % 60:02d}Z"
    )
    return line


@pytest.fixture
def machine(home: Path, wait_until: Callable[..., Any]) -> Iterator[Machine]:
    machine = Machine(home, wait_until)
    yield machine
    machine.reap()


# Too many events


@pytest.mark.long
@pytest.mark.scenario(65)
def test_more_events_than_the_queue_holds_cost_no_line(
    machine: Machine, make_line: Any, wait_until: Callable[..., Any]
) -> None:
    if not _QUEUE.exists():
        pytest.skip("the queue's length is known on Linux only")
    files = int(_QUEUE.read_text()) // _EVENTS_A_FILE + 200
    if files > _MOST_FILES:
        pytest.skip("it would take too many files to fill this machine's queue")
    daemon = machine.start()
    daemon.send_signal(signal.SIGSTOP)
    for number in range(files):
        (machine.logs / f"{number}.jsonl").write_bytes(stamped_line(make_line, number))
    daemon.send_signal(signal.SIGCONT)
    counted = "SELECT sum(traces), sum(duplicates), count(*) FROM sources"
    wait_until(lambda: machine.query(counted) == [(files, 0, files)], "all lines")
    wait_until(lambda: "queue overflowed" in machine.said(), "the overflow")
    with (machine.logs / "0.jsonl").open("ab") as file:
        file.write(stamped_line(make_line, files))
    wait_until(lambda: machine.query(counted) == [(files + 1, 0, files)], "the line after it")
    assert machine.query("SELECT watcher FROM daemon") == ["ok"]


# No watches left


def start_limited(machine: Machine, wait_until: Callable[..., Any]) -> subprocess.Popen[bytes]:
    """Starts a daemon that gets three watches."""
    unshare = shutil.which("unshare")
    limited = [unshare or "", "-U", "-r", "sh", "-c", _LIMITED % _WATCHES, "sh"]
    if not unshare or subprocess.run([*limited, "true"], check=False).returncode:
        pytest.skip("this machine gives nobody a limit of his own")
    with machine.log.open("ab") as log:
        run = [*limited, sys.executable, "-m", "prodlensd", "run"]
        daemon = subprocess.Popen(run, stderr=log)
    machine._started.append(daemon)
    beat = "SELECT pid FROM daemon WHERE phase = 'running'"
    wait_until(lambda: machine.query(beat) == [daemon.pid], "the first heartbeat")
    return daemon


@pytest.mark.sampled(2)
@pytest.mark.scenario(66)
@pytest.mark.parametrize("recursive", [False, True])
def test_more_folders_than_watches_are_all_read_and_the_watcher_is_called_degraded(
    machine: Machine, make_line: Any, wait_until: Callable[..., Any], recursive: bool
) -> None:
    folders = [machine.logs / str(number) for number in range(2 * _WATCHES)]
    for folder in folders:
        folder.mkdir()
    directories = f"recursive = true\ndirectories = ['{machine.logs}']\n"
    if not recursive:
        directories = f"directories = {[str(folder) for folder in folders]}\n"
    machine.config.write_text(f"[logs]\nrescan_interval_s = 1\n{directories}")
    start_limited(machine, wait_until)
    for number, folder in enumerate(folders):
        (folder / "a.jsonl").write_bytes(make_line(number))
    counted = "SELECT count(*) FROM traces"
    wait_until(lambda: machine.query(counted) == [len(folders)], "a line of each")
    assert machine.query("SELECT sum(duplicates) FROM sources") == [0]
    [watcher] = machine.query("SELECT watcher FROM daemon")
    assert watcher.startswith("degraded: "), watcher


@pytest.fixture
def few_watches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The system refuses all watches but the first three, until the list is emptied."""
    inotify = pytest.importorskip("watchdog.observers.inotify_c")
    real = inotify.inotify_add_watch
    refused = [0]
    given = 0

    def add_watch(*arguments: Any) -> int:
        nonlocal given
        given += 1
        if refused and given > _WATCHES:
            refused[0] += 1
            ctypes.set_errno(errno.ENOSPC)
            return -1
        return int(real(*arguments))

    monkeypatch.setattr(inotify, "inotify_add_watch", add_watch)
    return refused


@pytest.mark.scenario(66)
@pytest.mark.parametrize("recursive", [False, True])
def test_a_bell_that_gets_too_few_watches_says_so_until_it_gets_them(
    tmp_path: Path, few_watches: list[int], recursive: bool
) -> None:
    folders = [tmp_path / str(number) for number in range(2 * _WATCHES)]
    for folder in folders:
        folder.mkdir()
    with Bell([tmp_path] if recursive else folders, recursive=recursive) as bell:
        assert few_watches[0] > 0
        assert bell.state.startswith("degraded: "), bell.state
        few_watches.clear()
        bell.repair()
        assert bell.state == "ok"
        (folders[-1] / "a.jsonl").write_bytes(b"x")
        assert bell.wait(100)


@pytest.mark.scenario(66)
def test_a_folder_that_cannot_be_watched_costs_no_thread_a_look(tmp_path: Path) -> None:
    with Bell([tmp_path, tmp_path / "missing"]) as bell:
        assert bell.state.startswith("degraded: ")
        bell.repair()
        threads = threading.active_count()
        for _ in range(5):
            bell.repair()
        assert threading.active_count() <= threads


@pytest.mark.scenario(63)
def test_a_folder_that_is_reached_by_a_link_is_watched(tmp_path: Path) -> None:
    one, other, link = tmp_path / "one", tmp_path / "other", tmp_path / "link"
    one.mkdir()
    other.mkdir()
    link.symlink_to(one)
    with Bell([link]) as bell:
        (one / "a.jsonl").write_bytes(b"x")
        assert bell.wait(100)
        link.unlink()
        link.symlink_to(other)
        bell.repair()
        while bell.wait(0.2):
            pass
        (other / "a.jsonl").write_bytes(b"x")
        assert bell.wait(100)


# Writers that make no events


class MappedLog:
    """A log of a fixed size, written through memory as far as it goes."""

    def __init__(self, path: Path, content: bytes, size_bytes: int) -> None:
        self.path = path
        self._place = len(content)
        path.write_bytes(content)
        os.truncate(path, size_bytes)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), size_bytes)
        os.utime(path, (_LONG_AGO_S, _LONG_AGO_S))

    def write(self, line: bytes) -> None:
        before = self.path.stat()
        self._map[self._place : self._place + len(line)] = line
        self._place += len(line)
        after = self.path.stat()
        if (before.st_mtime_ns, before.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns):
            pytest.skip("this file system does not tell of writes through memory")

    def close(self) -> None:
        self._map.close()


@pytest.mark.scenario(68)
@pytest.mark.parametrize("ids", [True, False])
def test_what_is_written_through_memory_rings_no_bell_and_is_found_by_looking(
    world: Any, make_line: Any, ids: bool
) -> None:
    log = MappedLog(world.logs / "a.jsonl", make_line(1, ids=ids), 1 << 16)
    world.step()
    assert world.query("SELECT offset, lag_bytes FROM sources") == [(len(make_line(1, ids=ids)), 0)]
    with Bell([world.logs]) as bell:
        log.write(make_line(2, ids=ids))
        assert not bell.wait(0.5)
    world.step()
    log.close()
    assert world.sessions() == ["s1", "s2"]
    assert world.query("SELECT count(*) FROM trace") == [2]
    assert world.query("SELECT count(*) FROM dead_letters") == [0]


@pytest.mark.long
@pytest.mark.scenario(68)
def test_a_running_daemon_finds_what_was_written_through_memory(
    machine: Machine, make_line: Any, wait_until: Callable[..., Any]
) -> None:
    machine.config.write_text("[logs]\nrescan_interval_s = 1\n")
    log = MappedLog(machine.logs / "a.jsonl", make_line(1), 1 << 16)
    machine.start()
    ended = "SELECT count(*) FROM sources WHERE lag_bytes = 0 AND traces = 1"
    wait_until(lambda: machine.query(ended) == [1], "the first line")
    log.write(make_line(2))
    log.close()
    wait_until(lambda: machine.query("SELECT count(*) FROM traces") == [2], "by rescan")
    assert machine.query("SELECT sum(traces) FROM sources") == [2]
