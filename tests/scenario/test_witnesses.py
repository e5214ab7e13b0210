"""One call that a line of the log and a row of LiteLLM's spend logs tell of counts once.

Whichever comes first, however often each is read again, and whether or not it was pruned meanwhile.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.scenario.proving import PROVEN, proof, verdict

START_S = 1_793_534_400


def payload(number: int, **parts: Any) -> bytes:
    """LiteLLM's payload of a call, a line."""
    record = {
        "id": f"chatcmpl-{number}",
        "litellm_call_id": f"call-{number}",
        "call_type": "acompletion",
        "status": "success",
        "startTime": START_S + number + 0.1234567,
        "endTime": START_S + number + 1.5,
        "model": "openai/gpt-4o-mini",
        "response_cost": 0.5,
        "prompt_tokens": 10,
        "completion_tokens": number,
        "total_tokens": 10 + number,
        "metadata": {"requester_metadata": {"session_id": f"s{number}", "repo": "acme/shop"}},
    }
    return json.dumps(record | parts).encode() + b"\n"


def row(number: int, *, late_s: float = 0, **parts: Any) -> bytes:
    """The row that LiteLLM's spend logs have of the same call, a line."""
    second, milli = divmod(round((number + 0.123 + late_s) * 1000), 1000)
    clock = f"2026-11-01T12:{second // 60:02}:{second % 60:02}.{milli:03}Z"
    record = {
        "request_id": f"chatcmpl-{number}",
        "call_type": "acompletion",
        "startTime": clock,
        "endTime": clock,
        "model": "openai/gpt-4o-mini",
        "spend": 0.5,
        "prompt_tokens": 10,
        "completion_tokens": number,
        "total_tokens": 10 + number,
        "session_id": f"trace-{number}",
        "end_user": f"customer-{number}",
        "litellm_call_id": f"call-{number}",
        "metadata": {"user_api_key_alias": "laptop", "user_api_key_team_alias": "Core"},
    }
    return json.dumps(record | parts).encode() + b"\n"


FIRST = [("payload", "row"), ("row", "payload")]
MAKE = {"payload": payload, "row": row}


def read(world: Any, name: str, *lines: bytes) -> None:
    world.append(name, *lines)
    world.step()


@pytest.mark.parametrize("order", FIRST)
def test_a_call_that_both_tell_of_is_one_call_and_a_duplicate(
    world: Any, order: tuple[str, str]
) -> None:
    for name in order:
        read(world, f"{name}.jsonl", *(MAKE[name](number) for number in range(20)))
    assert (40, 20, 20, 0, 0) == world.counts()
    assert PROVEN == verdict(world)


@pytest.mark.parametrize("order", FIRST)
def test_what_either_knows_is_known_of_the_call(world: Any, order: tuple[str, str]) -> None:
    for name in order:
        read(world, f"{name}.jsonl", MAKE[name](3))
    known = (
        "SELECT session_id, repo_slug, end_user, team, key_alias, call_id, tokens_out FROM traces"
    )
    assert [("s3", "acme/shop", "customer-3", "Core", "laptop", "call-3", 3)] == world.query(known)


@pytest.mark.parametrize("order", FIRST)
def test_both_may_stand_in_one_batch(world: Any, order: tuple[str, str]) -> None:
    read(world, "a.jsonl", *(MAKE[name](number) for number in range(9) for name in order))
    assert (18, 9, 9, 0, 0) == world.counts()
    assert PROVEN == verdict(world)


@pytest.mark.parametrize("order", FIRST)
def test_either_may_be_read_again_and_again(world: Any, order: tuple[str, str]) -> None:
    for turn in range(3):
        for name in order:
            read(world, f"{name}{turn}.jsonl", *(MAKE[name](number) for number in range(5)))
            world.restart()
    assert (30, 5, 25, 0, 0) == world.counts()
    assert PROVEN == verdict(world)


@pytest.mark.parametrize("order", FIRST)
@pytest.mark.parametrize("late_s", [0.0005, 0.9, 45, 590])
def test_the_row_may_start_later_by_the_wait_for_the_first_byte(
    world: Any, order: tuple[str, str], late_s: float
) -> None:
    made = {"payload": payload(0), "row": row(0, late_s=late_s)}
    for name in order:
        read(world, f"{name}.jsonl", made[name])
    assert (2, 1, 1, 0, 0) == world.counts()


@pytest.mark.parametrize("order", FIRST)
def test_an_older_rows_own_id_is_enough(world: Any, order: tuple[str, str]) -> None:
    """Before 1.106 a row names no call id."""
    made = {"payload": payload(0), "row": row(0, litellm_call_id=None)}
    for name in order:
        read(world, f"{name}.jsonl", made[name])
    assert (2, 1, 1, 0, 0) == world.counts()


@pytest.mark.parametrize("order", FIRST)
def test_a_failure_is_known_by_its_call_id(world: Any, order: tuple[str, str]) -> None:
    made = {
        "payload": payload(0, id="call-0", status="failure"),
        "row": row(0, request_id="call-0", status="failure", litellm_call_id=None),
    }
    for name in order:
        read(world, f"{name}.jsonl", made[name])
    assert (2, 1, 1, 0, 0) == world.counts()


