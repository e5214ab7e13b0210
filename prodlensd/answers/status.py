"""Is it healthy, and if not, what to do: checks over lock, heartbeat, ledger and logs, read-only.

Works with the daemon alive, hung or dead, and as any user who may read the ledger. Every check has
a state, a value, the numbers it judges with their limits, and a remedy when not ok.

What a value quotes (paths, errors of the system) comes from outside, and is not fit to print as is.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from importlib.machinery import PathFinder
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import orjson

from prodlensd import __version__
from prodlensd.config import Status as Limits
from prodlensd.ledger import (
    Copies,
    Counts,
    Heartbeat,
    LedgerError,
    Measures,
    OpenGaps,
    Partition,
    Reader,
    Snapshots,
    Tail,
)
from prodlensd.logs import PassedOver, Tailer
from prodlensd.model import US_PER_DAY, US_PER_S, Checkpoint, Fault, file_id
from prodlensd.process import is_held, lock_path

OK: Final = "ok"
WARNING: Final = "warning"
CRITICAL: Final = "critical"
UNKNOWN: Final = "unknown"
#: The worst first. Their exit codes are those of Nagios plugins, which many other tools understand
# too.
SEVERITY: Final = (CRITICAL, WARNING, UNKNOWN, OK)
EXIT_CODES: Final = {OK: 0, WARNING: 1, CRITICAL: 2, UNKNOWN: 3}

#: The calls of a day are counted one by one, and no further than this.
MOST_ROWS_TODAY: Final = 100_000
#: A rotator may take this long to compress the copy that holds what seems lost.
GAP_PATIENCE_US: Final = 60 * US_PER_S
PROXY_TIMEOUT_S: Final = 1.0
_LONGEST_STATUS_BYTES: Final = 512
_HEALTH_ENDPOINT: Final = "/health/liveliness"
#: A line still unfinished is looked for so far.
_LONGEST_LOOK_BYTES: Final = 1 << 20
_DEFAULT_LIMITS: Final = Limits()

#: A tailer that begins at these checkpoints.
Follow = Callable[[Iterable[Checkpoint]], Tailer]


class Gauge(NamedTuple):
    """A number that a check looks at: above its limits, or below those of a floor, is not ok.

    `unit` is one that monitoring plugins know: B, s, %, c for a counter, or none.
    """

    name: str
    value: float
    unit: str = ""
    warning: float | None = None
    critical: float | None = None
    is_floor: bool = False

    @property
    def state(self) -> str:
        """What the limits make of the value."""
        if self._is_beyond(self.critical):
            return CRITICAL
        return WARNING if self._is_beyond(self.warning) else OK

    def _is_beyond(self, limit: float | None) -> bool:
        if limit is None:
            return False
        return self.value < limit if self.is_floor else self.value > limit


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `remedy` says what to do, and is empty when all is well."""

    name: str
    state: str
    value: str
    remedy: str = ""
    gauges: tuple[Gauge, ...] = ()

    @property
    def thresholds(self) -> dict[str, dict[str, Any]]:
        """By name, the gauges that have a limit."""
        return {
            gauge.name: {
                "value": gauge.value,
                "unit": gauge.unit,
                "warning": gauge.warning,
                "critical": gauge.critical,
                "bad_when": "below" if gauge.is_floor else "above",
            }
            for gauge in self.gauges
            if gauge.warning is not None or gauge.critical is not None
        }


@dataclass(frozen=True, slots=True)
class Health:
    """All checks, and the figures behind them by name (None where they could not be had)."""

    checks: tuple[Check, ...]
    figures: dict[str, Any]

    @property
    def state(self) -> str:
        """The worst of the checks."""
        states = {check.state for check in self.checks}
        return next(state for state in SEVERITY if state in states)


