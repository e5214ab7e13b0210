"""One kill, and the sweep over all of them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

import pyarrow as pa

from tests.crash.driver import SEAMS


class Kill(NamedTuple):
    """Where a process dies: at the n-th call of a seam, in its first or its second run."""

    seam: str
    when: str
    nth: int
    second_run: bool
    later_lines: bool


class Result(NamedTuple):
    """Whether the process died there, and what was wrong after all."""

    died: bool
    wrong: list[str]


def outcome(driver: Any, kill: Kill, mutant: str = "") -> Result:
    """What a kill leads to, after one clean run."""
    home = driver.home(mutant)
    home.first_lines()
    if kill.second_run:
        assert home.run() == 0, (home.folder / "said.log").read_text()
        home.rotate()
    code = home.run(kill.seam, kill.when, kill.nth)
    assert code in (0, -signal.SIGKILL), (home.folder / "said.log").read_text()
    wrong = []
    try:
        home.snapshots()
    except (pa.ArrowInvalid, OSError) as error:
        wrong.append(f"a torn snapshot: {error}")
    if kill.later_lines and kill.second_run:
        home.later_lines()
    assert home.run() == 0, (home.folder / "said.log").read_text()
    return Result(code == -signal.SIGKILL, wrong + home.wrong())


def sweep(driver: Any, mutant: str = "") -> Iterator[tuple[Kill, Result]]:
    """Every seam, before and after, and every SQL statement, at each call until none is left."""
    places = [("sql", "before"), *((seam, when) for seam in SEAMS for when in ("before", "after"))]
    for seam, when in places:
        for second_run, later_lines in ((False, False), (True, False), (True, True)):
            for nth in count(1):
                kill = Kill(seam, when, nth, second_run, later_lines)
                result = outcome(driver, kill, mutant)
                if not result.died:
                    break
                yield kill, result
