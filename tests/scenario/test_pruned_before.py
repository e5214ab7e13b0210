"""What earlier versions kept of pruned calls goes into their snapshots, and only then away."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import apsw
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prodlensd import snapshots
from prodlensd.answers.calls import Where, open_calls
from prodlensd.jobs import compaction
from prodlensd.jobs.compaction import SnapshotLostError
from prodlensd.ledger import Partitions, Reader
from prodlensd.ledger.connection import key_digest
from prodlensd.ledger.earlier import Facts
from prodlensd.model import Price, Trace
from tests.scenario.asking import ask_each
from tests.scenario.conftest import World
from tests.scenario.deaths import DiedError, deadly
from tests.scenario.earlier import BILLS, OLD, WHOLE_SNAPSHOTS, begin, write_as
from tests.scenario.proving import proof

NEW_YEAR = 20454  # days since 1970
NOTHING_LEFT = [(0, 0)]
LEFT = "SELECT (SELECT count(*) FROM pruned_before), (SELECT count(*) FROM fact)"
#: The columns of a snapshot before schema 4.
OLD_NAMES = (
    "session_id developer_id repo_slug timestamp model provider call_type tokens_in tokens_out "
    "total_tokens cache_read_tokens cache_write_tokens reasoning_tokens latency_ms ttft_ms status "
    "status_code cost_usd cost_source call_id end_user tags accepted diff_ratio accepted_lines "
    "source_id source_offset host"
).split()
#: How those versions pruned.
SHARED = "json_array(session_via, developer_via, service_tier, anomalies, details)"
PRUNE = f"""
    INSERT OR IGNORE INTO fact (facts) SELECT DISTINCT {SHARED} FROM trace WHERE {{0}};
    INSERT INTO pruned SELECT
        started_us, key_digest(key), source_id, source_offset,
        (SELECT fact_id FROM fact WHERE facts = {SHARED}),
        cache_write_1h_tokens, audio_in_tokens, audio_out_tokens, cache_hit,
        gateway_nanousd, table_nanousd, price_id
    FROM trace WHERE {{0}};
    UPDATE partition SET pruned = (SELECT count(*) FROM pruned
        WHERE started_us / 86400000000 = day);
    DELETE FROM trace WHERE {{0}}
