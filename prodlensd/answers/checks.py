"""The checks: facts and limits in; state, value, gauges and, when not ok, a remedy out.

What a value quotes (paths, errors of the system) comes from outside, and is not fit to print as is.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from prodlensd import __version__
from prodlensd.answers.budgets import Standing
from prodlensd.answers.facts import Details, Facts, Missing
from prodlensd.answers.gauges import (
    CRITICAL,
    OK,
    UNKNOWN,
    WARNING,
    Check,
    Gauge,
    Limits,
    worst_of,
)
from prodlensd.ledger import Copies, Counts, Heartbeat, Measures
from prodlensd.model import US_PER_S
from prodlensd.text import counted, duration, money, size, some


def without_ledger(
    ledger_path: Path, error: str, *, may_read: bool, is_running: bool | None
) -> list[Check]:
    """The checks where the ledger cannot be read because of `error`."""
    if not may_read:
        remedy = "ask as the user who runs the daemon, or as root"
        return [
            Check("daemon", UNKNOWN, "run by another user, if at all", remedy),
            Check("store", UNKNOWN, f"{ledger_path}: this user may not read it", remedy),
            _version(None),
        ]
    daemon = Check("daemon", OK, "running") if is_running else _not_running("never on this ledger")
    store = Check("store", CRITICAL, error, "start the daemon, or check store.path")
    return [daemon, store, _version(None)]


def with_ledger(
    facts: Facts,
    details: Details,
    limits: Limits,
    *,
    parquet_interval_s: float | None,
    price_book: str | None,
    is_running: bool | None,
    is_of_another_user: bool,
) -> Iterable[Check]:
    """All checks but that of the proxy. `is_running` None: this user may not ask for the lock."""
    yield _daemon(facts, limits, is_running=is_running, is_of_another_user=is_of_another_user)
    at_work = None if facts.beat is None or facts.beat.phase == "stopped" else facts.beat
    yield _version(at_work)
    yield _tail(facts, limits, is_of_another_user=is_of_another_user)
    yield _ingest(facts, details, limits)
    if at_work is not None:
        if facts.measures is not None:
            yield _speed(facts.measures)
        yield _watcher(at_work)
    yield _store(facts, limits)
    if parquet_interval_s:
        yield _snapshots(facts, details, limits, parquet_interval_s)
    if details.published is not None:
        yield _publishing(details.published, limits, facts.now_us)
    yield _pricing(facts, price_book, limits)
    if facts.budgets:
        yield _budgets(facts.budgets)


def heartbeat(beat: Heartbeat, now_us: int, critical_s: float) -> Gauge:
    """How long the daemon has been silent: beyond its limit it hangs, or is dead."""
    return Gauge("heartbeat", beat.silence_s(now_us), "s", critical=critical_s)


def _daemon(
    facts: Facts, limits: Limits, *, is_running: bool | None, is_of_another_user: bool
) -> Check:
    beat = facts.beat
    whose = ", run by another user" if is_of_another_user else ""
    if beat is None:
        return (
            Check("daemon", OK, f"starting{whose}") if is_running else _not_running("never so far")
        )
    gauge = heartbeat(beat, facts.now_us, limits.heartbeat_critical_s)
    silence, is_late = ago(facts.now_us, beat.beat_us), gauge.state != OK
    if is_running is False or (is_running is None and beat.phase == "stopped"):
        return _not_running(f"{'stopped' if beat.phase == 'stopped' else 'died'} {silence}")
    if is_running is None and is_late:
        value = f"pid {beat.pid}{whose}, died or hangs: last heartbeat {silence}"
        return Check("daemon", CRITICAL, value, "ask that user, or look again as root", (gauge,))
    if beat.phase == "stopped":
        return Check("daemon", OK, f"starting{whose}")
    if is_late:
        value = f"pid {beat.pid} holds the lock{whose}, last heartbeat {silence}"
        remedy = "read its log; if it hangs, end it: it resumes where it was"
        return Check("daemon", CRITICAL, value, remedy, (gauge,))
    return Check("daemon", OK, f"running, pid {beat.pid}{whose}", gauges=(gauge,))


def _not_running(since: str) -> Check:
    return Check("daemon", CRITICAL, f"not running ({since})", "start it: prodlensd run")


def _version(at_work: Heartbeat | None) -> Check:
    if at_work is not None and at_work.version != __version__:
        value = f"{__version__} is installed, the daemon is still {at_work.version}"
        return Check("version", WARNING, value, "restart the daemon")
    return Check("version", OK, __version__)


def _tail(facts: Facts, limits: Limits, *, is_of_another_user: bool) -> Check:
    lag = Gauge("lag", facts.lag_bytes, "B", limits.lag_warning_bytes)
    wait = Gauge("lag_time", facts.lag_s, "s", limits.lag_warning_s)
    value = f"{counted(len(facts.files), 'file')}, {size(facts.lag_bytes)} unread"
    if facts.waiting_since_us is not None:
        value += f", waiting for {duration(facts.lag_s)} or longer"
    elif facts.lag_bytes:
        value += " (a line not finished yet)"
    if facts.unlisted:
        path, reason = facts.unlisted[0]
        value += f"; not all folders can be listed: {path}: {reason}"
    for rule, files in sorted(facts.passed_over.items()):
        value += f"; {files.count} passed over ({rule}): {files.named}"
    remedies = []
    if worst_of(lag, wait) != OK:
        remedies.append("the daemon is catching up, or cannot: see its log")
    # What this user may not list, the daemon of another one may.
    if facts.unlisted and not is_of_another_user:
        remedies.append("let the daemon's user list it, or correct logs.directories or transcripts")
    if facts.has_seen_no_line:
        value = f"no line has ever come to {some(facts.folders)}; {value}"
        remedies.append("send a call through the proxy; prodlensd doctor says what is not wired")
    state = WARNING if remedies else OK
    return Check("tail", state, value, "; ".join(remedies), (lag, wait))


def balance(counts: Counts) -> str:
    """What became of all lines, and of the records in them, as sums that must hold."""
    records = f"{counted(counts.traces, 'trace')} + {counted(counts.duplicates, 'duplicate')}"
    records += f" + {counted(counts.dead_letters, 'dead letter')}"
    if counts.passed_over:
        records += f" + {counts.passed_over:,} passed over"
    lines, blanks = counted(counts.lines, "line"), f"{counts.blanks:,} blank"
    if counts.records == counts.lines - counts.blanks:
        return f"{lines} = {records} + {blanks}"
    return f"{lines}, {blanks}: {counted(counts.records, 'record')} = {records}"


def _ingest(facts: Facts, details: Details, limits: Limits) -> Check:
    counts = facts.counts
    today = f"{details.rows_today}{' or more' if details.has_more_today else ''}"
    value = f"{balance(counts)}; {today} today"
    letters = Gauge(
        "dead_letters", sum(facts.reasons.values()), "", limits.dead_letters_warning_count
    )
    gaps = Gauge("gaps", facts.gaps.number - facts.young_gaps, "", 0)
    calls = Gauge("calls", counts.traces, "c", 1 if counts.lines else None, is_floor=True)
    remedies = []
    if facts.has_seen_no_call:
        value += "; none of these lines is a call"
        remedies.append("see prodlensd doctor for what writes calls")
    if facts.anomalies:
        value += f"; anomalies: {_each(facts.anomalies)}"
    if facts.reasons:
        value += f"; dead letters: {_each(facts.reasons)}"
    if gaps.state != OK:
        value += f"; {size(facts.gaps.known_bytes)} destroyed before they were read"
        remedies.append("see the view gaps; rotate by renaming")
    elif facts.young_gaps:
        value += "; bytes have gone just now, a copy of them may turn up"
    if letters.state != OK:
        remedies.append("see prodlensd dead-letters list")
    gauges = (
        Gauge("lines", counts.lines, "c"),
        Gauge("rows_today", details.rows_today),
        Gauge("duplicates", counts.duplicates, "c"),
        *(letters, gaps, calls),
    )
    return Check("ingest", worst_of(letters, gaps, calls), value, "; ".join(remedies), gauges)


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
            value += f"; {what} {_bound(p50_s)}, p99 {_bound(p99_s)}"
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


def _store(facts: Facts, limits: Limits) -> Check:
    free = Gauge(
        *("free", facts.free_bytes, "B", limits.free_warning_bytes, limits.free_critical_bytes),
        is_floor=True,
    )
    wal = Gauge("wal", facts.wal_bytes, "B", limits.wal_warning_bytes)
    store_bytes = facts.ledger_bytes + facts.wal_bytes
    value = f"{size(store_bytes)}, {size(facts.wal_bytes)} of it write-ahead log"
    value += f", {size(facts.free_bytes)} free"
    if facts.last_commit_us is not None:
        value += f", last commit {ago(facts.now_us, facts.last_commit_us)}"
    remedies = {
        CRITICAL: "make room: nothing can be written",
        WARNING: "make room soon",
        OK: "end the program that reads the ledger all the time: its log cannot be emptied",
    }
    state = worst_of(free, wal)
    remedy = "" if state == OK else remedies[free.state]
    return Check("store", state, value, remedy, (Gauge("store", store_bytes, "B"), wal, free))


def _snapshots(facts: Facts, details: Details, limits: Limits, interval_s: float) -> Check:
    snapshots = facts.snapshots
    value = f"{counted(snapshots.days, 'day')}, {snapshots.dirty_days} to be written"
    if snapshots.pruned_traces:
        value += f", {snapshots.pruned_traces} traces in them only"
    if snapshots.last_compacted_us is not None:
        value += f", last written {ago(facts.now_us, snapshots.last_compacted_us)}"
    value += _missing(details.missing)
    waited_s = _dirty_s(facts) if snapshots.dirty_days else 0.0
    wait = Gauge("snapshot_wait", waited_s, "s", limits.snapshot_warning_intervals * interval_s)
    lost = Gauge("lost_snapshots", len(details.missing.lost), "", 0)
    state = worst_of(wait, lost)
    remedy = "" if state == OK else "run prodlensd compact and read what it says"
    gauges = (
        Gauge("dirty_days", snapshots.dirty_days),
        Gauge("missing_snapshots", details.missing.days),
        *(lost, wait),
    )
    return Check("snapshots", state, value, remedy, gauges)


def _dirty_s(facts: Facts) -> float:
    """How long snapshots may have been out of date: since the last compaction, or the start."""
    since_us = facts.snapshots.last_compacted_us
    if since_us is None:
        since_us = facts.now_us if facts.beat is None else facts.beat.started_us
    return _seconds_since(facts.now_us, since_us)


def _missing(missing: Missing) -> str:
    problem = ""
    if missing.days:
        are, they = ("is", "it") if missing.days == 1 else ("are", "they")
        files, where = counted(missing.days, "file"), missing.directory
        problem += f"; {files} {are} missing in {where}: {they} will be written again"
    if missing.lost:
        files, first = counted(len(missing.lost), "file"), missing.lost[0]
        problem += f"; {files} of pruned days gone or damaged, the first is {first}"
    return problem


def _publishing(published: Copies, limits: Limits, now_us: int) -> Check:
    """Being offline for days is normal; after some more of them somebody should know."""
    value = f"{counted(published.days, 'day')}, {published.due_days} to be copied"
    if published.last_us is not None:
        value += f", last copied {ago(now_us, published.last_us)}"
    failing, failing_s = published.failed, 0.0
    if failing is not None:
        failing_s = _seconds_since(now_us, failing.since_us)
        value += f"; failing for {duration(failing_s)}: {failing.fault}"
    gauge = Gauge("publish_failing", failing_s, "s", limits.publish_warning_s)
    remedy = "" if gauge.state == OK else "run prodlensd publish and read what it says"
    gauges = (Gauge("unpublished_days", published.due_days), gauge)
    return Check("publish", gauge.state, value, remedy, gauges)


def _pricing(facts: Facts, price_book: str | None, limits: Limits) -> Check:
    calls, unpriced_calls = facts.counts.traces, facts.unpriced_calls
    share = unpriced_calls / max(1, calls)
    unpriced = Gauge("unpriced", 100 * share, "%", 100 * limits.unpriced_warning_share)
    value = f"{unpriced_calls} of {calls} traces unpriced ({100 * share:.3g} %)"
    if facts.unpriced_reasons:
        value += f": {_each(facts.unpriced_reasons)}"
    value += f", {facts.disputed_calls} disputed; {price_book or 'no price book'}"
    remedy = "" if unpriced.state == OK else "see prodlensd prices check"
    gauges = (unpriced, Gauge("disputed", facts.disputed_calls))
    return Check("pricing", unpriced.state, value, remedy, gauges)


def _budgets(standings: list[Standing]) -> Check:
    """A budget that is over is a warning: nothing is wrong with the daemon, which a restart mends.

    One that is unknowable says so, and is ok until what is known is beyond its line.
    """
    said = [
        f"{each.budget.name} {each.state}: "
        f"{each.spent_text} of {money(each.budget.limit_nanousd)} in {each.period}"
        for each in standings
    ]
    is_beyond = any(each.share >= each.budget.warn_at for each in standings)
    state, remedy = (WARNING, "see prodlensd budget") if is_beyond else (OK, "")
    gauges = tuple(
        Gauge(f"budget_{number}", 100 * each.share, "%", 100 * each.budget.warn_at, 100.0)
        for number, each in enumerate(standings, 1)
    )
    return Check("budgets", state, "; ".join(said), remedy, gauges)


def proxy(
    fault: str | None, last_line_us: int | None, now_us: int, limits: Limits
) -> Iterable[Check]:
    """Tells a dead proxy and a dead callback from a quiet team.

    `fault` is what is wrong with the proxy, empty when it is alive; None: it was not asked.
    """
    limit_s = limits.silence_warning_s or None
    if fault is None and limit_s is None:
        return
    gauges: tuple[Gauge, ...] = ()
    came = "no line has ever come"
    if last_line_us is not None:
        gauges = (Gauge("silence", _seconds_since(now_us, last_line_us), "s", limit_s),)
        came = f"last line {ago(now_us, last_line_us)}"
    value = f"{'answers' if fault == '' else fault or 'not asked'}, {came}"
    if fault:
        remedy = "start the LiteLLM proxy, or correct proxy.url"
    elif worst_of(*gauges) == OK:
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


def _each(counts: dict[str, int]) -> str:
    return ", ".join(f"{what} {count}" for what, count in counts.items())


def _bound(bound_s: float) -> str:
    """The bound of a histogram's bucket, which is a round number."""
    return f"{bound_s * 1000:g} ms" if bound_s < 1 else f"{bound_s:g} s"


def ago(now_us: int, moment_us: int) -> str:
    """How long ago a moment was."""
    return f"{duration(_seconds_since(now_us, moment_us))} ago"


def _seconds_since(now_us: int, moment_us: int) -> float:
    """0 when the clock has been set back since."""
    return max(0.0, (now_us - moment_us) / US_PER_S)
