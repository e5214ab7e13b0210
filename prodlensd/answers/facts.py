"""What is: ledger, daemon, logs and disk at one moment, gathered read-only and not judged.

`status` and the metrics read the same facts.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Final, NamedTuple

import orjson
from msgspec import Struct

from prodlensd.answers.budgets import NO_BUDGETS, Budgets, Standing, standings
from prodlensd.ledger import (
    Copies,
    Counts,
    Heartbeat,
    Measures,
    OpenGaps,
    Partition,
    Reader,
    Snapshots,
    Tail,
)
from prodlensd.logs import PassedOver, Tailer
from prodlensd.model import US_PER_DAY, US_PER_S, Checkpoint, Fault, file_id
from prodlensd.process import lock_path

#: The calls of a day are counted one by one, up to this number.
MOST_ROWS_TODAY: Final = 100_000
#: A rotator may take this long to compress the copy that holds what seems lost.
GAP_PATIENCE_US: Final = 60 * US_PER_S
#: The end of an unread line is searched for up to here.
_LONGEST_LOOK_BYTES: Final = 1 << 20

#: A tailer that begins at these checkpoints.
Follow = Callable[[Iterable[Checkpoint]], Tailer]


class FileLag(NamedTuple):
    """What one log file holds that the ledger lacks; a time is None where it is not known.

    A line still being written counts by its bytes, and does not wait.
    """

    size_bytes: int
    waiting_since_us: int | None
    modified_us: int | None


class Facts(Struct, frozen=True, kw_only=True):
    """What status and metrics report. As quick to gather from a large ledger as from a small one.

    `measures` is None where the daemon is of another version, which measures otherwise.
    """

    now_us: int
    beat: Heartbeat | None
    measures: Measures | None
    folders: list[str]  # of the logs, as this user names them
    files: list[FileLag]
    unlisted: list[Fault]  # folders of logs that cannot be listed, and names that cannot be kept
    passed_over: dict[str, PassedOver]  # files in the folders that are not taken for logs
    last_read_us: int | None
    last_commit_us: int | None
    counts: Counts
    gaps: OpenGaps
    young_gaps: int  # of the open gaps, those whose bytes may still turn up in a copy
    reasons: dict[str, int]
    anomalies: dict[str, int]
    cost_sources: dict[str, int]
    unpriced_reasons: dict[str, int]
    disputed_calls: int
    snapshots: Snapshots
    ledger_bytes: int  # without its write-ahead log
    wal_bytes: int
    free_bytes: int
    budgets: list[Standing]

    @property
    def has_seen_no_line(self) -> bool:
        """Whether no line has ever come, not even one that waits to be read."""
        return not self.counts.lines and self.waiting_since_us is None

    @property
    def has_seen_no_call(self) -> bool:
        """Whether lines have come, and not one of them was a call."""
        return bool(self.counts.lines) and not self.counts.traces

    @property
    def unpriced_calls(self) -> int:
        """The calls without a price."""
        return self.cost_sources.get("unpriced", 0)

    @property
    def lag_bytes(self) -> int:
        """What all files hold that is not read."""
        return sum(file.size_bytes for file in self.files)

    @property
    def waiting_since_us(self) -> int | None:
        """Since when the oldest unread line waits."""
        return min((f.waiting_since_us for f in self.files if f.waiting_since_us), default=None)

    @property
    def lag_s(self) -> float:
        """How long the oldest unread line has waited."""
        since_us = self.waiting_since_us
        return 0.0 if since_us is None else max(0.0, (self.now_us - since_us) / US_PER_S)

    @property
    def last_line_us(self) -> int | None:
        """When the last line came, by the files that are there, or else by the ledger."""
        modified = [file.modified_us for file in self.files if file.modified_us]
        return max(modified, default=self.last_commit_us)


class Missing(NamedTuple):
    """Snapshots that are not where they belong: those to be written again, and those that are lost.

    `directory` is where they belong; a lost one was the only copy of a call.
    """

    directory: Path | None
    days: int
    lost: tuple[Path, ...]


class Details(NamedTuple):
    """What `status` alone asks for, because it takes a look at rows and snapshots."""

    rows_today: int
    has_more_today: bool  # than were counted
    missing: Missing
    published: Copies | None


def gather(
    reader: Reader,
    ledger_path: Path,
    now_us: int,
    follow: Follow | None = None,
    budgets: Budgets = NO_BUDGETS,
) -> Facts:
    """The facts; with `follow`, files that the daemon has not found yet count too.

    To be asked within one moment of the reader. Raises LedgerError or OSError. Does not ask for the
    lock, which the daemon itself must not.
    """
    beat, tails = reader.heartbeat(), reader.sources.tails()
    found = _Found(tails, [], [], {}) if follow is None else _find(tails, follow)
    disk = os.statvfs(ledger_path.parent)
    return Facts(
        now_us=now_us,
        beat=beat,
        measures=_measures(beat),
        folders=found.folders,
        files=[_lag(tail) for tail in found.tails],
        unlisted=found.faults,
        passed_over=found.passed_over,
        last_read_us=max((t.last_read_us or 0 for t in tails), default=0) or None,
        last_commit_us=reader.sources.last_commit_us(),
        counts=reader.sources.counts(),
        gaps=reader.sources.open_gaps(),
        young_gaps=reader.sources.open_gaps(now_us - GAP_PATIENCE_US).number,
        reasons=reader.tallies.tally("reason"),
        anomalies=reader.tallies.anomalies(),
        cost_sources=reader.tallies.tally("cost_source"),
        unpriced_reasons=reader.tallies.unpriced_reasons(),
        disputed_calls=reader.tallies.tally("disputed").get("yes", 0),
        snapshots=reader.days.snapshots(),
        ledger_bytes=ledger_path.stat().st_size,
        wal_bytes=_wal_bytes(ledger_path),
        free_bytes=disk.f_bavail * disk.f_frsize,
        budgets=standings(reader, budgets, now_us),
    )


def gather_details(reader: Reader, now_us: int, publish_url: str, parquet: Path | None) -> Details:
    """The details; without `publish_url` or `parquet`, nothing of copies or missing snapshots."""
    today_us = now_us // US_PER_DAY * US_PER_DAY
    rows = reader.days.count(today_us, today_us + US_PER_DAY, MOST_ROWS_TODAY)
    return Details(
        rows_today=rows,
        has_more_today=rows == MOST_ROWS_TODAY,
        missing=missing_snapshots(reader.days.partitions().values(), parquet),
        published=reader.publishing.copies(publish_url) if publish_url else None,
    )


def missing_snapshots(partitions: Iterable[Partition], directory: Path | None) -> Missing:
    """Those missing in this folder, by the names and sizes of the files alone."""
    days, lost = 0, list[Path]()
    if directory is None:
        return Missing(None, 0, ())
    for partition in partitions:
        place = partition.place(directory)
        with suppress(OSError):  # this user may not look
            places = {place, partition.path(directory)}
            if partition.pruned and not any(map(partition.may_be, places)):
                lost.append(place)
            elif partition.is_clean and not partition.is_in(directory):
                days += 1
    return Missing(directory, days, tuple(lost))


def _measures(beat: Heartbeat | None) -> Measures | None:
    try:
        return Measures.from_dict(orjson.loads((beat and beat.measures) or "null"))
    except (ValueError, TypeError, KeyError):
        return None


def _wal_bytes(ledger_path: Path) -> int:
    """0 where there is none: SQLite deletes it when the last connection closes."""
    try:
        return ledger_path.with_name(f"{ledger_path.name}-wal").stat().st_size
    except FileNotFoundError:
        return 0


# The lag of the files


class _Found(NamedTuple):
    """All files: sources, where they are now, and those that are no sources yet; and the rest."""

    tails: list[Tail]
    folders: list[str]
    faults: list[Fault]
    passed_over: dict[str, PassedOver]


def _find(tails: list[Tail], follow: Follow) -> _Found:
    """The log folders as the daemon itself would find them."""
    tailer = follow(
        Checkpoint(t.source_id, t.path, t.dev, t.inode, t.offset, t.size_bytes) for t in tails
    )
    survey = tailer.scan(0)
    places = {moved.source_id: moved.path for moved in survey.moved}
    known = [tail._replace(path=places.get(tail.source_id, tail.path)) for tail in tails]
    new = [Tail(sighting.path, sighting.inode, 0, 0, None) for sighting in survey.new]
    return _Found([*known, *new], tailer.directories, tailer.faults(0), tailer.passed_over)


def _lag(tail: Tail) -> FileLag:
    """By the file as it is now; of gzip, and of a file not there, as it was last read."""
    try:
        now = os.lstat(tail.path)
    except OSError:
        now = None
    if now is None or file_id(now)[1] != tail.inode or not stat.S_ISREG(now.st_mode):
        return FileLag(max(0, tail.size_bytes - tail.offset), None, None)
    modified_us = now.st_mtime_ns // 1000
    unread_bytes = max(0, (tail.size_bytes if tail.is_gzip else now.st_size) - tail.offset)
    line = _next_line(tail) if unread_bytes and not tail.is_gzip else None
    # Zeros stand where the next line is to come: the file has its size before its bytes.
    if not unread_bytes or (line is not None and not line.strip(b"\0")):
        return FileLag(0, None, modified_us)
    if line is not None and not line.endswith(b"\n") and len(line) < _LONGEST_LOOK_BYTES:
        return FileLag(unread_bytes, None, modified_us)
    # It has waited at least since the file was last written to; and if it was there when the file
    # was last read, since then.
    was_there = tail.offset + (unread_bytes if line is None else len(line)) <= tail.size_bytes
    since_us = min(modified_us, tail.as_of_us) if was_there else modified_us
    return FileLag(unread_bytes, since_us, modified_us)


def _next_line(tail: Tail) -> bytes | None:
    """The first unread line, as far as it is written, or its first _LONGEST_LOOK_BYTES.

    None where this user may not read it: it is taken for a line, as most are.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        with open(os.open(tail.path, flags), "rb") as file:  # noqa: PTH123 - a descriptor
            file.seek(tail.offset)
            return file.readline(_LONGEST_LOOK_BYTES)
    except OSError:
        return None


