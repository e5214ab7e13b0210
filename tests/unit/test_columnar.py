"""Whatever the ledger's columns can hold is in a snapshot as it is in the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodlensd import snapshots
from prodlensd.ledger import Ledger
from prodlensd.ledger.days import DayReader
from prodlensd.ledger.rows import COLUMNS
from prodlensd.snapshots import columnar, files
from prodlensd.snapshots.columns import LEDGER_NAMES

MOST: Final = 2**63 - 1
#: The columns of a snapshot that are the ledger's own; `call_id` and `response_id` are its key's.
NAMES: Final = [name for name in LEDGER_NAMES.values() if name not in ("call_id", "response_id")]
#: Of a row of `trace` that has nothing else.
LEAST: Final[dict[str, Any]] = {
    **dict.fromkeys(COLUMNS),
    "status": "success",
    "cache_hit": 0,
    "cost_source": "gateway",
    "source_id": 1,
}
ODD_TEXTS: Final = (
    *("", " ", "null", '"', "\\", '["a", 1]', "{}", "a\nb\r\n\tc", "\x00", "a\x00b", "\x1f\x7f"),
    *("\u2028\u2029", "\ufeff", "\ufffe", "é", "e\u0301", "👩\u200d💻", "\U0010ffff", "x" * 70_000),
)
ODD_NUMBERS: Final = (0, -1, 2**31, 2**53 + 1, MOST - 1, MOST, -MOST)
ODD_REALS: Final = (0.1, 5e-324, 1.7976931348623157e308, 2 / 3, float("inf"), -float("inf"))

texts: Final = st.none() | st.text()  # without surrogates, which are no UTF-8
numbers = st.none() | st.integers(-MOST, MOST)  # the smallest is NO_NUMBER
reals = st.none() | st.floats(allow_nan=False)  # SQLite has no NaN
flags = st.integers(0, 1)
money = st.none() | st.integers(-(10**18) + 1, 10**18 - 1)  # what DECIMAL(18, 9) can hold


def kinds() -> dict[str, st.SearchStrategy[Any]]:
    """What each column of `trace` may hold, but those that have rules of their own."""
    with TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.db") as ledger:
        columns = [
            (name, kind)
            for table in ("call", "common")
            for name, kind in ledger.all(f"SELECT name, type FROM pragma_table_info('{table}')")
            if name in COLUMNS
        ]
    of_type = {"INTEGER": numbers, "TEXT": texts, "REAL": reals}
    found = {name: of_type[kind] for name, kind in columns if kind != "ANY" and name != "details"}
    found |= dict.fromkeys(("gateway_nanousd", "cost_nanousd", "table_nanousd"), money)
    found |= {"cache_hit": flags, "accepted": st.none() | flags}
    for name in ("started_us", "source_id", "source_offset"):
        del found[name]
    return found


KINDS: Final = kinds()
TEXTS: Final = [name for name, kind in KINDS.items() if kind is texts]
NUMBERS: Final = [name for name, kind in KINDS.items() if kind is numbers]
REALS: Final = [name for name, kind in KINDS.items() if kind is reals]


class Book:
    """A ledger, and the folder of the one snapshot of all that is in it."""

    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger(folder / "ledger.db")
        self.path = folder / "event_date=1970-01-01" / "laptop.parquet"

    def fill(self, *rows: dict[str, Any]) -> None:
        with self.ledger.transaction():
            self.ledger.db.execute("DELETE FROM call")
            for offset, row in enumerate(rows):
                own = {"started_us": offset, "key": b"%d" % offset, "source_offset": offset}
                self.ledger.rows.insert([tuple((LEAST | own | row).values())])

    def written(self) -> pa.Table:
        """What is in the snapshot, once it is proven to be all that the ledger has."""
        days, span = DayReader(self.ledger), (0, MOST)
        snapshots.write_snapshot(
            self.path,
            snapshots.grouped(snapshots.Tables(days).of(*span)),
            metadata={},
            announce=lambda _file: None,
        )
        assert list(snapshots.ledger_rows(self.path, NAMES)) == list(days.traces(*span, NAMES))
        with pq.ParquetFile(self.path) as file:
            assert file.schema_arrow.equals(snapshots.SCHEMA)
            for number in range(file.num_row_groups):
                check_statistics(file, number)
            return file.read()


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Book]:
    book = Book(tmp_path_factory.mktemp("book"))
    with book.ledger as ledger:
        ledger.db.execute("PRAGMA synchronous = OFF")
        yield book


def check_statistics(file: pq.ParquetFile, number: int) -> None:
    """Of the texts: a reader leaves out a row group by the first and the last that it has."""
    table = file.read_row_group(number)
    for column in map(file.metadata.row_group(number).column, range(table.num_columns)):
        name, found = column.path_in_schema, column.statistics
        if table.schema.field(name).type == pa.string() and found and found.has_min_max:
            there = [text.encode() for text in table[name].to_pylist() if text is not None]
            assert (found.min.encode(), found.max.encode()) == (min(there), max(there)), name


@contextmanager
def small_tables() -> Iterator[None]:
    """Rows come two by two, in tables of four at most; a row group has six at least."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(columnar, "_SLICE_ROWS", 2)
        patched.setattr(columnar, "GROUP_ROWS", 4)
        patched.setattr(files, "GROUP_ROWS", 6)
        yield


