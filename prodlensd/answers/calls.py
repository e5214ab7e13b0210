"""All calls as one table: the snapshots of clean days, and the ledger's rows of all other days.

Asked through DuckDB. All of it is of one moment: the manifest and the rows are read in one
transaction of the ledger, and no snapshot is replaced while the table is open. Each call is there
exactly once: a day is either in its file or in `rest`, into which the ledger's rows of the other
days are copied, with those of their pruned calls that only an older file has.

DuckDB is imported here alone, and only by commands that ask it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from prodlensd import snapshots
from prodlensd.ledger import LedgerError, Partition, Reader
from prodlensd.model import US_PER_DAY
from prodlensd.moments import day_of
from prodlensd.snapshots import COLUMNS

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: What DuckDB may hold in memory before it writes to the disk: the process stays below 500 MB.
_MEMORY: Final = "160MB"
ALWAYS_US: Final = -(2**63)
FOREVER_US: Final = 2**63 - 1

# ruff: noqa: S608 - statements are put together from names of columns
_COLUMNS: Final = ", ".join(COLUMNS)
#: The columns that people ask by beside those of the snapshots.
_VIEW: Final = """
    CREATE VIEW calls AS SELECT
        {columns}, epoch_us(timestamp) AS started_us, {event_date} AS event_date,
        coalesce(from_json(tags, '["VARCHAR"]'), []) AS tag_list
    FROM ({rows})
"""
_EVENT_DATE: Final = "CAST(timezone('UTC', timestamp) AS DATE)"
#: The list prices of calls: pico-USD a token, a row for each threshold.
_PRICES: Final = """
    CREATE OR REPLACE TABLE prices (
        price_id BIGINT, over BIGINT, up_to BIGINT, fresh_picos BIGINT, cached_picos BIGINT
    )
