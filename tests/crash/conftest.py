"""A home whose daemon dies on demand, and what must be in it afterwards."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.crash.ledger import wrong_in_ledger
from tests.ledgers import query
from tests.scenario.file_actions import MODEL, Written

_ROW = ("session_id", "tokens_out", "call_id")
#: Every call has a price of its own configuration, which no price table has to be asked for.
_PRICE = f"""
[pricing]
free_providers = ["{MODEL.partition("/")[0]}"]
[[pricing.override]]
model = "{MODEL}"
input_usd_per_million = 1.0
output_usd_per_million = 2.0
"""
_PLACE = ("source_id", "source_offset")
_KINDS = ["ids", "no ids", "garbage", "blank", "no ids", "row", "ids", "many", "no ids"]


class Driver:
    """The process that forks a daemon for each case."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.driver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
        )
        self._homes = (folder / f"home-{number}" for number in count())

    def home(
        self, mutant: str = "", folder: Path | None = None, *, retention: bool = False
    ) -> Home:
        return Home(self, folder or next(self._homes), mutant, retention=retention)

    def run(self, **case: Any) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(case) + "\n")
        self._process.stdin.flush()
        return int(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(100)
        self._process.stdout.close()


class Home:
    """Log files, a ledger and snapshots; and what was written, line by line.

    With `retention` nothing is young: rows are pruned once their snapshot is proven, logs deleted
    once they are, and snapshots copied to a folder of the team's.
    """

    def __init__(self, driver: Driver, folder: Path, mutant: str, *, retention: bool) -> None:
        self._driver = driver
        self._mutant = mutant
        self.folder = folder
        self.logs = folder / "logs"
        self.ledger = folder / "prodlens.db"
        self.parquet = folder / "parquet"
        self.written = Written()
        self.logs.mkdir(parents=True)
        config = "[store]\nbatch_max_lines = 4\n[parquet]\nenabled = true\n" + _PRICE
        self.team = folder / "team"
        self._retention = retention
        if retention:
            self.team.mkdir()
            config += "[retention]\nstore_days = 1\nlog_days = 1\n"
            config += f"[publish]\nurl = '{self.team.as_uri()}'\n"
        self._config = folder / "config.toml"
        self._config.write_text(config)

    def run(self, seam: str = "", when: str = "before", nth: int = 0) -> int:
        """The exit code of `run --once`, or minus the signal that it died of."""
        case = {"seam": seam, "when": when, "nth": nth, "mutant": self._mutant}
        return self._driver.run(home=str(self.folder), **case)

    def write(self, name: str, kinds: list[str], *, twice: bool = False) -> None:
        lines = [self.written.new(kind) for kind in kinds]
        if twice:
            lines += lines[:2]
        with (self.logs / name).open("ab") as file:
            file.write(b"".join(line + b"\n" for line in lines))
        self.written.note(lines)

    def first_lines(self) -> None:
        for name in ("a.jsonl", "b.jsonl", "c.jsonl"):
            self.write(name, _KINDS, twice=True)

    def rotate(self) -> None:
        """One file is renamed, one copied and truncated, one deleted; all have new lines."""
        a, b, c = (self.logs / f"{name}.jsonl" for name in "abc")
        self.write("a.jsonl", _KINDS)
        a.rename(self.logs / "a.jsonl.1")
        self.write("a.jsonl", _KINDS)
        shutil.copy(b, self.logs / "b.jsonl.1")
        os.truncate(b, 0)
        self.write("b.jsonl", [*_KINDS, *_KINDS])
        c.unlink()

    def later_lines(self) -> None:
        self.write("a.jsonl", ["no ids", "ids"])
        self.write("a.jsonl.1", ["no ids"])

    def late_lines(self) -> None:
        """New lines of days that are pruned, and lines that are known, read from other files."""
        known = [line for line in self.written.lines if b"litellm_call_id" in line]
        with (self.logs / "copy.jsonl").open("ab") as file:
            file.write(b"".join(line + b"\n" for line in known))
        self.written.note(known)
        self.write("a.jsonl", _KINDS, twice=True)
        self.write("d.jsonl", _KINDS)

    def move_snapshots(self) -> None:
        """Has them in another folder from now on."""
        self.parquet = self.folder / "another"
        named = f"[parquet]\ndirectory = '{self.parquet}'\n"
        self._config.write_text(self._config.read_text().replace("[parquet]\n", named))

    def said(self) -> str:
        return (self.folder / "said.log").read_text()

    def query(self, sql: str) -> list[Any]:
        return query(self.ledger, sql)

    def snapshots(self) -> Counter[tuple[Any, ...]]:
        """The rows of all snapshots, as any reader sees them just now."""
        return Counter(row for row, _ in _rows(self.parquet.glob("*/*.parquet")))

    def pruned(self) -> list[tuple[Any, ...]]:
        """The rows that are in snapshots only, as a reader of ledger and snapshots sees them."""
        pruned = set(self.query("SELECT source_id, source_offset FROM pruned"))
        files = self.query(
            "SELECT directory || '/event_date=' || date(day * 86400, 'unixepoch') || '/' || host "
            "|| '.parquet' FROM partition WHERE pruned > 0"
        )
        return [row for row, place in _rows(map(Path, files)) if place in pruned]

    def now(self) -> list[tuple[Any, ...]]:
        """All rows there are, as a reader of ledger and snapshots sees them."""
        if not self.ledger.exists():
            return []
        return [*self.query("SELECT session_id, tokens_out, call_id FROM traces"), *self.pruned()]

    def without_price(self) -> list[str]:
        """The calls that were priced at a price that the ledger does not have: none, ever."""
        if not self.ledger.exists():
            return []
        ids = self.query("SELECT price_id FROM trace WHERE price_id NOT NULL")
        missing = set(ids) - set(self.query("SELECT price_id FROM price"))
        return [f"calls without their price: {missing}"] if missing else []

    def spent_calls(self) -> int:
        """How many calls budgets find: those that are added up, and those after the mark."""
        [summed] = self.query("SELECT coalesce(sum(calls), 0) FROM spent WHERE scope = 'host'")
        mark = "SELECT until_us FROM spent_until"
        [after] = self.query(f"SELECT count(*) FROM trace WHERE started_us >= ({mark})")
        return int(summed + after)

    def wrong(self) -> list[str]:
        """What is not as it must be after a clean run: nothing."""
        rows = Counter(self.now())
        faults: dict[str, Any] = {
            "not added up, or twice": self.spent_calls() ^ rows.total(),
            "missing in the snapshots": rows - self.snapshots(),
            "doubled in the snapshots": self.snapshots() - rows,
        }
        if self._retention:
            faults |= {
                "not pruned": self.query("SELECT count(*) FROM trace") != [0],
                "logs left": [path.name for path in self.logs.iterdir()],
                "not published": _contents(self.parquet).items() ^ _contents(self.team).items(),
            }
        wrong = [f"{what}: {which}" for what, which in faults.items() if which]
        return (
            wrong + self.without_price() + wrong_in_ledger(self.query, self.written, self.pruned())
        )


def _rows(files: Iterable[Path]) -> Iterator[tuple[tuple[Any, ...], tuple[int, int]]]:
    """Each row of these snapshots, and its place in the logs."""
    for path in files:
        columns = pq.ParquetFile(path).read([*_ROW, *_PLACE]).to_pydict()
        rows, places = (
            zip(*(columns[name] for name in names), strict=True) for names in (_ROW, _PLACE)
        )
        yield from zip(rows, places, strict=True)


def _contents(folder: Path) -> dict[str, bytes]:
    """Every snapshot, and every file that was left behind beside them."""
    files = (path for path in folder.glob("*/*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="session")
def driver(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Driver]:
    driver = Driver(tmp_path_factory.mktemp("crash"), pytestconfig.rootpath)
    yield driver
    driver.close()