@pytest.mark.parametrize("order", FIRST)
def test_cached_answers_are_told_apart_by_their_calls(world: Any, order: tuple[str, str]) -> None:
    """LiteLLM adds a time to the id of a cached answer, in each of the two another."""
    made = {
        "payload": [payload(n, id=f"chatcmpl-0_cache_hit17.{n}", cache_hit=True) for n in range(4)],
        "row": [
            row(n, request_id=f"chatcmpl-0_cache_hit18.{n}", cache_hit="True") for n in range(4)
        ],
    }
    for name in order:
        read(world, f"{name}.jsonl", MAKE[name](0), *made[name][1:])
        assert [4] == world.query("SELECT count(*) FROM traces")
    assert (8, 4, 4, 0, 0) == world.counts()
    assert PROVEN == verdict(world)


@pytest.mark.parametrize("order", FIRST)
@pytest.mark.parametrize(
    "other",
    [
        {"request_id": "chatcmpl-1"},
        {"litellm_call_id": "call-1"},
        {"late_s": 601},
    ],
)
def test_another_id_or_another_time_is_another_call(
    world: Any, order: tuple[str, str], other: Any
) -> None:
    made = {"payload": payload(0), "row": row(0, **other)}
    for name in order:
        read(world, f"{name}.jsonl", made[name])
    assert (2, 2, 0, 0, 0) == world.counts()


@pytest.mark.parametrize("order", FIRST)
def test_of_two_calls_with_one_id_the_row_is_of_one(world: Any, order: tuple[str, str]) -> None:
    """A client may choose one id for two calls; LiteLLM's table keeps one row of them."""
    made = {
        "payload": [payload(n, id="mine", litellm_call_id="mine") for n in (0, 7)],
        "row": [row(0, request_id="mine", litellm_call_id="mine")],
    }
    for _ in range(2):
        for name in order:
            read(world, f"{name}.jsonl", *made[name])
            read(world, f"{name}-again.jsonl", *made[name])
    assert [2] == world.query("SELECT count(*) FROM traces")
    assert PROVEN == verdict(world)


def test_a_row_in_two_precisions_is_one(world: Any) -> None:
    read(world, "a.jsonl", row(0), row(0, startTime="2026-11-01 12:00:00"))
    assert (2, 1, 1, 0, 0) == world.counts()


@pytest.mark.parametrize("order", FIRST)
@pytest.mark.parametrize("knows_call", [True, False])
def test_a_pruned_call_is_not_counted_again(
    world: Any, tmp_path: Path, order: tuple[str, str], knows_call: bool
) -> None:
    """Of a pruned call a digest of both ids stays: a row without one is known if it was read."""
    folder = tmp_path / "parquet"
    ids: Any = {} if knows_call else {"litellm_call_id": None}
    made = {"payload": payload(0), "row": row(0, **ids)}
    read(world, "first.jsonl", made[order[0]])
    if not knows_call:
        read(world, "second.jsonl", made[order[1]])
    world.compact(folder)
    assert world.prune(folder) == 1
    for turn in range(2):
        for name in reversed(order):
            world.append(f"{name}{turn}.jsonl", made[name])
            world.settle()
    assert [] == world.query("SELECT * FROM traces")
    assert PROVEN == (proof(world, folder).state, [*map(str, proof(world, folder).differences)])


def test_the_price_is_of_one_of_them_and_not_of_both_mixed(world: Any) -> None:
    """The row has no cached tokens here: what the payload counted stays together."""
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 2,
        "prompt_tokens_details": {"cached_tokens": 4},
    }
    read(world, "a.jsonl", row(2, prompt_tokens=11, spend=0.7))
    read(world, "b.jsonl", payload(2, metadata={"usage_object": usage}))
    known = "SELECT tokens_in, cache_read_tokens, gateway_cost_usd FROM traces"
    assert [(10, 4, 0.5)] == world.query(known)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_read_in_whatever_order_each_call_is_there_once(
    world: Any, tmp_path: Path, seed: int
) -> None:
    """Lines, copies of them, exports that overlap, restarts and pruning, at random."""
    chance = random.Random(seed)  # noqa: S311 - of a test
    calls = 30
    told: set[int] = set()
    for step in range(25):
        some = chance.sample(range(calls), chance.randrange(1, 12))
        kind = chance.choice(["payload", "row", "row", "both"])
        made = [
            MAKE[name](n) if name == "payload" else row(n, late_s=(n % 3) * 20)
            for n in some
            for name in (("payload", "row") if kind == "both" else (kind,))
        ]
        world.append(f"{step}.jsonl", *made)
        world.settle()
        told |= set(some)
        if chance.random() < 0.2:
            world.restart()
        if chance.random() < 0.2:
            world.compact(tmp_path / "parquet")
            world.prune(tmp_path / "parquet")
        there = world.query("SELECT (SELECT count(*) FROM trace) + (SELECT count(*) FROM pruned)")
        assert [len(told)] == there
    found = proof(world, tmp_path / "parquet")
    assert PROVEN == (found.state, [*map(str, found.differences)])
