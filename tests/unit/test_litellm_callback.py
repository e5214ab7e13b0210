"""The hooks, called as LiteLLM calls them; tests/e2e has a real proxy do so."""

from __future__ import annotations

import ast
import asyncio
import errno
import importlib.util
import json
import logging
import os
import stat
import sys
import time
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from prodlensd import litellm_callback
from prodlensd.litellm_callback import MAX_TAGS, MAX_TEXT, TraceLogger

CANARY = "canary-which-nobody-may-log"
START = datetime(2026, 11, 22, 18, 0, 0, 123456, tzinfo=UTC)
END = START + timedelta(milliseconds=1234.5)

Kwargs = dict[str, Any]


@pytest.fixture(autouse=True)
def log_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "logs"
    monkeypatch.setenv("LITELLM_LOG_DIR", str(folder))
    return folder


def success(logger: TraceLogger, kwargs: Kwargs, end: object = END, answer: object = None) -> None:
    hook = logger.async_log_success_event
    asyncio.run(hook(kwargs=kwargs, response_obj=answer, start_time=START, end_time=end))


def failure(logger: TraceLogger, kwargs: Kwargs, end: object = END) -> None:
    hook = logger.async_log_failure_event
    asyncio.run(hook(kwargs=kwargs, response_obj=None, start_time=START, end_time=end))


def sync_success(logger: TraceLogger, kwargs: Kwargs) -> None:
    logger.log_success_event(kwargs=kwargs, response_obj=None, start_time=START, end_time=END)


def sync_failure(logger: TraceLogger, kwargs: Kwargs) -> None:
    logger.log_failure_event(kwargs=kwargs, response_obj=None, start_time=START, end_time=END)


SCHEMA = Draft202012Validator(
    json.loads(Path(litellm_callback.__file__).with_name("trace_line.schema.json").read_text())
)


def lines(folder: Path, *, of_sane_numbers: bool = True) -> list[dict[str, Any]]:
    """The lines written so far, each valid by the schema of the trace line.

    Out of its bounds may only be numbers with which LiteLLM was made to lie.
    """
    data = b"".join(path.read_bytes() for path in sorted(folder.glob("*.jsonl")))
    records = [json.loads(line, parse_constant=pytest.fail) for line in data.split(b"\n") if line]
    if of_sane_numbers:
        assert [error.message for record in records for error in SCHEMA.iter_errors(record)] == []
    return records


def line_of(folder: Path, kwargs: Kwargs, answer: object = None) -> dict[str, Any]:
    success(TraceLogger(), kwargs, answer=answer)
    (line,) = lines(folder)
    return line


def a_call(**payload: Any) -> Kwargs:
    """What LiteLLM 1.106.2 hands over for a chat, in short."""
    return {
        "litellm_call_id": "call-1",
        "start_time": START,
        "call_type": "acompletion",
        "completion_start_time": END,
        "litellm_params": {
            "metadata": {},
            "proxy_server_request": {"headers": {}, "body": {}, "url": "http://localhost"},
        },
        "standard_logging_object": {
            "id": "chatcmpl-1",
            "litellm_call_id": "call-1",
            "trace_id": "trace-1",
            "session_id": "",
            "call_type": "acompletion",
            "status": "success",
            "custom_llm_provider": "openai",
            "model": "openai/gpt-4o-mini",
            "model_group": "gpt-4o-mini",
            "stream": None,
            "cache_hit": None,
            "response_cost": 0.00123,
            "error_information": {"error_code": "", "error_class": ""},
            "metadata": {
                "usage_object": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
            },
            "request_tags": [],
            **payload,
        },
    }


def with_headers(kwargs: Kwargs, **headers: str) -> Kwargs:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    kwargs["litellm_params"]["proxy_server_request"]["headers"] = named
    return kwargs


def a_failed_call(code: str = "429", **payload: Any) -> Kwargs:
    error = {"error_code": code, "error_class": "RateLimitError"}
    zeros = {"prompt_tokens": 0, "total_tokens": 0, "prompt_tokens_details": {"cached_tokens": 0}}
    blank = {"usage_object": zeros}
    defaults = {
        "id": "call-1",
        "status": "failure",
        "error_information": error,
        "response_cost": 0.0,
        "metadata": blank,
    }
    return a_call(**{**defaults, **payload})


# The line -----------------------------------------------------------------------------------------


