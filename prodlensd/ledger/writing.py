"""The writing side of the ledger.

The ledger invariant: in one transaction a source's offset advances over exactly the lines whose
outcome (trace, duplicate, dead letter, blank) is written. Whatever kills the process, and wherever,
the lines before the offset are in the ledger once and the lines after it are not in it at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import apsw

from prodlensd.ledger.connection import LedgerLostError, key_digest, open_writer, translated
from prodlensd.ledger.heartbeat import WRITE, Heartbeat
from prodlensd.ledger.pins import Pins
from prodlensd.ledger.sources import CHECKPOINT_COLUMNS, Counts
from prodlensd.model import US_PER_DAY, Checkpoint, DeadLetter, Doubt, Gap, Part, Sighting

_Row = tuple[Any, ...]
#: The columns of `trace`, in its order: those of a `pipeline.row`.
_COLUMNS: Final = (
    "started_us key call_id session_id session_via developer_id developer_via repo_slug "
    "model provider call_type tokens_in tokens_out total_tokens cache_read_tokens "
    "cache_write_tokens cache_write_1h_tokens reasoning_tokens audio_in_tokens audio_out_tokens "
    "latency_ms ttft_ms status status_code cache_hit service_tier end_user tags "
    "accepted diff_ratio accepted_lines details "
    "gateway_nanousd cost_nanousd cost_source table_nanousd price_id anomalies "
    "source_id source_offset"
).split()
# Short, because apsw finds a prepared statement by its text, for every row. A test pins the order.
_INSERT: Final = f"INSERT INTO trace VALUES ({','.join('?' * len(_COLUMNS))})"  # noqa: S608
_INSERT_NEW: Final = f"{_INSERT} ON CONFLICT DO NOTHING"

# Of two records of one call the richer one stays: the one with fewer NULLs, its price left out, so
# that reading a record again never changes what it cost; nor does a richer one that says the same
# of all that a price depends on. Where it was first read stays too, so that the sources' counts and
# the rows agree.
_FACTS: Final = _COLUMNS[2:-2]
_LOGGED: Final = slice(2, _COLUMNS.index("cost_nanousd"))
_PRICE: Final = slice(_COLUMNS.index("cost_nanousd"), _COLUMNS.index("price_id") + 1)
_PRICED_BY: Final = itemgetter(
    *map(
        _COLUMNS.index,
        "model provider call_type tokens_in tokens_out total_tokens cache_read_tokens "
        "cache_write_tokens cache_write_1h_tokens reasoning_tokens audio_in_tokens "
        "audio_out_tokens status cache_hit service_tier gateway_nanousd".split(),
    )
)
_ENRICH: Final = (
    f"UPDATE trace SET ({','.join(_FACTS)}) = ({','.join('?' * len(_FACTS))}) "  # noqa: S608
    "WHERE started_us = ? AND key = ? AND ? < "
    + "+".join(f"({fact} IS NULL)" for fact in _COLUMNS[_LOGGED])
)

_ADVANCE: Final = """
    UPDATE source SET path = ?, size_bytes = ?, offset = ?, chain = ?,
        record_bytes = ?, record_digest = ?, lines = lines + ?, traces = traces + ?,
        duplicates = duplicates + ?, dead_letters = dead_letters + ?, blanks = blanks + ?,
        last_read_us = ?
    WHERE source_id = ? AND offset = ? AND state = 'live'
"""
_MARK_DIRTY: Final = """
    INSERT INTO partition (day, version) VALUES (?, 1)
    ON CONFLICT DO UPDATE SET version = version + 1
"""
_SELECT: Final = f"SELECT {','.join(_COLUMNS)} FROM trace WHERE started_us = ? AND key = ?"  # noqa: S608
_TALLY: Final = """
    INSERT INTO tally (column, value, traces) VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET traces = traces + excluded.traces
"""
_REDEEM: Final = """
    UPDATE source SET dead_letters = dead_letters - ?, traces = traces + ?,
        duplicates = duplicates + ? WHERE source_id = ?
