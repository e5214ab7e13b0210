"""All calls: those in the ledger, and the pruned ones, which are loaded from their snapshots.

A pruned call is a row of its snapshot together with what stayed in `pruned` (and what earlier
versions kept: see `earlier`). A snapshot can hold more rows than were pruned at the moment that is
read: those are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from prodlensd.ledger import earlier
from prodlensd.ledger.connection import Database, LedgerError, key_digest, translated
from prodlensd.ledger.days import Partition, span_of
from prodlensd.ledger.rows import KEY, Row
from prodlensd.ledger.schema import DISPUTED
from prodlensd.ledger.sources import Place
from prodlensd.ledger.transcript_calls import TranscriptCalls, is_of_transcript
from prodlensd.ledger.witnesses import Call, Witnesses, is_of_spend_logs

#: The columns that are loaded of a snapshot's row.
LOADED: Final = (
    "source_id source_offset call_id session_id session_via developer_id developer_via repo_slug "
    "model provider "
    "tokens_in tokens_out total_tokens cache_read_tokens cache_write_tokens reasoning_tokens "
    "latency_ms status cost_nanousd cost_source unpriced_reason gateway_nanousd table_nanousd "
    "anomalies team"
).split()
#: The pruned calls that are loaded, with these columns of `trace`.
PRUNED_CALLS: Final = "temp.pruned_call"

# ruff: noqa: S608 - statements are put together from names of columns
_COLUMNS: Final = ", ".join(["started_us", "key", "disputed", *LOADED])
_CREATE: Final = f"""
    CREATE TEMP TABLE loaded ({", ".join(LOADED)}, PRIMARY KEY (source_id, source_offset))
        WITHOUT ROWID;
    CREATE TEMP TABLE pruned_call ({_COLUMNS}, PRIMARY KEY (started_us, key)) WITHOUT ROWID;
    CREATE TEMP VIEW known_call AS
        SELECT {_COLUMNS.replace("team", "details ->> 'team' AS team")} FROM trace
        UNION ALL SELECT {_COLUMNS} FROM temp.pruned_call;
"""
_LOAD: Final = f"INSERT OR IGNORE INTO temp.loaded VALUES ({','.join('?' * len(LOADED))})"
_WHOLE: Final = ", ".join(
    f"coalesce(l.{name}, {earlier.SQL[name]}) AS {name}" if name in earlier.SQL else f"l.{name}"
    for name in LOADED
)
_JOIN: Final = f"""
    INSERT INTO temp.pruned_call SELECT started_us, key, {DISPUTED}, {", ".join(LOADED)} FROM (
        SELECT p.started_us, p.key, {_WHOLE}
        FROM {earlier.JOINED} JOIN temp.loaded AS l
            ON l.source_id = p.source_id AND l.source_offset = p.source_offset
        WHERE p.started_us >= ? AND p.started_us < ?
    )
