"""The daemon of a configuration, put together, and again whenever the configuration changes."""

from __future__ import annotations

import gc
import os
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import structlog
from structlog.typing import FilteringBoundLogger

from prodlensd import __version__, child
from prodlensd.access import refusal
from prodlensd.app import due
from prodlensd.app.books import Books, fingerprint
from prodlensd.app.following import follow, own_files, transcript_folders
from prodlensd.app.http import http_server
from prodlensd.app.once import Pass
from prodlensd.app.owner import owner_of
from prodlensd.config import Config, ConfigError, build, load
from prodlensd.daemon import BEAT_INTERVAL_S, Daemon, Job, Notifier, Pace, configure_log, log_outlet
from prodlensd.ledger import Ledger, Prices
from prodlensd.logs import ZEROS_WAIT_NS, Bell
from prodlensd.model import OperationalError
from prodlensd.moments import now_us
from prodlensd.pricing import HUNG_S
from prodlensd.process import InstanceLock, Signals

#: How long a daemon waits for a price: less than the five seconds in which it has to stop. It asks
#: again later; `run --once` ends with an error, so that waits for as long as there is hope.
_BOOK_PATIENCE_S: Final = 4.0


def run(
    config: Config, path: Path | None, caught: Signals | None, *, once: Pass | None = None
) -> None:
    """Runs the daemon until a signal asks it to stop; with `once`, until everything is ingested.

    `path` is where the configuration is read again, None where it is looked for; `caught` are the
    signals, where they are caught already. Raises AlreadyRunningError, OperationalError or OSError.
    """
    # Lines become short-lived tuples by the thousand and hold no cycles: look for those less often.
    gc.set_threshold(100_000, 50, 100)
    configure_log(config.log.level)
    log = structlog.get_logger()
    notifier = Notifier(os.environ)
    notifier.status("opening the ledger")
    with ExitStack() as stack:
        signals = caught or stack.enter_context(Signals())
        _create_store_folder(config.store.path.parent)
        try:
            stack.enter_context(InstanceLock(config.store.path))
        except OSError as error:
            folder = config.store.path.parent
            why = refusal(folder, error, os.W_OK)
            raise OperationalError(f"store.path: cannot write in {folder}: {why}") from error
        if not config.store.path.exists():
            log.info("beginning a new ledger", store=str(config.store.path))
        log.info("started", version=__version__, pid=os.getpid(), store=str(config.store.path))
        live = _Live(config, path, log)
        while _run(live, signals, log, notifier, once=once):
            pass
        log.info("stopped")


class _Live:
    """The configuration in force, which can be read again. The mutable state: which one it is."""

    def __init__(self, config: Config, path: Path | None, log: FilteringBoundLogger) -> None:
        self.config = config
        self.path = path
        self.prices = fingerprint(config.pricing)
        self._log = log

    def has_changed(self) -> bool:
        """Reads it again; True when it, or a price file that it names, is another one now.

        One that cannot be used is logged, and the old one stays in force.
        """
        try:
            new = load(self.path)
        except ConfigError as error:
            self._log.error("keeping the old configuration", fault=str(error))
            return False
        if new.store.path != self.config.store.path:
            self._log.error("keeping the old configuration: a new store.path needs a restart")
            return False
        configure_log(new.log.level)
        self._log.info("configuration read again", path=str(new.path))
        before = (self.config, self.prices)
        self.config, self.prices = new, fingerprint(new.pricing)
        return (self.config, self.prices) != before


class _Jobs(NamedTuple):
    """What the daemon has done by processes of their own, in the order in which it is due."""

    repricing: Job
    compaction: Job
    publication: Job
    notification: Job


def _jobs(live: _Live, ledger: Ledger, prices: Prices) -> _Jobs:
    config, at_start = live.config, prices.fingerprint()
    return _Jobs(
        repricing=Job(
            "repricing",
            partial(_start, live.path, "reprice"),
            partial(due.has_to_reprice, prices, live.prices, at_start),
        ),
        compaction=Job(
            "compaction",
            partial(_start, live.path, "compact"),
            partial(due.has_to_compact, config, ledger),
        ),
        publication=Job(
            "publication",
            partial(_start, live.path, "publish"),
            partial(due.has_to_publish, config, ledger),
        ),
        notification=Job(
            "notification",
            partial(_start, live.path, "notify"),
            due.ToNotify(config),
            interval_s=BEAT_INTERVAL_S,
        ),
    )