def test_a_call_becomes_one_whole_line(log_folder: Path) -> None:
    metadata = {
        "user_api_key_user_id": "alice",
        "user_api_key_alias": "alice-laptop",
        "user_api_key_team_id": "team-1",
        "user_api_key_team_alias": "Core",
        "requester_metadata": {"session_id": "s-1", "repo": "acme/web"},
        "usage_object": {
            "prompt_tokens": 141,
            "completion_tokens": 7,
            "total_tokens": 148,
            "prompt_tokens_details": {
                "cached_tokens": 100,
                "audio_tokens": None,
                "cache_creation_tokens": 30,
                "cache_creation_token_details": {
                    "ephemeral_5m_input_tokens": 20,
                    "ephemeral_1h_input_tokens": 10,
                },
            },
            "completion_tokens_details": {"reasoning_tokens": 3, "text_tokens": 4},
            "service_tier": "flex",
        },
    }
    headers = {
        "x-litellm-attempted-retries": 1,
        "x-litellm-attempted-fallbacks": 0,
    }
    kwargs = a_call(
        metadata=metadata,
        end_user="customer-9",
        request_tags=["nightly", "User-Agent: curl", "User-Agent: curl/8.0"],
        hidden_params={"additional_headers": headers},
        stream=True,
    )
    kwargs["completion_start_time"] = START + timedelta(milliseconds=210.1)

    assert line_of(log_folder, kwargs) == {
        "timestamp": "2026-11-22T18:00:00.123456Z",
        "id": "chatcmpl-1",
        "litellm_call_id": "call-1",
        "cost_usd": 0.00123,
        "attributes": {
            "llm.model_name": "openai/gpt-4o-mini",
            "provider": "openai",
            "call_type": "acompletion",
            "status": "success",
            "status_code": 200,
            "latency_ms": 1234.5,
            "ttft_ms": 210.1,
            "stream": True,
            "cache_hit": False,
            "service_tier": "flex",
            "model_group": "gpt-4o-mini",
            "attempted_retries": 1,
            "attempted_fallbacks": 0,
        },
        "usage": {
            "prompt_tokens": 141,
            "completion_tokens": 7,
            "total_tokens": 148,
            "prompt_tokens_details": {
                "cached_tokens": 100,
                "cache_creation_tokens": 30,
                "cache_creation_token_details": {
                    "ephemeral_5m_input_tokens": 20,
                    "ephemeral_1h_input_tokens": 10,
                },
            },
            "completion_tokens_details": {"reasoning_tokens": 3, "text_tokens": 4},
            "service_tier": "flex",
        },
        "metadata": {
            "session_id": "s-1",
            "session_via": "metadata",
            "developer_id": "alice",
            "developer_via": "key_user",
            "repo": "acme/web",
            "end_user": "customer-9",
            "team": "Core",
            "key_alias": "alice-laptop",
            "tags": ["nightly"],
        },
    }


@pytest.mark.parametrize("kwargs", [{}, {"standard_logging_object": None}, None, "nonsense", []])
def test_a_report_of_nothing_still_leaves_a_line(log_folder: Path, kwargs: Any) -> None:
    line = line_of(log_folder, kwargs)
    assert line["attributes"]["status"] == "success"
    assert line["timestamp"] == "2026-11-22T18:00:00.123456Z"
    assert line["usage"] == {}


def test_without_a_payload_the_line_says_what_the_arguments_say(log_folder: Path) -> None:
    kwargs = a_call()
    kwargs["standard_logging_object"] = None
    kwargs |= {"model": "gpt-4o-mini", "custom_llm_provider": "openai", "response_cost": 0.5}
    line = line_of(log_folder, kwargs)
    assert (line["litellm_call_id"], line["cost_usd"]) == ("call-1", 0.5)
    assert line["attributes"]["llm.model_name"] == "gpt-4o-mini"


def test_latency_counts_from_the_request_and_not_from_the_first_byte(log_folder: Path) -> None:
    kwargs = a_call(startTime=(END - timedelta(milliseconds=10)).timestamp())
    assert line_of(log_folder, kwargs)["attributes"]["latency_ms"] == 1234.5


def test_datetimes_without_a_zone_are_local_time(log_folder: Path) -> None:
    kwargs = a_call()
    kwargs["start_time"] = START.astimezone().replace(tzinfo=None)
    success(TraceLogger(), kwargs, end=END.astimezone().replace(tzinfo=None))
    (line,) = lines(log_folder)
    assert line["timestamp"] == "2026-11-22T18:00:00.123456Z"
    assert line["attributes"]["latency_ms"] == 1234.5


@pytest.mark.parametrize(("stream", "first_token"), [(None, START), (True, END)])
def test_a_first_token_that_litellm_did_not_measure_is_left_out(
    log_folder: Path, stream: bool | None, first_token: datetime
) -> None:
    kwargs = a_call(stream=stream)
    kwargs["completion_start_time"] = first_token
    assert "ttft_ms" not in line_of(log_folder, kwargs)["attributes"]


def test_an_end_before_the_start_is_no_latency(log_folder: Path) -> None:
    success(TraceLogger(), a_call(), end=START - timedelta(seconds=1))
    (line,) = lines(log_folder)
    assert "latency_ms" not in line["attributes"]


# Outcomes -----------------------------------------------------------------------------------------


def test_a_failure_says_its_status_and_class_and_claims_no_tokens(log_folder: Path) -> None:
    failure(TraceLogger(), a_failed_call("429"))
    (line,) = lines(log_folder)
    attributes = line["attributes"]
    assert (attributes["status"], attributes["status_code"]) == ("failure", 429)
    assert attributes["error_class"] == "RateLimitError"
    assert line["usage"] == {}
    assert line["cost_usd"] == 0.0


def test_a_failure_in_mid_stream_keeps_the_tokens_it_had(log_folder: Path) -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
    failure(TraceLogger(), a_failed_call("", metadata={"usage_object": usage}))
    (line,) = lines(log_folder)
    assert line["usage"] == usage
    assert "status_code" not in line["attributes"]


def test_the_status_of_a_refusal_is_taken_from_the_exception_if_nowhere_else(
    log_folder: Path,
) -> None:
    class ProxyError(Exception):
        code = "401"

    failure(TraceLogger(), a_failed_call("") | {"exception": ProxyError(CANARY)})
    (line,) = lines(log_folder)
    assert line["attributes"]["status_code"] == 401


def test_a_client_that_went_away_is_a_success_with_status_499(log_folder: Path) -> None:
    error = {"error_code": "499", "error_class": "ClientDisconnected"}
    attributes = line_of(log_folder, a_call(error_information=error))["attributes"]
    assert (attributes["status"], attributes["status_code"]) == ("success", 499)


def test_a_cached_answer_is_marked_and_costs_what_litellm_says(log_folder: Path) -> None:
    line = line_of(log_folder, a_call(cache_hit=True, response_cost=0.0))
    assert line["attributes"]["cache_hit"] is True
    assert line["cost_usd"] == 0.0


def test_a_failed_attempt_and_the_answer_after_it_are_two_lines(log_folder: Path) -> None:
    logger = TraceLogger()
    failure(logger, a_failed_call())
    success(logger, a_call())
    assert [line["attributes"]["status"] for line in lines(log_folder)] == ["failure", "success"]


