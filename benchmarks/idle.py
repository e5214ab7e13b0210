"""What a daemon costs that has nothing to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from benchmarks import lines, processes
from benchmarks.figures import Budget, Figure
from benchmarks.home import Home, await_
from benchmarks.sizes import Sizes

_LINES_A_FILE: Final = 50
#: What has just changed is looked at for a little longer.
_SETTLING_S: Final = 4.0


def idle(folder: Path, sizes: Sizes) -> Iterator[Figure]:
    """A daemon of default settings, after it has taken in and archived what there was."""
    home = Home(folder, parquet=True)
    for number in range(sizes.idle_files):
        start = number * _LINES_A_FILE
        lines.write(
            home.logs / f"app-{number:03}.jsonl", lines.trace_lines(_LINES_A_FILE, start=start)
        )
    traces = sizes.idle_files * _LINES_A_FILE
    with home.daemon() as daemon:
        await_(lambda: home.query("SELECT sum(lines) FROM sources") == [traces], "all taken in")
        # A snapshot is the last thing that comes of lines, and stands when its process has ended.
        await_(lambda: any(folder.rglob("*.parquet")), "a snapshot")
        await_(lambda: "compact" not in _commands(daemon.pid), "the end of the compaction")
        threading.Event().wait(_SETTLING_S)
        what = f"idle, {sizes.idle_files} files"
        yield from _rates(what, daemon.pid, sizes.idle_s)
        yield from _memory(what, daemon.pid)
    home.expect(traces=traces)


def _rates(what: str, pid: int, seconds: float) -> Iterator[Figure]:
    family = processes.tree(pid)
    began_s, cpu_s, woken = time.perf_counter(), *_sums(family)
    threading.Event().wait(seconds)
    cpu_after_s, woken_after = _sums(family)
    for_s = time.perf_counter() - began_s
    share = (cpu_after_s - cpu_s) / for_s * 100
    rate = (woken_after - woken) / for_s
    yield Figure(f"{what}: CPU", share, "% of core", round(for_s), "seconds", Budget("≤", 0.2))
    yield Figure(f"{what}: wake-ups", rate, "/s", round(for_s), "seconds", Budget("≤", 2))


def _memory(what: str, pid: int) -> Iterator[Figure]:
    yield Figure(f"{what}: RSS", processes.rss_mb(pid), "MB", 1, "daemon", Budget("≤", 45))
    yield Figure(f"{what}: PSS", processes.pss_mb(pid), "MB", 1, "daemon")
    children = processes.tree(pid)[1:]
    if children:
        of = "child, the price book, which goes after a minute"
        yield Figure(
            f"{what}: RSS beside it", _sum(processes.rss_mb, children), "MB", len(children), of
        )
        yield Figure(
            f"{what}: PSS beside it", _sum(processes.pss_mb, children), "MB", len(children), of
        )


def _sums(family: list[int]) -> tuple[float, float]:
    return _sum(processes.cpu_s, family), _sum(processes.wake_ups, family)


def _sum(measure: Callable[[int], float], pids: list[int]) -> float:
    return sum(map(measure, pids))


def _commands(pid: int) -> set[str]:
    """The words of the command lines of the processes that this one started."""
    return {
        word
        for child in processes.tree(pid)[1:]
        for word in Path(f"/proc/{child}/cmdline").read_text().split("\0")
    }
