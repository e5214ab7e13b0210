"""The report on a configuration's calls: those in its ledger, and those in its snapshots alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from prodlensd.answers import report as answers
from prodlensd.answers.periods import Period
from prodlensd.answers.report import Report
from prodlensd.app.ledger import snapshot_path
from prodlensd.config import Config
from prodlensd.ledger import Partition


def report(config: Config, names: tuple[str, ...], period: Period, top: int) -> Report:
    """Usage and cost in groups by these names, the `top` dearest; 0: all. Raises LedgerError."""
    return answers.report(config.store.path, names, period, partial(read_snapshot, config), top)


def read_snapshot(
    config: Config, day: Partition, columns: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    """The rows of a day's snapshot, with these of its columns. Raises OSError or ValueError."""
    from prodlensd import snapshots  # noqa: PLC0415 - loads pyarrow, only where a report needs it

    return snapshots.ledger_rows(snapshot_path(config, day), columns)