def test_a_failed_stream_is_known_by_its_request(log_folder: Path) -> None:
    kwargs = a_failed_call()
    kwargs["litellm_params"]["proxy_server_request"]["body"] = {"stream": True}
    failure(TraceLogger(), kwargs)
    (line,) = lines(log_folder)
    assert line["attributes"]["stream"] is True


# Usage --------------------------------------------------------------------------------------------


def usage_of(folder: Path, usage: object, **more: Any) -> Any:
    """The usage object that is written when LiteLLM hands over this one."""
    success(TraceLogger(), a_call(metadata={"usage_object": usage}), **more)
    (line,) = lines(folder, of_sane_numbers=False)
    return line["usage"]


@pytest.mark.parametrize(
    "usage",
    [
        {
            "input_tokens": 10,
            "cache_creation": {"ephemeral_1h_input_tokens": 40, "ephemeral_12h_input_tokens": 0},
            "server_tool_use": {"web_search_requests": 3},
            "iterations": [
                {"type": "message", "input_tokens": 9, "cache_creation": {"ephemeral_1h": 1}},
                {"type": "compaction", "model": "claude-haiku-4-5"},
            ],
            "inference_geo": "us",
            "speed": "fast",
            "service_tier": "priority",
        },
        {
            "promptTokenCount": 4061,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 4000},
                {"modality": "AUDIO", "tokenCount": 61},
            ],
            "trafficType": "ON_DEMAND_FLEX",
        },
        {
            "prompt_tokens": 0,
            "cost": 0.25,
            "cost_details": {"upstream_inference_cost": 0.0},
            "is_byok": False,
            "cost_in_usd_ticks": 2**63 - 1,
            "num_sources_used": 2,
            "a-name.of:2027": -1.5,
        },
    ],
)
def test_every_number_flag_and_short_word_of_the_usage_is_written_where_it_stands(
    log_folder: Path, usage: Kwargs
) -> None:
    assert usage_of(log_folder, usage) == usage


def test_what_is_null_or_empty_in_the_usage_is_nothing(log_folder: Path) -> None:
    usage: Kwargs = {
        "prompt_tokens": 1,
        "speed": None,
        "note": " ",
        "iterations": [],
        "details": {"audio_tokens": None, "list": [None, {}]},
        "a name that is none": None,
    }
    assert usage_of(log_folder, usage) == {"prompt_tokens": 1}


SENTENCE = f"{CANARY} is what was said"


@pytest.mark.parametrize(
    "value",
    [
        *(SENTENCE, "w" * 65, "wörd", "a/b", "word\n", b"bytes", object(), {1, 2}, START),
        *(2**63, -(2**63) - 1, float("nan"), float("inf"), [1] * 33),
    ],
)
def test_what_cannot_be_written_of_the_usage_leaves_a_mark(log_folder: Path, value: object) -> None:
    usage = {"prompt_tokens": 1, "novel": value, "list": [2, value]}
    expected = {"prompt_tokens": 1, "novel": True, "list": [2, True]}
    assert usage_of(log_folder, usage) == expected


@pytest.mark.parametrize("name", [SENTENCE, "n" * 65, "näme", "", 7, None, ("a",)])
def test_entries_that_cannot_be_named_leave_a_mark_in_their_object(
    log_folder: Path, name: object
) -> None:
    usage = {"prompt_tokens": 1, "details": {"good": 2, name: 3}}
    expected = {"prompt_tokens": 1, "details": {"good": 2, "more": True}}
    assert usage_of(log_folder, usage) == expected


@pytest.mark.parametrize(("count", "written"), [(64, 64), (65, 63)])
def test_an_object_of_too_many_entries_says_that_there_are_more(
    log_folder: Path, count: int, written: int
) -> None:
    many = {f"n{number}": number for number in range(count)}
    details = usage_of(log_folder, {"details": many})["details"]
    assert details.pop("more", False) is (written < count)
    assert details == {f"n{number}": number for number in range(written)}


def test_five_levels_are_written_and_of_a_sixth_that_it_is_there(log_folder: Path) -> None:
    fifth = {"number": 5, "list": [6], "object": {"number": 6}}
    written = {"number": 5, "list": True, "object": True}
    usage = usage_of(log_folder, {"second": [{"fourth": {"fifth": fifth}}]})
    assert usage == {"second": [{"fourth": {"fifth": written}}]}


@pytest.mark.parametrize("usage", [SENTENCE, [SENTENCE], 7, object()])
def test_a_usage_that_is_no_object_leaves_a_mark(log_folder: Path, usage: object) -> None:
    assert usage_of(log_folder, usage) == {"more": True}


def test_a_usage_that_holds_itself_or_is_huge_is_a_line_of_bounded_length(
    log_folder: Path,
) -> None:
    cyclic: Kwargs = {}
    cyclic |= {f"{'n' * 60}{number}": cyclic for number in range(50)}
    ring: list[Any] = []
    ring += [ring] * 30
    wide = {f"n{number}": {f"m{number}": number for number in range(64)} for number in range(64)}
    huge: list[Kwargs] = [cyclic, {"ring": ring}, wide, dict.fromkeys(map(str, range(10**5)), 1)]
    for number, usage in enumerate(huge):
        kwargs = a_call(metadata={"usage_object": {"prompt_tokens": 1, **usage}})
        success(TraceLogger(), kwargs | {"litellm_call_id": f"call-{number}"})
    (path,) = log_folder.iterdir()
    data = path.read_bytes().splitlines()
    assert len(data) == 4
    assert max(map(len, data)) < 2**17
    assert all(json.loads(line)["usage"]["prompt_tokens"] == 1 for line in data)
    assert all(b"true" in line.partition(b'"usage"')[2] for line in data)


