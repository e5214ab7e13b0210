"""`prodlensd report`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from prodlensd.answers.periods import Period, previous, read_period
from prodlensd.answers.questions import (
    ALL_FIGURES,
    BY,
    FILTERS,
    SORTS,
    Filter,
    Question,
    read_by,
)
from prodlensd.app import report as reports
from prodlensd.app.report import Asked
from prodlensd.app.zone import time_zone
from prodlensd.cli import (
    completing,
    config_option,
    errors_end_it,
    from_option,
    load_config,
    say_behind,
)
from prodlensd.cli.report_columns import COLUMNS, read_columns
from prodlensd.cli.report_forms import csv_of, in_json, markdown, rows_of, table
from prodlensd.cli.typed import Choice
from prodlensd.config import Config
from prodlensd.durable import replacing
from prodlensd.moments import now_us
from prodlensd.text import printable

_MAX_TOP: Final = 10**9
_FORMATS: Final = ("table", "json", "csv", "md", "html", "parquet")
#: Those that have all figures.
_FOR_PROGRAMS: Final = ("json", "csv", "parquet")
#: What says nothing to a page, which has tables and columns of its own.
_OF_TABLES: Final = ("by", "columns", "sort", "wide")
_TOP_OF_PAGE: Final = 10
#: What other programs call such a report.
_UNITS: Final = {"hourly": "hour", "daily": "day", "weekly": "week", "monthly": "month"}

_Command = TypeVar("_Command", bound=Callable[..., Any])


def time_options(command: _Command) -> _Command:
    """Adds the options that choose a period of time."""
    for option in (
        click.option(
            "--timezone",
            metavar="ZONE",
            shell_complete=completing.zones,
            help="As Europe/Berlin; default: this machine's.",
        ),
        click.option(
            "--until",
            metavar="WHEN",
            shell_complete=completing.times,
            help="A day or a moment; default: no end.",
        ),
        click.option(
            "--since", metavar="WHEN", shell_complete=completing.times, help="A day or a moment."
        ),
    ):
        command = option(command)
    return command


def filter_options(command: _Command) -> _Command:
    """Adds the options that choose calls by a name."""
    for name in reversed(FILTERS):
        option = click.option(
            f"--{name}",
            multiple=True,
            metavar="PATTERN",
            shell_complete=completing.names_of(name),
            help=f"Only calls of this {name}.",
        )
        command = option(command)
    return command


class _Report(click.Command):
    """Takes options alone: a word in their place is answered with the option that was meant."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click has it. Raises UsageError for a word."""
        ctx.allow_extra_args = True
        words = super().parse_args(ctx, args)
        if words and not ctx.resilient_parsing:
            meant = _option_of(words[0])
            raise click.UsageError(
                f"Got unexpected extra argument {words[0]!r}{meant and f' → {meant}'}", ctx
            )
        return words


def _option_of(word: str) -> str:
    """The option with which a word makes sense; empty where none does."""
    name = _UNITS.get(word, word.removesuffix("s"))
    if name in BY:
        return f"--by {name}"
    try:
        read_period(word, None, (), UTC, now_us())
    except ValueError:
        return ""
    return f"--since {word}"


