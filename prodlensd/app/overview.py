"""The overview of a configuration's calls."""

from __future__ import annotations

from datetime import date, tzinfo
from typing import NamedTuple

from prodlensd.answers.overview import Overview, first_us
from prodlensd.answers.overview import overview as of
from prodlensd.app.calls import opened
from prodlensd.config import Config


class Seen(NamedTuple):
    """The overview, and the hosts whose calls are not all there yet, with their last day."""

    overview: Overview
    behind: dict[str, date]


def overview(config: Config, at_us: int, zone: tzinfo, url: str | None = None) -> Seen:
    """Today, this week and this month, as they are at this moment. Raises OperationalError."""
    with opened(config, url, first_us(at_us, zone), at_us + 1) as (calls, behind):
        return Seen(of(calls, at_us, zone), behind)
