"""The report on the calls of a configuration, or of many hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from prodlensd.answers.forecast import Forecast, forecast
from prodlensd.answers.names import Unknown, unknown_values
from prodlensd.answers.periods import FOREVER_US, Period, running_month
from prodlensd.answers.questions import Question
from prodlensd.answers.report import Report, answer
from prodlensd.app.calls import opened
from prodlensd.config import Config


class Asked(NamedTuple):
    """A report, with what was asked beside it; None where it was not asked.

    `behind` are the hosts whose calls are not all there yet, with their last day. `unknown` are the
    values of the filters that no call has at any time; they are looked for when no call passes.
    """

    question: Question
    found: Report
    before: Report | None
    forecast: Forecast | None
    behind: dict[str, date]
    unknown: Sequence[Unknown] = ()


def report(
    config: Config,
    question: Question,
    *,
    url: str | None = None,
    before: Period | None = None,
    forecast_at_us: int | None = None,
) -> Asked:
    """What the calls cost and how they went, in groups; all of it of one moment.

    `before` is a time whose total is wanted too, `forecast_at_us` a moment of the month that is to
    be foretold. Raises OperationalError.
    """
    spans = [(period.since_us, period.until_us) for period in (question.period, before) if period]
    zone = question.period.zone
    if forecast_at_us is not None:
        month = running_month(forecast_at_us, zone)
        spans.append((month.since_us, month.until_us))
    since_us = min(since for since, _ in spans)
    until_us = max(FOREVER_US if until is None else until for _, until in spans)
    with opened(config, url, since_us, until_us) as (calls, behind):
        asked = Asked(
            question,
            answer(calls, question),
            None if before is None else answer(calls, _total(question, before)),
            None
            if forecast_at_us is None
            else forecast(calls, question.filters, forecast_at_us, zone),
            behind,
        )
    if asked.found.total.calls or not question.filters:
        return asked
    with opened(config, url) as (calls, _):
        return asked._replace(unknown=unknown_values(calls, question.filters))


def _total(question: Question, period: Period) -> Question:
    """The same of another time, where the total alone is wanted."""
    return Question(
        by=("month",),
        period=period,
        filters=question.filters,
        figures=question.figures,
        by_source=question.by_source,
    )


def write_parquet(path: Path, columns: Mapping[str, type], rows: Sequence[Sequence[Any]]) -> None:
    """Writes an answer as a Parquet file, whole or not at all. Raises OSError."""
    from prodlensd.snapshots import write_rows  # noqa: PLC0415 - loads pyarrow

    write_rows(path, columns, rows)
