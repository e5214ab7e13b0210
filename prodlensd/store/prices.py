"""What calls were priced at, and what changed about it: pinned rates, repricings and their history.

No cost changes but by a repricing, and each change is kept.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Final, NamedTuple

from prodlensd.model import US_PER_DAY, PinnedPrice, Price, Trace
from prodlensd.store.connection import translated
from prodlensd.store.reading import Reader
from prodlensd.store.store import TOTALLED, Store, Totals, disputed
from prodlensd.store.sums import exact_sums, joined

# ruff: noqa: S608 - statements are put together from names of columns
_FACTS: Final = Trace._fields[: Trace._fields.index("cost_gateway_usd")]
_NANO: Final = 1e9

_PIN: Final = f"""
    INSERT INTO price VALUES ({",".join("?" * len(PinnedPrice._fields))}, ?, ?)
    ON CONFLICT DO UPDATE SET confirmed_us = excluded.confirmed_us
"""
# What a book has lost since was its price for as long as it said so, and not a moment longer.
_PINNED: Final = f"""
    SELECT {", ".join(PinnedPrice._fields).replace("until_us", "min(until_us, confirmed_us + 1)")}
    FROM price
    WHERE provider = ? AND model = ? AND tier = ? AND source = 'table'
        AND ? BETWEEN from_us AND min(until_us - 1, confirmed_us)
    ORDER BY confirmed_us DESC LIMIT 1
"""
_CALLS: Final = f"""
    SELECT {", ".join(_FACTS)}, gateway_nanousd, cost_nanousd, cost_source, table_nanousd, price_id
    FROM trace
    WHERE started_us >= ? AND started_us < ?
        AND cost_source IN (SELECT value FROM json_each(?))
        AND (? IS NULL OR model GLOB ?) AND (? IS NULL OR provider = ?)
    ORDER BY started_us
"""
# What the tallies and totals need is told as it is now, not as it was when the call was looked at.
_CHANGE: Final = f"""
    UPDATE trace SET cost_nanousd = ?, cost_source = ?, table_nanousd = ?, price_id = ?
    WHERE started_us = ? AND key = ?
        AND cost_nanousd IS ? AND cost_source = ? AND table_nanousd IS ?
    RETURNING gateway_nanousd, {", ".join(TOTALLED[1:])}
"""
_NOTE: Final = """
    INSERT INTO repricing (version, selection, started_us) VALUES (?, ?, ?) RETURNING repricing_id
"""
_KEEP: Final = "INSERT INTO cost_change VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
#: What GLOB takes for a pattern, but for the `*` that is meant so.
_LITERALLY: Final = str.maketrans({"[": "[[]", "?": "[?]"})


class Selection(NamedTuple):
    """Which calls to price again: of these `cost_source`s, in [since_us, until_us).

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
    gateway_nanousd: int | None
    old: Price
    new: Price


class Doubtful(NamedTuple):
    """Calls of one model and tier that are unpriced, or disputed; costs in nano-dollars."""

    provider: str | None
    model: str | None
    tier: str | None
    calls: int
    tokens: int | None
    gateway_nanousd: int | None
    table_nanousd: int | None
    last_us: int


