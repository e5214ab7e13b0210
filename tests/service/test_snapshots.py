"""Parquet snapshots: the ledger's rows with real types, replaced whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
import structlog
import structlog.testing
from fasteners import InterProcessReaderWriterLock

from prodlensd import snapshots
from prodlensd.answers.facts import missing_snapshots
from prodlensd.daemon.jobs import Job, ScheduledJob
from prodlensd.ledger import Ledger
from prodlensd.ledger.days import DayReader, Partition
from prodlensd.ledger.rows import COLUMNS
from prodlensd.ledger.views import TRACES_COLUMNS
from prodlensd.model import US_PER_DAY, SnapshotFile
from prodlensd.snapshots import shared_lock


def write(machine: Any, day: int, *sessions: str) -> None:
    with (machine.logs / "a.jsonl").open("a") as file:
        for session in sessions:
            record = {
                "timestamp": f"2026-01-{day:02d}T12:00:00.123456Z",
                "usage": {"input_tokens": 3, "output_tokens": 4},
                "metadata": {"session_id": session, "tags": ["a", "b"]},
                "attributes": {"accepted": True, "diff_ratio": 0.5},
                "cost_usd": 0.000000123,
            }
            file.write(json.dumps(record) + "\n")


def row(started_us: int) -> tuple[Any, ...]:
    """A call of the ledger that says nothing."""
    said = {"key": b"1", "status": "success", "cache_hit": 0, "cost_source": "unpriced"}
    said |= {"started_us": started_us, "source_id": 1, "source_offset": 0}
    return tuple(map(said.get, COLUMNS))


def read(machine: Any) -> list[dict[str, Any]]:
    dataset = ds.dataset(machine.home / "parquet", partitioning="hive", exclude_invalid_files=False)
    rows: list[dict[str, Any]] = dataset.to_table().sort_by("session_id").to_pylist()
    return rows


def test_a_day_is_one_file_with_real_types(machine: Any) -> None:
    write(machine, 1, "a", "b")
    write(machine, 2, "c")
    assert machine.command("run", "--once").returncode == 0
    files = sorted(
        path.relative_to(machine.home / "parquet")
        for path in (machine.home / "parquet").rglob("*.parquet")
    )
    assert [path.parent.name for path in files] == [
        "event_date=2026-01-01",
        "event_date=2026-01-02",
    ]
    row = read(machine)[0]
    assert row["timestamp"] == datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)
    assert row["cost_usd"] == Decimal("0.000000123")
    assert (row["tokens_in"], row["total_tokens"], row["accepted"], row["tags"]) == (
        3,
        7,
        True,
        '["a","b"]',
    )
    assert row["event_date"] == "2026-01-01"


def test_its_columns_are_those_of_the_view_and_what_else_the_ledger_knows() -> None:
    # The folder's name says the date, and `timestamp` is the exact time.
    of_view = set(TRACES_COLUMNS) - {"event_date", "started_us"}
    assert of_view | {"price_id", "details", "response_id"} == set(snapshots.SCHEMA.names)


def test_only_days_that_changed_are_written_again(machine: Any) -> None:
    write(machine, 1, "a")
    write(machine, 2, "b")
    assert machine.command("run", "--once").returncode == 0
    before = {
        path: path.stat().st_mtime_ns for path in (machine.home / "parquet").rglob("*.parquet")
    }
    write(machine, 2, "c")
    assert machine.command("run", "--once").returncode == 0
    after = {
        path: path.stat().st_mtime_ns for path in (machine.home / "parquet").rglob("*.parquet")
    }
    changed = {path.parent.name for path in before if before[path] != after[path]}
    assert changed == {"event_date=2026-01-02"}
    assert [row["session_id"] for row in read(machine)] == ["a", "b", "c"]


def test_compacting_again_writes_nothing(machine: Any) -> None:
    write(machine, 1, "a")
    assert machine.command("run", "--once").returncode == 0
    done = machine.command("compact")
    assert (done.returncode, done.stdout) == (0, "all snapshots are up to date\n")


def test_a_compaction_under_another_ones_lock_is_exit_75(machine: Any) -> None:
    write(machine, 1, "a")
    assert machine.command("run", "--once").returncode == 0
    with InterProcessReaderWriterLock(
        str(machine.home / "parquet" / ".prodlensd.lock")
    ).read_lock():
        done = machine.command("compact")
    assert done.returncode == 75
    assert "locked" in done.stderr


def test_without_a_ledger_compact_says_so(machine: Any) -> None:
    done = machine.command("compact")
    assert done.returncode == 1
    assert "no ledger" in done.stderr
    assert not machine.ledger.exists()


@pytest.mark.scenario(73)
def test_a_snapshot_that_cannot_be_written_leaves_the_old_one_whole(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "event_date=2024-10-04" / "laptop.parquet"
    ledger = Ledger(tmp_path / "ledger.db")

    def write(*starts_us: int) -> SnapshotFile:
        with ledger:
            with ledger.transaction():
                ledger.db.execute("DELETE FROM call")
                ledger.rows.insert([row(started_us) for started_us in starts_us])
            tables = snapshots.Tables(DayReader(ledger)).of(0, US_PER_DAY)
            return snapshots.write_snapshot(path, tables, metadata={}, announce=lambda _: None)

    assert write(1).rows == 1

    def no_space(_file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        write(1, 2)
    monkeypatch.undo()
    assert pq.read_table(path).num_rows == 1
    assert [file.name for file in path.parent.iterdir()] == ["laptop.parquet"]


def test_the_daemon_compacts_by_itself_and_goes_on_ingesting(machine: Any, wait_until: Any) -> None:
    machine.config.write_text("[parquet]\ninterval_s = 0.2\n[logs]\nrescan_interval_s = 0.2\n")
    write(machine, 1, "a")
    daemon = machine.start()
    wait_until(lambda: list((machine.home / "parquet").rglob("*.parquet")), "the first snapshot")
    write(machine, 2, "b")
    wait_until(lambda: len(list((machine.home / "parquet").rglob("*.parquet"))) == 2, "the second")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(100) == 0


def test_a_job_runs_at_the_lowest_priority_and_may_ask_to_be_tried_later() -> None:
    ends = [0, os.EX_TEMPFAIL, 3]
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        code = f"import sys; sys.stdin.read(); sys.exit({ends[len(started)]})"
        started.append(subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE))
        return started[-1]

    with structlog.testing.capture_logs() as said:
        due = Job("compaction", start, lambda: True)
        job = ScheduledJob(due, 0.0, structlog.get_logger())
        for number in range(3):
            assert job.step()
            assert os.getpriority(os.PRIO_PROCESS, started[number].pid) == 19
            started[number].communicate()
            job._job = due._replace(has_work=lambda: False)
            assert not job.step()
            job._job = due
    assert [(entry["log_level"], entry["exit_code"]) for entry in said] == [("warning", 3)]


@pytest.mark.long
def test_the_daemon_prunes_by_itself_and_every_question_is_answered_as_before(
    machine: Any, wait_until: Any
) -> None:
    write(machine, 1, "a", "b")
    write(machine, 2, "c")
    assert machine.command("run", "--once").returncode == 0
    asked = ("report", "--since", "always", "--by", "session", "--format", "json")
    before = machine.command(*asked).stdout
    assert json.loads(before)["total"]["calls"] == 3
    machine.config.write_text("[parquet]\ninterval_s = 0.2\n[retention]\nstore_days = 1\n")
    daemon = machine.start()
    wait_until(lambda: machine.query("SELECT count(*) FROM pruned") == [3], "all pruned")
    write(machine, 1, "late")
    wait_until(lambda: machine.query("SELECT count(*) FROM pruned") == [4], "the late one")
    assert machine.query("SELECT count(*) FROM traces") == [0]
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(100) == 0
    after = json.loads(machine.command(*asked).stdout)
    assert [group["session"] for group in after["groups"]] == ["a", "b", "c", "late"]
    verified = machine.command("verify")
    assert (verified.returncode, "proven complete" in verified.stdout) == (0, True)
    status = json.loads(machine.command("status", "--json").stdout)["figures"]
    assert (status["pruned_traces"], status["traces"]) == (4, 4)


# The manifest is not believed ---------------------------------------------------------------------


def snapshots_check(machine: Any) -> tuple[str, str]:
    """State and value of what `status` says of the snapshots."""
    checks = json.loads(machine.command("status", "--json").stdout)["checks"]
    ((state, value),) = [(c["state"], c["value"]) for c in checks if c["name"] == "snapshots"]
    return state, value


def files(machine: Any, folder: str = "parquet") -> list[str]:
    return sorted(path.parent.name for path in (machine.home / folder).glob("*/*.parquet"))


def test_compact_looks_before_it_says_that_all_is_up_to_date(machine: Any) -> None:
    write(machine, 1, "a")
    write(machine, 2, "b")
    assert machine.command("run", "--once").returncode == 0
    folder = machine.home / "parquet"
    shutil.rmtree(folder)
    said = f"; 2 files are missing in {folder}: they will be written again"
    assert ("ok", True) == (snapshots_check(machine)[0], said in snapshots_check(machine)[1])
    done = machine.command("compact")
    assert (0, 2) == (done.returncode, done.stdout.count(": 1 rows, "))
    assert files(machine) == ["event_date=2026-01-01", "event_date=2026-01-02"]
    assert "missing" not in snapshots_check(machine)[1]


def test_the_daemon_writes_again_what_somebody_deleted(machine: Any, wait_until: Any) -> None:
    machine.config.write_text("[parquet]\ninterval_s = 0.2\n[logs]\nrescan_interval_s = 0.2\n")
    write(machine, 1, "a")
    machine.start()
    wait_until(lambda: files(machine), "the first snapshot")
    (path,) = (machine.home / "parquet").glob("*/*.parquet")
    path.unlink()
    wait_until(path.exists, "the snapshot again")


def test_a_lost_snapshot_is_a_warning_keeps_the_logs_and_holds_up_no_other_day(
    machine: Any,
) -> None:
    machine.config.write_text("[retention]\nstore_days = 1\n")
    write(machine, 1, "a", "b")
    assert machine.command("run", "--once").returncode == 0
    (path,) = (machine.home / "parquet").glob("*/*.parquet")
    path.unlink()
    said = f"; 1 file of pruned days gone or damaged, the first is {path}"
    assert ("warning", True) == (snapshots_check(machine)[0], said in snapshots_check(machine)[1])
    write(machine, 2, "c")
    machine.config.write_text("[retention]\nstore_days = 1\nlog_days = 1\n")
    assert machine.command("run", "--once").returncode == 1
    assert machine.query("SELECT count(*) FROM pruned") == [3]
    os.utime(machine.logs / "a.jsonl", (0, 0))
    done = machine.command("compact")
    assert (1, True) == (done.returncode, f"{path} is gone, and 2 pruned calls" in done.stderr)
    assert (machine.logs / "a.jsonl").exists(), "it may be all that is left of them"


@pytest.mark.long
def test_another_folder_is_asked_like_the_first_before_and_after_it_is_filled(machine: Any) -> None:
    machine.config.write_text("[retention]\nstore_days = 1\n")
    write(machine, 1, "a", "b")
    assert machine.command("run", "--once").returncode == 0
    asked = ("report", "--since", "always", "--by", "session", "--format", "json")
    before = json.loads(machine.command(*asked).stdout)["groups"]
    another = machine.home / "another"
    machine.config.write_text(f"[parquet]\ndirectory = '{another}'\n[retention]\nstore_days = 1\n")
    assert before == json.loads(machine.command(*asked).stdout)["groups"]
    assert machine.command("verify").returncode == 0
    assert f"1 file is missing in {another}: it will be" in snapshots_check(machine)[1]
    with shared_lock(machine.home / "parquet"):  # whoever reads there, or compacts there
        assert machine.command("compact").returncode == 75
    assert machine.command("compact").returncode == 0
    assert files(machine) == files(machine, "another") == ["event_date=2026-01-01"]
    shutil.rmtree(machine.home / "parquet")
    assert before == json.loads(machine.command(*asked).stdout)["groups"]
    assert machine.command("verify").returncode == 0
    assert (machine.command("compact").stdout, snapshots_check(machine)[0]) == (
        "all snapshots are up to date\n",
        "ok",
    )


def test_what_this_user_may_not_see_is_not_said_to_be_missing(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    day = Partition(20454, 1, 1, "laptop", 1, 100, b"digest", None, 1, str(tmp_path))
    assert missing_snapshots([day], tmp_path).lost == (day.place(tmp_path),)

    def refuse(_path: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.stat", refuse)
    assert missing_snapshots([day], tmp_path) == (tmp_path, 0, ())
