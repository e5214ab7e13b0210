"""A provider's bill against the ledger, day by day, and what may explain where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, Final, NamedTuple

from msgspec import Struct

from prodlensd.answers.bills import Bill
from prodlensd.answers.calls import Calls
from prodlensd.answers.questions import sql_of_filters
from prodlensd.ledger import OpenGaps
from prodlensd.model import US_PER_DAY
from prodlensd.moments import EPOCH, day_of
from prodlensd.text import counted, money, size

# A line may name its provider in front of the model only.
_PROVIDER: Final = "coalesce(provider, nullif(split_part(model, '/', 1), model))"
# ruff: noqa: S608 - the condition is made of names of columns
_DAYS: Final = f"""
    SELECT started_us // {US_PER_DAY}, count(*), sum(cost_usd),
        count(*) FILTER (cost_source = 'unpriced'),
        sum(coalesce(gateway_cost_usd, cost_usd)), sum(coalesce(table_cost_usd, cost_usd))
    FROM (SELECT * REPLACE ({_PROVIDER} AS provider) FROM calls)
    WHERE started_us >= $since AND started_us < $until AND {{}} GROUP BY ALL
"""


class _Ledger(NamedTuple):
    """What the ledger has of one day: money in nano-dollars, in all, and by each alone."""

    calls: int = 0
    cost: int = 0
    unpriced_calls: int = 0
    by_gateway: int = 0
    by_table: int = 0


class Day(NamedTuple):
    """One day (UTC) on both sides, in nano-dollars; `billed` None: it is not on the bill."""

    day: date
    billed: int | None
    ledger: int
    calls: int
    agrees: bool
    reasons: tuple[str, ...]

    @property
    def difference(self) -> int:
        """What the ledger has more than the bill."""
        return self.ledger - (self.billed or 0)


class Reconciled(Struct, frozen=True):
    """All days of the bill, those between that the ledger has, and what concerns all of them."""

    days: tuple[Day, ...]
    notes: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        """Whether every day does."""
        return all(day.agrees for day in self.days)


def span_of_bill(bill: Bill) -> tuple[int, int]:
    """The time from its first to its last day, in microseconds since 1970."""
    first, last = min(bill.days), max(bill.days)
    return _number(first) * US_PER_DAY, (_number(last) + 1) * US_PER_DAY


def reconcile(
    calls: Calls,
    bill: Bill,
    gaps: OpenGaps,
    *,
    providers: Sequence[str],
    tolerance_nanousd: int,
    today: date,
) -> Reconciled:
    """Compares them; a day agrees within the tolerance. The calls are those of these providers."""
    since_us, until_us = span_of_bill(bill)
    filters = [("provider", tuple(providers))] if providers else []
    condition, values = sql_of_filters(filters)
    rows = calls.rows(_DAYS.format(condition), {**values, "since": since_us, "until": until_us})
    found = {day_of(day): _ledger(*sums) for day, *sums in rows}
    days = tuple(
        _day(day, bill.days.get(day), found.get(day, _Ledger()), tolerance_nanousd, today)
        for day in sorted(bill.days.keys() | found.keys())
    )
    return Reconciled(days, tuple(_notes(days, bill, gaps)))


def _ledger(calls: int, cost: Any, unpriced: int, gateway: Any, table: Any) -> _Ledger:  # noqa: ANN401 - Decimals
    cost, gateway, table = (int((usd or 0) * 10**9) for usd in (cost, gateway, table))
    return _Ledger(calls, cost, unpriced, gateway, table)


def _day(day: date, billed: int | None, ledger: _Ledger, tolerance: int, today: date) -> Day:
    def is_near(nanousd: int) -> bool:
        return abs(nanousd - (billed or 0)) <= tolerance

    agrees = is_near(ledger.cost)
    reasons = []
    if not agrees:
        if billed is None:
            reasons.append("not on the bill")
        if not ledger.calls:
            reasons.append("no call in the ledger")
        if ledger.unpriced_calls:
            reasons.append(f"{counted(ledger.unpriced_calls, 'call')} without a price")
        for name, cost in (("gateway", ledger.by_gateway), ("price table", ledger.by_table)):
            if cost != ledger.cost:
                verdict = ": agrees" if is_near(cost) else ""
                reasons.append(f"{money(cost)} by the {name}{verdict}")
        if day >= today:
            reasons.append("the day is not over")
    return Day(day, billed, ledger.cost, ledger.calls, agrees, tuple(reasons))


def _notes(days: Sequence[Day], bill: Bill, gaps: OpenGaps) -> list[str]:
    notes = []
    if bill.is_cut:
        notes.append("the report goes on: its next page is not in the file")
    lacks = any(day.difference < 0 for day in days if not day.agrees)
    if lacks and gaps.number:
        lost = f"{counted(gaps.number, 'gap')} open, {size(gaps.known_bytes)} at least"
        notes.append(f"bytes of logs went before they were read ({lost}): see the view gaps")
    return notes


def _number(day: date) -> int:
    return (day - EPOCH.date()).days
