"""What calls cost and how they went, in groups: the values, and in which order they stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from msgspec import Struct

from prodlensd.answers.calls import Calls
from prodlensd.answers.grouping import Grouping, Sums
from prodlensd.answers.periods import Period
from prodlensd.answers.questions import BY, SORTS, Question
from prodlensd.model import NANOUSD_PER_USD

#: One value for each name in `by`, as people read it; None where calls have none.
Key = tuple[str | None, ...]


class SourceCost(Struct, frozen=True):
    """Calls whose price comes from one source, and their cost; None when it is not known."""

    calls: int
    cost_nanousd: int | None


class Figures(Struct, frozen=True):
    """What calls add up to. None: no call contributes to the sum, or it was not asked for.

    calls           what the gateway tried and logged; a request retried twice is three of them
    requests        what clients asked for; `failed_requests` had no call that succeeded
    billed_calls    those for which a provider sends a bill, or may
    errors          calls that failed
    tokens_in       all input, what was read from and written to the cache included
    cost_nanousd    of the priced calls; `unpriced_calls` and `unpriced_tokens` come on top
    unpriced_reasons
                    how many calls are unpriced for each reason; "unknown": none was kept
    latency_*, ttft_*
                    over the successful calls that carry one
    cache_saved_nanousd
                    what the input read from a cache would have cost fresh, less what it did cost,
                    by list prices
    diff_ratio      the mean of the calls that carry one
    plan_api_nanousd
                    what the API would have asked for the `plan_calls`, which cost nothing more and
                    are in no cost; of `plan_unpriced_calls` nobody knows it, and they come on top
    """

    calls: int
    billed_calls: int
    errors: int
    tokens_in: int | None
    tokens_out: int | None
    cache_read_tokens: int | None
    cost_nanousd: int | None
    unpriced_calls: int
    unpriced_tokens: int | None
    unpriced_reasons: Mapping[str, int]
    cost_by_source: Mapping[str, SourceCost]
    requests: int | None = None
    failed_requests: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    latency_p50_ms: float | None = None
    latency_p95_ms: float | None = None
    latency_p99_ms: float | None = None
    ttft_p50_ms: float | None = None
    ttft_p95_ms: float | None = None
    sessions: int | None = None
    cache_saved_nanousd: int | None = None
    accepted_lines: int | None = None
    diff_ratio: float | None = None
    plan_calls: int = 0
    plan_api_nanousd: int | None = None
    plan_unpriced_calls: int = 0


class Group(Struct, frozen=True):
    """The calls with one value for each name in the report's `by`; None where they have none.

    `via` says for each name in which ways the values were found.
    """

    key: Key
    via: tuple[tuple[str, ...], ...]
    figures: Figures


class Report(Struct, frozen=True):
    """The groups in order, and all of them together.

    `firsts` is what the groups of each value of the first of two names add up to, those that are
    not shown included. `ledger` is when the first and last call of all started, whatever the
    period; None when there is none. `top` is how many groups were asked for, 0 for all. When there
    are more, `more_groups` says how many, and `rest` is what their calls add up to.
    """

    by: tuple[str, ...]
    period: Period
    groups: tuple[Group, ...]
    total: Figures
    ledger: tuple[int, int] | None
    top: int = 0
    more_groups: int = 0
    rest: Figures | None = None
    firsts: Mapping[str | None, Figures] | None = None


def answer(calls: Calls, question: Question) -> Report:
    """What the calls of the period add up to; what they are open for has the period in it.

    Of more than `top` groups these are the first as sorted. Times alone are all there, as they are
    with `top` 0. Raises LedgerError, also when a snapshot cannot be read: an answer is of all
    calls.
    """
    found = Grouping(calls, question).found()
    firsts = {_names(question.by, key)[0]: _figures(of) for key, of in found.firsts.items()}
    groups = [
        Group(_names(question.by, key), of.vias, _figures(of)) for key, of in found.groups.items()
    ]
    return Report(
        question.by,
        question.period,
        tuple(_ordered(groups, question, firsts)),
        _figures(found.total),
        calls.extent,
        question.top,
        found.more_groups,
        None if found.rest is None else _figures(found.rest),
        firsts if len(question.by) > 1 else None,
    )


def _names(by: Sequence[str], key: Sequence[Any]) -> Key:
    return tuple(
        None if value is None else BY[name].name(value)
        for name, value in zip(by, key, strict=False)
    )


def _figures(found: Sums) -> Figures:
    """Figures of what calls add up to; what was not asked for is None."""
    sums, apart = found.sums, found.apart
    get = sums.get
    (latency,) = apart.get("latency_ms") or (None,)
    (ttft,) = apart.get("ttft_ms") or (None,)
    p50, p95, p99 = latency or (None, None, None)
    first_p50, first_p95 = ttft or (None, None)
    nothing = (0, 0) if "requests" in apart else (None, None)
    requests, failed = apart.get("requests") or nothing
    (sessions,) = apart.get("sessions") or ((0,) if "sessions" in apart else (None,))
    reasons: Counter[str] = Counter()
    by_source: dict[str, SourceCost] = {}
    for source in found.sources:
        before = by_source.get(source.cost_source, SourceCost(0, None))
        cost = _sum([before.cost_nanousd, _nanousd(source.cost_usd)])
        by_source[source.cost_source] = SourceCost(before.calls + source.calls, cost)
        if source.cost_source == "unpriced":
            reasons[source.reason or "unknown"] += source.calls
    return Figures(
        calls=sums["calls"],
        billed_calls=sums["billed_calls"],
        errors=sums["errors"],
        tokens_in=sums["tokens_in"],
        tokens_out=sums["tokens_out"],
        cache_read_tokens=sums["cache_read_tokens"],
        cost_nanousd=_nanousd(sums["cost_usd"]),
        unpriced_calls=sums["unpriced_calls"],
        unpriced_tokens=sums["unpriced_tokens"],
        unpriced_reasons=dict(reasons.most_common()),
        cost_by_source=by_source,
        requests=requests,
        failed_requests=failed,
        cache_write_tokens=get("cache_write_tokens"),
        reasoning_tokens=get("reasoning_tokens"),
        latency_p50_ms=p50,
        latency_p95_ms=p95,
        latency_p99_ms=p99,
        ttft_p50_ms=first_p50,
        ttft_p95_ms=first_p95,
        sessions=sessions,
        cache_saved_nanousd=_of_picos(get("cache_saved_picos")),
        accepted_lines=get("accepted_lines"),
        diff_ratio=get("diff_ratios") / with_ratio
        if (with_ratio := get("with_diff_ratio"))
        else None,
        plan_calls=get("plan_calls", 0),
        plan_api_nanousd=_nanousd(get("plan_api_usd")),
        plan_unpriced_calls=get("plan_unpriced_calls", 0),
    )


def _nanousd(usd: Decimal | None) -> int | None:
    return None if usd is None else int(usd * NANOUSD_PER_USD)


def _of_picos(picos: int | None) -> int | None:
    return None if picos is None else picos // 1000


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


# In which order -----------------------------------------------------------------------------------

_Rank = tuple[Any, ...]


def _ordered(
    groups: Sequence[Group], question: Question, firsts: Mapping[str | None, Figures]
) -> list[Group]:
    """Times from early to late; names as the question sorts them, the first name's groups first."""
    by = question.by

    def rank(group: Group) -> _Rank:
        ranks: list[_Rank] = []
        for place, name in enumerate(by):
            value = group.key[place]
            figures = firsts.get(value, group.figures) if place == 0 else group.figures
            ranks.append(
                BY[name].order(value) if BY[name].is_time else _place(value, figures, question.sort)
            )
        return tuple(ranks)

    return sorted(groups, key=rank)


def _place(name: str | None, figures: Figures, sort: str) -> _Rank:
    """Large sums before small ones, then by calls, then by name; what has none comes last."""
    summed = SORTS[sort].replace("_usd", "_nanousd")
    value = getattr(figures, summed) if summed else 0
    return 1 if value is None else -value, -figures.calls if summed else 0, name is None, name or ""
