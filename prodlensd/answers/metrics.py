"""The ledger's figures in Prometheus' text format; the same text for HTTP and for a file.

What can only grow is a counter. What may also fall is a gauge: repricing changes costs, a richer
record of a call changes its tokens, and dead letters are redeemed. As a counter each would look,
when it falls, like a restart from zero, and `rate()` would invent all of it anew.

No label holds what a log line says: models, providers, developers and sessions are unbounded and in
the hands of whoever writes the log. Those questions are answered by `report` and by SQL. The labels
are prodlensd's own words, and each series of a known word is there from zero on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import orjson
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from prodlensd import __version__
from prodlensd.ledger import (
    BUCKETS_S,
    TOTALLED,
    Heartbeat,
    Histogram,
    LedgerError,
    Measures,
    Reader,
    Tail,
)
from prodlensd.model import NANOUSD_PER_USD, REASONS, US_PER_S, file_id

#: Every way to come by a cost. What is "unpriced" has none, and is no cost of zero.
COST_SOURCES: Final = (
    "gateway",
    "table",
    "override",
    "free",
    "cache_hit",
    "fallback",
    "not_billable",
)

#: Metrics of their own, not one with a label: cached and reasoning tokens are parts of the other
#: two, so that a sum over the label would count them twice.
_TOKENS: Final = {
    "tokens_in": ("input_tokens", "Input tokens, those read from and written to a cache included."),
    "tokens_out": ("output_tokens", "Output tokens, those of reasoning included."),
    "cache_read_tokens": ("cache_read_tokens", "Input tokens that were read from a cache."),
    "cache_write_tokens": ("cache_write_tokens", "Input tokens that were written to a cache."),
    "reasoning_tokens": ("reasoning_tokens", "Output tokens of reasoning."),
}

#: Kinds of anomalies are words of the program; more than there are words come from elsewhere.
_MAX_SERIES: Final = 100


def exposition(ledger_path: Path, *, now_us: int, stalled_s: float) -> bytes:
    """All metrics of a ledger, for a daemon that is silent `stalled_s` to count as down.

    Costs as much on a large ledger as on a small one. Where the ledger cannot be read, what is left
    is that prodlensd is not up.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Ready(_collect(ledger_path, now_us, stalled_s)))
    return generate_latest(registry)


def trouble(beat: Heartbeat | None, *, now_us: int, stalled_s: float) -> str | None:
    """Why the daemon is not at work, judged by its last sign of life alone; None when it is."""
    if beat is None:
        return "the daemon has not begun on this ledger"
    age_s = beat.silence_s(now_us)
    if beat.phase == "stopped":
        return f"the daemon stopped {age_s:.0f} s ago"
    if age_s > stalled_s:
        return f"the daemon's last heartbeat was {age_s:.0f} s ago"
    return None


def health(ledger_path: Path, *, now_us: int, stalled_s: float) -> str | None:
    """As `trouble`; a ledger that cannot be read is trouble, too."""
    try:
        with Reader(ledger_path) as reader:
            return trouble(reader.heartbeat(), now_us=now_us, stalled_s=stalled_s)
    except LedgerError as error:
        return str(error)


