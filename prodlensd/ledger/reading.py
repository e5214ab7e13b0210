"""The reading side of the ledger, on a connection that cannot write."""

# ruff: noqa: S608 - statements are put together from names of columns

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import apsw

from prodlensd.ledger.connection import key_digest, open_reader, translated
from prodlensd.model import US_PER_S, Checkpoint


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

    def silence_s(self, now_us: int) -> float:
        """How long ago it was; 0 when the clock has been set back since.

        Then nobody can know, for the ten seconds until the next one. That a daemon hangs as well
        just then, the service manager's watchdog finds out.
        """
        return max(0, now_us - self.beat_us) / US_PER_S


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


#: Sources that are read to their end, last before a time, and not looked at since another. Not
#: those with a line of which only the head is kept, unless somebody has purged that too.
FINISHED: Final = (
    "WHERE state = 'live' AND offset > 0 AND offset >= size_bytes AND last_read_us < ? "
    "AND coalesce(kept_us, 0) < ? AND source_id NOT IN (SELECT source_id FROM dead_letter "
    "WHERE reason = 'too_long' AND length > length(raw) AND state <> 'purged')"
)


#: Where a line was first read: source id, offset.
Place = tuple[int, int]


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
    state: str  # one of LETTER_STATES


#: Still to be looked at; accepted by somebody; accepted, and of its bytes only the fact is kept.
LETTER_STATES: Final = ("open", "dismissed", "purged")
_REFUSED_COLUMNS: Final = (
    "d.key, d.source_id, coalesce(s.path, ''), d.source_offset, d.length, length(d.raw), "
    "d.reason, d.detail, d.received_us, d.state"
)
_FROM: Final = "FROM dead_letter AS d LEFT JOIN source AS s USING (source_id)"
_REFUSED: Final = f"SELECT {_REFUSED_COLUMNS} {_FROM}"
_REFUSED_RAW: Final = f"SELECT {_REFUSED_COLUMNS}, d.raw {_FROM}"
_CHOSEN: Final = "(?1 IS NULL OR d.reason = ?1) AND d.state IN (SELECT value FROM json_each(?2))"


class Reader:
    """A read-only view of the ledger, a context manager; raises LedgerError when there is none."""

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

    def gaps_since(self, from_us: int) -> int:
        """How many of the open gaps were first seen after this time."""
        sql = "SELECT count(*) FROM gap WHERE state = 'open' AND first_seen_us > ?"
        ((gaps,),) = self._all(sql, (from_us,))
        return int(gaps)

    def anomalies(self) -> dict[str, int]:
        """How many traces had each anomaly."""
        counts: Counter[str] = Counter()
        for kinds, traces in self.tally("anomalies").items():
            counts.update(dict.fromkeys(kinds.split(","), traces))
        return dict(counts)

    def tally(self, column: str) -> dict[str, int]:
        """How many traces have each value of a column, or open dead letters each `reason`."""
        return dict(
            self._all(
                "SELECT value, traces FROM tally WHERE column = ? AND traces > 0 ORDER BY value",
                (column,),
            )
        )

    def dead_letters(self) -> dict[str, int]:
        """How many open dead letters there are of each reason."""
        return self.tally("reason")

    def refused_by_state(self, reason: str | None = None) -> dict[str, int]:
        """How many dead letters (of one reason) there are in each state. Looks at all of them."""
        sql = "SELECT state, count(*) FROM dead_letter WHERE ?1 IS NULL OR reason = ?1 GROUP BY 1"
        return dict.fromkeys(LETTER_STATES, 0) | dict(self._all(sql, (reason,)))

    def refused(
        self,
        reason: str | None = None,
        states: Iterable[str] = LETTER_STATES,
        newest: int | None = None,
    ) -> Iterator[Refused]:
        """The dead letters (of one reason) in these states, newest first, all or so many."""
        chosen = (reason, json.dumps(list(states)), -1 if newest is None else newest)
        sql = f"{_REFUSED} WHERE {_CHOSEN} ORDER BY d.rowid DESC LIMIT ?3"
        return map(Refused._make, self._all(sql, chosen))

    def refused_in_pages(
        self, reason: str | None, states: Iterable[str], page: int
    ) -> Iterator[Refused]:
        """The dead letters (of one reason) in these states, oldest first, but for later ones.

        Read a page of so many at a time: between two of them no view is held open, which would let
        the log of writes grow.
        """
        chosen = (reason, json.dumps(list(states)))
        sql = (
            f"SELECT d.rowid, {_REFUSED_COLUMNS} {_FROM} WHERE {_CHOSEN} "
            "AND d.rowid > ?3 AND d.rowid <= ?4 ORDER BY d.rowid LIMIT ?5"
        )
        (last,) = self._row("SELECT coalesce(max(rowid), 0) FROM dead_letter")
        after = 0
        while letters := list(self._all(sql, (*chosen, after, last, page))):
            yield from (Refused._make(letter) for _, *letter in letters)
            after = letters[-1][0]

    def refused_lines(self, reason: str | None = None) -> Iterator[tuple[Refused, bytes]]:
        """The dead letters (of one reason) with their bytes, oldest first, read as one view.

        Not those whose bytes were purged.
        """
        states = json.dumps(["open", "dismissed"])
        sql = f"{_REFUSED_RAW} WHERE {_CHOSEN} ORDER BY d.rowid"
        return ((Refused._make(letter), raw) for *letter, raw in self._all(sql, (reason, states)))

    def refused_between(self, first: bytes, last: bytes) -> list[Refused]:
        """Of the dead letters with keys between these two: none, the one, or two of too many."""
        sql = f"{_REFUSED} WHERE d.key BETWEEN ? AND ? LIMIT 2"
        return [Refused._make(letter) for letter in self._all(sql, (first, last))]

    def refused_line(self, key: bytes) -> bytes:
        """What is kept of this dead letter's bytes; nothing when it is no longer there."""
        sql = "SELECT coalesce(max(raw), x'') FROM dead_letter WHERE key = ?"
        raw: bytes
        (raw,) = next(self._all(sql, (key,)))
        return raw

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
