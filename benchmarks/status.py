"""How long a person or a monitor waits for `prodlensd status`."""

from __future__ import annotations

import json
from statistics import median
from typing import Final

from benchmarks.figures import Budget, Figure, WrongResultError
from benchmarks.home import Home
from benchmarks.sizes import Sizes

#: Healthy, with a warning, and "not running", which is true here.
_EXIT_CODES: Final = (0, 1, 2)


def status(home: Home, sizes: Sizes, rows: int) -> Figure:
    """Whole processes, one after the other, on a ledger of so many rows."""
    told = json.loads(home.run("prodlensd", "status", "--json", exit_codes=_EXIT_CODES).printed)
    if told["figures"]["traces"] != rows:
        raise WrongResultError(f"status tells of {told['figures']['traces']} traces of {rows}")
    runs = [
        home.run("prodlensd", "status", exit_codes=_EXIT_CODES).wall_s * 1000
        for _ in range(sizes.status_runs)
    ]
    of = f"runs, the median; the slowest {max(runs):.0f} ms"
    return Figure(f"status, {rows:,} rows", median(runs), "ms", len(runs), of, Budget("≤", 200))
