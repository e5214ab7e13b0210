"""The reading side of the ledger, on a connection that cannot write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import apsw

from prodlensd.model import US_PER_DAY
from prodlensd.store.connection import open_reader, translated


class Heartbeat(NamedTuple):
    """The daemon's last sign of life."""

    pid: int
    version: str
    started_us: int
    beat_us: int
    phase: str
    watcher: str
    fault: str | None


class Tail(NamedTuple):
    """One live source, as of its last read."""

    path: str
    inode: int
    size_bytes: int
    offset: int
    last_read_us: int | None


class Totals(NamedTuple):
    """What the ledger holds."""

    lines: int
    traces: int
    duplicates: int
    dead_letters: int
    blanks: int
    unpriced_traces: int
    open_gaps: int
    known_lost_bytes: int


class Snapshots(NamedTuple):
    """How far the Parquet files are."""

    days: int
    dirty_days: int
    last_compacted_us: int | None


class Refused(NamedTuple):
    """A dead letter but for its bytes, of which `kept_bytes` are there, of `length`."""

    key: bytes
    source_id: int
    path: str
    source_offset: int
    length: int
    kept_bytes: int
    reason: str
    detail: str
    received_us: int


_REFUSED_COLUMNS: Final = (
    "d.key, d.source_id, coalesce(s.path, ''), d.source_offset, d.length, length(d.raw), "
    "d.reason, d.detail, d.received_us"
)
_FROM: Final = "FROM dead_letter AS d LEFT JOIN source AS s USING (source_id)"
_REFUSED: Final = f"SELECT {_REFUSED_COLUMNS} {_FROM}"
_REFUSED_RAW: Final = f"SELECT {_REFUSED_COLUMNS}, d.raw {_FROM}"


class Reader:
    """A read-only view of the ledger, a context manager; raises StoreError when there is none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: apsw.Connection

    def __enter__(self) -> Self:
        self._db = open_reader(self._path)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._db.close()

    def heartbeat(self) -> Heartbeat | None:
        """The daemon's last sign of life; None before the first."""
        row = self._one(
            "SELECT pid, version, started_us, beat_us, phase, watcher, fault FROM daemon"
        )
        return None if row is None else Heartbeat(*row)

    def tails(self) -> list[Tail]:
        """Every live source."""
        return [
            Tail(*row)
            for row in self._all(
                "SELECT path, inode, size_bytes, offset, last_read_us FROM source "
                "WHERE state = 'live'"
            )
        ]

    def totals(self) -> Totals:
        """Totals from the sources' counters: as fast on a large ledger as on a small one."""
        lines, traces, duplicates, dead_letters, blanks = self._row(
            "SELECT coalesce(sum(lines), 0), coalesce(sum(traces), 0), "
            "coalesce(sum(duplicates), 0), coalesce(sum(dead_letters), 0), "
            "coalesce(sum(blanks), 0) FROM source"
        )
        open_gaps, known_lost_bytes = self._row(
            "SELECT count(*), coalesce(sum(known_bytes), 0) FROM gap WHERE state = 'open'"
        )
        return Totals(
            lines=lines,
            traces=traces,
            duplicates=duplicates,
            dead_letters=dead_letters,
            blanks=blanks,
            unpriced_traces=self.tally("cost_source").get("unpriced", 0),
            open_gaps=open_gaps,
            known_lost_bytes=known_lost_bytes,
        )

    def anomalies(self) -> dict[str, int]:
        """How many traces had each anomaly."""
        counts: Counter[str] = Counter()
        for kinds, traces in self.tally("anomalies").items():
            counts.update(dict.fromkeys(kinds.split(","), traces))
        return dict(counts)

    def tally(self, column: str) -> dict[str, int]:
        """How many traces have each value of `cost_source` or of `anomalies`."""
        return dict(
            self._all(
                "SELECT value, traces FROM tally WHERE column = ? AND traces > 0 ORDER BY value",
                (column,),
            )
        )

    def dead_letters(self) -> dict[str, int]:
        """How many dead letters there are of each reason."""
        return dict(
            self._all("SELECT reason, count(*) FROM dead_letter GROUP BY reason ORDER BY reason")
        )

    def refused(self, reason: str | None = None, newest: int | None = None) -> Iterator[Refused]:
        """The dead letters (of one reason), newest first, all of them or so many."""
        return (
            Refused(*row)
            for row in self._all(
                f"{_REFUSED} WHERE ?1 IS NULL OR d.reason = ?1 ORDER BY d.rowid DESC LIMIT ?2",
                (reason, -1 if newest is None else newest),
            )
        )

    def refused_lines(self, reason: str | None = None) -> Iterator[tuple[Refused, bytes]]:
        """The dead letters (of one reason) with their bytes, oldest first, read as one view."""
        sql = f"{_REFUSED_RAW} WHERE ?1 IS NULL OR d.reason = ?1 ORDER BY d.rowid"
        return ((Refused._make(letter), raw) for *letter, raw in self._all(sql, (reason,)))

    def refused_between(self, first: bytes, last: bytes) -> list[tuple[Refused, bytes]]:
        """Of the dead letters with keys between these two: none, the one, or two of too many."""
        sql = f"{_REFUSED_RAW} WHERE d.key BETWEEN ? AND ? LIMIT 2"
        return [(Refused._make(letter), raw) for *letter, raw in self._all(sql, (first, last))]

    def neighbours(self, key: bytes) -> list[bytes]:
        """The keys of the dead letters just before and just after this one, in order of keys."""
        return [
            neighbour
            for (neighbour,) in self._all(
                "SELECT max(key) FROM dead_letter WHERE key < ?1 "
                "UNION ALL SELECT min(key) FROM dead_letter WHERE key > ?1",
                (key,),
            )
            if neighbour is not None
        ]

    def snapshots(self) -> Snapshots:
        """How far the Parquet files are."""
        return Snapshots(
            *self._row(
                "SELECT count(*), coalesce(sum(version > compacted_version), 0), max(compacted_us) "
                "FROM partition"
            )
        )

    def day(self, day: int, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """These columns of one UTC day's traces (days since 1970), in time order, read as one view.

        Beside the columns of the `traces` view there are the exact `started_us` and `cost_nanousd`.
        """
        return self._all(
            f"SELECT {', '.join(columns)} FROM trace_exact "  # noqa: S608 - names of columns
            "WHERE started_us >= ? AND started_us < ? ORDER BY started_us",
            (day * US_PER_DAY, (day + 1) * US_PER_DAY),
        )

    def _all(self, sql: str, bindings: tuple[object, ...] = ()) -> Iterator[tuple[Any, ...]]:
        with translated(self._path):
            yield from self._db.execute(sql, bindings)

    def _one(self, sql: str) -> tuple[Any, ...] | None:
        return next(self._all(sql), None)

    def _row(self, sql: str) -> tuple[Any, ...]:
        return next(self._all(sql))
