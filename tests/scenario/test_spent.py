"""What was spent, as the ledger keeps it, is what the rows say: `World.check` compares each step.

Here it is asked as budgets ask, and where calls are changed, or are rows no more.
"""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from prodlensd.answers.budgets import OVER, UNDER, UNKNOWABLE, WARNING, Budget, Budgets, standings
from prodlensd.ledger import Change, LedgerError, Prices, Reader, Selection, Spent
from prodlensd.model import US_PER_DAY, US_PER_S, Price, Trace
from tests.scenario.conftest import World

JANUARY = 1_767_225_600 * US_PER_S  # 2026
HOUR = 3600 * US_PER_S


@pytest.fixture(autouse=True)
def priced_by_the_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    def price(trace: Trace) -> Price:
        nanousd = trace.gateway_nanousd
        return Price(nanousd, "unpriced" if nanousd is None else "gateway")

    monkeypatch.setattr("tests.scenario.conftest.price", price)


def call(at_us: int, name: str, cost_usd: float | None = 1.0, **metadata: Any) -> bytes:
    moment = datetime.fromtimestamp(at_us / US_PER_S, UTC)
    record = {
        "timestamp": moment.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "id": name,
        "litellm_call_id": name,
        "cost_usd": cost_usd,
        "attributes": {"llm.model_name": "here/unheard-of"},
        "usage": {
            "prompt_tokens": 100,
            "completion_tokens": 10,
            "prompt_tokens_details": {"cached_tokens": 60},
        },
        "metadata": metadata,
    }
    return json.dumps(record).encode() + b"\n"


def spent(world: World, scope: str, pattern: str, since_us: int, until_us: int) -> Spent:
    with Reader(world.ledger) as reader, reader.one_moment():
        return reader.spent.read(scope).of(scope, pattern, since_us, until_us)


def sum_up(world: World, now_us: int) -> None:
    while world.store.spending.sum_up(now_us):
        pass


def test_what_was_spent_is_the_same_whether_it_is_summed_up_already_or_not(world: World) -> None:
    numbers = random.Random(1)  # noqa: S311 - made up, and repeatable
    people = [f"dev{n}@example.com" for n in range(5)]
    calls = [
        (JANUARY + numbers.randrange(2 * US_PER_DAY), numbers.choice(people), numbers.randrange(9))
        for _ in range(500)
    ]
    world.append(
        "a.jsonl",
        *(
            call(at_us, str(n), cost, developer_id=who)
            for n, (at_us, who, cost) in enumerate(calls)
        ),
    )
    world.settle()
    for now_us in (JANUARY, JANUARY + HOUR, JANUARY + 30 * HOUR, JANUARY + 90 * HOUR):
        sum_up(world, now_us)
        for who in people:
            costs = [c for at, whose, c in calls if whose == who and at >= JANUARY + US_PER_DAY]
            found = spent(world, "developer", who, JANUARY + US_PER_DAY, JANUARY + 2 * US_PER_DAY)
            assert (len(costs), sum(costs) * 10**9) == (found.calls, found.cost_nanousd)
            assert found.cache_read_tokens == 0.6 * found.tokens_in
    world.check_spent()
    world.sum_up()


@pytest.mark.parametrize("now_us", [JANUARY, JANUARY + US_PER_DAY])
def test_a_scope_has_those_whose_name_fits(world: World, now_us: int) -> None:
    world.append(
        "a.jsonl",
        call(JANUARY + 1, "1", team="core", repo="acme/web"),
        call(JANUARY + 2, "2", team="core[1]", repo="acme/web-2"),
        call(JANUARY + 3, "3", team="Core", repo="acme/docs"),
        call(JANUARY + 4, "4"),
    )
    world.settle()
    sum_up(world, now_us)
    for scope, pattern, expected in (
        ("team", "core", 1),
        ("team", "core[1]", 1),
        ("team", "core*", 2),
        ("team", "*[1]", 1),
        ("team", "?ore", 2),
        ("repo", "acme/web*", 2),
        ("repo", "*", 3),
        ("host", "*", 4),
        ("model", "here/*", 4),
        ("team", "none", 0),
    ):
        found = spent(world, scope, pattern, JANUARY, JANUARY + US_PER_DAY)
        assert (pattern, found.calls) == (pattern, expected)


def test_a_late_line_and_a_richer_record_change_what_was_spent_at_once(world: World) -> None:
    world.append("a.jsonl", call(JANUARY + 1, "1", None, developer_id="ana"))
    world.settle()
    sum_up(world, JANUARY + US_PER_DAY)
    world.append("b.jsonl", call(JANUARY + 1, "1", 2.0, developer_id="ana", team="core"))
    world.append("b.jsonl", call(JANUARY + 2, "2", 3.0, developer_id="ana"))
    world.step()
    found = spent(world, "developer", "ana", JANUARY, JANUARY + US_PER_DAY)
    assert (found.calls, found.unpriced_calls, found.cost_nanousd) == (2, 0, 5 * 10**9)
    assert spent(world, "team", "core", JANUARY, JANUARY + US_PER_DAY).calls == 1


def test_a_call_of_the_last_microsecond_of_a_quarter_counts_there(world: World) -> None:
    quarter_us = 900 * US_PER_S
    world.append("a.jsonl", *(call(JANUARY + quarter_us + n, str(n)) for n in (-1, 0)))
    world.settle()
    sum_up(world, JANUARY + quarter_us)
    for since_us in (JANUARY, JANUARY + quarter_us):
        assert spent(world, "host", "*", since_us, since_us + quarter_us).calls == 1


