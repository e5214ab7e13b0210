"""Whether a job has anything to do: what the daemon asks before it starts one. Loads no pyarrow."""

from __future__ import annotations

from typing import Final

from prodlensd.answers.budgets import Standing, standings
from prodlensd.app.budgets import budgets
from prodlensd.app.ledger import reading
from prodlensd.config import Config, Retention
from prodlensd.jobs.notifying import LINES, Stand, escaped, of_budgets
from prodlensd.ledger import Ledger, LedgerError, Partitions, Prices, Publishing
from prodlensd.model import US_PER_DAY, US_PER_S
from prodlensd.moments import now_us
from prodlensd.text import money

#: A log that could not be proven is not read again sooner.
LOG_PATIENCE_US: Final = US_PER_DAY
#: How often the health is looked at for `notify.webhook`, by a process of its own.
_HEALTH_EVERY_US: Final = 300 * US_PER_S


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


class ToNotify:
    """Whether there is anything to tell. The mutable state: when the health is looked at next."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._next_health_us = 0

    def __call__(self) -> bool:
        """Quick, since the daemon asks it: of the health it only knows when to look."""
        if not self._config.notify.webhook:
            return False
        now = now_us()
        try:
            with reading(self._config) as reader, reader.one_moment():
                told, failed = reader.told.states(), reader.told.failed()
                stands = map(stand, standings(reader, budgets(self._config), now))
        except LedgerError:
            return False  # whoever writes meets it too, and says so
        if failed is not None:
            return now >= failed.next_us
        if now < self._next_health_us:
            return any(of_budgets(told, stands))
        self._next_health_us = now + _HEALTH_EVERY_US
        return True


def stand(standing: Standing) -> Stand:
    """A budget by the last line that what is known has crossed, whatever other calls may cost."""
    budget = standing.budget
    under, warning, over = LINES
    line = warning if standing.share >= budget.warn_at else under
    line = over if standing.spent.cost_nanousd > budget.limit_nanousd else line
    text = (
        f"budget {escaped(budget.name)} {line}: {standing.spent_text} of "
        f"{money(budget.limit_nanousd)} in {standing.period}"
    )
    return Stand(budget.name, standing.period, line, text, standing.as_dict())