"""
_DELETE_LETTER: Final = """
    DELETE FROM dead_letter WHERE key = ? AND state <> 'purged' RETURNING reason, state
"""
_DELETE_PURGED: Final = """
    DELETE FROM dead_letter WHERE key = ? AND state = 'purged' RETURNING source_id
"""
_GATEWAY_AND_TABLE: Final = itemgetter(
    _COLUMNS.index("gateway_nanousd"), _COLUMNS.index("table_nanousd")
)

#: What the ledger adds up for each cost_source: the columns of `total`, which has no more of them.
TOTALLED: Final = (
    "cost_nanousd",
    "tokens_in",
    "tokens_out",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
)
_TOTAL_OF: Final = f"SELECT {', '.join(TOTALLED)} FROM total WHERE cost_source = ?"  # noqa: S608
_SET_TOTAL: Final = f"INSERT OR REPLACE INTO total VALUES (?{', ?' * len(TOTALLED)})"  # noqa: S608
_TOTALLED: Final = tuple(itemgetter(_COLUMNS.index(name)) for name in TOTALLED)
#: One sum for each of TOTALLED, by cost_source.
TotalsBySource = dict[str, list[int]]


def _count_disputed(rows: Iterable[_Row]) -> Counter[str | None]:
    """As `disputed` says, in a quarter of the time that asking it for each row would take."""
    pairs = map(_GATEWAY_AND_TABLE, rows)
    return Counter("yes" for a, b in pairs if a and b is not None and (a > 2 * b or b > 2 * a))


def _times(factor: int, counts: Counter[str | None]) -> Counter[str | None]:
    return Counter({value: factor * count for value, count in counts.items()})


def _counter_of(column: str) -> Callable[[Iterable[_Row]], Counter[str | None]]:
    value_of = itemgetter(_COLUMNS.index(column))
    return lambda rows: Counter(map(value_of, rows))


#: How the rows with each value of a tallied column are counted; None is not.
_TALLIED: Final[dict[str, Callable[[Iterable[_Row]], Counter[str | None]]]] = {
    "status": _counter_of("status"),
    "anomalies": _counter_of("anomalies"),
    "disputed": _count_disputed,
}
_COST_SOURCE: Final = itemgetter(_COLUMNS.index("cost_source"))
_SOURCE_ID: Final = itemgetter(_COLUMNS.index("source_id"))
_CHECKPOINTS: Final = f"SELECT {CHECKPOINT_COLUMNS} FROM source WHERE state = 'live'"  # noqa: S608


def disputed(gateway_nanousd: int | None, table_nanousd: int | None) -> str | None:
    """Whether the two are more than a factor of two apart, as the column of this name has it."""
    if not gateway_nanousd or table_nanousd is None:
        return None
    low, high = sorted((gateway_nanousd, table_nanousd))
    return "yes" if high > 2 * low else None


@contextmanager
def _first_error() -> Iterator[None]:
    """Raises what went wrong first, not what apsw says of it.

    When the disk is full SQLite rolls back by itself, and apsw's own ROLLBACK finds nothing to do.
    """
    try:
        yield
    except apsw.SQLError as error:
        first: BaseException = error
        while type(first) is apsw.SQLError and isinstance(first.__context__, apsw.Error):
            first = first.__context__
        raise first from None


class Redeemed(NamedTuple):
    """What one transaction moved: the dead letters' keys, and how many were in `trace` already."""

    keys: list[bytes]
    duplicates: int


