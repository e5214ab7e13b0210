"""The program with one mistake in it: what the suite must not let pass.

Each mutant is a function that makes the mistake through the `setattr` it is given.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from unittest.mock import patch

from msgspec.structs import replace

from prodlensd import snapshots
from prodlensd.jobs import compaction, publishing
from prodlensd.ledger import Counts, Ledger, Partitions
from prodlensd.ledger.days import Partition
from prodlensd.ledger.pins import Pins
from prodlensd.ledger.rows import COLUMNS
from prodlensd.ledger.sources import Sources
from prodlensd.logs import source, zeros
from prodlensd.model import Checkpoint, Outcome, Sighting, SnapshotFile
from prodlensd.snapshots import destinations as publish
from prodlensd.snapshots import files

SetAttr = Callable[[Any, str, Any], None]


class _Alike(bytes):
    """A digest that is like any other."""

    __slots__ = ()

    def __eq__(self, _other: object) -> bool:
        return True

    def __ne__(self, _other: object) -> bool:
        return False

    __hash__ = bytes.__hash__


def inode_trusted(set_attribute: SetAttr) -> None:
    """Whoever has the inode is the file."""
    set_attribute(source, "proof_at", lambda *_: _Alike())


def last_record_not_checked(set_attribute: SetAttr) -> None:
    """A file is another one only when it is shorter than the offset: what most tailers do."""

    def proof_at(pread: Callable[[int, int], bytes], offset: int, record_bytes: int) -> bytes:
        there = not record_bytes or pread(1, offset + record_bytes - 1)
        return _Alike() if there else b"shorter"

    set_attribute(source, "proof_at", proof_at)


def half_lines_taken(set_attribute: SetAttr) -> None:
    """What stands at the end of a file is a line, with or without its newline."""
    real = source.Source._next_chunk

    def lines_chunk(self: Any, *arguments: Any, **_final: bool) -> Any:
        return real(self, *arguments, final=True)

    set_attribute(source.Source, "_next_chunk", lines_chunk)


def keys_of_each_source(set_attribute: SetAttr) -> None:
    """A line without ids is another one in another source."""
    real = Sources._register

    def register(self: Sources, sighting: Sighting, now_us: int) -> Checkpoint:
        checkpoint = real(self, sighting, now_us)
        chain = checkpoint.source_id.to_bytes(16, "big")
        self._ledger.db.execute(
            "UPDATE source SET chain = ? WHERE source_id = ?", (chain, checkpoint.source_id)
        )
        return replace(checkpoint, chain=chain)

    set_attribute(Sources, "_register", register)


def offset_later(set_attribute: SetAttr) -> None:
    """Rows in one transaction, the offset in the next."""
    real = Ledger.commit

    def commit(self: Ledger, made: Iterable[Outcome], now_us: int) -> Counts:
        outcomes = list(made)
        with self.transaction():
            changed = [row for outcome in outcomes for row in self._insert(outcome.rows)[0]]
        with self.transaction():  # so that it is right as long as nobody dies
            keys = [row[:2] for row in changed]
            self.db.executemany("DELETE FROM call WHERE started_us = ? AND key = ?", keys)
            return real(_Within(self), outcomes, now_us)

    set_attribute(Ledger, "commit", commit)


def offset_sooner(set_attribute: SetAttr) -> None:
    """The offset in one transaction, the rows in the next."""
    real = Ledger.commit

    def commit(self: Ledger, made: Iterable[Outcome], now_us: int) -> Counts:
        outcomes = list(made)
        with self.transaction():
            for end in (outcome.end for outcome in outcomes):
                self.db.execute(
                    "UPDATE source SET offset = ?, record_bytes = ?, record_digest = ? "
                    "WHERE source_id = ?",
                    (end.offset, end.record_bytes, end.record_digest, end.source_id),
                )
        with self.transaction():  # so that it is right as long as nobody dies
            for start in (outcome.start for outcome in outcomes):
                self.db.execute(
                    "UPDATE source SET offset = ? WHERE source_id = ?",
                    (start.offset, start.source_id),
                )
            return real(_Within(self), outcomes, now_us)

    set_attribute(Ledger, "commit", commit)


def prices_later(set_attribute: SetAttr) -> None:
    """Rows in one transaction, the prices that they were priced at in the next."""
    real, write = Ledger.commit, Pins.write

    def commit(self: Ledger, outcomes: Iterable[Outcome], now_us: int) -> Counts:
        with patch.object(Pins, "write", lambda _pins: None), patch.object(Pins, "settle"):
            committed = real(self, outcomes, now_us)
        with self.transaction():
            write(self.pins)
        return committed

    set_attribute(Ledger, "commit", commit)


class _Within(Ledger):
    """A store that is within a transaction already."""

    def __init__(self, store: Ledger) -> None:
        vars(self).update(vars(store))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        yield


def clean_before_written(set_attribute: SetAttr) -> None:
    """A day is marked clean, and then its snapshot is written."""
    real = compaction.Compaction._write

    def write(self: compaction.Compaction, partition: Partition, workers: Any) -> Any:
        written = SnapshotFile(0, 0, b"")
        self.partitions.mark_clean(
            *(partition.day, partition.version, written, self.directory, self.now())
        )
        return real(self, partition, workers)

    set_attribute(compaction.Compaction, "_write", write)


def written_in_place(set_attribute: SetAttr) -> None:
    """A snapshot is written where readers look for it."""

    @contextmanager
    def replacing(path: Path) -> Iterator[BinaryIO]:
        with path.open("wb") as file:
            os.fsync(file.fileno())
            yield file

    set_attribute(files, "replacing", replacing)


def appended_to(set_attribute: SetAttr) -> None:
    """A snapshot is a file more, beside those from before."""
    real = snapshots.write_snapshot

    def write_snapshot(path: Path, *arguments: Any, **named: Any) -> SnapshotFile:
        if path.exists():
            number = len(list(path.parent.glob("*.parquet")))
            path.rename(path.with_name(f"{number}.parquet"))
        return real(path, *arguments, **named)

    set_attribute(snapshots, "write_snapshot", write_snapshot)


def pruned_in_two_steps(set_attribute: SetAttr) -> None:
    """Rows are deleted in one transaction, and what tells them again is kept in the next."""
    real = Partitions.prune

    def prune(self: Partitions, day: int, proven: bytes, most: int) -> int:
        db = self._ledger.db
        with self._ledger.transaction():
            rows = db.execute(f"SELECT {','.join(COLUMNS)} FROM trace").fetchall()
            db.execute("DELETE FROM call")
        with self._ledger.transaction():  # so that it is right as long as nobody dies
            self._ledger.rows.insert(rows)
        return real(self, day, proven, most)

    set_attribute(Partitions, "prune", prune)


def pruned_calls_not_known(set_attribute: SetAttr) -> None:
    """Whether a line is of a pruned call is not asked."""
    set_attribute(Ledger, "_not_pruned", lambda _self, rows: rows)


def pruned_calls_not_copied(set_attribute: SetAttr) -> None:
    """A day that was pruned is written from what is in the ledger."""
    set_attribute(snapshots, "merged", lambda ours, _theirs: ours)


def pruned_calls_copied_blindly(set_attribute: SetAttr) -> None:
    """All of the old file is copied into the new one, what is still in the ledger too."""
    set_attribute(snapshots, "rows_at", lambda tables, _places: tables)
    set_attribute(Partitions, "prune", _prune_some(Partitions.prune))


def _prune_some(real: Callable[..., int]) -> Callable[..., int]:
    def prune(self: Partitions, day: int, proven: bytes, _most: int) -> int:
        return real(self, day, proven, 3)

    return prune


def files_not_announced(set_attribute: SetAttr) -> None:
    """That a new file is about to take its place is not noted."""

    def announce(self: Partitions, day: int, host: str, *_file: object) -> None:
        with self._ledger.transaction():
            self._ledger.db.execute("UPDATE partition SET host = ? WHERE day = ?", (host, day))

    set_attribute(Partitions, "announce", announce)


def files_believed(set_attribute: SetAttr) -> None:
    """A day is clean because the manifest says so; nobody looks for its file."""
    set_attribute(Partition, "is_in", lambda _self, _directory: True)


def files_announced_where_they_go(set_attribute: SetAttr) -> None:
    """The manifest names the folder that a file is about to come to, not the one it is in."""
    real = Partitions.announce

    def announce(self: Partitions, day: int, host: str, _there: Path, *digests: Any) -> None:
        home = Path(os.environ["PRODLENSD_HOME"])
        another = home / "another"
        real(self, day, host, another if another.exists() else home / "parquet", *digests)

    set_attribute(Partitions, "announce", announce)


def published_before_copied(set_attribute: SetAttr) -> None:
    """A copy is noted, and then made."""
    real = publish.Folder.put

    def put(self: publish.Folder, file: Path, key: str) -> None:
        waiting = getattr(self, "_waiting", None)
        if waiting is not None:
            real(self, *waiting)
        vars(self)["_waiting"] = (file, key)

    def run(*arguments: Any, **named: Any) -> Iterator[Any]:
        folder = named["open_destination"](arguments[2])
        named["open_destination"] = lambda _url: folder
        yield from real_publish(*arguments, **named)
        if waiting := vars(folder).get("_waiting"):
            real(folder, *waiting)

    real_publish = publishing.publish
    set_attribute(publish.Folder, "put", put)
    set_attribute(publishing, "publish", run)


def zeros_proven_by_the_file(set_attribute: SetAttr) -> None:
    """Zeros are a hole, whatever may still be written there, and so is what stands there then."""
    real = zeros.after_zeros

    def after_zeros(*arguments: Any) -> tuple[int, bool | None]:
        end, is_followed = real(*arguments)
        return end, is_followed is None or True

    set_attribute(zeros, "after_zeros", after_zeros)
    set_attribute(source, "proof_of_zeros", lambda _count: _Alike())


#: Those that show when the process dies, and those that show when files change.
OF_CRASHES = [
    offset_later,
    offset_sooner,
    prices_later,
    clean_before_written,
    written_in_place,
    appended_to,
]
OF_FILES = [
    inode_trusted,
    last_record_not_checked,
    half_lines_taken,
    keys_of_each_source,
    zeros_proven_by_the_file,
]
#: Those that show where rows are pruned and snapshots copied, when the process dies or anyway.
OF_RETENTION = [
    pruned_in_two_steps,
    pruned_calls_not_known,
    pruned_calls_not_copied,
    pruned_calls_copied_blindly,
    files_not_announced,
    files_believed,
    files_announced_where_they_go,
    published_before_copied,
]
MUTANTS = {mutant.__name__: mutant for mutant in (*OF_CRASHES, *OF_FILES, *OF_RETENTION)}
