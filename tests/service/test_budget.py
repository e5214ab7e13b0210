"""Budgets as people and programs see them: `budget`, `status`, metrics, overview and page."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from prodlensd.app.metrics import exposition
from prodlensd.app.page import served
from prodlensd.config import load
from prodlensd.model import US_PER_S
from tests.service.reading_page import Page
from tests.service.test_overview import call
from tests.service.test_reprice import Desk, desk

__all__ = ["desk"]  # a fixture

NOW_US = int(datetime(2026, 1, 14, 12, tzinfo=UTC).timestamp()) * US_PER_S
BUDGET = """
[[budget]]
name = "ana's \\u001b[31m"
developer = "ana@*"
monthly_usd = 10
"""


@pytest.fixture(autouse=True)
def at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    for module in ("budget", "overview"):
        monkeypatch.setattr(f"prodlensd.cli.{module}.now_us", lambda: NOW_US)
    for module in ("status", "metrics", "page"):
        monkeypatch.setattr(f"prodlensd.app.{module}.now_us", lambda: NOW_US)


@pytest.fixture
def budgeted(desk: Desk) -> Desk:
    desk.config.write_text(BUDGET)
    return desk


def budgets(desk: Desk) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(desk.command("budget", "--json").stdout)["budgets"]
    return found


@pytest.mark.parametrize(
    ("costs", "state", "code"),
    [
        ([7.0], "under", 0),
        ([7.0, 1.0], "warning", 1),
        ([7.0, 1.0, 2.5], "over", 2),
        ([7.0, 1.0, None], "unknowable", 3),
    ],
)
def test_all_who_are_asked_turn_at_the_same_call(
    budgeted: Desk, costs: list[float | None], state: str, code: int
) -> None:
    budgeted.ingest(
        call("2026-01-05T08:00:00", 90.0, "ben@example.com"),
        *(call(f"2026-01-0{n + 1}T08:30:00", cost) for n, cost in enumerate(costs)),
    )
    checked = budgeted.command("budget", "--check")
    assert (code, checked.stdout.splitlines()[1].split()[-1]) == (checked.returncode, state)
    (budget,) = budgets(budgeted)
    assert (budget["state"], budget["period"]) == (state, "2026-01")
    assert budget["spent_usd"] == sum(filter(None, costs))
    status = json.loads(budgeted.command("status", "--json").stdout)
    assert status["figures"]["budgets"] == [budget]
    [check] = [check for check in status["checks"] if check["name"] == "budgets"]
    assert check["state"] == ("ok" if code == 0 else "warning")
    assert f"{state}: " in check["value"]
    metrics = exposition(load()).decode()
    states = [text for text in metrics.splitlines() if text.startswith("prodlensd_budget_state")]
    assert [text for text in states if text.endswith(" 1.0")] == [
        text for text in states if f'state="{state}"' in text
    ]
    overview = budgeted.command().stdout
    assert checked.stdout.splitlines()[1] in overview
    page = Page(served(load(), "since=this-month").body.decode())
    assert page.tables["Budgets"][1][-1] == state


def test_a_name_of_a_budget_does_nothing_to_a_terminal(budgeted: Desk) -> None:
    budgeted.ingest(call("2026-01-05T08:00:00", 9.0))
    for arguments in (["budget"], ["status"], ["status", "--line"], []):
        printed = budgeted.command(*arguments).stdout
        assert all(line.isprintable() for line in printed.splitlines())


def test_what_will_be_and_what_leaves_it_unknowable_is_said(budgeted: Desk) -> None:
    budgeted.ingest(call("2026-01-02T08:00:00", 2.6), call("2026-01-03T08:00:00", None))
    title, row, _, doubt, remedy = budgeted.command("budget").stdout.splitlines()
    assert title.split() == "budget of in spent limit share by the end state".split()
    assert "≥ $2.60" in row
    assert "≥ $6.20" in row  # in 13 of 31 days
    assert doubt.endswith(": 1 call without a price")
    assert remedy == "prodlensd prices check says what they lack"


def test_without_a_budget_or_a_ledger_there_is_one_sentence(desk: Desk) -> None:
    desk.ingest(call("2026-01-05T08:00:00", 9.0))
    done = desk.command("budget", "--check")
    assert (done.returncode, done.stdout) == (
        0,
        "no budget is configured: see [[budget]] in the configuration\n",
    )
    assert budgets(desk) == []
    assert "budget" not in exposition(load()).decode()
    desk.stop()
    for file in Path(desk.home).rglob("prodlens.db*"):
        file.unlink()
    for arguments, code in ((["budget"], 1), (["budget", "--check"], 3)):
        done = desk.command(*arguments)
        assert (code, done.stderr.startswith("Error: no ledger at ")) == (done.returncode, True)