"""


class Calls:
    """The table `calls`, open.

    `files` are all that DuckDB itself reads; `damaged` says which cannot be read, if any. `extent`
    is when the first and the last call of all started, those included that were not asked for; None
    when there is none. `spans` are the days asked for that have calls, in order; those that follow
    on each other are one. `prices` gives the rates that the ledger keeps, as JSON. Unless a call
    `may_be_on_plan`, or `may_be_of_transcript`, nobody has to look for such calls.
    """

    def __init__(
        self,
        db: DuckDBPyConnection,
        files: Sequence[Path],
        damaged: Callable[[], str | None],
        extent: tuple[int, int] | None,
        spans: Sequence[tuple[int, int]],
        prices: Callable[[], Iterable[tuple[int, str]]] = tuple,
        *,
        may_be_on_plan: bool = True,
        may_be_of_transcript: bool = True,
    ) -> None:
        self._db = db
        self._files = files
        self._damaged = damaged
        self.extent = extent
        self.spans = spans
        self.may_be_on_plan = may_be_on_plan
        self.may_be_of_transcript = may_be_of_transcript
        self._prices = prices

    def query(self, sql: str, values: Mapping[str, Any] | None = None) -> DuckDBPyConnection:
        """The answer, to be fetched. Raises LedgerError when a snapshot cannot be read."""
        with self.named_damage():
            return self._db.execute(sql, values or {})

    def rows(self, sql: str, values: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """All rows of the answer. Raises LedgerError when a snapshot cannot be read."""
        with self.named_damage():
            return self._db.execute(sql, values or {}).fetchall()

    def named_damage(self) -> AbstractContextManager[None]:
        """Raises LedgerError, which names the file, when one cannot be read."""
        return _named(self._damaged)

    def load_prices(self) -> None:
        """Fills the table `prices`, for the questions that join it."""
        from prodlensd.pricing import from_list  # noqa: PLC0415 - most questions need none

        rows = []
        for price_id, text in self._prices():
            rates = from_list(json.loads(text))
            steps = [(-1, rates), *rates.above]
            ends = [over for over, _ in steps[1:]] + [2**63 - 1]
            for (over, step), up_to in zip(steps, ends, strict=True):
                rows.append((price_id, over, up_to, step.input, step.cache_read))
        self._db.execute(_PRICES)
        if rows:
            self._db.executemany("INSERT INTO prices VALUES (?, ?, ?, ?, ?)", rows)

    def sealed(self) -> DuckDBPyConnection:
        """The database, for strangers' queries.

        From now on no file is in reach but those of the calls, no network, no extension, and no
        setting can be changed. What is in reach could still be written: see `queries`.
        """
        if self._files:
            self._db.execute(f"SET allowed_paths = [{_quoted(self._files)}]")
        self._db.execute("SET enable_external_access = false")
        self._db.execute("SET lock_configuration = true")
        return self._db


def first_line(error: BaseException) -> str:
    """What DuckDB says, without the query and a mark below it."""
    return str(error).partition("\n")[0]


class Where(NamedTuple):
    """Where the calls are: the ledger, the folder of its snapshots, and which time is asked for."""

    ledger: Path
    snapshots: Path
    since_us: int = ALWAYS_US
    until_us: int = FOREVER_US


@contextmanager
def open_calls(where: Where) -> Iterator[Calls]:
    """The calls of the time asked for, and perhaps more of its first and last day.

    Raises LedgerError, also when a snapshot that holds pruned calls cannot be read.
    """
    with ExitStack() as stack:
        reader = stack.enter_context(Reader(where.ledger))
        stack.enter_context(_unchanged(where.snapshots))
        stack.enter_context(reader.one_moment())
        db = stack.enter_context(database(where.ledger.parent))
        paths: list[Path] = []
        damaged = partial(_damaged, paths)
        stack.enter_context(_named(damaged))
        days = [
            day
            for day in reader.days.partitions().values()
            if day.span[0] < where.until_us and where.since_us < day.span[1]
        ]
        files, rest = _divided(days, where.snapshots)
        db.execute(_empty("rest"))
        if rest:
            _add_rows(db, reader, rest)
        for day in rest:
            if day.pruned:
                _add_pruned(db, reader, day, where.snapshots)
        paths += files
        make_view(db, _parts(paths))
        yield Calls(
            db,
            paths,
            damaged,
            _extent(reader),
            [*_joined(days)],
            reader.prices.rates,
            may_be_on_plan="plan" in reader.tallies.tally("cost_source"),
            may_be_of_transcript=reader.sources.has_transcripts(),
        )


def _add_rows(db: DuckDBPyConnection, reader: Reader, days: Sequence[Partition]) -> None:
    """Adds the calls of these days that are in the ledger. Loads pyarrow."""
    tables = snapshots.Tables(reader.days)
    for span in _joined(days):
        for part in tables.of(*span):
            db.register("part", part)
            db.execute(f"INSERT INTO rest SELECT {_COLUMNS} FROM part")


@contextmanager
def _named(damaged: Callable[[], str | None]) -> Iterator[None]:
    """Says what keeps DuckDB from its work, and names the snapshot that it cannot read.

    Raises LedgerError. What is wrong with the question itself stays what it was.
    """
    import duckdb  # noqa: PLC0415 - heavy

    try:
        yield
    except (
        *(duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException),
        *(duckdb.ConversionException, duckdb.OutOfRangeException, duckdb.InterruptException),
    ):
        raise
    except duckdb.OutOfMemoryException as error:
        raise LedgerError(
            "the answer needs more than memory and disk have room for: ask for a shorter time"
        ) from error
    except duckdb.Error as error:
        if (said := damaged()) is not None:
            raise LedgerError(said) from error
        if isinstance(error, duckdb.IOException):
            raise LedgerError(first_line(error)) from error
        raise


def make_view(db: DuckDBPyConnection, rows: str, event_date: str = _EVENT_DATE) -> None:
    """Makes `calls` of the rows of a query that has the columns of snapshots."""
    db.execute(_VIEW.format(columns=_COLUMNS, event_date=event_date, rows=rows))


def _extent(reader: Reader) -> tuple[int, int] | None:
    first_us = reader.calls.first_us(ALWAYS_US, 2**63 - 1)
    last_us = reader.calls.last_us()
    return None if first_us is None or last_us is None else (first_us, last_us)


@contextmanager
def database(beside: Path) -> Iterator[DuckDBPyConnection]:
    """A database in memory, which writes what does not fit to a folder of its own, `beside`."""
    import duckdb  # noqa: PLC0415 - heavy

    try:
        spill = Path(tempfile.mkdtemp(prefix=".spill-", dir=beside))
    except OSError:  # this user may not write there
        spill = Path(tempfile.gettempdir())
    with ExitStack() as stack:
        if spill.parent == beside:
            stack.callback(shutil.rmtree, spill, ignore_errors=True)
        db = stack.enter_context(
            duckdb.connect(
                config={
                    "memory_limit": _MEMORY,
                    "temp_directory": str(spill),
                    "threads": str(os.cpu_count() or 1),
                    "preserve_insertion_order": "false",
                    "autoinstall_known_extensions": "false",
                    "autoload_known_extensions": "false",
                    "python_enable_replacements": "false",
                }
            )
        )
        db.execute("SET TimeZone = 'UTC'")
        db.execute("SET parquet_metadata_cache = true")  # no file is replaced meanwhile
        yield db


@contextmanager
def _unchanged(folder: Path) -> Iterator[None]:
    """Keeps all snapshots as they are, where this user may: a compaction waits meanwhile."""
    with ExitStack() as stack:
        with suppress(OSError):
            if folder.is_dir():
                stack.enter_context(snapshots.shared_lock(folder))
        yield


def _divided(days: Iterable[Partition], folder: Path) -> tuple[list[Path], list[Partition]]:
    """The snapshots that are all there is of their days; and the days to read from the ledger."""
    files: list[Path] = []
    rest: list[Partition] = []
    for day in days:
        path = day.place(folder)
        try:
            is_there = day.is_clean and day.may_be(path)
        except OSError:  # this user may not look
            is_there = False
        if is_there:
            files.append(path)
        else:
            rest.append(day)
    return files, rest


def _joined(days: Sequence[Partition]) -> Iterator[tuple[int, int]]:
    """The spans of these days; those of days that follow on each other as one."""
    spans: list[tuple[int, int]] = []
    for day in days:
        if spans and spans[-1][1] == day.span[0]:
            spans[-1] = spans[-1][0], day.span[1]
        else:
            spans.append(day.span)
    yield from spans


def _add_pruned(db: DuckDBPyConnection, reader: Reader, day: Partition, folder: Path) -> None:
    """Adds the calls of the day that are in its snapshot alone. Raises LedgerError."""
    from_us = day.day * US_PER_DAY
    places = reader.days.pruned_places(from_us, from_us + US_PER_DAY - 1)
    path = day.place(folder)
    before = _count(db, "rest")
    try:
        for part in snapshots.rows_at(snapshots.read_groups(path), reader.days.pruned_places):
            db.register("part", part)
            db.execute(f"INSERT INTO rest SELECT {_COLUMNS} FROM part")
    except (OSError, ValueError) as error:
        raise _lost(day, error) from error
    found = _count(db, "rest") - before
    if found != len(places):
        raise _lost(day, f"its snapshot holds {found} of them")


def _lost(day: Partition, why: object) -> LedgerError:
    return LedgerError(
        f"the {day.pruned} pruned calls of {day_of(day.day)} cannot be read: {why}; prodlensd "
        "verify says more, and a report that begins later needs none of them"
    )


def _damaged(files: Iterable[Path]) -> str | None:
    """Which of the snapshots cannot be read, in words; None when all of them can."""
    damaged = []
    for path in files:
        try:
            for _ in snapshots.read_groups(path):
                pass
        except (OSError, ValueError) as error:
            damaged.append(f"{path}: {error}")
    if not damaged:
        return None
    more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
    return f"cannot be read: {damaged[0]}{more}; prodlensd verify says more"


def _count(db: DuckDBPyConnection, table: str) -> int:
    # All rows: an answer that is not read to its end keeps the connection from what comes next.
    ((count,),) = db.execute(f"SELECT count(*) FROM {table}").fetchall()
    return int(count)


def _empty(table: str) -> str:
    """SQL that makes a table with the columns of a snapshot."""
    columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
    return f"CREATE TABLE {table} ({columns})"


def _parts(paths: Sequence[Path]) -> str:
    """SQL for the rows of these files and of `rest`.

    The files have the columns of today: a ledger of an older schema had all its days written anew.
    """
    if not paths:
        return f"SELECT {_COLUMNS} FROM rest"
    # In a name of a file, what would be a pattern stands for itself.
    literal = [re.sub(r"([*?\[\]])", r"[\1]", str(path)) for path in paths]
    files = f"read_parquet([{_quoted(literal)}], hive_partitioning = false)"
    return f"SELECT {_COLUMNS} FROM (FROM {files} UNION ALL BY NAME FROM rest)"


def _quoted(texts: Iterable[object]) -> str:
    """SQL for the elements of a list of these texts."""
    return ", ".join(f"'{str(text).replace(chr(39), chr(39) * 2)}'" for text in texts)
