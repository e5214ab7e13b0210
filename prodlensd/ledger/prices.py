"""What calls were priced at, and what repricings changed of it.

The cost of a call changes by repricing only, and each change is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from msgspec import Struct

from prodlensd.ledger.connection import Database, translated
from prodlensd.ledger.days import Span
from prodlensd.ledger.pins import FIND
from prodlensd.ledger.rows import LOGGED, PRICE, Row, at_the_price, value_of
from prodlensd.ledger.spent import ON_PLAN
from prodlensd.ledger.sums import exact_sums, joined
from prodlensd.ledger.tallies import TallyReader
from prodlensd.ledger.writing import Ledger
from prodlensd.model import US_PER_DAY, PinnedPrice, Price, Trace

# ruff: noqa: S608 - statements are put together from names of columns

_UNPRICED_ON_PLAN: Final = f"cost_source = '{ON_PLAN}' AND table_nanousd IS NULL"
_CALLS: Final = f"""
    SELECT {", ".join((*LOGGED, *PRICE))}
    FROM trace
    WHERE (started_us, key) > (?, ?) AND started_us < ?
        AND (cost_source IN (SELECT value FROM json_each(?)) OR ? AND {_UNPRICED_ON_PLAN})
        AND (? IS NULL OR model GLOB ?) AND (? IS NULL OR provider = ?)
    ORDER BY started_us, key LIMIT ?
"""
#: Sorts before every key: SQLite orders numbers before texts, and texts before blobs.
_BEFORE_ANY_KEY: Final = 0
#: What says whether a call has changed since it was read.
_COSTS: Final = value_of(*PRICE[:3])
_NOTE: Final = """
    INSERT INTO repricing (version, selection, started_us) VALUES (?, ?, ?) RETURNING repricing_id
"""
_KEEP: Final = "INSERT INTO cost_change VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
# The key of a pruned call is kept here alone.
_CHANGES: Final = """
    SELECT r.started_us, c.old_nanousd, c.old_source, c.new_nanousd, c.new_source
    FROM cost_change AS c JOIN repricing AS r USING (repricing_id)
    LEFT JOIN call AS t ON t.started_us = c.started_us AND t.key = c.key
    WHERE c.started_us = ?1
        AND (t.call_id = ?2 OR substr(c.key, 1, length(?2) + 1) = ?2 || ' ')
    ORDER BY repricing_id
