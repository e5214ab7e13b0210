"""Times that programs read sort as text: in UTC, six digits and Z, whichever command says them."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest

from prodlensd.moments import iso_time

A_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:?[^\"\s]*")
SORTABLE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def test_as_text_they_sort_as_they_do_in_time() -> None:
    chance = random.Random(1)  # noqa: S311 - repeatable on purpose
    start_us = 1_767_225_600_000_000
    moments = [start_us + n for n in (0, 1, 500_000, 999_999, 1_000_000)]
    moments += [start_us + chance.randrange(10**7) for _ in range(1000)]
    assert [iso_time(us) for us in sorted(moments)] == sorted(map(iso_time, moments))
    assert iso_time(start_us) == "2026-01-01T00:00:00.000000Z"
    assert iso_time(start_us + 1) == "2026-01-01T00:00:00.000001Z"


@pytest.fixture
def ledger(machine: Any) -> Any:
    """A ledger with a call at a full second, one without a price, and a dead letter."""
    lines = [
        {
            "timestamp": f"2026-01-01T00:00:0{n}Z",
            "attributes": {"llm.model_name": model},
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }
        for n, model in enumerate(("acme/unknown", "anthropic/claude-sonnet-4-5"))
    ]
    text = "\n".join(map(json.dumps, lines))
    (machine.logs / "a.jsonl").write_text(f"{text}\ngarbage\n")
    machine.said = machine.ingest().stderr
    return machine


@pytest.mark.sampled(5)
@pytest.mark.parametrize(
    ("arguments", "at_least"),
    [
        ("status --json", 3),
        ("report --format json --since 2026-01-01 --until 2026-01-02 --timezone UTC", 2),
        ("report --format json --since always", 1),
        ("prices show claude-sonnet-4-5 --at 2026-01-01 --json", 1),
        ("prices check --json", 1),
        ("dead-letters list --json", 1),
        ("dead-letters export", 1),
        ("verify --json", 0),
    ],
)
def test_every_command_says_them_so_to_programs(ledger: Any, arguments: str, at_least: int) -> None:
    done = ledger.command(*arguments.split())
    times = A_TIME.findall(done.stdout)
    assert len(times) >= at_least, done.stderr + done.stdout
    assert [time for time in times if not SORTABLE.fullmatch(time)] == []


def test_the_log_says_them_so(ledger: Any) -> None:
    times = A_TIME.findall(ledger.said)
    assert len(times) >= 2
    assert [time for time in times if not SORTABLE.fullmatch(time)] == []
