"""The reading side of the ledger, on a connection that cannot write."""

# ruff: noqa: S608 - statements are put together from names of columns

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import apsw

from prodlensd.model import US_PER_DAY, Checkpoint
from prodlensd.store.connection import key_digest, open_reader, translated


class Heartbeat(NamedTuple):
    """The daemon's last sign of life."""

    pid: int
    version: str
    started_us: int
    beat_us: int
    phase: str
    watcher: str
    fault: str | None
    measures: str | None  # JSON of a meter.Measures


class Tail(NamedTuple):
    """One live source, as of its last read or, before that, as of when it was found: `as_of_us`.

    Of a gzip file of which anything was read, both sizes are those of its content.
    """

    path: str
    inode: int
    size_bytes: int
    offset: int
    last_read_us: int | None
    as_of_us: int = 0
    source_id: int = 0
    dev: int = 0
    is_gzip: bool = False  # 0 or 1


class Totals(NamedTuple):
    """What the ledger holds."""

    lines: int
    traces: int
    duplicates: int
    dead_letters: int
    blanks: int
    unpriced_traces: int
    disputed_traces: int
    open_gaps: int
    known_lost_bytes: int


class Snapshots(NamedTuple):
    """How far the Parquet files are."""

    days: int
    dirty_days: int
    last_compacted_us: int | None
    pruned_traces: int  # those that are in no other place any more


class Counts(NamedTuple):
    """What became of the lines: lines = traces + duplicates + dead letters + blanks."""

    lines: int = 0
    traces: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    blanks: int = 0


class Source(NamedTuple):
    """One source, live or not, and what it counts."""

    checkpoint: Checkpoint
    state: str
    counts: Counts


class Partition(NamedTuple):
    """How far the snapshot of one day (days since 1970) is: a row of the manifest.

    rows, file_bytes, sha256   of the file, when it was written; None before the first
    host         the name of the file, from the first one on
    next_sha256  of a file that was about to take its place
    pruned       how many of the rows are in no other place any more
    """

    day: int
    version: int
    compacted_version: int
    host: str | None
    rows: int | None
    file_bytes: int | None
    sha256: bytes | None
    next_sha256: bytes | None
    pruned: int

    @property
    def is_clean(self) -> bool:
        """Whether the snapshot holds what the ledger has of the day."""
        return self.version == self.compacted_version


PARTITION_COLUMNS: Final = ", ".join(Partition._fields)


#: Sources that are read to their end, last before a time, and not looked at since another.
FINISHED: Final = (
    "WHERE state = 'live' AND offset > 0 AND offset >= size_bytes AND last_read_us < ? "
    "AND coalesce(kept_us, 0) < ? AND source_id NOT IN (SELECT source_id FROM dead_letter "
    "WHERE reason = 'too_long' AND length > length(raw))"
)


class Publishing(NamedTuple):
    """Attempts to publish that failed in a row, since when, when the next is due, and why."""

    failures: int
    since_us: int
    next_us: int
    fault: str


class Published(NamedTuple):
    """What is at an address, and what is not there yet."""

    days: int
    due_days: int
    last_us: int | None
    failing: Publishing | None


#: Days whose snapshot is up to date and not, as it is now, at the address.
UNPUBLISHED: Final = """
    FROM partition AS p LEFT JOIN publication AS q ON q.day = p.day AND q.url = ?
    WHERE p.version = p.compacted_version AND q.sha256 IS NOT p.sha256
"""
PUBLISHING: Final = "SELECT failures, since_us, next_us, fault FROM publishing"


#: Where a line was first read: source id, offset.
Place = tuple[int, int]
#: [from_us, until_us), in microseconds since 1970.
Span = tuple[int, int]


