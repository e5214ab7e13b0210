"""`prodlensd report`."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from prodlensd.answers.periods import Period, local_time, read_period
from prodlensd.answers.report import (
    BY,
    WITH_VIA,
    Figures,
    Group,
    Report,
    read_by,
)
from prodlensd.app.report import report
from prodlensd.cli import as_json, config_option, errors_end_it, load_config
from prodlensd.cli.zone import time_zone
from prodlensd.model import NANOUSD_PER_USD
from prodlensd.moments import iso_time, now_us
from prodlensd.text import counted, money, printable, table

#: Longer names are cut in the table; the other forms have them whole.
_MAX_NAME_CELLS: Final = 40
#: Begins what a spreadsheet takes for a formula.
_FORMULA: Final = tuple("=+-@＝＋－＠\t\r")  # noqa: RUF001 - the wide ones are meant
_MARKDOWN: Final = frozenset(r"\`*_{}[]()<>#|~!&$")
_MAX_TOP: Final = 10**9
#: The columns for programs: all figures but the nested one, which only JSON has.
_BY_KIND: Final = ("cost_by_source", "unpriced_reasons")
_FIGURES: Final = [field.name for field in fields(Figures) if field.name not in _BY_KIND]


_Command = TypeVar("_Command", bound=Callable[..., Any])


def time_options(command: _Command) -> _Command:
    """Adds the options that choose a period of time."""
    for option in (
        click.option(
            "--timezone", metavar="ZONE", help="As Europe/Berlin; default: this machine's."
        ),
        click.option("--until", metavar="WHEN", help="A day or a moment; default: no end."),
        click.option("--since", metavar="WHEN", help="A day or a moment."),
    ):
        command = option(command)
    return command


@click.command()
@config_option
@click.option("--by", default="day", metavar="NAME[,NAME]", help=f"{', '.join(BY)}; default: day.")
@time_options
@click.option(
    "--top",
    type=click.IntRange(0, _MAX_TOP),
    default=100,
    metavar="N",
    help="The groups that cost most; 0: all; default: 100.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv", "md"]),
    default="table",
    help="A table (default) or Markdown for people, JSON or CSV for programs.",
)
def command(
    config_path: Path | None,
    by: str,
    since: str | None,
    until: str | None,
    timezone: str | None,
    top: int,
    form: str,
) -> None:
    """Usage, cost, errors and latency, in groups.

    \b
    WHEN is a day: 2026-11-01, today, yesterday, 7d (the day seven days ago);
    or a moment: 2026-11-01T14:30 or 24h (ago); or always.
    --until includes a day, and ends just before a moment.
    Without --since: 30d; by week or month the last twelve of them.
    Weeks are ISO weeks. Days without a call are left out.

    \b
    requests  what clients asked for: the calls with one id of the proxy
    calls     what the proxy tried for them, retries and fallbacks too
    errors    calls that failed
    cost      of all calls with a known price: "≥" where others have none
    p50, p95  latency of the successful calls that carry one
    via       how a name was found: key_user and key_email are verified by the
              proxy, other ways are claims; trace_id: no session was named

    Groups beyond --top are one row, "(n more)", in JSON "rest"; CSV has no row
    for them. The total is of all calls, always. By time alone, all groups are shown.

    JSON and CSV have more columns. In CSV a text that a spreadsheet would take
    for a formula begins with an apostrophe.

    Example: prodlensd report --by developer --since 7d

    Exit code: 0, 1 when there is no ledger or it cannot be read, 2 usage.
    """  # noqa: D301 - click reads the backspace: do not fill
    config = load_config(config_path)
    try:
        names, zone = read_by(by), time_zone(timezone)
        period = read_period(since, until, names, zone, now_us())
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    with errors_end_it():
        found = report(config, names, period, top)
    click.echo(_FORMS[form](found), nl=False)
    if found.more_groups and form in _FOR_PROGRAMS:
        click.echo(_hint(found), err=True)


# Forms ------------------------------------------------------------------------------------------


def cost(figures: Figures) -> str:
    """The cost, which never looks complete where a call's price is not known."""
    if figures.cost_nanousd is None:
        return "unpriced" if figures.unpriced_calls else "-"
    return ("≥ " if figures.unpriced_calls else "") + money(figures.cost_nanousd)


