"""The ledger's figures in Prometheus' text format; the same text for HTTP and for a file.

What can only grow is a counter. What may also fall is a gauge: repricing changes costs, a richer
record of a call changes its tokens, and dead letters are redeemed. As a counter each would look,
when it falls, like a restart from zero, and `rate()` would invent all of it anew.

No label holds what a log line says: models, providers, developers and sessions are unbounded and in
the hands of whoever writes the log. Those questions are answered by `report` and by SQL. The labels
are prodlensd's own words, and each series of a known word is there from zero on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

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
from prodlensd.answers.budgets import NO_BUDGETS, STATES, Budgets, Standing
from prodlensd.answers.checks import heartbeat
from prodlensd.answers.facts import Facts, gather
from prodlensd.answers.gauges import OK
from prodlensd.ledger import (
    BUCKETS_S,
    TOTALLED,
    Heartbeat,
    Histogram,
    LedgerError,
    Measures,
    Reader,
    Spent,
    TotalsBySource,
    scope_on_plan,
)
from prodlensd.model import NANOUSD_PER_USD, REASONS, UNPRICED_REASONS, US_PER_S

#: Every source of a cost. What is "unpriced" has none, which is not a cost of zero.
COST_SOURCES: Final = (
    "gateway",
    "provider",
    "table",
    "override",
    "free",
    "cache_hit",
    "fallback",
    "not_billable",
    "plan",
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


def exposition(
    ledger_path: Path, *, now_us: int, stalled_s: float, budgets: Budgets = NO_BUDGETS
) -> bytes:
    """All metrics of a ledger; a daemon that is silent for longer than `stalled_s` is down.

    Costs as much on a large ledger as on a small one. Where the ledger cannot be read, what is left
    is that prodlensd is not up.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Ready(_collect(ledger_path, now_us, stalled_s, budgets)))
    return generate_latest(registry)


def why_unhealthy(ledger_path: Path, *, now_us: int, stalled_s: float) -> str | None:
    """Why the daemon is down or its ledger cannot be read; None when neither is so."""
    try:
        with Reader(ledger_path) as reader:
            return _why_down(reader.heartbeat(), now_us, stalled_s)
    except LedgerError as error:
        return str(error)


def _why_down(beat: Heartbeat | None, now_us: int, stalled_s: float) -> str | None:
    """By its last sign of life alone."""
    if beat is None:
        return "the daemon has not begun on this ledger"
    silence = heartbeat(beat, now_us, stalled_s)
    if beat.phase == "stopped":
        return f"the daemon stopped {silence.value:.0f} s ago"
    if silence.state != OK:
        return f"the daemon's last heartbeat was {silence.value:.0f} s ago"
    return None


