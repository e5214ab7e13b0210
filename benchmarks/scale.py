"""What scale costs: a line among many quiet files, the proof of all of them, many sessions."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles
from typing import Final

from benchmarks import lines, processes
from benchmarks.figures import Budget, Figure
from benchmarks.home import Home, await_
from benchmarks.latency import append_s
from benchmarks.sizes import Sizes

_LONG_AGO_S: Final = 1_700_000_000
_LINES_A_FILE: Final = 2
#: The first lines fill the caches.
_FIRST: Final = 10
_COUNTED: Final = "SELECT count(*) FROM traces"


def scale(folder: Path, sizes: Sizes) -> Iterator[Figure]:
    """A running daemon beside more and more quiet files; then `verify` over more and more."""
    alone_ms = None
    for files in sizes.quiet_files:
        home = Home(folder / f"{files}-quiet")
        _quiet(home, files)
        cpu_ms, waits_ms = _line_cpu_ms(home, files, sizes.appends)
        alone_ms = alone_ms or cpu_ms
        yield Figure(
            f"CPU of a line, 20 a second, among {files:,} files",
            cpu_ms,
            "ms",
            sizes.appends,
            f"lines; {cpu_ms / alone_ms:.2f} of that among {sizes.quiet_files[0]}",
            Budget("≤", 2 * alone_ms),
        )
        percentiles = quantiles(waits_ms, n=100, method="inclusive")
        yield Figure(
            f"append to visible among {files:,} files, p50", percentiles[49], "ms", len(waits_ms),
            f"appends; p99 {percentiles[98]:.1f} ms",
        )  # fmt: skip
    yield from _sessions(Home(folder / "sessions"), sizes.sessions)
    for files in sizes.verified_files:
        home = Home(folder / f"{files}-verified")
        _quiet(home, files)
        home.run("prodlensd", "run", "--once")
        run = home.run("prodlensd", "verify")
        yield Figure(
            f"verify, {files:,} files of {_LINES_A_FILE} lines", run.wall_s, "s", files,
            f"files; {run.wall_s / files * 1e3:.2f} ms each, peak {run.peak_mb:.0f} MB",
        )  # fmt: skip


def _sessions(home: Home, sessions: int) -> Iterator[Figure]:
    """A report of calls that are each a session of its own, as those without a name are."""
    with (home.logs / "a.jsonl").open("wb") as file:
        for number, line in enumerate(lines.trace_lines(sessions)):
            begin, _, end = line.partition(b'"session-')
            file.write(b'%b"session-%08d%b' % (begin, number, end[end.index(b'"') :]))
    home.run("prodlensd", "run", "--once")
    home.expect(traces=sessions)
    run = home.run("prodlensd", "report", "--by", "session", "--since", "always")
    what = f"report of {sessions:,} sessions"
    yield Figure(what, run.wall_s, "s", 1, "run")
    yield Figure(f"{what}: peak memory", run.peak_mb, "MB", 1, "run", Budget("≤", 500))


def _quiet(home: Home, files: int) -> None:
    """Files that nobody has written to for long."""
    all_lines = lines.trace_lines(files * _LINES_A_FILE)
    for number in range(files):
        path = home.logs / f"quiet-{number:05}.jsonl"
        path.write_bytes(b"".join(next(all_lines) for _ in range(_LINES_A_FILE)))
        os.utime(path, (_LONG_AGO_S, _LONG_AGO_S))


def _line_cpu_ms(home: Home, files: int, appends: int) -> tuple[float, list[float]]:
    """The daemon's CPU time for each line, and how long each took until it was visible."""
    there = files * _LINES_A_FILE
    new = lines.trace_lines(_FIRST + appends, start=there)
    waits_ms: list[float] = []
    before_s = 0.0
    with home.daemon() as daemon:
        await_(lambda: home.query("SELECT sum(lines) FROM sources") == [there], "all taken in")
        log = os.open(home.logs / "live.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            with home.reader() as probe:
                for number in range(_FIRST + appends):
                    if number == _FIRST:
                        before_s = processes.cpu_s(daemon.pid)
                    began_s = time.perf_counter()
                    waited_s = append_s(log, next(new), probe, there + number + 1, _COUNTED)
                    waits_ms.append(waited_s * 1000)
                    pause_s = 0.05 - (time.perf_counter() - began_s)
                    threading.Event().wait(max(0.0, pause_s))
        finally:
            os.close(log)
        cpu_ms = (processes.cpu_s(daemon.pid) - before_s) / appends * 1000
    return cpu_ms, waits_ms[_FIRST:]
