"""One call, two witnesses: a line of the proxy's log, and a row of LiteLLM's spend logs.

Both have the id of the response, and by newer versions the id of the call. But not the same start:
a row has milliseconds, and LiteLLM may note another moment there. So the ids tie them, where the
starts are near each other. The call stays where its first witness put it, and every row is noted in
`spend_row`, by which its line finds the call, and a row that is read again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from msgspec import Struct

from prodlensd.ledger.connection import Database, key_digest
from prodlensd.ledger.rows import CALL_ID, KEY, Row
from prodlensd.model import US_PER_S

#: How far the two starts of one call may be apart: a stream is waited for that long at most.
APART_US: Final = 600 * US_PER_S
#: LiteLLM adds the time to the id of a cached response, in each of the two at another moment.
_CACHED: Final = re.compile(r"(?<=_cache_hit)[0-9.]+\Z")

_SPAN: Final = "SELECT min(row_us), max(row_us) FROM spend_row"
_OF_ID: Final = """
    SELECT row_us, suffix, started_us, key, line_us FROM spend_row
    WHERE id = ? AND row_us BETWEEN ? AND ?
"""
_NOTE: Final = "INSERT INTO spend_row VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_NOTE_LINE: Final = "UPDATE spend_row SET line_us = ? WHERE id = ? AND row_us = ? AND suffix = ?"
_NEAR: Final = """
    SELECT started_us, key FROM call WHERE started_us BETWEEN ?1 AND ?2
    UNION ALL SELECT started_us, key FROM pruned WHERE started_us BETWEEN ?1 AND ?2
"""


class Call(NamedTuple):
    """Where a call is: its place in `trace`, or by its digest in `pruned`."""

    started_us: int
    key: str | bytes


class Noted(NamedTuple):
    """A row that was read. `line_us`: the start of the call's line, None before that was read."""

    row_us: int
    suffix: str
    started_us: int
    key: str | bytes
    line_us: int | None

    @property
    def call(self) -> Call:
        """The call that it tells of."""
        return Call(self.started_us, self.key)


def is_of_spend_logs(row: Row) -> bool:
    """Whether it was read from a row of the spend logs (see `formats.fields.row_identity`)."""
    return bool(row[1][0] == " " and " " not in row[1][1:])


