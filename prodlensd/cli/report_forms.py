"""The forms of a report: a table or Markdown for people, JSON or CSV for programs."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

import click
from msgspec.structs import asdict, fields

from prodlensd.answers.forecast import Forecast
from prodlensd.answers.periods import Period, local_time
from prodlensd.answers.questions import NONE, WITH_VIA
from prodlensd.answers.report import Figures, Group, Report
from prodlensd.answers.wording import change, cost, days_of, has_claims, on_plan
from prodlensd.app.report import Asked
from prodlensd.cli import as_json
from prodlensd.cli.report_columns import COLUMNS, with_plan
from prodlensd.cli.tables import NAME_CELLS
from prodlensd.model import NANOUSD_PER_USD
from prodlensd.moments import iso_time
from prodlensd.text import Both, Cell, Column, Row, counted, fitted, percent, printable

#: Begins what a spreadsheet takes for a formula.
_FORMULA: Final = tuple("=+-@＝＋－＠\t\r")  # noqa: RUF001 - the wide ones are meant
_MARKDOWN: Final = frozenset(r"\`*_{}[]()<>#|~!&$")
#: The columns for programs, in an order that stays: what comes new comes last. All figures but the
#: nested ones, which only JSON has.
_FIRST: Final = (
    *("requests", "failed_requests", "calls", "billed_calls", "errors", "tokens_in", "tokens_out"),
    *("cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "cost_nanousd"),
    *("unpriced_calls", "unpriced_tokens", "latency_p50_ms", "latency_p95_ms", "cost_usd"),
)
_BY_KIND: Final = ("cost_by_source", "unpriced_reasons")
_KINDS: Final = {
    field.name: float if "float" in str(field.type) else int
    for field in fields(Figures)
    if field.name not in _BY_KIND
} | {"cost_usd": Decimal}
_FIGURES: Final[dict[str, type]] = {name: _KINDS[name] for name in [*_FIRST, *_KINDS]}


# For programs -------------------------------------------------------------------------------------


def in_csv(text: str) -> str:
    """A text from outside that no spreadsheet takes for a formula."""
    return f"'{printable(text)}" if text.startswith(_FORMULA) else printable(text)


def _machine(figures: Figures) -> dict[str, Any]:
    """The figures, in the order of the columns."""
    nanousd = figures.cost_nanousd
    usd = None if nanousd is None else Decimal(nanousd).scaleb(-9)
    return {name: usd if name == "cost_usd" else getattr(figures, name) for name in _FIGURES}


def _whole(figures: Figures) -> dict[str, Any]:
    nanousd = figures.cost_nanousd
    usd = {"cost_usd": None if nanousd is None else nanousd / NANOUSD_PER_USD}
    by_source = {source: asdict(known) for source, known in figures.cost_by_source.items()}
    reasons = {"unpriced_reasons": dict(figures.unpriced_reasons)}
    return _machine(figures) | usd | {"cost_by_source": by_source} | reasons


def _vias(found: Report, group: Group) -> list[tuple[str, tuple[str, ...]]]:
    """The names of the report that are found in several ways, with the group's ways."""
    ways = zip(found.by, group.via, strict=True)
    return [(name, via) for name, via in ways if name in WITH_VIA]


def in_json(answer: Asked) -> str:
    """All of it, as one object."""
    found, question = answer.found, answer.question
    groups = [
        dict(zip(found.by, group.key, strict=True))
        | {f"{name}_via": list(via) for name, via in _vias(found, group)}
        | _whole(group.figures)
        for group in found.groups
    ]
    firsts = found.firsts or {}
    in_order = dict.fromkeys((*(group.key[0] for group in found.groups), *firsts))
    content: dict[str, Any] = {
        "by": list(found.by),
        **_times(found.period),
        "filters": {name: list(patterns) for name, patterns in question.filters},
        "sort": question.sort,
        "top": found.top,
        "groups": groups,
        "subtotals": [
            {found.by[0]: name} | _whole(firsts[name]) for name in in_order if name in firsts
        ],
        "more_groups": found.more_groups,
        "rest": None if found.rest is None else _whole(found.rest),
        "total": _whole(found.total),
        "before": None,
        "forecast": None if answer.forecast is None else answer.forecast._asdict(),
    }
    if (before := answer.before) is not None:
        content["before"] = _times(before.period) | {"total": _whole(before.total)}
    return as_json("report", content) + "\n"


