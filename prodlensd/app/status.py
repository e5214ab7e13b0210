"""The health of a configuration's daemon. Loads no pyarrow, and no log."""

from __future__ import annotations

from functools import partial

from prodlensd.answers.gauges import Limits
from prodlensd.answers.status import Health, check_health
from prodlensd.app.budgets import budgets
from prodlensd.app.following import follow
from prodlensd.config import Config
from prodlensd.moments import now_us


def health(config: Config) -> Health:
    """The daemon's health now. A proxy in the configuration is asked too: up to a second."""
    parquet = config.parquet
    return check_health(
        config.store.path,
        parquet_interval_s=parquet.interval_s if parquet.enabled else None,
        now_us=now_us(),
        limits=limits(config),
        follow=partial(follow, config),
        proxy_url=config.proxy.url,
        publish_url=config.publish.url,
        parquet=parquet.directory if parquet.enabled else None,
        budgets=budgets(config),
    )


def limits(config: Config) -> Limits:
    """The limits of `[status]`."""
    status = config.status
    return Limits(**{name: getattr(status, name) for name in status.__struct_fields__})
