"""SQL over the calls of a configuration, or of a published folder or bucket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import NamedTuple

from prodlensd.answers.queries import Queries
from prodlensd.app.calls import opened
from prodlensd.config import Config

__all__ = ["Asked", "queries"]


class Asked(NamedTuple):
    """What may be asked of the calls; and the hosts that are behind the others, with their day."""

    queries: Queries
    behind: dict[str, date]


@contextmanager
def queries(config: Config, url: str | None) -> Iterator[Asked]:
    """The calls of this machine, or those at a published address. Raises OperationalError."""
    with opened(config, url) as (calls, behind):
        yield Asked(Queries(calls), behind)
