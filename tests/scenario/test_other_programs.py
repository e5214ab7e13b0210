"""What other people's log programs met, told of this one: see the stories from 92 on."""

from __future__ import annotations

import errno
import gzip
import os
import random
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from prodlensd.daemon.faults import MAX_FAULT_CHARS
from prodlensd.daemon.jobs import Job, ScheduledJob
from prodlensd.logs import folders as sightings
from prodlensd.logs import tailer as tailer_module
from prodlensd.logs.gap_search import GapSearch
from prodlensd.logs.gunzip import Unzipped
from prodlensd.logs.tailer import Tailer
from prodlensd.model import Sighting
from prodlensd.model import file_id as file_id_of
from tests.scenario.proving import PROVEN, verdict

_MIB = 1 << 20


def lines(make_line: Any, first: int, last: int, **more: Any) -> list[bytes]:
    return [make_line(n, ids=n % 2 == 0, **more) for n in range(first, last + 1)]


def names(first: int, last: int) -> list[str]:
    return [f"s{n}" for n in range(first, last + 1)]


def make_gap(world: Any, make_line: Any) -> None:
    """Three lines are seen, and cut off before they are read."""
    world.append("live.jsonl", *lines(make_line, 1, 400))
    world.step()
    world.append("live.jsonl", *lines(make_line, 401, 403))
    world.daemon._survey()
    world.daemon._survey()
    (world.logs / "live.jsonl").write_bytes(make_line(404))
    world.step()
    assert world.query("SELECT state FROM gaps") == ["open"]


# Gaps, and where their bytes may be


@pytest.mark.sampled(2)
@pytest.mark.scenario(106)
@pytest.mark.parametrize("compressed", [True, False])
def test_an_open_gap_is_searched_for_once_in_each_file_and_not_again(
    world: Any, make_line: Any, monkeypatch: pytest.MonkeyPatch, compressed: bool
) -> None:
    for number in range(5):
        content = b"".join(lines(make_line, 1000 * (number + 1), 1000 * (number + 1) + 600))
        name = f"old-{number}.jsonl{'.gz' if compressed else ''}"
        (world.logs / name).write_bytes(gzip.compress(content) if compressed else content)
    world.step()
    make_gap(world, make_line)
    searched = []
    real = GapSearch._search

    def noting(self: GapSearch, source_id: int, gap: Any) -> Any:
        searched.append((source_id, gap.gap_id))
        return real(self, source_id, gap)

    monkeypatch.setattr(GapSearch, "_search", noting)
    for number in range(2000, 2020):
        world.append("other.jsonl", make_line(number))
        world.step()
    assert searched == []
    world.restart()
    world.step()
    assert len(searched) == len(set(searched)) >= 5, "after a restart all are searched once more"


