"""How fast a backlog is taken in, and in how much memory.

Ours is the whole of `prodlensd run --once`: reading, parsing, identity, price and the commit to
disk. It takes turns with what it is compared with, over the same file; the ratio is the median of
the rounds' ratios. Both are compared without the interpreter's start, which a daemon pays once: by
the clock, and by the CPU, which tells more on a machine that does other work as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from benchmarks import lines
from benchmarks.callback_lines import callback_lines, truth_of
from benchmarks.figures import Budget, Figure
from benchmarks.home import Home, Run, Timed
from benchmarks.sizes import Sizes
from benchmarks.status import status

PEAK_MEMORY: Final = Budget("≤", 120)
_LONGEST_RECORD_BYTES: Final = 1050  # on the average, with room to spare


class _Round(NamedTuple):
    """The real process; the same without the interpreter's start; what it is compared with."""

    process: Run
    ours: Timed
    rival: Timed


def traces(folder: Path, sizes: Sizes) -> Iterator[Figure]:
    """Backlog of what our callback writes, against a bare loop of orjson.loads and insert."""
    count, log, clean_log = sizes.trace_lines, folder / "traces.jsonl", folder / "clean.jsonl"
    line_bytes = lines.write(log, callback_lines(count, duplicate_every=1000)) / count
    lines.write(clean_log, callback_lines(count))
    truth = truth_of(log)
    rounds, clean_cpu_s = [], []
    for number in range(sizes.rounds):
        home, twin = _homes(folder, number, log)
        process = home.run("prodlensd", "run", "--once")
        ours = twin.timed("prodlensd")
        for each in (home, twin):
            each.expect(
                traces=truth.calls,
                duplicates=truth.duplicates,
                tokens_in=truth.tokens_in,
                gateway_nanousd=truth.cost_nanousd,
            )
        store = str(folder / f"bare-{number}.db")
        rival = home.timed("rows", str(log), store, lines=count)
        clean = Home(folder / f"clean-{number}")
        clean.take(clean_log)
        clean_cpu_s.append(clean.timed("prodlensd").cpu_s / ours.cpu_s)
        clean.expect(traces=count)
        rounds.append(_Round(process, ours, rival))
    what = f"traces of {line_bytes:.0f} B"
    yield from _figures(what, count, rounds, "bare loop", Budget("≥", 0.7))
    of = f"lines, median of {len(rounds)}; CPU"
    yield Figure(
        f"{what}: with duplicates to without", median(clean_cpu_s), "", count, of, Budget("≥", 0.7)
    )
    store_bytes = Home(folder / "process-0").ledger.stat().st_size
    yield Figure(
        f"{what}: ledger", store_bytes / truth.calls, "B/call", truth.calls, "calls",
        Budget("≤", 250),
    )  # fmt: skip
    yield from status(Home(folder / "process-0"), sizes, truth.calls)


def payloads(folder: Path, sizes: Sizes) -> Iterator[Figure]:
    """Backlog of raw LiteLLM payloads, against orjson.loads of each and nothing else."""
    count, log = sizes.payload_lines, folder / "payloads.jsonl"
    line_bytes = lines.write(log, lines.payload_lines(count)) / count
    rounds = []
    for number in range(sizes.rounds):
        home, twin = _homes(folder, number, log)
        process = home.run("prodlensd", "run", "--once")
        ours = twin.timed("prodlensd")
        for each in (home, twin):
            each.expect(traces=count)
        rounds.append(_Round(process, ours, home.timed("loads", str(log), lines=count)))
    yield from _figures(
        f"payloads of {line_bytes / 1000:.1f} kB", count, rounds, "orjson.loads", Budget("≥", 1)
    )


def long_line(folder: Path, sizes: Sizes) -> Iterator[Figure]:
    """A line far over the limit; then one of many records, which is allowed to be as long."""
    size_bytes = sizes.long_line_bytes
    home = Home(folder / "over")
    blocks = (b"x" * (1 << 20) for _ in range(size_bytes >> 20))
    good = list(lines.trace_lines(200))
    lines.write(home.logs / "long.jsonl", (*good[:100], *blocks, b"\n", *good[100:]))
    run = home.run("prodlensd", "run", "--once")
    home.expect(traces=200, dead_letters=1)
    name = f"peak RSS, a line of {size_bytes >> 20} MiB over the limit"
    yield Figure(name, run.peak_mb, "MB", 1, "run", PEAK_MEMORY)
    home = Home(folder / "within", config=f"[logs]\nmax_line_bytes = {size_bytes}\n")
    records = size_bytes // _LONGEST_RECORD_BYTES
    array = b",".join(line.rstrip() for line in callback_lines(records))
    lines.write(home.logs / "array.jsonl", [b"[", array, b"]\n"])
    length_bytes = len(array)
    del array
    run = home.run("prodlensd", "run", "--once")
    home.expect(traces=records)
    name = f"peak RSS, a line of {length_bytes >> 20} MiB, {records:,} records"
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
    ours_s = median(each.ours.wall_s for each in rounds)
    rival_s = median(each.rival.wall_s for each in rounds)
    wall_ratio = median(each.rival.wall_s / each.ours.wall_s for each in rounds)
    cpu_ratio = median(each.rival.cpu_s / each.ours.cpu_s for each in rounds)
    yield Figure(f"{what}: whole process", count / wall_s, "lines/s", count, of)
    yield Figure(f"{what}: its CPU", cpu_s / count * 1e6, "µs/line", count, of)
    yield Figure(f"{what}: in process", count / ours_s, "lines/s", count, of)
    yield Figure(f"{what}: {rival}", count / rival_s, "lines/s", count, of)
    yield Figure(f"{what}: in process to {rival}", wall_ratio, "", count, of, budget)
    yield Figure(f"{what}: the same in CPU", cpu_ratio, "", count, of, budget)
    peak_mb = max(each.process.peak_mb for each in rounds)
    both_mb = max(each.process.peak_with_children_mb for each in rounds)
    of = f"runs, the highest; {both_mb:.0f} MB with its child process"
    yield Figure(f"{what}: peak RSS", peak_mb, "MB", len(rounds), of, PEAK_MEMORY)
