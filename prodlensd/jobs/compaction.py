"""Brings the snapshots up to date with the ledger, one dirty day at a time.

That the manifest has a day as clean is not enough: its file must be in the folder, with the size
noted. Any step can be killed and repeated: a day is marked clean only after its file is in place,
and only for the version that the day had before it was read. Pruned rows are copied from the file
that holds them, once its digest is the manifest's. When the configured folder has changed, that
file is in the folder before it.

The rows of a large day are read by other processes (`python -m prodlensd.jobs.compaction LEDGER`):
most of the work is to turn rows into columns, and Python does that on one processor only. When we
die, their input ends, and so do they.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import IO, Final, NamedTuple, Self

import pyarrow as pa
from msgspec import Struct

from prodlensd import __version__, child, snapshots
from prodlensd.ledger import Partition, Partitions, Reader, Span
from prodlensd.model import US_PER_S, OperationalError

#: The version of the files' columns, noted in each file's metadata.
FILE_VERSION: Final = 3
#: As in `retention`: few enough for one transaction to take milliseconds.
_ROWS_AT_ONCE: Final = 2_000
_PAGES_AT_ONCE: Final = 128
_HELPERS: Final = min(2, os.cpu_count() or 1)
#: A day of fewer rows is read in this process: starting workers would take longer than they save.
_FEW_ROWS: Final = 100_000
#: Workers read a day in spans of twenty minutes: short enough for each to get about as many calls,
#: at whatever hours people work; and long, as what repeats is looked at once in each.
_SPAN_US: Final = 1200 * US_PER_S


class SnapshotLostError(OperationalError):
    """A snapshot with pruned calls is gone or damaged, or the file in its place is not ours."""


class Compacted(NamedTuple):
    """One snapshot written."""

    path: Path
    rows: int
    size_bytes: int


class _Old(NamedTuple):
    """The file of a day that a new one replaces: its folder, and its digest if there was one."""

    directory: Path
    sha256: bytes | None


class Compaction(Struct, frozen=True, kw_only=True):
    """One round over the days; needs `snapshots.exclusive_lock` of all their folders around it.

    `directory` is the folder that all files are to be in, and the folder of files for which the
    manifest has none. `host` names the first file of a day; `now` is the time in microseconds;
    `pause` is called after each of many transactions, so that other programs can write.
    """

    partitions: Partitions
    reader: Reader
    directory: Path
    host: str
    price_book: str
    now: Callable[[], int]
    pause: Callable[[], None]

    def run(self) -> Iterator[Compacted]:
        """Writes the snapshot of every day that needs one; yields each when it is done.

        A day that must not be written does not stop the others: SnapshotLostError is raised at the
        end. LedgerError and OSError are raised at once.
        """
        lost = []
        self.partitions.note_directory(self.directory)
        with Workers(self.reader.path) as workers:
            for partition in self._due():
                try:
                    yield self._write(partition, workers)
                except SnapshotLostError as error:
                    lost.append(str(error))
        self._drop_facts()
        if lost:
            raise SnapshotLostError("; ".join(lost))

    def _drop_facts(self) -> None:
        """Deletes what earlier versions kept of pruned calls that are whole in snapshots now."""
        while self.partitions.drop_facts(_ROWS_AT_ONCE):
            self.pause()
            while self.partitions.give_back(_PAGES_AT_ONCE):
                self.pause()

    def _due(self) -> Iterator[Partition]:
        """The days whose snapshot is behind, or is not in the folder with the size noted."""
        for partition in self.reader.days.partitions().values():
            if not partition.is_clean:
                yield partition
            elif not partition.is_in(self.directory):
                # Marked before it is read: a day that is not clean is not pruned meanwhile.
                self.partitions.mark_unwritten(partition.day)
                yield self.partitions.get(partition.day)

    def _write(self, partition: Partition, workers: Workers) -> Compacted:
        partition = partition.named(self.host)
        day, host, path = partition.day, str(partition.host), partition.path(self.directory)
        old = self._old(partition, path)
        tables = self._read(partition.span, workers)
        if partition.pruned:
            tables = snapshots.merged(
                tables, self._pruned(partition, partition.path(old.directory))
            )
        file = snapshots.write_snapshot(
            path,
            snapshots.grouped(tables),
            metadata={
                "schema_version": str(FILE_VERSION),
                "writer": f"prodlensd {__version__}",
                "host": host,
                "watermark": str(partition.version),
                "price_book": self.price_book,
            },
            announce=lambda file: self.partitions.announce(
                *(day, host, old.directory, old.sha256, file.sha256)
            ),
        )
        self.partitions.mark_clean(day, partition.version, file, self.directory, self.now())
        return Compacted(path, file.rows, file.size_bytes)

    def _read(self, span: Span, workers: Workers) -> Iterator[pa.Table]:
        """The rows of the day that are in the ledger, in order of time."""
        if workers.count and self.reader.days.count(*span, _FEW_ROWS + 1) > _FEW_ROWS:
            return workers.tables(_parts(span))
        return snapshots.Tables(self.reader.days).of(*span)

    def _old(self, partition: Partition, path: Path) -> _Old:
        """What the new file replaces, once it is proven that writing to `path` loses nothing.

        Raises SnapshotLostError, or OSError when the file at `path` cannot be read.
        """
        here = proven(partition, path)
        old = _Old(self.directory, here or partition.sha256)
        if partition.pruned:
            old = self._holder(partition, here)
        # A ledger that was begun anew or restored may have fewer calls than the snapshots there.
        if here is None and (rows := _rows_in(path)) and rows > self._rows_known(partition):
            raise SnapshotLostError(
                f"{path} holds more calls than this ledger, and is not what it wrote: it may be "
                "all that is left of them; move it away to have it written anew"
            )
        return old

    def _rows_known(self, partition: Partition) -> int:
        return self.reader.days.count(*partition.span) + partition.pruned

    def _holder(self, partition: Partition, here: bytes | None) -> _Old:
        """What holds the pruned rows: the manifest's file, or `here`, when it was moved by hand.

        The manifest's file when both exist: it is the one that a kill leaves as it is.
        """
        place = partition.place(self.directory)
        folder = place.parents[1]
        with suppress(OSError):
            if folder != self.directory and (there := proven(partition, place)) is not None:
                return _Old(folder, there)
        if here is not None:
            return _Old(self.directory, here)
        sha256 = "none" if partition.sha256 is None else partition.sha256.hex()
        raise SnapshotLostError(
            f"{place} {_fault(place)}, and {partition.pruned} pruned calls are in no other place: "
            f"put the file back from a copy (its SHA-256 is {sha256})"
        )

    def _pruned(self, partition: Partition, path: Path) -> Iterator[pa.Table]:
        """The rows of the old file that are in no other place, with all that is known of them."""
        tables = snapshots.read_groups(path)
        if snapshots.count(path) == partition.pruned and not self.reader.days.has_facts():
            return tables
        return snapshots.rows_at(tables, self.reader.days.pruned_places)


def proven(partition: Partition, path: Path) -> bytes | None:
    """The digest of the file at `path`, when the manifest names it, or None. Raises OSError."""
    try:
        found = snapshots.digest(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found if partition.names(found) else None


def _fault(path: Path) -> str:
    """What is wrong with the file at `path`, which is not the one that was written there."""
    try:
        path.open("rb").close()
    except (FileNotFoundError, NotADirectoryError):
        return "is gone"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "was changed"


def _rows_in(path: Path) -> int:
    """How many rows are in the file at `path`; 0 when it does not exist or is not a snapshot."""
    try:
        return snapshots.count(path)
    except (FileNotFoundError, ValueError):
        return 0


# Workers ----------------------------------------------------------------------------------------


def _parts(span: Span) -> Iterator[Span]:
    begin, end = span
    return ((start, min(start + _SPAN_US, end)) for start in range(begin, end, _SPAN_US))


class Workers:
    """Processes that read the ledger, started when they are first needed."""

    def __init__(self, ledger: Path) -> None:
        self._ledger = ledger
        self._started: list[_Worker] = []
        self.count = _HELPERS if _HELPERS > 1 else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._started:
            worker.end()

    def tables(self, spans: Iterable[Span]) -> Iterator[pa.Table]:
        """The rows of these spans, in their order. Raises OSError when a worker fails."""
        while len(self._started) < self.count:
            self._started.append(_Worker(self._ledger))
        asked: deque[_Worker] = deque()
        for span, worker in zip(spans, cycle(self._started), strict=False):
            worker.ask(span)
            asked.append(worker)
            # Each has one more span to go on with, and only one: answers wait in memory.
            if len(asked) == 2 * self.count:
                yield from asked.popleft().answer()
        while asked:
            yield from asked.popleft().answer()


class _Worker:
    def __init__(self, ledger: Path) -> None:
        self._child = child.start(
            str(ledger),
            module="prodlensd.jobs.compaction",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._child.stdin and self._child.stdout  # noqa: S101, PT018 - PIPE above
        self._questions: IO[bytes] = self._child.stdin
        self._answers: IO[bytes] = self._child.stdout

    def ask(self, span: Span) -> None:
        with suppress(BrokenPipeError):  # it has ended: `answer` will raise
            self._questions.write(json.dumps(span).encode() + b"\n")
            self._questions.flush()

    def answer(self) -> Iterator[pa.Table]:
        try:
            for batch in pa.ipc.open_stream(self._answers):
                yield pa.Table.from_batches([batch])
        except pa.ArrowInvalid as error:
            raise OSError(f"a worker of the compaction gave no answer: {error}") from error

    def end(self) -> None:
        self._child.kill()
        with suppress(BrokenPipeError):
            self._questions.close()
        self._answers.close()
        self._child.wait()


def serve(ledger: Path, questions: Iterable[bytes], answers: IO[bytes]) -> None:
    """Answers each span, a line of JSON, with a stream of its rows, until there are no more."""
    with Reader(ledger, in_one_thread=True) as reader:
        tables = snapshots.Tables(reader.days)
        for question in questions:
            with pa.ipc.new_stream(answers, snapshots.ENCODED_SCHEMA) as stream:
                for table in tables.of(*json.loads(question)):
                    stream.write_table(table)
            answers.flush()


if __name__ == "__main__":
    gc.disable()  # rows hold no cycles
    serve(Path(sys.argv[1]), sys.stdin.buffer, sys.stdout.buffer)