_NO_FIGURES: Final[dict[str, Any]] = dict.fromkeys(
    (
        *("pid", "version", "started_at", "heartbeat_age_s", "watcher", "fault", "measures"),
        *("sources", "lag_bytes", "lag_s", "oldest_unread_at", "last_read_at", "last_line_at"),
        *("lines", "traces", "duplicates", "dead_letters", "blanks", "rows_today"),
        *("dead_letter_reasons", "anomalies", "open_gaps", "known_lost_bytes"),
        *("unpriced_traces", "disputed_traces", "cost_sources", "price_book"),
        *("snapshot_days", "dirty_days", "last_compacted_at", "pruned_traces"),
        *("published_days", "unpublished_days", "last_published_at", "publish_fault"),
        *("store_bytes", "wal_bytes", "free_bytes", "last_commit_at", "proxy"),
    )
)


def look(
    ledger_path: Path,
    *,
    parquet_interval_s: float | None,
    now_us: int,
    limits: Limits = _DEFAULT_LIMITS,
    follow: Follow | None = None,
    proxy_url: str = "",
    publish_url: str = "",
    parquet: Path | None = None,
) -> Health:
    """The health of the daemon on this ledger; `parquet_interval_s` None: snapshots are off.

    With `follow`, files that the daemon has not found yet count as unread; with `proxy_url`, the
    proxy is asked, which may take a second; with `publish_url`, it is told what is there; with
    `parquet`, their folder, the snapshots are looked for.
    """
    question = _Question(proxy_url) if proxy_url else None
    held = _is_held(ledger_path)
    try:
        if not _may_read(ledger_path):
            raise PermissionError(ledger_path)
        with Reader(ledger_path) as reader:
            facts = _gather(reader, ledger_path, follow, publish_url, parquet, now_us)
    except (LedgerError, OSError) as error:
        checks = [*_without_ledger(ledger_path, str(error), held=held), _version(None)]
        figures = dict(_NO_FIGURES)
        arrived_us = None
    else:
        is_anothers = _is_anothers(ledger_path, facts.beat)
        checks = [
            _daemon(facts, limits, held=held, is_anothers=is_anothers),
            *_checks(facts, limits, parquet_interval_s),
        ]
        figures = _figures(facts)
        arrived_us = facts.arrived_us
    fault = None if question is None else question.answer()
    checks += _proxy(fault, arrived_us, now_us, limits)
    figures["proxy"] = None if fault is None else not fault
    figures["price_book"] = price_book()
    return Health(tuple(checks), figures)


# The facts


class _Unread(NamedTuple):
    """What one file holds that is not in the ledger yet; times are None where they are not known.

    A line still being written counts by its bytes, and does not wait.
    """

    size_bytes: int
    waiting_since_us: int | None
    modified_us: int | None


