"""Whatever happens to transcripts and to the daemon, every call counts once."""

from __future__ import annotations

import os
import random
import sys
import time
from itertools import count
from pathlib import Path

import pytest

from tests.scenario.file_actions import Totals, histories
from tests.transcripts.history import TranscriptMachine, TranscriptWorld

_HISTORIES_A_ROUND = 100
_SOAK_SHARE = 0.2
_EXPECTED = (
    "answers, answers that grow, calls of threads, calls of two witnesses, copies, "
    "copies before their originals, crashes, "
    "deletions, files written anew, forked sessions, forked threads, half lines, lost checkpoints, "
    "moves, pruned calls, restarted counters, resumed sessions, snapshots, sub-agents"
).split(", ")


@pytest.mark.parametrize("number", [10, pytest.param(60, marks=pytest.mark.long)])
def test_every_call_counts_once_whatever_happens(tmp_path: Path, number: int) -> None:
    totals = Totals()
    # Once in a while something rare waits for the next round.
    for seeded in range(1, 9):
        histories(TranscriptMachine, TranscriptWorld, tmp_path, number, totals, seeded)
        if all(totals[what] for what in _EXPECTED):
            break
    assert [what for what in _EXPECTED if not totals[what]] == []


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_every_call_counts_once_for_as_long_as_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = int(os.environ.get("SOAK_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    deadline = time.monotonic() + 60 * float(os.environ.get("SOAK_MINUTES", "1")) * _SOAK_SHARE
    totals = Totals()
    for seeded in count(first):
        try:
            world, rounds = TranscriptWorld, _HISTORIES_A_ROUND
            histories(TranscriptMachine, world, tmp_path, rounds, totals, seeded)
        finally:
            with capsys.disabled():
                sys.stdout.write(f"\nTranscriptMachine, SOAK_SEED={seeded}: {totals}\n")
        if time.monotonic() > deadline:
            break
    assert totals["crashes"] > 0
