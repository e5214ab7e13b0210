"""The snapshots of a configuration brought up to date, and what is past its [retention] deleted.

Loads pyarrow.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import structlog

from prodlensd import snapshots
from prodlensd.answers.facts import price_book
from prodlensd.answers.verify import proven
from prodlensd.app.due import LOG_PATIENCE_US, prune_before
from prodlensd.app.following import follow
from prodlensd.app.ledger import reading, snapshot_path, writing
from prodlensd.config import Config
from prodlensd.daemon import configure_log
from prodlensd.jobs import compaction, retention
from prodlensd.jobs.compaction import Compaction, SnapshotLostError
from prodlensd.ledger import Ledger, Partitions, Reader, Turns
from prodlensd.model import US_PER_DAY
from prodlensd.moments import now_us


class Step(NamedTuple):
    """A file, and what was done about it: "written", "pruned" (of the ledger), or "deleted".

    With the calls that it is about, and the size of a file that was written.
    """

    path: Path
    what: Literal["written", "pruned", "deleted"]
    rows: int = 0
    size_bytes: int = 0


def days_due(config: Config) -> int:
    """How many snapshots are to be written, by what the ledger has noted. Raises LedgerError."""
    with reading(config) as reader:
        return reader.days.snapshots().dirty_days if config.parquet.enabled else 0


def compact(config: Config) -> Iterator[Step]:
    """Brings the snapshots up to date, prunes, and deletes logs; each step when it is done.

    A lost snapshot does not keep other days from being pruned, but it keeps all logs: some may
    hold its calls. Raises OperationalError or OSError.
    """
    configure_log(config.log.level)
    with _durable(config) as ledger, reading(config, in_one_thread=True) as reader:
        give_turns = _give_turns()
        while ledger.spending.sum_up(now_us()):
            give_turns()
        if config.parquet.enabled:
            yield from _write_and_prune(config, Partitions(ledger), reader)
        if config.retention.log_days:
            yield from _delete_logs(config, ledger, reader)


def write_snapshots(config: Config) -> str | None:
    """Brings the snapshots up to date and does nothing else; why not all of them, or None.

    Raises LedgerError or OSError.
    """
    try:
        with _durable(config) as ledger, reading(config, in_one_thread=True) as reader:
            for _ in _write(config, Partitions(ledger), reader):
                pass
    except (snapshots.LockedError, SnapshotLostError) as error:
        return str(error)
    return None


def _durable(config: Config) -> Ledger:
    """The ledger, with each transaction durable, since files follow on it."""
    return writing(config, durability="full")


def _write_and_prune(config: Config, partitions: Partitions, reader: Reader) -> Iterator[Step]:
    lost = None
    try:
        yield from _write(config, partitions, reader)
    except SnapshotLostError as error:
        lost = error
    yield from _prune(config, partitions, reader)
    if lost is not None:
        raise lost


def _write(config: Config, partitions: Partitions, reader: Reader) -> Iterator[Step]:
    with ExitStack() as locks:
        locks.enter_context(snapshots.exclusive_lock(config.parquet.directory))
        for folder in _other_folders(config, reader):
            # Where we may not write, no other program of this ledger compacts either.
            with suppress(OSError):
                if folder.is_dir():
                    locks.enter_context(snapshots.exclusive_lock(folder))
        for written in Compaction(
            partitions=partitions,
            reader=reader,
            directory=config.parquet.directory,
            host=config.host,
            price_book=price_book() or "none",
            now=now_us,
            pause=_give_turns(),
        ).run():
            yield Step(written.path, "written", written.rows, written.size_bytes)


def _other_folders(config: Config, reader: Reader) -> set[Path]:
    """The folders of snapshots that are yet to be written to the configured one."""
    noted = {
        Path(p.directory) for p in reader.days.partitions().values() if p.directory is not None
    }
    return noted - {config.parquet.directory}


def _give_turns() -> Callable[[], None]:
    """Leaves other programs their turn at the ledger."""
    return Turns(time.monotonic, threading.Event().wait).give


def _prune(config: Config, partitions: Partitions, reader: Reader) -> Iterator[Step]:
    before_day = prune_before(config.retention)
    if before_day is None:
        return
    with snapshots.exclusive_lock(config.parquet.directory):
        for pruned in retention.prune(
            partitions,
            reader,
            partial(snapshot_path, config),
            compaction.proven,
            before_day=before_day,
            pause=_give_turns(),
        ):
            yield Step(pruned.path, "pruned", pruned.rows)


def _delete_logs(config: Config, ledger: Ledger, reader: Reader) -> Iterator[Step]:
    log = structlog.get_logger()
    for verdict in retention.delete_logs(
        ledger.sources,
        reader,
        partial(proven, reader, follow=partial(follow, config, zeros_wait_ns=0)),
        untouched_us=config.retention.log_days * US_PER_DAY,
        patience_us=LOG_PATIENCE_US,
        now_us=now_us(),
    ):
        if verdict.kept is None:
            log.info("deleted a log: all of it is in the ledger", path=verdict.path)
            yield Step(Path(verdict.path), "deleted")
        else:
            log.warning("kept an old log", path=verdict.path, reason=verdict.kept)
