"""System calls and SQLite fail at the n-th time, for every n; then they work, and all is there."""

from __future__ import annotations

import errno
import gzip
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from prodlensd.daemon import loop as daemon_module
from prodlensd.ledger import LedgerError, Reader
from prodlensd.logs import source as source_module
from tests.crash.ledger import wrong_in_ledger
from tests.scenario.conftest import World
from tests.scenario.file_actions import KINDS, Files, Totals, Written

_MOST_CALLS = 2000
_STRIDE = 5


class Rotated:
    """A world whose files were read once, and then written to, rotated, and compressed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.written = Written()
        self.world = World(folder)
        self.files = Files(self.world.logs, self.written, Totals())
        self.world.batch_max_lines = 3
        self.world.max_line_bytes = 1500
        self.world.restart()
        a, b, c = (self.world.logs / f"{name}.jsonl" for name in "abc")
        for path in (a, b, c):
            self.write(path)
        self.world.step()
        self.write(a)
        a.rename(self.world.logs / "a.jsonl.1")
        self.write(a)
        shutil.copy(b, self.world.logs / "b.jsonl.1")
        os.truncate(b, 0)
        self.write(b)
        (self.world.logs / "c.jsonl.1.gz").write_bytes(gzip.compress(c.read_bytes()))
        c.unlink()

    def write(self, path: Path) -> None:
        self.files.write(path, [self.written.new(kind) for kind in KINDS])

    def wrong(self) -> list[str]:
        for _ in range(3):
            self.world.step()
        return wrong_in_ledger(self.world.query, self.written)


@pytest.fixture
def worlds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rotated]:
    monkeypatch.setattr(source_module, "READ_BYTES", 700)
    monkeypatch.setattr(daemon_module, "READ_BYTES", 700)

    def each() -> Iterator[Rotated]:
        for number in count():
            rotated = Rotated(tmp_path / str(number))
            yield rotated
            rotated.world.stop()
            shutil.rmtree(tmp_path / str(number))

    return each()


class FaultAt:
    """A call that fails at the n-th time: with an error, or with half of the answer."""

    def __init__(self, real: Callable[..., Any], nth: int, fault: int | None) -> None:
        self._real = real
        self._nth = nth
        self._fault = fault
        self.calls = 0
        self.struck = False

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.calls += 1
        if self.calls != self._nth:
            return self._real(*arguments, **named)
        if self._fault is not None:
            self.struck = True
            raise OSError(self._fault, os.strerror(self._fault))
        answer = self._real(*arguments, **named)
        self.struck = len(answer) > 1
        return answer[: max(1, len(answer) // 2)] if answer else answer


#: None is a short read.
_FAULTS = [
    ("pread", errno.EIO),
    ("pread", errno.EINTR),
    ("pread", None),
    ("open", errno.EMFILE),
    ("open", errno.EACCES),
    ("fstat", errno.EIO),
    ("scandir", errno.EIO),
    ("scandir", errno.EACCES),
]


@pytest.mark.sampled(8)
@pytest.mark.scenario(61, 74)
@pytest.mark.parametrize(("name", "fault"), _FAULTS)
@pytest.mark.parametrize("sparsely", [5, pytest.param(1, marks=pytest.mark.long)])
def test_a_system_call_that_fails_once_costs_no_line(
    worlds: Iterator[Rotated],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    fault: int | None,
    sparsely: int,
) -> None:
    stride = _STRIDE if name == "pread" else 1
    first = random.randint(1, stride)  # noqa: S311 - the soak takes them all
    calls = range(first, _MOST_CALLS, stride * sparsely)
    struck = failing_calls(worlds, monkeypatch, name, fault, calls)
    assert struck > 0


@pytest.mark.scenario(61, 74)
@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize(("name", "fault"), _FAULTS)
def test_any_system_call_that_fails_once_costs_no_line(
    worlds: Iterator[Rotated],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    fault: int | None,
) -> None:
    struck = failing_calls(worlds, monkeypatch, name, fault, range(1, _MOST_CALLS))
    with capsys.disabled():
        what = "short" if fault is None else errno.errorcode[fault]
        sys.stdout.write(f"\n{struck} times {name}: {what}\n")
    assert struck > 0


def failing_calls(
    worlds: Iterator[Rotated],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    fault: int | None,
    calls: range,
) -> int:
    """How many of these calls there were, each failing in a world of its own."""
    struck = 0
    for nth, rotated in zip(calls, worlds, strict=False):
        faulty = FaultAt(getattr(os, name), nth, fault)
        with monkeypatch.context() as patch:
            patch.setattr(os, name, faulty)
            with suppress(OSError, LedgerError):
                for _ in range(3):
                    rotated.world.daemon.ingest()
        if nth % 2:
            rotated.world.restart()
        assert rotated.wrong() == [], nth
        struck += faulty.struck
        if faulty.calls < nth:
            return struck
    raise AssertionError(f"more than {_MOST_CALLS} calls of {name}")


@pytest.mark.sampled(4)
@pytest.mark.scenario(73, 74)
@pytest.mark.parametrize(("owner", "name"), [(os, "fsync"), (Path, "replace"), (os, "open")])
@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EIO])
def test_a_snapshot_that_cannot_be_written_leaves_the_old_one_and_comes_later(
    worlds: Iterator[Rotated],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    owner: Any,
    name: str,
    fault: int,
) -> None:
    rotated = next(worlds)
    world, folder = rotated.world, tmp_path / "parquet"
    days = len(world.query("SELECT day FROM partition"))
    assert days > 1
    with Reader(world.ledger) as reader:
        list(world.compaction(reader, folder).run())
        before = {path: path.read_bytes() for path in folder.glob("*/*.parquet")}
        world.step()
        struck = 0
        for nth in count(1):
            with world.store.db as db:
                db.execute("UPDATE partition SET compacted_version = 0")
            for path, content in before.items():
                path.write_bytes(content)
            faulty = FaultAt(getattr(owner, name), nth, fault)
            with monkeypatch.context() as patch:
                # A plain function, for methods to be bound.
                patch.setattr(owner, name, lambda *a, _faulty=faulty, **k: _faulty(*a, **k))
                with suppress(OSError):
                    list(world.compaction(reader, folder).run())
            if not faulty.struck:
                break
            struck += 1
            assert {path.suffix for path in folder.glob("*/*")} == {".parquet"}
            assert len(world.dirty_days()) > 0
            list(world.compaction(reader, folder).run())
            assert world.dirty_days() == set()
            rows = sum(pq.read_metadata(p).num_rows for p in folder.glob("*/*.parquet"))
            assert [rows] == world.query("SELECT count(*) FROM traces")
    assert struck >= days


@pytest.mark.long
@pytest.mark.scenario(72)
def test_a_database_that_is_full_at_any_page_loses_nothing(worlds: Iterator[Rotated]) -> None:
    full = 0
    for more, rotated in enumerate(worlds):
        db = rotated.world.store.db
        db.pragma("max_page_count", db.pragma("page_count") + more)
        for _ in range(20):
            rotated.write(rotated.world.logs / "a.jsonl")
        try:
            rotated.world.step()
        except LedgerError as error:
            assert "full" in str(error)  # noqa: PT017 - the last one is not full any more
            full += 1
        else:
            break
        finally:
            db.pragma("max_page_count", 1 << 30)
        assert rotated.wrong() == [], more
    assert full > 0


@pytest.mark.long
@pytest.mark.scenario(72)
def test_a_disk_that_is_full_loses_nothing(driver: Any, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    if not mount or not unmount or os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    mounting = [mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if subprocess.run(mounting, check=False, capture_output=True).returncode:
        pytest.skip("this machine may not mount a small disk")
    try:
        full = 0
        for free_kb in range(0, 400, 40):
            home = driver.home(folder=disk / str(free_kb))
            home.first_lines()
            assert home.run() == 0
            home.rotate()
            filler = disk / "filler"
            status = os.statvfs(disk)
            filler.write_bytes(bytes(max(0, status.f_bavail * status.f_frsize - free_kb * 1024)))
            full += home.run() == 1
            filler.unlink()
            assert home.run() == 0, home.said()
            assert home.wrong() == []
            shutil.rmtree(home.folder)
        assert full > 2
    finally:
        subprocess.run([unmount, str(disk)], check=True)
