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


def report(machine: Any, by: str) -> dict[str | None, dict[str, Any]]:
    """The groups of the report, by name."""
    done = machine.command("report", "--since", "always", "--by", by, "--format", "json")
    assert done.returncode == 0, done.stderr
    return {group[by]: group for group in json.loads(done.stdout)["groups"]}


@pytest.fixture
def once(machine: Any) -> Any:
    """A machine that has read a collector's file, and one to which everything was sent again."""
    assert CAPTURED.read_bytes().count(CANARY) > 10
    shutil.copy(CAPTURED, machine.logs / "otlp.jsonl")
    (machine.logs / "again.jsonl").write_bytes(b"\n" + CAPTURED.read_bytes())
    machine.done = machine.command("run", "--once")
    assert machine.done.returncode == 0, machine.done.stderr
    return machine


def test_a_collectors_file_is_calls_and_what_was_passed_over_and_nothing_else(once: Any) -> None:
    assert once.query("SELECT count(*) FROM traces") == [10]
    assert once.query("SELECT count(*) FROM dead_letter") == [0]
    assert once.query("SELECT sum(duplicates) FROM sources") == [10]
    verified = once.command("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.long
def test_the_report_has_its_calls_tokens_and_cost(once: Any) -> None:
    by_model = report(once, "model")
    claude, codex = by_model["claude-opus-4-8"], by_model["gpt-5.1-codex"]
    assert (claude["calls"], claude["errors"], codex["calls"], codex["errors"]) == (3, 1, 6, 2)
    assert (claude["tokens_in"], codex["tokens_in"]) == (2 * 25_296, 4 * 5000)
    # In fast mode it costs twice as much.
    assert claude["cost_nanousd"] == 49_625_000 + 2 * 49_625_000
    assert codex["cost_nanousd"] == 4 * 9_875_000
    assert report(once, "team")["platform"]["calls"] == 2
    assert report(once, "developer")["dev@example.com"]["calls"] == 2
    assert report(once, "repo")["test/prodlens-demo"]["calls"] == 1


def test_nothing_that_was_said_is_in_any_file_or_on_any_screen(once: Any) -> None:
    for arguments in ("status", "status --json", "dead-letters list", "verify --json"):
        done = once.command(*arguments.split())
        assert CANARY.decode() not in done.stdout + done.stderr
    assert CANARY.decode() not in once.done.stdout + once.done.stderr
    files = [path for path in once.home.rglob("*") if path.is_file() and path.parent != once.logs]
    assert {path.suffix for path in files} >= {".db", ".parquet"}
    for path in files:
        assert CANARY not in path.read_bytes(), path.name