def kept(book: Book, columns: list[str], values: Sequence[Any]) -> list[set[Any]]:
    """What a snapshot has in these columns, row by row, when all have the one of the values."""
    book.fill({}, *(dict.fromkeys(columns, value) for value in values))
    _, *rows = book.written().select(columns).to_pylist()
    return [set(row.values()) for row in rows]


def test_a_text_is_kept_whatever_is_in_it(book: Book) -> None:
    assert kept(book, TEXTS, ODD_TEXTS) == [{text} for text in ODD_TEXTS]


def test_a_whole_number_is_kept_to_its_last_digit(book: Book) -> None:
    assert kept(book, NUMBERS, ODD_NUMBERS) == [{number} for number in ODD_NUMBERS]


def test_a_real_number_is_kept_to_its_last_bit(book: Book) -> None:
    assert kept(book, REALS, ODD_REALS) == [{real} for real in ODD_REALS]


def test_columns_that_say_nothing_keep_their_types(book: Book) -> None:
    book.fill({}, {})
    table = book.written()
    empty = [name for name in table.column_names if table[name].null_count == 2]
    assert {*TEXTS, *NUMBERS, *REALS} - {"status", "cost_source"} <= {*empty, "call_id"}


@pytest.mark.long
@given(rows=st.lists(st.fixed_dictionaries({}, optional=KINDS), min_size=1, max_size=12))
def test_every_row_is_kept_wherever_tables_and_row_groups_end(
    book: Book, rows: list[dict[str, Any]]
) -> None:
    never_null = ("status", "cost_source", "cache_hit")
    given = [
        {name: value for name, value in row.items() if value is not None or name not in never_null}
        for row in rows
    ]
    book.fill(*given)
    with small_tables():
        assert book.written().num_rows == len(rows)


def test_rows_that_repeat_are_as_they_were_in_the_order_of_time(book: Book) -> None:
    models = [None, "a", "b", "a", None, "c", "a", "c", "", "b"]
    book.fill(*({"model": model} for model in models))
    with small_tables():
        assert book.written()["model"].to_pylist() == models


def test_no_more_of_what_is_common_is_held_than_one_group_can_need(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.fill(*({"model": f"m{number % 12}"} for number in range(40)))
    monkeypatch.setattr(columnar, "_SLICE_ROWS", 2)
    monkeypatch.setattr(columnar, "GROUP_ROWS", 4)
    monkeypatch.setattr(columnar, "_MOST_COMMON", 8)
    tables = snapshots.Tables(DayReader(book.ledger))
    found = []
    for table in tables.of(0, MOST):
        found += table["model"].to_pylist()
        assert len(tables._common._known["common_id"]) <= 8
    assert found == [f"m{number % 12}" for number in range(40)]


def test_a_snapshot_is_not_made_of_halves_of_calls(book: Book) -> None:
    book.fill({"model": "m"})
    book.ledger.db.execute("DELETE FROM common")
    with pytest.raises(AssertionError, match="1 rows of common are gone: see prodlensd verify"):
        list(snapshots.Tables(DayReader(book.ledger)).of(0, MOST))
    book.fill()
