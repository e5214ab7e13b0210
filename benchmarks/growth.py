"""Whether a large ledger takes lines in as fast as a small one.

The budget speaks of 20 million rows; that many take half an hour and 15 GB: `--rows 20000000`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks import lines
from benchmarks.figures import Budget, Figure
from benchmarks.home import Home
from benchmarks.sizes import Sizes
from benchmarks.status import status


def growth(folder: Path, sizes: Sizes) -> Iterator[Figure]:
    """One step after the other, each a process that reads one more file."""
    home = Home(folder)
    step = sizes.growth_rows // sizes.growth_steps
    rates = []
    for number in range(sizes.growth_steps):
        log = home.logs / f"step-{number:04}.jsonl"
        lines.write(log, lines.trace_lines(step, start=number * step, gateway_only=True))
        rates.append(step / home.timed("prodlensd").wall_s)
    rows = step * sizes.growth_steps
    home.expect(traces=rows, gateway=rows)
    yield Figure(f"growth: first {step:,} rows", rates[0], "lines/s", step, "lines, one run")
    yield Figure(
        f"growth: last {step:,} of {rows:,} rows", rates[-1], "lines/s", step, "lines, one run"
    )
    of = f"runs; all, in thousands: {' '.join(f'{rate / 1000:.0f}' for rate in rates)}"
    yield Figure(
        "growth: last to first", rates[-1] / rates[0], "", len(rates), of, Budget("≥", 0.85)
    )
    yield from status(home, sizes, rows)