def test_a_call_stays_on_the_host_where_it_was_read_first(world: World) -> None:
    world.append("a.jsonl", call(JANUARY, "1", None))
    world.step()
    world.store.host = "other"
    world.append("b.jsonl", call(JANUARY, "1", 2.0), call(JANUARY, "2", 3.0))
    world.step()
    found = spent(world, "host", "other", JANUARY, JANUARY + US_PER_DAY)
    assert (found.calls, found.cost_nanousd) == (1, 3 * 10**9)


def test_a_repricing_changes_what_was_spent_at_once(world: World) -> None:
    world.append("a.jsonl", *(call(JANUARY + n, str(n)) for n in range(3)))
    world.step()  # which sums up
    with Reader(world.ledger) as reader:
        (calls,) = reader.prices.calls(20454, Selection(("gateway",), 0, 2**62), 100)
    changes = [Change(*found, Price(7, "override")) for found in calls[:2]]
    prices = Prices(world.store, lambda: 1)
    assert prices.repricing("1", Selection(("gateway",), 0, 2**62), 1).write(changes)
    world.check()
    found = spent(world, "host", "*", JANUARY, JANUARY + US_PER_DAY)
    assert (found.calls, found.cost_nanousd) == (3, 10**9 + 14)


@pytest.mark.parametrize("statement", ["INSERT INTO spent", "UPDATE spent_until"])
def test_what_fails_while_it_is_summed_up_leaves_no_half(world: World, statement: str) -> None:
    world.append("a.jsonl", *(call(JANUARY + n * HOUR, str(n)) for n in range(3)))
    world.settle()
    world.store.db.exec_trace = lambda _cursor, sql, _values: statement not in sql
    with pytest.raises(LedgerError):
        world.store.spending.sum_up(JANUARY + US_PER_DAY)
    world.store.db.exec_trace = None
    assert world.query("SELECT count(*) FROM spent") == [0]
    sum_up(world, JANUARY + US_PER_DAY)
    world.check()
    assert spent(world, "host", "*", JANUARY, JANUARY + US_PER_DAY).calls == 3


def test_pruned_calls_stay_in_what_was_spent(world: World, tmp_path: Path) -> None:
    world.append("a.jsonl", *(call(JANUARY + n, str(n)) for n in range(3)))
    world.settle()
    world.compact(tmp_path / "parquet")
    assert world.prune(tmp_path / "parquet") == 3
    world.append("a.jsonl", call(JANUARY + 9, "9"), call(JANUARY + 1, "1"))
    world.settle()
    found = spent(world, "host", "*", JANUARY, JANUARY + US_PER_DAY)
    assert (found.calls, found.cost_nanousd, found.unknown_calls) == (4, 4 * 10**9, 0)


def test_sums_of_a_hostile_log_overflow_nothing(world: World) -> None:
    huge = {"input_tokens": 2**63 - 1, "output_tokens": 1}
    for n in range(3):
        record = json.loads(call(JANUARY + n, str(n), 1e6)) | {"usage": huge}
        world.append("a.jsonl", json.dumps(record).encode() + b"\n")
    world.step()
    found = spent(world, "host", "*", JANUARY, JANUARY + US_PER_DAY)
    assert (found.calls, found.cost_nanousd) == (3, 3 * 10**15)


# How a budget stands


def stand(world: World, at_us: int, **more: Any) -> Any:
    asked: Any = {"name": "b", "period": "day", "limit_nanousd": 10 * 10**9} | more
    budget = Budget(**asked)
    with Reader(world.ledger) as reader, reader.one_moment():
        (found,) = standings(reader, Budgets([budget]), at_us)
    return found


@pytest.mark.parametrize(
    ("costs", "state"),
    [
        ([7.99], UNDER),
        ([8.0], WARNING),
        ([10.0], WARNING),
        ([10.0, 0.000000001], OVER),
        ([1.0, None], UNKNOWABLE),
        ([9.0, None], UNKNOWABLE),
        ([11.0, None], OVER),
        ([], UNDER),
    ],
)
def test_a_budget_turns_at_the_call_that_crosses_its_line(
    world: World, costs: list[float | None], state: str
) -> None:
    world.append("a.jsonl", *(call(JANUARY + n, str(n), cost) for n, cost in enumerate(costs)))
    world.settle()
    for now_us in (JANUARY + HOUR, JANUARY + US_PER_DAY - 1):
        sum_up(world, now_us)
        assert state == stand(world, now_us).state


def test_what_it_will_be_goes_by_the_whole_days_that_are_over(world: World) -> None:
    world.append("a.jsonl", *(call(JANUARY + n * US_PER_DAY, str(n), 2.0) for n in range(3)))
    world.settle()
    for at_us, days, expected in (
        (JANUARY + HOUR, 0, None),
        (JANUARY + US_PER_DAY, 1, 62 * 10**9),
        (JANUARY + 2 * US_PER_DAY + HOUR, 2, 62 * 10**9),
        (JANUARY + 10 * US_PER_DAY, 10, 6 * 31 * 10**9 // 10),
    ):
        found = stand(world, at_us, period="month")
        assert (days, expected) == (found.steps_over, found.expected_nanousd)


def test_calls_that_are_not_added_up_yet_leave_a_budget_unknowable(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prodlensd.ledger.spent.MOST_READ", 2)
    world.append("a.jsonl", *(call(JANUARY + n, str(n)) for n in range(3)))
    world.settle()
    found = stand(world, JANUARY + HOUR)
    assert (found.state, found.doubt) == (UNKNOWABLE, "3 calls or more not added up")
    sum_up(world, JANUARY + HOUR)
    assert stand(world, JANUARY + HOUR).state == UNDER
