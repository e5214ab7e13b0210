"""Calls on a plan: every sum names what the API would have asked, and adds it to no cost."""

from __future__ import annotations

import csv
import io
import json
import random
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from prodlensd.answers import metrics
from prodlensd.answers.calls import Where, open_calls
from prodlensd.answers.periods import Period
from prodlensd.answers.questions import Question
from prodlensd.app import report as reports
from prodlensd.app.books import Books
from prodlensd.app.budgets import budgets
from prodlensd.app.due import has_to_reprice
from prodlensd.cli.report_columns import DEFAULT
from prodlensd.cli.report_forms import table
from prodlensd.config import load
from prodlensd.ledger import Change, Prices, Reader, Selection, scope_on_plan
from prodlensd.logs import Folders
from prodlensd.model import US_PER_S, Price
from prodlensd.moments import now_us
from prodlensd.pipeline import Owner
from tests.service.reading_page import Page
from tests.service.test_overview import call
from tests.service.test_reprice import Desk, desk

__all__ = ["desk"]  # a fixture

NOW = datetime(2026, 1, 14, 12, tzinfo=UTC)
NOW_US = int(NOW.timestamp()) * US_PER_S
#: Three dollars for a million tokens in, and seven for one out.
PRICE = (3_000, 7_000)
CONFIG = """
[[pricing.override]]
model = "claude-a"
input_usd_per_million = 3
output_usd_per_million = 7
[[budget]]
name = "all"
monthly_usd = 100
[[budget]]
name = "others"
model = "other*"
daily_usd = 1
"""


@pytest.fixture(autouse=True)
def at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("app.statusline", "cli.overview", "cli.report", "cli.budget"):
        monkeypatch.setattr(f"prodlensd.{module}.now_us", lambda: NOW_US)
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("COLUMNS", "80")


