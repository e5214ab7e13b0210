"""Is it healthy, and if not, what to do: the checks over lock, heartbeat, ledger and logs.

Read-only. Works with the daemon alive, hung or dead, and as any user who may read the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from prodlensd.answers import checks, facts
from prodlensd.answers.budgets import NO_BUDGETS, Budgets
from prodlensd.answers.facts import Details, Facts, Follow
from prodlensd.answers.gauges import CRITICAL, OK, UNKNOWN, WARNING, Check, Limits, worst_of
from prodlensd.answers.proxy import Liveliness
from prodlensd.ledger import LedgerError, Reader
from prodlensd.moments import iso_time
from prodlensd.process import is_held

#: Those of Nagios plugins, which many other tools understand too.
EXIT_CODES: Final = {OK: 0, WARNING: 1, CRITICAL: 2, UNKNOWN: 3}
_DEFAULT_LIMITS: Final = Limits()


class Health(Struct, frozen=True):
    """All checks, and the figures behind them by name (None where they could not be had).

    `facts` are what the checks are of; None without a ledger.
    """

    checks: tuple[Check, ...]
    figures: dict[str, Any]
    facts: Facts | None = None

    @property
    def state(self) -> str:
        """The worst of the checks."""
        return worst_of(*self.checks)


def check_health(  # noqa: PLR0913 - who asks for less leaves it out
    ledger_path: Path,
    *,
    parquet_interval_s: float | None,
    now_us: int,
    limits: Limits = _DEFAULT_LIMITS,
    follow: Follow | None = None,
    proxy_url: str = "",
    publish_url: str = "",
    parquet: Path | None = None,
    budgets: Budgets = NO_BUDGETS,
) -> Health:
    """The health of the daemon on this ledger; `parquet_interval_s` None: snapshots are off.

    With `follow`, files that the daemon has not found yet count as unread. With `proxy_url`, the
    proxy is asked, which may take a second. With `publish_url`, the copies there count, by what the
    ledger knows of them. With `parquet`, their folder, missing snapshots are looked for.
    """
    question = Liveliness(proxy_url) if proxy_url else None
    is_running, price_book = is_held(ledger_path), facts.price_book()
    known: Facts | None = None
    try:
        if not facts.may_read(ledger_path):
            raise PermissionError(ledger_path)
        with Reader(ledger_path) as reader, reader.one_moment():
            known = facts.gather(reader, ledger_path, now_us, follow, budgets)
            details = facts.gather_details(reader, now_us, publish_url, parquet)
    except (LedgerError, OSError) as error:
        found: Iterable[Check] = checks.without_ledger(
            ledger_path, str(error), may_read=facts.may_read(ledger_path), is_running=is_running
        )
        figures = dict(_NO_FIGURES)
    else:
        found = checks.with_ledger(
            known,
            details,
            limits,
            parquet_interval_s=parquet_interval_s,
            price_book=price_book,
            is_running=is_running,
            is_of_another_user=facts.is_of_another_user(ledger_path, known.beat),
        )
        figures = _figures(known, details)
    last_line_us = None if known is None else known.last_line_us
    fault = None if question is None else question.fault()
    figures |= {"proxy": None if fault is None else not fault, "price_book": price_book}
    return Health((*found, *checks.proxy(fault, last_line_us, now_us, limits)), figures, known)


_NO_FIGURES: Final[dict[str, Any]] = dict.fromkeys(
    (
        *("pid", "version", "started_at", "heartbeat_age_s", "watcher", "fault", "measures"),
        *("log_folders", "files_passed_over"),
        *("sources", "lag_bytes", "lag_s", "oldest_unread_at", "last_read_at", "last_line_at"),
        *("lines", "traces", "duplicates", "dead_letters", "blanks"),
        *("records", "passed_over", "rows_today"),
        *("dead_letter_reasons", "anomalies", "open_gaps", "known_lost_bytes"),
        *("unpriced_traces", "unpriced_reasons", "disputed_traces", "cost_sources", "price_book"),
        *("snapshot_days", "dirty_days", "last_compacted_at", "pruned_traces"),
        *("published_days", "unpublished_days", "last_published_at", "publish_fault"),
        *("store_bytes", "wal_bytes", "free_bytes", "last_commit_at", "proxy", "budgets"),
    )
)


def _figures(known: Facts, details: Details) -> dict[str, Any]:
    beat, snapshots, published = known.beat, known.snapshots, details.published
    return _NO_FIGURES | {
        "pid": beat and beat.pid,
        "version": beat and beat.version,
        "started_at": beat and _time(beat.started_us),
        "heartbeat_age_s": beat and beat.silence_s(known.now_us),
        "watcher": beat and beat.watcher,
        "fault": beat and beat.fault,
        "measures": known.measures and known.measures.as_dict(),
        "log_folders": known.folders,
        "files_passed_over": {rule: files.count for rule, files in known.passed_over.items()},
        "sources": len(known.files),
        "lag_bytes": known.lag_bytes,
        "lag_s": known.lag_s,
        "oldest_unread_at": _time(known.waiting_since_us),
        "last_read_at": _time(known.last_read_us),
        "last_line_at": _time(known.last_line_us),
        **known.counts._asdict(),
        "unpriced_traces": known.unpriced_calls,
        "unpriced_reasons": known.unpriced_reasons,
        "disputed_traces": known.disputed_calls,
        "open_gaps": known.gaps.number,
        "known_lost_bytes": known.gaps.known_bytes,
        "rows_today": details.rows_today,
        "dead_letter_reasons": known.reasons,
        "anomalies": known.anomalies,
        "cost_sources": known.cost_sources,
        "snapshot_days": snapshots.days,
        "dirty_days": snapshots.dirty_days,
        "last_compacted_at": _time(snapshots.last_compacted_us),
        "pruned_traces": snapshots.pruned_traces,
        "published_days": published and published.days,
        "unpublished_days": published and published.due_days,
        "last_published_at": published and _time(published.last_us),
        "publish_fault": published and published.failed and published.failed.fault,
        "store_bytes": known.ledger_bytes + known.wal_bytes,
        "wal_bytes": known.wal_bytes,
        "free_bytes": known.free_bytes,
        "last_commit_at": _time(known.last_commit_us),
        "budgets": [standing.as_dict() for standing in known.budgets],
    }


def _time(us: int | None) -> str | None:
    return None if us is None else iso_time(us)
