"""What Claude Code and Codex sent to a collector, from its file to the report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

CAPTURED = Path(__file__).parents[1] / "data" / "otlp.jsonl"
#: Stands in the captured requests wherever the two programs put what was said.
CANARY = b"canary-which-nobody-may-see"


def report(machine: Any, by: str) -> list[dict[str, Any]]:
    done = machine.command("report", "--since", "always", "--by", by, "--format", "json")
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    return rows


@pytest.fixture
def once(machine: Any) -> Any:
    """A machine whose daemon has read a collector's file, and once more all that it has sent twice."""
    assert CAPTURED.read_bytes().count(CANARY) > 10
    shutil.copy(CAPTURED, machine.logs / "otlp.jsonl")
    (machine.logs / "again.jsonl").write_bytes(b"\n" + CAPTURED.read_bytes())
    machine.done = machine.command("run", "--once")
    assert machine.done.returncode == 0, machine.done.stderr
    return machine


def test_a_collectors_file_is_calls_and_what_was_passed_over_and_nothing_else(once: Any) -> None:
    assert once.query("SELECT count(*) FROM traces") == [10]
    assert once.query("SELECT count(*) FROM dead_letter") == [0]
    verified = once.command("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_the_report_has_its_calls_tokens_and_cost(once: Any) -> None:
    rows = {row["model"]: row for row in report(once, "model")}
    claude, codex = rows["claude-opus-4-8"], rows["gpt-5.1-codex"]
    assert (claude["calls"], claude["errors"], codex["calls"], codex["errors"]) == (3, 1, 6, 2)
    assert claude["tokens_in"] == 2 * 25_296
    assert claude["cost_usd"] == pytest.approx(0.049625 + 2 * 0.049625)
    assert {row["team"]: row["calls"] for row in report(once, "team")}["platform"] == 2
    assert {row["developer"]: row["calls"] for row in report(once, "developer")}[
        "dev@example.com"
    ] == 2
    assert {row["repo"]: row["calls"] for row in report(once, "repo")}["test/prodlens-demo"] == 1


def test_nothing_that_was_said_is_in_any_file_or_on_any_screen(once: Any) -> None:
    for arguments in ("status", "status --json", "dead-letters list", "verify --json", "sql 'x'"):
        done = once.command(*arguments.split())
        assert CANARY.decode() not in done.stdout + done.stderr
    assert CANARY.decode() not in once.done.stdout + once.done.stderr
    files = [path for path in once.home.rglob("*") if path.is_file() and path.parent != once.logs]
    assert {path.suffix for path in files} >= {".db", ".parquet"}
    for path in files:
        assert CANARY not in path.read_bytes(), path.name
