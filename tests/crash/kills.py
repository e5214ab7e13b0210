"""One kill, and the sweep over all of them."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count, product
from typing import Any, NamedTuple

import pyarrow as pa

from tests.crash.driver import MOVING_SEAMS, RETENTION_SEAMS, SEAMS
from tests.crash.ledger import what_was


class Kill(NamedTuple):
    """Where a process dies: at the n-th call of a seam, in its first or its second run.

    With `moved`, the second run is to move the snapshots to another folder.
    """

    seam: str
    when: str
    nth: int
    second_run: bool
    later_lines: bool
    retention: bool = False
    moved: bool = False


class Result(NamedTuple):
    """Whether the process died there, and what was wrong after all."""

    died: bool
    wrong: list[str]


def outcome(driver: Any, kill: Kill, mutant: str = "") -> Result:
    """What a kill leads to, after one clean run."""
    home = driver.home(mutant, retention=kill.retention)
    home.first_lines()
    if kill.second_run:
        assert home.run() == 0, (home.folder / "said.log").read_text()
        if kill.moved:
            home.move_snapshots()
        elif kill.retention:
            home.late_lines()
        else:
            home.rotate()
    before = Counter(home.now())
    code = home.run(kill.seam, kill.when, kill.nth)
    if code not in (0, -signal.SIGKILL):
        return Result(died=False, wrong=[f"exit code {code}: {home.said()[-500:]}"])
    wrong = []
    try:
        now = Counter(home.now())
        faults = {"lost": before - now, "doubled": now - what_was(home.written)[0]}
        wrong += [f"{what} by the kill: {which}" for what, which in faults.items() if which]
        wrong += home.without_price()
        home.snapshots()
    except (pa.ArrowInvalid, OSError) as error:
        wrong.append(f"a torn snapshot: {error}")
    if kill.later_lines and kill.second_run:
        home.later_lines()
    if (code_after := home.run()) != 0:
        return Result(code == -signal.SIGKILL, [*wrong, f"exit code {code_after} after it"])
    return Result(code == -signal.SIGKILL, wrong + home.wrong())


def sweep(
    driver: Any, mutant: str = "", at: Callable[[str], bool] = lambda _seam: True
) -> Iterator[tuple[Kill, Result]]:
    """Every seam, before and after, and every SQL statement, at each call until none is left.

    `at` chooses among the seams; that of the statements is "sql".
    """
    ways = [(False, False), (True, False), (True, True)]
    all_seams = SEAMS | RETENTION_SEAMS
    modes = [
        (False, False, SEAMS),
        (True, False, all_seams),
        (True, True, all_seams | MOVING_SEAMS),
    ]
    for retention, moved, seams in modes:
        places = [("sql", "before"), *product(seams, ("before", "after"))]
        chosen = [place for place in places if at(place[0])]
        for (seam, when), (second_run, later_lines) in product(chosen, ways):
            for nth in count(1):
                if moved and not second_run:
                    break
                kill = Kill(seam, when, nth, second_run, later_lines, retention, moved)
                result = outcome(driver, kill, mutant)
                if not result.died:
                    break
                yield kill, result
