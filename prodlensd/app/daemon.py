"""`prodlensd run`."""

from __future__ import annotations

import gc
import os
import subprocess
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import click
import structlog
from structlog.typing import FilteringBoundLogger

from prodlensd import __version__, child, formats
from prodlensd.app.books import Books, fingerprint
from prodlensd.app.following import follow, own_files
from prodlensd.app.metrics import http_server
from prodlensd.cli import EXIT_LOCKED, config_option, fail, load_config
from prodlensd.app.compaction import has_work
from prodlensd.app.publication import has_backlog
from prodlensd.config import Config, ConfigError, load
from prodlensd.daemon import Daemon, Notifier, Pace, Work, configure_log, log_outlet
from prodlensd.ledger import Ledger, LedgerError, LedgerLostError, Partitions, Prices
from prodlensd.logs import Bell
from prodlensd.moments import now_us
from prodlensd.pipeline import build
from prodlensd.process import AlreadyRunningError, InstanceLock, Signals


@click.command()
@config_option
@click.option("--once", is_flag=True, help="Ingest everything there is, compact, and exit.")
@click.pass_obj
def command(caught: Signals | None, config_path: Path | None, once: bool) -> None:
    """Run the daemon in the foreground.

    Example: prodlensd run --once

    Exit code: 0, 1 on a failure while running, 75 when another instance runs, 78 for a bad
    configuration.
    """
    config = load_config(config_path)
    os.umask(0o077)
    # Lines become short-lived tuples by the thousand and hold no cycles: look for those less often.
    gc.set_threshold(100_000, 50, 100)
    configure_log(config.log.level)
    log = structlog.get_logger()
    notifier = Notifier(os.environ)
    notifier.status("opening the ledger")
    try:
        with ExitStack() as stack:
            signals = caught or stack.enter_context(Signals())
            stack.enter_context(InstanceLock(config.store.path))
            if not config.store.path.exists():
                log.info("beginning a new ledger", store=str(config.store.path))
            log.info("started", version=__version__, pid=os.getpid(), store=str(config.store.path))
            configuration = _Configuration(config, config_path, log)
            while _run(configuration, signals, log, notifier, once=once):
                pass
            log.info("stopped")
    except AlreadyRunningError as error:
        raise fail(str(error), EXIT_LOCKED) from error
    except (LedgerLostError, LedgerError, OSError) as error:
        raise fail(str(error)) from error


def _run(
    configuration: _Configuration,
    signals: Signals,
    log: FilteringBoundLogger,
    notifier: Notifier,
    *,
    once: bool,
) -> bool:
    """Runs the daemon on one configuration; True when there is another one."""
    config, config_path = configuration.now, configuration.path
    _create_folders(config, log)
    with ExitStack() as stack:
        ledger = stack.enter_context(
            Ledger(config.store.path, host=config.host, durability=config.store.durability)
        )
        bell = Bell(config.logs.directories, recursive=config.logs.recursive)
        prices = Prices(ledger, now_us)
        books = Books(config.pricing, prices)
        stack.callback(books.close)
        if not once:
            stack.enter_context(bell)
            stack.enter_context(http_server(config, log))
            with suppress(OSError, MemoryError):  # it is started again when it is asked
                books.start()
        told = configuration.prices
        new_prices = partial(_has_new_prices, prices, told, prices.fingerprint())
        repricing = Work(partial(_start, config_path, "reprice"), new_prices)
        compaction = Work(
            partial(_start, config_path, "compact"), partial(has_work, config, Partitions(ledger))
        )
        publication = Work(
            partial(_start, config_path, "publish"),
            partial(has_backlog, config, Partitions(ledger)),
        )
        # What is there once is all there is: nothing is on its way.
        patience = {"zeros_wait_ns": 0} if once else {}
        tailer = follow(config, ledger.checkpoints(), **patience)
        stack.callback(tailer.close)
        daemon = Daemon(
            ledger=ledger,
            tailer=tailer,
            bell=bell,
            build=partial(
                build, parse=formats.parse, price=books.pricer.price, expect=books.expect
            ),
            log=log,
            signals=signals,
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
            unsaid=lambda: log_outlet.unsaid,
            now=now_us,
        )
        if once:
            _run_once(daemon, signals, (repricing, compaction))
            if not signals.stop_asked and publication.is_there():
                publication.start().wait()  # that it fails, it says itself; there may be no network
            return False
        books.warm_up()
        return daemon.run(configuration.has_changed)


def _run_once(daemon: Daemon, signals: Signals, chores: Iterable[Work]) -> None:
    daemon.begin()
    while daemon.ingest() and not signals.stop_asked:
        pass
    daemon.beat("stopped", force=True)
    for chore in chores:
        if not signals.stop_asked and chore.is_there() and chore.start().wait() != 0:
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


class _Configuration:
    """The configuration in force, and how to read it again. The mutable state: which one it is."""

    def __init__(self, config: Config, path: Path | None, log: FilteringBoundLogger) -> None:
        self.now = config
        self.path = path
        self.prices = fingerprint(config.pricing)
        self._log = log

    def has_changed(self) -> bool:
        """Reads it again: whether it, or the prices that it names, are others now.

        One that cannot be used is said, and the old one stays in force.
        """
        try:
            new = load(self.path)
        except ConfigError as error:
            self._log.error("keeping the old configuration", fault=str(error))
            return False
        if new.store.path != self.now.store.path:
            self._log.error("keeping the old configuration: a new store.path needs a restart")
            return False
        configure_log(new.log.level)
        self._log.info("configuration read again", path=str(new.path))
        before, self.now = (self.now, self.prices), new
        self.prices = fingerprint(new.pricing)
        return (self.now, self.prices) != before


def _create_folders(config: Config, log: FilteringBoundLogger) -> None:
    """Makes the log folders, for the gateway and the watch to find; says which cannot be made."""
    for directory in config.logs.directories:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            log.warning("cannot create a log folder", path=str(directory), fault=error.strerror)
    within = [
        str(file)
        for file in own_files(config)
        if any(file.is_relative_to(folder) for folder in config.logs.directories)
    ]
    if within:
        log.warning("own files in a log folder: they are never read as logs", paths=within[:3])


def _start(config_path: Path | None, command: str) -> subprocess.Popen[bytes]:
    """A process of its own: the daemon stays small, and a crash there harms nothing."""
    arguments = [] if config_path is None else ["--config", str(config_path)]
    return child.start(command, "--quiet", *arguments)
