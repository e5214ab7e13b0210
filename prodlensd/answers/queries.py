"""Strangers' SQL over the one table `calls`, which can read that and nothing else, nor change it.

Two walls, each of which would do if the other had a hole. A query is taken apart first: only one
that reads, from `calls`, with functions that reach for nothing, is asked at all. And the database
is sealed (see `Calls.sealed`). The first wall is needed because a file that may be read may be
written too: `EXPLAIN ANALYZE COPY …`, and in DuckDB 2.0 `WITH x AS (COPY …) SELECT …`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, BinaryIO, Final, NamedTuple, TypeVar

import orjson

from prodlensd import snapshots
from prodlensd.answers.calls import Calls, first_line
from prodlensd.model import OperationalError

# ruff: noqa: S608 - a query is put into another one, after it was taken apart

TABLE: Final = "calls"
_ONE_TABLE: Final = f"there is one table, {TABLE}: DESCRIBE {TABLE} shows its columns"
#: What a query may be made of: what is not a node of these would write.
_NODES: Final = {"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"}
_TABLE_FUNCTIONS: Final = {"generate_series", "json_each", "json_tree", "range", "unnest"}
#: All others work on their arguments alone.
_REFUSED_FUNCTIONS: Final = {
    *("current_setting", "getenv", "getvariable", "write_log", "nextval", "currval", "setval"),
    *("sleep_ms", "pg_sleep"),
}
_EXPLAIN: Final = re.compile(r"\s*explain\s+(analyze\s+)?", re.IGNORECASE)

_NUMBERS: Final = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|FLOAT|DOUBLE|DECIMAL\(.*\)$")
_NESTED: Final = re.compile(r".*\]|(STRUCT|MAP|UNION|JSON|VARIANT)\b.*", re.DOTALL)
#: Those that Parquet has.
_FILED: Final = re.compile(
    r"U?(TINY|SMALL|BIG)?INT(EGER)?|HUGEINT|FLOAT|DOUBLE|DECIMAL\([\d, ]*\)|BOOLEAN|VARCHAR|BLOB"
    r"|DATE|TIME|TIMESTAMP|TIMESTAMP WITH TIME ZONE"
)
_ISO: Final = "%Y-%m-%dT%H:%M:%S.%f"
_ROWS_AT_ONCE: Final = 1000

_Answered = TypeVar("_Answered")


class Column(NamedTuple):
    """A column of an answer: its name, and its type in DuckDB's words.

    The values are numbers, truth values and texts: a time is ISO 8601, as in the SQL views, and
    what has no other form is as DuckDB writes it. With `is_json` the texts are JSON.
    """

    name: str
    type: str
    is_json: bool = False


class Answer(NamedTuple):
    """Columns, and the rows, which are read once; or, of EXPLAIN, a text of many lines."""

    columns: Sequence[Column]
    rows: Iterator[tuple[Any, ...]]
    explained: str | None = None


class Queries:
    """What strangers may ask of these calls. Every error is an OperationalError of one line.

    DuckDB works in a thread of its own: it would keep Python from seeing an interrupt.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._db = calls.sealed()
        self._worker = ThreadPoolExecutor(1)

    def ask(self, text: str, *, nested_as_json: bool = False) -> Answer:
        """The answer to one query. What is nested (a list, a struct) is JSON, or DuckDB's text."""
        query = self._taken_apart(text)
        if query.explain:
            return Answer((), iter(()), self._explained(query))
        columns = [
            Column(name, kind, nested_as_json and bool(_NESTED.fullmatch(kind)))
            for name, kind in self._described(query)
        ]
        parts = (_as_text(number, column) for number, column in enumerate(columns, 1))
        wrapped = f"SELECT {', '.join(parts)} FROM ({query.text}\n)"
        self._do(lambda: self._db.execute(wrapped))
        return Answer(columns, self._rows())

    def write_parquet(self, text: str, file: BinaryIO) -> int:
        """Writes the answer to a file, with real types; returns how many rows it has."""
        query = self._taken_apart(text)
        if query.explain:
            raise OperationalError("EXPLAIN has no rows that Parquet could hold")
        parts = (
            f"{_filed(number, kind)} AS {_named(name)}"
            for number, (name, kind) in enumerate(self._described(query), 1)
        )
        wrapped = f"SELECT {', '.join(parts)} FROM ({query.text}\n)"

        def write() -> int:
            relation: Any = self._db.sql(wrapped)
            # The name of the one is new, and the other one's is old.
            batches = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader
            return snapshots.write_table(file, batches(snapshots.GROUP_ROWS))

        return self._do(write)

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        while rows := self._do(lambda: self._db.fetchmany(_ROWS_AT_ONCE)):
            yield from rows

    def _described(self, query: _Query) -> list[tuple[str, str]]:
        """Name and type of each column."""
        sql = f"DESCRIBE SELECT * FROM ({query.text}\n)"
        return [(name, kind) for name, kind, *_ in self._do(lambda: self._all(sql))]

    def _explained(self, query: _Query) -> str:
        rows = self._do(lambda: self._all(f"{query.explain} {query.text}"))
        return "\n".join(plan.rstrip("\n") for _, plan in rows)

    def _all(self, sql: str) -> list[Any]:
        return self._db.execute(sql).fetchall()

    # Taking a query apart ------------------------------------------------------------------------

    def _taken_apart(self, text: str) -> _Query:
        """The one query of this text. Raises OperationalError for any that is not let through."""
        text = text.encode(errors="replace").decode()  # what no text can hold: lone surrogates
        explain = ""
        if found := _EXPLAIN.match(text):
            explain = "EXPLAIN ANALYZE" if found[1] else "EXPLAIN"
            text = text[found.end() :]
        with self._errors():
            statements = self._db.extract_statements(text)
        if len(statements) != 1:
            raise OperationalError(
                f"one query at a time, and here are {len(statements)}"
                if statements
                else "there is no query"
            )
        query = statements[0].query.strip().rstrip(";")
        sql = "SELECT json_serialize_sql($query)"
        [(written,)] = self._do(lambda: self._db.execute(sql, {"query": query}).fetchall())
        try:
            tree = orjson.loads(written)
        except orjson.JSONDecodeError as error:
            raise OperationalError("the query is nested too deeply") from error
        if tree["error"]:
            raise OperationalError("only SELECT, EXPLAIN, DESCRIBE and SUMMARIZE can be asked here")
        _check(tree)
        return _Query(query, explain)

    # Errors --------------------------------------------------------------------------------------

    def _do(self, work: Callable[[], _Answered]) -> _Answered:
        """What this comes to, done by the thread; an interrupt ends it."""
        with self._errors():
            doing = self._worker.submit(work)
            try:
                return doing.result()
            except KeyboardInterrupt:
                self._db.interrupt()
                doing.exception()  # waits for it to end
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        import duckdb  # noqa: PLC0415 - heavy

        try:
            with self._calls.named_damage():
                yield
        except (duckdb.Error, RuntimeError, ValueError) as error:
            raise OperationalError(first_line(error)) from error


