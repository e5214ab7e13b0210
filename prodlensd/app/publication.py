"""`prodlensd publish`."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import structlog

from prodlensd.app.snapshots import snapshot_path
from prodlensd.cli import EXIT_LOCKED, config_option, fail, load_config
from prodlensd.config import Config
from prodlensd.daemon import configure_log
from prodlensd.ledger import DayReader, Ledger, LedgerError, Partitions
from prodlensd.moments import now_us
from prodlensd.text import printable

if TYPE_CHECKING:
    from prodlensd.jobs.publication import Copied


@click.command()
@config_option
@click.option("--all", "everything", is_flag=True, help="Copy again what was copied before, too.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but the log.")
def command(config_path: Path | None, everything: bool, quiet: bool) -> None:
    """Copy the snapshots that are up to date to publish.url now.

    Does not look whether an earlier copy is still there: after the bucket or folder lost files,
    --all copies all of them again.

    Example: prodlensd publish --all

    Exit code: 0, 1 when there is no ledger or no address, 75 when not all could be copied: the
    daemon tries again.
    """
    from prodlensd.jobs.publication import PublishError  # noqa: PLC0415 - loads pyarrow

    config = load_config(config_path)
    # Ctrl-C ends us at once: as an exception it would complete an upload in the middle.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.umask(0o077)
    configure_log(config.log.level)
    if not config.publish.url:
        raise fail("publish.url is not set: there is nowhere to copy snapshots to")
    if not config.store.path.exists():
        raise fail(f"no ledger at {config.store.path}: has the daemon run yet?")
    done = 0
    try:
        for copied in _publish(config, everything=everything, is_logged=quiet):
            done += 1
            if not quiet:
                click.echo(f"{printable(copied.key)}: {copied.size_bytes} bytes")
    except PublishError as error:
        if quiet:
            raise SystemExit(EXIT_LOCKED) from error
        raise fail(
            f"cannot publish to {printable(config.publish.url)}: {error}", EXIT_LOCKED
        ) from error
    except LedgerError as error:
        raise fail(str(error)) from error
    if not quiet:
        click.echo(f"{done} snapshots copied" if done else "all snapshots are published")


def _publish(config: Config, *, everything: bool, is_logged: bool) -> Iterator[Copied]:
    """Copies what is due, or everything.

    With `is_logged`, that it fails, or does no longer, is logged once.
    """
    from prodlensd.jobs.publication import PublishError, publish  # noqa: PLC0415 - loads pyarrow
    from prodlensd.snapshots import destination  # noqa: PLC0415

    log, url = structlog.get_logger(), config.publish.url
    with Ledger(config.store.path) as ledger, DayReader(config.store.path) as reader:
        was_failing = reader.publishing() is not None
        partitions = Partitions(ledger)
        if everything:
            partitions.forget_published(url)
        try:
            yield from publish(
                partitions,
                reader,
                url,
                open_destination=destination,
                path_of=partial(snapshot_path, config),
                now=now_us,
            )
        except PublishError as error:
            if is_logged and not was_failing:
                log.warning("cannot publish just now; will keep trying", url=url, fault=str(error))
            raise
        if is_logged and was_failing:
            log.info("publishing again", url=url)


def has_backlog(config: Config, partitions: Partitions) -> bool:
    """Whether `publish` would find anything to do, and an attempt is due."""
    url = config.publish.url
    return bool(url) and partitions.has_backlog(url, now_us())
