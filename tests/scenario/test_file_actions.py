"""Whatever happens to the files and to the daemon, every line counts once."""

from __future__ import annotations

import gzip
import os
import random
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.scenario.file_actions import DestructiveMachine, Machine, Totals, histories

_HISTORIES_A_ROUND = 300
#: Each machine's part of a soak's minutes; the kill sweep has the rest.
_SOAK_SHARE = 0.3


_HARMLESS = (
    "compressed files, copies, crashes, editor saves, half lines, hard links, late writes, lines, "
    "lost checkpoints, repeated lines, rotations, sizes before bytes, truncations, "
    "writes during a read, writes into zeros"
).split(", ")
_HARMFUL = [*_HARMLESS, "deletions", "holes", "moved out", "restored backups"]


@pytest.mark.sampled(2)
@pytest.mark.scenario(90)
@pytest.mark.parametrize("number", [20, pytest.param(60, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("machine", "expected"), [(Machine, _HARMLESS), (DestructiveMachine, _HARMFUL)]
)
def test_every_line_counts_once_whatever_happens(
    world: Any, tmp_path: Path, machine: type[Machine], expected: list[str], number: int
) -> None:
    totals = Totals()
    # What is drawn next hangs on what the machine was fast enough for; once in a while something
    # rare then waits for the next round.
    for seeded in (None, *range(1, 9)):
        histories(machine, type(world), tmp_path, number, totals, seeded)
        if all(totals[what] for what in expected):
            break
    assert totals["histories"] >= number
    assert [what for what in expected if not totals[what]] == []


@pytest.mark.scenario(90, 91)
@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("machine", [Machine, DestructiveMachine])
def test_every_line_counts_once_for_as_long_as_asked(
    world: Any, tmp_path: Path, machine: type[Machine], capsys: pytest.CaptureFixture[str]
) -> None:
    first = int(os.environ.get("SOAK_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    deadline = time.monotonic() + 60 * float(os.environ.get("SOAK_MINUTES", "1")) * _SOAK_SHARE
    totals = Totals()
    for seeded in count(first):
        try:
            histories(machine, type(world), tmp_path, _HISTORIES_A_ROUND, totals, seeded)
        finally:
            with capsys.disabled():
                sys.stdout.write(f"\n{machine.__name__}, SOAK_SEED={seeded}: {totals}\n")
        if time.monotonic() > deadline:
            break
    assert totals["crashes"] > 0


@pytest.mark.scenario(20)
def test_what_is_known_of_one_hole_is_not_believed_of_another(world: Any, tmp_path: Path) -> None:
    """A history that a soak found: lines of every kind, and holes one after another."""
    history = DestructiveMachine(type(world), tmp_path / "history", Totals())
    history.sizes(read_bytes=4096, batch=3)
    for _ in range(4):
        history.leave_a_hole(first=False, grown=1, index=0)
    history.lose_checkpoints()
    history._step()
    assert history.world.query("SELECT DISTINCT state FROM sources") == ["live"]
    history.teardown()


@pytest.mark.parametrize("compressed", [False, True])
def test_a_copy_of_a_file_with_a_hole_adds_nothing(
    world: Any, make_line: Any, compressed: bool
) -> None:
    path = world.logs / "a.jsonl"
    world.append("a.jsonl", make_line(1, ids=False))
    world.step()
    os.truncate(path, size := path.stat().st_size + 500)
    world.append("a.jsonl", make_line(2, ids=False), make_line(3, ids=False))
    world.step()
    assert path.read_bytes()[size - 500 : size] == bytes(500)
    assert world.sessions() == ["s1", "s2", "s3"]
    content = path.read_bytes()
    (world.logs / "a.jsonl.1").write_bytes(gzip.compress(content) if compressed else content)
    world.step()
    assert world.counts()[2] > 0
    assert world.sessions() == ["s1", "s2", "s3"]