def _run(
    live: _Live,
    signals: Signals,
    log: FilteringBoundLogger,
    notifier: Notifier,
    *,
    once: Pass | None,
) -> bool:
    """Runs the daemon on the configuration in force; True when there is another one."""
    config = live.config
    _create_folders(config, log)
    with ExitStack() as stack:
        ledger = stack.enter_context(
            Ledger(
                config.store.path,
                host=config.host,
                durability=config.store.durability,
                migrating=_migrating(notifier, log),
            )
        )
        transcripts = [folder.path for folder in transcript_folders(config)]
        bell = Bell(
            config.logs.directories, recursive=config.logs.recursive, transcripts=transcripts
        )
        prices = Prices(ledger, now_us)
        patience_s = _BOOK_PATIENCE_S if once is None else HUNG_S
        books = stack.enter_context(Books(config.pricing, prices, patience_s))
        rests = [books.rest]
        if once is None:
            stack.enter_context(bell)
            rests.append(stack.enter_context(http_server(config, live.path, log)))
            with suppress(OSError, MemoryError):  # they are started again when they are asked
                books.start()
        jobs = _jobs(live, ledger, prices)
        # What is there once is all there is: no writer is about to fill a hole.
        zeros_wait_ns = 0 if once is not None else ZEROS_WAIT_NS
        tailer = follow(config, ledger.sources.checkpoints(), zeros_wait_ns=zeros_wait_ns)
        stack.enter_context(closing(tailer))
        daemon = Daemon(
            ledger=ledger,
            tailer=tailer,
            bell=bell,
            pricer=books.pricer,
            owner=owner_of(config),
            log=log,
            signals=signals,
            pace=Pace(
                batch_max_lines=config.store.batch_max_lines,
                rescan_interval_s=config.logs.rescan_interval_s,
                job_interval_s=config.parquet.interval_s,
            ),
            jobs=jobs,
            on_idle=partial(_rest, rests),
            notifier=notifier,
            lost_messages=lambda: log_outlet.unreported,
            now=now_us,
        )
        if once is not None:
            _run_once(daemon, signals, jobs, once)
            return False
        books.warm_up()
        return daemon.run(live.has_changed)


def _migrating(notifier: Notifier, log: FilteringBoundLogger) -> Callable[[], None]:
    """Tells the service manager that the start takes its time, and the log once why."""
    is_first = iter([True])

    def alive() -> None:
        if next(is_first, False):
            log.info("bringing the ledger of an older version up to date")
        notifier.alive()

    return alive


def _rest(rests: Sequence[Callable[[], None]]) -> None:
    for rest in rests:
        rest()


def _run_once(daemon: Daemon, signals: Signals, jobs: _Jobs, once: Pass) -> None:
    daemon.begin()
    with once.watched() as step:
        while daemon.ingest() and not signals.stop_asked:
            step()
    daemon.beat("stopped", force=True)
    for job in jobs:
        if signals.stop_asked or not job.has_work():
            continue
        failed = job.start().wait() != 0
        # Without a network these fail and log it; the next one tries again.
        if failed and job not in (jobs.publication, jobs.notification):
            raise OperationalError("everything is ingested, but what follows failed; see above")


def _create_store_folder(folder: Path) -> None:
    """Makes the folder of the ledger and of its lock. Raises OperationalError."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OperationalError(
            f"store.path: cannot make the folder {folder}: {refusal(folder, error, os.W_OK)}; "
            "set store.path or $PRODLENSD_HOME"
        ) from error


def _create_folders(config: Config, log: FilteringBoundLogger) -> None:
    """Makes the log folders, so that the proxy and the bell find them, and logs which.

    One that the configuration names and nobody has made may be a mistake: that is a warning.
    """
    usual = build({}, None, os.environ).logs.directories
    for folder in config.logs.directories:
        try:
            if folder.is_dir():
                continue
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            log.warning("cannot create a log folder", path=str(folder), fault=error.strerror)
            continue
        if folder in usual:
            log.info("created the log folder", path=str(folder))
        else:
            log.warning("created a log folder that was not there", path=str(folder))
    within = [
        str(file)
        for file in own_files(config)
        if any(file.is_relative_to(folder) for folder in config.logs.directories)
    ]
    if within:
        log.warning("own files in a log folder: they are never read as logs", paths=within[:3])


def _start(config_path: Path | None, command: str) -> subprocess.Popen[bytes]:
    """Starts a command as a process: the daemon stays small, and a crash there harms nothing.

    Raises OSError.
    """
    arguments = [] if config_path is None else ["--config", str(config_path)]
    return child.start(command, "--quiet", *arguments)
