"""`prodlensd compact`."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import click
import structlog

from prodlensd.answers.status import price_book
from prodlensd.app.snapshots import snapshot_path
from prodlensd.cli import EXIT_LOCKED, config_option, fail, load_config
from prodlensd.cli.verify import rereading
from prodlensd.config import Config, Retention
from prodlensd.daemon import configure_log
from prodlensd.ledger import DayReader, Ledger, LedgerError, LedgerLockedError, Partitions, Turns
from prodlensd.model import US_PER_DAY
from prodlensd.moments import now_us
from prodlensd.text import printable

#: A log that could not be proven is not read again sooner.
LOG_PATIENCE_US = US_PER_DAY


@click.command()
@config_option
@click.option("-q", "--quiet", is_flag=True, help="Print nothing; what is deleted is logged.")
def command(config_path: Path | None, quiet: bool) -> None:
    """Bring the Parquet snapshots up to date now, and keep to the [retention].

    Example: prodlensd compact

    Exit code: 0, 1 when it failed, 75 when another compaction or a reader holds the folder.
    """
    from prodlensd.jobs.compaction import SnapshotLostError  # noqa: PLC0415 - loads pyarrow
    from prodlensd.snapshots import LockedError  # noqa: PLC0415

    config = load_config(config_path)
    os.umask(0o077)
    gc.disable()  # what becomes columns by the million holds no cycles
    configure_log(config.log.level)
    if not config.store.path.exists():
        raise fail(f"no ledger at {config.store.path}: has the daemon run yet?")
    done = 0
    try:
        for done, said in enumerate(compact_now(config), start=1):  # noqa: B007 - counted for after
            if not quiet:
                click.echo(said)
    except (LockedError, LedgerLockedError) as error:
        raise fail(str(error), EXIT_LOCKED) from error
    except (SnapshotLostError, LedgerError, OSError) as error:
        raise fail(f"compaction failed: {error}") from error
    if not done and not quiet:
        click.echo("all snapshots are up to date")


def compact_now(config: Config) -> Iterator[str]:
    """Brings the snapshots up to date, prunes, and deletes logs; says what it did.

    A snapshot that is lost keeps no other day from being pruned, and every log from being deleted:
    some may hold its calls. Raises LockedError, SnapshotLostError, LedgerError or OSError.
    """
    # Each step is durable, whatever `store.durability` says: files follow on it.
    with Ledger(config.store.path) as ledger, DayReader(config.store.path) as reader:
        partitions = Partitions(ledger)
        if config.parquet.enabled:
            yield from _write_and_prune(config, partitions, reader)
        if config.retention.log_days:
            yield from _delete_logs(config, partitions, reader)


def _write_and_prune(config: Config, partitions: Partitions, reader: DayReader) -> Iterator[str]:
    from prodlensd.jobs.compaction import SnapshotLostError  # noqa: PLC0415 - loads pyarrow

    lost = None
    try:
        yield from write_snapshots(config, partitions, reader)
    except SnapshotLostError as error:
        lost = error
    yield from _prune(config, partitions, reader)
    if lost is not None:
        raise lost


def has_work(config: Config, partitions: Partitions) -> bool:
    """Whether `compact` would find anything to do."""
    before_day = _prune_before(config.retention)
    if config.parquet.enabled and partitions.has_work(config.parquet.directory, before_day):
        return True
    log_days = config.retention.log_days
    before_us = now_us() - log_days * US_PER_DAY
    return log_days > 0 and partitions.has_finished_logs(before_us, now_us() - LOG_PATIENCE_US)


def _prune_before(retention: Retention) -> int | None:
    """The day (since 1970) before which days are pruned; None: none are."""
    return now_us() // US_PER_DAY - retention.store_days if retention.store_days else None


def write_snapshots(config: Config, partitions: Partitions, reader: DayReader) -> Iterator[str]:
    """Brings the snapshots up to date; says what it did. Raises as `compact_now`."""
    from prodlensd import snapshots  # noqa: PLC0415 - loads pyarrow
    from prodlensd.jobs.compaction import Compaction  # noqa: PLC0415

    with ExitStack() as locks:
        locks.enter_context(snapshots.exclusive_lock(config.parquet.directory))
        for folder in _other_folders(config, reader):
            # Where we may not write, nobody else of this ledger compacts either.
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
        ).run():
            yield f"{printable(str(written.path))}: {written.rows} rows, {written.size_bytes} bytes"


def _other_folders(config: Config, reader: DayReader) -> set[Path]:
    """The folders of snapshots that are yet to be written to the configured one."""
    noted = {Path(p.directory) for p in reader.partitions().values() if p.directory is not None}
    return noted - {config.parquet.directory}


def _prune(config: Config, partitions: Partitions, reader: DayReader) -> Iterator[str]:
    from prodlensd import snapshots  # noqa: PLC0415 - load pyarrow
    from prodlensd.jobs import compaction, retention  # noqa: PLC0415 - load pyarrow

    before_day = _prune_before(config.retention)
    if before_day is None:
        return
    with snapshots.exclusive_lock(config.parquet.directory):
        for pruned in retention.prune(
            partitions,
            reader,
            partial(snapshot_path, config),
            compaction.proven,
            before_day=before_day,
            pause=Turns(time.monotonic, threading.Event().wait).give,
        ):
            yield f"{printable(str(pruned.path))}: {pruned.rows} rows pruned from the ledger"


def _delete_logs(config: Config, partitions: Partitions, reader: DayReader) -> Iterator[str]:
    from prodlensd.answers.verify import proven  # noqa: PLC0415
    from prodlensd.jobs import retention  # noqa: PLC0415 - loads pyarrow

    log = structlog.get_logger()
    for verdict in retention.delete_logs(
        partitions,
        reader,
        partial(proven, reader, **rereading(config)),
        untouched_us=config.retention.log_days * US_PER_DAY,
        patience_us=LOG_PATIENCE_US,
        now_us=now_us(),
    ):
        if verdict.kept is None:
            log.info("deleted a log: all of it is in the ledger", path=verdict.path)
            yield f"{printable(verdict.path)}: deleted"
        else:
            log.warning("kept an old log", path=verdict.path, reason=verdict.kept)