"""
_OF_BOTH: Final = (
    "SELECT {0}(at_us) FROM (SELECT {0}(started_us) AS at_us FROM call {1} "
    "UNION ALL SELECT {0}(started_us) FROM pruned {1})"
)


class CallReader:
    """All calls: those in the ledger, and the pruned ones that were loaded.

    The mutable state: the temporary tables of the connection, and `table`, what to ask for calls.
    """

    def __init__(self, ledger: Database) -> None:
        self._ledger = ledger
        self.table = "trace"

    def recent_names(self, column: str, *, among: int) -> list[str]:
        """The values that a column of names has among so many of the newest calls, sorted."""
        newest = f"SELECT {column} AS name FROM trace ORDER BY started_us DESC LIMIT ?"
        found = self._ledger.all(
            f"SELECT DISTINCT name FROM ({newest}) WHERE name IS NOT NULL ORDER BY name", (among,)
        )
        return [name for (name,) in found]

    def load(self, partition: Partition, rows: Iterable[tuple[Any, ...]]) -> None:
        """Adds the pruned calls of a day; `rows` has LOADED of every row of its snapshot.

        Raises LedgerError, and adds none, when not all of them are among the rows.
        """
        db = self._ledger.db
        with translated(self._ledger.path):
            if self.table == "trace":
                db.execute(_CREATE)
                self.table = "temp.known_call"
            db.executemany(_LOAD, rows)
            db.execute(_JOIN, span_of(partition.day))
            found = db.changes()
            db.execute("DELETE FROM temp.loaded")
            if found != partition.pruned:
                db.execute(f"DELETE FROM {PRUNED_CALLS}")
                raise LedgerError(
                    f"its snapshot holds {found} of the {partition.pruned} calls that were pruned"
                )

    def forget(self) -> None:
        """Removes the pruned calls again."""
        with translated(self._ledger.path):
            if self.table != "trace":
                self._ledger.db.execute(f"DELETE FROM {PRUNED_CALLS}")

    def first_us(self, from_us: int, until_us: int) -> int | None:
        """When the first call of the span started, loaded or not; None when it has none."""
        sql = _OF_BOTH.format("min", "WHERE started_us >= ?1 AND started_us < ?2")
        at_us: int | None = self._ledger.value(sql, (from_us, until_us))
        return at_us

    def last_us(self) -> int | None:
        """When the last call of all started, loaded or not."""
        at_us: int | None = self._ledger.value(_OF_BOTH.format("max", ""))
        return at_us

    def places(self, keys: Iterable[tuple[Any, ...]]) -> Iterator[Place | None]:
        """For each (start time, key) in turn, where that call was read; None when it is not known.

        Pruned calls are found whether they are loaded or not, and a call of which another witness
        told first (see `witnesses`) where that was read.
        """
        places = (
            f"SELECT source_id, source_offset FROM {table} WHERE started_us = ?1 AND key = {key}"
            for table, key in (("call", "?2"), ("pruned", "?3"))
        )
        # An aggregate gives one row for each key, whether the trace is there or not.
        sql = f"SELECT max(source_id), max(source_offset) FROM ({' UNION ALL '.join(places)})"
        asked = [(started_us, key, key_digest(key)) for started_us, key in keys]
        with translated(self._ledger.path):
            found = self._ledger.db.executemany(sql, asked)
            for (*at, _), (source_id, offset) in zip(asked, found, strict=True):
                if source_id is None and (call := self._elsewhere(*at)) is not None:
                    where = (*call, key_digest(call.key))
                    source_id, offset = self._ledger.db.execute(sql, where).get  # noqa: PLW2901
                yield None if source_id is None else (source_id, offset)

    def _elsewhere(self, started_us: int, key: str | bytes) -> Call | None:
        """Where the call of this line or row is, if another witness put it there."""
        calls = TranscriptCalls(self._ledger)
        noted = calls.of(str(key)) if is_of_transcript(key) else calls.of_proxied(started_us, key)
        if noted is not None:
            return noted.call
        return Witnesses(self._ledger).known_as(started_us, key)

    def known(self, rows: Sequence[Row]) -> Iterator[bool]:
        """For each of these rows, whether its call is known, by itself or by another witness."""
        witnesses, transcripts = Witnesses(self._ledger), TranscriptCalls(self._ledger)
        places = list(self.places(row[KEY] for row in rows))
        with translated(self._ledger.path):
            near = witnesses.near([row for row in rows if is_of_spend_logs(row)])
            proxied = transcripts.proxied([row for row in rows if is_of_transcript(row[1])])
            for row, place in zip(rows, places, strict=True):
                if place is not None or isinstance(row[1], bytes):
                    yield place is not None
                elif is_of_transcript(row[1]):
                    yield row[1] in proxied
                elif transcripts.of_proxied(*row[KEY]) is not None:
                    yield True
                elif is_of_spend_logs(row):
                    yield witnesses.call_of_row(row, near) is not None
                else:
                    yield witnesses.of_line(row) is not None
