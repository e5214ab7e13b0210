"""SIGKILL at any call and at any SQL statement: a restart, and every line counts once."""

from __future__ import annotations

import random
import sys
from collections import Counter
from typing import Any

import pytest

from tests.crash.driver import MOVING_SEAMS, RETENTION_SEAMS, SEAMS
from tests.crash.kills import Kill, outcome, sweep

OF_SNAPSHOTS = ("Partitions.announce", "Partitions.mark_clean", "Path.replace", "os.fsync")


@pytest.mark.sampled(18)
@pytest.mark.scenario(70, 75)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("seam", SEAMS)
def test_a_kill_at_a_seam_loses_nothing_and_doubles_nothing(
    driver: Any, seam: str, when: str
) -> None:
    kill = Kill(seam, when, nth=1, second_run=True, later_lines=when == "after")
    assert outcome(driver, kill) == (True, [])


@pytest.mark.sampled(40)
@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("seam", [*RETENTION_SEAMS, *OF_SNAPSHOTS])
def test_a_kill_while_rows_are_pruned_logs_deleted_or_snapshots_copied_loses_nothing(
    driver: Any, seam: str, when: str, nth: int
) -> None:
    kill = Kill(seam, when, nth, second_run=True, later_lines=when == "after", retention=True)
    assert outcome(driver, kill) == (True, [])


@pytest.mark.sampled(25)
@pytest.mark.scenario(103)
@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("seam", [*MOVING_SEAMS, *OF_SNAPSHOTS, "merged", "write_snapshot"])
def test_a_kill_while_the_snapshots_of_pruned_days_move_to_another_folder_loses_nothing(
    driver: Any, seam: str, when: str, nth: int
) -> None:
    kill = Kill(
        *(seam, when, nth), second_run=True, later_lines=when == "after", retention=True, moved=True
    )
    assert outcome(driver, kill) == (True, [])


@pytest.mark.long
@pytest.mark.parametrize("second_run", [False, True])
def test_a_kill_at_an_sql_statement_of_them_loses_nothing(driver: Any, second_run: bool) -> None:
    died = 0
    for nth in range(random.randrange(1, 20), 800, 20):  # noqa: S311 - the soak takes them all
        kill = Kill("sql", "before", nth, second_run, later_lines=False, retention=True)
        result = outcome(driver, kill)
        assert result.wrong == [], nth
        died += result.died
        if not result.died:
            break
    assert died > 3


@pytest.mark.long
@pytest.mark.scenario(70)
@pytest.mark.parametrize("second_run", [False, True])
def test_a_kill_at_an_sql_statement_loses_nothing_and_doubles_nothing(
    driver: Any, second_run: bool
) -> None:
    died = 0
    for nth in range(random.randrange(1, 12), 200, 12):  # noqa: S311 - the soak takes them all
        result = outcome(driver, Kill("sql", "before", nth, second_run, later_lines=False))
        assert result.wrong == [], nth
        died += result.died
        if not result.died:
            break
    assert died > 3


@pytest.mark.scenario(69, 70, 75)
@pytest.mark.soak
@pytest.mark.timeout(0)
def test_a_kill_anywhere_loses_nothing_and_doubles_nothing(
    driver: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    died: Counter[str] = Counter()
    wrong = []
    for kill, result in sweep(driver):
        died[kill.seam] += 1
        if result.wrong:
            wrong.append((kill, result.wrong))
    with capsys.disabled():
        sys.stdout.write(f"\n{died.total()} kills, {len(wrong)} wrong: {dict(died)}\n")
    assert wrong == []
    assert set(died) == {"sql", *SEAMS, *RETENTION_SEAMS, *MOVING_SEAMS}
