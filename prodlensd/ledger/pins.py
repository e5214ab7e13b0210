"""The rates that calls are priced at: each is kept for good, with the first row that needs it.

The rates are written in the same transaction as the call that was priced at them. Until then they
wait in memory. They still wait after a transaction that failed: the call is not priced again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import apsw

from prodlensd.model import PinnedPrice

#: How many prices are kept with the names of the calls that they were asked for. A log may hold any
#: number of made-up names; beyond this, a price is kept once, without names.
MOST_NAMED: Final = 10_000

_FIELDS: Final = ", ".join(PinnedPrice._fields)
# ruff: noqa: S608 - statements are put together from names of columns
_WRITE: Final = f"""
    INSERT INTO price ({_FIELDS}, pinned_us, confirmed_us)
    VALUES ({",".join("?" * len(PinnedPrice._fields))}, ?, ?)
    ON CONFLICT DO UPDATE SET confirmed_us = excluded.confirmed_us
"""
# A price that is in the book no more held until the book was last known to have it.
FIND: Final = f"""
    SELECT {_FIELDS.replace("until_us", "min(until_us, confirmed_us + 1)")}
    FROM price
    WHERE provider = ? AND model = ? AND tier = ? AND source = 'table'
        AND ? BETWEEN from_us AND min(until_us - 1, confirmed_us)
    ORDER BY confirmed_us DESC LIMIT 1
"""
#: Provider, model and tier of a call, as logged.
_Call = tuple[str, str, str]


class Pins:
    """The prices of a ledger. The mutable state: those that wait, by call and by id, and `_room`.

    `_room` is how many more may be kept with names; None: not counted since the last were written.
    """

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._waiting: dict[_Call, dict[int, tuple[PinnedPrice, int]]] = {}
        self._room: int | None = None

    @property
    def are_waiting(self) -> bool:
        """Whether any are yet to be written."""
        return bool(self._waiting)

    def keep(self, price: PinnedPrice, unnamed: Callable[[], PinnedPrice], now_us: int) -> int:
        """Keeps the price, confirmed now, for the next transaction; returns the id it is kept by.

        Once there is no room for more names, the unnamed price is kept in its place.
        """
        if not self._is_known(price):
            if self._count_room() > 0:
                self._room = self._count_room() - 1
            else:
                price = unnamed()
        of_call = self._waiting.setdefault(price[2:5], {})
        of_call.pop(price.price_id, None)  # the last one confirmed comes last
        of_call[price.price_id] = price, now_us
        return price.price_id

    def find(self, provider: str, model: str, tier: str, at_us: int) -> PinnedPrice | None:
        """The price of a table that was last confirmed for such a call, while it held.

        It held until its book was last known to have it. Raises apsw.Error.
        """
        call = (provider, model, tier)
        for price, confirmed_us in reversed(self._waiting.get(call, {}).values()):
            held = price._replace(until_us=min(price.until_us, confirmed_us + 1))
            if price.source == "table" and held.from_us <= at_us < held.until_us:
                return held
        row = self._db.execute(FIND, (*call, at_us)).fetchone()
        return None if row is None else PinnedPrice(*row)

    def write(self) -> None:
        """Writes the prices that wait, within a transaction."""
        self._db.executemany(
            _WRITE,
            [
                (*price, confirmed_us, confirmed_us)
                for of_call in self._waiting.values()
                for price, confirmed_us in of_call.values()
            ],
        )

    def settle(self) -> None:
        """Forgets those that wait: the transaction that wrote them is committed."""
        if self._waiting:
            self._waiting = {}
            self._room = None

    def _is_known(self, price: PinnedPrice) -> bool:
        if price.price_id in self._waiting.get(price[2:5], ()):
            return True
        known = "SELECT 1 FROM price WHERE price_id = ?"
        return self._db.execute(known, (price.price_id,)).get is not None

    def _count_room(self) -> int:
        if self._room is None:
            counted = f"SELECT count(*) FROM (SELECT 1 FROM price LIMIT {MOST_NAMED})"
            self._room = MOST_NAMED - int(self._db.execute(counted).get)
        return self._room