def _times(period: Period) -> dict[str, Any]:
    until_us = period.until_us
    return {
        "since": iso_time(period.since_us),
        "until": None if until_us is None else iso_time(until_us),
        "timezone": str(period.zone),
    }


def rows_of(answer: Asked) -> tuple[dict[str, type], list[list[Any]]]:
    """The groups as a table of plain values: titles with the values' types, and a row each."""
    found = answer.found
    vias = [f"{name}_via" for name in found.by if name in WITH_VIA]
    rows = []
    for group in found.groups:
        ways = [", ".join(via) for _, via in _vias(found, group)]
        rows.append([*group.key, *ways, *_machine(group.figures).values()])
    return dict.fromkeys([*found.by, *vias], str) | _FIGURES, rows


def _csv_cell(value: str | float | Decimal | None) -> str | float | None:
    if isinstance(value, Decimal):
        return f"{value:f}"  # 1e-07 is for programs only
    return in_csv(value) if isinstance(value, str) else value


def csv_of(answer: Asked) -> str:
    """The groups, a line each."""
    text = io.StringIO()
    lines = csv.writer(text)
    titles, rows = rows_of(answer)
    lines.writerow(titles)
    for row in rows:
        lines.writerow(map(_csv_cell, row))
    return text.getvalue()


# For people ---------------------------------------------------------------------------------------


def in_markdown(text: str) -> str:
    """A text from outside that is nothing but text in Markdown."""
    return "".join(f"\\{char}" if char in _MARKDOWN else char for char in printable(text))


def table(answer: Asked, columns: Sequence[str], *, width: int | None, wide: bool = False) -> str:
    """The report as a table, and what it is of.

    For a terminal of this width, or, without it, for a file: all in full, and no styles.
    """
    found = answer.found
    if not found.groups:
        return f"{_nothing(answer)}\n"
    columns = with_plan(columns, found.total)
    shown = [COLUMNS[name] for name in columns]
    drawn = fitted(
        [
            Column(" / ".join(found.by), least_cells=NAME_CELLS),
            *(
                Column(of.title, "bar" if name == "bar" else "right", of.keep)
                for name, of in zip(columns, shown, strict=True)
            ),
            *([Column("via", keep=1)] if has_claims(found) else []),
        ],
        list(_lines(answer, columns)),
        width=width,
        wide=wide,
        title=str if width is None else lambda line: click.style(line, bold=True),
        rule=width is not None,
        how="--wide or --columns shows them",
    )
    return f"{drawn}\n\n{_summary(answer, None if wide else width)}\n"


def _is_nested(found: Report) -> bool:
    """Whether the groups stand below the first of two names, with what it adds up to."""
    return found.firsts is not None


def _lines(answer: Asked, columns: Sequence[str]) -> Iterator[Row]:
    """Groups, below a subtotal where there are two names; the rest, and the total."""
    found = answer.found
    shows_via = has_claims(found)
    shown = [*(found.firsts or {}).values(), *(group.figures for group in found.groups)]
    dearest = max((figures.cost_nanousd or 0 for figures in shown), default=0)

    def row(name: str, figures: Figures, via: str = "", indent: int = 0) -> Row:
        is_total = figures is found.total
        # A bar compares groups: what is all of them, or many, is no group.
        longest = 0 if is_total or figures is found.rest else dearest
        cells: list[Cell] = [
            _bar(figures, longest)
            if column == "bar"
            else COLUMNS[column].cell(figures, found.total)
            for column in columns
        ]
        return Row([name, *cells, *([via] if shows_via else [])], indent, is_total)

    first: object = None
    for number, group in enumerate(found.groups):
        names = [NONE if name is None else name for name in group.key]
        via = ", ".join(sorted({way for ways in group.via for way in ways}))
        if not _is_nested(found):
            yield row(names[0], group.figures, via)
            continue
        if number == 0 or group.key[0] != first:
            first = group.key[0]
            figures = (found.firsts or {}).get(group.key[0], group.figures)
            yield row(names[0], figures)
        yield row(names[1], group.figures, via, indent=2)
    if found.rest is not None:
        yield row(f"({found.more_groups:,} more)", found.rest)
    yield row("total", found.total)


def _bar(figures: Figures, longest: int) -> float:
    return (figures.cost_nanousd or 0) / longest if longest else 0