"""


def call(day: int, number: int) -> bytes:
    """A call with all that old snapshots had no column for; every third is unlike the others."""
    is_odd = number % 3 == 0
    record: dict[str, Any] = {
        "timestamp": f"2026-01-{day:02d}T00:00:{number:02d}.25Z",
        "id": f"chatcmpl-{day}-{number}",
        "litellm_call_id": f"call-{day}-{number}",
        "attributes": {
            "llm.model_name": "anthropic/claude-sonnet-4-5",
            "stream": not is_odd,
            "cache_hit": is_odd,
            "status": "failure" if is_odd else "success",
            "error_class": "RateLimitError" if is_odd else None,
            "service_tier": "priority" if is_odd else None,
        },
        "cost_usd": number / 1000,
        "usage": {
            "prompt_tokens": 1000 + number,
            "completion_tokens": 20,
            "prompt_tokens_details": {"audio_tokens": 7, "cached_tokens": 3},
            "completion_tokens_details": {"audio_tokens": 5},
            "cache_creation_input_tokens": 9,
            "cache_creation": {"ephemeral_1h_input_tokens": 4, "ephemeral_5m_input_tokens": 5},
        },
        "metadata": {
            "session_id": f"s{number}",
            "session_via": "header",
            "developer_id": "dev",
            "developer_via": "key_user",
            "repo": "../odd" if is_odd else "acme/web",
            "team": "core",
            "key_alias": "laptop",
        },
    }
    if number % 4 == 0:
        del record["id"]
    return json.dumps(record).encode() + b"\n"


def price(trace: Trace) -> Price:
    """The gateway's cost, and a table's that is far from it."""
    return Price(trace.gateway_nanousd, "gateway", 77, trace.started_us % 3 + 1)


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = table.to_pylist()
    return sorted(rows, key=lambda row: (row["timestamp"], row["source_offset"]))


class Upgraded:
    """A ledger that an earlier version pruned: one day wholly, the next in part, one not at all.

    `expected` is what the snapshots are to hold of its days.
    """

    def __init__(self, folder: Path, version: int, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "parquet"
        with patch.context() as patched:
            begin(folder / "prodlens.db", version).close()
            write_as(version, patched)
            patched.setattr("tests.scenario.conftest.price", price)
            world = World(folder)
            for day in (1, 2, 3):
                world.append("a.jsonl", *(call(day, number) for number in range(1, 10)))
            world.settle()
            world.stop()
        new = folder / "as_if_new"
        new.mkdir()
        shutil.copy(world.ledger, new / "prodlens.db")
        whole = World(new)
        with Reader(whole.ledger) as reader:
            tables = {
                p.day: pa.concat_tables(snapshots.Tables(reader.days).of(*p.span))
                for p in reader.days.partitions().values()
            }
        whole.stop()
        assert whole.query(f"SELECT {OLD} FROM trace") == world.query(f"SELECT {OLD} FROM trace")
        self.expected = {day: rows_of(table) for day, table in tables.items()}
        self._compact_and_prune(world.ledger, tables, version)
        world._start()
        self.world = world

    def _compact_and_prune(self, ledger: Path, tables: dict[int, pa.Table], version: int) -> None:
        new = ("price_id", "details", "response_id")
        every = [name for name in snapshots.SCHEMA.names if name not in new]
        db = apsw.Connection(str(ledger))
        db.create_scalar_function("key_digest", key_digest, 1)  # type: ignore[arg-type]
        for day, table in tables.items():
            path = self.folder / f"event_date=2026-01-{day - NEW_YEAR + 1:02d}/laptop.parquet"
            path.parent.mkdir(parents=True)
            pq.write_table(table.select(every if version >= BILLS else OLD_NAMES), path)
            content = path.read_bytes()
            db.execute(
                "UPDATE partition SET compacted_version = version, compacted_us = 1, rows = ?, "
                "file_bytes = ?, sha256 = ?, host = 'laptop' WHERE day = ?",
                (table.num_rows, len(content), hashlib.sha256(content).digest(), day),
            )
        second = (NEW_YEAR + 1) * 86_400_000_000
        db.execute(PRUNE.format(f"started_us < {second + 5_000_000}"))
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.close()
        # Of a pruned call only a digest of its ids is left.
        for day, rows in self.expected.items():
            for row in rows[: (9, 4, 0)[day - NEW_YEAR]]:
                row["response_id"] = None

    def compact(self) -> list[Path]:
        return [written.path for written in self.world.compact(self.folder)]

    def found(self) -> dict[int, list[dict[str, Any]]]:
        """What the snapshots hold."""
        with Reader(self.world.ledger) as reader:
            paths = {p.day: p.place(self.folder) for p in reader.days.partitions().values()}
        return {
            day: rows_of(pa.concat_tables(snapshots.read_groups(path)))
            for day, path in paths.items()
        }

    def check_calls(self) -> None:
        """The table `calls`, over ledger and snapshots, holds what is expected of all days."""
        with open_calls(Where(self.world.ledger, self.folder)) as calls:
            names = [name for name in snapshots.SCHEMA.names if name != "timestamp"]
            rows = calls.query(
                f"SELECT {', '.join(names)} FROM calls ORDER BY timestamp, source_offset"
            ).fetchall()
        expected = [row for day in sorted(self.expected) for row in self.expected[day]]
        assert rows == [tuple(row[name] for name in names) for row in expected]

    def verdict(self) -> tuple[str, list[str]]:
        found = proof(self.world, self.folder)
        return found.state, [str(difference) for difference in found.differences]

    def answers(self) -> list[Any]:
        by = [("developer",), ("session",), ("day",)]
        asked = ask_each(self.world.ledger, self.folder, by)
        return [(found.groups, found.total) for found in asked]


@pytest.fixture(params=range(2, WHOLE_SNAPSHOTS))  # 2 was the first that pruned
def upgraded(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    upgraded = Upgraded(tmp_path, request.param, monkeypatch)
    yield upgraded
    upgraded.world.stop()


@pytest.mark.sampled(3)
def test_what_was_kept_of_pruned_calls_is_in_their_new_snapshots_and_nowhere_else(
    upgraded: Upgraded,
) -> None:
    assert upgraded.world.query(LEFT)[0] > (0, 0)
    before = upgraded.answers()
    assert upgraded.verdict() == ("complete", [])
    assert len(upgraded.compact()) == 3
    assert upgraded.found() == upgraded.expected
    assert upgraded.world.query(LEFT) == NOTHING_LEFT
    assert before == upgraded.answers()
    upgraded.check_calls()
    assert upgraded.verdict() == ("complete", [])


def test_each_of_the_facts_is_there_to_be_lost(upgraded: Upgraded) -> None:
    with Reader(upgraded.world.ledger) as reader:
        kept = [*filter(None, reader.days.pruned_places(0, 2**62).values())]
    assert len(kept) == 13
    columns = zip(Facts._fields, zip(*kept, strict=True), strict=True)
    assert [name for name, values in columns if set(values) == {None}] == []


@pytest.mark.long
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Partitions, "announce"),
        (Path, "replace"),
        (Partitions, "mark_clean"),
        (Partitions, "drop_facts"),
    ],
)
def test_a_death_while_they_are_written_loses_none_of_it(
    upgraded: Upgraded, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, when: str
) -> None:
    monkeypatch.setattr(compaction, "_ROWS_AT_ONCE", 4)
    before, real = upgraded.answers(), getattr(owner, name)
    deaths = 0
    for nth in (1, 2, 3):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, deadly(real, nth, when))
            try:
                upgraded.compact()
            except DiedError:
                deaths += 1
        assert before == upgraded.answers()
        assert upgraded.verdict() == ("complete", [])
    assert deaths > 0
    if upgraded.world.query(LEFT) != NOTHING_LEFT:
        assert Partitions(upgraded.world.store).has_work(upgraded.folder, None)
    upgraded.compact()
    assert upgraded.found() == upgraded.expected
    assert upgraded.world.query(LEFT) == NOTHING_LEFT


def test_a_day_whose_old_snapshot_is_gone_keeps_its_facts_and_holds_up_no_other(
    upgraded: Upgraded,
) -> None:
    first = upgraded.folder / "event_date=2026-01-01" / "laptop.parquet"
    content = first.read_bytes()
    first.unlink()
    with pytest.raises(SnapshotLostError):
        upgraded.compact()
    ((kept, _),) = upgraded.world.query(LEFT)
    assert kept == 9
    first.write_bytes(content)
    upgraded.compact()
    assert upgraded.found() == upgraded.expected
    assert upgraded.world.query(LEFT) == NOTHING_LEFT


def test_a_late_call_of_such_a_day_and_a_line_read_again_change_nothing_else(
    upgraded: Upgraded,
) -> None:
    upgraded.world.append("b.jsonl", call(1, 1), call(1, 30), call(2, 3))
    upgraded.world.settle()
    assert upgraded.world.counts()[2] == 2
    upgraded.compact()
    found = upgraded.found()
    late = [row for row in found[NEW_YEAR] if row["call_id"] == "call-1-30"]
    assert len(late) == 1
    found[NEW_YEAR].remove(late[0])
    assert found == upgraded.expected
    assert upgraded.world.prune(upgraded.folder) == 15
    assert upgraded.verdict() == ("complete", [])