class _Ready(Collector):
    """Metrics that are there already, as the library wants them."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _collect(ledger_path: Path, now_us: int, stalled_s: float) -> list[Metric]:
    metrics: list[Metric] = [
        InfoMetricFamily("prodlensd_build", "The program.", {"version": __version__})
    ]
    try:
        with Reader(ledger_path) as reader, reader.one_moment():
            beat = reader.heartbeat()
            up = trouble(beat, now_us=now_us, stalled_s=stalled_s) is None
            ledger = [
                *_daemon(beat),
                *_lines(reader),
                *_calls(reader),
                *_sums(reader),
                *_files(reader),
                *_snapshots(reader),
            ]
            ledger += _store(ledger_path)
    except (LedgerError, OSError):
        up, ledger = False, []
    metrics.append(_gauge("up", "Whether the daemon is at work, by its heartbeat.", up))
    return metrics + ledger


def _gauge(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"prodlensd_{name}", meaning, value=value)


def _counter(name: str, meaning: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"prodlensd_{name}", meaning, value=value)


def _labelled(
    name: str, meaning: str, label: str, values: Mapping[str, float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"prodlensd_{name}", meaning, labels=[label])
    for word, value in list(values.items())[:_MAX_SERIES]:
        family.add_metric([word], value)
    return family


def _daemon(beat: Heartbeat | None) -> Iterator[Metric]:
    started_us, beat_us = (beat.started_us, beat.beat_us) if beat else (0, 0)
    yield _gauge("start_time_seconds", "When the daemon started; 0: never.", started_us / US_PER_S)
    yield _gauge(
        "heartbeat_timestamp_seconds",
        "The daemon's last sign of life, one every ten seconds; 0: none.",
        beat_us / US_PER_S,
    )
    watching = beat is not None and beat.watcher == "ok"
    yield _gauge("watcher_up", "Whether changes of files are noticed at once.", watching)
    faulty = beat is not None and beat.fault is not None
    yield _gauge("fault", "Whether a folder or a file cannot be read just now.", faulty)
    measures = _measures(beat)
    yield _histogram(
        "batch_seconds", "From the first byte read to the commit, a batch.", measures.batch_seconds
    )
    yield _histogram("commit_seconds", "The commit alone.", measures.commit_seconds)
    yield _histogram(
        "append_to_commit_seconds",
        "From the append to a log until its lines were visible in the ledger.",
        measures.delay_seconds,
    )


def _measures(beat: Heartbeat | None) -> Measures:
    """What the daemon measured of itself; nothing where an older or newer one said it otherwise."""
    if beat is None or beat.measures is None:
        return Measures()
    try:
        return Measures.from_dict(orjson.loads(beat.measures))
    except (ValueError, TypeError, KeyError):
        return Measures()


def _histogram(name: str, meaning: str, histogram: Histogram) -> HistogramMetricFamily:
    buckets, below = [], 0
    for bound, count in zip((*map(float, BUCKETS_S), "+Inf"), histogram.counts, strict=True):
        below += count
        buckets.append((str(bound), below))
    return HistogramMetricFamily(
        f"prodlensd_{name}", meaning, buckets=buckets, sum_value=histogram.sum_s
    )


def _lines(reader: Reader) -> Iterator[Metric]:
    counts, gaps = reader.sources.counts(), reader.sources.open_gaps()
    yield _counter("lines", "Lines that were read.", counts.lines)
    yield _counter("calls", "Calls in the ledger, each once.", counts.traces)
    yield _counter("duplicate_lines", "Lines of calls that were known.", counts.duplicates)
    yield _counter("blank_lines", "Lines without content.", counts.blanks)
    open_letters = reader.tallies.tally("reason")
    yield _labelled(
        "dead_letters",
        "Lines that could not be read, and that nobody has accepted.",
        "reason",
        dict.fromkeys(REASONS, 0) | open_letters,
    )
    yield _gauge(
        "accepted_dead_letters",
        "Lines that could not be read, and were dismissed or purged.",
        counts.dead_letters - sum(open_letters.values()),
    )
    yield _gauge("open_gaps", "Places where bytes went before they were read.", gaps.number)
    yield _gauge("lost_bytes", "Bytes of the open gaps, at least.", gaps.known_bytes)


def _calls(reader: Reader) -> Iterator[Metric]:
    by_source = reader.tallies.tally("cost_source")
    failed = reader.tallies.tally("status").get("failure", 0)
    yield _gauge("failed_calls", "Calls that failed.", failed)
    yield _gauge("unpriced_calls", "Calls whose price nobody knows.", by_source.get("unpriced", 0))
    yield _labelled(
        "priced_calls",
        "Calls with a cost, by where it comes from.",
        "cost_source",
        {source: by_source.get(source, 0) for source in COST_SOURCES},
    )
    disputed = reader.tallies.tally("disputed").get("yes", 0)
    yield _gauge(
        "disputed_calls", "Calls on whose cost gateway and price table do not agree.", disputed
    )
    yield _labelled(
        "anomalies",
        "Calls of which something looked wrong and was left out, by what.",
        "kind",
        dict(sorted(reader.tallies.anomalies().items())),
    )


def _sums(reader: Reader) -> Iterator[Metric]:
    totals = reader.tallies.totals_by_source()
    cost = TOTALLED.index("cost_nanousd")
    yield _labelled(
        "cost_usd",
        "Cost of all calls that have one, by where it comes from.",
        "cost_source",
        {
            source: totals[source][cost] / NANOUSD_PER_USD if source in totals else 0
            for source in COST_SOURCES
        },
    )
    for column, (name, meaning) in _TOKENS.items():
        index = TOTALLED.index(column)
        yield _gauge(name, meaning, sum(sums[index] for sums in totals.values()))


def _files(reader: Reader) -> Iterator[Metric]:
    tails, last_us = reader.sources.tails(), reader.sources.last_commit_us()
    yield _gauge("log_files", "Log files that are followed.", len(tails))
    yield _gauge("lag_bytes", "Bytes of the logs that are not read.", sum(map(_lag_bytes, tails)))
    yield _gauge(
        "last_line_timestamp_seconds", "When lines last came; 0: never.", (last_us or 0) / US_PER_S
    )


def _lag_bytes(tail: Tail) -> int:
    """By the file as it is now, or else as it was last read. Of a gzip file only that is known."""
    size_bytes = tail.size_bytes
    if not tail.is_gzip:
        try:
            now = os.lstat(tail.path)
        except OSError:
            pass
        else:
            size_bytes = now.st_size if file_id(now)[1] == tail.inode else size_bytes
    return max(0, size_bytes - tail.offset)


def _snapshots(reader: Reader) -> Iterator[Metric]:
    snapshots = reader.days.snapshots()
    yield _gauge("snapshots", "Days with calls: as many Parquet snapshots.", snapshots.days)
    yield _gauge("dirty_snapshots", "Those of them that are not up to date.", snapshots.dirty_days)
    yield _gauge(
        "last_snapshot_timestamp_seconds",
        "When a Parquet snapshot was last written; 0: never.",
        (snapshots.last_compacted_us or 0) / US_PER_S,
    )
    yield _gauge("pruned_calls", "Calls that are in snapshots only.", snapshots.pruned_traces)


def _store(ledger_path: Path) -> list[Metric]:
    disk = os.statvfs(ledger_path.parent)
    log = ledger_path.with_name(f"{ledger_path.name}-wal")
    return [
        _gauge("store_bytes", "Size of the ledger's database.", _size_bytes(ledger_path)),
        _gauge("wal_bytes", "Size of its write-ahead log.", _size_bytes(log)),
        _gauge("store_free_bytes", "Room on its disk.", disk.f_bavail * disk.f_frsize),
    ]


def _size_bytes(file: Path) -> int:
    """0 where there is none: SQLite deletes its log when the last connection closes."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