"""
# What GLOB takes for a pattern, except `*`, which is one in a selection too.
_LITERALLY: Final = str.maketrans({"[": "[[]", "?": "[?]"})


class Selection(NamedTuple):
    """Which calls to price again: of these `cost_source`s, in [since_us, until_us).

    With "unpriced" those on a plan as well of which nobody knows what the API would have asked.
    `model` may have `*` for any characters; None is any model, or any provider.
    """

    sources: tuple[str, ...]
    since_us: int
    until_us: int
    model: str | None = None
    provider: str | None = None


class Change(NamedTuple):
    """One call and what it cost before and after."""

    trace: Trace
    old: Price
    new: Price


class CostChange(NamedTuple):
    """What a call cost before and after a repricing, in nano-dollars, and when that was."""

    at_us: int
    old_nanousd: int | None
    old_source: str
    new_nanousd: int | None
    new_source: str


#: A call as logged, and what it costs so far.
Selected = tuple[Trace, Price]


class Doubtful(NamedTuple):
    """The unpriced calls, or the disputed ones, of one model and tier; costs in nano-dollars.

    `reason` is why they have no price; None of a disputed call, and of an older one.
    """

    provider: str | None
    model: str | None
    tier: str | None
    reason: str | None
    calls: int
    tokens: int | None
    gateway_nanousd: int | None
    table_nanousd: int | None
    last: Trace


class Prices:
    """Keeps rates, and notes what was priced again. `now` is in microseconds since 1970."""

    def __init__(self, ledger: Ledger, now: Callable[[], int]) -> None:
        self._ledger = ledger
        self._now = now

    def pin(self, price: PinnedPrice, unnamed: Callable[[], PinnedPrice]) -> int:
        """Keeps the rates, or notes that the book still has them; returns the id they are kept by.

        They are written with the next transaction: that of the call's row (see `pins`).
        """
        with translated(self._ledger.path):
            return self._ledger.pins.keep(price, unnamed, self._now())

    def pinned(self, provider: str, model: str, tier: str, at_us: int) -> PinnedPrice | None:
        """The price of a table that was last confirmed for such a call, while it held."""
        with translated(self._ledger.path):
            return self._ledger.pins.find(provider, model, tier, at_us)

    def write_pins(self) -> None:
        """Writes the rates that wait although no row was written: no cost changed."""
        if self._ledger.pins.are_waiting:
            with self._ledger.transaction():
                pass

    def fingerprint(self) -> str | None:
        """The fingerprint of the prices that unpriced calls were last tried with; None: of none."""
        row = self._ledger.one("SELECT fingerprint FROM pricing")
        return None if row is None else str(row[0])

    def unpriced_calls(self) -> int:
        """How many calls have no price; those on a plan, none at the API."""
        tallies = TallyReader(self._ledger)
        return tallies.tally("cost_source").get("unpriced", 0) + tallies.unpriced_on_plan()

    def note_fingerprint(self, fingerprint: str) -> None:
        """Notes the prices that all unpriced calls have now been tried with."""
        self._ledger.write("INSERT OR REPLACE INTO pricing VALUES (1, ?)", (fingerprint,))

    def repricing(self, version: str, selection: Selection, started_us: int) -> Repricing:
        """A repricing, which is noted with the first change that it makes."""
        return Repricing(self._ledger, (version, json.dumps(selection._asdict()), started_us))


class Repricing:
    """One run of `reprice`. The mutable state: its id, once it has changed anything."""

    def __init__(self, ledger: Ledger, noted: tuple[str, str, int]) -> None:
        self._ledger = ledger
        self._noted = noted
        self._id: int | None = None

    def write(self, changes: Sequence[Change]) -> list[Change]:
        """Writes changes in one transaction; returns those that were made.

        A call that has changed since it was read is passed over.
        """
        with self._ledger.transaction():
            found = self._update(changes)
            if not found:
                return []
            made = [change for change, _ in found]
            noted = self._id or self._ledger.db.execute(_NOTE, self._noted).get
            self._keep(made, noted)
            after = [at_the_price(change.new, row) for change, row in found]
            self._ledger.mark(after, [row for _, row in found])
        self._id = noted
        return made

    def _update(self, changes: Sequence[Change]) -> list[tuple[Change, Row]]:
        """Makes those changes whose call is as it was; returns each with the row before."""
        rows = self._ledger.rows
        found = [(change, rows.get(_key(change))) for change in changes]
        made = [(c, row) for c, row in found if row is not None and _COSTS(row) == c.old[:3]]
        for change, row in made:
            rows.update(at_the_price(change.new, row))
        return made

    def _keep(self, made: list[Change], repricing_id: int) -> None:
        """Adds to the history."""
        self._ledger.db.executemany(
            _KEEP,
            [
                (*_key(change), repricing_id, *_kept(change.old), *_kept(change.new))
                for change in made
            ],
        )


def _key(change: Change) -> Any:  # noqa: ANN401 - of a call that was read, which has one
    return change.trace[:2]


def _kept(price: Price) -> tuple[int | None, str, int | None]:
    return price.nanousd, price.source, price.price_id


class PriceReader(Struct, frozen=True):
    """The prices that are kept, the calls to price again, and those whose price is in doubt."""

    ledger: Database

    def pin(self, price: PinnedPrice, unnamed: Callable[[], PinnedPrice]) -> int:
        """Keeps nothing, since this connection cannot write."""
        del unnamed
        return price.price_id

    def pinned(self, provider: str, model: str, tier: str, at_us: int) -> PinnedPrice | None:
        """The price of a table that was last confirmed for such a call, while it held."""
        row = self.ledger.one(FIND, (provider, model, tier, at_us))
        return None if row is None else PinnedPrice(*row)

    def rates(self) -> Iterator[tuple[int, str]]:
        """Every price that is kept: its id, and its rates as JSON."""
        return self.ledger.all("SELECT price_id, rates FROM price")

    def days(self, selection: Selection) -> list[int]:
        """The days (since 1970) that have traces in the selection's time, oldest first."""
        first, last = selection.since_us // US_PER_DAY, (selection.until_us - 1) // US_PER_DAY
        sql = "SELECT day FROM partition WHERE day BETWEEN ? AND ? ORDER BY day"
        return [day for (day,) in self.ledger.all(sql, (first, last))]

    def pruned(self, days: list[int]) -> int:
        """How many calls of these days are in snapshots only: they are not priced again."""
        sql = (
            "SELECT coalesce(sum(pruned), 0) FROM partition "
            "WHERE day IN (SELECT value FROM json_each(?))"
        )
        return int(self.ledger.value(sql, (json.dumps(days),)))

    def calls(self, day: int, selection: Selection, most: int) -> Iterator[list[Selected]]:
        """The selected calls of one day in time order, `most` at once, each read as one view.

        Between two reads no view is held open, so that the write-ahead log can be emptied while
        calls are priced. Calls after the last one there is now are left out: more may always come.
        """
        after: tuple[int, Any] = (max(day * US_PER_DAY, selection.since_us), _BEFORE_ANY_KEY)
        until = min((day + 1) * US_PER_DAY, selection.until_us)
        last = self.ledger.value("SELECT max(started_us) FROM call WHERE started_us < ?", (until,))
        end = until if last is None else last + 1
        pattern = None if selection.model is None else selection.model.translate(_LITERALLY)
        provider = selection.provider
        sources, is_unpriced = selection.sources, "unpriced" in selection.sources
        which = (json.dumps(sources), is_unpriced, pattern, pattern, provider, provider, most)
        while rows := list(self.ledger.all(_CALLS, (*after, end, *which))):
            yield [_selected(row) for row in rows]
            after = rows[-1][:2]

    def unpriced(self) -> list[Doubtful]:
        """The models whose calls have no price, most calls first, one for each reason."""
        return self._doubtful("cost_nanousd IS NULL")

    def unpriced_on_plan(self) -> list[Doubtful]:
        """The same of calls on a plan that have no price at the API.

        Looks at all calls, and only where there is one of these.
        """
        some = TallyReader(self.ledger).unpriced_on_plan()
        return self._doubtful(_UNPRICED_ON_PLAN) if some else []

    def disputed(self) -> list[Doubtful]:
        """The models whose cost by gateway and by table is disputed, most calls first."""
        return self._doubtful("disputed = 'yes'")

    def call(self, call_id: str, span: Span | None = None) -> Selected | None:
        """The last call with this id that is not pruned, with what it costs.

        Whoever knows when it was, and gives the span, need not wait for a look at all calls.
        """
        when = "" if span is None else "AND started_us >= ? AND started_us < ?"
        sql = (
            f"SELECT {', '.join(f't.{column}' for column in (*LOGGED, *PRICE))} "
            "FROM trace AS t JOIN trace_exact AS e USING (started_us, key) "
            f"WHERE e.call_id = ? {when} ORDER BY started_us DESC LIMIT 1"
        )
        row = self.ledger.one(sql, (call_id, *(span or ())))
        return None if row is None else _selected(row)

    def changes(self, started_us: int, call_id: str) -> list[CostChange]:
        """How the cost of the call with this id and time changed, the oldest change first."""
        return [CostChange(*row) for row in self.ledger.all(_CHANGES, (started_us, call_id))]

    def _doubtful(self, which: str) -> list[Doubtful]:
        sums = exact_sums(
            [
                "coalesce(total_tokens, coalesce(tokens_in, 0) + coalesce(tokens_out, 0))",
                *("gateway_nanousd", "table_nanousd"),
            ]
        )
        # With a lone max(), SQLite takes the other columns from the row that has it.
        rows = self.ledger.all(
            f"SELECT provider, model, service_tier, unpriced_reason, count(*), max(started_us), "
            f"{', '.join(LOGGED)}, {sums} "
            f"FROM trace WHERE {which} GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC, 1, 2, 3, 4"
        )
        end = 6 + len(LOGGED)
        return [
            Doubtful._make((*row[:5], *joined(row[end:]), Trace._make([*row[6:end], ()])))
            for row in rows
        ]


def _selected(row: tuple[Any, ...]) -> Selected:
    facts, price = row[: len(LOGGED)], row[len(LOGGED) :]
    return Trace._make([*facts, ()]), Price._make(price)
