"""What the running month will have cost at its end, if its days go on as those that are over."""

from __future__ import annotations

from datetime import tzinfo
from typing import NamedTuple

from prodlensd.answers.calls import Calls
from prodlensd.answers.periods import Period, running_month
from prodlensd.answers.questions import Filter, Question
from prodlensd.answers.report import Figures, answer
from prodlensd.text import at_least, money


class Forecast(NamedTuple):
    """The month's cost so far, today included, and at its end; None where nothing has a price.

    `days_over` are the whole days that the forecast stands on: without one there is none.
    """

    month: str
    so_far_nanousd: int | None
    expected_nanousd: int | None
    days_over: int
    days_left: int
    unpriced_calls: int

    @property
    def expected_text(self) -> str | None:
        """What is expected at its end, in words."""
        if self.expected_nanousd is None:
            return None
        return at_least(money(self.expected_nanousd), is_exact=not self.unpriced_calls)


def forecast(calls: Calls, filters: tuple[Filter, ...], now_us: int, zone: tzinfo) -> Forecast:
    """The forecast for the month around now, for which the calls are open."""
    month = running_month(now_us, zone)

    def cost(until_us: int) -> Figures:
        question = Question(
            by=("day",),
            period=Period(month.since_us, until_us, zone),
            filters=filters,
            figures=frozenset(),
            by_source=False,
        )
        return answer(calls, question).total

    so_far = cost(month.until_us)
    over = cost(month.today_us).cost_nanousd if month.days_over else None
    expected = None
    if over is not None:
        expected = over + over * month.days_left // month.days_over
    return Forecast(
        month.name,
        so_far.cost_nanousd,
        expected,
        month.days_over,
        month.days_left,
        so_far.unpriced_calls,
    )
