"""Keeps the sums of what was spent (see `spent`), as calls come and change."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import orjson

from prodlensd.ledger.rows import Row, value_of
from prodlensd.ledger.spent import (
    ADD,
    LOW,
    ON_PLAN,
    QUARTER_US,
    SCOPES,
    UNSUMMED,
    UNTIL,
    scope_on_plan,
    summing_up,
)
from prodlensd.ledger.transactions import Writer

#: How many calls a transaction of `sum_up` adds up, and those of the quarter in which it ends.
_MOST_CALLS: Final = 2000
_SUM_ALL_UP: Final = summing_up("spent")
_FACTS: Final = value_of(
    *("started_us", "source_id", "details", "developer_id", "repo_slug", "model", "session_id"),
    *("cost_source", "cost_nanousd", "table_nanousd", "tokens_in", "cache_read_tokens"),
)


class Spending:
    """Keeps the sums. Without state of its own."""

    def __init__(self, ledger: Writer) -> None:
        self._ledger = ledger

    def is_behind(self, now_us: int) -> bool:
        """Whether there are quarters to add up that are over."""
        mark_us = self._ledger.value(UNTIL)
        found = self._ledger.one(f"SELECT 1 {UNSUMMED} LIMIT 1", (mark_us, _quarter(now_us)))
        return found is not None

    def sum_up(self, now_us: int) -> bool:
        """Adds up some quarters that are over, in one transaction; True when there are more."""
        if not self.is_behind(now_us):
            return False
        end_us = _quarter(now_us)
        with self._ledger.transaction():
            mark_us = self._ledger.db.execute(UNTIL).get
            sql = f"SELECT started_us {UNSUMMED} ORDER BY started_us LIMIT 1 OFFSET ?"
            last_us = self._ledger.db.execute(sql, (mark_us, end_us, _MOST_CALLS)).get
            until_us = end_us if last_us is None else _quarter(last_us) + QUARTER_US
            self._ledger.db.execute(_SUM_ALL_UP, (mark_us, until_us))
            self._ledger.db.execute("UPDATE spent_until SET until_us = ?", (until_us,))
        return until_us < end_us

    def add(self, rows: Sequence[Row], sign: int = 1) -> None:
        """Adds calls that come late to the sums; with the sign -1 it takes them out again."""
        mark_us = self._ledger.db.execute(UNTIL).get
        late = [row for row in rows if row[0] < mark_us]
        alike: dict[tuple[str, str, int], list[tuple[int, ...]]] = defaultdict(list)
        for started_us, source_id, details, *facts in map(_FACTS, late):
            *names, cost_source, nanousd, table_nanousd, tokens_in, cached = facts
            tokens = (tokens_in or 0, cached or 0)
            values = (1, nanousd is None, nanousd or 0, *tokens)
            of_plan = (1, table_nanousd is None, table_nanousd or 0, *tokens)
            quarter_us = _quarter(started_us)
            known_as = (self._host(source_id), _team(details), *names)
            for scope, name in zip(SCOPES, known_as, strict=True):
                if name is not None:
                    alike[scope, name, quarter_us].append(values)
                    if cost_source == ON_PLAN:
                        alike[scope_on_plan(scope), name, quarter_us].append(of_plan)
        added = (
            (*key, *_signed(map(sum, zip(*of, strict=True)), sign)) for key, of in alike.items()
        )
        self._ledger.db.executemany(ADD, added)

    def _host(self, source_id: int) -> str:
        sql = "SELECT host FROM source WHERE source_id = ?"
        return str(self._ledger.db.execute(sql, (source_id,)).get)


def _quarter(at_us: int) -> int:
    """The start of the quarter of an hour around a moment."""
    return at_us // QUARTER_US * QUARTER_US


def _signed(sums: Iterable[int], sign: int) -> tuple[float, ...]:
    """The columns of `spent` for these sums."""
    calls, unpriced, nanousd, tokens_in, cached = (sign * each for each in sums)
    return (calls, unpriced, nanousd >> 32, nanousd & LOW, float(tokens_in), float(cached))


def _team(details: str | None) -> str | None:
    team = details and orjson.loads(details).get("team")
    return team if isinstance(team, str) else None
