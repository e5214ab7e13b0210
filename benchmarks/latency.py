"""How long a line takes from its append until another process can see it, committed."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
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
#: The same, of lines that come beside something else.
_FIRST_LATE: Final = 30
_PAUSE_S: Final = 0.02
#: As the daemon starts its chores.
_NICENESS: Final = 19
#: Of a day of their own: to count all would take longer than what is measured.
_LATE_LINES: Final = "SELECT count(*) FROM trace WHERE started_us >= 1772323200000000"


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


def waits_beside_ms(home: Home, *command: str, prepare: Callable[[], None]) -> list[float]:
    """How long each line takes until it is visible, while a command runs beside a daemon.

    The command is as if the daemon had started it, at the lowest priority. `prepare` is called once
    the daemon is at work.
    """
    waits_ms: list[float] = []
    with home.daemon(), home.reader() as probe:
        log = os.open(home.logs / "b.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for number in range(1, _FIRST_LATE + 1):
            append_s(log, _late_line(number), probe, number, _LATE_LINES)
        prepare()
        with home.process(*command) as process:
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICENESS)
            while process.poll() is None:
                number = _FIRST_LATE + len(waits_ms) + 1
                waits_ms.append(
                    1000 * append_s(log, _late_line(number), probe, number, _LATE_LINES)
                )
                threading.Event().wait(_PAUSE_S)
        os.close(log)
    if process.returncode != 0 or len(waits_ms) < 2:
        raise WrongResultError(f"{command[0]} exited with {process.returncode}")
    return waits_ms


def figures_beside(waits_ms: list[float], of: str) -> Iterator[Figure]:
    """What such waits come to."""
    n, percentiles = len(waits_ms), quantiles(waits_ms, n=100, method="inclusive")
    slowest, most = max(waits_ms), Budget("≤", 100)
    yield Figure("append to visible meanwhile, p50", percentiles[49], "ms", n, of)
    yield Figure("append to visible meanwhile, p99", percentiles[98], "ms", n, of, most)
    yield Figure("append to visible meanwhile, slowest", slowest, "ms", n, of)


def _late_line(number: int) -> bytes:
    """A call of another day, so that the first stays clean."""
    record = {
        "timestamp": "2026-03-01T00:00:00Z",
        "id": f"late-{number}",
        "litellm_call_id": f"late-{number}",
        "cost_usd": 0.01,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    return json.dumps(record).encode() + b"\n"


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
