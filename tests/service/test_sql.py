"""`sql` reads the one table `calls`, and reaches, writes and changes nothing else, whoever asks."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prodlensd.answers.calls import Calls, Where, open_calls
from prodlensd.answers.published import open_published
from prodlensd.answers.queries import Queries
from prodlensd.ledger.views import TRACES_COLUMNS
from prodlensd.model import OperationalError
from prodlensd.snapshots import exclusive_lock
from tests.forked import forked

CANARY = "canary-that-nobody-may-read"
CALLS = 7


def line(number: int, day: int, **more: Any) -> str:
    record = {
        "timestamp": f"2026-01-{day:02d}T12:00:{number:02d}.000001Z",
        "id": f"r{number}",
        "litellm_call_id": f"call-{number}",
        "cost_usd": 0.1 + number / 1e9,
        "attributes": {"llm.model_name": f"acme/model-{number % 2}", "latency_ms": number + 0.25},
        "usage": {"input_tokens": 10**15 + number, "output_tokens": 5},
        "metadata": {"developer_id": "dev@example.com", "session_id": "s1"},
    }
    return json.dumps(record | more) + "\n"


def run(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return forked(*arguments, env=os.environ | {"PRODLENSD_HOME": str(home)})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a day in a snapshot and a day that is only in the ledger, and foreign files."""
    home = tmp_path_factory.mktemp("sql") / "home"
    (home / "logs").mkdir(parents=True)
    log = home / "logs" / "a.jsonl"
    log.write_text("".join(line(number, 1) for number in range(4)))
    assert run("run", "--once", home=home).returncode == 0
    hostile = {"developer_id": "=1+1\x1b]0;owned\x07\n| é", "session_id": "s2"}
    with log.open("a") as file:
        file.writelines(line(number, 2, metadata=hostile) for number in range(4, CALLS))
    (home / "config.toml").write_text("[parquet]\nenabled = false\n")
    assert run("run", "--once", home=home).returncode == 0
    (home / "canary.csv").write_text(f"a\n{CANARY}\n")
    pq.write_table(pa.table({"a": [CANARY]}), home / "canary.parquet")
    return home


@pytest.fixture(scope="module")
def opened(place: Path) -> Iterator[Calls]:
    with open_calls(Where(place / "prodlens.db", place / "parquet")) as calls:
        yield calls


@pytest.fixture(scope="module")
def queries(opened: Calls) -> Queries:
    return Queries(opened)


def rows(queries: Queries, query: str) -> list[tuple[Any, ...]]:
    return list(queries.ask(query).rows)