class Witnesses(Struct, frozen=True):
    """Finds the call that another witness has told of already."""

    ledger: Database

    def parted(self, rows: list[Row]) -> tuple[list[Row], list[Row]]:
        """The rows that may tell of such a call: of spend logs, and of lines that have one; others.

        Lines are asked for only where rows of the time were read.
        """
        first_us: int | None
        last_us: int
        first_us, last_us = self.ledger.db.execute(_SPAN).get
        if first_us is None and not any(map(is_of_spend_logs, rows)):
            return [], rows
        told: list[Row] = []
        others: list[Row] = []
        for row in rows:
            near = first_us is not None and first_us - APART_US <= row[0] <= last_us + APART_US
            is_told = is_of_spend_logs(row) or (near and any(self._noted(*row[KEY])))
            (told if is_told else others).append(row)
        return told, others

    def of_line(self, row: Row) -> Noted | None:
        """The row of spend logs that tells of the call of this line."""
        call_id = row[1].partition(" ")[0]
        free: list[Noted] = []
        for noted in self._noted(*row[KEY]):
            if noted.line_us == row[0]:
                return noted
            if noted.line_us is None and self._may_be(noted, call_id):
                free.append(noted)
        return min(free, key=lambda noted: abs(noted.row_us - row[0]), default=None)

    def note_line(self, row: Row, noted: Noted) -> None:
        """Notes that this line tells of the call as well."""
        noted_as = (row[0], _id_of(row[1])[0], noted.row_us, noted.suffix)
        self.ledger.db.execute(_NOTE_LINE, noted_as)

    def _may_be(self, noted: Noted, call_id: str) -> bool:
        """Whether the row names this call id, or none, or is in a snapshot only."""
        sql = "SELECT call_id FROM call WHERE started_us = ? AND key = ?"
        said = self.ledger.db.execute(sql, noted.call).get
        return said in (None, call_id) or noted.key == f" {said}"

    def known_as(self, started_us: int, key: str | bytes) -> Call | None:
        """Where the call of this line or row is, which another witness put there."""
        for noted in self._noted(started_us, key):
            is_row = key[0] == " "
            if noted.suffix == _id_of(str(key))[1] if is_row else noted.line_us == started_us:
                return noted.call
        return None

    def _noted(self, started_us: int, key: str | bytes) -> Iterator[Noted]:
        """The rows with the id of this key's response, of about this time."""
        if isinstance(key, str):
            asked = (_id_of(key)[0], started_us - APART_US, started_us + APART_US)
            for noted in self.ledger.db.execute(_OF_ID, asked).fetchall():
                yield Noted._make(noted)

    def call_of_row(self, row: Row, near: Near) -> Call | None:
        """Where the call of this row is, which a line or the row itself has told of."""
        _, suffix = _id_of(row[1])
        taken = set()
        for noted in self._noted(*row[KEY]):
            if noted.suffix == suffix:
                return noted.call
            taken.add(noted.call)
        calls = [call for call in near.get(row[:2], ()) if call not in taken]
        return min(calls, key=lambda call: abs(call.started_us - row[0]), default=None)

    def note(self, row: Row, call: Call) -> None:
        """Notes that this row was read, and tells of this call."""
        id_, suffix = _id_of(row[1])
        line_us = None if call.key == row[1] else call.started_us
        self.ledger.db.execute(_NOTE, (id_, row[0], suffix, *call, line_us))

    def near(self, rows: list[Row]) -> Near:
        """For each of these rows of spend logs, the calls of lines of about its time with its ids.

        The calls of that time are read once for all the rows of it. A pruned call is found only by
        both of its ids.
        """
        wanted: dict[str | bytes, list[Row]] = {}
        for row in rows:
            id_, _ = _id_of(row[1])
            wanted.setdefault(id_, []).append(row)
            if (call_id := _call_id(row)) is not None:
                wanted.setdefault(key_digest(f"{call_id} {row[1][1:]}"), []).append(row)
        found: Near = {}
        for begin_us, end_us in spans(row[0] for row in rows):
            for started_us, key in self.ledger.db.execute(_NEAR, (begin_us, end_us)):
                for row in wanted.get(key if isinstance(key, bytes) else _id_of(key)[0], ()):
                    if _is_line_of(row, started_us, key):
                        found.setdefault(row[:2], []).append(Call(started_us, key))
        return found


#: The start and the key of a row → calls that it may tell of.
Near = dict[tuple[int, str], list[Call]]


def _is_line_of(row: Row, started_us: int, key: str | bytes) -> bool:
    if abs(started_us - row[0]) > APART_US:
        return False
    if isinstance(key, bytes):
        return True
    call_id, _, _ = key.partition(" ")
    return bool(call_id) and _call_id(row) in (None, call_id)


def _call_id(row: Row) -> str | None:
    """The call id of a row of the spend logs; None where it names none."""
    said: str = row[CALL_ID]
    return None if row[1] == f" {said}" else said


def _id_of(key: str) -> tuple[str, str]:
    """The response's id in a key, and the time that LiteLLM added to it."""
    id_ = key.partition(" ")[2]
    if added := _CACHED.search(id_):
        return id_[: added.start()], added[0]
    return id_, ""


def spans(starts_us: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The times that are near these, put together where they touch."""
    begin_us = end_us = None
    for start_us in sorted(starts_us):
        if begin_us is None or end_us is None:
            begin_us = start_us - APART_US
        elif start_us - APART_US > end_us:
            yield begin_us, end_us
            begin_us = start_us - APART_US
        end_us = start_us + APART_US
    if begin_us is not None and end_us is not None:
        yield begin_us, end_us