class OnPlan:
    """A desk whose daemon reads transcripts too, and what its calls would have cost, by hand."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.calls: list[tuple[datetime, str, int]] = []
        self.numbers = count()
        desk.config.write_text(CONFIG)

    def told(self, at: datetime, session: str, tokens: tuple[int, int], model: str) -> bytes:
        if model == "claude-a":
            nanousd = sum(n * price for n, price in zip(tokens, PRICE, strict=True))
            self.calls.append((at, session, nanousd))
        usage = {"input_tokens": tokens[0], "output_tokens": tokens[1]}
        record = {
            "type": "assistant",
            "timestamp": at.isoformat().replace("+00:00", "Z"),
            "sessionId": session,
            "message": {"id": f"msg_{next(self.numbers)}", "model": model, "usage": usage},
        }
        return json.dumps(record).encode() + b"\n"

    def read(self, *lines: bytes, name: str = "t.jsonl") -> None:
        desk = self.desk
        desk.restart()
        folder = desk.home / "transcripts"
        folder.mkdir(exist_ok=True)
        with (folder / name).open("ab") as file:
            file.writelines(lines)
        desk.tailer._transcripts = [
            Folders([folder], include=["*.jsonl"], recursive=True, format="claude_code")
        ]
        desk.daemon._pricer = Books(load().pricing, Prices(desk.store, now_us)).pricer
        desk.daemon._owner = Owner("ada@example.com", is_on_plan=True)
        desk.step()

    def take(self, *calls: tuple[datetime, str, tuple[int, int]], model: str = "claude-a") -> None:
        self.read(*(self.told(*each, model) for each in calls))


@pytest.fixture
def plan(desk: Desk) -> OnPlan:
    return OnPlan(desk)


#: Today at eight: a thousand tokens in and as many out, for a cent.
MORNING = (NOW.replace(hour=8), "abc", (1000, 1000))
#: A model that no price book has.
UNKNOWN = "claude-unheard-of"


def said(desk: Desk, *arguments: str) -> str:
    done = desk.command(*arguments)
    assert done.returncode == 0, done.output
    output: str = done.output
    return output


# Report


def test_a_report_has_a_column_and_a_sum_of_its_own_within_eighty_columns(
    desk: Desk, plan: OnPlan
) -> None:
    desk.ingest(call("2026-01-14T08:00:00", 2.0))
    plan.take(MORNING)
    shown = said(desk, "report", "--by", "developer", "--timezone", "UTC")
    title, first, second, total, *_ = shown.splitlines()
    assert "cost  plan at API  share" in title
    assert "$2.00            -  100 %" in first
    assert "$0.00        $0.01    0 %" in second
    assert "$2.00        $0.01  100 %" in total
    assert " · $2.00 · plan, at API prices: $0.01 (1 call)" in shown
    markdown = said(desk, "report", "--format", "md", "--timezone", "UTC")
    assert "| plan at API |" in markdown


def test_of_eighty_columns_the_api_price_takes_the_last_that_goes(desk: Desk, plan: OnPlan) -> None:
    desk.ingest(call("2026-01-14T08:00:00", 945678.9, "a-name-of-thirty-characters@example.com"))
    plan.take((NOW, "abc", (3 * 10**11, 0)))
    question = Question(by=("developer",), period=Period(0, None, UTC))
    answer = reports.report(load(), question)
    lines = [re.sub(r"\x1b\[\d*m", "", at) for at in table(answer, DEFAULT, width=80).splitlines()]
    assert max(map(len, lines)) <= 80
    assert "plan at API" in lines[0]
    assert any("$900,000" in line for line in lines)


def test_without_a_call_on_a_plan_a_report_says_nothing_of_plans(desk: Desk) -> None:
    desk.ingest(call("2026-01-14T08:00:00", 2.0))
    assert "plan" not in said(desk, "report", "--timezone", "UTC")
    assert "plan" not in said(desk)
    assert "plan" not in said(desk, "statusline")


def test_the_columns_that_are_asked_for_are_all_there_are(desk: Desk, plan: OnPlan) -> None:
    plan.take(MORNING)
    title = said(desk, "report", "--columns", "calls,cost").splitlines()[0]
    assert title.split() == ["day", "calls", "cost"]
    assert "plan at API" in said(desk, "report", "--columns", "plan,cost").splitlines()[0]
    assert "plan at API" in said(desk, "report", "--columns", "+p50").splitlines()[0]


def test_where_a_call_has_no_price_the_sum_of_a_plan_says_at_least(
    desk: Desk, plan: OnPlan
) -> None:
    plan.take(MORNING)
    plan.take(MORNING, model=UNKNOWN)
    sum_of_plan = "plan, at API prices: ≥ $0.01 (2 calls, 1 without a price)"
    report = said(desk, "report", "--timezone", "UTC")
    assert f" · $0.00 · {sum_of_plan}: prodlensd prices check\n" in report
    assert "$0.00      ≥ $0.01" in report
    assert sum_of_plan in said(desk, "show", "abc")
    assert f"all: {sum_of_plan}\n" in said(desk, "budget")
    assert said(desk, "statusline") == "plan ≥ $0.01 today at API prices\n"


def test_where_no_call_has_a_price_the_sum_of_a_plan_is_not_known(desk: Desk, plan: OnPlan) -> None:
    plan.take(MORNING, model=UNKNOWN)
    report = said(desk, "report", "--timezone", "UTC")
    assert "plan, at API prices: unpriced (1 call): prodlensd prices check\n" in report
    assert "$0.00     unpriced" in report
    assert "all: plan, at API prices: unpriced (1 call)\n" in said(desk, "budget")
    assert "at API prices unpriced today" in said(desk)


def test_what_is_billed_and_has_no_price_says_nothing_of_a_plan(desk: Desk, plan: OnPlan) -> None:
    desk.ingest(call("2026-01-14T08:00:00", None))
    plan.take(MORNING)
    assert "plan, at API prices: $0.01 (1 call)" in said(desk, "report")
    assert "plan $0.01 today at API prices" in said(desk, "statusline")
    assert "all: plan, at API prices: $0.01 (1 call)\n" in said(desk, "budget")


def test_programs_get_it_under_names_of_its_own(desk: Desk, plan: OnPlan) -> None:
    record = json.loads(call("2026-01-14T08:00:00", 2.0))
    record["attributes"]["llm.model_name"] = "anthropic/claude-haiku-4-5"  # which the table knows
    desk.ingest(json.dumps(record).encode() + b"\n")
    plan.take(MORNING)
    assert desk.query("SELECT total(table_cost_usd) > 0.01, 0 FROM traces") == [(1, 0)]
    total = json.loads(said(desk, "report", "--json"))["total"]
    assert (1, 10_000_000) == (total["plan_calls"], total["plan_api_nanousd"])
    assert (2.0, 1) == (total["cost_usd"], total["billed_calls"])
    assert total["cost_by_source"]["plan"] == {"calls": 1, "cost_nanousd": 0}
    (row,) = csv.DictReader(io.StringIO(said(desk, "report", "--format", "csv")))
    assert (row["plan_calls"], row["plan_api_nanousd"], row["cost_usd"]) == (
        *("1", "10000000"),
        "2.000000000",
    )


def test_groups_may_be_sorted_by_it(desk: Desk, plan: OnPlan) -> None:
    desk.ingest(call("2026-01-14T08:00:00", 2.0))
    plan.take((NOW, "small", (10, 0)), (NOW, "large", (20, 0)))
    found = json.loads(said(desk, "report", "--by", "session", "--sort", "plan", "--json"))
    assert [group["session"] for group in found["groups"]] == ["large", "small", None]


def test_a_page_has_a_number_of_its_own(desk: Desk, plan: OnPlan) -> None:
    plan.take(MORNING)
    file = desk.home / "page.html"
    said(desk, "report", "--format", "html", "-o", str(file))
    page = file.read_text()
    assert "Plan, at API prices" in page
    assert "1 call, in no cost" in page


# Calls whose price at the API nobody knows

COSTS = "SELECT cost_usd, cost_source, table_cost_usd, unpriced_reason FROM traces"
NOT_KNOWN = (0, "plan", None, f"model_unknown:anthropic/{UNKNOWN}")
KNOWN_LATER = CONFIG.replace("claude-a", UNKNOWN)


def test_a_call_on_a_plan_costs_nothing_whether_or_not_its_model_has_a_price(
    desk: Desk, plan: OnPlan
) -> None:
    plan.take(MORNING, model=UNKNOWN)
    assert desk.query(COSTS) == [NOT_KNOWN]
    assert desk.command("budget", "--check").returncode == 0, "and not unknowable"
    total = json.loads(said(desk, "report", "--json"))["total"]
    assert (0, 0, 0, {}) == (
        *(total["cost_usd"], total["billed_calls"], total["unpriced_calls"]),
        total["unpriced_reasons"],
    )
    assert (1, None, 1) == (
        *(total["plan_calls"], total["plan_api_nanousd"], total["plan_unpriced_calls"]),
    )
    figures = json.loads(desk.command("status", "--json").stdout)["figures"]
    assert (0, {}) == (figures["unpriced_traces"], figures["unpriced_reasons"])
    (of_all, others) = json.loads(said(desk, "budget", "--json"))["budgets"]
    assert (1, 0) == (of_all["plan_unpriced_calls"], others["plan_unpriced_calls"])


def test_prices_check_names_the_models_on_a_plan_that_have_no_price(
    desk: Desk, plan: OnPlan
) -> None:
    plan.take(MORNING, (NOW, "b", (5, 5)), model=UNKNOWN)
    done = desk.command("prices", "check")
    title, row = (re.split(r" {2,}", row) for row in done.stdout.splitlines())
    assert (title[0], done.returncode) == ("unpriced model on a plan", 1)
    assert (row[0], *row[3:]) == (UNKNOWN, "2", "2,010", f"no price book has anthropic/{UNKNOWN}")
    assert f'model = "{UNKNOWN}"' in done.stderr
    found = json.loads(desk.command("prices", "check", "--json").stdout)
    assert (found["unpriced"], found["disputed"]) == ([], [])
    assert [(of["model"], of["calls"]) for of in found["unpriced_on_plan"]] == [(UNKNOWN, 2)]
    desk.config.write_text(KNOWN_LATER)
    found = json.loads(desk.command("prices", "check", "--json").stdout)["unpriced_on_plan"]
    assert [of["why"] for of in found] == ["has a price now (plan)"]


@pytest.mark.parametrize("is_summed_up", [False, True])
@pytest.mark.parametrize("sources", ["unpriced", "plan"])
def test_reprice_gives_them_a_price_once_the_books_have_one(
    desk: Desk, plan: OnPlan, sources: str, is_summed_up: bool
) -> None:
    plan.take(MORNING)
    plan.take(MORNING, model=UNKNOWN)
    while is_summed_up and desk.store.spending.sum_up(NOW_US):
        pass
    still = said(desk, "reprice", "--source", "unpriced")
    assert still == "0 of 1 calls changed; 1 stay unpriced (see prodlensd prices check)\n"
    desk.config.write_text(KNOWN_LATER + CONFIG.partition("[[budget]]")[0])
    assert " 1 of " in f" {said(desk, 'reprice', '--source', sources).splitlines()[-1]}"
    assert desk.query(COSTS) == [(0, "plan", 0.01, None)] * 2
    desk.check()
    assert "plan $0.02 today" in said(desk, "statusline")
    assert "every call has a price" in said(desk, "prices", "check")


@pytest.mark.parametrize("is_summed_up", [False, True])
def test_calls_that_were_unpriced_before_become_those_of_a_plan(
    desk: Desk, plan: OnPlan, is_summed_up: bool
) -> None:
    plan.take(MORNING, model=UNKNOWN)
    every = Selection(("plan",), 0, 2**62)
    with Reader(desk.ledger) as reader:
        (found,) = reader.prices.calls(20_467, every, 1000)
    before = [Change(*each, Price(None, "unpriced", reason=NOT_KNOWN[3])) for each in found]
    assert Prices(desk.store, lambda: 1).repricing("before", every, 1).write(before)
    while is_summed_up and desk.store.spending.sum_up(NOW_US):
        pass
    assert "unpriced today" in said(desk, "statusline")
    assert f"no price book has anthropic/{UNKNOWN}" in desk.command("prices", "check").stdout
    said(desk, "reprice")
    assert desk.query(COSTS) == [NOT_KNOWN]
    desk.check()
    assert "plan unpriced today" in said(desk, "statusline")


def test_with_other_prices_the_daemon_prices_them_again(desk: Desk, plan: OnPlan) -> None:
    plan.take(MORNING)
    prices = Prices(desk.store, now_us)
    assert not has_to_reprice(prices, "new", prices.fingerprint())
    plan.take(MORNING, model=UNKNOWN)
    prices = Prices(desk.store, now_us)
    assert has_to_reprice(prices, "newer", prices.fingerprint())


def test_show_says_why_the_price_at_the_api_is_not_known(desk: Desk, plan: OnPlan) -> None:
    plan.take(MORNING, model=UNKNOWN)
    [(message, _)] = desk.query("SELECT call_id, 0 FROM traces")
    one = said(desk, "show", message)
    assert "cost     $0.00, plan\n" in one
    assert f"table    unpriced: {NOT_KNOWN[3]}\n" in one
    assert f"API      unpriced: {NOT_KNOWN[3]}\n" in one


def test_the_page_and_the_overview_count_them(desk: Desk, plan: OnPlan) -> None:
    desk.ingest(call("2026-01-14T08:00:00", None))
    plan.take(MORNING, model=UNKNOWN)
    plan.take(MORNING)
    overview = said(desk)
    assert "unpriced   2 calls of 2 models, 1 on a plan: prodlensd prices check" in overview
    file = desk.home / "page.html"
    said(desk, "report", "--format", "html", "-o", str(file))
    page = file.read_text()
    assert "1 without a price" in page
    assert "1 call and 1 call on a plan" in page


def test_verify_counts_them_again(desk: Desk, plan: OnPlan) -> None:
    plan.take(MORNING, model=UNKNOWN)
    told = "tally of unpriced_reason plan model_unknown"
    assert told not in desk.command("verify").output
    tally = "UPDATE tally SET traces = 7 WHERE value = 'plan model_unknown'"
    desk.store.db.execute(tally)
    assert told in desk.command("verify").output


# Where calls were read


def page_of(desk: Desk) -> Page:
    file = desk.home / "page.html"
    said(desk, "report", "--format", "html", "-o", str(file))
    return Page(file.read_text())


def test_a_page_ranks_where_calls_were_read_and_what_is_on_a_plan_there(
    desk: Desk, plan: OnPlan
) -> None:
    desk.ingest(call("2026-01-14T08:00:00", 2.0))
    plan.take(MORNING, (NOW, "b", (0, 1000)))
    plan.take(MORNING, model=UNKNOWN)
    page = page_of(desk)
    assert page.tables["Sources"] == [
        ["source", "calls", "cached", "cost", "plan at API", "share"],
        ["proxy", "1", "60.0 %", "$2.00", "-", "100 %"],
        ["claude_code", "3", "0 %", "$0.00", "≥ $0.017", "0 %"],
        ["total", "4", "20.0 %", "$2.00", "≥ $0.017", "100 %"],
    ]
    assert page.tables["Source claude_code"][1:] == [
        ["claude-a", "2", "0 %", "$0.00", "$0.017", "-"],
        [UNKNOWN, "1", "0 %", "$0.00", "unpriced", "-"],
        ["total", "3", "0 %", "$0.00", "≥ $0.017", "-"],
    ]
    assert "#source-2" in page.attributes("href")


@pytest.mark.parametrize("is_of_agent", [False, True])
def test_a_page_of_one_source_ranks_none(desk: Desk, plan: OnPlan, is_of_agent: bool) -> None:
    if is_of_agent:
        plan.take(MORNING)
    else:
        desk.ingest(call("2026-01-14T08:00:00", 2.0))
    page = page_of(desk)
    assert "Developers" in page.tables
    with open_calls(Where(desk.ledger, desk.home / "parquet")) as calls:
        assert calls.may_be_of_transcript is is_of_agent, "only then does it take a reading"
    assert not [title for title in page.tables if title.startswith("Source")]


# What is first seen


def test_the_overview_names_it_beside_the_cost(desk: Desk, plan: OnPlan) -> None:
    desk.ingest(call("2026-01-13T12:00:00", 2.0))
    plan.take(MORNING)
    overview = said(desk)
    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in overview.splitlines() if line}
    assert lines["plan"] == "at API prices $0.01 today, $0.01 this week, $0.01 this month"
    assert lines["January"].startswith("$2.00")
    assert max(map(len, overview.splitlines())) <= 80


def test_where_all_is_on_a_plan_names_are_told_with_what_they_would_have_cost(
    desk: Desk, plan: OnPlan
) -> None:
    plan.take(MORNING, (NOW - timedelta(days=3), "abc", (1000, 1000)))
    overview = said(desk)
    assert "ada@example.com  plan $0.02" in overview
    assert "forecast" not in overview


@pytest.mark.parametrize(
    ("costs", "plans", "unknown", "line"),
    [
        (1, 0, 0, "$2.00 session · $2.00 today · 60 % cached"),
        (0, 1, 0, "plan $0.01 session · plan $0.01 today at API prices"),
        (1, 1, 0, "$2.00 session · plan $0.01 session · $2.00 today · plan $0.01 today at API pri"),
        (0, 0, 1, "plan unpriced session · plan unpriced today at API prices"),
        (0, 1, 1, "plan ≥ $0.01 session · plan ≥ $0.01 today at API prices"),
        (
            1,
            0,
            1,
            "$2.00 session · plan unpriced session · $2.00 today · plan unpriced today at AP",
        ),
    ],
)
def test_the_status_line_is_never_free_where_a_plan_is_paid(
    desk: Desk,
    plan: OnPlan,
    monkeypatch: pytest.MonkeyPatch,
    costs: int,
    plans: int,
    unknown: int,
    line: str,
) -> None:
    monkeypatch.setattr("prodlensd.cli.at_once._stdin", lambda: b'{"session_id": "abc"}')
    record = json.loads(call("2026-01-14T08:00:00", 2.0))
    record["metadata"]["session_id"] = "abc"
    desk.ingest(*[json.dumps(record).encode() + b"\n"] * costs)
    plan.take(*[MORNING] * plans)
    plan.take(*[MORNING] * unknown, model=UNKNOWN)
    assert said(desk, "statusline").startswith(line)


# One session, one call


def test_a_session_and_a_call_are_shown_with_it(desk: Desk, plan: OnPlan) -> None:
    plan.take(MORNING, (NOW, "abc", (0, 1000)))
    shown = said(desk, "show", "abc")
    assert "plan, at API prices: $0.017 (2 calls)" in shown
    assert shown.splitlines()[2].split()[-2:] == ["plan", "ok"] or " plan " in shown
    found = json.loads(said(desk, "show", "abc", "--json"))
    assert (2, 17_000_000, 0) == (
        found["total"]["plan_calls"],
        found["total"]["plan_api_nanousd"],
        found["total"]["cost_nanousd"],
    )
    [(message, _)] = desk.query("SELECT call_id, 0 FROM traces LIMIT 1")
    one = said(desk, "show", message)
    assert "$0.00, plan" in one
    assert "the API would ask $0.01" in one


# Budgets and metrics


def test_a_budget_is_told_of_it_and_not_charged(desk: Desk, plan: OnPlan) -> None:
    plan.take((NOW.replace(hour=9), "abc", (0, 100_000_000)))
    told = said(desk, "budget", "--check")
    assert "all: plan, at API prices: $700.00 (1 call)" in told
    assert "others: plan" not in told, "no call of its scope"
    (of_all, others) = json.loads(said(desk, "budget", "--json"))["budgets"]
    assert (0, "under", 1, 700.0) == (
        *(of_all["spent_usd"], of_all["state"]),
        *(of_all["plan_calls"], of_all["plan_api_usd"]),
    )
    assert (0, 0.0) == (others["plan_calls"], others["plan_api_usd"])


def test_metrics_have_it_beside_the_costs(desk: Desk, plan: OnPlan) -> None:
    def exposed() -> dict[Any, float]:
        asked: dict[str, Any] = {"now_us": NOW_US, "stalled_s": 30, "budgets": budgets(load())}
        text = metrics.exposition(desk.ledger, **asked).decode()
        return {
            (sample.name, sample.labels.get("cost_source")): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    desk.ingest(call("2026-01-14T08:00:00", 2.0))
    assert exposed()["prodlensd_plan_api_usd", None] == 0
    plan.take(MORNING)
    found = exposed()
    assert found["prodlensd_plan_api_usd", None] == 0.01
    assert found["prodlensd_cost_usd", "plan"] == 0
    assert found["prodlensd_priced_calls", "plan"] == 1
    assert found["prodlensd_plan_unpriced_calls", None] == 0
    plan.take(MORNING, model=UNKNOWN)
    found = exposed()
    assert found["prodlensd_plan_api_usd", None] == 0.01
    assert found["prodlensd_plan_unpriced_calls", None] == 1
    assert found["prodlensd_unpriced_calls", None] == 0


# The sums that are kept


@pytest.mark.parametrize("summed_up_to", [timedelta(days=-40), timedelta(0), timedelta(days=9)])
def test_what_is_kept_is_what_plain_python_adds_up(
    desk: Desk, plan: OnPlan, summed_up_to: timedelta
) -> None:
    chance = random.Random(3)  # noqa: S311 - made up, and repeatable
    moments = [NOW + timedelta(minutes=chance.randrange(-9000, 9000)) for _ in range(120)]
    some = [(at, chance.choice("abc"), (chance.randrange(10**6), 0)) for at in moments]
    plan.take(*some[:80])
    desk.ingest(call("2026-01-14T08:00:00", 2.0))
    mark_us = NOW_US + summed_up_to // timedelta(microseconds=1)
    while desk.store.spending.sum_up(mark_us):
        pass
    plan.take(*some[80:])  # late ones, before the mark
    desk.check_spent()
    day = (NOW_US - US_PER_S * 43_200, NOW_US + US_PER_S * 43_200)
    with Reader(desk.ledger) as reader, reader.one_moment():
        sums = reader.spent.read("session")
        for name in "abc":
            found = sums.named(scope_on_plan("session"), name, *day)
            assert found.cost_nanousd == sum(
                nanousd
                for at, session, nanousd in plan.calls
                if session == name and at.date() == NOW.date()
            )
            assert sums.named("session", name, *day).cost_nanousd == 0
        assert sums.of(scope_on_plan("host"), "*", *day).calls == sum(
            at.date() == NOW.date() for at, *_ in plan.calls
        )
        assert sums.of("host", "*", *day).cost_nanousd == 2 * 10**9


def test_a_call_that_is_repriced_leaves_the_sums_of_its_plan(desk: Desk, plan: OnPlan) -> None:
    plan.take(MORNING)
    while desk.store.spending.sum_up(NOW_US):
        pass
    everything = Selection(("plan",), 0, 2**62)
    with Reader(desk.ledger) as reader:
        (found,) = reader.prices.calls(20_467, everything, 1000)
    changes = [Change(*each, Price(0, "plan", 77)) for each in found]
    assert Prices(desk.store, lambda: 1).repricing("test", everything, 1).write(changes)
    desk.check_spent()
    assert "plan $0.000000077 today" in said(desk, "statusline")
    total = json.loads(said(desk, "report", "--json"))["total"]
    assert Decimal(total["plan_api_nanousd"]) == 77


@pytest.mark.parametrize("plans", [0, 2])
def test_a_report_of_few_groups_may_be_sorted_by_it_whether_or_not_there_are_any(
    desk: Desk, plan: OnPlan, plans: int
) -> None:
    desk.ingest(*(call(f"2026-01-14T08:00:0{n}", 2.0, f"{n % 3}@x") for n in range(4)))
    plan.take(*[(NOW, "small", (10, 0))] * plans)
    arguments = ("report", "--by", "developer", "--sort", "plan", "--top", "1", "--json")
    found = json.loads(desk.command(*arguments).stdout)
    assert found["groups"][0]["developer"] == ("ada@example.com" if plans else "0@x")
