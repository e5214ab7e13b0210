"""The snapshots of a configuration copied to its publish.url. Loads pyarrow."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import structlog

from prodlensd.app.ledger import reading, snapshot_path, writing
from prodlensd.config import Config
from prodlensd.daemon import configure_log
from prodlensd.jobs import publishing
from prodlensd.jobs.publishing import Copied, PublishError
from prodlensd.ledger import Publishing
from prodlensd.model import OperationalError, TemporaryError
from prodlensd.moments import now_us
from prodlensd.snapshots import destination


def days_due(config: Config, *, everything: bool) -> int:
    """How many snapshots are to be copied. Raises LedgerError."""
    with reading(config) as reader:
        if everything:
            return reader.days.snapshots().days
        return len(reader.publishing.due(config.publish.url))


def publish(config: Config, *, everything: bool, is_logged: bool) -> Iterator[Copied]:
    """Copies the snapshots that are due, or everything; each when it is copied.

    Raises TemporaryError when not all could be copied, or OperationalError. With `is_logged`, the
    first failure and the first success after it are logged.
    """
    configure_log(config.log.level)
    log, url = structlog.get_logger(), config.publish.url
    if not url:
        raise OperationalError("publish.url is not set: there is nowhere to copy snapshots to")
    # Each transaction is durable: a copy that is noted is not made again.
    with writing(config, durability="full") as ledger, reading(config) as reader:
        was_failing = reader.publishing.failed() is not None
        if everything:
            Publishing(ledger).forget_copies(url)
        try:
            yield from publishing.publish(
                ledger,
                reader,
                url,
                open_destination=destination,
                path_of=partial(snapshot_path, config),
                now=now_us,
            )
        except PublishError as error:
            if is_logged and not was_failing:
                log.warning("cannot publish just now; will keep trying", url=url, fault=str(error))
            raise TemporaryError(f"cannot publish to {url}: {error}") from error
        if is_logged and was_failing:
            log.info("publishing again", url=url)