class Pydantic:
    """Stands for LiteLLM's objects: models of pydantic's with fields they do not declare."""

    __slots__ = ("__dict__", "__pydantic_extra__", "_hidden_params")
    model_fields: ClassVar[Kwargs] = {}

    def __init__(self, extra: Kwargs | None = None, **declared: object) -> None:
        vars(self).update(declared)
        self.__pydantic_extra__ = extra
        self._hidden_params: Kwargs = {}


def test_objects_of_pydantic_are_read_like_dicts(log_folder: Path) -> None:
    tools = Pydantic(web_search_requests=3, tool_search_requests=None)
    usage = Pydantic({"speed": "fast", "note": SENTENCE}, prompt_tokens=1, server_tool_use=tools)
    assert usage_of(log_folder, usage) == {
        "prompt_tokens": 1,
        "server_tool_use": {"web_search_requests": 3},
        "speed": "fast",
        "note": True,
    }


CHAT_USAGE = {"prompt_tokens": 51, "completion_tokens": 7, "total_tokens": 58}
ANSWERED_USAGE = {
    "input_tokens": 11,
    "output_tokens": 7,
    "input_tokens_details": {"cached_tokens": 40},
    "speed": "fast",
    "server_tool_use": {"web_search_requests": 3},
    "cost_in_usd_ticks": 25,
}
LOST = {name: ANSWERED_USAGE[name] for name in ("speed", "server_tool_use", "cost_in_usd_ticks")}


@pytest.mark.parametrize(
    ("answer", "response"),
    [
        (Pydantic(usage=Pydantic(ANSWERED_USAGE)), None),
        ({"usage": ANSWERED_USAGE}, None),
        (None, {"usage": ANSWERED_USAGE}),
        (None, {"usage": ANSWERED_USAGE, "usageMetadata": {"speed": "slow"}}),
    ],
)
def test_what_litellm_lost_of_the_usage_is_taken_from_the_answer_but_no_second_counts(
    log_folder: Path, answer: object, response: object
) -> None:
    kwargs = a_call(metadata={"usage_object": {**CHAT_USAGE, "speed": None}}, response=response)
    assert line_of(log_folder, kwargs, answer)["usage"] == CHAT_USAGE | LOST


def test_what_litellm_says_of_the_usage_comes_before_the_answer(log_folder: Path) -> None:
    kwargs = a_call(metadata={"usage_object": {**CHAT_USAGE, "speed": "standard"}})
    usage = line_of(log_folder, kwargs, {"usage": ANSWERED_USAGE})["usage"]
    assert usage["speed"] == "standard"


def test_without_a_usage_object_the_counts_are_the_answers(log_folder: Path) -> None:
    kwargs = a_call(metadata={}, response={"usage": ANSWERED_USAGE})
    assert line_of(log_folder, kwargs)["usage"] == ANSWERED_USAGE


def test_the_traffic_type_of_gemini_is_found_where_litellm_moves_it(log_folder: Path) -> None:
    answer = Pydantic(usage=Pydantic(CHAT_USAGE))
    answer._hidden_params = {"provider_specific_fields": {"traffic_type": "ON_DEMAND_FLEX"}}
    usage = line_of(log_folder, a_call(metadata={"usage_object": CHAT_USAGE}), answer)["usage"]
    assert usage == CHAT_USAGE | {"trafficType": "ON_DEMAND_FLEX"}


@pytest.mark.parametrize("count", [2**63, float("nan"), SENTENCE])
def test_a_failure_with_a_count_that_cannot_be_written_does_not_claim_none(
    log_folder: Path, count: object
) -> None:
    usage = {"prompt_tokens": count, "completion_tokens": 0}
    failure(TraceLogger(), a_failed_call(metadata={"usage_object": usage}))
    (line,) = lines(log_folder, of_sane_numbers=False)
    assert line["usage"] == {"prompt_tokens": True, "completion_tokens": 0}


def test_a_failure_of_zeros_claims_no_tokens_whatever_stands_beside_them(log_folder: Path) -> None:
    usage = {"prompt_tokens": 0, "service_tier": "priority", "cost": 0.0, "is_byok": False}
    failure(TraceLogger(), a_failed_call(metadata={"usage_object": usage}))
    (line,) = lines(log_folder)
    assert line["usage"] == {}
    assert line["attributes"]["service_tier"] == "priority"