class Prices:
    """The writing side. Pins rates, and writes the changes of a repricing."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def pin(self, price: PinnedPrice) -> None:
        """Keeps the rates for good, or notes that the book still says so."""
        now_us = time.time_ns() // 1000
        with self._store.transaction():
            self._store.db.execute(_PIN, (*price, now_us, now_us))

    def pinned(self, provider: str, model: str, tier: str, at_us: int) -> PinnedPrice | None:
        """The newest list price kept for such a call, from when a book still knew it."""
        with translated(self._store.path):
            row = self._store.db.execute(_PINNED, (provider, model, tier, at_us)).fetchone()
        return None if row is None else PinnedPrice(*row)

    def fingerprint(self) -> str | None:
        """What the calls that nobody could price were last priced by."""
        with translated(self._store.path):
            row = self._store.db.execute("SELECT fingerprint FROM pricing").fetchone()
        return None if row is None else str(row[0])

    def unpriced_calls(self) -> int:
        """How many calls have no price."""
        with translated(self._store.path):
            row = self._store.db.execute(
                "SELECT traces FROM tally WHERE column = 'cost_source' AND value = 'unpriced'"
            ).fetchone()
        return 0 if row is None else int(row[0])

    def note_fingerprint(self, fingerprint: str) -> None:
        """Notes what the unpriced calls have now been priced by."""
        with self._store.transaction():
            self._store.db.execute("INSERT OR REPLACE INTO pricing VALUES (1, ?)", (fingerprint,))

    def repricing(self, version: str, selection: Selection, started_us: int) -> Repricing:
        """A repricing, which is noted with the first change that it makes."""
        noted = (version, json.dumps(selection._asdict()), started_us)
        return Repricing(self._store, noted)


class Repricing:
    """One run of `reprice`. Its only state: as which it is noted, once it has changed anything."""

    def __init__(self, store: Store, noted: tuple[str, str, int]) -> None:
        self._store = store
        self._noted = noted
        self._id: int | None = None

    def write(self, day: int, changes: Iterator[Change]) -> Iterator[Change]:
        """Writes the changes of one day in one transaction, and yields those that were made.

        A call that changed since it was looked at is passed over.
        """
        # Looking for a first change holds nobody up: the transaction begins with it.
        for first in changes:
            with self._store.transaction():
                yield from self._write(day, chain((first,), changes))

    def _write(self, day: int, changes: Iterable[Change]) -> Iterator[Change]:
        db = self._store.db
        costs: Counter[str | None] = Counter()
        disputes: Counter[str | None] = Counter()
        totals: Totals = defaultdict(lambda: [0] * len(TOTALLED))
        for change in changes:
            trace, _, old, new = change
            key = trace.started_us, trace.key
            row = db.execute(_CHANGE, (*new, *key, *old[:3])).get
            if row is None:
                continue
            gateway, *tokens = row
            if self._id is None:
                self._id = db.execute(_NOTE, self._noted).get
            was, now = ((p.nanousd, p.source, p.price_id) for p in (old, new))
            db.execute(_KEEP, (*key, self._id, *was, *now))
            costs.update({new.source: 1})
            costs.subtract({old.source: 1})
            disputes.update({disputed(gateway, new.table_nanousd): 1})
            disputes.subtract({disputed(gateway, old.table_nanousd): 1})
            for price, sign in ((old, -1), (new, 1)):
                sums = totals[price.source]
                for column, value in enumerate((price.nanousd, *tokens)):
                    sums[column] += sign * (value or 0)
            yield change
        if costs:
            self._store.tally("cost_source", costs)
            self._store.tally("disputed", disputes)
            self._store.total(totals)
            self._store.mark_dirty([day])


class PriceReader(Reader):
    """The reading side."""

    def pin(self, price: PinnedPrice) -> None:
        """Keeps nothing: this side only reads."""

    def pinned(self, provider: str, model: str, tier: str, at_us: int) -> PinnedPrice | None:
        """The newest list price kept for such a call, from when a book still knew it."""
        row = next(self._all(_PINNED, (provider, model, tier, at_us)), None)
        return None if row is None else PinnedPrice(*row)

    def days(self, selection: Selection) -> list[int]:
        """The days (since 1970) that have traces in the selection's time, oldest first."""
        first, last = selection.since_us // US_PER_DAY, (selection.until_us - 1) // US_PER_DAY
        sql = "SELECT day FROM partition WHERE day BETWEEN ? AND ? ORDER BY day"
        return [day for (day,) in self._all(sql, (first, last))]

    def pruned(self, days: list[int]) -> int:
        """How many calls of these days are in snapshots only: they keep their prices."""
        sql = (
            "SELECT coalesce(sum(pruned), 0) FROM partition "
            "WHERE day IN (SELECT value FROM json_each(?))"
        )
        ((calls,),) = self._all(sql, (json.dumps(days),))
        return int(calls)

    def calls(self, day: int, selection: Selection) -> Iterator[tuple[Trace, int | None, Price]]:
        """The calls of one day: as logged, the gateway's cost, and what each costs so far."""
        start = max(day * US_PER_DAY, selection.since_us)
        end = min((day + 1) * US_PER_DAY, selection.until_us)
        pattern = None if selection.model is None else selection.model.translate(_LITERALLY)
        asked: tuple[Any, ...] = (start, end, json.dumps(selection.sources), pattern, pattern)
        for row in self._all(_CALLS, (*asked, selection.provider, selection.provider)):
            *facts, gateway_nanousd, nanousd, source, table_nanousd, price_id = row
            gateway_usd = None if gateway_nanousd is None else gateway_nanousd / _NANO
            price = Price(nanousd, source, table_nanousd, price_id)
            yield Trace._make([*facts, gateway_usd, ()]), gateway_nanousd, price

    def unpriced(self) -> list[Doubtful]:
        """The models whose calls have no price, most calls first."""
        return self._doubtful("cost_source = 'unpriced'")

    def disputed(self) -> list[Doubtful]:
        """The models whose price the gateway and the table do not agree on, most calls first."""
        return self._doubtful("disputed = 'yes'")

    def _doubtful(self, which: str) -> list[Doubtful]:
        sums = exact_sums(
            [
                "coalesce(total_tokens, coalesce(tokens_in, 0) + coalesce(tokens_out, 0))",
                *("gateway_nanousd", "table_nanousd"),
            ]
        )
        rows = self._all(
            f"SELECT provider, model, service_tier, count(*), max(started_us), {sums} "
            f"FROM trace WHERE {which} GROUP BY 1, 2, 3 ORDER BY 4 DESC, 1, 2, 3"
        )
        return [Doubtful._make((*row[:4], *joined(row[5:]), row[4])) for row in rows]