@pytest.mark.long
@pytest.mark.scenario(106)
def test_a_line_is_not_kept_waiting_by_the_search_for_a_gap(
    world: Any, make_line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much there is to inflate, a step searches no longer than its time."""
    chance = random.Random(1)  # noqa: S311 - what does not compress well
    noise = [make_line(n, pad=chance.randbytes(400).hex()) for n in range(10_000, 40_000)]
    (world.logs / "old.jsonl.gz").write_bytes(gzip.compress(b"".join(noise), 1))
    world.append("live.jsonl", *(make_line(n, pad="x" * 700) for n in range(25_000, 45_000)))
    world.step()
    path = world.logs / "live.jsonl"
    world.append("live.jsonl", make_line(9))
    world.daemon._survey()
    world.daemon._survey()
    path.write_bytes(make_line(8))
    inflated = []
    real = Unzipped.pass_over

    def noting(self: Any, offset: int, end: int) -> bool:
        inflated.append(threading.get_ident())
        return real(self, offset, end)

    monkeypatch.setattr(Unzipped, "pass_over", noting)
    monkeypatch.setattr("prodlensd.daemon.loop._SEARCH_S", 0.0)
    steps = 0
    while world.daemon.ingest():
        steps += 1
        assert len(inflated) <= steps, "one block a step"
    assert len(inflated) > 10
    assert world.query("SELECT state FROM gaps") == ["open"]


@pytest.mark.scenario(95)
def test_a_copy_that_lives_for_milliseconds_is_read_though_its_name_is_gone(
    world: Any, make_line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is opened when it is seen: before it is noted, which takes a disk its time."""
    world.append("a.jsonl", *lines(make_line, 1, 5))
    world.step()
    real = world.store.sources.register
    copy = world.logs / "a.jsonl.1"

    def register(seen: list[Sighting], now_us: int) -> Any:
        if copy.exists():  # gzip is done, meanwhile
            (world.logs / "a.jsonl.1.gz").write_bytes(gzip.compress(copy.read_bytes()))
            copy.unlink()
        return real(seen, now_us)

    monkeypatch.setattr(world.store.sources, "register", register)
    world.append("a.jsonl", *lines(make_line, 6, 8))
    shutil.copy(world.logs / "a.jsonl", copy)
    os.truncate(world.logs / "a.jsonl", 0)
    for _ in range(4):
        world.step()
    assert not copy.exists()
    assert world.sessions() == names(1, 8)
    assert world.query("SELECT reason, state FROM gaps") == []
    assert verdict(world) == PROVEN


@pytest.mark.scenario(95)
@pytest.mark.parametrize("follows", ["its gzip", "nothing", "the gzip of another"])
def test_a_file_that_went_unread_is_a_loss_unless_what_was_compressed_of_it_follows(
    world: Any, make_line: Any, follows: str
) -> None:
    content = b"".join(lines(make_line, 1, 3))
    copy = world.logs / "a.jsonl.1"
    copy.write_bytes(content)
    world.daemon._survey()
    world.stop()  # noted, and never read
    with copy.open("rb"):  # so that no other file gets its inode
        copy.unlink()
        if follows != "nothing":
            name = "a.jsonl.1.gz" if follows == "its gzip" else "b.jsonl.1.gz"
            (world.logs / name).write_bytes(gzip.compress(content))
    world._start()
    for _ in range(4):
        world.step()
    expected = "resolved" if follows == "its gzip" else "open"
    assert world.query("SELECT state, known_bytes FROM gaps") == [(expected, len(content))]


# What is no log, and what is passed over


@pytest.mark.scenario(94)
@pytest.mark.parametrize("suffix", ["-20261126", "-20261126.gz", "-20261126-1795699200", ".1"])
def test_a_log_rotated_by_its_date_while_the_daemon_is_down_is_read(
    world: Any, make_line: Any, suffix: str
) -> None:
    world.append("app.jsonl", *lines(make_line, 1, 4))
    world.step()
    world.append("app.jsonl", *lines(make_line, 5, 7))
    world.stop()
    rotated = world.logs / f"app.jsonl{suffix}"
    content = (world.logs / "app.jsonl").read_bytes()
    rotated.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    (world.logs / "app.jsonl").write_bytes(make_line(8))
    world._start()
    world.step()
    assert world.sessions() == names(1, 8)
    assert verdict(world) == PROVEN


@pytest.mark.scenario(94)
def test_what_a_rule_passes_over_is_counted_and_named(world: Any, make_line: Any) -> None:
    for name in ("UPPER.JSONL", "notes.txt", "a.log", "b.log"):
        (world.logs / name).write_bytes(make_line(1))
    (world.logs / "current.jsonl").symlink_to(world.logs / "a.log")
    (world.logs / "older").mkdir()
    world.step()
    passed = {rule: (over.count, over.names) for rule, over in world.tailer.passed_over.items()}
    at = str(world.logs)
    assert passed == {
        "logs.include": (4, [f"{at}/UPPER.JSONL", f"{at}/a.log", f"{at}/b.log"]),
        "links": (1, [f"{at}/current.jsonl"]),
        "logs.recursive": (1, [f"{at}/older"]),
    }


@pytest.mark.scenario(96)
def test_its_own_files_are_never_logs(tmp_path: Path, make_line: Any) -> None:
    own = [tmp_path / name for name in ("p.db", "p.db-wal", "p.db.lock")]
    for path in own:
        path.write_bytes(b"SQLite, say")
    (tmp_path / "parquet").mkdir()
    (tmp_path / "parquet" / "a.parquet").write_bytes(b"PAR1")
    (tmp_path / "a.jsonl").write_bytes(make_line(1))
    os.link(own[0], tmp_path / "another name")
    tailer = Tailer(
        [tmp_path],
        include=["*"],
        recursive=True,
        max_line_bytes=_MIB,
        own=[*own, tmp_path / "parquet"],
    )
    assert [seen.path for seen in tailer.scan(0).new] == [str(tmp_path / "a.jsonl")]
    glanced = tailer.glance([str(path) for path in (*own, tmp_path / "a.jsonl")], 0)
    assert [seen.path for seen in glanced.new] == [str(tmp_path / "a.jsonl")]


# Files at rest


@pytest.mark.scenario(100)
def test_a_file_that_is_quiet_for_minutes_is_closed_and_opened_again_when_it_changes(
    world: Any, make_line: Any
) -> None:
    path = world.logs / "a.jsonl"
    world.append("a.jsonl", make_line(1))
    os.utime(path, (1_700_000_000, 1_700_000_000))
    world.step()
    minutes_ns = 60 * 10**9
    now_ns = world.tailer._now_ns
    world.tailer.close_quiet(now_ns + minutes_ns)
    assert list(world.tailer._open) == [1], "not yet"
    world.tailer.close_quiet(now_ns + 6 * minutes_ns)
    assert not world.tailer._open
    world.append("a.jsonl", make_line(2))
    world.step()
    assert world.sessions() == ["s1", "s2"]
    assert list(world.tailer._open) == [1]


@pytest.mark.scenario(100)
@pytest.mark.parametrize("why", ["unread", "nameless"])
def test_a_file_that_could_not_be_opened_again_or_is_not_read_stays_open(
    world: Any, make_line: Any, why: str
) -> None:
    path = world.logs / "a.jsonl"
    with path.open("ab", buffering=0) as writer:
        writer.write(make_line(1))
        os.utime(path, (1_700_000_000, 1_700_000_000))
        world.step()
        if why == "nameless":
            path.unlink()
        else:
            writer.write(make_line(2))
        world.daemon._survey()
        world.tailer.close_quiet(world.tailer._now_ns + 10**13)
        assert list(world.tailer._open) == [1]


# Numbers, and many at once


@pytest.mark.scenario(99)
def test_inodes_of_64_bits_are_as_good_as_any(
    world: Any, make_line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hashes and remote numbers, as mergerfs, CIFS and 9p give them."""
    real = file_id_of
    high = 1 << 63

    def file_id(status: Any) -> tuple[int, int]:
        dev, inode = real(status)
        assert inode < high - 1
        return real(os.stat_result(replaced(status, st_dev=dev, st_ino=inode | high)))

    for module in (sightings, tailer_module):
        monkeypatch.setattr(module, "file_id", file_id)
    world.append("a.jsonl", *lines(make_line, 1, 3))
    world.step()
    (world.logs / "a.jsonl").rename(world.logs / "a.jsonl.1")
    world.append("a.jsonl", make_line(4))
    world.step()
    world.restart()
    world.append("a.jsonl.1", make_line(5))
    world.step()
    assert world.sessions() == names(1, 5)
    assert world.counts() == (5, 5, 0, 0, 0)
    assert all(inode < 0 for inode in world.query("SELECT inode FROM source"))


def replaced(status: os.stat_result, **values: int) -> list[int]:
    fields = ("st_mode", "st_ino", "st_dev", "st_nlink", "st_uid", "st_gid", "st_size")
    return [*(values.get(name, getattr(status, name)) for name in fields), 0, 0, 0]


@pytest.mark.scenario(56)
def test_thousands_of_moved_or_vanished_files_are_one_transaction(
    world: Any, make_line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a reboot that gave the disk another number."""
    for number in range(500):
        world.append(f"{number}.jsonl", make_line(number))
    world.step()
    with world.store.db as db:
        db.execute("UPDATE source SET dev = dev + 1")
    world.restart()
    begun = []
    monkeypatch.setattr(type(world.store), "_check_ours", lambda _store: begun.append(1))
    world.daemon._survey()
    assert len(begun) == 1
    assert world.query("SELECT count(DISTINCT dev) FROM source") == [1]
    for path in world.logs.iterdir():
        path.unlink()
    for _ in range(3):
        world.daemon._survey()
    assert len(begun) == 2
    assert world.query("SELECT DISTINCT state FROM sources") == ["gone"]


@pytest.mark.long
def test_faults_without_number_are_said_in_a_few_words(world: Any) -> None:
    for number in range(3000):
        (world.logs / f"service-{number:04}.jsonl.zst").write_bytes(b"\x28\xb5\x2f\xfd" + b"x" * 20)
    (world.logs / "b.jsonl.bz2").write_bytes(b"BZh91AY&SY" + b"x" * 20)
    with structlog.testing.capture_logs() as said:
        for _ in range(3):
            world.daemon.ingest()
    assert len([entry for entry in said if entry["log_level"] == "warning"]) == 2
    assert len(world.daemon._faults.unreadable) == 3001
    text = world.daemon._fault_text()
    assert len(text) < 2 * MAX_FAULT_CHARS
    assert "compressed with zstd; only gzip is read (and 2,999 more)" in text
    assert "compressed with bzip2" in text
    world.daemon.begin()
    world.daemon.beat("running", force=True)
    assert world.query("SELECT fault FROM daemon") == [text]


# Who helps the daemon


@pytest.mark.scenario(97)
@pytest.mark.parametrize("fault", [errno.EAGAIN, errno.EMFILE, errno.ENOMEM, errno.ENOENT])
def test_work_that_cannot_be_started_holds_nothing_else_up_and_is_said_once(fault: int) -> None:
    """No process or descriptor is left; or the interpreter was removed under us."""
    is_broken = True

    def start() -> subprocess.Popen[bytes]:
        if is_broken:
            raise OSError(fault, os.strerror(fault))
        return subprocess.Popen(["true"])  # noqa: S607 - any program

    now_s = 0.0
    with structlog.testing.capture_logs() as said:
        compaction = Job("compaction", start, lambda: True)
        job = ScheduledJob(compaction, 10.0, structlog.get_logger(), lambda: now_s)
        for _ in range(50):
            now_s += 4000
            assert not job.step()
        assert os.strerror(fault) in job.fault
        is_broken = False
        now_s += 4000
        assert job.step()
        job.end()
    assert job.fault == ""
    assert [entry["log_level"] for entry in said] == ["warning"]


def test_work_that_fails_for_years_is_tried_every_hour_all_the_same() -> None:
    now_s = 0.0

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(["false"])  # noqa: S607 - any program

    fails = Job("compaction", start, lambda: True)
    job = ScheduledJob(fails, 300.0, structlog.get_logger(), lambda: now_s)
    job._failures = 5000
    now_s += 10_000
    assert job.step()
    assert job._child is not None
    job._child.wait()
    assert not job.step()
    assert job._next_s == now_s + 3600


# A line costs its file


@pytest.mark.scenario(56)
def test_an_event_has_one_file_looked_at_and_a_scan_all(
    world: Any, make_line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(200):
        world.append(f"{number}.jsonl", make_line(number))
    world.step()
    looked: list[str] = []
    for name in ("lstat", "stat", "scandir", "open"):
        real = getattr(os, name)

        def noting(path: Any, *more: Any, _real: Callable[..., Any] = real, **named: Any) -> Any:
            looked.append(os.fspath(path) if not isinstance(path, int) else "")
            return _real(path, *more, **named)

        monkeypatch.setattr(os, name, noting)
    path = world.logs / "7.jsonl"
    world.append("7.jsonl", make_line(1000))
    looked.clear()
    while world.daemon.ingest([str(path)]):
        pass
    of_logs = {each for each in looked if each.startswith(str(world.logs))}
    assert of_logs <= {str(path)}
    assert world.query("SELECT count(*) FROM traces") == [201]


def test_a_new_file_is_found_by_its_event(world: Any, make_line: Any) -> None:
    world.step()
    world.append("new.jsonl", make_line(1))
    world.append("foreign.txt", make_line(2))
    while world.daemon.ingest([str(world.logs / "new.jsonl"), str(world.logs / "foreign.txt")]):
        pass
    assert world.sessions() == ["s1"]


def test_a_second_name_for_a_file_moves_it_nowhere(world: Any, make_line: Any) -> None:
    world.append("b.jsonl", make_line(1))
    world.step()
    (world.logs / "c.jsonl").hardlink_to(world.logs / "b.jsonl")
    world.append("c.jsonl", make_line(2))
    while world.daemon.ingest([str(world.logs / "c.jsonl")]):
        pass
    assert world.query("SELECT path FROM sources") == [str(world.logs / "b.jsonl")]
    assert world.sessions() == ["s1", "s2"]
