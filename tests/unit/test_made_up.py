"""The made-up month of the demonstration: the same calls whenever it is, and none of the future."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from jsonschema import Draft202012Validator

from prodlensd.app.made_up import month

SCHEMA = "trace_line.schema.json"
BERLIN = ZoneInfo("Europe/Berlin")
MOMENTS = [
    datetime(2026, 11, 27, 20, 39, tzinfo=UTC),
    datetime(2026, 11, 28, 12, tzinfo=UTC),
    datetime(2026, 3, 1, 0, 0, 1, tzinfo=UTC),
    datetime(2026, 3, 29, 14, tzinfo=BERLIN),  # the clocks were set forward this morning
    datetime(2026, 10, 25, 23, 59, tzinfo=BERLIN),
]


def calls(now: datetime) -> list[dict[str, Any]]:
    return [json.loads(line) for lines in month(now).values() for line in lines]


def without_time(call: dict[str, Any]) -> str:
    return json.dumps({name: value for name, value in call.items() if name != "timestamp"})


@pytest.mark.sampled(4)
@pytest.mark.parametrize("now", MOMENTS, ids=str)
def test_the_calls_are_the_same_on_any_day_and_all_over_by_now(now: datetime) -> None:
    expected = sorted(map(without_time, calls(MOMENTS[0])))
    found = calls(now)
    assert expected == sorted(map(without_time, found))
    times = [datetime.fromisoformat(call["timestamp"]) for call in found]
    assert times == sorted(times)
    assert now - timedelta(days=30) <= times[0] <= times[-1] <= now


@pytest.mark.parametrize("now", MOMENTS, ids=str)
def test_each_line_is_in_the_log_of_its_utc_day(now: datetime) -> None:
    for name, lines in month(now).items():
        days = {json.loads(line)["timestamp"][:10] for line in lines}
        assert {name.removeprefix("litellm-traces-").removesuffix(".jsonl")} == days


@pytest.mark.long
def test_every_line_is_a_trace_line_with_an_id_of_its_own() -> None:
    found = calls(MOMENTS[0])
    schema = json.loads(files("prodlensd").joinpath(SCHEMA).read_text("utf-8"))
    validator = Draft202012Validator(schema)
    assert [] == [fault for call in found for fault in validator.iter_errors(call)]
    assert len(found) == len({(call["id"], call["litellm_call_id"]) for call in found})


def test_it_has_what_a_newcomer_is_to_see() -> None:
    found = calls(MOMENTS[0])
    assert 6 == len({call["metadata"]["developer_id"] for call in found})
    assert 5 == len({call["attributes"]["llm.model_name"] for call in found})
    failed = [call for call in found if call["attributes"]["status"] == "failure"]
    unpriced = [call for call in found if call["usage"] and not call["cost_usd"]]
    assert 0.01 < len(failed) / len(found) < 0.1
    assert {"azure/our-deployment"} == {call["attributes"]["llm.model_name"] for call in unpriced}