class _Ready(Collector):
    """Metrics that are collected already, as the library wants them."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _collect(ledger_path: Path, now_us: int, stalled_s: float, budgets: Budgets) -> list[Metric]:
    metrics: list[Metric] = [
        InfoMetricFamily("prodlensd_build", "The program.", {"version": __version__})
    ]
    try:
        with Reader(ledger_path) as reader, reader.one_moment():
            facts = gather(reader, ledger_path, now_us, budgets=budgets)
            failed_calls = reader.tallies.tally("status").get("failure", 0)
            totals = reader.tallies.totals_by_source()
            on = _on_plan(reader) if facts.cost_sources.get("plan") else None
    except (LedgerError, OSError):
        return [*metrics, _up(is_up=False)]
    return [
        *metrics,
        _up(is_up=_why_down(facts.beat, now_us, stalled_s) is None),
        *_daemon(facts),
        *_lines(facts),
        *_calls(facts, failed_calls),
        *_sums(totals),
        _gauge(
            "plan_api_usd",
            "What the API would have asked for the calls on a plan, at least: in no cost.",
            on.cost_nanousd / NANOUSD_PER_USD if on else 0,
        ),
        _gauge(
            "plan_unpriced_calls",
            "Calls on a plan of which nobody knows what the API would have asked.",
            on.unpriced_calls if on else 0,
        ),
        *_budgets(facts.budgets),
        *_files(facts),
        *_snapshots(facts),
        *_store(facts),
    ]


def _on_plan(reader: Reader) -> Spent:
    """The calls on a plan, at API prices."""
    return reader.spent.read().of(scope_on_plan("host"), "*", -(1 << 62), 1 << 62)


def _up(*, is_up: bool) -> Metric:
    return _gauge("up", "Whether the daemon is at work, by its heartbeat.", is_up)


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


def _daemon(facts: Facts) -> Iterator[Metric]:
    beat = facts.beat
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
    measures = facts.measures or Measures()
    yield _histogram(
        "batch_seconds", "From the first byte read to the commit, a batch.", measures.batch_seconds
    )
    yield _histogram("commit_seconds", "The commit alone.", measures.commit_seconds)
    yield _histogram(
        "append_to_commit_seconds",
        "From the append to a log until its lines were visible in the ledger.",
        measures.delay_seconds,
    )


def _histogram(name: str, meaning: str, histogram: Histogram) -> HistogramMetricFamily:
    buckets, below = [], 0
    for bound, count in zip((*map(float, BUCKETS_S), "+Inf"), histogram.counts, strict=True):
        below += count
        buckets.append((str(bound), below))
    return HistogramMetricFamily(
        f"prodlensd_{name}", meaning, buckets=buckets, sum_value=histogram.sum_s
    )


def _lines(facts: Facts) -> Iterator[Metric]:
    counts, gaps = facts.counts, facts.gaps
    yield _counter("lines", "Lines that were read.", counts.lines)
    yield _counter("calls", "Calls in the ledger, each once.", counts.traces)
    yield _counter("duplicate_lines", "Lines of calls that were known.", counts.duplicates)
    yield _counter("blank_lines", "Lines without content.", counts.blanks)
    yield _counter("records", "Records in these lines: most hold one.", counts.records)
    yield _counter(
        "passed_over_records", "Records that are known and no calls.", counts.passed_over
    )
    yield _labelled(
        "dead_letters",
        "Lines that could not be read, and that nobody has accepted.",
        "reason",
        dict.fromkeys(REASONS, 0) | facts.reasons,
    )
    yield _gauge(
        "accepted_dead_letters",
        "Lines that could not be read, and were dismissed or purged.",
        counts.dead_letters - sum(facts.reasons.values()),
    )
    yield _gauge("open_gaps", "Places where bytes went before they were read.", gaps.number)
    yield _gauge("lost_bytes", "Bytes of the open gaps, at least.", gaps.known_bytes)


def _calls(facts: Facts, failed_calls: int) -> Iterator[Metric]:
    by_source = facts.cost_sources
    yield _gauge("failed_calls", "Calls that failed.", failed_calls)
    yield _gauge("unpriced_calls", "Calls whose price nobody knows.", facts.unpriced_calls)
    yield _labelled(
        "unpriced_calls_by_reason",
        "Those of them whose reason was kept, by why.",
        "reason",
        dict.fromkeys(UNPRICED_REASONS, 0) | facts.unpriced_reasons,
    )
    yield _labelled(
        "priced_calls",
        "Calls with a cost, by where it comes from.",
        "cost_source",
        {source: by_source.get(source, 0) for source in COST_SOURCES},
    )
    yield _gauge(
        "disputed_calls",
        "Calls on whose cost gateway and price table do not agree.",
        facts.disputed_calls,
    )
    yield _labelled(
        "anomalies",
        "Calls of which something looked wrong and was left out, by what.",
        "kind",
        dict(sorted(facts.anomalies.items())),
    )


def _sums(totals: TotalsBySource) -> Iterator[Metric]:
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


def _budgets(found: list[Standing]) -> Iterator[Metric]:
    """Labelled with the names that the configuration gives them."""
    if not found:
        return

    def each(name: str, meaning: str, values: Iterable[float | None]) -> Metric:
        names = [standing.budget.name for standing in found]
        of_each = zip(names, values, strict=True)
        known = {name: value for name, value in of_each if value is not None}
        return _labelled(f"budget_{name}", meaning, "budget", known)

    said = [standing.as_dict() for standing in found]
    for name, meaning in {
        "limit_usd": "What may be spent in each period of a budget.",
        "spent_usd": "What is spent in the running one, at least.",
        "expected_usd": "What it will be at its end, if it goes on like this.",
        "unpriced_calls": "Calls in it whose price nobody knows.",
        "unknown_calls": "Calls in it that are not added up.",
    }.items():
        yield each(name, meaning, (standing[name] for standing in said))
    states = GaugeMetricFamily(
        "prodlensd_budget_state", "1 for the state of a budget.", labels=["budget", "state"]
    )
    for standing in found:
        for state in STATES:
            states.add_metric([standing.budget.name, state], state == standing.state)
    yield states


def _files(facts: Facts) -> Iterator[Metric]:
    yield _gauge("log_files", "Log files that are followed.", len(facts.files))
    yield _gauge("lag_bytes", "Bytes of the logs that are not read.", facts.lag_bytes)
    yield _gauge(
        "last_line_timestamp_seconds",
        "When lines last came; 0: never.",
        (facts.last_commit_us or 0) / US_PER_S,
    )


def _snapshots(facts: Facts) -> Iterator[Metric]:
    snapshots = facts.snapshots
    yield _gauge("snapshots", "Days with calls: as many Parquet snapshots.", snapshots.days)
    yield _gauge("dirty_snapshots", "Those of them that are not up to date.", snapshots.dirty_days)
    yield _gauge(
        "last_snapshot_timestamp_seconds",
        "When a Parquet snapshot was last written; 0: never.",
        (snapshots.last_compacted_us or 0) / US_PER_S,
    )
    yield _gauge("pruned_calls", "Calls that are in snapshots only.", snapshots.pruned_traces)


def _store(facts: Facts) -> Iterator[Metric]:
    yield _gauge("store_bytes", "Size of the ledger's database.", facts.ledger_bytes)
    yield _gauge("wal_bytes", "Size of its write-ahead log.", facts.wal_bytes)
    yield _gauge("store_free_bytes", "Room on its disk.", facts.free_bytes)