def full_cost(figures: Figures) -> str:
    """The cost, and how much comes on top of it."""
    if not figures.unpriced_calls or figures.cost_nanousd is None:
        return cost(figures)
    calls = counted(figures.unpriced_calls, "call")
    tokens = figures.unpriced_tokens
    with_tokens = "" if tokens is None else f", {_short(tokens)} tokens"
    return f"{cost(figures)} ({calls}{with_tokens} unpriced)"


def _short(count: int) -> str:
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.{int(count < 10 * size)}f}{unit}"
    return str(count)


def in_csv(text: str) -> str:
    """A text from outside that no spreadsheet takes for a formula."""
    return f"'{printable(text)}" if text.startswith(_FORMULA) else printable(text)


def in_markdown(text: str) -> str:
    """A text from outside that is nothing but text in Markdown."""
    return "".join(f"\\{char}" if char in _MARKDOWN else char for char in printable(text))


def _whole(number: float | None) -> str:
    return "-" if number is None else f"{number:,.0f}"


#: The columns for people.
_SHOWN: Final[dict[str, Callable[[Figures], str]]] = {
    "requests": lambda figures: _whole(figures.requests),
    "calls": lambda figures: _whole(figures.calls),
    "errors": lambda figures: _whole(figures.errors),
    "tokens in": lambda figures: _whole(figures.tokens_in),
    "tokens out": lambda figures: _whole(figures.tokens_out),
    "cost": cost,
    "unpriced": lambda figures: _whole(figures.unpriced_calls),
    "p50 ms": lambda figures: _whole(figures.latency_p50_ms),
    "p95 ms": lambda figures: _whole(figures.latency_p95_ms),
}


# For programs -----------------------------------------------------------------------------------


def _machine(figures: Figures) -> dict[str, Any]:
    """The figures, in the order of the columns."""
    content = {name: getattr(figures, name) for name in _FIGURES}
    nanousd = figures.cost_nanousd
    content["cost_usd"] = None if nanousd is None else nanousd / NANOUSD_PER_USD
    return content


def _json(found: Report) -> str:
    period = found.period
    groups = [
        dict(zip(found.by, group.key, strict=True))
        | {f"{name}_via": list(via) for name, via in _vias(found, group)}
        | _with_sources(group.figures)
        for group in found.groups
    ]
    content = {
        "by": list(found.by),
        "since": iso_time(period.since_us),
        "until": None if period.until_us is None else iso_time(period.until_us),
        "timezone": str(period.zone),
        "top": found.top,
        "groups": groups,
        "more_groups": found.more_groups,
        "rest": None if found.rest is None else _with_sources(found.rest),
        "total": _with_sources(found.total),
    }
    return as_json("report", content) + "\n"


def _with_sources(figures: Figures) -> dict[str, Any]:
    by_source = {source: known._asdict() for source, known in figures.cost_by_source.items()}
    reasons = {"unpriced_reasons": figures.unpriced_reasons}
    return _machine(figures) | {"cost_by_source": by_source} | reasons


def _vias(found: Report, group: Group) -> list[tuple[str, tuple[str, ...]]]:
    """The names of the report that are found in several ways, with the group's ways."""
    ways = zip(found.by, group.via, strict=True)
    return [(name, via) for name, via in ways if name in WITH_VIA]


