"""What is spent of each budget, and what it will be: one answer for all who ask.

`budget`, `status`, the metrics, the overview and the page all take it from here, from the sums that
the ledger keeps, so that they turn at the same call. Loads neither DuckDB nor pyarrow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, tzinfo
from typing import Any, Final, Literal, NamedTuple

from msgspec import Struct

from prodlensd.answers.periods import span_around
from prodlensd.ledger import Reader, Spent, Sums, scope_on_plan
from prodlensd.model import NANOUSD_PER_USD, US_PER_S
from prodlensd.moments import iso_time
from prodlensd.text import at_least, counted, money, on_plan, percent

UNDER: Final = "under"
WARNING: Final = "warning"
OVER: Final = "over"
UNKNOWABLE: Final = "unknowable"
#: The worst first.
STATES: Final = (OVER, UNKNOWABLE, WARNING, UNDER)
_HOUR_US: Final = 3600 * US_PER_S


class Budget(Struct, frozen=True, kw_only=True):
    """So many nano-dollars for each day, week (from Monday) or month of those in its scope.

    scope    team, developer, repo, model or host, and the names that fit; None: all calls
    warn_at  the share of the limit from which on it is a warning
    """

    name: str
    scope: str | None = None
    pattern: str = "*"
    period: Literal["day", "week", "month"]
    limit_nanousd: int
    warn_at: float = 0.8

    @property
    def whose(self) -> str:
        """Its scope, as a filter of `report` has it; "all" for all calls."""
        return f"{self.scope} {self.pattern}" if self.scope else "all"


class Budgets(NamedTuple):
    """All budgets, and the zone of their days."""

    all: Sequence[Budget] = ()
    zone: tzinfo = UTC


NO_BUDGETS: Final = Budgets()


class Standing(Struct, frozen=True, kw_only=True):
    """A budget in its running period [since_us, until_us), which is called `period`.

    expected_nanousd  the cost at its end, if it goes on as in the steps that are over; None: none
                      is. A step is an hour of a day, or a day of a week or month
    on_plan           calls in it that are on a plan, at API prices: they count for no budget
    """

    budget: Budget
    period: str
    since_us: int
    until_us: int
    spent: Spent
    expected_nanousd: int | None
    steps_over: int
    on_plan: Spent

    @property
    def share(self) -> float:
        """What is spent, as a part of the limit: at least, where calls have no price."""
        return self.spent.cost_nanousd / self.budget.limit_nanousd

    @property
    def spent_text(self) -> str:
        """What is spent, in words."""
        return at_least(money(self.spent.cost_nanousd), is_exact=self.spent.is_exact)

    @property
    def share_text(self) -> str:
        """The share of the limit that is spent, in words."""
        part = percent(self.spent.cost_nanousd, self.budget.limit_nanousd)
        return at_least(part, is_exact=self.spent.is_exact)

    @property
    def expected_text(self) -> str:
        """What it will be at the end of the period, in words."""
        if self.expected_nanousd is None:
            return "-"
        return at_least(money(self.expected_nanousd), is_exact=self.spent.is_exact)

    @property
    def on_plan_text(self) -> str:
        """What the API would have asked for calls on a plan, named so; empty without any."""
        on = self.on_plan
        if not on.calls:
            return ""
        return on_plan(on.cost_nanousd, on.calls, on.unpriced_calls, is_exact=on.is_exact)

    @property
    def state(self) -> str:
        """Over when even what is known is more than the limit; then no unknown price matters."""
        if self.spent.cost_nanousd > self.budget.limit_nanousd:
            return OVER
        if not self.spent.is_exact:
            return UNKNOWABLE
        return WARNING if self.share >= self.budget.warn_at else UNDER

    @property
    def doubt(self) -> str:
        """Which calls may have cost more than is known; empty where there are none."""
        unpriced, unknown = self.spent.unpriced_calls, self.spent.unknown_calls
        found = [f"{counted(unpriced, 'call')} without a price"] if unpriced else []
        if unknown:
            found.append(f"{counted(unknown, 'call')} or more not added up")
        return ", ".join(found)

    def as_dict(self) -> dict[str, Any]:
        """Ready to become JSON."""
        budget, expected = self.budget, self.expected_nanousd
        return {
            "name": budget.name,
            "scope": budget.scope,
            "pattern": budget.pattern if budget.scope else None,
            "period": self.period,
            "since": iso_time(self.since_us),
            "until": iso_time(self.until_us),
            "state": self.state,
            "spent_usd": self.spent.cost_nanousd / NANOUSD_PER_USD,
            "limit_usd": budget.limit_nanousd / NANOUSD_PER_USD,
            "share": self.share,
            "warn_at": budget.warn_at,
            "expected_usd": None if expected is None else expected / NANOUSD_PER_USD,
            "calls": self.spent.calls,
            "unpriced_calls": self.spent.unpriced_calls,
            "unknown_calls": self.spent.unknown_calls,
            "plan_calls": self.on_plan.calls,
            "plan_api_usd": self.on_plan.cost_nanousd / NANOUSD_PER_USD,
            "plan_unpriced_calls": self.on_plan.unpriced_calls,
        }


def standings(reader: Reader, budgets: Budgets, now_us: int) -> list[Standing]:
    """How each budget stands, in the running day, week or month.

    To be asked within one moment of the reader. Raises LedgerError.
    """
    if not budgets.all:
        return []
    sums = reader.spent.read(*{budget.scope for budget in budgets.all if budget.scope})
    return [_standing(sums, budget, now_us, budgets.zone) for budget in budgets.all]


def _standing(sums: Sums, budget: Budget, now_us: int, zone: tzinfo) -> Standing:
    since_us, until_us, name = span_around(now_us, budget.period, zone)

    scope = budget.scope or "host"

    def spent(end_us: int) -> Spent:
        return sums.of(scope, budget.pattern, since_us, end_us)

    ends_us = list(_steps(since_us, until_us, budget.period, zone))
    over = [end_us for end_us in ends_us if end_us <= now_us]
    so_far = spent(until_us)
    expected = None
    if over:
        known = spent(over[-1]).cost_nanousd
        # What is spent is spent, also where today has more of it than other days.
        expected = max(so_far.cost_nanousd, known * len(ends_us) // len(over))
    return Standing(
        budget=budget,
        period=name,
        since_us=since_us,
        until_us=until_us,
        spent=so_far,
        expected_nanousd=expected,
        steps_over=len(over),
        on_plan=sums.of(scope_on_plan(scope), budget.pattern, since_us, until_us),
    )


def _steps(since_us: int, until_us: int, period: str, zone: tzinfo) -> Iterator[int]:
    """The ends of the hours of a day, or of the days of a week or month."""
    at_us = since_us
    while at_us < until_us:
        at_us = at_us + _HOUR_US if period == "day" else span_around(at_us, "day", zone)[1]
        yield min(at_us, until_us)


def worst(found: Sequence[Standing]) -> str:
    """The worst state; UNDER where there is no budget."""
    states = {standing.state for standing in found}
    return next((state for state in STATES if state in states), UNDER)
