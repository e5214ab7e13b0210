"""A session or a call of a configuration's calls, and what only the ledger knows of a call."""

from __future__ import annotations

from typing import NamedTuple

from prodlensd.answers import show as answers
from prodlensd.answers.show import Shown
from prodlensd.app import prices
from prodlensd.app.calls import opened
from prodlensd.app.ledger import reading
from prodlensd.app.prices import Priced
from prodlensd.config import Config
from prodlensd.ledger import CostChange

__all__ = ["CostChange", "Known", "known_of", "show"]


class Known(NamedTuple):
    """Of one call: the log it stood in, its price (None: pruned), and how its cost changed."""

    path: str | None
    priced: Priced | None
    changes: list[CostChange]


def show(config: Config, name: str) -> Shown | None:
    """The session of this name, or else the call with this id. Raises LedgerError."""
    with opened(config, None) as (calls, _):
        return answers.show(calls, name)


def known_of(config: Config, call_id: str, started_us: int, source_id: int) -> Known:
    """What the ledger has beside the row. Raises LedgerError, or OSError without an answer."""
    with reading(config) as reader:
        path = reader.sources.path(source_id)
        changes = reader.prices.changes(started_us, call_id)
    span = (started_us, started_us + 1)
    return Known(path, prices.quote_of_call(config, call_id, span), changes)