def markdown(answer: Asked, columns: Sequence[str]) -> str:
    """The report as a table in Markdown, and what it is of."""
    found = answer.found
    if not found.groups:
        return f"{_nothing(answer)}\n"
    columns = [name for name in with_plan(columns, found.total) if name != "bar"]
    titles = [" / ".join(found.by), *(COLUMNS[name].title for name in columns)]
    lines = [titles, [":--", *["--:"] * len(columns)]]
    for row in _lines(answer, columns):
        cells = [cell.full if isinstance(cell, Both) else str(cell) for cell in row.cells]
        indent = "&emsp;" * (row.indent > 0)
        lines.append([indent + in_markdown(cells[0]), *cells[1 : 1 + len(columns)]])
    drawn = [f"| {' | '.join(cells)} |" for cells in lines]
    drawn[1] = f"|{'|'.join(lines[1])}|"
    return "\n".join([*drawn, "", _summary(answer, None), ""])


def _summary(answer: Asked, width: int | None) -> str:
    """What it is of: the time, the cost, what has no price, and what more was asked."""
    found = answer.found
    total = found.total
    said = [days_of(found.period, found.ledger), cost(total)]
    if plan := on_plan(total):
        said.append(f"{plan}: prodlensd prices check" if total.plan_unpriced_calls else plan)
    if total.unpriced_calls:
        calls = counted(total.unpriced_calls, "call")
        has = "has" if total.unpriced_calls == 1 else "have"
        why = ", ".join(f"{n:,} {reason}" for reason, n in total.unpriced_reasons.items())
        said.append(f"{calls} {has} no price ({why}): prodlensd prices check")
    if found.more_groups:
        groups = counted(found.more_groups, "group")
        said.append(f"{groups} more: --top 0 shows all")
    lines = [said]
    if answer.before is not None:
        lines.append(_change(answer.before, found))
    if answer.forecast is not None:
        lines.append([_expected(answer.forecast)])
    return "\n".join(text for parts in lines for text in _broken(parts, width))


def _broken(parts: Sequence[str], width: int | None) -> Iterator[str]:
    """The parts in lines of at most this width, broken between them rather than within."""
    line = ""
    for part in parts:
        longer = f"{line} · {part}" if line else part
        if line and width is not None and len(longer) > width:
            yield from textwrap.wrap(line, width)
            longer = part
        line = longer
    yield from [line] if width is None else textwrap.wrap(line, width)


def _change(before: Report, now: Report) -> list[str]:
    was, new = before.total, now.total
    since = f"{local_time(before.period.since_us, before.period.zone):%Y-%m-%d %H:%M}"
    until_us = before.period.until_us
    until = "" if until_us is None else f"{local_time(until_us, before.period.zone):%Y-%m-%d %H:%M}"
    shares = [percent(of.cache_read_tokens or 0, of.tokens_in or 0) for of in (was, new)]
    return [
        f"before ({since} until {until}): {cost(was)}, {counted(was.calls, 'call')}",
        f"cost {change(was.cost_nanousd, new.cost_nanousd)}",
        f"calls {change(was.calls, new.calls)}",
        f"cached {shares[0]} → {shares[1]}",
    ]


def _expected(forecast: Forecast) -> str:
    if (expected := forecast.expected_text) is None:
        return f"{forecast.month}: no day is over that has a price, so nothing can be expected"
    left, over = counted(forecast.days_left, "day"), counted(forecast.days_over, "day")
    cost_what = "costs what" if forecast.days_left == 1 else "cost what"
    are_over = "is over" if forecast.days_over == 1 else "are over"
    return (
        f"{forecast.month}: about {expected} at its end, if the "
        f"{left} left {cost_what} the {over} that {are_over} did a day"
    )


def _nothing(answer: Asked) -> str:
    found = answer.found
    nothing = f"no calls {_moments(found.period)}"
    if found.ledger is None:
        return f"{nothing}: the ledger is empty"
    if answer.question.filters:
        return f"no calls pass the filters {_moments(found.period)}"
    first, last = (f"{local_time(at_us, found.period.zone):%Y-%m-%d}" for at_us in found.ledger)
    return f"{nothing}: the ledger's are from {first} to {last}, try --since {first}"


def _moments(period: Period) -> str:
    since = f"{local_time(period.since_us, period.zone):%Y-%m-%d %H:%M}"
    if period.until_us is None:
        return f"since {since}, time zone {period.zone}"
    until = f"{local_time(period.until_us, period.zone):%Y-%m-%d %H:%M}"
    return f"from {since} until {until}, time zone {period.zone}"
