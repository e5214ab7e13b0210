"""`prodlensd run`."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import click
import structlog
from structlog.typing import FilteringBoundLogger

from prodlensd import __version__, formats
from prodlensd.bell import Bell
from prodlensd.cli import EXIT_LOCKED, config_option, fail, load_config, now_us
from prodlensd.cli.compact import has_work
from prodlensd.cli.metrics import http_server
from prodlensd.cli.pricing import Books, fingerprint
from prodlensd.cli.publish import has_backlog
from prodlensd.config import Config, ConfigError, load
from prodlensd.daemon import Daemon, Pace, Work
from prodlensd.pipeline import build
from prodlensd.pricing.child import own_path
from prodlensd.service import log as service_log
from prodlensd.service.lock import AlreadyRunningError, InstanceLock
from prodlensd.service.notify import Notifier
from prodlensd.service.signals import Signals
from prodlensd.store import LedgerLostError, Partitions, Prices, Store, StoreError
from prodlensd.tailer import Tailer


@click.command()
@config_option
@click.option("--once", is_flag=True, help="Ingest everything there is, compact, and exit.")
def command(config_path: Path | None, once: bool) -> None:
    """Run the daemon in the foreground.

    Exit code: 0, 1 on a failure while running, 75 when another instance runs, 78 for a bad
    configuration.
    """
    config = load_config(config_path)
    os.umask(0o077)
    # Lines become short-lived tuples by the thousand and hold no cycles: look for those less often.
    gc.set_threshold(100_000, 50, 100)
    service_log.configure(config.log.level)
    log = structlog.get_logger()
    notifier = Notifier(os.environ)
    notifier.status("opening the ledger")
    try:
        with Signals() as signals, InstanceLock(config.store.path):
            if not config.store.path.exists():
                log.info("beginning a new ledger", store=str(config.store.path))
            log.info("started", version=__version__, pid=os.getpid(), store=str(config.store.path))
            while _run(config, config_path, signals, log, notifier, once=once):
                notifier.reloading()
                config = _reloaded(config, config_path, log)
            log.info("stopped")
    except AlreadyRunningError as error:
        raise fail(str(error), EXIT_LOCKED) from error
    except (LedgerLostError, StoreError, OSError) as error:
        raise fail(str(error)) from error


def _run(
    config: Config,
    config_path: Path | None,
    signals: Signals,
    log: FilteringBoundLogger,
    notifier: Notifier,
    *,
    once: bool,
) -> bool:
    """Runs the daemon on one configuration; True when it is to be read again."""
    _create_folders(config, log)
    with ExitStack() as stack:
        store = stack.enter_context(
            Store(config.store.path, host=config.host, durability=config.store.durability)
        )
        bell = Bell(config.logs.directories, recursive=config.logs.recursive)
        prices = Prices(store)
        books = Books(config.pricing, prices)
        stack.callback(books.close)
        if not once:
            stack.enter_context(bell)
            stack.enter_context(http_server(config, log))
            books.start()
        signals.wake = bell.ring
        told = fingerprint(config.pricing)
        new_prices = partial(_has_new_prices, prices, told, prices.fingerprint())
        repricing = Work(partial(_start, config_path, "reprice"), new_prices)
        compaction = Work(
            partial(_start, config_path, "compact"), partial(has_work, config, Partitions(store))
        )
        publication = Work(
            partial(_start, config_path, "publish"), partial(has_backlog, config, Partitions(store))
        )
        tailer = Tailer(
            config.logs.directories,
            include=config.logs.include,
            recursive=config.logs.recursive,
            max_line_bytes=config.logs.max_line_bytes,
            checkpoints=store.checkpoints(),
        )
        stack.callback(tailer.close)
        daemon = Daemon(
            store=store,
            tailer=tailer,
            bell=bell,
            build=partial(build, parse=formats.parse, price=books.pricer.price),
            log=log,
            stop=signals.stop,
            pace=Pace(
                batch_max_lines=config.store.batch_max_lines,
                rescan_interval_s=config.logs.rescan_interval_s,
                chore_interval_s=config.parquet.interval_s,
            ),
            compaction=compaction,
            repricing=repricing,
            publication=publication,
            on_idle=books.rest,
            notifier=notifier,
            now=now_us,
        )
        if once:
            _run_once(daemon, signals, (repricing, compaction))
            if not signals.stop.is_set() and publication.is_there():
                publication.start().wait()  # that it fails, it says itself; there may be no network
            return False
        books.warm_up()
        daemon.run(interrupted=lambda: signals.reload_asked)
    return signals.take_reload() and not signals.stop.is_set()


def _run_once(daemon: Daemon, signals: Signals, chores: Iterable[Work]) -> None:
    daemon.begin()
    while daemon.ingest() and not signals.stop.is_set():
        pass
    daemon.beat("stopped", force=True)
    for chore in chores:
        if not signals.stop.is_set() and chore.is_there() and chore.start().wait() != 0:
            raise fail("everything is ingested, but what follows failed; see above")


def _has_new_prices(prices: Prices, told: str, before: str | None) -> bool:
    """Whether there are calls without a price that were last tried with other prices.

    When somebody has tried them since the start (`before`), it was with prices as they are now, and
    these are no longer ours: that waits for the next start.
    """
    now = prices.fingerprint()
    if now == told or now != before:
        return False
    if prices.unpriced_calls() > 0:
        return True
    prices.note_fingerprint(told)
    return False


def _reloaded(config: Config, config_path: Path | None, log: FilteringBoundLogger) -> Config:
    """The configuration read again, or the one in force when the new one cannot be."""
    try:
        new = load(config_path)
    except ConfigError as error:
        log.error("keeping the old configuration", fault=str(error))
        return config
    if new.store.path != config.store.path:
        log.error("keeping the old configuration: a new store.path needs a restart")
        return config
    service_log.configure(new.log.level)
    log.info("configuration read again", path=str(new.path))
    return new


def _create_folders(config: Config, log: FilteringBoundLogger) -> None:
    """Makes the log folders, for the gateway and the watch to find; says which cannot be made."""
    for directory in config.logs.directories:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            log.warning("cannot create a log folder", path=str(directory), fault=error.strerror)


def _start(config_path: Path | None, command: str) -> subprocess.Popen[bytes]:
    """A process of its own: the daemon stays small, and a crash there harms nothing."""
    # -P and our own path: it imports what we would, never what lies in the current folder
    arguments = [sys.executable, "-P", "-m", "prodlensd", command, "--quiet"]
    if config_path is not None:
        arguments += ["--config", str(config_path)]
    return subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": own_path()},
    )