@pytest.mark.parametrize(
    ("said", "asked", "expected"),
    [
        (None, "fast", "fast"),
        ("standard", "fast", None),
        (None, 1.25, None),  # of a voice
        (None, SENTENCE, None),
    ],
)
@pytest.mark.parametrize("place", ["model_parameters", "optional_params", "body"])
def test_the_speed_that_was_asked_for_is_written_where_the_usage_does_not_say_it(
    log_folder: Path, place: str, said: object, asked: object, expected: str | None
) -> None:
    kwargs = a_call(metadata={"usage_object": {"prompt_tokens": 1, "speed": said}})
    {
        "model_parameters": kwargs["standard_logging_object"].setdefault("model_parameters", {}),
        "optional_params": kwargs.setdefault("optional_params", {}),
        "body": kwargs["litellm_params"]["proxy_server_request"]["body"],
    }[place]["speed"] = asked
    assert line_of(log_folder, kwargs)["attributes"].get("speed") == expected


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"aws_region_name": "eu-west-2"}, "eu-west-2"),
        ({"vertex_location": "global"}, "global"),
        ({"vertex_ai_location": "us-east5"}, "us-east5"),
        ({"region_name": "eu", "api_base": "https://us.api.openai.com/v1"}, "eu"),
        ({"aws_region_name": "os.environ/AWS_REGION"}, None),
        ({"api_base": "https://bedrock-runtime.us-gov-west-1.amazonaws.com/m/x"}, "us-gov-west-1"),
        ({"api_base": "https://bedrock-runtime-fips.us-east-1.amazonaws.com"}, "us-east-1"),
        ({"api_base": "https://europe-west4-aiplatform.googleapis.com/v1"}, "europe-west4"),
        ({"api_base": "https://aiplatform.googleapis.com/v1/projects/x"}, "global"),
        ({"api_base": "https://EU.api.openai.com:443/v1?key=x"}, "eu"),
        ({"api_base": "https://api.openai.com/v1"}, None),
        ({"api_base": f"https://{CANARY}.api.openai.com/v1"}, None),
        ({"api_base": f"https://eu.api.openai.com@{CANARY}.example/eu.api.openai.com"}, None),
        ({"api_base": f"https://{CANARY}.example/?u=https://eu.api.openai.com/"}, None),
        ({"api_base": "https://[half"}, None),
        ({"api_base": ["https://eu.api.openai.com"]}, None),
    ],
)
def test_the_region_is_the_one_asked_for_or_in_the_name_of_the_host(
    log_folder: Path, params: Kwargs, expected: str | None
) -> None:
    for number, place in enumerate(("litellm_params", "optional_params")):
        kwargs = a_call(api_base=params.get("api_base")) | {"litellm_call_id": f"call-{number}"}
        kwargs[place] = {**kwargs.get(place, {}), **params}
        success(TraceLogger(), kwargs)
    assert [line["attributes"].get("region") for line in lines(log_folder)] == [expected] * 2
    assert CANARY not in "".join(path.read_text() for path in log_folder.iterdir())


def test_the_region_that_was_priced_is_written_if_none_was_asked_for(log_folder: Path) -> None:
    line = line_of(log_folder, a_call(cost_breakdown={"vertex_location": "us-east5"}))
    assert line["attributes"]["region"] == "us-east5"


# Twins and echoes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_an_event_reported_to_both_hooks_is_written_once(
    log_folder: Path, order: tuple[int, int]
) -> None:
    logger = TraceLogger()
    hooks = (success, sync_success)
    for position, index in enumerate(order):
        hooks[index](logger, a_call(id=f"id-{position}"))
    (line,) = lines(log_folder)
    assert line["id"] == "id-0"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_failure_reported_to_both_hooks_is_written_once(
    log_folder: Path, order: tuple[int, int]
) -> None:
    logger = TraceLogger()
    hooks = (failure, sync_failure)
    for index in order:
        hooks[index](logger, a_failed_call())
    assert len(lines(log_folder)) == 1


def test_a_call_of_the_sdk_without_a_proxy_is_written_by_the_sync_hook(log_folder: Path) -> None:
    kwargs = a_call(call_type="completion")
    kwargs["litellm_params"] = {"metadata": {"session_id": "s-1", "repo": "acme/web"}}
    sync_success(TraceLogger(), kwargs)
    (line,) = lines(log_folder)
    assert line["metadata"]["session_id"] == "s-1"
    assert line["metadata"]["repo"] == "acme/web"


def test_two_calls_for_which_a_client_chose_one_call_id_are_two_lines(log_folder: Path) -> None:
    logger = TraceLogger()
    success(logger, a_call())
    success(logger, a_call() | {"start_time": START + timedelta(microseconds=1)})
    assert len(lines(log_folder)) == 2


def test_calls_without_a_call_id_are_all_written(log_folder: Path) -> None:
    logger = TraceLogger()
    for _ in range(2):
        success(logger, a_call(litellm_call_id=None) | {"litellm_call_id": None})
    assert len(lines(log_folder)) == 2


def test_of_a_bridged_response_only_the_inner_call_is_written(log_folder: Path) -> None:
    logger = TraceLogger()
    inner = a_call(call_type="acompletion", custom_llm_provider="anthropic")
    outer = a_call(call_type="aresponses", custom_llm_provider=None, response_cost=9.0)
    outer["start_time"] = START - timedelta(milliseconds=3)
    sync_success(logger, outer)  # LiteLLM 1.80.0 calls the hooks in this order
    success(logger, inner)
    success(logger, outer)
    (line,) = lines(log_folder)
    assert line["cost_usd"] == 0.00123


def test_a_bridged_response_without_an_inner_report_is_written(log_folder: Path) -> None:
    logger = TraceLogger()
    outer = a_call(call_type="aresponses", custom_llm_provider=None)
    sync_success(logger, outer)
    success(logger, outer)
    assert len(lines(log_folder)) == 1


