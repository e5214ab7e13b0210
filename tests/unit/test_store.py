"""What the store takes for granted about its own schema."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from prodlensd.ledger import Ledger, LedgerError, PriceReader, Reader, rows
from prodlensd.ledger.rows import COMMON, OWN
from prodlensd.ledger.views import TRACES_COLUMNS
from prodlensd.model import Checkpoint, DeadLetter, Outcome, Price, Sighting, Trace
from prodlensd.pipeline import row
from prodlensd.snapshots import columns as snapshots_columns


def columns(db: apsw.Connection, table: str) -> list[str]:
    return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]


def test_rows_are_in_the_order_of_the_tables_columns(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as store:
        assert columns(store.db, "call") == [*OWN, "common_id"]
        assert columns(store.db, "common")[3:] == list(COMMON)
        assert columns(store.db, "trace")[:-2] == list(rows.COLUMNS)


def test_snapshots_read_what_is_common_and_what_is_not_in_the_order_of_the_ledger() -> None:
    ledger_names = snapshots_columns.LEDGER_NAMES | {"response_id": "key"}
    assert tuple(map(ledger_names.get, snapshots_columns.OWN)) == OWN
    assert snapshots_columns.COMMON == COMMON


def test_a_row_has_every_value_in_the_column_of_its_name() -> None:
    named: Any = Trace._make(Trace._fields)
    trace = named._replace(anomalies=("anomalies",))
    price: Any = Price._make(rows.PRICE)
    made: Any = row(trace, b"", price, "source_id", "source_offset")  # type: ignore[arg-type]
    assert list(made) == list(rows.COLUMNS)


def test_the_traces_view_is_the_contract(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as store:
        assert columns(store.db, "traces") == TRACES_COLUMNS
        assert columns(store.db, "dead_letters") == (
            "source_id path source_offset length reason raw received_at state".split()
        )
        assert columns(store.db, "gaps") == (
            "source_id path source_offset known_bytes reason state first_seen_at".split()
        )
        assert columns(store.db, "sources") == (
            "source_id path size_bytes offset lag_bytes state lines traces duplicates dead_letters "
            "blanks records passed_over last_read_at".split()
        )


def test_every_table_is_strict(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as store:
        tables = list(
            store.db.execute("SELECT name, strict FROM pragma_table_list WHERE type = 'table'")
        )
        assert {name for name, strict in tables if not strict} == {
            "sqlite_schema",
            "sqlite_temp_schema",
        }


def test_a_commit_from_another_place_than_the_ledger_is_at_is_refused_whole(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger.db") as store:
        (start,) = store.sources.register([Sighting("a.jsonl", 1, 2, 10, 0, 0)], 0)
        letter = DeadLetter(b"k" * 16, start.source_id, 0, 4, "invalid_json", "", b"oops")
        end = Checkpoint(start.source_id, "a.jsonl", 1, 2, offset=5)
        store.commit([Outcome(start, end, [], [], [letter], [], 1)], 0)
        other = DeadLetter(b"l" * 16, start.source_id, 0, 4, "invalid_json", "", b"oops")
        with pytest.raises(AssertionError, match="is not at offset 0"):
            store.commit([Outcome(start, end, [], [], [other], [], 1)], 0)
        assert list(store.db.execute("SELECT count(*) FROM dead_letter")) == [(1,)]


def test_a_damaged_database_is_refused_with_a_way_out(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"this is no database, whatever its name says" * 100)
    with pytest.raises(LedgerError, match="not a SQLite database"), Ledger(path):
        pass
    assert path.read_bytes().startswith(b"this is no database")


@pytest.mark.parametrize(
    ("ask", "index"),
    [(PriceReader.unpriced, "call_unpriced"), (PriceReader.disputed, "call_disputed")],
)
def test_prices_check_reads_an_index_of_what_it_asks_for_and_not_all_calls(
    tmp_path: Path, ask: Callable[[PriceReader], object], index: str
) -> None:
    with Ledger(tmp_path / "ledger.db"), Reader(tmp_path / "ledger.db") as reader:
        asked: list[str] = []

        def note(_cursor: object, sql: str, _bindings: object) -> bool:
            asked.append(sql)
            return True

        reader.db.exec_trace = note
        ask(reader.prices)
        reader.db.exec_trace = None
        (sql,) = asked
        plan = [detail for *_, detail in reader.db.execute(f"EXPLAIN QUERY PLAN {sql}")]
    assert [step for step in plan if "SCAN" in step] == [f"SCAN o USING INDEX {index}"]
