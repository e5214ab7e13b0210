"""Writes the rows of `trace` where they are kept: what a call has for itself, and what is common.

Who called which model, through what and how it ended, many calls have in common: that is a row of
`common`, kept once for all of them, and a row of `call` has its number. So a call takes a third of
the room, and of the time to write and to read it. Such a row serves one era, 30 days, and goes when
no call of that time is left (see `partitions`).
"""

from __future__ import annotations

from typing import Final

import apsw
import orjson

from prodlensd.ledger.rows import COLUMNS, COMMON, KEY, OWN, Row, value_of
from prodlensd.model import US_PER_DAY, digest_of

ERA_US: Final = 30 * US_PER_DAY
#: Of these a change of the row is none: the key, and where it was first read.
_FOR_GOOD: Final = ("started_us", "key", "source_id", "source_offset")
_CHANGED: Final = tuple(column for column in OWN if column not in _FOR_GOOD)
_common: Final = value_of(*COMMON)
_own: Final = value_of(*OWN)
_changed: Final = value_of(*_CHANGED)
#: How many rows of `common` are remembered: some megabytes.
_MOST_REMEMBERED: Final = 8192

# ruff: noqa: S608 - statements are put together from names of columns
# Short, because apsw finds a prepared statement by its text, for every row.
_INSERT: Final = f"INSERT INTO call VALUES ({','.join('?' * len(OWN))},?)"
_INSERT_NEW: Final = f"{_INSERT} ON CONFLICT DO NOTHING"
_SELECT: Final = f"SELECT {','.join(COLUMNS)} FROM trace WHERE started_us = ? AND key = ?"
_UPDATE: Final = (
    f"UPDATE call SET ({','.join(_CHANGED)},common_id) = ({','.join('?' * len(_CHANGED))},?) "
    "WHERE started_us = ? AND key = ?"
)
_DELETE: Final = "DELETE FROM call WHERE started_us = ? AND key = ?"
_FIND: Final = "SELECT common_id FROM common WHERE digest = ?"
_ADD: Final = (
    f"INSERT INTO common (digest, era, {','.join(COMMON)}) VALUES ({','.join('?' * len(COMMON))},"
    "?,?) RETURNING common_id"
)
# Before 1970 an era begins below as well. Without any call, all rows go.
_FIRST_ERA: Final = (
    f"(min(started_us) - (min(started_us) % {ERA_US} + {ERA_US}) % {ERA_US}) / {ERA_US}"
)
_DROP: Final = f"""
    DELETE FROM common WHERE common_id IN (
        SELECT common_id FROM common
        WHERE era < coalesce((SELECT {_FIRST_ERA} FROM call), {2**63 - 1}) LIMIT ?
    )
"""
#: An era, and the values of COMMON.
_Common = tuple[int, Row]


class CallRows:
    """The rows, within a transaction.

    The mutable state: numbers of rows of `common` that are remembered, for as long as nobody else
    writes and no transaction fails.
    """

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._remembered: dict[_Common, int] = {}
        self._version: int | None = None
        self._is_settled = True

    def begin(self) -> None:
        """Begins a transaction: since the last, others may have deleted rows of `common`."""
        version = self._db.pragma("data_version")
        if version != self._version or not self._is_settled:
            self._remembered.clear()
        self._version, self._is_settled = version, False

    def settle(self) -> None:
        """Ends a transaction that did not fail."""
        self._is_settled = True

    def get(self, call: tuple[int, str | bytes]) -> Row | None:
        """The row of a call; None when there is none here."""
        row: Row | None = self._db.execute(_SELECT, call).fetchone()
        return row

    def insert(self, rows: list[Row]) -> None:
        """Inserts all rows; where one is known, raises apsw.ConstraintError and inserts none."""
        parts = list(map(self._parts, rows))
        with self._db:
            self._db.executemany(_INSERT, parts)

    def insert_new(self, row: Row) -> bool:
        """Inserts the row; False when its call is known."""
        self._db.execute(_INSERT_NEW, self._parts(row))
        return self._db.changes() == 1

    def update(self, row: Row) -> None:
        """Writes the row of a known call, all but where that was first read."""
        self._db.execute(_UPDATE, (*_changed(row), self._common_id(row), *row[KEY]))

    def delete(self, row: Row) -> None:
        """Deletes the row."""
        self._db.execute(_DELETE, row[KEY])

    def drop_common(self, most: int) -> int:
        """Deletes what only calls of eras before the first call had in common; returns how much.

        `most` rows at most.
        """
        self._remembered.clear()
        self._db.execute(_DROP, (most,))
        return self._db.changes()

    def _parts(self, row: Row) -> Row:
        """The row as `call` has it."""
        return (*_own(row), self._common_id(row))

    def _common_id(self, row: Row) -> int:
        common = (row[0] // ERA_US, _common(row))
        found = self._remembered.get(common)
        return self._find(common) if found is None else found

    def _find(self, common: _Common) -> int:
        """The number of a row of `common`, which is written when there is none."""
        era, values = common
        # SQLite has no truth values: what it gives back of them are numbers.
        said = [
            value if value is None or isinstance(value, str) else int(value) for value in values
        ]
        digest = digest_of(orjson.dumps([era, *said]))
        found = self._db.execute(_FIND, (digest,)).get
        if found is None:
            found = self._db.execute(_ADD, (digest, era, *said)).get
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[common] = common_id = int(found)
        return common_id
