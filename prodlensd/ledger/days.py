"""The reading side of the days: their calls, their snapshots, and where these were copied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from prodlensd.ledger.reading import Place, Reader
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


class DayReader(Reader):
    """A read-only view of the ledger, day by day."""

    def partitions(self) -> dict[int, Partition]:
        """Every day (days since 1970) that has or had traces."""
        rows = self._all(f"SELECT {PARTITION_COLUMNS} FROM partition ORDER BY day")
        return {row[0]: Partition(*row) for row in rows}

    def snapshots(self) -> Snapshots:
        """How far the Parquet files are."""
        return Snapshots(
            *self._row(
                "SELECT count(*), coalesce(sum(version > compacted_version), 0), "
                "max(compacted_us), coalesce(sum(pruned), 0) FROM partition"
            )
        )

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
