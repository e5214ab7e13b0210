"""Whether a job has anything to do: what the daemon asks before it starts one. Loads no pyarrow."""

from __future__ import annotations

from typing import Final

from prodlensd.config import Config, Retention
from prodlensd.ledger import Ledger, Partitions, Prices, Publishing
from prodlensd.model import US_PER_DAY
from prodlensd.moments import now_us

#: A log that could not be proven is not read again sooner.
LOG_PATIENCE_US: Final = US_PER_DAY


def has_to_compact(config: Config, ledger: Ledger) -> bool:
    """Whether snapshots are behind, sums too, days are to be pruned, or logs to be deleted."""
    if ledger.spending.is_behind(now_us()):
        return True
    if config.parquet.enabled and Partitions(ledger).has_work(
        config.parquet.directory, prune_before(config.retention)
    ):
        return True
    log_days, now = config.retention.log_days, now_us()
    before_us = now - log_days * US_PER_DAY
    return log_days > 0 and ledger.sources.has_finished(before_us, now - LOG_PATIENCE_US)


def prune_before(retention: Retention) -> int | None:
    """The day (since 1970) before which days are pruned; None when none are."""
    return now_us() // US_PER_DAY - retention.store_days if retention.store_days else None


def has_to_publish(config: Config, ledger: Ledger) -> bool:
    """Whether there are snapshots to copy, and it is time to try."""
    url = config.publish.url
    return bool(url) and Publishing(ledger).has_work(url, now_us())


def has_to_reprice(prices: Prices, ours: str, at_start: str | None) -> bool:
    """Whether calls are without a price that were last tried with other prices than ours.

    `ours` is the fingerprint of this daemon's prices, `at_start` the one that the ledger had when
    the daemon started. A note that has changed since is from a `reprice` with newer prices than
    ours: this daemon then leaves repricing to its next start, or the two would undo each other.
    """
    noted = prices.fingerprint()
    if noted == ours or noted != at_start:
        return False
    if prices.unpriced_calls() > 0:
        return True
    prices.note_fingerprint(ours)
    return False
