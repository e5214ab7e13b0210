"""Very many files, at once and over time, and a huge one beside small ones."""

from __future__ import annotations

import os
import time
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from prodlensd.daemon import loop as daemon_module
from prodlensd.logs import source as source_module

_FILES = 10_000
_ACTIVE = 100
_LONG_AGO_S = 1_700_000_000
_ROUNDS = 5
_SOURCE_ROW_BYTES = 1000


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def open_logs(world: Any) -> list[str]:
    """What is open of the log folder, with or without a name."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [path for path in map(os.readlink, links) if path.startswith(str(world.logs))]


def late_line(make_line: Any, number: int) -> bytes:
    """A line of which there may be more than an hour has seconds."""
    hours, seconds = divmod(number, 3600)
    at = f"2026-01-{1 + hours // 24:02d}T{hours % 24:02d}:{seconds // 60:02d}:{seconds % 60:02d}Z"
    line: bytes = make_line(number, timestamp=at)
    return line


def idle_cpu_s(world: Any) -> float:
    """The CPU time of a step that finds nothing to do."""
    before = time.process_time()
    assert not world.daemon.ingest()
    return time.process_time() - before


@pytest.fixture
def linux() -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("memory and descriptors are counted in /proc")


def looks_s(world: Any, seconds: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The seconds at which the daemon looks at everything, when a look takes 0.125 s of CPU."""
    spent_s, clock_s = count(0.0, 0.125), [0]
    monkeypatch.setattr("prodlensd.daemon.loop.time.thread_time", lambda: next(spent_s))
    monkeypatch.setattr(world.daemon, "_clock", lambda: clock_s[0])
    found = []
    for second in range(seconds):
        clock_s[0] = second
        where = world.daemon._where_to_look()
        world.daemon.ingest(where)
        found += [second] if where is None else []
    return found


