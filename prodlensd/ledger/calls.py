"""All calls, those included that were pruned from the ledger: these are loaded from the snapshots.

A pruned call is what its snapshot holds together with what stayed in `pruned` and `fact`. Which
rows of a snapshot count is for the ledger to say, as of the moment that is read: a file that was
written meanwhile holds them too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from prodlensd.ledger.connection import LedgerError, translated
from prodlensd.ledger.days import DayReader, Partition, span_of
from prodlensd.model import US_PER_DAY

#: What is loaded of a snapshot's row.
LOADED: Final = (
    "source_id source_offset call_id session_id developer_id repo_slug model provider "
    "tokens_in tokens_out total_tokens cache_read_tokens cache_write_tokens reasoning_tokens "
    "latency_ms status cost_nanousd cost_source"
).split()
#: The pruned calls that are loaded, with these columns of `trace`.
PRUNED_CALLS: Final = "temp.pruned_call"
_KEPT: Final = ("started_us", "key", "session_via", "developer_via", "anomalies", "disputed")

# ruff: noqa: S608 - statements are put together from names of columns
_COLUMNS: Final = ", ".join([*_KEPT, *LOADED])
_CREATE: Final = f"""
    CREATE TEMP TABLE loaded ({", ".join(LOADED)}, PRIMARY KEY (source_id, source_offset))
        WITHOUT ROWID;
    CREATE TEMP TABLE pruned_call ({_COLUMNS}, PRIMARY KEY (started_us, key)) WITHOUT ROWID;
    CREATE TEMP VIEW call AS
        SELECT {_COLUMNS} FROM trace UNION ALL SELECT {_COLUMNS} FROM temp.pruned_call;
"""
_LOAD: Final = f"INSERT OR IGNORE INTO temp.loaded VALUES ({','.join('?' * len(LOADED))})"
_JOIN: Final = f"""
    INSERT INTO temp.pruned_call SELECT
        started_us, key, facts ->> 0, facts ->> 1, facts ->> 3,
        CASE WHEN gateway_nanousd > 0 AND (
            gateway_nanousd > 2 * table_nanousd OR table_nanousd > 2 * gateway_nanousd
        ) THEN 'yes' END,
        {", ".join(LOADED)}
    FROM pruned JOIN fact USING (fact_id) JOIN temp.loaded USING (source_id, source_offset)
    WHERE started_us >= ? AND started_us < ?
"""


class CallReader(DayReader):
    """A read-only view of the ledger, to which pruned calls can be added.

    The mutable state: the temporary tables of its connection, and `_calls`, what to ask for calls.
    """

    _calls = "trace"

    def pruned_days(self, from_us: int, until_us: int) -> list[Partition]:
        """The days of the span that have pruned calls."""
        first, last = from_us // US_PER_DAY, (until_us - 1) // US_PER_DAY
        return [p for p in self.partitions().values() if p.pruned and first <= p.day <= last]

    def load(self, partition: Partition, rows: Iterable[tuple[Any, ...]]) -> None:
        """Adds the pruned calls of a day, found among `rows` of LOADED, those of its snapshot.

        Raises LedgerError when not all are found; none is added then.
        """
        with translated(self._path):
            if self._calls == "trace":
                self._db.execute(_CREATE)
                self._calls = "temp.call"
            self._db.executemany(_LOAD, rows)
            self._db.execute(_JOIN, span_of(partition.day))
            found = self._db.changes()
            self._db.execute("DELETE FROM temp.loaded")
            if found != partition.pruned:
                self._db.execute(f"DELETE FROM {PRUNED_CALLS}")
                raise LedgerError(
                    f"its snapshot holds {found} of the {partition.pruned} calls that were pruned"
                )

    def forget(self) -> None:
        """Takes all pruned calls out again."""
        with translated(self._path):
            if self._calls != "trace":
                self._db.execute(f"DELETE FROM {PRUNED_CALLS}")
