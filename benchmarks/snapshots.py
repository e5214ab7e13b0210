"""What snapshots cost: writing those of one large day beside a working daemon, and pruning it."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from statistics import quantiles
from typing import Final

import apsw

from benchmarks import lines
from benchmarks.figures import Budget, Figure, WrongResultError
from benchmarks.home import Home
from benchmarks.latency import append_s
from benchmarks.sizes import Sizes

_PAUSE_S: Final = 0.02
#: As the daemon starts it, without waiting for its interval.
_NICENESS: Final = 19
#: What is new is looked at before there is anything to measure.
_FIRST: Final = 30
#: Of a day of their own: to count all would take longer than what is measured.
_LATE_LINES: Final = "SELECT count(*) FROM trace WHERE started_us >= 1772323200000000"


def snapshots(folder: Path, sizes: Sizes) -> Iterator[Figure]:
    """Writes, with and without a daemon beside it, prunes, and asks what was pruned."""
    home = Home(folder)
    rows = sizes.snapshot_rows
    log = home.logs / "a.jsonl"
    size_bytes = lines.write(log, lines.day_lines(rows))
    gzip_bytes = _gzip_bytes(log)
    home.run("prodlensd", "run", "--once")
    home.expect(traces=rows)
    (folder / "config.toml").write_text("")
    written = home.run("prodlensd", "compact")
    (file,) = (folder / "parquet").rglob("*.parquet")
    yield Figure(
        "snapshot of one day",
        rows / written.wall_s,
        "rows/s",
        rows,
        "rows, with the start",
        Budget("≥", 400_000),
    )
    yield Figure(
        "the same, peak memory of its three processes",
        written.peak_with_children_mb,
        "MB",
        1,
        "run",
    )
    yield Figure("size of the snapshot", file.stat().st_size / rows, "B/call", rows, "rows")
    share = file.stat().st_size / gzip_bytes
    yield Figure(
        "the same against gzip of the lines",
        share,
        "",
        size_bytes,
        "bytes of lines",
        Budget("≤", 1),
    )
    yield from _beside_a_daemon(home, sizes)
    yield from _pruned(home, folder, rows)


def _gzip_bytes(log: Path) -> int:
    zipped = log.with_name("zipped")
    with log.open("rb") as source, gzip.open(zipped, "wb", compresslevel=6) as target:
        shutil.copyfileobj(source, target, 1 << 20)
    size_bytes = zipped.stat().st_size
    zipped.unlink()
    return size_bytes


def _beside_a_daemon(home: Home, sizes: Sizes) -> Iterator[Figure]:
    """How soon a line is visible while the day is written anew."""
    waits_ms: list[float] = []
    with home.daemon(), home.reader() as probe:
        log = os.open(home.logs / "b.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for number in range(1, _FIRST + 1):
            append_s(log, _late_line(number), probe, number, _LATE_LINES)
        with apsw.Connection(str(home.ledger)) as db:
            db.set_busy_timeout(2000)
            db.execute("UPDATE partition SET version = version + 1 WHERE rows > 0")
        with home.process("compact") as compaction:
            os.setpriority(os.PRIO_PROCESS, compaction.pid, _NICENESS)
            while compaction.poll() is None:
                number = _FIRST + len(waits_ms) + 1
                waits_ms.append(
                    1000 * append_s(log, _late_line(number), probe, number, _LATE_LINES)
                )
                threading.Event().wait(_PAUSE_S)
        os.close(log)
    if compaction.returncode != 0 or len(waits_ms) < 2:
        raise WrongResultError(f"the compaction exited with {compaction.returncode}")
    n, of = len(waits_ms), f"appends while {sizes.snapshot_rows:,} rows are written"
    percentiles = quantiles(waits_ms, n=100, method="inclusive")
    yield Figure("append to visible meanwhile, p50", percentiles[49], "ms", n, of)
    yield Figure("append to visible meanwhile, p99", percentiles[98], "ms", n, of)
    yield Figure(
        "append to visible meanwhile, slowest", max(waits_ms), "ms", n, of, Budget("≤", 100)
    )


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


def _pruned(home: Home, folder: Path, rows: int) -> Iterator[Figure]:
    home.run("prodlensd", "compact")
    before_bytes = home.ledger.stat().st_size
    (folder / "config.toml").write_text("[retention]\nstore_days = 1\n")
    pruned = home.run("prodlensd", "compact")
    if home.query("SELECT count(*) FROM traces") != [0]:
        raise WrongResultError("not all was pruned")
    after_bytes = home.ledger.stat().st_size
    yield Figure("pruning", rows / pruned.wall_s, "rows/s", rows, "rows")
    yield Figure("ledger before", before_bytes / rows, "B/call", rows, "rows")
    yield Figure("ledger after", after_bytes / rows, "B/call", rows, "rows")
    asked = home.run("prodlensd", "report", "--since", "always", "--by", "model")
    yield Figure("report of all, from the snapshot", asked.wall_s, "s", rows, "rows")
