"""Which sources there are, how far each is read, what it counts, and the gaps in them."""

# ruff: noqa: S608 - statements are put together from names of columns

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from prodlensd.ledger.connection import Database
from prodlensd.ledger.sums import exact_sums, joined
from prodlensd.ledger.transactions import Writer
from prodlensd.model import LOG, Checkpoint, Gap, Mismatch, Sighting


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


class Counts(NamedTuple):
    """What became of records: records = traces + duplicates + dead letters + passed over.

    Every line that is not blank holds at least one: records ≥ lines - blanks.
    """

    lines: int = 0
    traces: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    blanks: int = 0
    records: int = 0
    passed_over: int = 0


class Added(NamedTuple):
    """The calls that a source added to the ledger: what they cost, and of which time they are.

    `cost_nanousd` is of those that have a price; the times are None where there are no calls.
    """

    calls: int = 0
    cost_nanousd: int = 0
    unpriced: int = 0
    first_us: int | None = None
    last_us: int | None = None

    def plus(self, other: Added) -> Added:
        """Both together."""
        first = [us for us in (self.first_us, other.first_us) if us is not None]
        last = [us for us in (self.last_us, other.last_us) if us is not None]
        return Added(
            self.calls + other.calls,
            self.cost_nanousd + other.cost_nanousd,
            self.unpriced + other.unpriced,
            min(first, default=None),
            max(last, default=None),
        )


class OpenGaps(NamedTuple):
    """How many open gaps there are, and how many bytes they had at least."""

    number: int
    known_bytes: int


class Source(NamedTuple):
    """One source, live or not, and what it counts."""

    checkpoint: Checkpoint
    state: str
    counts: Counts


#: Where a line was first read: source id, offset.
Place = tuple[int, int]

# Read to the end, the last time before a moment, and not kept as unproven since another. Not those
# with a record that is not kept, or only its head, unless that was purged too. A transcript is the
# agent's own, and never ours to delete.
_FINISHED: Final = (
    f"WHERE state = 'live' AND format = '{LOG}' AND offset > 0 AND offset >= size_bytes "
    "AND last_read_us < ? AND coalesce(kept_us, 0) < ? "
    "AND source_id NOT IN (SELECT source_id FROM dead_letter "
    "WHERE length > length(raw) AND state <> 'purged')"
)

_CHECKPOINT: Final = (
    "source_id, path, dev, inode, offset, size_bytes, chain, record_bytes, record_digest, "
    "format, memory"
)
_CHECKPOINT_COLUMNS: Final = len(_CHECKPOINT.split(","))
_COUNTED: Final = ", ".join(Counts._fields)
_ADDED: Final = f"""
    SELECT count(*), sum(cost_nanousd IS NULL), min(started_us), max(started_us),
        {exact_sums(["cost_nanousd"])}
    FROM call WHERE source_id = ? AND started_us BETWEEN ? AND ?
"""
# The last column is `Checkpoint.is_gzip`.
_TAILS: Final = """
    SELECT path, inode, size_bytes, offset, last_read_us, coalesce(last_read_us, first_seen_us),
        source_id, dev, offset > 0 AND record_bytes = 0
    FROM source WHERE state = 'live'
"""


class SourceReader(Struct, frozen=True):
    """How far each source is read, and what it counts."""

    ledger: Database

    def tails(self) -> list[Tail]:
        """Every live source."""
        return [Tail(*row) for row in self.ledger.all(_TAILS)]

    def all(self) -> list[Source]:
        """Every source, live or not."""
        return self._chosen("ORDER BY source_id")

    def finished(self, read_before_us: int, kept_before_us: int, most: int = -1) -> list[Source]:
        """The live sources that are not empty, and read to their end, last before this moment.

        Without those with a dead letter that is not all kept, and without those that could not
        be proven and were noted as kept at `kept_before_us` or later.
        """
        which = f"{_FINISHED} ORDER BY last_read_us LIMIT ?"
        return self._chosen(which, (read_before_us, kept_before_us, most))

    def _chosen(self, which: str, bindings: tuple[object, ...] = ()) -> list[Source]:
        sql = f"SELECT {_CHECKPOINT}, state, {_COUNTED} FROM source {which}"
        return [
            Source(Checkpoint(*row[:_CHECKPOINT_COLUMNS]), state, Counts(*counts))
            for row in self.ledger.all(sql, bindings)
            for state, *counts in [row[_CHECKPOINT_COLUMNS:]]
        ]

    def has_transcripts(self) -> bool:
        """Whether a transcript was ever followed or imported."""
        sql = f"SELECT EXISTS (SELECT 1 FROM source WHERE format <> '{LOG}')"
        return bool(self.ledger.value(sql))

    def path(self, source_id: int) -> str | None:
        """Where the file of this source is, or was last; None when there is no such source."""
        row = self.ledger.one("SELECT path FROM source WHERE source_id = ?", (source_id,))
        return None if row is None else str(row[0])

    def last_commit_us(self) -> int | None:
        """When lines of a log were last committed; None when there are none."""
        sql = "SELECT max(last_read_us) FROM source WHERE state <> 'imported'"
        at_us: int | None = self.ledger.value(sql)
        return at_us

    def counts(self) -> Counts:
        """The counters of all sources together: as fast on a large ledger as on a small one."""
        sums = ", ".join(f"coalesce(sum({name}), 0)" for name in Counts._fields)
        return Counts(*next(self.ledger.all(f"SELECT {sums} FROM source")))

    def added(self, source_id: int, from_us: int, until_us: int) -> Added:
        """What the calls of this source are that started in this time, and were not pruned."""
        calls, unpriced, first_us, last_us, *cost = next(
            self.ledger.all(_ADDED, (source_id, from_us, until_us))
        )
        return Added(calls, next(joined(cost)) or 0, unpriced or 0, first_us, last_us)

    def open_gaps(self, since_us: int | None = None) -> OpenGaps:
        """The open gaps, or those that were first seen after this time."""
        sql = (
            "SELECT count(*), coalesce(sum(known_bytes), 0) FROM gap "
            "WHERE state = 'open' AND (?1 IS NULL OR first_seen_us > ?1)"
        )
        return OpenGaps(*next(self.ledger.all(sql, (since_us,))))


