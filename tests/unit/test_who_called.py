"""Who called, of one and the same call: as our callback writes it, and as LiteLLM's payload has it.

The two say the same, above all of what is verified and what is a claim.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from prodlensd import formats
from prodlensd.litellm_callback import Event
from prodlensd.model import Trace

Who = tuple[str | None, str | None]


def told(about: dict[str, Any], headers: dict[str, str]) -> list[Trace]:
    """The trace of the callback's line, and that of the payload."""
    payload = {
        "id": "chatcmpl-1",
        "litellm_call_id": "call-1",
        "startTime": 1_800_000_000.0,
        "endTime": 1_800_000_001.0,
        "status": "success",
        "call_type": "acompletion",
        "metadata": {"requester_custom_headers": headers} | about,
    }
    request = {"headers": headers, "body": {}, "url": "http://localhost"}
    kwargs = {
        "standard_logging_object": payload,
        "litellm_params": {"metadata": {}, "proxy_server_request": request},
    }
    line = Event(kwargs, payload["startTime"], payload["endTime"], "success").line()
    return [formats.parse(json.dumps(record).encode()) for record in (line, payload)]


USER, EMAIL = "user_api_key_user_id", "user_api_key_user_email"
CLAIM = {"requester_metadata": {"developer_id": "bob"}}

DEVELOPERS: list[tuple[dict[str, Any], dict[str, str], Who]] = [
    ({USER: "alice"}, {}, ("alice", "key_user")),
    ({USER: "alice"}, {"x-prodlens-developer": "eve"}, ("alice", "key_user")),
    ({USER: "eve"}, {"x-prodlens-developer": "eve"}, ("eve", "header")),
    ({USER: "eve"}, {"X-Employee": "eve"}, ("eve", "header")),
    ({USER: "eve"}, {"x-employee": " eve "}, ("eve", "header")),
    ({USER: " eve "}, {"x-employee": "eve"}, ("eve", "header")),
    ({USER: "eve"}, {"x-employee": "eve and more"}, ("eve", "key_user")),
    ({USER: 42}, {}, ("42", "key_user")),
    ({USER: 42}, {"x-employee": "42"}, ("42", "header")),
    ({EMAIL: "a@b.example"}, {}, ("a@b.example", "key_email")),
    ({EMAIL: "a@b.example"}, {"x-mail": "a@b.example"}, ("a@b.example", "header")),
    ({USER: "alice", EMAIL: "a@b.example"}, {"x-mail": "a@b.example"}, ("alice", "key_user")),
    ({USER: "default_user_id", EMAIL: "a@b.example"}, {}, ("a@b.example", "key_email")),
    ({USER: "default_user_id", EMAIL: "default_user_id"} | CLAIM, {}, ("bob", "metadata")),
    ({USER: "default_user_id"}, {"x-employee": "default_user_id"}, (None, None)),
    ({USER: "", EMAIL: " "} | CLAIM, {}, ("bob", "metadata")),
    ({USER: "a" * 513} | CLAIM, {}, ("bob", "metadata")),
    ({USER: ["alice"], EMAIL: {"a": 1}} | CLAIM, {}, ("bob", "metadata")),
    ({USER: True} | CLAIM, {}, ("bob", "metadata")),
    (CLAIM, {"x-prodlens-developer": "eve"}, ("bob", "metadata")),
    ({"requester_metadata": {"developer_id": 7}}, {}, ("7", "metadata")),
    ({}, {"X-ProdLens-Developer": "bob"}, ("bob", "header")),
    ({}, {"x-prodlens-developer": " "}, (None, None)),
    ({"requester_custom_headers": None, USER: "alice"}, {}, ("alice", "key_user")),
    ({}, {}, (None, None)),
]


@pytest.mark.parametrize(("about", "headers", "expected"), DEVELOPERS)
def test_what_is_verified_and_what_is_a_claim_is_the_same_in_both(
    about: dict[str, Any], headers: dict[str, str], expected: Who
) -> None:
    found = [(trace.developer_id, trace.developer_via) for trace in told(about, headers)]
    assert found == [expected, expected]


SESSIONS = [
    {"x-litellm-session-id": "session-1"},
    {"X-LiteLLM-Trace-Id": "trace-1", "x-litellm-session-id": "session-1"},
    {"x-claude-code-session-id": "abcdefgh-1"},
    {"x-acme-session-id": "short", "x-session-id": "s"},
]


@pytest.mark.parametrize("headers", SESSIONS)
def test_the_session_of_a_header_is_the_same_in_both(headers: dict[str, str]) -> None:
    of_line, of_payload = (
        (trace.session_id, trace.session_via) for trace in told({USER: "alice"}, headers)
    )
    assert of_line == of_payload
    assert of_line[1] == "header"


@pytest.mark.parametrize(
    ("about", "headers"),
    [
        ({"requester_metadata": {"repo": "a/b"}}, {"x-prodlens-repo": "c/d"}),
        ({}, {"X-ProdLens-Repo": "a/b"}),
        ({"spend_logs_metadata": {"repo": "a/b"}}, {}),
        ({"spend_logs_metadata": {"repository": "a/b"}}, {}),
        ({"user_api_key_auth_metadata": {"repo": "a/b"}}, {}),
        ({"user_api_key_auth_metadata": {"repo_slug": "a/b"}}, {}),
    ],
)
def test_the_repository_is_the_same_in_both(about: dict[str, Any], headers: dict[str, str]) -> None:
    assert ["a/b", "a/b"] == [trace.repo_slug for trace in told(about, headers)]


@pytest.mark.parametrize(
    "about",
    [
        {"user_api_key_team_alias": "Core", "user_api_key_team_id": "t-1"},
        {"user_api_key_team_id": "t-1"},
        {"user_api_key_alias": "laptop", "user_api_key_hash": "ab" * 32},
        {"user_api_key_hash": "sk-1234"},
    ],
)
def test_what_the_key_says_is_the_same_in_both(about: dict[str, Any]) -> None:
    facts = ("team", "key_alias", "key_hash")
    of_line, of_payload = (json.loads(trace.details or "{}") for trace in told(about, {}))
    assert {name: of_line.get(name) for name in facts} == {
        name: of_payload.get(name) for name in facts
    }


def test_the_end_user_of_a_key_is_the_same_in_both() -> None:
    about = {"user_api_key_end_user_id": "customer-1"}
    assert ["customer-1", "customer-1"] == [trace.end_user for trace in told(about, {})]
