"""The days: the traces of each, and how far its snapshot is.

Every span is [from_us, until_us), in microseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from prodlensd.ledger.connection import ReadOnly
from prodlensd.ledger.sources import Place
from prodlensd.model import US_PER_DAY
from prodlensd.moments import day_of

# ruff: noqa: S608 - statements are put together from names of columns

#: [from_us, until_us), in microseconds since 1970.
Span = tuple[int, int]


def span_of(day: int) -> Span:
    """A UTC day (days since 1970)."""
    return day * US_PER_DAY, (day + 1) * US_PER_DAY


class Partition(NamedTuple):
    """How far the snapshot of one day (days since 1970) is: a row of the manifest.

    rows, file_bytes, sha256   of the file, when it was written; None before the first
    host         the name of the file, from the first one on
    next_sha256  of a file that was about to take its place
    pruned       how many of the rows are in no other place any more
    directory    the folder that it was written to; None: by a version that had only one
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
    directory: str | None

    @property
    def is_clean(self) -> bool:
        """Whether the snapshot holds what the ledger has of the day."""
        return self.version == self.compacted_version

    def path(self, directory: Path, host: str = "") -> Path:
        """Where its file stands in this folder; `host` names the first one."""
        return directory / f"event_date={day_of(self.day)}/{self.host or host}.parquet"

    def place(self, directory: Path) -> Path:
        """Where its file is; `directory` is the folder of those that no folder is noted of."""
        return self.path(Path(self.directory or directory))

    def names(self, digest: bytes) -> bool:
        """Whether a file with this digest is its file."""
        return digest in (self.sha256, self.next_sha256)

    def may_be(self, path: Path) -> bool:
        """Whether the file at `path` can be its file, by its size. Raises OSError."""
        try:
            size_bytes = path.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return False
        # Of one that was about to take its place, no size is noted.
        return size_bytes == self.file_bytes or self.next_sha256 is not None

    def is_in(self, directory: Path) -> bool:
        """Whether its file is in this folder, and can be its file. Raises OSError."""
        is_another = self.directory is not None and self.directory != str(directory)
        return not is_another and self.may_be(self.path(directory))


PARTITION_COLUMNS: Final = ", ".join(Partition._fields)


class Snapshots(NamedTuple):
    """How far the Parquet files are."""

    days: int
    dirty_days: int
    last_compacted_us: int | None
    pruned_traces: int  # those that are in no other place any more


@dataclass(frozen=True, slots=True)
class DayReader:
    """The days that have calls, what became of their snapshots, and their traces."""

    ledger: ReadOnly

    def partitions(self) -> dict[int, Partition]:
        """Every day (days since 1970) that has or had traces."""
        rows = self.ledger.all(f"SELECT {PARTITION_COLUMNS} FROM partition ORDER BY day")
        return {row[0]: Partition(*row) for row in rows}

    def pruned(self, from_us: int, until_us: int) -> list[Partition]:
        """The days of the span that have pruned calls."""
        first, last = from_us // US_PER_DAY, (until_us - 1) // US_PER_DAY
        return [p for p in self.partitions().values() if p.pruned and first <= p.day <= last]

    def snapshots(self) -> Snapshots:
        """How far the Parquet files are."""
        sql = (
            "SELECT count(*), coalesce(sum(version > compacted_version), 0), "
            "max(compacted_us), coalesce(sum(pruned), 0) FROM partition"
        )
        return Snapshots(*next(self.ledger.all(sql)))

    def traces(
        self, from_us: int, until_us: int, columns: Sequence[str]
    ) -> Iterator[tuple[Any, ...]]:
        """These columns of the traces that started in the span, in time order, read as one view.

        Beside the columns of the `traces` view there are `started_us` and `cost_nanousd`, exact.
        """
        return self.ledger.all(
            f"SELECT {', '.join(columns)} FROM trace_exact "
            "WHERE started_us >= ? AND started_us < ? ORDER BY started_us",
            (from_us, until_us),
        )

    def count(self, from_us: int, until_us: int, most: int = -1) -> int:
        """How many traces of the span are here, not counting pruned ones, nor beyond `most`."""
        sql = (
            "SELECT count(*) FROM (SELECT 1 FROM trace "
            "WHERE started_us >= ? AND started_us < ? LIMIT ?)"
        )
        return int(self.ledger.value(sql, (from_us, until_us, most)))

    def pruned_places(self, from_us: int, to_us: int) -> set[Place]:
        """Where the pruned traces that started in [from_us, to_us] were first read."""
        sql = "SELECT source_id, source_offset FROM pruned WHERE started_us BETWEEN ? AND ?"
        return set(self.ledger.all(sql, (from_us, to_us)))
