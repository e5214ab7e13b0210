"""How fast a backlog is taken in, and in how much memory.

Ours is the whole of `prodlensd run --once`: reading, parsing, identity, price and the commit to
disk. It takes turns with what it is compared with, over the same file; the ratio is the median of
the rounds' ratios. Both are compared without the interpreter's start, which a daemon pays once.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from benchmarks import lines
from benchmarks.figures import Budget, Figure
from benchmarks.home import Home, Run
from benchmarks.sizes import Sizes
from benchmarks.status import status

PEAK_MEMORY: Final = Budget("≤", 120)


class _Round(NamedTuple):
    """The real process; the same without the interpreter's start; what it is compared with."""

    process: Run
    ours_s: float
    bare_s: float


def traces(folder: Path, sizes: Sizes) -> Iterator[Figure]:
    """Backlog of trace lines, against a bare loop of orjson.loads and insert."""
    count, log = sizes.trace_lines, folder / "traces.jsonl"
    line_bytes = lines.write(log, lines.trace_lines(count)) / count
    gateway = count // 2
    rounds = []
    for number in range(sizes.rounds):
        home, twin = _homes(folder, number, log)
        process = home.run("prodlensd", "run", "--once")
        ours_s = twin.timed_s("prodlensd")
        for each in (home, twin):
            each.expect(traces=count, gateway=gateway, table=count - gateway)
        store = str(folder / f"bare-{number}.db")
        bare_s = home.timed_s("rows", str(log), store, lines=count)
        rounds.append(_Round(process, ours_s, bare_s))
    yield from _figures(
        f"traces of {line_bytes:.0f} B", count, rounds, "bare loop", Budget("≥", 0.9)
    )
    yield status(Home(folder / "process-0"), sizes, count)


def payloads(folder: Path, sizes: Sizes) -> Iterator[Figure]:
    """Backlog of raw LiteLLM payloads, against orjson.loads of each and nothing else."""
    count, log = sizes.payload_lines, folder / "payloads.jsonl"
    line_bytes = lines.write(log, lines.payload_lines(count)) / count
    rounds = []
    for number in range(sizes.rounds):
        home, twin = _homes(folder, number, log)
        process = home.run("prodlensd", "run", "--once")
        ours_s = twin.timed_s("prodlensd")
        for each in (home, twin):
            each.expect(traces=count)
        bare_s = home.timed_s("loads", str(log), lines=count)
        rounds.append(_Round(process, ours_s, bare_s))
    yield from _figures(
        f"payloads of {line_bytes / 1000:.1f} kB", count, rounds, "orjson.loads", Budget("≥", 2)
    )


def long_line(folder: Path, sizes: Sizes) -> Iterator[Figure]:
    """A line far over the limit, between two hundred good ones."""
    home = Home(folder)
    size_bytes = sizes.long_line_bytes
    blocks = (b"x" * (1 << 20) for _ in range(size_bytes >> 20))
    good = list(lines.trace_lines(200))
    lines.write(home.logs / "long.jsonl", (*good[:100], *blocks, b"\n", *good[100:]))
    run = home.run("prodlensd", "run", "--once")
    home.expect(traces=200, dead_letters=1)
    name = f"peak RSS, a line of {size_bytes >> 20} MiB"
    yield Figure(name, run.peak_mb, "MB", 1, "run", PEAK_MEMORY)


def _homes(folder: Path, number: int, log: Path) -> tuple[Home, Home]:
    """Two new homes with the same log, for the real process and for the one timed inside."""
    homes = Home(folder / f"process-{number}"), Home(folder / f"timed-{number}")
    for home in homes:
        home.take(log)
    return homes


def _figures(
    what: str, count: int, rounds: list[_Round], rival: str, budget: Budget
) -> Iterator[Figure]:
    of = f"lines, median of {len(rounds)}"
    wall_s = median(each.process.wall_s for each in rounds)
    cpu_s = median(each.process.cpu_s for each in rounds)
    ours_s = median(each.ours_s for each in rounds)
    bare_s = median(each.bare_s for each in rounds)
    ratio = median(each.bare_s / each.ours_s for each in rounds)
    yield Figure(f"{what}: whole process", count / wall_s, "lines/s", count, of)
    yield Figure(f"{what}: its CPU", cpu_s / count * 1e6, "µs/line", count, of)
    yield Figure(f"{what}: in process", count / ours_s, "lines/s", count, of)
    yield Figure(f"{what}: {rival}", count / bare_s, "lines/s", count, of)
    yield Figure(f"{what}: in process to {rival}", ratio, "", count, of, budget)
    peak_mb = max(each.process.peak_mb for each in rounds)
    both_mb = max(each.process.peak_with_children_mb for each in rounds)
    of = f"runs, the highest; {both_mb:.0f} MB with its child process"
    yield Figure(f"{what}: peak RSS", peak_mb, "MB", len(rounds), of, PEAK_MEMORY)