@click.command(cls=_Report)
@config_option
@click.option(
    "--by",
    default="day",
    metavar="NAME[,NAME]",
    shell_complete=completing.comma_list(BY),
    help=f"{', '.join(BY)}; default: day.",
)
@time_options
@filter_options
@click.option(
    "--top",
    type=click.IntRange(0, _MAX_TOP),
    default=100,
    metavar="N",
    help="The first groups as sorted; 0: all; default: 100.",
)
@click.option("--sort", type=Choice([*SORTS]), default="cost", help="What groups are sorted by.")
@from_option
@click.option(
    "--columns",
    metavar="NAME[,NAME…]",
    shell_complete=completing.comma_list(COLUMNS, plus=True),
    help="What is shown; +NAME,… comes on top.",
)
@click.option("--wide", is_flag=True, help="Show all in full, however wide it is.")
@click.option("--compare", is_flag=True, help="With the same length of time before.")
@click.option("--forecast", is_flag=True, help="What the running month will have cost.")
@click.option(
    "--format",
    "form",
    type=Choice(_FORMATS),
    default="table",
    help="For people a table (default), Markdown or a page; JSON, CSV or Parquet for programs.",
)
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file."
)
def command(  # noqa: PLR0913, PLR0917 - an option each
    config_path: Path | None,
    by: str,
    since: str | None,
    until: str | None,
    timezone: str | None,
    top: int,
    sort: str,
    url: str | None,
    columns: str | None,
    wide: bool,
    compare: bool,
    forecast: bool,
    form: str,
    output: Path | None,
    **patterns: tuple[str, ...],
) -> None:
    """What calls cost and how they went, in groups.

    \b
    WHEN is a day: 2026-11-01, today, yesterday, 7d, 4w, 3mo (that long ago);
    a week or a month: 2026-W47, 2026-11, this-week, last-month …;
    or a moment: 2026-11-01T14:30 or 24h (ago); or always.
    --until includes a day, and ends just before a moment.
    Without --since: 30d; by week or month the last twelve of them.
    Weeks are ISO weeks. Days without a call are left out.

    \b
    PATTERN may have * and ?; "(none)" is of calls without a value. Several
    of one option: any of them; of several options: all of them.

    \b
    calls     what the proxy tried, retries and fallbacks too
    failed    the share of calls that failed
    cached    the share of the input that was read from a cache
    cost      of all calls with a known price: "≥" where others have none
    share     of the cost of all
    via       how a name was found, where it is a mere claim

    Groups beyond --top are one row, "(n more)", in JSON "rest"; CSV has no row
    for them. The total is of all calls, always. By time alone, all groups are shown.

    JSON and CSV have more columns. In CSV a text that a spreadsheet would take
    for a formula begins with an apostrophe.

    Example: prodlensd report --by developer --since 7d

    Exit code: 0, 1 when there is no ledger or it cannot be read, 2 usage.
    """  # noqa: D301 - click reads the backspace: do not fill
    config = load_config(config_path)
    try:
        names, zone, shown = read_by(by), time_zone(timezone), read_columns(columns)
        period = read_period(since, until, names, zone, now_us())
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if form == "parquet" and output is None:
        raise click.UsageError("--format parquet needs a file: -o FILE")
    if output is not None and output.exists() and not output.is_file():
        raise click.UsageError(
            f"-o {printable(str(output))}: no regular file; without -o it goes to stdout"
        )
    earlier = previous(period, now_us()) if compare else None
    if compare and earlier is None:
        raise click.UsageError("--compare: nothing can have been before that time")
    filters = tuple((name, patterns[name]) for name in FILTERS if patterns[name])
    wanted = {figure for name in shown for figure in COLUMNS[name].figures}
    if form == "html":
        with errors_end_it():
            _write(_page(config, period, filters, url, output), output)
        return
    question = Question(
        by=names,
        period=period,
        filters=filters,
        sort=sort,
        top=top,
        figures=ALL_FIGURES if form in _FOR_PROGRAMS else frozenset(wanted),
        by_source=form in _FOR_PROGRAMS or "sources" in shown,
    )
    with errors_end_it():
        answer = reports.report(
            config,
            question,
            url=url,
            before=earlier,
            forecast_at_us=now_us() if forecast else None,
        )
        if form == "parquet" and output is not None:
            reports.write_parquet(output, *rows_of(answer))
            return
        is_terminal = output is None and sys.stdout.isatty()
        width = shutil.get_terminal_size().columns if is_terminal else None
        _write(_text(answer, form, shown, width=width, wide=wide), output)
    for unknown in answer.unknown:
        meant = f"; did you mean {', '.join(unknown.meant)}?" if unknown.meant else ""
        fault = f"--{unknown.filter} {unknown.value}: no call has this {unknown.filter}"
        click.echo(printable(f"{fault}{meant}"), err=True)
    say_behind(answer.behind)
    if answer.found.more_groups and form in _FOR_PROGRAMS:
        click.echo(f"{answer.found.more_groups:,} groups more: --top 0 shows all", err=True)


def _text(
    answer: Asked, form: str, columns: tuple[str, ...], *, width: int | None, wide: bool
) -> str:
    if form == "json":
        return in_json(answer)
    if form == "csv":
        return csv_of(answer)
    if form == "md":
        return markdown(answer, columns)
    return table(answer, columns, width=width, wide=wide)


def _write(text: str, output: Path | None) -> None:
    """Writes it to the file, whole or not at all, or to stdout. Raises OSError."""
    if output is None:
        click.echo(text, nl=False)
        return
    with replacing(output) as file:
        file.write(text.encode())


def _page(
    config: Config,
    period: Period,
    filters: tuple[Filter, ...],
    url: str | None,
    output: Path | None,
) -> str:
    """The page as HTML. Raises UsageError for an option that has no meaning there."""
    from prodlensd.app import page  # noqa: PLC0415 - tables need none of it

    given = {
        name
        for name in click.get_current_context().params
        if click.get_current_context().get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    if meaningless := [name for name in _OF_TABLES if name in given]:
        raise click.UsageError(
            f"--format html has tables of its own, without --{meaningless[0]}: leave that out"
        )
    if output is None and sys.stdout.isatty():
        raise click.UsageError("--format html needs a file: -o FILE")
    top = click.get_current_context().params["top"] if "top" in given else _TOP_OF_PAGE
    return page.file(config, period, filters, now_us(), url=url, top=top)
