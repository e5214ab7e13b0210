"""How long a person, a monitor or a status line waits for `status` and `statusline`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from statistics import median
from typing import Final

from benchmarks.figures import Budget, Figure, WrongResultError
from benchmarks.home import Home
from benchmarks.sizes import Sizes

#: Healthy, with a warning, and "not running", which is true here.
_EXIT_CODES: Final = (0, 1, 2)
_BUDGETS: Final = """
[[budget]]
name = "all"
monthly_usd = 1000
[[budget]]
name = "some"
developer = "dev1*"
weekly_usd = 100
"""


def status(home: Home, sizes: Sizes, rows: int) -> Iterator[Figure]:
    """Whole processes, one after the other, on a ledger of so many rows, with two budgets."""
    with (home.logs.parent / "config.toml").open("a") as config:
        config.write(_BUDGETS)
    told = json.loads(home.run("prodlensd", "status", "--json", exit_codes=_EXIT_CODES).printed)
    if told["figures"]["traces"] != rows:
        raise WrongResultError(f"status tells of {told['figures']['traces']} traces of {rows}")
    for command, most_ms in (("status", 200), ("statusline", 100)):
        runs = [
            home.run("prodlensd", command, exit_codes=_EXIT_CODES).wall_s * 1000
            for _ in range(sizes.status_runs)
        ]
        of = f"runs, the median; the slowest {max(runs):.0f} ms"
        name = f"{command}, {rows:,} rows"
        yield Figure(name, median(runs), "ms", len(runs), of, Budget("≤", most_ms))