# What this user may know


def is_of_another_user(ledger_path: Path, beat: Heartbeat | None) -> bool:
    """Whether the lock or the daemon's process belongs to another user."""
    try:
        if lock_path(ledger_path).stat().st_uid != os.geteuid():
            return True
        if beat is not None:
            os.kill(beat.pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        pass
    return False


def may_read(ledger_path: Path) -> bool:
    """Whether this user may read the ledger, if there is one, with all that belongs to it.

    Without its write-ahead log SQLite would show what the ledger was some time ago.
    """
    for suffix in ("", "-wal", "-shm"):
        file = f"{ledger_path}{suffix}"
        try:
            os.stat(file)  # noqa: PTH116 - Path.exists() would raise what is asked for here
        except PermissionError:
            return False
        except OSError:
            continue
        if not os.access(file, os.R_OK):
            return False
    return True


def price_book() -> str | None:
    """The price book that is installed, and its version."""
    version = price_book_version()
    return None if version is None else f"genai-prices {version}"


def price_book_version() -> str | None:
    """The version of the price book that is installed, without importing anything of it.

    `importlib.metadata` knows as much, and takes a quarter of the time of `status` to import.
    """
    spec = PathFinder.find_spec("genai_prices")
    for folder in (spec and spec.submodule_search_locations) or ():
        for name in os.listdir(Path(folder).parent):  # noqa: PTH208 - names alone, at every start
            if found := re.fullmatch(r"genai_prices-(.*)\.dist-info", name):
                return found[1]
    return None
