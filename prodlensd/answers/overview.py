"""What somebody wants to know first: today, this week, this month, and who and what they are of."""

from __future__ import annotations

from datetime import tzinfo
from typing import Final, NamedTuple

from msgspec import Struct

from prodlensd.answers.calls import Calls
from prodlensd.answers.forecast import Forecast, forecast
from prodlensd.answers.periods import Period, local_time, previous, span_around
from prodlensd.answers.questions import Question
from prodlensd.answers.report import Figures, Group, answer
from prodlensd.model import US_PER_DAY

#: Who and what the month is of.
TOP_BY: Final = ("developer", "model", "repo")
_TOP: Final = 5


class Stretch(NamedTuple):
    """A day, week or month that still runs, and the same part of the one before it."""

    name: str
    now: Figures
    before: Figures


class Overview(Struct, frozen=True):
    """The overview.

    hours            calls in each hour of today so far, by the reader's clock
    unpriced_models  how many models have calls without a price this month, if on a plan at the API
    top              the dearest groups of the month by each of TOP_BY
    ledger           when the first and last call of all started; None when there is none
    """

    today: Stretch
    week: Stretch
    month: Stretch
    hours: tuple[int, ...]
    forecast: Forecast
    unpriced_models: int
    top: dict[str, tuple[Group, ...]]
    ledger: tuple[int, int] | None


def first_us(now_us: int, zone: tzinfo) -> int:
    """How far back the overview looks: to the start of last month, and to last week."""
    month_before = span_around(span_around(now_us, "month", zone)[0] - 1, "month", zone)[0]
    return min(month_before, span_around(now_us, "week", zone)[0] - 8 * US_PER_DAY)


def overview(calls: Calls, now_us: int, zone: tzinfo) -> Overview:
    """The overview at this moment, for which the calls are open."""
    spans = {unit: span_around(now_us, unit, zone) for unit in ("day", "week", "month")}
    periods = {
        unit: Period(from_us, now_us + 1, zone, unit) for unit, (from_us, _, _) in spans.items()
    }
    month = periods["month"]
    models = _groups(calls, "model", month, top=0)
    return Overview(
        today=_stretch(calls, periods["day"], spans["day"][2], now_us),
        week=_stretch(calls, periods["week"], spans["week"][2], now_us),
        month=_stretch(calls, month, spans["month"][2], now_us),
        hours=_hours(calls, periods["day"], now_us),
        forecast=forecast(calls, (), now_us, zone),
        unpriced_models=sum(1 for group in models if _is_unpriced(group.figures)),
        top={by: _groups(calls, by, month, top=_TOP) for by in TOP_BY},
        ledger=calls.extent,
    )


def _is_unpriced(figures: Figures) -> bool:
    return bool(figures.unpriced_calls or figures.plan_unpriced_calls)


def _question(by: str, period: Period, top: int = 0) -> Question:
    figures = frozenset({"cache_saved_picos"})
    return Question(by=(by,), period=period, figures=figures, by_source=False, top=top)


def _stretch(calls: Calls, period: Period, name: str, now_us: int) -> Stretch:
    now = answer(calls, _question("status", period)).total
    earlier = previous(period, now_us) or Period(0, 0, period.zone)
    return Stretch(name, now, answer(calls, _question("status", earlier)).total)


def _hours(calls: Calls, today: Period, now_us: int) -> tuple[int, ...]:
    found = answer(calls, _question("hour", today)).groups
    counts = {group.key[0]: group.figures.calls for group in found}
    last = local_time(now_us, today.zone).hour
    return tuple(counts.get(f"{hour:02d}:00", 0) for hour in range(last + 1))


def _groups(calls: Calls, by: str, period: Period, *, top: int) -> tuple[Group, ...]:
    return answer(calls, _question(by, period, top=top)).groups