def test_looks_at_very_many_files_are_rarer_where_the_bell_tells_of_changes(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world.daemon._bell:
        assert looks_s(world, 140, monkeypatch) == [0, 5, 68, 131]


def test_looks_are_as_frequent_as_configured_where_no_bell_tells_of_changes(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert looks_s(world, 20, monkeypatch) == [0, 5, 10, 15]


@pytest.mark.long
@pytest.mark.scenario(56)
@pytest.mark.usefixtures("linux")
def test_ten_thousand_files_of_which_a_hundred_are_active(world: Any, make_line: Any) -> None:
    paths = [world.logs / f"{number}.jsonl" for number in range(_FILES)]
    for number, path in enumerate(paths):
        path.write_bytes(late_line(make_line, number))
        os.utime(path, (_LONG_AGO_S, _LONG_AGO_S))
    world.step()
    assert world.counts() == (_FILES, _FILES, 0, 0, 0)
    number = _FILES
    busy = idle = 0.0
    resident = []
    for _ in range(_ROUNDS):
        for path in paths[:: _FILES // _ACTIVE]:
            world.append(path.name, late_line(make_line, number))
            os.utime(path, (_LONG_AGO_S, _LONG_AGO_S + number))
            number += 1
        before = time.process_time()
        world.daemon.ingest()
        busy += time.process_time() - before
        idle += idle_cpu_s(world)
        resident.append(resident_bytes())
    assert world.counts() == (number, number, 0, 0, 0)
    assert number == _FILES + _ROUNDS * _ACTIVE
    assert len(world.query("SELECT DISTINCT session_id FROM traces")) == number
    # Twenty times what it takes on an idle machine: this is to find a cost that grows with all.
    assert busy / _ROUNDS < 4
    assert idle / _ROUNDS < 2
    assert resident[-1] - resident[1] < 8 << 20


@pytest.mark.scenario(56)
def test_files_at_rest_are_not_opened_and_not_read(
    world: Any, make_line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(300):
        world.append(f"{number}.jsonl", make_line(number))
        os.utime(world.logs / f"{number}.jsonl", (_LONG_AGO_S, _LONG_AGO_S))
    world.step()
    opened = []
    for name in ("open", "pread"):
        real = getattr(os, name)

        def noting(*arguments: Any, _real: Any = real, **more: Any) -> Any:
            opened.append(arguments[0])
            return _real(*arguments, **more)

        monkeypatch.setattr(os, name, noting)
    for _ in range(3):
        assert not world.daemon.ingest()
    assert opened == []
    world.append("7.jsonl", make_line(1000))
    world.daemon.ingest()
    assert len(opened) > 0


def come_and_go(world: Any, make_line: Any, rounds: int, files: int) -> None:
    """Files come, are read, and are deleted; all hold the same calls, so only sources are new."""
    lines = [make_line(number) for number in range(files)]
    for round_ in range(rounds):
        paths = [world.logs / f"{round_}-{number}.jsonl" for number in range(files)]
        for path, line in zip(paths, lines, strict=True):
            path.write_bytes(line)
        world.daemon.ingest()
        assert len(world.tailer._sources) >= files
        for path in paths:
            path.unlink()
        for _ in range(3):
            world.daemon.ingest()


def leaves_nothing_behind(world: Any, make_line: Any, rounds: int, files: int) -> None:
    come_and_go(world, make_line, 2, files)
    resident_before = resident_bytes()
    bytes_before = world.store.db.pragma("page_count") * world.store.db.pragma("page_size")
    come_and_go(world, make_line, rounds, files)
    world.check()
    sources = (rounds + 2) * files
    assert world.query("SELECT state, count(*) FROM sources GROUP BY 1") == [("gone", sources)]
    assert world.query("SELECT count(*) FROM traces") == [files]
    assert world.query("SELECT count(*) FROM gaps") == [0]
    assert world.tailer._sources == {}
    assert world.tailer._open == {}
    assert open_logs(world) == []
    assert resident_bytes() - resident_before < 16 << 20
    bytes_after = world.store.db.pragma("page_count") * world.store.db.pragma("page_size")
    assert bytes_after - bytes_before < (sources - 2 * files) * _SOURCE_ROW_BYTES
    world.restart()
    assert world.tailer._sources == {}


@pytest.mark.scenario(57)
@pytest.mark.usefixtures("linux")
def test_files_that_come_and_go_leave_a_row_each_and_nothing_else(
    world: Any, make_line: Any
) -> None:
    leaves_nothing_behind(world, make_line, rounds=8, files=100)


@pytest.mark.soak
@pytest.mark.scenario(57)
@pytest.mark.timeout(0)
@pytest.mark.usefixtures("linux")
def test_fifty_five_thousand_files_that_come_and_go_leave_a_row_each(
    world: Any, make_line: Any
) -> None:
    leaves_nothing_behind(world, make_line, rounds=110, files=500)


@pytest.fixture
def small_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "READ_BYTES", 16 << 10)
    monkeypatch.setattr(daemon_module, "READ_BYTES", 16 << 10)


@pytest.fixture
def commits(world: Any, monkeypatch: pytest.MonkeyPatch) -> list[set[str]]:
    """The names of the files in each commit, in order."""
    commits: list[set[str]] = []
    real = world.store.commit

    def commit(outcomes: Any, *more: Any) -> Any:
        outcomes = list(outcomes)
        commits.append({Path(outcome.end.path).name for outcome in outcomes})
        return real(outcomes, *more)

    monkeypatch.setattr(world.store, "commit", commit)
    return commits


def write_huge(world: Any, make_line: Any) -> None:
    world.append("huge.jsonl", *(make_line(n, pad="x" * 400) for n in range(1000, 2500)))
    os.utime(world.logs / "huge.jsonl", (_LONG_AGO_S, _LONG_AGO_S))  # the oldest is read first


@pytest.mark.scenario(58)
@pytest.mark.usefixtures("small_reads")
def test_a_huge_backlog_does_not_hold_up_fifty_small_files(
    world: Any, make_line: Any, commits: list[set[str]]
) -> None:
    write_huge(world, make_line)
    small = {f"{number}.jsonl" for number in range(50)}
    for number, name in enumerate(sorted(small)):
        world.append(name, make_line(number))
    world.step()
    huge = [number for number, names in enumerate(commits) if "huge.jsonl" in names]
    assert len(huge) > 30
    assert small <= set().union(*commits[: huge[1] + 1]), "not all within one round"
    assert world.counts() == (1550, 1550, 0, 0, 0)


@pytest.mark.scenario(58)
@pytest.mark.usefixtures("small_reads")
def test_lines_that_come_while_a_backlog_is_read_do_not_wait_for_its_end(
    world: Any, make_line: Any, commits: list[set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon_module, "_DRAIN_S", 0.0)  # looks at the folders after each round
    write_huge(world, make_line)
    for number in range(20):
        world.append(f"{number % 5}.jsonl", make_line(number))
        before = len(commits)
        assert world.daemon.ingest()
        assert f"{number % 5}.jsonl" in set().union(*commits[before:])
        assert "huge.jsonl" in set().union(*commits[before:])
    assert world.query("SELECT count(*) FROM sources WHERE lag_bytes > 0") == [1]
    world.step()
    assert world.counts() == (1520, 1520, 0, 0, 0)