class _Missing(NamedTuple):
    """Snapshots that are not where they belong: those to be written again, and those that are lost.

    `directory` is where they belong; lost is the only copy of a call.
    """

    directory: Path | None
    days: int
    lost: tuple[Path, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    now_us: int
    beat: Heartbeat | None
    measures: Measures | None
    unread: list[_Unread]
    unlisted: list[Fault]  # folders of logs that cannot be listed, and names that cannot be kept
    passed_over: dict[str, PassedOver]  # files in the folders that are not taken for logs
    last_read_us: int | None
    last_commit_us: int | None
    counts: Counts
    gaps: OpenGaps
    young_gaps: int  # of the open gaps, those whose bytes may still turn up in a copy
    rows_today: int
    reasons: dict[str, int]
    anomalies: dict[str, int]
    cost_sources: dict[str, int]
    disputed: int
    snapshots: Snapshots
    missing: _Missing
    published: Copies | None
    store_bytes: int
    wal_bytes: int
    free_bytes: int

    @property
    def beat_age_s(self) -> float | None:
        return None if self.beat is None else self.beat.silence_s(self.now_us)

    @property
    def lag_bytes(self) -> int:
        return sum(file.size_bytes for file in self.unread)

    @property
    def waiting_since_us(self) -> int | None:
        return min((f.waiting_since_us for f in self.unread if f.waiting_since_us), default=None)

    @property
    def lag_s(self) -> float:
        since_us = self.waiting_since_us
        return 0.0 if since_us is None else max(0.0, (self.now_us - since_us) / US_PER_S)

    @property
    def arrived_us(self) -> int | None:
        """When the last line came, by the files that are there, or else by the ledger."""
        modified = [file.modified_us for file in self.unread if file.modified_us]
        return max(modified, default=self.last_commit_us)


def _gather(
    reader: Reader,
    ledger_path: Path,
    follow: Follow | None,
    publish_url: str,
    parquet: Path | None,
    now_us: int,
) -> _Facts:
    beat, tails = reader.heartbeat(), reader.sources.tails()
    seen = _Seen(tails, [], {}) if follow is None else _seen_now(tails, follow)
    today_us = now_us // US_PER_DAY * US_PER_DAY
    disk = os.statvfs(ledger_path.parent)
    wal = ledger_path.with_name(f"{ledger_path.name}-wal")
    wal_bytes = wal.stat().st_size if wal.exists() else 0
    return _Facts(
        now_us=now_us,
        beat=beat,
        measures=_measures(beat),
        unread=[_unread(tail) for tail in seen.tails],
        unlisted=seen.faults,
        passed_over=seen.passed_over,
        last_read_us=max((t.last_read_us or 0 for t in tails), default=0) or None,
        last_commit_us=reader.sources.last_commit_us(),
        counts=reader.sources.counts(),
        gaps=reader.sources.open_gaps(),
        young_gaps=reader.sources.open_gaps(now_us - GAP_PATIENCE_US).number,
        rows_today=reader.days.count(today_us, today_us + US_PER_DAY, MOST_ROWS_TODAY),
        reasons=reader.tallies.tally("reason"),
        anomalies=reader.tallies.anomalies(),
        cost_sources=reader.tallies.tally("cost_source"),
        disputed=reader.tallies.tally("disputed").get("yes", 0),
        snapshots=reader.days.snapshots(),
        missing=_missing(reader.days.partitions().values(), parquet),
        published=reader.publishing.copies(publish_url) if publish_url else None,
        store_bytes=ledger_path.stat().st_size + wal_bytes,
        wal_bytes=wal_bytes,
        free_bytes=disk.f_bavail * disk.f_frsize,
    )


def _missing(partitions: Iterable[Partition], directory: Path | None) -> _Missing:
    """By the names and sizes of the files alone."""
    days, lost = 0, list[Path]()
    if directory is None:
        return _Missing(None, 0, ())
    for partition in partitions:
        place = partition.place(directory)
        with suppress(OSError):  # not for this user to see
            places = {place, partition.path(directory)}
            if partition.pruned and not any(map(partition.may_be, places)):
                lost.append(place)
            elif partition.is_clean and not partition.is_in(directory):
                days += 1
    return _Missing(directory, days, tuple(lost))


def _measures(beat: Heartbeat | None) -> Measures | None:
    """What the daemon measured; None where it is of another version that measures otherwise."""
    try:
        return Measures.from_dict(orjson.loads((beat and beat.measures) or "null"))
    except (ValueError, TypeError, KeyError):
        return None


class _Seen(NamedTuple):
    """The sources where their files are now and the files that are no sources yet; and the rest."""

    tails: list[Tail]
    faults: list[Fault]
    passed_over: dict[str, PassedOver]


def _seen_now(tails: list[Tail], follow: Follow) -> _Seen:
    """The log folders as the daemon itself would find them."""
    tailer = follow(
        Checkpoint(t.source_id, t.path, t.dev, t.inode, t.offset, t.size_bytes) for t in tails
    )
    survey = tailer.scan(0)
    places = {moved.source_id: moved.path for moved in survey.moved}
    known = [tail._replace(path=places.get(tail.source_id, tail.path)) for tail in tails]
    new = [Tail(sighting.path, sighting.inode, 0, 0, None) for sighting in survey.new]
    return _Seen([*known, *new], tailer.faults(0), tailer.passed_over)


def _unread(tail: Tail) -> _Unread:
    """By the file as it is now, or as it was last read where it is not seen."""
    try:
        now = os.lstat(tail.path)
    except OSError:
        now = None
    if now is None or file_id(now)[1] != tail.inode or not stat.S_ISREG(now.st_mode):
        return _Unread(max(0, tail.size_bytes - tail.offset), None, None)
    modified_us = now.st_mtime_ns // 1000
    size_bytes = max(0, (tail.size_bytes if tail.is_gzip else now.st_size) - tail.offset)
    line_end = None
    if size_bytes:
        try:
            line_end = _end_of_line(tail, size_bytes)
        except _NothingWrittenError:
            size_bytes = 0
    if line_end is None:
        return _Unread(size_bytes, None, modified_us)
    # It has waited at least since the file was last written to; and if it was there when the file
    # was last read, since then.
    was_there = line_end <= tail.size_bytes
    since_us = min(modified_us, tail.as_of_us) if was_there else modified_us
    return _Unread(size_bytes, since_us, modified_us)


class _NothingWrittenError(Exception):
    """Zeros stand where the next line is to come: the file has its size before its bytes."""


def _end_of_line(tail: Tail, unread_bytes: int) -> int | None:
    """Where the first line not read ends, in a long one some place within; None: not finished.

    Raises _NothingWrittenError where there is none.
    """
    if tail.is_gzip:
        return tail.size_bytes
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        with open(os.open(tail.path, flags), "rb") as file:  # noqa: PTH123 - a descriptor
            file.seek(tail.offset)
            line = file.readline(_LONGEST_LOOK_BYTES)
    except OSError:  # not for us to read: then it is taken to be a line, as most are
        return tail.offset + unread_bytes
    if not line.strip(b"\0"):
        raise _NothingWrittenError
    is_line = line.endswith(b"\n") or len(line) == _LONGEST_LOOK_BYTES
    return tail.offset + len(line) if is_line else None


def _figures(facts: _Facts) -> dict[str, Any]:
    beat, snapshots, published = facts.beat, facts.snapshots, facts.published
    return _NO_FIGURES | {
        "pid": beat and beat.pid,
        "version": beat and beat.version,
        "started_at": beat and _iso(beat.started_us),
        "heartbeat_age_s": facts.beat_age_s,
        "watcher": beat and beat.watcher,
        "fault": beat and beat.fault,
        "measures": facts.measures and facts.measures.as_dict(),
        "sources": len(facts.unread),
        "lag_bytes": facts.lag_bytes,
        "lag_s": facts.lag_s,
        "oldest_unread_at": _iso(facts.waiting_since_us),
        "last_read_at": _iso(facts.last_read_us),
        "last_line_at": _iso(facts.arrived_us),
        **facts.counts._asdict(),
        "unpriced_traces": facts.cost_sources.get("unpriced", 0),
        "disputed_traces": facts.disputed,
        "open_gaps": facts.gaps.number,
        "known_lost_bytes": facts.gaps.known_bytes,
        "rows_today": facts.rows_today,
        "dead_letter_reasons": facts.reasons,
        "anomalies": facts.anomalies,
        "cost_sources": facts.cost_sources,
        "snapshot_days": snapshots.days,
        "dirty_days": snapshots.dirty_days,
        "last_compacted_at": _iso(snapshots.last_compacted_us),
        "pruned_traces": snapshots.pruned_traces,
        "published_days": published and published.days,
        "unpublished_days": published and published.due_days,
        "last_published_at": published and _iso(published.last_us),
        "publish_fault": published and published.failed and published.failed.fault,
        "store_bytes": facts.store_bytes,
        "wal_bytes": facts.wal_bytes,
        "free_bytes": facts.free_bytes,
        "last_commit_at": _iso(facts.last_commit_us),
    }


# The checks


def _is_held(ledger_path: Path) -> bool | None:
    """Whether a daemon runs on this ledger; None where that is not for this user to know."""
    try:
        return is_held(ledger_path)
    except OSError:
        return None


def _is_anothers(ledger_path: Path, beat: Heartbeat | None) -> bool:
    """Whether the lock or the daemon's process is another user's."""
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


def _may_read(ledger_path: Path) -> bool:
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


def _without_ledger(ledger_path: Path, error: str, *, held: bool | None) -> list[Check]:
    if not _may_read(ledger_path):
        remedy = "ask as the user who runs the daemon, or as root"
        return [
            Check("daemon", UNKNOWN, "run by another user, if at all", remedy),
            Check("store", UNKNOWN, f"{ledger_path}: this user may not read it", remedy),
        ]
    daemon = Check("daemon", OK, "running") if held else _not_running("never on this ledger")
    return [daemon, Check("store", CRITICAL, error, "start the daemon, or check store.path")]


def _checks(facts: _Facts, limits: Limits, parquet_interval_s: float | None) -> Iterable[Check]:
    is_running = facts.beat is not None and facts.beat.phase != "stopped"
    yield _version(facts.beat if is_running else None)
    yield _tail(facts, limits)
    yield _ingest(facts, limits)
    if facts.beat is not None and is_running:
        if facts.measures is not None:
            yield _speed(facts.measures)
        yield _watcher(facts.beat)
    yield _store(facts, limits)
    if parquet_interval_s:
        yield _snapshots(facts, limits, parquet_interval_s)
    if facts.published is not None:
        yield _publishing(facts.published, limits, facts.now_us)
    yield _pricing(facts, limits)


def _daemon(facts: _Facts, limits: Limits, *, held: bool | None, is_anothers: bool) -> Check:
    beat, age_s = facts.beat, facts.beat_age_s
    whose = ", run by another user" if is_anothers else ""
    if beat is None or age_s is None:
        return Check("daemon", OK, f"starting{whose}") if held else _not_running("never so far")
    gauge = Gauge("heartbeat", age_s, "s", critical=limits.heartbeat_critical_s)
    is_late = gauge.state != OK
    if held is False or (held is None and beat.phase == "stopped"):
        how = "stopped" if beat.phase == "stopped" else "died"
        return _not_running(f"{how} {_ago(age_s)}")
    if held is None and is_late:
        value = f"pid {beat.pid}{whose}, died or hangs: last heartbeat {_ago(age_s)}"
        return Check("daemon", CRITICAL, value, "ask that user, or look again as root", (gauge,))
    if beat.phase == "stopped":
        return Check("daemon", OK, f"starting{whose}")
    if is_late:
        value = f"pid {beat.pid} holds the lock{whose}, last heartbeat {_ago(age_s)}"
        remedy = "read its log; if it hangs, end it: it resumes where it was"
        return Check("daemon", CRITICAL, value, remedy, (gauge,))
    return Check("daemon", OK, f"running, pid {beat.pid}{whose}", gauges=(gauge,))


def _not_running(since: str) -> Check:
    return Check("daemon", CRITICAL, f"not running ({since})", "start it: prodlensd run")


def _version(running: Heartbeat | None) -> Check:
    if running is not None and running.version != __version__:
        value = f"{__version__} is installed, the daemon is still {running.version}"
        return Check("version", WARNING, value, "restart the daemon")
    return Check("version", OK, __version__)


def _tail(facts: _Facts, limits: Limits) -> Check:
    lag = Gauge("lag", facts.lag_bytes, "B", limits.lag_warning_bytes)
    wait = Gauge("lag_time", facts.lag_s, "s", limits.lag_warning_s)
    value = f"{_many(len(facts.unread), 'file')}, {_bytes(facts.lag_bytes)} unread"
    if facts.waiting_since_us is not None:
        value += f", waiting for {_span(facts.lag_s)} or longer"
    elif facts.lag_bytes:
        value += " (a line not finished yet)"
    if facts.unlisted:
        path, reason = facts.unlisted[0]
        value += f"; not all folders can be listed: {path}: {reason}"
    for rule, files in sorted(facts.passed_over.items()):
        value += f"; {files.count} passed over ({rule}): {files.named}"
    state = _worst(lag, wait)
    remedy = "" if state == OK else "the daemon is catching up, or cannot: see its log"
    return Check("tail", state, value, remedy, (lag, wait))


def _ingest(facts: _Facts, limits: Limits) -> Check:
    counts = facts.counts
    today = f"{facts.rows_today}{' or more' if facts.rows_today == MOST_ROWS_TODAY else ''}"
    value = (
        f"{counts.lines} lines = {counts.traces} traces + {counts.duplicates} duplicates"
        f" + {counts.dead_letters} dead letters + {counts.blanks} blank; {today} today"
    )
    if facts.anomalies:
        value += f"; anomalies: {_counts(facts.anomalies)}"
    letters = Gauge(
        "dead_letters", sum(facts.reasons.values()), "", limits.dead_letters_warning_count
    )
    gaps = Gauge("gaps", facts.gaps.number - facts.young_gaps, "", 0)
    gauges = (
        Gauge("lines", counts.lines, "c"),
        Gauge("rows_today", facts.rows_today),
        Gauge("duplicates", counts.duplicates, "c"),
        *(letters, gaps),
    )
    remedies = []
    if facts.reasons:
        value += f"; dead letters: {_counts(facts.reasons)}"
    if gaps.state != OK:
        value += f"; {_bytes(facts.gaps.known_bytes)} destroyed before they were read"
    elif facts.young_gaps:
        value += "; bytes have gone just now, a copy of them may turn up"
    if gaps.state != OK:
        remedies.append("see the view gaps; rotate by renaming")
    if letters.state != OK:
        remedies.append("see prodlensd dead-letters list")
    return Check("ingest", _worst(letters, gaps), value, "; ".join(remedies), gauges)


def _speed(measures: Measures) -> Check:
    """As the daemon measured it since its start; percentiles are those of `Histogram`."""
    value = f"{measures.lines_per_s:.1f} lines/s in the last minute"
    gauges = [Gauge("lines_per_s", measures.lines_per_s)]
    for name, what, histogram in (
        ("delay", "visible after", measures.delay_seconds),
        ("batch", "batch", measures.batch_seconds),
        ("commit", "commit", measures.commit_seconds),
    ):
        p50_s, p99_s = histogram.percentile_s(0.5), histogram.percentile_s(0.99)
        if p50_s is not None and p99_s is not None:
            value += f"; {what} {_seconds(p50_s)}, p99 {_seconds(p99_s)}"
            gauges += [Gauge(f"{name}_p50", p50_s, "s"), Gauge(f"{name}_p99", p99_s, "s")]
    return Check("speed", OK, value, gauges=tuple(gauges))


def _watcher(beat: Heartbeat) -> Check:
    if beat.fault:
        return Check(
            "faults", WARNING, beat.fault, "mend it; the daemon keeps trying, and nothing is lost"
        )
    if beat.watcher != "ok":
        return Check("watcher", WARNING, beat.watcher, "new lines wait for the next rescan")
    return Check("watcher", OK, "ok")


def _store(facts: _Facts, limits: Limits) -> Check:
    free = Gauge(
        *("free", facts.free_bytes, "B", limits.free_warning_bytes, limits.free_critical_bytes),
        is_floor=True,
    )
    wal = Gauge("wal", facts.wal_bytes, "B", limits.wal_warning_bytes)
    value = f"{_bytes(facts.store_bytes)}, {_bytes(facts.wal_bytes)} of it write-ahead log"
    value += f", {_bytes(facts.free_bytes)} free"
    if facts.last_commit_us is not None:
        value += f", last commit {_ago((facts.now_us - facts.last_commit_us) / US_PER_S)}"
    remedies = {
        CRITICAL: "make room: nothing can be written",
        WARNING: "make room soon",
        OK: "end the program that reads the ledger all the time: its log cannot be emptied",
    }
    state = _worst(free, wal)
    remedy = "" if state == OK else remedies[free.state]
    return Check("store", state, value, remedy, (Gauge("store", facts.store_bytes, "B"), wal, free))


def _snapshots(facts: _Facts, limits: Limits, interval_s: float) -> Check:
    snapshots = facts.snapshots
    value = f"{_many(snapshots.days, 'day')}, {snapshots.dirty_days} to be written"
    if snapshots.pruned_traces:
        value += f", {snapshots.pruned_traces} traces in them only"
    since_us = snapshots.last_compacted_us
    if since_us is not None:
        value += f", last written {_ago((facts.now_us - since_us) / US_PER_S)}"
    elif facts.beat is not None:
        since_us = facts.beat.started_us
    waited_s = 0.0
    if snapshots.dirty_days and since_us is not None:
        waited_s = max(0.0, (facts.now_us - since_us) / US_PER_S)
    wait = Gauge("snapshot_wait", waited_s, "s", limits.snapshot_warning_intervals * interval_s)
    missing = facts.missing
    if missing.days:
        are, they = ("is", "it") if missing.days == 1 else ("are", "they")
        value += f"; {_many(missing.days, 'file')} {are} missing in {missing.directory}: "
        value += f"{they} will be written again"
    lost = Gauge("lost_snapshots", len(missing.lost), "", 0)
    if missing.lost:
        value += f"; {_many(len(missing.lost), 'file')} of pruned days gone or damaged, the first "
        value += f"is {missing.lost[0]}"
    state = _worst(wait, lost)
    remedy = "" if state == OK else "run prodlensd compact and read what it says"
    gauges = (
        Gauge("dirty_days", snapshots.dirty_days),
        Gauge("missing_snapshots", missing.days),
        *(lost, wait),
    )
    return Check("snapshots", state, value, remedy, gauges)


def _publishing(published: Copies, limits: Limits, now_us: int) -> Check:
    """Being offline for days is normal; after some more of them somebody should know."""
    value = f"{_many(published.days, 'day')}, {published.due_days} to be copied"
    if published.last_us is not None:
        value += f", last copied {_ago((now_us - published.last_us) / US_PER_S)}"
    failing, failing_s = published.failed, 0.0
    if failing is not None:
        failing_s = max(0.0, (now_us - failing.since_us) / US_PER_S)
        value += f"; failing for {_span(failing_s)}: {failing.fault}"
    gauge = Gauge("publish_failing", failing_s, "s", limits.publish_warning_s)
    remedy = "" if gauge.state == OK else "run prodlensd publish and read what it says"
    gauges = (Gauge("unpublished_days", published.due_days), gauge)
    return Check("publish", gauge.state, value, remedy, gauges)


def _pricing(facts: _Facts, limits: Limits) -> Check:
    unpriced_calls, calls = facts.cost_sources.get("unpriced", 0), facts.counts.traces
    share = unpriced_calls / max(1, calls)
    unpriced = Gauge("unpriced", 100 * share, "%", 100 * limits.unpriced_warning_share)
    value = f"{unpriced_calls} of {calls} traces unpriced ({100 * share:.3g} %)"
    value += f", {facts.disputed} disputed; {price_book() or 'no price book'}"
    remedy = "" if unpriced.state == OK else "see prodlensd prices check"
    gauges = (unpriced, Gauge("disputed", facts.disputed))
    return Check("pricing", unpriced.state, value, remedy, gauges)


def _proxy(
    fault: str | None, arrived_us: int | None, now_us: int, limits: Limits
) -> Iterable[Check]:
    """Tells a dead proxy and a dead callback from a quiet team; `fault` None: it was not asked."""
    limit_s = limits.silence_warning_s or None
    if fault is None and limit_s is None:
        return
    silence_s = None if arrived_us is None else max(0.0, (now_us - arrived_us) / US_PER_S)
    gauges = () if silence_s is None else (Gauge("silence", silence_s, "s", limit_s),)
    came = "no line has ever come" if silence_s is None else f"last line {_ago(silence_s)}"
    value = f"{'answers' if fault == '' else fault or 'not asked'}, {came}"
    if fault:
        remedy = "start the LiteLLM proxy, or correct proxy.url"
    elif _worst(*gauges) == OK:
        yield Check("proxy", OK, value, gauges=gauges)
        return
    elif fault is None:
        remedy = "nobody works, or the proxy is down, or its callback: set proxy.url to know more"
    else:
        remedy = (
            "nobody works, or the callback is not loaded: send a call through the proxy, and if no "
            "line comes, see callbacks in its config and LITELLM_LOG_DIR"
        )
    yield Check("proxy", WARNING, value, remedy, gauges)


class _Question:
    """Asks a LiteLLM proxy whether it is alive, in a thread while others work.

    Nothing of what it answers is taken over but the number of the status. The mutable state: what
    is wrong.
    """

    def __init__(self, url: str) -> None:
        self._fault = f"does not answer within {PROXY_TIMEOUT_S:.0f} s"
        self._deadline = monotonic() + PROXY_TIMEOUT_S
        # To find out the address of a name knows no timeout.
        self._thread = Thread(target=self._ask, args=(url,), daemon=True)
        self._thread.start()

    def answer(self) -> str:
        """What is wrong; empty when nothing is."""
        self._thread.join(max(0.0, self._deadline - monotonic()))
        return self._fault

    def _ask(self, url: str) -> None:
        from http import client  # noqa: PLC0415 - slow to import; most have no proxy to ask

        address = urlsplit(url)
        is_https = address.scheme.lower() == "https"
        kind = client.HTTPSConnection if is_https else client.HTTPConnection
        try:
            # What the address may hold of a password is left out.
            connection = kind(address.hostname or "", address.port, timeout=PROXY_TIMEOUT_S)
            with closing(connection):
                connection.request("GET", address.path.rstrip("/") + _HEALTH_ENDPOINT)
                status = self._status(connection.sock)
        except TimeoutError:
            return
        except ConnectionRefusedError:
            self._fault = "refuses the connection"
        except ConnectionError:
            self._fault = "breaks off the connection"
        except OSError as error:
            self._fault = f"cannot be reached: {error.strerror or type(error).__name__}"
        except (client.HTTPException, ValueError):
            self._fault = "does not speak HTTP"
        else:
            is_alive = status == HTTPStatus.OK
            self._fault = "" if is_alive else f"says {status} when asked for its health"

    def _status(self, connection: Any) -> int:  # noqa: ANN401 - what http.client calls a socket
        """The status that the answer begins with; the rest may come slowly, or never end."""
        said = b""
        while b"\n" not in said and len(said) < _LONGEST_STATUS_BYTES:
            left_s = self._deadline - monotonic()
            if left_s <= 0:
                raise TimeoutError
            connection.settimeout(left_s)
            block = connection.recv(_LONGEST_STATUS_BYTES)
            if not block:
                raise ConnectionResetError
            said += block
        matched = re.match(rb"HTTP/1\.[01] ([1-5][0-9]{2})[ \r\n]", said)
        if matched is None:
            raise ValueError("no status line")
        return int(matched[1])


def price_book() -> str | None:
    """The price book that is installed, and its version, without importing anything of it.

    `importlib.metadata` knows as much, and takes a quarter of our time to import.
    """
    spec = PathFinder.find_spec("genai_prices")
    for folder in (spec and spec.submodule_search_locations) or ():
        for info in Path(folder).parent.glob("genai_prices-*.dist-info"):
            return (
                f"genai-prices {info.name.removeprefix('genai_prices-').removesuffix('.dist-info')}"
            )
    return None


# Words


def _worst(*gauges: Gauge) -> str:
    states = {gauge.state for gauge in gauges}
    return next((state for state in SEVERITY if state in states), OK)


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{what} {count}" for what, count in counts.items())


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:  # noqa: PLR2004 - the step between two units
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _seconds(bound_s: float) -> str:
    return f"{bound_s * 1000:g} ms" if bound_s < 1 else f"{bound_s:g} s"


def _ago(seconds: float) -> str:
    return f"{_span(seconds)} ago"


def _span(seconds: float) -> str:
    for unit, length_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _iso(moment_us: int | None) -> str | None:
    if moment_us is None:
        return None
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment_us)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