def content(folder: Path) -> dict[str, str]:
    """All there is in a folder, but for what SQLite notes of its readers."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith("-shm")
    }


def asked(query: str, place: Path, *options: str) -> str:
    done = run("sql", query, *options, home=place)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


# Hostile queries --------------------------------------------------------------------------------

#: {p} is the home, {s} a snapshot, which may be read for `calls` and must not be written.
HOSTILE = """
SELECT * FROM '{p}/canary.csv'
SELECT * FROM '{p}/canary.parquet'
FROM '{s}'
SELECT * FROM "/etc/passwd"
SELECT * FROM calls WHERE model IN (SELECT a FROM '{p}/canary.csv')
SELECT (SELECT a FROM '{p}/canary.csv')
WITH x AS (SELECT * FROM '{p}/canary.csv') SELECT * FROM x
WITH calls AS (SELECT * FROM '{p}/canary.csv') FROM calls
SELECT * FROM read_csv('{p}/canary.csv')
SELECT * FROM read_csv_auto('{p}/canary.csv')
SELECT * FROM calls, LATERAL (SELECT * FROM read_text('{p}/canary.csv'))
SELECT * FROM read_blob('{s}')
SELECT * FROM read_parquet('{p}/canary.parquet')
SELECT * FROM parquet_scan('{s}')
SELECT * FROM parquet_metadata('{s}')
SELECT * FROM parquet_kv_metadata('{s}')
SELECT * FROM read_json('{p}/canary.csv')
SELECT * FROM sniff_csv('{p}/canary.csv')
SELECT * FROM glob('{p}/*')
SELECT * FROM system.main.glob('{p}/*')
SELECT * FROM query('SELECT * FROM glob(''{p}/*'')')
SELECT * FROM query_table('rest')
SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT * FROM rest'))
SELECT * FROM duckdb_settings()
SELECT * FROM duckdb_secrets()
SELECT * FROM duckdb_extensions()
SELECT * FROM enable_logging(storage = 'file', storage_path = '{p}/log')
SELECT * FROM checkpoint()
SELECT * FROM truncate_duckdb_logs()
SELECT * FROM arrow_scan(0::POINTER, 0::POINTER, 0::POINTER)
SELECT * FROM rest
SELECT * FROM main.rest
SELECT * FROM information_schema.tables
SELECT * FROM pg_catalog.pg_settings
SELECT * FROM sqlite_master
SELECT getenv('HOME')
SELECT current_setting('temp_directory')
SELECT getvariable('x')
SELECT write_log('x')
SELECT nextval('x')
SHOW TABLES
SHOW ALL TABLES
SHOW DATABASES
DESCRIBE '{p}/canary.csv'
SUMMARIZE '{p}/canary.parquet'
COPY calls TO '{p}/stolen.csv'
COPY (SELECT 1) TO '{s}' (FORMAT parquet, USE_TMP_FILE false)
COPY calls FROM '{p}/canary.csv'
EXPLAIN ANALYZE COPY (SELECT 1) TO '{s}' (FORMAT parquet, USE_TMP_FILE false)
EXPLAIN ANALYZE COPY (SELECT 1) TO '{p}/stolen.csv'
EXPLAIN ANALYZE CREATE TABLE stolen AS SELECT 1
EXPLAIN ANALYZE EXPLAIN ANALYZE DELETE FROM rest
/* */ EXPLAIN ANALYZE DELETE FROM rest
WITH x AS (COPY (SELECT 1) TO '{s}' (FORMAT parquet, USE_TMP_FILE false)) FROM x
WITH x AS (DELETE FROM rest RETURNING 1) FROM x
WITH x AS (INSERT INTO rest (model) VALUES ('x') RETURNING 1) FROM x
EXPORT DATABASE '{p}/stolen'
IMPORT DATABASE '{p}'
ATTACH '{p}/prodlens.db' AS other (TYPE sqlite)
ATTACH '{p}/new.duckdb' AS other
ATTACH '{s}' AS other
DETACH memory
USE memory
INSTALL httpfs
LOAD httpfs
LOAD '{p}/canary.csv'
SET memory_limit = '1TB'
SET enable_external_access = true
RESET memory_limit
SET VARIABLE x = 1
PRAGMA database_list
PRAGMA enable_profiling
CALL pragma_version()
CREATE TABLE stolen (a INTEGER)
CREATE TEMP VIEW calls AS SELECT 1
CREATE MACRO f() AS 1
CREATE SECRET (TYPE s3)
CREATE SEQUENCE x
DROP VIEW calls
ALTER TABLE rest ADD COLUMN a INTEGER
INSERT INTO rest (model) VALUES ('x')
UPDATE rest SET model = 'x'
DELETE FROM rest
MERGE INTO rest USING calls ON true WHEN MATCHED THEN DELETE
TRUNCATE rest
COMMENT ON VIEW calls IS 'x'
BEGIN
PREPARE x AS SELECT 1
EXECUTE x
VACUUM
CHECKPOINT
SELECT 1; DROP VIEW calls
SELECT 1) TO '{p}/stolen.csv'; --
""".strip().splitlines()


def hostile(query: str, place: Path) -> str:
    snapshot = next(place.glob("parquet/*/*.parquet"))
    return query.replace("{p}", str(place)).replace("{s}", str(snapshot))


@pytest.mark.parametrize("query", HOSTILE)
def test_a_hostile_query_reads_writes_and_changes_nothing(
    query: str, queries: Queries, place: Path
) -> None:
    before = content(place)
    with pytest.raises(OperationalError) as refused:
        rows(queries, hostile(query, place))
    assert "\n" not in str(refused.value)
    assert CANARY not in str(refused.value)
    assert before == content(place)
    assert [(CALLS, 2)] == rows(queries, "SELECT count(*), count(DISTINCT model) FROM calls")


BEHIND_THE_WALL = """
SELECT * FROM read_csv('{p}/canary.csv')
SELECT * FROM '{p}/canary.parquet'
SELECT * FROM glob('{p}/*')
SELECT * FROM read_parquet('{p}/parquet/*/../../canary.parquet')
COPY (SELECT 1) TO '{p}/stolen.csv'
EXPORT DATABASE '{p}/stolen'
ATTACH '{p}/new.duckdb' AS other
ATTACH '{p}/prodlens.db' AS other (TYPE sqlite)
INSTALL httpfs
LOAD httpfs
LOAD sqlite
SET memory_limit = '1TB'
SET enable_external_access = true
SET lock_configuration = false
SET allowed_paths = []
SET temp_directory = '{p}/other'
""".strip().splitlines()


@pytest.mark.parametrize("query", BEHIND_THE_WALL)
def test_what_came_through_the_parser_would_still_reach_no_other_file_nor_setting(
    query: str, queries: Queries, place: Path
) -> None:
    before = content(place)
    with pytest.raises(duckdb.Error):
        queries._db.execute(hostile(query, place)).fetchall()
    assert before == content(place)


def test_a_published_folder_is_no_more_in_reach_than_the_ledger(place: Path) -> None:
    with open_published((place / "parquet").as_uri()) as calls:
        queries = Queries(calls)
        assert [(4,)] == rows(queries, "SELECT count(*) FROM calls")
        with pytest.raises(OperationalError):
            rows(queries, "FROM published")
        snapshot = next(place.glob("parquet/*/*.parquet"))
        with pytest.raises(duckdb.Error):
            queries._db.execute(f"FROM '{snapshot}'").fetchall()


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "there is no query"),
        ("/* nothing */", "there is no query"),
        ("SELECT 1; SELECT 2", "one query at a time, and here are 2"),
        ("SELECT nobody FROM calls", 'Binder Error: Referenced column "nobody" not found'),
        ("SELECT 'x", "Parser Error: unterminated quoted string"),
        ("SELECT error(E'\\x1b]0;owned')", "Error"),
        ("SELECT " + "abs(" * 5000 + "1" + ")" * 5000, ""),
        ("SELECT \udcff", ""),
    ],
)
def test_a_bad_query_is_one_clear_sentence_and_exit_code_1(
    query: str, said: str, place: Path, queries: Queries
) -> None:
    with pytest.raises(OperationalError) as refused:
        rows(queries, query)
    found = str(refused.value).replace("unterminated string literal", "unterminated quoted string")
    assert said in found
    assert "\n" not in found
    done = run("sql", query, home=place)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert "\x1b" not in done.stderr


# What can be asked ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "FROM calls",
        "SELECT * FROM memory.main.CALLS AS c",
        "TABLE calls",
        "VALUES (1)",
        "DESCRIBE calls",
        "SHOW calls",
        "SUMMARIZE SELECT tokens_in FROM calls",
        "EXPLAIN SELECT * FROM calls",
        "explain analyze select count(*) from calls",
        "WITH RECURSIVE x AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM x WHERE a < 3) FROM x",
        "WITH y AS (FROM calls), z AS (FROM y) SELECT * FROM z JOIN y USING (call_id)",
        "SELECT unnest([1, 2]), * FROM range(3), generate_series(1, 2) AS g(b)",
        "PIVOT calls ON model IN ('acme/model-1') USING count(*)",
        "SELECT list(model ORDER BY timestamp) FILTER (tokens_in > 3) FROM calls GROUP BY ALL",
        "SELECT bill ->> '$.units', quantile_cont(latency_ms, 0.5) OVER () FROM calls QUALIFY true",
        "(SELECT 1 UNION SELECT 2) EXCEPT SELECT 3 -- the end",
        "SELECT * FROM calls;  ",
    ],
)
def test_every_way_to_read_the_table_is_let_through(query: str, queries: Queries) -> None:
    answer = queries.ask(query)
    assert answer.explained or list(answer.rows)


def test_the_table_has_the_columns_of_the_view_with_real_types(queries: Queries) -> None:
    names = {name for name, *_ in rows(queries, "DESCRIBE calls")}
    assert names == {*TRACES_COLUMNS, "price_id", "details", "response_id", "tag_list"}
    types = dict(row[:2] for row in rows(queries, "DESCRIBE calls"))
    assert "TIMESTAMP WITH TIME ZONE" == types["timestamp"]
    assert "DECIMAL(18,9)" == types["cost_usd"]
    assert "DATE" == types["event_date"]


def test_ledger_and_snapshots_are_one_table_to_the_nano_dollar(queries: Queries) -> None:
    expected = sum((Decimal(f"0.10000000{number}") for number in range(CALLS)), Decimal())
    assert [(CALLS, 2, expected)] == rows(
        queries, "SELECT count(*), count(DISTINCT event_date), sum(cost_usd) FROM calls"
    )


# Forms ------------------------------------------------------------------------------------------

EXACT = "12345678901.234567890123456789"  # more digits than a float has
ONE = (
    "SELECT developer_id, cost_usd, timestamp, error_class FROM calls "
    "ORDER BY timestamp DESC LIMIT 1"
)


def test_a_table_is_for_people_and_hostile_values_are_escaped(place: Path) -> None:
    printed = asked(ONE, place)
    assert "\x1b" not in printed
    assert "0.100000006  2026-01-02T12:00:06.000001Z  null" in printed
    assert "1 row\n" in printed


def test_a_long_table_ends_after_a_thousand_rows_and_says_so(place: Path) -> None:
    printed = asked("FROM range(1001) ORDER BY 1", place)
    assert printed.endswith(
        "\n  999\n\nthe first 1,000 rows: --format csv or json has all of them\n"
    )
    assert "1,000 rows\n" in asked("FROM range(1000)", place)
    assert 1002 == len(asked("FROM range(1001)", place, "--format", "csv").splitlines())


def test_json_has_every_digit_and_is_ascii(place: Path) -> None:
    query = (
        f"SELECT *, 170141183460469231731687303715884105727 AS large, 'nan'::DOUBLE AS odd, "
        f"[cost_usd] AS list, {{'é': 1, 'n': NULL}} AS struct, 0.1::DOUBLE AS float, true AS yes, "
        f"{EXACT}::DECIMAL(38, 18) AS exact, "
        f"['nan'::DOUBLE] AS odd_list, DATE '2026-01-01' AS day FROM ({ONE})"
    )
    printed = asked(query, place, "--format", "json")
    assert printed.isascii()
    found = json.loads(printed, parse_float=Decimal)
    assert ("prodlensd.sql/1", "DECIMAL(18,9)") == (found["schema"], found["columns"][1]["type"])
    [row] = found["rows"]
    assert "=1+1\x1b]0;owned\x07\n| é" == row["developer_id"]
    assert Decimal("0.100000006") == row["cost_usd"]
    assert f'"exact": {EXACT},' in printed
    assert row["error_class"] is None
    assert 170141183460469231731687303715884105727 == row["large"]
    assert "nan" == row["odd"]
    assert [Decimal("0.100000006")] == row["list"]
    assert {"é": 1, "n": None} == row["struct"]
    assert (Decimal("0.1"), True, "2026-01-01") == (row["float"], row["yes"], row["day"])
    assert isinstance(row["odd_list"], str)


def test_json_of_no_rows_has_the_same_keys(place: Path) -> None:
    found = json.loads(asked("SELECT 1 AS a LIMIT 0", place, "--format", "json"))
    assert ["schema", "columns", "rows"] == list(found)
    assert [] == found["rows"]


def test_csv_has_empty_cells_for_null_and_no_formulas(place: Path) -> None:
    [header, row] = csv.reader(io.StringIO(asked(ONE, place, "--format", "csv")))
    assert ["developer_id", "cost_usd", "timestamp", "error_class"] == header
    assert row[0].startswith("'=1+1\\x1b")
    assert ["0.100000006", "2026-01-02T12:00:06.000001Z", ""] == row[1:]
    exact = f"SELECT {EXACT}::DECIMAL(38, 18) AS a"
    assert f"a\n{EXACT}\n" == asked(exact, place, "--format", "csv")
    assert f"{EXACT}\n" in asked(exact, place)


def test_parquet_has_real_types_and_goes_to_a_file_only(place: Path, tmp_path: Path) -> None:
    file = tmp_path / "answer.parquet"
    assert "" == asked("FROM calls", place, "--format", "parquet", "-o", str(file))
    table = pq.read_table(file)
    assert CALLS == table.num_rows
    assert pa.decimal128(18, 9) == table.schema.field("cost_usd").type
    assert pa.timestamp("us", tz="UTC") == table.schema.field("timestamp").type
    done = run("sql", "FROM calls", "--format", "parquet", home=place)
    assert (2, "") == (done.returncode, done.stdout)
    assert "--format parquet needs a file: -o FILE" in done.stderr


def test_a_number_that_parquet_has_no_type_for_is_a_text_there(place: Path, tmp_path: Path) -> None:
    largest = "340282366920938463463374607431768211455"
    file = tmp_path / "answer.parquet"
    query = f"SELECT '{largest}'::UHUGEINT AS a"
    asked(query, place, "--format", "parquet", "-o", str(file))
    assert [{"a": largest}] == pq.read_table(file).to_pylist()


def test_a_file_is_whole_or_as_it_was(place: Path, tmp_path: Path) -> None:
    file = tmp_path / "answer.json"
    file.write_text("before")
    late = "CASE WHEN range = 9000 THEN error('late') ELSE range::VARCHAR END"
    failing = f"SELECT {late} FROM range(9999)"
    done = run("sql", failing, "--format", "json", "-o", str(file), home=place)
    assert (1, "") == (done.returncode, done.stdout)
    assert "before" == file.read_text()
    assert [file] == list(tmp_path.glob("*answer*"))
    asked("SELECT 1 AS a", place, "--format", "json", "-o", str(file))
    assert [{"a": 1}] == json.loads(file.read_text())["rows"]
    done = run("sql", "SELECT 1", "-o", str(tmp_path / "no" / "x"), home=place)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith(f"Error: cannot write {tmp_path}/no/x: ")


def test_rows_come_in_the_order_that_was_asked_for(place: Path) -> None:
    query = "SELECT range FROM range(20000) ORDER BY hash(range)"
    again = "SELECT list(range ORDER BY hash(range)) AS everything FROM range(20000)"
    expected = json.loads(asked(again, place, "--format", "json"))["rows"][0]["everything"]
    rows = json.loads(asked(query, place, "--format", "json"))["rows"]
    assert expected == [row["range"] for row in rows]


# Where it is asked ------------------------------------------------------------------------------


def test_a_query_can_come_from_standard_input(place: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prodlensd", "sql", "--format", "csv"],
        env=os.environ | {"PRODLENSD_HOME": str(place)},
        input="SELECT count(*)\nAS n FROM calls;\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (0, f"n\n{CALLS}\n", "") == (done.returncode, done.stdout, done.stderr)


def read_within(terminal: int, timeout_s: float) -> bytes:
    """What comes; nothing once the other side is closed."""
    assert select.select([terminal], [], [], timeout_s)[0], f"nothing for {timeout_s} s"
    try:
        return os.read(terminal, 4096)
    except OSError:  # how Linux says that it is closed
        return b""


def test_the_prompt_takes_queries_of_many_lines_and_keeps_no_history(
    place: Path, tmp_path: Path
) -> None:
    before = content(place)
    typed = [
        b"SELECT 40 +\n2 AS answer;\n",
        b"SELECT nobody;\n",
        b"SELECT 'still here';\n",
        b"\x04",
    ]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "prodlensd", "sql"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"PRODLENSD_HOME": str(place), "HOME": str(tmp_path)},
    ) as process:
        os.close(theirs)
        printed = b""
        try:
            while block := read_within(ours, 60):
                printed += block
                if typed and printed.count(b"calls> ") > 4 - len(typed):
                    with exclusive_lock(place / "parquet"):
                        pass  # between two queries no compaction has to wait
                    os.write(ours, typed.pop(0))
        finally:
            process.kill() if typed else process.wait(60)
        assert 0 == process.returncode
    os.close(ours)
    text = printed.decode()
    assert "answer" in text
    assert "42" in text
    assert "Error: Binder Error" in text
    assert "still here" in text
    assert [] == [path.name for path in tmp_path.iterdir() if "history" in path.name]
    assert before == content(place)


@pytest.mark.long
def test_an_interrupt_ends_a_query_and_leaves_nothing_behind(
    place: Path, wait_until: Callable[..., Any]
) -> None:
    spilled = list(place.glob(".spill-*"))  # of the table that these tests have open
    endless = "SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE a.range = -b.range"
    with subprocess.Popen(
        [sys.executable, "-m", "prodlensd", "sql", f"{endless} OR hash(a.range + b.range) = 0"],
        env=os.environ | {"PRODLENSD_HOME": str(place)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # In the background of a script it is ignored, and a child inherits that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:

        def is_at_work() -> bool:  # more than the start takes
            stat = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            return int(stat[11]) > 3 * os.sysconf("SC_CLK_TCK")

        try:
            wait_until(is_at_work, "three seconds of work")
            process.send_signal(signal.SIGINT)
            process.wait(100)
        finally:
            process.kill()
        assert process.returncode not in (0, -signal.SIGKILL)
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    assert spilled == list(place.glob(".spill-*"))


def test_without_a_ledger_there_is_a_sentence_and_exit_code_1(tmp_path: Path) -> None:
    done = run("sql", "FROM calls", home=tmp_path / "empty")
    assert (1, "") == (done.returncode, done.stdout)
    assert done.stderr.count("\n") == 1


# Published folders ------------------------------------------------------------------------------


@pytest.fixture
def team(place: Path, tmp_path: Path) -> Path:
    """A folder to which three hosts have published, one of them a day longer."""
    [snapshot] = place.glob("parquet/event_date=2026-01-01/*.parquet")
    folder = tmp_path / "team"
    for host in ("laptop-01", "laptop-02", "laptop-03"):
        path = folder / "event_date=2026-01-01" / f"{host}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(snapshot, path)
    (folder / "event_date=2026-01-03").mkdir()
    table = pq.read_table(snapshot, partitioning=None)
    later = pa.compute.add(table["timestamp"], pa.scalar(2 * 86_400_000_000, pa.duration("us")))
    table = table.set_column(table.schema.get_field_index("timestamp"), "timestamp", later)
    without = table.drop_columns(["bill", "team"])  # as an older version wrote it
    pq.write_table(without, folder / "event_date=2026-01-03" / "laptop-02.parquet")
    (folder / "event_date=2026-01-03" / ".laptop-03.parquet.tmp").write_text("half")
    (folder / "event_date=2026-01-99").mkdir()
    (folder / "event_date=2026-01-99" / "foreign.parquet").write_text("no day")
    (folder / "README.parquet").write_text("not ours")
    return folder


def test_a_published_folder_is_the_same_table_and_names_who_is_behind(
    place: Path, team: Path
) -> None:
    query = (
        "SELECT event_date, count(*), sum(cost_usd), count(bill) FROM calls GROUP BY 1 ORDER BY 1"
    )
    done = run("sql", query, "--from", team.as_uri(), "--format", "csv", home=place)
    assert 0 == done.returncode
    [_, first, last] = done.stdout.split()
    assert ("2026-01-01,12,1.200000018,12", "2026-01-03,4,0.400000006,0") == (first, last)
    behind = "is behind: its last day here is 2026-01-01"
    assert [f"laptop-01 {behind}", f"laptop-03 {behind}"] == done.stderr.splitlines()
    with open_published(team.as_uri()) as published:
        local = rows(Queries(published), "DESCRIBE calls")
    with open_calls(Where(place / "prodlens.db", place / "parquet")) as calls:
        assert sorted(rows(Queries(calls), "DESCRIBE calls")) == sorted(local)


@pytest.mark.parametrize(
    "where",
    [
        "event_date >= '2026-01-02'",
        "event_date = DATE '2026-01-03'",
        "timestamp >= '2026-01-02'",
        "timestamp BETWEEN '2026-01-03' AND '2026-01-04' AND model = 'acme/model-1'",
    ],
)
def test_only_the_days_that_are_asked_for_are_read(where: str, team: Path) -> None:
    for path in team.glob("event_date=2026-01-01/*"):
        path.write_text("would be an error")
    with open_published(team.as_uri()) as published:
        [(found,)] = rows(Queries(published), f"SELECT count(*) FROM calls WHERE {where}")
    assert found in (4, 2)
    day_us = 86_400_000_000
    third = 1_767_398_400_000_000
    with open_published(team.as_uri(), third - 1, third + day_us) as published:
        assert [(4,)] == rows(Queries(published), "SELECT count(*) FROM calls WHERE true")


def damaged(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[4:2000] = b"x" * 1996
    file.write_bytes(content)


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda file: file.write_text("not Parquet"), "cannot be read: "),
        (lambda file: file.write_bytes(file.read_bytes()[:-9]), "cannot be read: "),
        (damaged, "cannot be read: "),
        (
            lambda file: pq.write_table(pa.table({"a": [1]}), file),
            "is not a snapshot: it has no column timestamp or host",
        ),
        (
            lambda file: pq.write_table(
                pa.table({"timestamp": ["x"], "host": ["x"], "model": [1]}), file
            ),
            "is not a snapshot: timestamp is string",
        ),
    ],
    ids=["text", "cut short", "damaged", "foreign", "of other types"],
)
def test_a_damaged_or_foreign_file_is_named(
    spoil: Callable[[Path], object], said: str, place: Path, team: Path
) -> None:
    file = team / "event_date=2026-01-03" / "laptop-02.parquet"
    spoil(file)
    done = run("sql", "SELECT min(COLUMNS(*)) FROM calls", "--from", team.as_uri(), home=place)
    [*_, error] = done.stderr.splitlines()
    assert (1, "") == (done.returncode, done.stdout)
    assert error.startswith(f"Error: {file} {said}")


@pytest.mark.parametrize(
    ("url", "code", "said"),
    [
        ("file:///nowhere/to/be/found", 1, "is not there: is it mounted?"),
        ("file:///proc/self/fdinfo", 1, "nothing is published at file:///proc/self/fdinfo"),
        ("ftp://example.com/x", 2, "--from: expected a file://, s3:// or gs:// address"),
        ("s3://key:secret@bucket/x", 2, "with no name or password in it"),
        ("s3://bucket/x?proxy=1", 2, "'proxy' is not an option"),
        ("", 2, "--from: expected a file://, s3:// or gs:// address"),
    ],
)
def test_an_address_that_cannot_be_read_is_one_sentence(
    url: str, code: int, said: str, place: Path
) -> None:
    done = run("sql", "FROM calls", "--from", url, home=place)
    assert (code, "") == (done.returncode, done.stdout)
    assert said in done.stderr
    assert "secret" not in done.stderr
