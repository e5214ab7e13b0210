"""What one line says: what a session has cost, and today. Loads as little as it can."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo
from typing import Final

from prodlensd.answers.periods import span_around
from prodlensd.ledger import Spent, SpentReader, scope_on_plan
from prodlensd.text import at_least, money

_EVER_US: Final = 1 << 62


def line(spent: SpentReader, session: str | None, now_us: int, zone: tzinfo) -> str:
    """All that a session has cost, and today in this zone; empty where neither has a call.

    What is on a plan costs nothing more: of it the API's prices are told, and named so. To be asked
    within one moment of the ledger. Raises LedgerError.
    """
    sums = spent.read(*(["session"] if session else []))
    since_us, until_us, _ = span_around(now_us, "day", zone)
    parts: list[str] = []
    if session:
        ever = -_EVER_US, _EVER_US
        its, on = (sums.named(of, session, *ever) for of in ("session", scope_on_plan("session")))
        parts += _costs(its, on, "session")
    today, on = (sums.of(of, "*", since_us, until_us) for of in ("host", scope_on_plan("host")))
    parts += _costs(today, on, "today")
    if of_plan := [number for number, part in enumerate(parts) if part.startswith("plan ")]:
        parts[of_plan[-1]] += " at API prices"
    if today.cache_read_tokens and today.tokens_in:
        parts.append(f"{100 * today.cache_read_tokens / today.tokens_in:.0f} % cached")
    return " · ".join(parts)


def _costs(all_calls: Spent, on: Spent, what: str) -> Iterator[str]:
    """What is paid by the call, and what the calls on a plan would have cost."""
    if billed := all_calls.calls - on.calls:
        yield f"{_cost(all_calls, billed)} {what}"
    if on.calls:
        yield f"plan {_cost(on, on.calls)} {what}"


def _cost(spent: Spent, calls: int) -> str:
    """What so many calls have cost, where one of them has a price."""
    if spent.unpriced_calls >= calls:
        return "unpriced"
    return at_least(money(spent.cost_nanousd), is_exact=spent.is_exact)
