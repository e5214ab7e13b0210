"""The days: their traces, and what the manifest has of their snapshots.

Every span is [from_us, until_us), in microseconds since 1970.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from msgspec import Struct

from prodlensd.ledger import earlier
from prodlensd.ledger.connection import Database
from prodlensd.ledger.earlier import Facts
from prodlensd.ledger.rows import COMMON, OWN
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

    version      grows with every change of the day's traces; the snapshot holds compacted_version
    host         the name of the file, from the first one on for good; None before the first
    rows, file_bytes, sha256   of the file; None before the first
    next_sha256  of a file that was about to take its place
    pruned       how many of the rows are in this file only
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

    @property
    def span(self) -> Span:
        """The time of the day."""
        return span_of(self.day)

    @property
    def is_noted(self) -> bool:
        """Whether the manifest has the folder of its file; always, when there is no file yet."""
        return self.directory is not None or self.sha256 is None

    def is_prunable(self, before_day: int | None) -> bool:
        """Whether its rows are to be pruned, when days before this one are; None: none are."""
        is_due = before_day is not None and self.day < before_day and self.is_clean
        return is_due and (self.rows or 0) > self.pruned

    def named(self, host: str) -> Partition:
        """The same with a host: a day keeps the one that its first file was named after."""
        return self if self.host else self._replace(host=host)

    def path(self, directory: Path) -> Path:
        """Where its file stands in this folder."""
        return directory / f"event_date={day_of(self.day)}/{self.host or ''}.parquet"

    def place(self, directory: Path) -> Path:
        """Where its file is: in the folder of the manifest, or else in `directory`."""
        return self.path(Path(self.directory or directory))

    def names(self, digest: bytes) -> bool:
        """Whether a file with this SHA-256 is its file."""
        return digest in (self.sha256, self.next_sha256)

    def may_be(self, path: Path) -> bool:
        """Whether the file at `path` has the size of its file. Raises OSError."""
        try:
            size_bytes = path.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return False
        # The size of a file that was about to take its place is not noted.
        return size_bytes == self.file_bytes or self.next_sha256 is not None

    def is_in(self, directory: Path) -> bool:
        """Whether its file is in this folder, as far as its size shows. Raises OSError."""
        return self.directory in (None, str(directory)) and self.may_be(self.path(directory))


_COLUMNS: Final = ", ".join(Partition._fields)


class Snapshots(NamedTuple):
    """How far the Parquet files are."""

    days: int
    dirty_days: int
    last_compacted_us: int | None
    pruned_traces: int  # those that are in snapshots only


#: Columns of `call` that are no whole numbers.
_NO_NUMBERS: Final = ("call_id", "session_id", "latency_ms", "ttft_ms", "diff_ratio", "bill")
_NUMBERS: Final = tuple(name for name in OWN[2:] if name not in _NO_NUMBERS)
# Of the ids, those that are the key, if any.
_SAID: Final = {"key": "iif(typeof(key) = 'text', key, NULL)"} | {
    name: f"ifnull({name}, {-(2**63)})" for name in _NUMBERS
}
_OWN_ROWS: Final = (
    f"SELECT {', '.join(_SAID.get(name, name) for name in (*OWN, 'common_id'))} "
    "FROM call WHERE started_us >= ? AND started_us < ? ORDER BY started_us"
)
_COMMON_ROWS: Final = (
    f"SELECT common_id, {', '.join(COMMON)} FROM common "
    "WHERE common_id IN (SELECT value FROM json_each(?))"
)


class DayReader(Struct, frozen=True):
    """The days that have calls, what became of their snapshots, and their traces."""

    ledger: Database

    def partitions(self) -> dict[int, Partition]:
        """Every day (days since 1970) that has or had traces."""
        rows = self.ledger.all(f"SELECT {_COLUMNS} FROM partition ORDER BY day")
        return {row[0]: Partition(*row) for row in rows}

    def partition(self, day: int) -> Partition:
        """The manifest's row of this day, which there must be."""
        sql = f"SELECT {_COLUMNS} FROM partition WHERE day = ?"
        return Partition(*next(self.ledger.all(sql, (day,))))

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

    def own_rows(self, from_us: int, until_us: int) -> Iterator[tuple[Any, ...]]:
        """What each trace of the span has for itself, in time order: see `snapshots.OWN`."""
        return self.ledger.all(_OWN_ROWS, (from_us, until_us))

    def common_rows(self, common_ids: Iterable[int]) -> Iterator[tuple[Any, ...]]:
        """What traces have in common, by number: see `snapshots.COMMON`."""
        return self.ledger.all(_COMMON_ROWS, (json.dumps(list(common_ids)),))

    def halves(self) -> int:
        """How many traces lack what they have in common with others. There must be none."""
        sql = "SELECT count(*) FROM call WHERE common_id NOT IN (SELECT common_id FROM common)"
        return int(self.ledger.value(sql))

    def hosts(self) -> dict[int, str]:
        """The host that each source was read on, by its id."""
        return dict(self.ledger.all("SELECT source_id, host FROM source"))

    def count(self, from_us: int, until_us: int, most: int = -1) -> int:
        """How many traces of the span are here, not counting pruned ones, nor beyond `most`."""
        sql = (
            "SELECT count(*) FROM (SELECT 1 FROM call "
            "WHERE started_us >= ? AND started_us < ? LIMIT ?)"
        )
        return int(self.ledger.value(sql, (from_us, until_us, most)))

    def pruned_places(self, from_us: int, to_us: int) -> dict[Place, Facts | None]:
        """Where the pruned traces that started in [from_us, to_us] were first read.

        With what an earlier version kept of them; None: nothing.
        """
        if not self.has_facts():
            sql = "SELECT source_id, source_offset FROM pruned WHERE started_us BETWEEN ? AND ?"
            return dict.fromkeys(self.ledger.all(sql, (from_us, to_us)))
        rows = self.ledger.all(earlier.OF_SPAN, (from_us, to_us))
        return {
            (source_id, offset): None if is_whole else Facts._make(facts)
            for source_id, offset, is_whole, *facts in rows
        }

    def has_facts(self) -> bool:
        """Whether an earlier version kept facts of pruned calls that no snapshot has yet."""
        return bool(self.ledger.value(earlier.IS_LEFT))
