"""How long a line takes from its append until another process can see it, committed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles
from typing import Final

import apsw

from benchmarks import lines
from benchmarks.figures import Budget, Figure, WrongResultError
from benchmarks.home import Home
from benchmarks.sizes import Sizes

_APPEND_INTERVAL_S: Final = 0.05
_POLL_INTERVAL_S: Final = 0.0002
_LONGEST_WAIT_S: Final = 10.0
#: The first lines start the price book and fill the caches; they are measured apart.
_FIRST: Final = 10


def latency(folder: Path, sizes: Sizes) -> Iterator[Figure]:
    """A running daemon, and a writer that appends a line now and then."""
    home = Home(folder)
    waits_ms: list[float] = []
    count = _FIRST + sizes.appends
    with home.daemon():
        log = os.open(home.logs / "live.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            with home.reader() as probe:
                for number, line in enumerate(lines.trace_lines(count), start=1):
                    waits_ms.append(append_s(log, line, probe, number) * 1000)
                    threading.Event().wait(max(0.0, _APPEND_INTERVAL_S - waits_ms[-1] / 1000))
        finally:
            os.close(log)
    home.expect(traces=count)
    first, waits_ms = waits_ms[:_FIRST], waits_ms[_FIRST:]
    percentiles = quantiles(waits_ms, n=100, method="inclusive")
    n, of = len(waits_ms), "appends, 20 a second"
    yield Figure("append to visible elsewhere, p50", percentiles[49], "ms", n, of, Budget("≤", 10))
    yield Figure("append to visible elsewhere, p99", percentiles[98], "ms", n, of, Budget("≤", 50))
    yield Figure("append to visible elsewhere, slowest", max(waits_ms), "ms", n, of)
    yield Figure(
        "append to visible elsewhere, slowest of the first ones",
        max(first),
        "ms",
        len(first),
        "appends",
    )


def append_s(
    log: int,
    line: bytes,
    probe: apsw.Connection,
    number: int,
    counted: str = "SELECT count(*) FROM traces",
) -> float:
    """Appends the line as number so-and-so; the seconds until the probe has counted as many."""
    pause = threading.Event()
    version = probe.pragma("data_version")
    began_s = time.perf_counter()
    os.write(log, line)
    while (waited_s := time.perf_counter() - began_s) < _LONGEST_WAIT_S:
        # Cheaper than counting; and the daemon's heartbeat changes it as well.
        if probe.pragma("data_version") != version:
            version = probe.pragma("data_version")
            if probe.execute(counted).get == number:
                return time.perf_counter() - began_s
        pause.wait(_POLL_INTERVAL_S)
    raise WrongResultError(f"line {number} was not to be seen within {waited_s:.0f} s")
