"""The suite has teeth: each of these mistakes in the program is found by a short run of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.crash.driver import RETENTION_SEAMS, SEAMS
from tests.crash.kills import Kill, outcome, sweep
from tests.crash.mutants import MUTANTS, OF_CRASHES, OF_FILES, OF_RETENTION
from tests.scenario.conftest import World
from tests.scenario.file_actions import Machine, Totals, histories

pytestmark = pytest.mark.long  # it tests the suite, not the program

_ENOUGH = 200


def short_sweep() -> Iterator[Kill]:
    """The kills between two things that belong together."""
    for nth in range(1, 5):
        for seam in ("write_snapshot", "os.fsync", "Ledger._insert", "Pins.write"):
            for second_run in (False, True):
                yield Kill(seam, "before", nth, second_run, later_lines=False)


@pytest.mark.parametrize("mutant", [mutant.__name__ for mutant in OF_CRASHES])
def test_a_mistake_that_shows_when_the_process_dies_is_found(driver: Any, mutant: str) -> None:
    undisturbed = outcome(
        driver, Kill("", "before", 0, second_run=False, later_lines=False), mutant
    )
    assert undisturbed == (False, []), "not a mistake in what happens at a crash"
    results = ((kill, outcome(driver, kill, mutant)) for kill in short_sweep())
    found = next(((kill, result) for kill, result in results if result.wrong), None)
    assert found is not None, f"{mutant} lives"


def sweep_of_retention() -> Iterator[Kill]:
    """None, and kills while rows are moved, and between what is done and its note."""
    yield Kill("", "before", 0, second_run=True, later_lines=False, retention=True)
    for seam in ("", "Path.replace"):
        yield Kill(
            *(seam, "before", 1), second_run=True, later_lines=False, retention=True, moved=True
        )
    for seam, when in (("Partitions.mark_clean", "before"), ("Publishing.note_copied", "after")):
        yield Kill(seam, when, 1, second_run=True, later_lines=False, retention=True)
    for nth in range(100, 700, 7):
        yield Kill("sql", "before", nth, second_run=False, later_lines=False, retention=True)


@pytest.mark.parametrize("mutant", [mutant.__name__ for mutant in OF_RETENTION])
def test_a_mistake_where_rows_are_pruned_or_copied_is_found(driver: Any, mutant: str) -> None:
    results = ((kill, outcome(driver, kill, mutant)) for kill in sweep_of_retention())
    found = next(((kill, result) for kill, result in results if result.wrong), None)
    assert found is not None, f"{mutant} lives"


@pytest.mark.parametrize("mutant", [mutant.__name__ for mutant in OF_FILES])
def test_a_mistake_that_shows_when_files_change_is_found(
    mutant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    totals = Totals()
    MUTANTS[mutant](monkeypatch.setattr)
    with pytest.raises((AssertionError, ExceptionGroup)) as found:
        histories(Machine, World, tmp_path, _ENOUGH, totals)
    assert any(sign in _told(found.value) for sign in ("missing", "stored twice", "torn")), totals


def _told(error: BaseException) -> str:
    """The messages of an error, of those in a group, and of those that it came from."""
    inner = error.exceptions if isinstance(error, ExceptionGroup) else ()
    before = [error.__context__] if error.__context__ is not None else []
    return " ".join([str(error), *map(_told, (*inner, *before))])


OF_SNAPSHOTS = {"write_snapshot", "os.fsync", "Path.replace", "Partitions.mark_clean"}


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("mutant", [mutant.__name__ for mutant in OF_CRASHES])
def test_what_finds_a_mistake(driver: Any, mutant: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By SQL statements, by the seams where snapshots are written, and by the others."""
    found = []
    for at in ({"sql"}, OF_SNAPSHOTS, (SEAMS | RETENTION_SEAMS).keys() - OF_SNAPSHOTS):
        kills = islice(sweep(driver, mutant, at.__contains__), 100)
        found += [kill for kill, result in kills if result.wrong]
    with capsys.disabled():
        sys.stdout.write(f"\n{mutant}: found by {len(found)} kills of 300, first by {found[:1]}\n")
    assert found