def test_what_was_written_is_remembered_in_bounded_memory(
    log_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(litellm_callback, "REMEMBERED", 10)
    logger = TraceLogger()
    for number in range(30):
        success(logger, a_call() | {"litellm_call_id": f"call-{number}"})
    assert len(lines(log_folder)) == 30
    assert len(logger._written) == 10


# Who and where ------------------------------------------------------------------------------------

CLAUDE_USER = {"device_id": "d", "account_uuid": "", "session_id": "s-claude"}


@pytest.mark.parametrize(
    ("payload", "headers", "expected"),
    [
        ({"session_id": "s-1"}, {"x_litellm_session_id": "s-2"}, ("s-1", "gateway")),
        ({}, {"x_litellm_trace_id": "s-1", "x_litellm_session_id": "s-2"}, ("s-1", "header")),
        ({}, {"x_claude_code_session_id": "s-1234567"}, ("s-1234567", "header")),
        ({}, {"x_claude_code_session_id": "short"}, ("trace-1", "trace_id")),
        ({}, {"user_agent": "codex_cli_rs/1", "session_id": "s-1"}, ("s-1", "header")),
        ({}, {"user_agent": "curl", "session-id": "s-1"}, ("trace-1", "trace_id")),
        ({}, {"x_session_id": "s-1"}, ("s-1", "header")),
        ({"end_user": json.dumps(CLAUDE_USER)}, {}, ("s-claude", "user_id")),
        ({"end_user": "user_ab_account_cd_session_s-1"}, {}, ("s-1", "user_id")),
        ({"end_user": "{" * 900}, {}, ("trace-1", "trace_id")),
        (
            {"metadata": {"requester_metadata": {"user_id": CLAUDE_USER}}},
            {},
            ("s-claude", "user_id"),
        ),
        ({"metadata": {"requester_metadata": {"session_id": 7}}}, {}, ("7", "metadata")),
    ],
)
def test_the_session_is_found_where_clients_put_it(
    log_folder: Path, payload: Kwargs, headers: dict[str, str], expected: tuple[str, str]
) -> None:
    who = line_of(log_folder, with_headers(a_call(**payload), **headers))["metadata"]
    assert (who["session_id"], who["session_via"]) == expected


def test_the_session_in_the_body_comes_before_the_trace_id(log_folder: Path) -> None:
    kwargs = a_call()
    kwargs["litellm_params"]["litellm_session_id"] = "s-1"
    who = line_of(log_folder, kwargs)["metadata"]
    assert (who["session_id"], who["session_via"]) == ("s-1", "body")


@pytest.mark.parametrize(
    ("metadata", "headers", "expected"),
    [
        ({"user_api_key_user_id": "alice"}, {"x_prodlens_developer": "eve"}, ("alice", "key_user")),
        ({"user_api_key_user_id": "eve"}, {"x_prodlens_developer": "eve"}, ("eve", "header")),
        ({"user_api_key_user_id": "eve"}, {"x_employee": "eve"}, ("eve", "header")),
        (
            {"user_api_key_user_id": "default_user_id", "user_api_key_user_email": "a@b.example"},
            {},
            ("a@b.example", "key_email"),
        ),
        ({"requester_metadata": {"developer_id": "bob"}}, {}, ("bob", "metadata")),
        ({}, {"X_ProdLens_Developer": "bob"}, ("bob", "header")),
        ({"user_api_key_user_id": "default_user_id"}, {}, (None, None)),
    ],
)
def test_a_developer_is_verified_or_merely_claimed(
    log_folder: Path,
    metadata: Kwargs,
    headers: dict[str, str],
    expected: tuple[str | None, str | None],
) -> None:
    who = line_of(log_folder, with_headers(a_call(metadata=metadata), **headers))["metadata"]
    assert (who.get("developer_id"), who.get("developer_via")) == expected


@pytest.mark.parametrize(
    ("payload", "headers", "expected"),
    [
        ({"metadata": {"requester_metadata": {"repository": "a/b"}}}, {}, "a/b"),
        ({"metadata": {"requester_custom_headers": {"X-ProdLens-Repo": "a/b"}}}, {}, "a/b"),
        ({}, {"x_prodlens_repo": "../etc"}, "../etc"),
        ({"metadata": {"spend_logs_metadata": {"repo_slug": "a/b"}}}, {}, "a/b"),
        ({"request_tags": ["repo:a/b"]}, {}, "a/b"),
        ({"metadata": {"user_api_key_auth_metadata": {"repo": "a/b"}}}, {}, "a/b"),
        ({}, {"x_prodlens_repo": "https://u:secret@git.example/a/b"}, "https://git.example/a/b"),
        ({}, {"x_prodlens_repo": "r" * 512}, "r" * 512),
        ({}, {"x_prodlens_repo": "r" * 513}, None),
        ({"metadata": {"requester_metadata": {"repo": ["a/b"]}}}, {}, None),
    ],
)
def test_the_repository_is_copied_as_it_was_sent_less_any_password(
    log_folder: Path, payload: Kwargs, headers: dict[str, str], expected: str | None
) -> None:
    who = line_of(log_folder, with_headers(a_call(**payload), **headers))["metadata"]
    assert who.get("repo") == expected


def test_tags_are_few_short_and_strings(log_folder: Path) -> None:
    tags = [1, None, CANARY * MAX_TEXT, "", *(f"tag-{number}" for number in range(99))]
    kept = line_of(log_folder, a_call(request_tags=tags))["metadata"]["tags"]
    assert kept == [f"tag-{number}" for number in range(MAX_TAGS)]


KEY_HASH = "0123456789abcdef" * 4


def test_the_hash_of_a_key_is_written(log_folder: Path) -> None:
    metadata = {"user_api_key_hash": KEY_HASH}
    assert line_of(log_folder, a_call(metadata=metadata))["metadata"]["key_hash"] == KEY_HASH


@pytest.mark.parametrize(
    "key",
    [
        f"sk-{CANARY}",
        CANARY,
        "litellm_proxy_master_key",
        KEY_HASH.upper(),
        f"{KEY_HASH}0",
        f"{KEY_HASH}\n",
        f"sk-{KEY_HASH}",
        KEY_HASH[1:],
        [KEY_HASH],
        None,
    ],
)
def test_a_key_that_is_not_hashed_is_not_written(log_folder: Path, key: object) -> None:
    success(TraceLogger(), a_call(metadata={"user_api_key_hash": key}))
    (line,) = lines(log_folder)
    assert "key_hash" not in line["metadata"]
    (path,) = log_folder.iterdir()
    written = path.read_text().lower()
    assert CANARY not in written
    assert KEY_HASH[1:] not in written
    assert "master_key" not in written


# Privacy ------------------------------------------------------------------------------------------


def test_nothing_that_is_not_asked_for_reaches_the_line(log_folder: Path) -> None:
    sentence = f"{CANARY} is no word"
    places: Kwargs = {
        "messages": [{"role": "user", "content": CANARY}],
        "response": {"choices": [{"message": {"content": CANARY}}], "service_tier": sentence},
        "model_parameters": {"tools": [{"name": CANARY}], "service_tier": sentence},
        "error_str": CANARY,
        "error_information": {
            "error_code": CANARY,
            "error_class": sentence,
            "error_message": CANARY,
            "traceback": CANARY,
        },
        "api_base": CANARY,
        "cache_key": CANARY,
        "user_agent": CANARY,
        "requester_ip_address": CANARY,
        "hidden_params": {"additional_headers": {"llm_provider-x": CANARY, CANARY: 1}},
        "request_tags": [f"User-Agent: {CANARY}"],
        "metadata": {
            "user_api_key_hash": CANARY,
            "requester_custom_headers": {"x-api-key": CANARY, CANARY: "1"},
            "requester_metadata": {"note": CANARY, "repo": {"deep": CANARY}, CANARY: 1},
            "usage_object": {"prompt_tokens": sentence, sentence: 1, "cost": [sentence]},
            "mcp_tool_call_metadata": {"arguments": CANARY},
            "user_api_key_auth_metadata": {"secret": CANARY},
        },
        CANARY: CANARY,
    }
    kwargs = with_headers(a_failed_call(**places), authorization=CANARY, cookie=CANARY)
    kwargs["litellm_params"]["proxy_server_request"]["body"] = {"messages": CANARY, "user": CANARY}
    kwargs["litellm_params"]["metadata"] = {"headers": {"authorization": CANARY}, "x": CANARY}
    kwargs["litellm_params"]["api_key"] = CANARY
    kwargs |= {
        "api_key": CANARY,
        "input": CANARY,
        "messages": CANARY,
        "exception": Exception(CANARY),
        "additional_args": {"complete_input_dict": CANARY},
        "original_response": CANARY,
        "optional_params": {"tools": CANARY},
    }
    failure(TraceLogger(), kwargs)
    (path,) = log_folder.iterdir()
    assert path.read_bytes().count(b"\n") == 1
    assert CANARY not in path.read_text()


def test_a_new_field_of_litellm_does_not_slip_into_the_line(log_folder: Path) -> None:
    """Each place of the payload in turn gets a canary for a value that does not belong there."""
    payload = a_call(stream=True)["standard_logging_object"]
    expected_texts = {
        *("id", "litellm_call_id", "trace_id", "session_id", "call_type"),
        *("custom_llm_provider", "model", "model_group"),
    }
    for key in payload:
        logger, kwargs = TraceLogger(), a_call()
        kwargs["standard_logging_object"][key] = {CANARY: [CANARY]}
        success(logger, kwargs)
        if key not in expected_texts:
            kwargs = a_call() | {"litellm_call_id": f"{key}-as-text"}
            kwargs["standard_logging_object"][key] = CANARY
            success(logger, kwargs)
    (path,) = log_folder.iterdir()
    assert CANARY not in path.read_text()


# Hostile values -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cost", [float("nan"), float("inf"), -float("inf"), 2**63, True, "1", [1]])
def test_a_cost_that_is_no_number_is_left_out(log_folder: Path, cost: object) -> None:
    assert "cost_usd" not in line_of(log_folder, a_call(response_cost=cost))


def test_a_line_is_ascii_whatever_the_names(log_folder: Path) -> None:
    model = "a\u2028b\u0085c\ud800d\x00e\nf"
    line = line_of(log_folder, a_call(model=model))
    assert line["attributes"]["llm.model_name"] == model.replace("\ud800", "?")
    (path,) = log_folder.iterdir()
    data = path.read_bytes()
    assert data.isascii()
    assert data.count(b"\n") == 1


HOSTILE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.binary(max_size=5)
    | st.datetimes()
    | st.builds(object),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


def places_of(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, inner in value.items():
        yield (*path, key)
        if isinstance(inner, dict):
            yield from places_of(inner, (*path, key))


RICH_CALL = a_call(
    metadata={
        "usage_object": {"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 0}},
        "requester_metadata": {"session_id": "s", "user_id": "u", "repo": "r", "developer_id": "d"},
        "requester_custom_headers": {"x-prodlens-repo": "r"},
        "spend_logs_metadata": {"repo": "r"},
        "user_api_key_user_id": "u",
        "user_api_key_auth_metadata": {"repo": "r"},
    },
    hidden_params={"additional_headers": {"x-litellm-attempted-retries": 0}, "usage_object": {}},
    response={"service_tier": "t"},
    startTime=0.0,
    endTime=1.0,
    completionStartTime=0.5,
    end_user="e",
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    changes=st.dictionaries(st.sampled_from(sorted(places_of(RICH_CALL))), HOSTILE, max_size=6),
    start=HOSTILE,
    end=HOSTILE,
)
def test_any_value_anywhere_leaves_one_valid_line_and_raises_nothing(
    log_folder: Path, changes: dict[tuple[str, ...], Any], start: Any, end: Any
) -> None:
    kwargs = deepcopy(RICH_CALL)
    for path, value in sorted(changes.items(), key=lambda change: -len(change[0])):
        place = kwargs
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
    before = len(lines(log_folder, of_sane_numbers=False))
    logger = TraceLogger()
    hook = logger.async_log_success_event
    asyncio.run(hook(kwargs=kwargs, response_obj=None, start_time=start, end_time=end))
    after = lines(log_folder, of_sane_numbers=False)
    assert len(after) == before + 1
    assert set(after[-1]) <= {
        *("timestamp", "id", "litellm_call_id", "cost_usd", "attributes", "usage", "metadata")
    }
    datetime.strptime(after[-1]["timestamp"], "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


@pytest.mark.parametrize("moment", [datetime.min, datetime.max, 1e300, -1, float("nan")])  # noqa: DTZ901
def test_a_moment_beyond_all_clocks_is_unknown(log_folder: Path, moment: object) -> None:
    line = line_of(log_folder, a_call() | {"start_time": moment, "completion_start_time": moment})
    assert line["timestamp"] == "2026-11-22T18:00:00.123456Z"


def test_an_object_that_raises_costs_a_warning_and_no_request(
    log_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Trap(dict[str, Any]):
        def get(self, *_: object) -> object:
            raise RuntimeError(CANARY)

    success(TraceLogger(), Trap())
    assert "1 trace line(s) not written: RuntimeError" in caplog.text
    assert CANARY not in caplog.text
    assert not log_folder.exists()


# The file -----------------------------------------------------------------------------------------


def test_each_event_is_one_write_to_a_file_only_the_user_may_read(
    log_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[bytes] = []
    write = os.write

    def recorded_write(file: int, data: bytes) -> int:
        writes.append(data)
        return write(file, data)

    monkeypatch.setattr(os, "write", recorded_write)
    logger = TraceLogger()
    for number in range(3):
        success(logger, a_call() | {"litellm_call_id": f"call-{number}"})
    (path,) = log_folder.iterdir()
    assert path.read_bytes().splitlines(keepends=True) == writes
    assert len(writes) == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(log_folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("folder_mode", "file_mode"),
    [(0o2770, 0o640), (0o2750, 0o640), (0o770, 0o600), (0o2700, 0o600), (0o2730, 0o600)],
)
def test_a_file_is_for_the_group_too_where_its_folder_hands_on_a_group_that_may_read(
    log_folder: Path, folder_mode: int, file_mode: int
) -> None:
    log_folder.mkdir()
    log_folder.chmod(folder_mode)
    success(TraceLogger(), a_call())
    (path,) = log_folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == file_mode
    assert stat.S_IMODE(log_folder.stat().st_mode) == folder_mode


def test_the_file_is_named_for_the_utc_day_of_writing(log_folder: Path) -> None:
    days = {datetime.now(UTC).date()}
    success(TraceLogger(), a_call())
    days.add(datetime.now(UTC).date())
    (path,) = log_folder.iterdir()
    assert path.name in {f"litellm-traces-{day}.jsonl" for day in days}


def test_a_file_that_was_rotated_away_is_made_anew(log_folder: Path) -> None:
    logger = TraceLogger()
    success(logger, a_call())
    (path,) = log_folder.iterdir()
    path.rename(path.with_suffix(".1"))
    success(logger, a_call() | {"litellm_call_id": "call-2"})
    assert path.read_bytes().count(b"\n") == 1


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"LITELLM_LOG_DIR": "~/traces"}, "HOME/traces"),
        ({"PRODLENSD_HOME": "/srv/lens"}, "/srv/lens/logs"),
        ({}, "HOME/.local/share/prodlensd/logs"),
    ],
)
def test_lines_go_where_the_daemon_looks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environment: dict[str, str], expected: str
) -> None:
    for name in ("LITELLM_LOG_DIR", "PRODLENSD_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": str(tmp_path), **environment}.items():
        monkeypatch.setenv(name, value)
    assert str(litellm_callback.log_folder()) == expected.replace("HOME", str(tmp_path))


def test_a_full_disk_costs_a_warning_a_minute_and_no_request(
    log_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_file: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    logger = TraceLogger()
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(os, "write", full)
        for number in range(3):
            success(logger, a_call(model=CANARY) | {"litellm_call_id": f"call-{number}"})
        assert [record.args for record in caplog.records] == [(1, "No space left on device")]
        now += 60
        success(logger, a_call(model=CANARY) | {"litellm_call_id": "call-4"})
        assert [record.args for record in caplog.records][1:] == [(3, "No space left on device")]
    assert CANARY not in caplog.text

    success(logger, a_call() | {"litellm_call_id": "call-5"})
    assert len(lines(log_folder)) == 1


def test_a_folder_that_cannot_be_made_costs_a_warning_and_no_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("LITELLM_LOG_DIR", str(tmp_path / "file" / "logs"))
    success(TraceLogger(), a_call())
    assert "1 trace line(s) not written: Not a directory" in caplog.text


def test_after_a_short_write_the_next_line_stands_on_its_own(
    log_folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write = os.write
    logger = TraceLogger()
    success(logger, a_call())
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: write(file, data[: len(data) // 2]))
        success(logger, a_call() | {"litellm_call_id": "call-2"})
    success(logger, a_call() | {"litellm_call_id": "call-3"})
    (path,) = log_folder.iterdir()
    first, half, third = path.read_bytes().splitlines()
    assert [json.loads(line)["litellm_call_id"] for line in (first, third)] == ["call-1", "call-3"]
    with pytest.raises(ValueError, match="line 1"):
        json.loads(half)
    assert "1 trace line(s) not written" in caplog.text


# The module ---------------------------------------------------------------------------------------


def test_the_module_loads_as_a_copied_file_as_litellm_does_it(
    tmp_path: Path, log_folder: Path
) -> None:
    copied = tmp_path / "prodlensd_callback.py"
    copied.write_bytes(Path(litellm_callback.__file__).read_bytes())
    spec = importlib.util.spec_from_file_location("prodlensd_callback", copied)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)  # and not put into sys.modules
    assert "prodlensd_callback" not in sys.modules
    success(module.trace_logger, a_call())
    assert len(lines(log_folder)) == 1


def test_the_module_imports_only_litellm_and_the_standard_library() -> None:
    tree = ast.parse(Path(litellm_callback.__file__).read_text(encoding="utf-8"))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or "prodlensd"]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported - sys.stdlib_module_names == {"litellm"}