def _csv(found: Report) -> str:
    text = io.StringIO()
    rows = csv.writer(text)
    vias = [f"{name}_via" for name in found.by if name in WITH_VIA]
    rows.writerow([*found.by, *vias, *_FIGURES, "cost_usd"])
    for group in found.groups:
        names = ["" if value is None else in_csv(value) for value in group.key]
        ways = [in_csv(", ".join(via)) for _, via in _vias(found, group)]
        figures = _machine(group.figures)
        nanousd = group.figures.cost_nanousd
        # Not a float: 1e-07 is for programs only.
        figures["cost_usd"] = None if nanousd is None else f"{Decimal(nanousd).scaleb(-9):f}"
        rows.writerow([*names, *ways, *figures.values()])
    return text.getvalue()


# For people -------------------------------------------------------------------------------------


def _rows(found: Report) -> Iterator[tuple[list[str], list[str]]]:
    """Titles, groups, the rest and the total, each as texts (names and vias) and numbers."""
    vias = [name for name in found.by if name in WITH_VIA]
    yield [*found.by, *["via"] * len(vias)], list(_SHOWN)
    for group in found.groups:
        names = ["(none)" if value is None else value for value in group.key]
        ways = [", ".join(via) for _, via in _vias(found, group)]
        yield names + ways, [show(group.figures) for show in _SHOWN.values()]
    blank = [""] * (len(found.by) - 1 + len(vias))
    if found.rest is not None:
        yield (
            [f"({found.more_groups:,} more)", *blank],
            [show(found.rest) for show in _SHOWN.values()],
        )
    yield ["total", *blank], [show(found.total) for show in _SHOWN.values()]


def _table(found: Report) -> str:
    if not found.groups:
        return f"{_nothing(found)}\n"
    names = len(found.by)
    # How a name was found stands at the end: it is of least interest.
    header, *rows = ([*texts[:names], *numbers, *texts[names:]] for texts, numbers in _rows(found))
    drawn = table(header, rows, right=_SHOWN, max_width=_MAX_NAME_CELLS, title=_bold)
    return f"{drawn}\n\n{_summary(found)}\n"


def _bold(line: str) -> str:
    return click.style(line, bold=True)


def _markdown(found: Report) -> str:
    if not found.groups:
        return f"{_nothing(found)}\n"
    lines = [
        f"| {' | '.join([*map(in_markdown, texts), *numbers])} |" for texts, numbers in _rows(found)
    ]
    texts, numbers = next(_rows(found))
    lines.insert(1, "|" + ":--|" * len(texts) + "--:|" * len(numbers))
    return "\n".join([*lines, "", _summary(found), ""])


def _summary(found: Report) -> str:
    summary = f"cost {full_cost(found.total)}, {_span(found.period)}"
    if reasons := found.total.unpriced_reasons:
        why = ", ".join(f"{calls:,} {reason}" for reason, calls in reasons.items())
        summary += f"\nunpriced: {why}; prodlensd prices check names them"
    return f"{summary}\n{_hint(found)}" if found.more_groups else summary


def _hint(found: Report) -> str:
    groups = f"{counted(found.more_groups, 'group')} {'is' if found.more_groups == 1 else 'are'}"
    return f"{groups} not shown, none of them dearer than these: --top 0 shows all"


def _nothing(found: Report) -> str:
    nothing = f"no calls {_span(found.period)}"
    if found.ledger is None:
        return f"{nothing}: the ledger is empty"
    first, last = (f"{local_time(at_us, found.period.zone):%Y-%m-%d}" for at_us in found.ledger)
    return f"{nothing}: the ledger's are from {first} to {last}, try --since {first}"


def _span(period: Period) -> str:
    since = f"{local_time(period.since_us, period.zone):%Y-%m-%d %H:%M}"
    if period.until_us is None:
        return f"since {since}, time zone {period.zone}"
    until = f"{local_time(period.until_us, period.zone):%Y-%m-%d %H:%M}"
    return f"from {since} until {until}, time zone {period.zone}"


_FORMS: Final[dict[str, Callable[[Report], str]]] = {
    "table": _table,
    "json": _json,
    "csv": _csv,
    "md": _markdown,
}
#: Those in which a hint would be no hint: it goes to stderr.
_FOR_PROGRAMS: Final = ("json", "csv")
