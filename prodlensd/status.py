"""Is it healthy, and if not, what to do: checks over lock, heartbeat and ledger, read-only.

Works with the daemon alive, hung or dead. Every check has a state, a value, and a remedy when not
ok.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from prodlensd.model import US_PER_S
from prodlensd.service.lock import is_held
from prodlensd.store import Reader, StoreError
from prodlensd.store.reading import Heartbeat, Snapshots, Tail, Totals

OK: Final = "ok"
WARNING: Final = "warning"
CRITICAL: Final = "critical"
UNKNOWN: Final = "unknown"
#: The worst first. Their exit codes are those of Nagios plugins, which many other tools understand
# too.
SEVERITY: Final = (CRITICAL, WARNING, UNKNOWN, OK)
EXIT_CODES: Final = {OK: 0, WARNING: 1, CRITICAL: 2, UNKNOWN: 3}

#: Three heartbeats missed.
_STALLED_S: Final = 30.0
_LAG_WARNING_BYTES: Final = 64 << 20
_FREE_WARNING_BYTES: Final = 1 << 30
_FREE_CRITICAL_BYTES: Final = 64 << 20
_UNPRICED_WARNING_SHARE: Final = 0.01


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `remedy` says what to do, and is empty when all is well."""

    name: str
    state: str
    value: str
    remedy: str = ""


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
        *("pid", "version", "started_at", "heartbeat_age_s", "watcher", "fault"),
        *("sources", "lag_bytes", "last_read_at"),
        *(
            "lines",
            "traces",
            "duplicates",
            "dead_letters",
            "blanks",
            "dead_letter_reasons",
            "anomalies",
        ),
        *("open_gaps", "known_lost_bytes", "unpriced_traces", "disputed_traces", "cost_sources"),
        *("snapshot_days", "dirty_days", "last_compacted_at", "store_bytes", "free_bytes"),
    )
)


def look(store_path: Path, *, parquet_interval_s: float | None, now_us: int) -> Health:
    """The health of the daemon on this ledger; `parquet_interval_s` None: snapshots are off."""
    held = is_held(store_path)
    try:
        with Reader(store_path) as reader:
            return _look_into(reader, store_path, parquet_interval_s, now_us, held=held)
    except StoreError as error:
        daemon = Check("daemon", OK, "running") if held else _not_running("never on this ledger")
        store = Check("store", CRITICAL, str(error), "start the daemon, or check store.path")
        return Health((daemon, store), dict(_NO_FIGURES))


def _look_into(
    reader: Reader,
    store_path: Path,
    parquet_interval_s: float | None,
    now_us: int,
    *,
    held: bool | None,
) -> Health:
    beat, tails, totals = reader.heartbeat(), reader.tails(), reader.totals()
    lag_bytes = sum(map(_lag_bytes, tails))
    snapshots, reasons, anomalies = reader.snapshots(), reader.dead_letters(), reader.anomalies()
    cost_sources = reader.tally("cost_source")
    disk = os.statvfs(store_path.parent)
    free_bytes = disk.f_bavail * disk.f_frsize
    beat_age_s = None if beat is None else (now_us - beat.beat_us) / US_PER_S
    checks = [
        _daemon(beat, beat_age_s, held=held),
        _tail(tails, lag_bytes),
        _ingest(totals, reasons),
        *([_watcher(beat)] if beat is not None and beat.phase != "stopped" else []),
        _store(store_path, free_bytes),
        *([_snapshots(snapshots, parquet_interval_s, now_us)] if parquet_interval_s else []),
        _pricing(totals),
    ]
    figures = _NO_FIGURES | {
        "pid": beat and beat.pid,
        "version": beat and beat.version,
        "started_at": beat and _iso(beat.started_us),
        "heartbeat_age_s": beat_age_s,
        "watcher": beat and beat.watcher,
        "fault": beat and beat.fault,
        "sources": len(tails),
        "lag_bytes": lag_bytes,
        "last_read_at": _iso(max((t.last_read_us or 0 for t in tails), default=0) or None),
        **totals._asdict(),
        "dead_letter_reasons": reasons,
        "anomalies": anomalies,
        "cost_sources": cost_sources,
        "snapshot_days": snapshots.days,
        "dirty_days": snapshots.dirty_days,
        "last_compacted_at": _iso(snapshots.last_compacted_us),
        "store_bytes": _size_bytes(store_path),
        "free_bytes": free_bytes,
    }
    return Health(tuple(checks), figures)


