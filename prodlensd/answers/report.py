"""What was used, what it cost, what failed and how long it took, in groups. Read-only."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from heapq import nsmallest
from pathlib import Path
from typing import Any, Final, NamedTuple

from prodlensd.answers.periods import FOREVER_US, UNITS, Period, span_around, unit_of
from prodlensd.ledger import (
    COLUMNS,
    LOADED,
    REST,
    SHOWN,
    Cost,
    Key,
    Latency,
    LedgerError,
    Partition,
    Reader,
    Requests,
    Span,
    Sums,
)
from prodlensd.moments import day_of

#: What calls can be grouped by.
BY: Final = (*UNITS, *COLUMNS)
MAX_BY: Final = 2
#: The names that are found in several ways, some of them mere claims.
WITH_VIA: Final = tuple(name for name, (_, via) in COLUMNS.items() if via)

#: No provider sends a bill for calls whose price comes from these.
NOT_BILLED: Final = ("cache_hit", "not_billable", "free")

_ALWAYS_US: Final = -(2**63)


class SourceCost(NamedTuple):
    """Calls whose price comes from one source, and their cost; None when it is not known."""

    calls: int
    cost_nanousd: int | None


@dataclass(frozen=True, slots=True)
class Figures:
    """What calls add up to. A sum to which no call contributes is None, a count is 0.

    calls           what the gateway tried and logged; a request retried twice is three of them
    requests        what clients asked for; `failed_requests` had no call that succeeded
    billed_calls    those for which a provider sends a bill, or may
    errors          calls that failed
    tokens_in       all input, what was read from and written to the cache included
    cost_nanousd    of the priced calls; `unpriced_calls` and `unpriced_tokens` come on top
    unpriced_reasons
                    how many calls are unpriced for each reason; "unknown": none was kept
    latency_*       over the successful calls that carry a latency
    """

    requests: int
    failed_requests: int
    calls: int
    billed_calls: int
    errors: int
    tokens_in: int | None
    tokens_out: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    cost_nanousd: int | None
    cost_by_source: dict[str, SourceCost]
    unpriced_calls: int
    unpriced_reasons: dict[str, int]
    unpriced_tokens: int | None
    latency_p50_ms: float | None
    latency_p95_ms: float | None


@dataclass(frozen=True, slots=True)
class Group:
    """The calls with one value for each name in the report's `by`; None where they have none.

    `via` says for each name in which ways the values were found.
    """

    key: Key
    via: tuple[tuple[str, ...], ...]
    figures: Figures


@dataclass(frozen=True, slots=True)
class Report:
    """The groups in order, and all of them together.

    `ledger` is when the ledger's first and last call started, whatever the period; None when empty.
    `top` is how many groups were asked for, 0 for all. When there are more, `more_groups` says how
    many, and `rest` is what their calls add up to; None when there are none.
    """

    by: tuple[str, ...]
    period: Period
    groups: tuple[Group, ...]
    total: Figures
    ledger: tuple[int, int] | None
    top: int = 0
    more_groups: int = 0
    rest: Figures | None = None


def read_by(text: str) -> tuple[str, ...]:
    """The names to group by, one or two with a comma. Raises ValueError."""
    by = tuple(name.strip() for name in text.split(","))
    accepted = f"{text!r}: expected one of {', '.join(BY)}, or two with a comma"
    if len(by) > MAX_BY or not set(by) <= set(BY):
        raise ValueError(accepted)
    if len(set(by)) < len(by) or len(set(by) & set(UNITS)) > 1:
        raise ValueError(f"{accepted}; only one of them a time")
    return by


#: The rows of the snapshot of a day, of these columns.
ReadSnapshot = Callable[[Partition, Sequence[str]], Iterator[tuple[Any, ...]]]


def report(
    ledger: Path,
    by: tuple[str, ...],
    period: Period,
    read_snapshot: ReadSnapshot,
    top: int = 0,
) -> Report:
    """What the calls of the period add up to, those included that are in snapshots only.

    Of more than `top` groups these are the ones that cost most. Times alone are all there, as they
    are with `top` 0. Raises LedgerError, also when such a snapshot cannot be read: an answer is of
    all calls.
    """
    until_us = FOREVER_US if period.until_us is None else period.until_us
    whole = period.since_us, until_us
    with Reader(ledger) as reader, reader.one_moment():
        for partition in reader.days.pruned(*whole):
            _load(reader, partition, read_snapshot)
        shown = _shown(reader, by, list(_spans(reader, by, period.zone, *whole)), whole, top)
        groups: list[Group] = []
        sums: list[Sums] = []
        for span in shown.spans:
            for group, parts in _groups(reader, by, span, shown.calls):
                groups.append(group)
                sums += parts
        rest = None
        if shown.more_groups:
            parts = list(reader.usage.sums((), *whole, REST))
            rest = _figures(parts, *_of_all(reader, whole, REST))
            sums += parts
        total = _figures(sums, *_of_all(reader, whole, None))
        first_us, last_us = reader.calls.first_us(_ALWAYS_US, FOREVER_US), reader.calls.last_us()
    extent = None if first_us is None or last_us is None else (first_us, last_us)
    ordered = tuple(_ordered(groups, by, shown.firsts))
    return Report(by, period, ordered, total, extent, top, shown.more_groups, rest)


def _of_all(reader: Reader, span: Span, calls: str | None) -> tuple[Requests, Latency]:
    """What cannot be added up from the groups of these calls."""
    requests = reader.usage.requests((), *span, calls).get((), Requests())
    return requests, reader.usage.latencies((), *span, calls).get((), Latency())


def _load(reader: Reader, partition: Partition, read_snapshot: ReadSnapshot) -> None:
    try:
        reader.calls.load(partition, read_snapshot(partition, LOADED))
    except (LedgerError, OSError, ValueError) as error:
        day = day_of(partition.day)
        raise LedgerError(
            f"the {partition.pruned} pruned calls of {day} cannot be read: {error}; prodlensd "
            "verify says more, and a report that begins later needs none of them"
        ) from error


class _Span(NamedTuple):
    """A day, week or month by its name, or all time, which has none; and when it is."""

    name: str
    span: Span


def _spans(
    reader: Reader, by: tuple[str, ...], zone: tzinfo, since_us: int, until_us: int
) -> Iterator[_Span]:
    """The days, weeks or months that have calls; or all as one span."""
    unit = unit_of(by)
    if unit is None:
        yield _Span("", (since_us, until_us))
        return
    at_us = reader.calls.first_us(since_us, until_us)
    while at_us is not None:
        from_us, to_us, name = span_around(at_us, unit, zone)
        to_us = min(to_us, until_us)
        yield _Span(name, (max(from_us, since_us), to_us))
        at_us = reader.calls.first_us(to_us, until_us)


class _Shown(NamedTuple):
    """Which groups are shown: those of these calls in these spans. There are `more_groups`.

    `firsts` is what each of their first names costs, where that is more than what is shown of it.
    """

    calls: str | None
    spans: list[_Span]
    firsts: dict[str | None, Cost] = {}  # noqa: RUF012 - nobody writes to it
    more_groups: int = 0


def _shown(
    reader: Reader, by: tuple[str, ...], spans: list[_Span], whole: Span, top: int
) -> _Shown:
    """The groups that cost most, `top` of them; all, if there are no more or `top` is 0.

    No more than those are ever held, however many there are.
    """
    names = _names(by)
    whens = (span.span for span in spans)
    if not names or not top or not reader.usage.has_more_groups(top, names, whens):
        return _Shown(None, spans)
    more_groups = -top

    def ranked() -> Iterator[tuple[_Rank, _Span, Key]]:
        nonlocal more_groups
        for span in spans:
            for cost in reader.usage.costs(names, *span.span):
                more_groups += 1
                yield _rank(cost), span, cost.key

    dearest = nsmallest(top, ranked())
    reader.usage.show(names, ((span.span, key) for _, span, key in dearest))
    firsts: dict[str | None, Cost] = {}
    if len(by) > 1 and by[0] not in UNITS:
        wanted = {key[0] for _, _, key in dearest}
        costs = reader.usage.costs(by[:1], *whole)
        firsts = {cost.key[0]: cost for cost in costs if cost.key[0] in wanted}
    return _Shown(SHOWN, sorted({span for _, span, _ in dearest}), firsts, more_groups)


def _names(by: tuple[str, ...]) -> list[str]:
    """What `by` has beside a time."""
    return [name for name in by if name not in UNITS]


def _groups(
    reader: Reader, by: tuple[str, ...], span: _Span, calls: str | None
) -> Iterator[tuple[Group, list[Sums]]]:
    """The groups of one span, each with what it was added up from."""
    names = _names(by)
    requests = reader.usage.requests(names, *span.span, calls)
    latencies = reader.usage.latencies(names, *span.span, calls)
    parts: defaultdict[Key, list[Sums]] = defaultdict(list)
    for sums in reader.usage.sums(names, *span.span, calls):
        parts[sums.key].append(sums)
    for key, sums_of_key in parts.items():
        values = dict(zip(names, key, strict=True))
        ways = dict(zip(names, zip(*(sums.via for sums in sums_of_key), strict=True), strict=True))
        group = Group(
            tuple(values.get(name, span.name) for name in by),
            tuple(tuple(sorted({way for way in ways.get(name, ()) if way})) for name in by),
            _figures(sums_of_key, requests[key], latencies[key]),
        )
        yield group, sums_of_key


def _figures(parts: Sequence[Sums], requests: Requests, latency: Latency) -> Figures:
    by_source: defaultdict[str, list[Sums]] = defaultdict(list)
    for part in parts:
        by_source[part.cost_source].append(part)
    cost_by_source = {
        source: SourceCost(
            sum(part.calls for part in of_source), _sum(part.cost_nanousd for part in of_source)
        )
        for source, of_source in sorted(by_source.items())
    }
    return Figures(
        requests=requests.requests,
        failed_requests=requests.failed_requests,
        calls=sum(part.calls for part in parts),
        billed_calls=sum(part.calls for part in parts if part.cost_source not in NOT_BILLED),
        errors=sum(part.errors for part in parts),
        tokens_in=_sum(part.tokens_in for part in parts),
        tokens_out=_sum(part.tokens_out for part in parts),
        cache_read_tokens=_sum(part.cache_read_tokens for part in parts),
        cache_write_tokens=_sum(part.cache_write_tokens for part in parts),
        reasoning_tokens=_sum(part.reasoning_tokens for part in parts),
        cost_nanousd=_sum(part.cost_nanousd for part in parts),
        cost_by_source=cost_by_source,
        unpriced_calls=sum(part.calls for part in by_source.get("unpriced", ())),
        unpriced_reasons=_reasons(by_source.get("unpriced", ())),
        unpriced_tokens=_sum(part.unpriced_tokens for part in parts),
        latency_p50_ms=latency.p50_ms,
        latency_p95_ms=latency.p95_ms,
    )


def _reasons(unpriced: Iterable[Sums]) -> dict[str, int]:
    """How many calls there are for each reason, most first."""
    calls: Counter[str] = Counter()
    for part in unpriced:
        calls[part.unpriced_reason or "unknown"] += part.calls
    return dict(calls.most_common())


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


_Rank = tuple[Any, ...]


def _ordered(
    groups: Sequence[Group], by: tuple[str, ...], firsts: Mapping[str | None, Cost]
) -> list[Group]:
    """Times from early to late; names by what they cost and how often, the first name's first.

    `firsts` is what each first name costs, where that is more than its groups here; else empty.
    """
    known = firsts or _firsts(groups)

    def rank(group: Group) -> _Rank:
        first, last = known[group.key[0]], _cost(group.key[-1], [group])
        return tuple(
            (cost.key if name in UNITS else _rank(cost))
            for name, cost in ((by[0], first), (by[-1], last))
        )

    return sorted(groups, key=rank)


def _firsts(groups: Sequence[Group]) -> dict[str | None, Cost]:
    """What the groups of each first name cost together."""
    of_firsts: defaultdict[str | None, list[Group]] = defaultdict(list)
    for group in groups:
        of_firsts[group.key[0]].append(group)
    return {first: _cost(first, of_first) for first, of_first in of_firsts.items()}


def _cost(name: str | None, groups: Sequence[Group]) -> Cost:
    figures = [group.figures for group in groups]
    nanousd = _sum(part.cost_nanousd for part in figures)
    return Cost((name,), sum(part.calls for part in figures), nanousd)


def _rank(cost: Cost) -> _Rank:
    """Names from dear to cheap, then by calls, then by name; what has no cost or no name last."""
    names = tuple((name is None, name or "") for name in cost.key)
    return (1 if cost.nanousd is None else -cost.nanousd, -cost.calls, *names)
