"""The overview of a configuration's calls."""

from __future__ import annotations

from datetime import date, tzinfo
from typing import NamedTuple

from prodlensd.answers.budgets import Standing
from prodlensd.answers.overview import Overview, first_us
from prodlensd.answers.overview import overview as of
from prodlensd.answers.show import Listed, latest
from prodlensd.app.budgets import standing
from prodlensd.app.calls import opened
from prodlensd.config import Config


class Seen(NamedTuple):
    """The overview, how the budgets of this machine stand, and hosts with their last day.

    The calls of those hosts are not all there yet. `latest` are the last calls, the newest first.
    """

    overview: Overview
    budgets: list[Standing]
    behind: dict[str, date]
    latest: tuple[Listed, ...]


def overview(
    config: Config, at_us: int, zone: tzinfo, url: str | None = None, *, latest_calls: int = 0
) -> Seen:
    """Today, this week and this month, as they are at this moment. Raises OperationalError."""
    with opened(config, url, first_us(at_us, zone), at_us + 1) as (calls, behind):
        stand = standing(config, at_us) if url is None and config.budget else []
        listed = latest(calls, latest_calls) if latest_calls else ()
        return Seen(of(calls, at_us, zone), stand, behind, listed)
