"""What snapshots cost: writing those of one large day beside a working daemon, and pruning it."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator
from pathlib import Path

import apsw

from benchmarks import lines
from benchmarks.figures import Budget, Figure, WrongResultError
from benchmarks.home import Home
from benchmarks.latency import figures_beside, waits_beside_ms
from benchmarks.sizes import Sizes


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

    def make_dirty() -> None:
        with apsw.Connection(str(home.ledger)) as db:
            db.set_busy_timeout(2000)
            db.execute("UPDATE partition SET version = version + 1 WHERE rows > 0")

    waits_ms = waits_beside_ms(home, "compact", prepare=make_dirty)
    yield from figures_beside(waits_ms, f"appends while {sizes.snapshot_rows:,} rows are written")


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