def _daemon(beat: Heartbeat | None, beat_age_s: float | None, *, held: bool | None) -> Check:
    if beat is None or beat_age_s is None:
        return Check("daemon", OK, "starting") if held else _not_running("never on this ledger")
    alive = beat_age_s < _STALLED_S if held is None else held
    if not alive:
        how = "stopped" if beat.phase == "stopped" else "died"
        return _not_running(f"{how} {_ago(beat_age_s)}")
    if beat.phase == "stopped":
        return Check("daemon", OK, "starting")
    if beat_age_s >= _STALLED_S:
        return Check(
            "daemon",
            CRITICAL,
            f"pid {beat.pid} holds the lock, last heartbeat {_ago(beat_age_s)}",
            "read its log; if it hangs, end it: it resumes where it was",
        )
    return Check("daemon", OK, f"running, pid {beat.pid}, version {beat.version}")


def _not_running(since: str) -> Check:
    return Check("daemon", CRITICAL, f"not running ({since})", "start it: prodlensd run")


def _tail(tails: list[Tail], lag_bytes: int) -> Check:
    value = f"{_many(len(tails), 'file')}, {_bytes(lag_bytes)} unread"
    if lag_bytes > _LAG_WARNING_BYTES:
        return Check("tail", WARNING, value, "the daemon is catching up, or cannot: see its log")
    return Check("tail", OK, value)


def _lag_bytes(tail: Tail) -> int:
    """Bytes not yet read, by the file as it is now, or as it was last read where it is not seen."""
    try:
        now = os.lstat(tail.path)
    except OSError:
        return max(0, tail.size_bytes - tail.offset)
    return max(0, (now.st_size if now.st_ino == tail.inode else tail.size_bytes) - tail.offset)


def _ingest(totals: Totals, reasons: dict[str, int]) -> Check:
    value = (
        f"{totals.lines} lines = {totals.traces} traces + {totals.duplicates} duplicates"
        f" + {totals.dead_letters} dead letters + {totals.blanks} blank"
    )
    if totals.open_gaps:
        lost = f"; {_bytes(totals.known_lost_bytes)} destroyed before they were read"
        return Check("ingest", WARNING, value + lost, "see the view gaps; rotate by renaming")
    if reasons:
        said = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
        return Check("ingest", WARNING, f"{value} ({said})", "see prodlensd dead-letters list")
    return Check("ingest", OK, value)


def _watcher(beat: Heartbeat) -> Check:
    if beat.fault:
        return Check("folders", WARNING, beat.fault, "make it readable; nothing is lost meanwhile")
    if beat.watcher != "ok":
        return Check("watcher", WARNING, beat.watcher, "new lines wait for the next rescan")
    return Check("watcher", OK, "ok")


def _store(store_path: Path, free_bytes: int) -> Check:
    value = f"{_bytes(_size_bytes(store_path))}, {_bytes(free_bytes)} free"
    if free_bytes < _FREE_CRITICAL_BYTES:
        return Check("store", CRITICAL, value, "make room: nothing can be written")
    if free_bytes < _FREE_WARNING_BYTES:
        return Check("store", WARNING, value, "make room soon")
    return Check("store", OK, value)


def _snapshots(snapshots: Snapshots, interval_s: float, now_us: int) -> Check:
    value = f"{_many(snapshots.days, 'day')}, {snapshots.dirty_days} to be written"
    last_us = snapshots.last_compacted_us
    overdue = last_us is not None and now_us - last_us > 3 * interval_s * US_PER_S
    if snapshots.dirty_days and overdue:
        return Check("snapshots", WARNING, value, "run prodlensd compact and read what it says")
    return Check("snapshots", OK, value)


def _pricing(totals: Totals) -> Check:
    value = f"{totals.unpriced_traces} of {totals.traces} traces unpriced"
    if totals.disputed_traces:
        value += f", {totals.disputed_traces} disputed"
    if totals.unpriced_traces > totals.traces * _UNPRICED_WARNING_SHARE:
        return Check("pricing", WARNING, value, "see prodlensd prices check")
    return Check("pricing", OK, value)


def _size_bytes(store_path: Path) -> int:
    """The database and its write-ahead log."""
    files = (store_path, store_path.with_name(f"{store_path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:  # noqa: PLR2004 - the step between two units
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _ago(seconds: float) -> str:
    for unit, length_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit} ago"
    return f"{max(seconds, 0):.0f} s ago"


def _iso(moment_us: int | None) -> str | None:
    if moment_us is None:
        return None
    moment = datetime.fromtimestamp(moment_us / US_PER_S, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
