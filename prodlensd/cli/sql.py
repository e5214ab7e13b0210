"""`prodlensd sql`."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from itertools import islice
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Any, Final

import click

from prodlensd import config
from prodlensd.answers.queries import Answer, Queries
from prodlensd.app.sql import queries
from prodlensd.cli import config_option, errors_end_it, fail, from_option, load_config, say_behind
from prodlensd.cli.report_forms import in_csv
from prodlensd.cli.typed import Choice
from prodlensd.durable import replacing
from prodlensd.model import OperationalError
from prodlensd.text import Column, counted, fitted, printable

#: A table is drawn when all of it is known; the other forms are written as the rows come.
_MOST_ROWS: Final = 1000
_ROWS_AT_ONCE: Final = 1000
_SCHEMA: Final = "prodlensd.sql/1"
_FILE_MODE: Final = 0o600
_STDIN: Final = 0
_HELLO: Final = "Ask the table calls: `;` ends a query, Ctrl-D leaves; DESCRIBE calls; helps"


@click.command()
@config_option
@click.argument("query", required=False)
@from_option
@click.option(
    "--format",
    "form",
    type=Choice(["table", "json", "csv", "parquet"]),
    default="table",
    help="A table (default) for people, the others for programs; Parquet with -o only.",
)
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write to this file, which is whole or not there.",
)
def command(
    config_path: Path | None, query: str | None, url: str | None, form: str, output: Path | None
) -> None:
    """Ask with SQL, in DuckDB's dialect.

    There is one table, calls: a row a call, of ledger and snapshots as one, with the columns of the
    view traces and real types. DESCRIBE calls shows them. Nothing can be written or changed, and no
    file, network, extension or setting is in reach of a query.

    Without QUERY it is read from standard input, or asked for on a terminal.

    A table has the first 1,000 rows; the other forms have all. JSON has a list "rows" of objects.
    In CSV a text that a spreadsheet would take for a formula begins with an apostrophe.

    Example: prodlensd sql "SELECT model, sum(cost_usd) FROM calls GROUP BY model"

    Exit code: 0, 1 when there is no ledger, it cannot be read, or the query is wrong, 2 usage.
    """
    if form == "parquet" and output is None:
        raise click.UsageError("--format parquet needs a file: -o FILE")
    is_prompt = query is None and os.isatty(_STDIN)
    if is_prompt and output is not None:
        raise click.UsageError("-o needs a QUERY")
    loaded = load_config(config_path)
    if query is None and not is_prompt:
        with open(_STDIN, "rb", closefd=False) as stdin:
            query = stdin.read().decode(errors="replace")
    with errors_end_it():
        with _opened(loaded, url, is_first=True) as asked:
            if query is not None and output is None:
                _echo(asked, query, form)
            elif query is not None and output is not None:
                _write(asked, query, form, output)
        if query is None:
            _prompt(loaded, url, form)


@contextmanager
def _opened(loaded: config.Config, url: str | None, *, is_first: bool) -> Iterator[Queries]:
    with queries(loaded, url) as (asked, behind):
        if is_first:
            say_behind(behind)
        yield asked


def _echo(asked: Queries, query: str, form: str) -> None:
    for text in _texts(asked, query, form):
        click.echo(text, nl=False)


def _write(asked: Queries, query: str, form: str, path: Path) -> None:
    try:
        with replacing(path, _FILE_MODE) as file:
            if form == "parquet":
                asked.write_parquet(query, file)
            else:
                file.writelines(text.encode() for text in _texts(asked, query, form))
    except OSError as error:
        raise fail(f"cannot write {path}: {error.strerror or error}") from error


def _prompt(loaded: config.Config, url: str | None, form: str) -> None:
    """Asks for queries until the end of the input. What was typed is kept nowhere.

    The table is opened for each of them: while it is open, compactions wait.
    """
    with suppress(ImportError):
        import readline  # noqa: F401, PLC0415 - lines can be edited with it
    click.echo(_HELLO, err=True)
    while True:
        try:
            if query := _typed():
                with _opened(loaded, url, is_first=False) as asked:
                    _echo(asked, query, form)
        except EOFError:
            click.echo(err=True)
            return
        except KeyboardInterrupt:
            click.echo("\ninterrupted", err=True)
        except OperationalError as error:
            click.echo(f"Error: {printable(str(error))}", err=True)


def _typed() -> str:
    """The lines up to one that ends in `;`. Raises EOFError."""
    lines: list[str] = []
    while not lines or not lines[-1].endswith(";"):
        mark = "  ...> " if lines else "calls> "
        if not sys.stdout.isatty():
            click.echo(mark, err=True, nl=False)
            mark = ""
        line = input(mark).rstrip()
        if line or lines:
            lines.append(line)
    return "\n".join(lines).strip(";").strip()


# Forms ------------------------------------------------------------------------------------------


def _texts(asked: Queries, query: str, form: str) -> Iterator[str]:
    answer = asked.ask(query, nested_as_json=form == "json")
    if answer.explained is not None:
        return (f"{printable(line)}\n" for line in answer.explained.split("\n"))
    return _FORMS[form](answer)


def _table(answer: Answer) -> Iterator[str]:
    rows = [[_cell(value) for value in row] for row in islice(answer.rows, _MOST_ROWS)]
    columns = []
    for number, column in enumerate(answer.columns):
        is_number = column.type not in ("VARCHAR", "BOOLEAN") and _are_numbers(rows, number)
        columns.append(Column(column.name, "right" if is_number else "left"))
    yield f"{fitted(columns, rows)}\n"
    if next(answer.rows, None) is None:
        yield f"\n{counted(len(rows), 'row')}\n"
    else:
        yield f"\nthe first {_MOST_ROWS:,} rows: --format csv or json has all of them\n"


def _are_numbers(rows: Iterable[list[str]], number: int) -> bool:
    return all(row[number][:1] in "-0123456789n" for row in rows)


def _cell(value: Any) -> str:  # noqa: ANN401 - a number, a truth value, a text or nothing
    return _PLAIN[type(value)](value)


#: By the type of a value. Each form has all of its digits.
_PLAIN: Final[dict[type, Callable[[Any], str]]] = {
    type(None): lambda _: "null",
    bool: lambda value: "true" if value else "false",
    int: str,
    float: str,
    Decimal: "{:f}".format,
    str: str,
}
_IN_CSV: Final = _PLAIN | {type(None): lambda _: "", str: in_csv}
_IN_JSON: Final = _PLAIN | {
    # One that JSON has no word for is a text.
    float: lambda value: json.dumps(value if math.isfinite(value) else str(value)),
    str: encode_basestring_ascii,
}


def _csv(answer: Answer) -> Iterator[str]:
    yield _csv_lines([[in_csv(column.name) for column in answer.columns]])
    while rows := list(islice(answer.rows, _ROWS_AT_ONCE)):
        yield _csv_lines([_IN_CSV[type(value)](value) for value in row] for row in rows)


def _csv_lines(rows: Iterable[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _json(answer: Answer) -> Iterator[str]:
    """One object; in ASCII, as everywhere. A row a line, so that any number of them can be read."""
    columns = [{"name": column.name, "type": column.type} for column in answer.columns]
    yield f'{{\n  "schema": "{_SCHEMA}",\n  "columns": {json.dumps(columns)},\n  "rows": ['
    names = [f"{json.dumps(column.name)}: " for column in answer.columns]
    nested = [number for number, column in enumerate(answer.columns) if column.is_json]
    before = "\n"
    while rows := list(islice(answer.rows, _ROWS_AT_ONCE)):
        yield before + ",\n".join(_json_row(names, row, nested) for row in rows)
        before = ",\n"
    yield "\n  ]\n}\n" if before == ",\n" else "]\n}\n"


def _json_row(names: list[str], row: tuple[Any, ...], nested: list[int]) -> str:
    values = [_IN_JSON[type(value)](value) for value in row]
    for number in nested:
        if row[number] is not None and _is_json(row[number]):
            # As it is: read and written again, its numbers would lose digits.
            values[number] = "".join(map(_in_ascii, row[number]))
    return f"    {{{', '.join(map(str.__add__, names, values))}}}"


def _in_ascii(char: str) -> str:
    return char if " " <= char <= "~" else encode_basestring_ascii(char)[1:-1]


def _is_json(text: str) -> bool:
    """Whether it is JSON for everybody: DuckDB's may have numbers that are none."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        return False
    return True


_FORMS: Final[dict[str, Callable[[Answer], Iterator[str]]]] = {
    "table": _table,
    "json": _json,
    "csv": _csv,
}
