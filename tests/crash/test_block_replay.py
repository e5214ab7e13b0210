"""The power fails between any two writes: what was not synced is lost, torn, or out of order."""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import apsw
import pytest

from prodlensd.daemon import loop as daemon_module
from prodlensd.ledger import Ledger
from prodlensd.logs import source as source_module
from tests.crash.block_log import HOWS, Op, Recorder, committed_before, left_by_power_loss
from tests.crash.ledger import wrong_in_ledger
from tests.scenario.conftest import World
from tests.scenario.file_actions import KINDS, MAX_LINE_BYTES, Files, Totals, Written

_ON_NAMES = ("create", "rename", "delete")
_AUTOCHECKPOINT_PAGES = 12


class Recorded:
    """A daemon's history on a disk that notes everything; its logs stay, whole and rotated."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, synchronous: str = "") -> None:
        folder.mkdir()
        self.logs = folder / "logs"
        self.written = Written()
        self._files = Files(self.logs, self.written, Totals())
        self._synchronous = synchronous
        self._recorder = Recorder(folder)
        self._held = (0, 0)
        self._note_renames_and_commits(patch)
        try:
            self._live(folder)
        finally:
            self._recorder.unregister()
        self.ops: list[Op] = self._recorder.ops

    def _note_renames_and_commits(self, patch: pytest.MonkeyPatch) -> None:
        note, name_of = self._recorder.note, self._recorder.name_of
        real_commit, real_rename = Ledger.commit, Path.rename

        def commit(store: Ledger, *arguments: Any) -> Any:
            done = real_commit(store, *arguments)
            traces, dead_letters = self._held
            self._held = (traces + done.traces, dead_letters + done.dead_letters)
            note(Op("committed", held=self._held))
            return done

        def rename(path: Path, to: Path) -> Path:
            renamed = real_rename(path, to)
            if (known := name_of(str(path))) is not None:
                note(Op("rename", known, to=to.name))
            return renamed

        patch.setattr(Ledger, "commit", commit)
        patch.setattr(Path, "rename", rename)

    def _write(self, name: str) -> None:
        self._files.write(self.logs / name, [self.written.new(kind) for kind in KINDS])

    def _live(self, folder: Path) -> None:
        world = World(folder)
        world.max_line_bytes = MAX_LINE_BYTES
        world.batch_max_lines = 3
        world.stop()
        for _ in range(2):
            world._start()
            world.store.db.pragma("wal_autocheckpoint", _AUTOCHECKPOINT_PAGES)
            if self._synchronous:
                world.store.db.execute(f"PRAGMA synchronous = {self._synchronous}")
            self._ingest(world, "a.jsonl", "b.jsonl")
            (self.logs / "a.jsonl").replace(self.logs / f"a.jsonl.{self.written.number}")
            shutil.copy(self.logs / "b.jsonl", self.logs / f"b.jsonl.{self.written.number}")
            os.truncate(self.logs / "b.jsonl", 0)
            self._ingest(world, "b.jsonl", "a.jsonl", "c.jsonl")
            self._ingest(world, "a.jsonl")
            world.stop()

    def _ingest(self, world: World, *names: str) -> None:
        for name in names:
            self._write(name)
            while world.daemon.ingest():
                world.daemon.beat("running", force=True)


class Restarted(World):
    """A daemon on what the power loss left of the ledger, and on the logs as they are now."""

    def __init__(self, folder: Path, logs: Path) -> None:
        self.logs, self.transcripts = logs, []
        self.ledger = folder / "prodlens.db"
        self.max_line_bytes = MAX_LINE_BYTES
        self.zeros_wait_ns = 0
        self.batch_max_lines = 1000
        self._start()
        self.store.db.execute("PRAGMA synchronous = OFF")

    def wrong_at_first(self, held: list[tuple[int, int]]) -> list[str]:
        """What is wrong before any line is read; `held`: after the commits, the last one running.

        All commits but the last had returned when the power failed.
        """
        self.check()
        wrong = [told for told in self.query("PRAGMA integrity_check") if told != "ok"]
        now = self.query("SELECT (SELECT count(*) FROM trace), (SELECT count(*) FROM dead_letter)")
        if now[0] not in held[-2:]:
            wrong.append(f"holds {now[0]} (traces, dead letters), none of {held[-2:]}")
        return wrong


@pytest.fixture(autouse=True)
def small_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "READ_BYTES", 1000)
    monkeypatch.setattr(daemon_module, "READ_BYTES", 1000)


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    with monkeypatch.context() as patch:
        return Recorded(tmp_path / "recorded", patch)


def wrong_after_power_loss(
    recorded: Recorded, folder: Path, case: Any, totals: Totals
) -> list[str]:
    """What is not as it must be in the ledger that comes up after this power loss: nothing."""
    at, how, seed = case
    left = left_by_power_loss(recorded.ops, at, how, seed)
    folder.mkdir()
    for name, content in left.files.items():
        (folder / name).write_bytes(content)
    totals["lost writes"] += left.lost_ops > 0
    totals["torn writes"] += left.torn_writes > 0
    totals["lost names"] += left.lost_names > 0
    totals["write-ahead logs"] += bool(left.files.get("prodlens.db-wal"))
    totals["ledgers not there yet"] += "prodlens.db" not in left.files
    before = committed_before(recorded.ops[:at])
    after = committed_before(recorded.ops[at:])
    world = Restarted(folder, recorded.logs)
    try:
        wrong = world.wrong_at_first([*([(0, 0)] if not before else []), *before[-1:], *after[:1]])
        for _ in range(3):
            world.step()
        return wrong + wrong_in_ledger(world.query, recorded.written)
    finally:
        world.stop()
        shutil.rmtree(folder)


def all_cases(recorded: Recorded) -> Iterator[tuple[int, str]]:
    return product(range(len(recorded.ops) + 1), HOWS)


@pytest.mark.long
@pytest.mark.scenario(71)
@pytest.mark.parametrize("states", [50, pytest.param(150, marks=pytest.mark.long)])
def test_a_power_loss_between_any_two_writes_loses_nothing_and_doubles_nothing(
    recorded: Recorded, tmp_path: Path, states: int
) -> None:
    # Few of the operations are on names: all of those are lost, and any part of the others.
    names = [at for at, op in enumerate(recorded.ops, 1) if op.kind in _ON_NAMES]
    cases: list[tuple[int, str]] = [(at, "nothing") for at in names]
    cases += random.sample(list(all_cases(recorded)), states)
    totals = Totals()
    for number, (at, how) in enumerate(cases):
        case = (at, how, random.randrange(1 << 32))  # noqa: S311 - named when it fails
        wrong = wrong_after_power_loss(recorded, tmp_path / f"state-{number}", case, totals)
        assert wrong == [], (case, recorded.ops[at - 1][:3])
    kinds = Totals(op.kind for op in recorded.ops)
    assert min(kinds[kind] for kind in ("write", "sync", "truncate", "delete", "rename")) > 0
    assert min(totals.values()) > 0, totals


@pytest.mark.soak
@pytest.mark.scenario(71)
@pytest.mark.timeout(0)
def test_every_power_loss_between_any_two_writes_loses_nothing_and_doubles_nothing(
    recorded: Recorded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    totals = Totals()
    for at, how in all_cases(recorded):
        for seed in range(5 if how == "any" else 1):
            case = (at, how, seed)
            wrong = wrong_after_power_loss(recorded, tmp_path / "state", case, totals)
            assert wrong == [], (case, recorded.ops[at - 1][:3])
            totals["power losses"] += 1
    with capsys.disabled():
        sys.stdout.write(f"\n{totals}\n")


@pytest.mark.scenario(71)
@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL"])
def test_a_ledger_that_does_not_wait_for_the_disk_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, synchronous: str
) -> None:
    with monkeypatch.context() as patch:
        careless = Recorded(tmp_path / "careless", patch, synchronous)
    at = max(number for number, op in enumerate(careless.ops) if op.kind == "committed") + 1
    try:
        wrong = wrong_after_power_loss(careless, tmp_path / "s", (at, "nothing", 0), Totals())
    except (apsw.Error, AssertionError):
        return
    assert wrong != []
