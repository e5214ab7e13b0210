"""What a call costs for good: CPU, bytes written to the disk, and room, by how calls come.

From these, docs/capacity.md reckons what a laptop or a proxy of so many developers costs.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from benchmarks import lines, processes
from benchmarks.callback_lines import callback_lines
from benchmarks.figures import Figure
from benchmarks.home import Home, await_
from benchmarks.sizes import Sizes

_LINES: Final = "SELECT sum(lines) FROM sources"
#: The first lines start the price book and fill the caches.
_FIRST: Final = 20


def capacity(folder: Path, sizes: Sizes) -> Iterator[Figure]:
    """Calls one by one, twenty a second and a hundred; then a backlog, and its snapshots."""
    for pause_s, count in ((0.05, sizes.appends), (0.01, 4 * sizes.appends)):
        home = Home(folder / f"every-{pause_s}")
        cpu_ms, written_bytes = _one_by_one(home, count, pause_s)
        what = f"a call, {1 / pause_s:.0f} a second"
        yield Figure(f"{what}: CPU", cpu_ms, "ms", count, "calls, each in its own transaction")
        yield Figure(f"{what}: written", written_bytes / 1000, "kB", count, "calls")
    home = Home(folder / "backlog")
    count = sizes.peer_lines
    log_bytes = lines.write(home.logs / "a.jsonl", callback_lines(count))
    run = home.run("prodlensd", "run", "--once")
    home.expect(traces=count)
    ledger_bytes = home.ledger.stat().st_size
    (home.ledger.parent / "config.toml").write_text("")
    compacted = home.run("prodlensd", "compact")
    files = list((home.ledger.parent / "parquet").rglob("*.parquet"))
    snapshot_bytes = sum(file.stat().st_size for file in files)
    of = f"calls; a line of them has {log_bytes / count:.0f} B"
    yield Figure("a call of a backlog: CPU", run.cpu_s / count * 1e3, "ms", count, of)
    yield Figure("a call: the ledger", ledger_bytes / count, "B", count, "calls")
    yield Figure("a call: its snapshot", snapshot_bytes / count, "B", count, f"in {len(files)}")
    yield Figure("a call: CPU of its snapshot", compacted.cpu_s / count * 1e3, "ms", count, "calls")
    of = "run, its processes together"
    yield Figure("writing them: peak RSS", compacted.peak_with_children_mb, "MB", 1, of)


def _one_by_one(home: Home, count: int, pause_s: float) -> tuple[float, float]:
    """Milliseconds of CPU and bytes written by the daemon for each line."""
    new = callback_lines(_FIRST + count)
    with home.daemon() as daemon:
        log = os.open(home.logs / "live.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            _append(log, new, _FIRST, pause_s)
            await_(lambda: home.query(_LINES) == [_FIRST], "the first lines")
            cpu_s, written = processes.cpu_s(daemon.pid), _written_bytes(daemon.pid)
            _append(log, new, count, pause_s)
            await_(lambda: home.query(_LINES) == [_FIRST + count], "all lines")
            cpu_s = processes.cpu_s(daemon.pid) - cpu_s
            written = _written_bytes(daemon.pid) - written
        finally:
            os.close(log)
    home.expect(traces=_FIRST + count)
    return cpu_s / count * 1e3, written / count


def _append(log: int, new: Iterator[bytes], count: int, pause_s: float) -> None:
    for line in islice(new, count):
        due_s = time.perf_counter() + pause_s
        os.write(log, line)
        threading.Event().wait(max(0.0, due_s - time.perf_counter()))


def _written_bytes(pid: int) -> int:
    """What the process has sent to the disk so far."""
    found = re.search(r"^write_bytes: (\d+)", Path(f"/proc/{pid}/io").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0
