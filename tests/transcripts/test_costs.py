"""A call costs what it costs when our callback tells of it, and a plan's calls cost nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.transcripts import claude_corpora as claude
from tests.transcripts.corpus import Maker
from tests.transcripts.habits import AGENTS, CORPORA, everything
from tests.transcripts.laptop import Laptop
from tests.transcripts.proxied import proxied

#: Each call by what both ways of telling know of it.
COSTS = (
    "SELECT session_id, model, tokens_in, tokens_out, cost_usd, table_cost_usd, cost_source, "
    "unpriced_reason FROM traces"
)


def told(laptop: Laptop) -> list[tuple[Any, ...]]:
    """Without the provider's name before that of the model."""
    rows = laptop.query(COSTS)
    bare = ((row[0], row[1] and row[1].split("/")[-1], *row[2:]) for row in rows)
    return sorted(bare, key=repr)


@pytest.mark.parametrize("agent", AGENTS)
def test_calls_cost_what_they_cost_in_our_callbacks_lines(
    laptop: Laptop, another: Callable[[], Laptop], agent: str
) -> None:
    corpus = everything(agent)
    calls = [call for call in corpus.calls if call.model]
    assert any(call.searches for call in calls) is (agent == "claude_code")
    laptop.take(corpus)
    laptop.ingest()
    beside = another()
    beside.logs.mkdir(parents=True)
    (beside.logs / "traces.jsonl").write_bytes(b"".join(map(proxied, calls)))
    beside.ingest()
    expected = told(beside)
    assert {row[6] for row in expected} == {"table"}
    assert expected == [row for row in told(laptop) if row[1]]


def test_a_call_of_an_unknown_model_has_no_price(laptop: Laptop) -> None:
    corpus = CORPORA["codex_no_model"](Maker(1))
    laptop.take(corpus)
    laptop.ingest()
    rows = laptop.query("SELECT cost_usd, cost_source, unpriced_reason FROM traces")
    assert len(rows) == len(corpus.calls)
    assert {(cost, source) for cost, source, _ in rows} == {(None, "unpriced")}
    assert all(reason for *_, reason in rows)


def test_zeros_behind_a_gateway_are_unknown_and_not_free(laptop: Laptop) -> None:
    corpus = claude.zeros(Maker(1))
    laptop.take(corpus)
    laptop.ingest()
    rows = laptop.query("SELECT cost_usd, cost_source, tokens_in, tokens_out FROM traces")
    assert rows == [(None, "unpriced", None, None)] * len(corpus.calls)


@pytest.mark.parametrize("agent", AGENTS)
def test_on_a_plan_no_call_is_billed_and_what_the_api_would_ask_stands_apart(
    laptop: Laptop, another: Callable[[], Laptop], agent: str
) -> None:
    corpus, on_plan = everything(agent), another()
    on_plan.config.write_text(on_plan.config.read_text() + 'billing = "plan"\n')
    for each in (laptop, on_plan):
        each.take(corpus)
        each.ingest()
    asked = "SELECT sum(table_cost_usd) FROM traces"
    assert laptop.query(asked) == laptop.query("SELECT sum(cost_usd) FROM traces")
    assert on_plan.query(asked) == laptop.query(asked)
    assert on_plan.query("SELECT sum(cost_usd) FROM traces") == [0]
    sources = "SELECT DISTINCT cost_source FROM traces WHERE model NOT NULL"
    assert on_plan.query(sources) == ["plan"]
    unknown = "SELECT {}, table_cost_usd, unpriced_reason FROM traces WHERE model IS NULL"
    found = on_plan.query(unknown.format("cost_usd, cost_source"))
    assert found == laptop.query(unknown.format("0.0, 'plan'"))
    assert {(table, reason) for *_, table, reason in found} <= {(None, "model_missing")}
    assert (agent == "codex") == bool(found)
    assert on_plan.wrong(corpus.calls) == {}
