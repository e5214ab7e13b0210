"""All figures of a page: reports, each as `prodlensd report` would answer it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from prodlensd.answers.budgets import Standing
from prodlensd.answers.calls import Calls
from prodlensd.answers.facts import Facts
from prodlensd.answers.forecast import Forecast, forecast
from prodlensd.answers.page.address import Asked
from prodlensd.answers.periods import FOREVER_US, Period, previous, running_month, span_around
from prodlensd.answers.questions import NONE, Question
from prodlensd.answers.report import Report, answer
from prodlensd.answers.wording import ends_of
from prodlensd.moments import moment_us

#: What a page ranks, and by what the figures of each of them are divided in a file.
RANKED: Final = {
    "developer": "model",
    "team": "developer",
    "repo": "developer",
    "model": "developer",
    "session": "model",
    "source": "model",
}
_TOP: Final = 10
_MOST_PARTS: Final = 500
#: More bars than these say no more: then they are of weeks, or months.
_MOST_DAYS: Final = 92
_MOST_WEEKS: Final = 92 * 7
#: Only a line with a wrong date leads to more; then those without calls are left out.
_MOST_BARS: Final = 500


class Quality(NamedTuple):
    """How far the ledger can be relied on, whatever the period."""

    lines: int
    dead_letters: int
    open_gaps: int
    duplicates: int
    disputed_calls: int
    last_line_us: int | None

    @classmethod
    def of(cls, facts: Facts) -> Quality:
        """What of the facts a page says."""
        return cls(
            facts.counts.lines,
            sum(facts.reasons.values()),
            facts.gaps.number - facts.young_gaps,
            facts.counts.duplicates,
            facts.disputed_calls,
            facts.last_line_us,
        )


class Beside(NamedTuple):
    """What a page says of the ledger itself, whatever its question; None and nothing: not known."""

    quality: Quality | None = None
    budgets: Sequence[Standing] = ()


class Numbers(Struct, frozen=True, kw_only=True):
    """The figures of a page.

    unit      what a bar of its charts is of: an hour, day, week or month
    bars      the key of each bar, in order, those without calls too; at most the last _MOST_BARS
    by_time   by unit, with latencies and what the cache saved; its total is that of the page
    by_model  by model and unit, of the models in `ranked`
    before    the period before of the same length; None where nothing can have been
    ranked    the dearest names
    divided   what the dearest names are made of; empty where that is a page of its own
    forecast  to the end of the month that is shown while it runs
    """

    asked: Asked
    now_us: int
    unit: str
    bars: tuple[str, ...]
    by_time: Report
    by_model: Report
    before: Report | None
    ranked: Mapping[str, Report]
    divided: Mapping[str, Report]
    by_hour: Report
    by_error: Report
    forecast: Forecast | None


def span_of(asked: Asked, now_us: int) -> tuple[int, int]:
    """The time of which calls are needed: the period's, the one's before, the running month's."""
    periods = [asked.period, previous(asked.period, now_us) or asked.period]
    since_us = min(period.since_us for period in periods)
    until_us = FOREVER_US if asked.period.until_us is None else asked.period.until_us
    if _is_running(asked.period, now_us):
        month = running_month(now_us, asked.period.zone)
        since_us, until_us = min(since_us, month.since_us), max(until_us, month.until_us)
    return since_us, until_us


def ask(calls: Calls, asked: Asked, now_us: int, *, is_divided: bool, top: int = _TOP) -> Numbers:
    """The figures. Raises LedgerError."""
    asking = _Asking(calls, asked)
    unit = _unit(asked.period, calls.extent)
    by_time = asking.report(unit, figures=("latency_ms", "ttft_ms", "cache_saved_picos"))
    ranked = asking.ranked(top)
    earlier = previous(asked.period, now_us)
    is_running = _is_running(asked.period, now_us)
    return Numbers(
        asked=asked,
        now_us=now_us,
        unit=unit,
        bars=_bars(by_time, unit),
        by_time=by_time,
        by_model=asking.only("model", ranked["model"]).report("model", unit),
        before=None if earlier is None else asking.report("status", period=earlier),
        ranked=ranked,
        divided={by: asking.divided(by, of) for by, of in ranked.items()} if is_divided else {},
        by_hour=asking.report("weekday", "hour"),
        by_error=asking.report("error", sort="failed", top=top),
        forecast=forecast(calls, asked.filters, now_us, asked.period.zone) if is_running else None,
    )


class _Asking(NamedTuple):
    """Puts questions about the calls of one page."""

    calls: Calls
    asked: Asked

    def report(
        self,
        *by: str,
        top: int = 0,
        figures: tuple[str, ...] = (),
        sort: str = "cost",
        period: Period | None = None,
    ) -> Report:
        question = Question(
            by=by,
            period=period or self.asked.period,
            filters=self.asked.filters,
            sort=sort,
            top=top,
            figures=frozenset(figures),
            by_source=False,
        )
        return answer(self.calls, question)

    def ranked(self, top: int) -> dict[str, Report]:
        """The dearest names. Where calls were read says something only if there are two places."""
        ranked = {by: self.report(by, top=top) for by in RANKED if by != "source"}
        if self.calls.may_be_of_transcript:
            by_source = self.report("source", top=top)
            ranked |= {"source": by_source} if len(by_source.groups) > 1 else {}
        return ranked

    def only(self, by: str, ranked: Report) -> _Asking:
        """The same of the names that are shown: how many there are is in the hands of the logs."""
        names = tuple(NONE if group.key[0] is None else group.key[0] for group in ranked.groups)
        # They pass the filter that is there already.
        others = tuple(one for one in self.asked.filters if one[0] != by)
        chosen = (*others, (by, names)) if names else self.asked.filters
        return self._replace(asked=replace(self.asked, filters=chosen))

    def divided(self, by: str, ranked: Report) -> Report:
        """What each of the names that are shown is made of."""
        return self.only(by, ranked).report(by, RANKED[by], top=_MOST_PARTS)


def _is_running(period: Period, now_us: int) -> bool:
    """Whether the period is the running month, or some of it, up to now."""
    month = running_month(now_us, period.zone)
    is_open = period.until_us is None or period.until_us > now_us
    return is_open and period.since_us >= month.since_us and period.unit == "month"


def _unit(period: Period, extent: tuple[int, int] | None) -> str:
    """What a bar is of, so that there are neither few nor too many."""
    first, last = ends_of(period, extent)
    days = (last.date() - first.date()).days + 1
    if days == 1:
        return "hour"
    if days <= _MOST_DAYS:
        return "day"
    return "week" if days <= _MOST_WEEKS else "month"


def _bars(found: Report, unit: str) -> tuple[str, ...]:
    """The keys of all bars of the period, as far as there are calls, in order."""
    if unit == "hour":
        return tuple(f"{hour:02d}:00" for hour in range(24))
    zone = found.period.zone
    first, last = (moment_us(at) for at in ends_of(found.period, found.ledger))
    keys: list[str] = []
    while not keys or (first <= last and len(keys) <= _MOST_BARS):
        _, first, key = span_around(first, unit, zone)
        keys.append(key)
    if len(keys) > _MOST_BARS:
        keys = [str(group.key[0]) for group in found.groups][-_MOST_BARS:]
    return tuple(keys)
