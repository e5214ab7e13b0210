"""A ledger with all that readers could get wrong, its snapshots, and a Spark to read them with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

# These tests share modules, and --import-mode=importlib puts nothing on the path. The tests' own
# root goes to its end: an installed prodlensd comes first.
sys.path.append(str(Path(__file__).parents[2]))

from tests.readers.reading import READERS, Groups, Reader, groups, spark_sql
from tests.service.conftest import Machine, machine
from tests.venvs import venv_python

__all__ = ["machine"]

HERE: Final = Path(__file__).parent
_INSTALL_S: Final = 900
#: More than the rows of a row group.
_MANY: Final = 66_000
#: Their sum needs more digits than one cost has.
_DEAR: Final = 1_200
_ODD_TEXTS: Final = (
    'O\'Brien, "Zoë"',
    "名前 🐎",
    "two\nlines\tand a tab",
    "back\\slash %2F $HOME",
    "NULL",
    "nan",
    "__HIVE_DEFAULT_PARTITION__",
)


def pytest_itemcollected(item: pytest.Item) -> None:
    """One worker runs all of these: each worker would start a Spark and write a ledger."""
    item.add_marker(pytest.mark.real_programs)
    item.add_marker(pytest.mark.xdist_group("readers"))
    item.add_marker(pytest.mark.timeout(_INSTALL_S))


class Observed(NamedTuple):
    """What the snapshots are compared with, and where they stand."""

    snapshots: Path
    query: Callable[[str], list[Any]]

    def sums(self, column: str) -> Groups:
        """The sums by this column, from the ledger's integers."""
        rows = self.query(
            f"""
            WITH exact AS (
                SELECT *, substr(ids, instr(ids, ' ') + 1) AS response_id FROM trace_exact
            )
            SELECT {column}, count(*), sum(cost_nanousd), count(cost_nanousd),
                sum(tokens_in), count(tokens_in), sum(tokens_out), sum(accepted_lines),
                min(started_us), max(started_us), count(DISTINCT session_id)
            FROM exact GROUP BY 1
            """
        )
        if column == "accepted":  # an integer in SQLite
            rows = [(None if value is None else bool(value), *sums) for value, *sums in rows]
        return groups(
            (value, calls, Decimal(nanousd or 0).scaleb(-9), *sums)
            for value, calls, nanousd, *sums in rows
        )


@pytest.fixture(scope="session")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Observed:
    """Written by the program itself; beside each snapshot lies what a killed compaction leaves."""
    machine = Machine(tmp_path_factory.mktemp("readers") / "home", _no_waiting)
    lines = "".join(json.dumps(record) + "\n" for record in _records())
    (machine.logs / "a.jsonl").write_text(lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRODLENSD_HOME", str(machine.home))
        for variable in ("PRODLENSD_CONFIG", "LITELLM_LOG_DIR"):
            patch.delenv(variable, raising=False)
        done = machine.command("run", "--once")
    assert done.returncode == 0, done.stderr
    snapshots = machine.home / "parquet"
    for snapshot in list(snapshots.glob("*/*.parquet")):
        half = snapshot.read_bytes()[: snapshot.stat().st_size // 2]
        snapshot.with_name(f".{snapshot.name}.tmp").write_bytes(half)
    assert machine.query("SELECT lines - traces FROM sources") == [0]
    return Observed(snapshots, machine.query)


def _no_waiting(*_: Any) -> None:
    raise NotImplementedError


def _records() -> Iterator[dict[str, Any]]:
    for moment in (
        "1970-01-01T00:00:00Z",
        "2025-12-31T23:59:59.999999Z",
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.000001Z",
        "9999-12-31T23:59:59Z",
    ):
        for cost_usd in (0.000000123, 0.1, None):
            yield _record(moment, {"input_tokens": 3, "output_tokens": 4}, cost_usd=cost_usd)
    for number, odd in enumerate(_ODD_TEXTS):
        yield _record(
            f"2026-01-02T03:04:05.{number:06d}Z",
            {"prompt_tokens": 900, "prompt_tokens_details": {"cached_tokens": 800}},
            {
                "llm.model_name": f"acme/{odd}",
                "accepted": number % 2 == 0,
                "accepted_lines": number,
            },
            {"session_id": odd, "developer_id": odd, "tags": [odd, "b"]},
        )
    for second in range(20):
        yield _record(
            f"2026-01-03T00:00:{second:02d}.5Z",
            {},
            {"status": "failure", "status_code": 429},
            id=f"m{second}",
            litellm_call_id=f"c{second}",
        )
    # No double is this number: it needs an integer.
    yield _record("2026-01-04T00:00:00Z", {}, {"accepted": True, "accepted_lines": 2**53 + 1})
    for number in range(_DEAR):
        yield _record(f"2026-01-05T00:00:00.{number:06d}Z", {}, cost_usd=999_999.987654321)
    for number in range(_MANY):
        yield _record(
            f"2026-01-06T{number // 3600:02d}:{number // 60 % 60:02d}:00.{number:06d}Z",
            {"input_tokens": number, "output_tokens": number % 7},
            {"llm.model_name": f"acme/model-{number % 7}", "latency_ms": number / 8},
            {"session_id": f"s{number % 97}", "developer_id": f"dev{number % 13}@example.com"},
            cost_usd=number / 1e9 if number % 5 else None,
        )


def _record(
    moment: str,
    usage: dict[str, Any],
    attributes: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    told = {"attributes": attributes or {}, "metadata": metadata or {}}
    return {"timestamp": moment, "usage": usage, **told, **more}


@pytest.fixture(scope="session", autouse=True)
def imported() -> None:
    """In the main thread: the threads of test_compactions would import them at the same time."""
    for name in ("pandas", "polars"):
        import_module(name)


class Spark:
    """A Spark in a process of its own, asked line by line."""

    def __init__(self, python: Path, folder: Path) -> None:
        self._log = folder / "spark.log"
        known = {name: os.environ[name] for name in ("PATH", "JAVA_HOME") if name in os.environ}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [python, HERE / "spark_server.py"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                encoding="utf-8",
                cwd=folder,
                env={**known, "HOME": str(folder), "SPARK_LOCAL_IP": "127.0.0.1"},
                start_new_session=True,  # so that Java, its child, ends with it
            )

    def sums(self, folder: Path, column: str) -> Groups:
        return groups(self.rows(folder, spark_sql(column)))

    def rows(self, folder: Path, sql: str) -> list[Any]:
        rows: list[Any] = self._ask(folder, sql)["rows"]
        return rows

    def types(self, folder: Path) -> dict[str, str]:
        types: dict[str, str] = self._ask(folder, "SELECT 1")["types"]
        return types

    def _ask(self, folder: Path, sql: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"folder": str(folder), "sql": sql}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"Spark has ended: {self._log.read_text()[-4000:]}"
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise SparkError(answer["error"])
        return answer

    def close(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


class SparkError(Exception):
    """What Spark says it could not do."""


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spark]:
    if not (shutil.which("java") or "JAVA_HOME" in os.environ):
        pytest.fail("no Java: `make test-all` installs one")
    spark = Spark(venv_python(HERE / "pyspark.txt"), tmp_path_factory.mktemp("spark"))
    yield spark
    spark.close()


@pytest.fixture(params=[*READERS, "Spark"])
def reader(request: pytest.FixtureRequest) -> Reader:
    """Each of the five, in turn."""
    if request.param == "Spark":
        spark: Spark = request.getfixturevalue("spark")
        return Reader(spark.sums, spark.types)
    return READERS[request.param]
