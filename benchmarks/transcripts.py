"""How fast a backlog of coding agents' transcripts is taken in: years of them, at the first start.

Nearly all of the bytes are what was said, and are passed over. So the figure is of bytes, by the
CPU of one core: the clock tells of the disk, and of what else the machine does. It takes turns with
a bare loop over the same files; the ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

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


class _Round(NamedTuple):
    """The real process; the same without the interpreter's start; the bare loop."""

    process: Run
    ours: Timed
    bare: Timed


def transcripts(folder: Path, sizes: Sizes) -> Iterator[Figure]:
    """Backlog of each agent's transcripts, against a bare loop."""
    for agent, (name, make) in _AGENTS.items():
        there = folder / agent
        told = backlog.write(make(), there, sizes.transcript_mb * 1_000_000)
        config = f"[transcripts]\n{agent} = ['{there}']\n"
        rounds: list[_Round] = []
        for number in range(sizes.rounds):
            home = Home(folder / f"{agent}-{number}", config=config)
            twin = Home(folder / f"{agent}-timed-{number}", config=config)
            process, ours = home.run("prodlensd", "run", "--once"), twin.timed("prodlensd")
            for each in (home, twin):
                _expect(each, told)
            store = str(folder / f"{agent}-bare-{number}.db")
            bare = home.timed("transcripts", agent, str(there), store, lines=told.lines)
            rounds.append(_Round(process, ours, bare))
        yield from _figures(name, told, rounds)


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


def _figures(name: str, told: backlog.Backlog, rounds: list[_Round]) -> Iterator[Figure]:
    size_mb = told.size_bytes / 1e6
    of = f"MB, {told.calls:,} calls, median of {len(rounds)}"
    cpu_s = median(each.ours.cpu_s for each in rounds)
    bare_s = median(each.bare.cpu_s for each in rounds)
    wall_s = median(each.process.wall_s for each in rounds)
    ratio = median(each.bare.cpu_s / each.ours.cpu_s for each in rounds)
    what = f"transcripts of {name}"
    yield Figure(f"{what}: by its CPU", size_mb / cpu_s, "MB/s", round(size_mb), of, _SPEED)
    yield Figure(f"{what}: the same", cpu_s / told.calls * 1e6, "µs/call", round(size_mb), of)
    yield Figure(f"{what}: bare loop by its CPU", size_mb / bare_s, "MB/s", round(size_mb), of)
    yield Figure(f"{what}: in process to bare loop, in CPU", ratio, "", round(size_mb), of)
    yield Figure(f"{what}: whole process", size_mb / wall_s, "MB/s", round(size_mb), of)
    yield Figure(f"{what}: the same", told.calls / wall_s, "calls/s", told.calls, "calls")
    peak_mb = max(each.process.peak_mb for each in rounds)
    both_mb = max(each.process.peak_with_children_mb for each in rounds)
    of = f"runs, the highest; {both_mb:.0f} MB with its child process"
    yield Figure(f"{what}: peak RSS", peak_mb, "MB", len(rounds), of, PEAK_MEMORY)