def span_of(day: int) -> Span:
    """A UTC day (days since 1970)."""
    return day * US_PER_DAY, (day + 1) * US_PER_DAY


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

    @property
    def path(self) -> Path:
        """Where the ledger is."""
        return self._path

    def __enter__(self) -> Self:
        self._db = open_reader(self._path)
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def heartbeat(self) -> Heartbeat | None:
        """The daemon's last sign of life; None before the first."""
        row = self._one(
            "SELECT pid, version, started_us, beat_us, phase, watcher, fault, measures FROM daemon"
        )
        return None if row is None else Heartbeat(*row)

    def tails(self) -> list[Tail]:
        """Every live source."""
        return [
            Tail(*row)
            for row in self._all(
                # Only in a gzip file the last record is not known by its length.
                "SELECT path, inode, size_bytes, offset, last_read_us, "
                "coalesce(last_read_us, first_seen_us), source_id, dev, "
                "offset > 0 AND record_bytes = 0 FROM source WHERE state = 'live'"
            )
        ]

    def last_commit_us(self) -> int | None:
        """When lines were last committed; None when there are none."""
        row = self._one("SELECT max(last_read_us) FROM source")
        return None if row is None else row[0]

    def traces_between(self, from_us: int, until_us: int, most: int) -> int:
        """How many calls began in [from_us, until_us), counted no further than `most`."""
        sql = (
            "SELECT count(*) FROM (SELECT 1 FROM trace "
            "WHERE started_us >= ? AND started_us < ? LIMIT ?)"
        )
        (traces,) = next(self._all(sql, (from_us, until_us, most)))
        return int(traces)

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
            disputed_traces=self.tally("disputed").get("yes", 0),
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
        """How many traces have each value of a tallied column, or dead letters each `reason`."""
        return dict(
            self._all(
                "SELECT value, traces FROM tally WHERE column = ? AND traces > 0 ORDER BY value",
                (column,),
            )
        )

    def dead_letters(self) -> dict[str, int]:
        """How many dead letters there are of each reason."""
        return self.tally("reason")

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
                "SELECT count(*), coalesce(sum(version > compacted_version), 0), "
                "max(compacted_us), coalesce(sum(pruned), 0) FROM partition"
            )
        )

    # What snapshots are made from

    def day(self, day: int, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """These columns of one UTC day's traces (days since 1970), in time order, read as one view.

        Beside the columns of the `traces` view there are `started_us` and `cost_nanousd`, exact.
        """
        return self.between(*span_of(day), columns)

    def between(
        self, from_us: int, until_us: int, columns: Sequence[str]
    ) -> Iterator[tuple[Any, ...]]:
        """The same of the traces that started in [from_us, until_us)."""
        return self._all(
            f"SELECT {', '.join(columns)} FROM trace_exact "
            "WHERE started_us >= ? AND started_us < ? ORDER BY started_us",
            (from_us, until_us),
        )

    def has_more_than(self, count: int, day: int) -> bool:
        """Whether a day has more than so many traces here, without counting them all."""
        sql = "SELECT 1 FROM trace WHERE started_us >= ? AND started_us < ? LIMIT 1 OFFSET ?"
        return next(self._all(sql, (*span_of(day), count)), None) is not None

    def count(self, day: int) -> int:
        """How many traces of a day are here, and not in its snapshot only."""
        sql = "SELECT count(*) FROM trace WHERE started_us >= ? AND started_us < ?"
        ((traces,),) = self._all(sql, span_of(day))
        return int(traces)

    def pruned_places(self, from_us: int, to_us: int) -> set[Place]:
        """Where the pruned traces that started in [from_us, to_us] were first read."""
        sql = "SELECT source_id, source_offset FROM pruned WHERE started_us BETWEEN ? AND ?"
        return set(self._all(sql, (from_us, to_us)))

    # What `verify` asks

    @contextmanager
    def one_moment(self) -> Iterator[None]:
        """All that is read within is of one moment; the log of writes grows until then."""
        with translated(self._path):
            self._db.execute("BEGIN")
        try:
            yield
        finally:
            with translated(self._path):
                self._db.execute("ROLLBACK")

    def sources(self) -> list[Source]:
        """Every source, live or not."""
        return self._sources("ORDER BY source_id")

    def finished_sources(self, read_before_us: int, kept_before_us: int) -> list[Source]:
        """The live sources that are read to their end, the last time before then, and not empty.

        Not those of whose lines only the head is kept, nor those that could lately not be proven.
        """
        which = f"{FINISHED} ORDER BY last_read_us"
        return self._sources(which, (read_before_us, kept_before_us))

    def _sources(self, which: str, bindings: tuple[object, ...] = ()) -> list[Source]:
        return [
            Source(Checkpoint(*row[:9]), row[9], Counts(*row[10:]))
            for row in self._all(
                "SELECT source_id, path, dev, inode, offset, size_bytes, chain, "
                "record_bytes, record_digest, state, lines, traces, duplicates, dead_letters, "
                f"blanks FROM source {which}",
                bindings,
            )
        ]

    def places_of_traces(self, keys: Iterable[tuple[Any, ...]]) -> Iterator[Place | None]:
        """For each (start time, key) in turn, where that trace was read; None when it is not."""
        places = (
            f"SELECT source_id, source_offset FROM {table} WHERE started_us = ?1 AND key = {key}"
            for table, key in (("trace", "?2"), ("pruned", "?3"))
        )
        # An aggregate gives one row for each key, whether the trace is there or not.
        sql = f"SELECT max(source_id), max(source_offset) FROM ({' UNION ALL '.join(places)})"
        with translated(self._path):
            asked = ((started_us, key, key_digest(key)) for started_us, key in keys)
            for source_id, offset in self._db.executemany(sql, asked):
                yield None if source_id is None else (source_id, offset)

    def place_of_dead_letter(self, key: bytes) -> Place | None:
        """Where the dead letter of this key was read; None when there is none."""
        sql = "SELECT source_id, source_offset FROM dead_letter WHERE key = ?"
        return next(self._all(sql, (key,)), None)

    def dead_letters_of_sources(self) -> dict[int, int]:
        """How many dead letters each source has."""
        return dict(self._all("SELECT source_id, count(*) FROM dead_letter GROUP BY source_id"))

    def tallies(self) -> dict[tuple[str, str], int]:
        """Every tally: of a column's value."""
        rows = self._all("SELECT column, value, traces FROM tally")
        return {(column, value): traces for column, value, traces in rows}

    def partitions(self) -> dict[int, Partition]:
        """Every day (days since 1970) that has or had traces."""
        rows = self._all(f"SELECT {PARTITION_COLUMNS} FROM partition ORDER BY day")
        return {row[0]: Partition(*row) for row in rows}

    # Publishing

    def unpublished(self, url: str) -> list[Partition]:
        """The days whose snapshot is up to date and is yet to be copied there, oldest first."""
        columns = ", ".join(f"p.{name}" for name in Partition._fields)
        sql = f"SELECT {columns} {UNPUBLISHED} ORDER BY p.day"
        return [Partition(*row) for row in self._all(sql, (url,))]

    def published(self, url: str) -> Published:
        """How many days' snapshots are there, how many are to be copied, and the last copy."""
        sql = "SELECT count(*), max(published_us) FROM publication WHERE url = ?"
        days, last_us = next(self._all(sql, (url,)))
        ((due,),) = self._all(f"SELECT count(*) {UNPUBLISHED}", (url,))
        return Published(days, due, last_us, self.publishing())

    def publishing(self) -> Publishing | None:
        """The attempts that failed since the last that did not; None when there are none."""
        row = self._one(PUBLISHING)
        return None if row is None else Publishing(*row)

    def faults(self, count: int) -> list[str]:
        """What SQLite finds wrong with the database, so many at most. Reads all of it."""
        found = [fault for (fault,) in self._all(f"PRAGMA integrity_check({count})")]
        return [] if found == ["ok"] else found

    def _all(self, sql: str, bindings: tuple[object, ...] = ()) -> Iterator[tuple[Any, ...]]:
        with translated(self._path):
            yield from self._db.execute(sql, bindings)

    def _one(self, sql: str) -> tuple[Any, ...] | None:
        return next(self._all(sql), None)

    def _row(self, sql: str) -> tuple[Any, ...]:
        return next(self._all(sql))
