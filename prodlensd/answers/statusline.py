"""What one line says: what a session has cost, and today. Loads as little as it can."""

from __future__ import annotations

from datetime import tzinfo
from typing import Final

from prodlensd.answers.periods import span_around
from prodlensd.ledger import Spent, SpentReader
from prodlensd.text import at_least, money

_EVER_US: Final = 1 << 62


def line(spent: SpentReader, session: str | None, now_us: int, zone: tzinfo) -> str:
    """All that a session has cost, and today in this zone; empty where neither has a call.

    To be asked within one moment of the ledger. Raises LedgerError.
    """
    sums = spent.read(*(["session"] if session else []))
    since_us, until_us, _ = span_around(now_us, "day", zone)
    parts = []
    if session and (its := sums.named("session", session, -_EVER_US, _EVER_US)).calls:
        parts.append(f"{_cost(its)} session")
    if (today := sums.of("host", "*", since_us, until_us)).calls:
        parts.append(f"{_cost(today)} today")
        if today.cache_read_tokens and today.tokens_in:
            parts.append(f"{100 * today.cache_read_tokens / today.tokens_in:.0f} % cached")
    return " · ".join(parts)


def _cost(spent: Spent) -> str:
    if spent.calls == spent.unpriced_calls:
        return "unpriced"
    return at_least(money(spent.cost_nanousd), is_exact=spent.is_exact)
