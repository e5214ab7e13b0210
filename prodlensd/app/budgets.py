"""The budgets of a configuration, and how they stand."""

from __future__ import annotations

from prodlensd.answers.budgets import NO_BUDGETS, Budget, Budgets, Standing, standings
from prodlensd.app.ledger import reading
from prodlensd.config import LIMITS, Config
from prodlensd.model import NANOUSD_PER_USD


def budgets(config: Config) -> Budgets:
    """What the configuration asks for, in this machine's time zone."""
    if not config.budget:
        return NO_BUDGETS
    from prodlensd.app.zone import time_zone  # noqa: PLC0415 - `status` mostly needs none

    return Budgets(
        [
            Budget(
                name=asked.name,
                scope=asked.scope,
                pattern=getattr(asked, asked.scope) if asked.scope else "*",
                period=LIMITS[asked.limit],
                limit_nanousd=round(getattr(asked, asked.limit) * NANOUSD_PER_USD),
                warn_at=asked.warn_at,
            )
            for asked in config.budget
        ],
        time_zone(None),
    )


def standing(config: Config, at_us: int) -> list[Standing]:
    """How each budget stands at this moment. Raises LedgerError."""
    with reading(config) as reader, reader.one_moment():
        return standings(reader, budgets(config), at_us)