_CHECKPOINTS: Final = f"SELECT {_CHECKPOINT} FROM source WHERE state = 'live'"
_OPEN_GAPS: Final = """
    SELECT gap_id, source_id, path, source_offset, known_bytes, record_bytes, record_digest
    FROM gap JOIN source USING (source_id) WHERE gap.state = 'open'
"""
_REGISTER: Final = """
    INSERT INTO source (path, host, dev, inode, size_bytes, chain, first_seen_us, state, format)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING source_id
"""
_GAP: Final = """
    INSERT INTO gap (source_id, source_offset, known_bytes, reason, first_seen_us)
    SELECT source_id, offset, ?, ?, ? FROM source WHERE source_id = ?
"""
_END: Final = "UPDATE source SET state = ? WHERE source_id = ?"


class Sources:
    """Notes which sources there are, and what became of them. Without state of its own."""

    def __init__(self, ledger: Writer) -> None:
        self._ledger = ledger

    def checkpoints(self) -> list[Checkpoint]:
        """The committed place in every live source."""
        return [Checkpoint(*row) for row in self._ledger.all(_CHECKPOINTS)]

    def register(self, sightings: Sequence[Sighting], now_us: int) -> list[Checkpoint]:
        """New sources at offset 0, one for each sighting, known before their first byte is read."""
        with self._ledger.transaction():
            return [self._register(sighting, now_us) for sighting in sightings]

    def replace(self, mismatch: Mismatch, now_us: int) -> Checkpoint:
        """Ends a source that its file no longer matches, and begins another at 0 for that file."""
        with self._ledger.transaction():
            self._end(mismatch.source_id, "replaced", mismatch.reason, mismatch.known_bytes, now_us)
            return self._register(mismatch.sighting, now_us)

    def retire(self, gone: Iterable[tuple[int, int]], now_us: int) -> None:
        """Ends sources whose files are gone: each with how many bytes were seen and never read."""
        with self._ledger.transaction():
            for source_id, known_bytes in gone:
                self._end(source_id, "gone", "vanished", known_bytes, now_us)

    def added(self, source_id: int, from_us: int, until_us: int) -> Added:
        """See `SourceReader`."""
        return SourceReader(self._ledger).added(source_id, from_us, until_us)

    def open_gaps(self) -> list[Gap]:
        """The gaps whose bytes have not turned up."""
        return [Gap(*row) for row in self._ledger.all(_OPEN_GAPS)]

    def resolve(self, gap: Gap) -> None:
        """Notes that a gap's bytes were found in a copy, and read there."""
        self._ledger.write("UPDATE gap SET state = 'resolved' WHERE gap_id = ?", (gap.gap_id,))

    def acknowledge_gaps(self) -> int:
        """Accepts the open gaps as lost, so that `status` no longer warns of them; how many."""
        return self._ledger.write("UPDATE gap SET state = 'acknowledged' WHERE state = 'open'")

    def relocate(self, checkpoints: Iterable[Checkpoint]) -> None:
        """Notes where these sources' files are now."""
        with self._ledger.transaction():
            self._ledger.db.executemany(
                "UPDATE source SET path = ?, dev = ? WHERE source_id = ?",
                [(moved.path, moved.dev, moved.source_id) for moved in checkpoints],
            )

    def has_finished(self, read_before_us: int, kept_before_us: int) -> bool:
        """Whether `SourceReader.finished` has any."""
        return bool(SourceReader(self._ledger).finished(read_before_us, kept_before_us, most=1))

    def note_kept(self, source_id: int, now_us: int) -> None:
        """Notes that this log is old but not proven, so that it is not read again and again."""
        sql = "UPDATE source SET kept_us = ? WHERE source_id = ?"
        self._ledger.write(sql, (now_us, source_id))

    def register_import(self, sighting: Sighting, now_us: int) -> Checkpoint:
        """A new source at offset 0 that nobody follows: its file is read once."""
        with self._ledger.transaction():
            return self._register(sighting, now_us, "imported")

    def _register(self, sighting: Sighting, now_us: int, state: str = "live") -> Checkpoint:
        file = (sighting.path, sighting.dev, sighting.inode)
        start = Checkpoint(0, *file, format=sighting.format)
        where = (start.path, self._ledger.host, start.dev, start.inode)
        noted = (*where, sighting.size_bytes, start.chain, now_us, state, start.format)
        return replace(start, source_id=self._ledger.db.execute(_REGISTER, noted).get)

    def _end(self, source_id: int, state: str, reason: str, known_bytes: int, now_us: int) -> None:
        if known_bytes > 0:
            self._ledger.db.execute(_GAP, (known_bytes, reason, now_us, source_id))
        self._ledger.db.execute(_END, (state, source_id))