class Ledger:
    """The writing side, a context manager.

    The mutable state: the connection, and as whom a daemon has taken the ledger over. `pins` are
    the prices that wait for the next transaction.
    """

    pins: Pins

    def __init__(self, path: Path, *, host: str = "", durability: str = "full") -> None:
        self.path = path
        self._host = host
        self._durability = durability
        self._db: apsw.Connection
        self._owner: tuple[int, int] | None = None
        self._file: tuple[int, int] = (0, 0)

    def __enter__(self) -> Self:
        self._db = open_writer(self.path, self._durability)
        self._file = self._file_now()
        self.pins = Pins(self._db)
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    @property
    def db(self) -> apsw.Connection:
        """The connection, for the rest of this package."""
        return self._db

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """BEGIN IMMEDIATE to COMMIT, or ROLLBACK when anything raises.

        Prices that wait go along, before the rows that were priced at them.
        """
        with translated(self.path), _first_error(), self._db:
            self._check_ours()
            self.pins.write()
            yield
        self.pins.settle()

    def take_over(self, *, pid: int, version: str, started_us: int) -> None:
        """Makes this daemon the only one that may write, and shuts out any that wrote before.

        The lock beside the database should have kept others out; this holds even when somebody
        deleted the lock.
        """
        with self.transaction():
            beat = Heartbeat(pid, version, started_us, started_us, "starting", "ok")
            self._db.execute(WRITE, beat)
        self._owner = (pid, started_us)

    def _check_ours(self) -> None:
        """Raises LedgerLostError when this daemon must not write any more."""
        if self._owner is None:
            return
        if self._file_now() != self._file:
            raise LedgerLostError(f"{self.path} was moved, deleted or replaced while in use")
        owner = self._db.execute("SELECT pid, started_us FROM daemon").get
        if owner != self._owner:
            raise LedgerLostError(f"{self.path} was taken over by another prodlensd: {owner}")

    def _file_now(self) -> tuple[int, int]:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return (0, 0)
        return (status.st_dev, status.st_ino)

    # Sources

    def checkpoints(self) -> list[Checkpoint]:
        """The committed place in every live source."""
        with translated(self.path):
            return [Checkpoint(*row) for row in self._db.execute(_CHECKPOINTS)]

    def register(self, sightings: Sequence[Sighting], now_us: int) -> list[Checkpoint]:
        """New sources at offset 0, one for each sighting, known before their first byte is read."""
        with self.transaction():
            return [self._register(sighting, now_us) for sighting in sightings]

    def replace(self, doubt: Doubt, now_us: int) -> Checkpoint:
        """Ends a source that is in doubt and begins a new one at 0 for the same file."""
        with self.transaction():
            self._end(doubt.source_id, "replaced", doubt.reason, doubt.known_bytes, now_us)
            return self._register(doubt.sighting, now_us)

    def retire(self, gone: Iterable[tuple[int, int]], now_us: int) -> None:
        """Ends sources whose files are gone: each with how many bytes were seen and never read."""
        with self.transaction():
            for source_id, known_bytes in gone:
                self._end(source_id, "gone", "vanished", known_bytes, now_us)

    def open_gaps(self) -> list[Gap]:
        """The gaps whose bytes have not turned up."""
        with translated(self.path):
            return [
                Gap(*row)
                for row in self._db.execute(
                    "SELECT gap_id, source_id, path, source_offset, known_bytes, record_bytes, "
                    "record_digest FROM gap JOIN source USING (source_id) "
                    "WHERE gap.state = 'open'"
                )
            ]

    def resolve(self, gap: Gap) -> None:
        """Notes that a gap's bytes were found in a copy, and read there."""
        with self.transaction():
            self._db.execute("UPDATE gap SET state = 'resolved' WHERE gap_id = ?", (gap.gap_id,))

    def acknowledge_gaps(self) -> int:
        """Accepts the open gaps as lost, for nobody to be told of again; returns how many."""
        with self.transaction():
            self._db.execute("UPDATE gap SET state = 'acknowledged' WHERE state = 'open'")
            return self._db.changes()

    def relocate(self, checkpoints: Iterable[Checkpoint]) -> None:
        """Notes where these sources' files are now."""
        with self.transaction():
            self._db.executemany(
                "UPDATE source SET path = ?, dev = ? WHERE source_id = ?",
                [(moved.path, moved.dev, moved.source_id) for moved in checkpoints],
            )

    def _register(self, sighting: Sighting, now_us: int) -> Checkpoint:
        start = Checkpoint(0, sighting.path, sighting.dev, sighting.inode)
        source_id = self._db.execute(
            "INSERT INTO source (path, host, dev, inode, size_bytes, chain, first_seen_us) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) RETURNING source_id",
            (
                start.path,
                self._host,
                start.dev,
                start.inode,
                sighting.size_bytes,
                start.chain,
                now_us,
            ),
        ).get
        return Checkpoint(source_id, start.path, start.dev, start.inode)

    def _end(self, source_id: int, state: str, reason: str, known_bytes: int, now_us: int) -> None:
        if known_bytes > 0:
            self._db.execute(
                "INSERT INTO gap (source_id, source_offset, known_bytes, reason, first_seen_us) "
                "SELECT source_id, offset, ?, ?, ? FROM source WHERE source_id = ?",
                (known_bytes, reason, now_us, source_id),
            )
        self._db.execute("UPDATE source SET state = ? WHERE source_id = ?", (state, source_id))

    # The ledger

    def commit(self, parts: Iterable[Part], now_us: int) -> Counts:
        """Writes the outcome of every line and moves the sources' offsets over them, or nothing."""
        with self.transaction():
            written = [self._commit_part(part, now_us) for part in parts]
        return Counts(*map(sum, zip(*written, strict=True))) if written else Counts()

    def redeem(self, letters: Iterable[tuple[bytes, _Row]]) -> Redeemed:
        """Moves dead letters to `trace`, by key and as the row that each now is, all or none.

        A letter that somebody else has moved or purged meanwhile is passed over.
        """
        with self.transaction():
            there: list[tuple[bytes, _Row]] = []
            opened: Counter[str | None] = Counter()
            for key, row in letters:
                if (letter := self._db.execute(_DELETE_LETTER, (key,)).fetchone()) is not None:
                    reason, state = letter
                    opened[reason] += state == "open"
                    there.append((key, row))
            self.tally("reason", _times(-1, opened))
            duplicates = 0
            for source_id, of_source in groupby(
                sorted(map(itemgetter(1), there), key=_SOURCE_ID), _SOURCE_ID
            ):
                rows = list(of_source)
                changed, replaced = self._insert(rows)
                new = len(changed) - len(replaced)
                self._db.execute(_REDEEM, (len(rows), new, len(rows) - new, source_id))
                self._mark(changed, replaced)
                duplicates += len(rows) - new
        return Redeemed([key for key, _ in there], duplicates)

    def _commit_part(self, part: Part, now_us: int) -> Counts:
        self._drop_purged(part.rows)
        changed, replaced = self._insert(part.rows)
        new = len(changed) - len(replaced)
        refused: Counter[str | None] = Counter(
            letter.reason
            for letter in part.dead_letters
            if self._insert_dead_letter(letter, now_us)
        )
        letters = refused.total()
        lines = len(part.rows) + len(part.dead_letters) + part.blanks
        done = Counts(lines, new, lines - new - letters - part.blanks, letters, part.blanks)
        end = part.end
        self._db.execute(
            _ADVANCE,
            (
                *(end.path, end.size_bytes, end.offset, end.chain),
                *(end.record_bytes, end.record_digest),
                *done,
                *(now_us, end.source_id, part.start.offset),
            ),
        )
        if self._db.changes() != 1:
            raise AssertionError(
                f"source {end.source_id} ({end.path!a}) is not at offset {part.start.offset}"
            )
        self._mark(changed, replaced)
        self.tally("reason", refused)
        return done

    def _drop_purged(self, rows: list[_Row]) -> None:
        """Takes out the dead letters that these lines were, where nothing but the fact was kept.

        An older version refused them. Nobody can retry such a letter, so a line that is read again
        and is a trace by now would be in the ledger twice for good.
        """
        chains = [(row[1],) for row in rows if isinstance(row[1], bytes)]
        for (source_id,) in self._db.executemany(_DELETE_PURGED, chains):
            self._db.execute(_REDEEM, (1, 0, 1, source_id))

    def _insert(self, rows: list[_Row]) -> tuple[list[_Row], list[_Row]]:
        """Inserts the rows; returns those that changed the ledger, and what they replaced in it.

        Duplicates are rare, so all rows are tried at once, and one by one only where that finds
        any.
        """
        rows = self._not_pruned(rows)
        try:
            with self._db:
                self._db.executemany(_INSERT, rows)
        except apsw.ConstraintError:
            return self._insert_one_by_one(rows)
        return rows, []

    def _not_pruned(self, rows: list[_Row]) -> list[_Row]:
        """Without the rows of calls that are only in a snapshot any more: duplicates."""
        last_us = self._db.execute("SELECT max(started_us) FROM pruned").get
        if last_us is None:
            return rows
        known = "SELECT 1 FROM pruned WHERE started_us = ? AND key = ?"
        return [
            row
            for row in rows
            if row[0] > last_us or self._db.execute(known, (row[0], key_digest(row[1]))).get is None
        ]

    def _insert_one_by_one(self, rows: list[_Row]) -> tuple[list[_Row], list[_Row]]:
        changed, replaced = [], []
        for row in rows:
            before = self._db.total_changes()
            self._db.execute(_INSERT_NEW, row)
            if self._db.total_changes() > before:
                changed.append(row)
                continue
            key, poorer = row[:2], self._db.execute(_SELECT, row[:2]).get
            if _PRICED_BY(row) == _PRICED_BY(poorer):
                row = row[: _PRICE.start] + poorer[_PRICE] + row[_PRICE.stop :]  # noqa: PLW2901
            self._db.execute(_ENRICH, (*row[2:-2], *key, row[_LOGGED].count(None)))
            if self._db.total_changes() > before:
                changed.append(row)
                replaced.append(poorer)
        return changed, replaced

    def _mark(self, changed: list[_Row], replaced: list[_Row]) -> None:
        """Marks the days of the changed rows dirty, and keeps the tallies and the totals."""
        self.mark_dirty({row[0] // US_PER_DAY for row in changed})
        for rows, sign in ((changed, 1), (replaced, -1)):
            for column, count in _TALLIED.items():
                self.tally(column, _times(sign, count(rows)))
            sources = Counter(map(_COST_SOURCE, rows))
            self.tally("cost_source", _times(sign, sources))
            for source in sources:
                its = rows if len(sources) == 1 else [r for r in rows if _COST_SOURCE(r) == source]
                sums = (sum(filter(None, map(value_of, its))) for value_of in _TOTALLED)
                self.total({source: [sign * value for value in sums]})

    def tally(self, column: str, counts: Counter[str | None]) -> None:
        """Adds to how many traces have each value of a column (or dead letters each reason)."""
        self._db.executemany(
            _TALLY, [(column, value, count) for value, count in counts.items() if value and count]
        )

    def total(self, totals: TotalsBySource) -> None:
        """Adds to what the traces of each cost_source add up to, within a transaction."""
        for source, sums in totals.items():
            if not any(sums):
                continue
            before = self._db.execute(_TOTAL_OF, (source,)).fetchone() or [0] * len(TOTALLED)
            after = [str(int(old) + new) for old, new in zip(before, sums, strict=True)]
            self._db.execute(_SET_TOTAL, (source, *after))

    def mark_dirty(self, days: Iterable[int]) -> None:
        """Notes that these days' snapshots are behind, within a transaction."""
        self._db.executemany(_MARK_DIRTY, [(day,) for day in days])

    def _insert_dead_letter(self, letter: DeadLetter, now_us: int) -> bool:
        before = self._db.total_changes()
        self._db.execute(
            "INSERT INTO dead_letter VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (*letter, now_us, "open"),
        )
        return self._db.total_changes() > before

    # The daemon's own row

    def beat(self, beat: Heartbeat) -> None:
        """Says that the daemon is alive. Not worth an fsync: a lost heartbeat is a late one."""
        with translated(self.path):
            synchronous = self._db.pragma("synchronous")
            self._db.execute("PRAGMA synchronous = NORMAL")
            try:
                with self.transaction():
                    self._db.execute(WRITE, beat)
            finally:
                self._db.execute(f"PRAGMA synchronous = {synchronous}")