class _Query(NamedTuple):
    """A query that reads `calls` and nothing else; and EXPLAIN, when it is to be explained."""

    text: str
    explain: str


def _check(tree: Any) -> None:  # noqa: ANN401 - JSON
    """Raises OperationalError unless the query reads `calls` alone, and changes nothing."""
    parts = list(_parts(tree))
    known = {TABLE} | {
        entry["key"].lower()
        for part in parts
        for entry in (part.get("cte_map") or {}).get("map", ())
    }
    for part in parts:
        kind = str(part.get("type") or "")
        if kind.endswith("_NODE") and kind not in _NODES:
            raise OperationalError("a query may read and not write")
        if kind == "BASE_TABLE" and not _is_known(part, known):
            raise OperationalError(f"{part['table_name']}: {_ONE_TABLE}")
        if kind == "SHOW_REF" and not part["query"] and part["table_name"].lower() != TABLE:
            raise OperationalError(_ONE_TABLE)
        name = str(part.get("function_name") or "").lower()
        if name in _REFUSED_FUNCTIONS:
            raise OperationalError(f"{name}: a query may not use this function")
        if kind == "TABLE_FUNCTION":
            function = part["function"]["function_name"].lower()
            if function not in _TABLE_FUNCTIONS:
                raise OperationalError(f"{function}: {_ONE_TABLE}")


def _is_known(part: dict[str, Any], known: set[str]) -> bool:
    place = part["catalog_name"].lower(), part["schema_name"].lower()
    is_ours = place[0] in ("", "memory") and place[1] in ("", "main")
    return is_ours and part["table_name"].lower() in known


def _parts(tree: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - JSON
    """Every object in it."""
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


# The form of values -----------------------------------------------------------------------------


def _as_text(number: int, column: Column) -> str:
    """SQL for the values of a column, the `number`th from 1, as `Column` has them."""
    value = f"#{number}"
    if column.is_json:
        value = f"CAST(to_json({value}) AS VARCHAR)"
    elif column.type == "TIMESTAMP WITH TIME ZONE":
        value = f"strftime(timezone('UTC', {value}), '{_ISO}Z')"
    elif column.type == "TIMESTAMP":
        value = f"strftime({value}, '{_ISO}')"
    elif not _NUMBERS.fullmatch(column.type) and column.type not in ("BOOLEAN", "VARCHAR"):
        value = f"CAST({value} AS VARCHAR)"
    return f"{value} AS {_named(column.name)}"


def _filed(number: int, kind: str) -> str:
    """SQL for the values of a column in Parquet, where some types are text."""
    return f"#{number}" if _FILED.fullmatch(kind) else f"CAST(#{number} AS VARCHAR)"


def _named(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
