"""Which sources there are, how far each is read, and what it counts."""

# ruff: noqa: S608 - statements are put together from names of columns

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from prodlensd.ledger.connection import ReadOnly
from prodlensd.model import Checkpoint


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
    """What became of lines: lines = traces + duplicates + dead letters + blanks."""

    lines: int = 0
    traces: int = 0
    duplicates: int = 0
    dead_letters: int = 0
    blanks: int = 0


class OpenGaps(NamedTuple):
    """Places whose bytes are gone, as far as anybody knows, and how many bytes that is at least."""

    number: int
    known_bytes: int


class Source(NamedTuple):
    """One source, live or not, and what it counts."""

    checkpoint: Checkpoint
    state: str
    counts: Counts


#: Where a line was first read: source id, offset.
Place = tuple[int, int]

#: Sources that are read to their end, last before a time, and not looked at since another. Not
#: those with a line of which only the head is kept, unless somebody has purged that too.
FINISHED: Final = (
    "WHERE state = 'live' AND offset > 0 AND offset >= size_bytes AND last_read_us < ? "
    "AND coalesce(kept_us, 0) < ? AND source_id NOT IN (SELECT source_id FROM dead_letter "
    "WHERE reason = 'too_long' AND length > length(raw) AND state <> 'purged')"
)

CHECKPOINT_COLUMNS: Final = (
    "source_id, path, dev, inode, offset, size_bytes, chain, record_bytes, record_digest"
)
_COUNTED: Final = ", ".join(Counts._fields)
# Only in a gzip file the last record is not known by its length.
_TAILS: Final = """
    SELECT path, inode, size_bytes, offset, last_read_us, coalesce(last_read_us, first_seen_us),
        source_id, dev, offset > 0 AND record_bytes = 0
    FROM source WHERE state = 'live'
"""


@dataclass(frozen=True, slots=True)
class SourceReader:
    """What the ledger knows of the sources."""

    ledger: ReadOnly

    def tails(self) -> list[Tail]:
        """Every live source."""
        return [Tail(*row) for row in self.ledger.all(_TAILS)]

    def all(self) -> list[Source]:
        """Every source, live or not."""
        return self._chosen("ORDER BY source_id")

    def finished(self, read_before_us: int, kept_before_us: int) -> list[Source]:
        """The live sources that are read to their end, the last time before then, and not empty.

        Not those of whose lines only the head is kept, nor those that could lately not be proven.
        """
        which = f"{FINISHED} ORDER BY last_read_us"
        return self._chosen(which, (read_before_us, kept_before_us))

    def _chosen(self, which: str, bindings: tuple[object, ...] = ()) -> list[Source]:
        sql = f"SELECT {CHECKPOINT_COLUMNS}, state, {_COUNTED} FROM source {which}"
        return [
            Source(Checkpoint(*row[:9]), row[9], Counts(*row[10:]))
            for row in self.ledger.all(sql, bindings)
        ]

    def last_commit_us(self) -> int | None:
        """When lines were last committed; None when there are none."""
        at_us: int | None = self.ledger.value("SELECT max(last_read_us) FROM source")
        return at_us

    def counts(self) -> Counts:
        """The counters of all sources together: as fast on a large ledger as on a small one."""
        sums = ", ".join(f"coalesce(sum({name}), 0)" for name in Counts._fields)
        return Counts(*next(self.ledger.all(f"SELECT {sums} FROM source")))

    def open_gaps(self, since_us: int | None = None) -> OpenGaps:
        """The open gaps, or those that were first seen after this time."""
        sql = (
            "SELECT count(*), coalesce(sum(known_bytes), 0) FROM gap "
            "WHERE state = 'open' AND (?1 IS NULL OR first_seen_us > ?1)"
        )
        return OpenGaps(*next(self.ledger.all(sql, (since_us,))))
