"""How fast a backlog of coding agents' transcripts is taken in: years of them, at the first start.

Nearly all of the bytes are what was said, and are passed over. So the figure is of bytes, by the
CPU of one core: the clock tells of the disk, and of what else the machine does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks import backlog
from benchmarks.figures import Budget, Figure, WrongResultError
from benchmarks.home import Home, Run, Timed
from benchmarks.sizes import Sizes
from benchmarks.throughput import PEAK_MEMORY
from tests.transcripts.corpus import Corpus

_SPEED: Final = Budget("≥", 500)
_AGENTS: Final[dict[str, tuple[str, Callable[[], Corpus]]]] = {
    "claude_code": ("Claude Code", backlog.claude_code),
    "codex": ("Codex", backlog.codex),
}


def transcripts(folder: Path, sizes: Sizes) -> Iterator[Figure]:
    """Backlog of each agent's transcripts."""
    for agent, (name, make) in _AGENTS.items():
        there = folder / agent
        told = backlog.write(make(), there, sizes.transcript_mb * 1_000_000)
        config = f"[transcripts]\n{agent} = ['{there}']\n"
        runs: list[tuple[Run, Timed]] = []
        for number in range(sizes.rounds):
            home = Home(folder / f"{agent}-{number}", config=config)
            twin = Home(folder / f"{agent}-timed-{number}", config=config)
            runs.append((home.run("prodlensd", "run", "--once"), twin.timed("prodlensd")))
            for each in (home, twin):
                _expect(each, told)
        yield from _figures(name, told, runs)


def _expect(home: Home, told: backlog.Backlog) -> None:
    """Compares the ledger with what was made. Raises WrongResultError."""
    with home.reader() as db:
        counted = next(
            db.execute(
                "SELECT sum(traces), sum(duplicates), sum(records), sum(dead_letters) FROM sources"
            )
        )
        tokens = next(db.execute("SELECT sum(tokens_in), sum(tokens_out) FROM trace"))
    expected = (told.calls, told.telling - told.calls, told.lines, 0)
    if (*counted, *tokens) != (*expected, told.tokens_in, told.tokens_out):
        raise WrongResultError(
            f"calls, duplicates, lines, dead letters and tokens are {(*counted, *tokens)}; "
            f"they should be {(*expected, told.tokens_in, told.tokens_out)}"
        )


def _figures(name: str, told: backlog.Backlog, runs: list[tuple[Run, Timed]]) -> Iterator[Figure]:
    size_mb = told.size_bytes / 1e6
    of = f"MB, {told.calls:,} calls, median of {len(runs)}"
    cpu_s = median(timed.cpu_s for _, timed in runs)
    wall_s = median(run.wall_s for run, _ in runs)
    peak_mb = max(run.peak_mb for run, _ in runs)
    both_mb = max(run.peak_with_children_mb for run, _ in runs)
    what = f"transcripts of {name}"
    yield Figure(f"{what}: by its CPU", size_mb / cpu_s, "MB/s", round(size_mb), of, _SPEED)
    yield Figure(f"{what}: whole process", size_mb / wall_s, "MB/s", round(size_mb), of)
    yield Figure(f"{what}: the same", told.calls / wall_s, "calls/s", told.calls, "calls")
    of = f"runs, the highest; {both_mb:.0f} MB with its child process"
    yield Figure(f"{what}: peak RSS", peak_mb, "MB", len(runs), of, PEAK_MEMORY)
