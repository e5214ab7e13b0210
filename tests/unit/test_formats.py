"""What the formats of a gateway make of a line, and what they make of nonsense."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prodlensd import formats
from prodlensd.formats import fields, trace_line
from prodlensd.formats.decoding import decode
from prodlensd.model import BadLine, Trace, repo_slug

TIME = "2025-10-12T19:00:00Z"
TIME_US = 1_760_295_600_000_000
HASH = "0123456789abcdef" * 4


def line(**parts: Any) -> bytes:
    return json.dumps({"timestamp": TIME, "usage": {}} | parts).encode()


def payload(**parts: Any) -> bytes:
    return json.dumps(
        {
            "startTime": TIME_US / 1e6,
            "endTime": TIME_US / 1e6 + 1.5,
            "status": "success",
            "call_type": "acompletion",
        }
        | parts
    ).encode()


def quickly(line: bytes) -> Trace | None:
    """A trace line read as strict JSON, where it can be."""
    return trace_line.parse_strict(line) or carefully(line)


def carefully(line: bytes) -> Trace | None:
    """A trace line read from an object of any types."""
    return trace_line.parse(decode(line))


def test_a_new_format_may_stand_anywhere_in_the_list() -> None:
    """Whoever adds a line to FORMATS need not know which formats are tried first."""
    source = inspect.getsource(formats)
    first = '    "trace_line": trace_line.parse,\n'
    assert first in source
    asked: list[dict[str, Any]] = []
    module: dict[str, Any] = {"__name__": formats.__name__, "asked": asked}
    exec(source.replace(first, f'    "new": asked.append,\n{first}'), module)  # noqa: S102 - ours
    for known in (line(), payload()):
        assert formats.parse(known) == module["parse"](known)
    assert not asked  # the usual ones go first, as before
    with pytest.raises(BadLine):
        module["parse"](b"{}")
    assert [{}] == asked


def test_a_full_trace_line_fills_every_field() -> None:
    trace = formats.parse(
        line(
            id="chatcmpl-1",
            litellm_call_id="call-1",
            cost_usd=0.5,
            attributes={
                "llm.model_name": "anthropic/claude-sonnet-4-5",
                "provider": "anthropic",
                "call_type": "anthropic_messages",
                "status": "failure",
                "status_code": 429,
                "latency_ms": 12.5,
                "ttft_ms": 3,
                "stream": True,
                "cache_hit": False,
                "error_class": "RateLimitError",
                "service_tier": "flex",
                "model_group": "sonnet",
                "attempted_retries": 1,
                "attempted_fallbacks": 0,
                "prod_lens.accepted": True,
                "diff_ratio": 0.25,
                "accepted_lines": 7,
            },
            usage={
                "prompt_tokens": 100,
                "completion_tokens": 5,
                "total_tokens": 105,
                "prompt_tokens_details": {"cached_tokens": 30, "cache_creation_tokens": 20},
            },
            metadata={
                "session_id": "session_abc",
                "session_via": "header",
                "developer_id": "dev@example.com",
                "developer_via": "key_user",
                "repo": "git@github.com:acme/web.git",
                "end_user": "someone",
                "tags": ["a", "User-Agent: x", 1],
                "team": "core",
                "key_alias": "laptop",
                "key_hash": HASH,
            },
        )
    )
    assert trace._asdict() == {
        "started_us": TIME_US,
        "key": "call-1 chatcmpl-1",
        "call_id": None,
        "session_id": "abc",
        "session_via": "header",
        "developer_id": "dev@example.com",
        "developer_via": "key_user",
        "repo_slug": "acme/web",
        "model": "anthropic/claude-sonnet-4-5",
        "provider": "anthropic",
        "call_type": "anthropic_messages",
        "tokens_in": 100,
        "tokens_out": 5,
        "total_tokens": 105,
        "cache_read_tokens": 30,
        "cache_write_tokens": 20,
        "cache_write_1h_tokens": None,
        "reasoning_tokens": None,
        "audio_in_tokens": None,
        "audio_out_tokens": None,
        "latency_ms": 12.5,
        "ttft_ms": 3.0,
        "status": "failure",
        "status_code": 429,
        "cache_hit": False,
        "service_tier": "flex",
        "end_user": "someone",
        "tags": '["a","1"]',
        "accepted": True,
        "diff_ratio": 0.25,
        "accepted_lines": 7,
        "details": '{"attempted_fallbacks":0,"attempted_retries":1,"error_class":"RateLimitError",'
        f'"model_group":"sonnet","stream":true,"key_alias":"laptop","key_hash":"{HASH}",'
        '"team":"core"}',
        "gateway_nanousd": 500_000_000,
        "bill": None,
        "anomalies": (),
    }


def test_the_shortest_trace_line_says_a_time_and_nothing_else() -> None:
    trace = formats.parse(line())
    known = {name: value for name, value in trace._asdict().items() if value not in (None, ())}
    assert known == {"started_us": TIME_US, "status": "success", "cache_hit": False}


@pytest.mark.parametrize(
    ("part", "anomaly"),
    [
        ({"metadata": {"repo": "../../etc/passwd"}}, "repo_slug"),
        ({"metadata": {"session_id": ["x"]}}, "session_id"),
        ({"metadata": {"developer_id": "d" * 3000}}, "developer_id"),
        ({"attributes": {"latency_ms": -1}}, "latency_ms"),
        ({"attributes": {"latency_ms": "soon"}}, "latency_ms"),
        ({"attributes": {"status_code": 4.5}}, "status_code"),
        ({"cost_usd": -0.1}, "cost_usd"),
        ({"cost_usd": 1e300}, "cost_usd"),
        ({"cost_usd": True}, "cost_usd"),
    ],
)
def test_what_was_sent_and_cannot_be_used_is_left_out_and_counted(
    part: dict[str, Any], anomaly: str
) -> None:
    trace = formats.parse(line(**part))
    field = {"cost_usd": "gateway_nanousd"}.get(anomaly, anomaly)
    assert (getattr(trace, field), trace.anomalies) == (None, (anomaly,))


@pytest.mark.parametrize(
    ("attributes", "status"),
    [
        ({}, "success"),
        ({"status": "failure"}, "failure"),
        ({"status_code": 200}, "success"),
        ({"status_code": "429"}, "failure"),
        ({"error_class": "Timeout"}, "failure"),
        ({"status": "success", "status_code": 499}, "success"),
    ],
)
def test_the_outcome_is_as_logged_or_follows_from_the_http_status(
    attributes: dict[str, Any], status: str
) -> None:
    assert formats.parse(line(attributes=attributes)).status == status


@pytest.mark.parametrize(
    ("sent", "slug"),
    [
        ("acme/web", "acme/web"),
        (" acme/web ", "acme/web"),
        ("ACME/Web", "ACME/Web"),
        ("acme-labs/ml.toolkit", "acme-labs/ml.toolkit"),
        ("acme/web.git", "acme/web"),
        ("https://github.com/acme/web", "acme/web"),
        ("https://github.com/acme/web.git", "acme/web"),
        ("https://user:secret@github.com:8443/acme/web.git/", "acme/web"),
        ("ssh://git@github.com/acme/web.git", "acme/web"),
        ("git@github.com:acme/web.git", "acme/web"),
        ("acme", None),
        ("acme/web/extra", None),
        ("acme/..", None),
        ("./web", None),
        ("/etc/shadow", None),
        ("../../etc/passwd", None),
        ("acme\\web", None),
        ("acme/we b", None),
        ("acme/we\u2028b", None),
        ("acme/web\n", "acme/web"),
        ("acme/.git", None),
        ("https://gitlab.com/group/sub/web", None),
        ("x" * 600 + "/web", None),
        ("", None),
        (12345, None),
        (["acme/web"], None),
    ],
)
def test_a_repository_is_a_slug_or_nothing(sent: object, slug: str | None) -> None:
    assert repo_slug(sent) == slug


@pytest.mark.parametrize(
    ("sent", "session"),
    [
        ("session-abc123", "abc123"),
        ("session_abc123", "abc123"),
        ("abc", "abc"),
        ("session-", "session-"),
        (42, "42"),
        (42.0, "42"),
        (4.5, None),
        (float("nan"), None),
        ("  ", None),
        (True, None),
        (None, None),
    ],
)
def test_the_word_session_before_a_name_is_dropped(sent: object, session: str | None) -> None:
    assert fields.session_id(sent) == session


@pytest.mark.parametrize(
    ("sent", "session"),
    [
        (f"user_{'a' * 64}_account_11_session_22-33", "22-33"),
        ('{"device_id": "d", "account_uuid": "a", "session_id": "s-1"}', "s-1"),
        ({"session_id": "s-2"}, "s-2"),
        ("dev@example.com", None),
        ("{not json", None),
        ("[" * 100_000, None),
    ],
)
def test_claude_codes_user_id_holds_a_session(sent: object, session: str | None) -> None:
    assert fields.session_of_user(sent) == session


@pytest.mark.parametrize(
    ("sent", "us"),
    [
        (TIME, TIME_US),
        ("2025-10-12T19:00:00", TIME_US),
        ("2025-10-12 19:00:00+00:00", TIME_US),
        ("2025-10-12T21:00:00.000001+02:00", TIME_US + 1),
        ("2025-10-12T19:00:00.0000015Z", TIME_US + 2),
        ("2025-10-12t19:00:00z", TIME_US),
        (TIME_US / 1e6, TIME_US),
        (TIME_US // 1_000_000, TIME_US),
        ("2025-10-12", None),
        ("20251012", None),
        ("", None),
        (-1, None),
        (1e20, None),
        (True, None),
        (float("nan"), None),
        ("9999-12-31T23:59:59-23:59", None),
        ("0001-01-01T00:00:00+23:00", None),
    ],
)
def test_a_time_is_iso_8601_or_epoch_seconds(sent: object, us: int | None) -> None:
    assert fields.epoch_us(sent) == us


def test_keys_tell_every_pair_of_ids_apart() -> None:
    assert fields.identity("a", "bc") != fields.identity("ab", "c")
    for missing in ("", None, 1, "x y", "x\x1fy", "x" * 3000):
        assert fields.identity(missing, "id") is None
        assert fields.identity("id", missing) is None


def test_a_payloads_last_resorts_are_marked() -> None:
    trace = formats.parse(
        payload(trace_id="trace-1", prompt_tokens=3, completion_tokens=2, total_tokens=5)
    )
    assert (trace.session_id, trace.session_via) == ("trace-1", "trace_id")
    assert (trace.tokens_in, trace.tokens_out, trace.anomalies) == (3, 2, ("coarse_usage",))
    assert (trace.latency_ms, trace.status_code) == (1500.0, 200)


@pytest.mark.parametrize("wrong", [b"NaN", b"Infinity", b"-Infinity", b"1e400", b'"\\ud800"'])
def test_a_value_that_json_cannot_have_costs_that_value_and_not_the_line(wrong: bytes) -> None:
    of_line = formats.parse(
        b'{"timestamp": "%s", "cost_usd": %s, "usage": {"input_tokens": %s, "output_tokens": 7},'
        b' "attributes": {"latency_ms": %s, "provider": "openai"},'
        b' "metadata": {"team": "core", "unknown": %s}}'
        % (TIME.encode(), wrong, wrong, wrong, wrong)
    )
    assert of_line.started_us == TIME_US
    assert (of_line.provider, of_line.tokens_out, of_line.details) == (
        "openai",
        7,
        '{"team":"core"}',
    )
    assert of_line.tokens_in is None
    assert of_line.latency_ms is None
    assert of_line.gateway_nanousd is None
    assert of_line.anomalies == ("usage_type", "usage_unknown", "latency_ms", "cost_usd")
    of_payload = formats.parse(
        b'{"status": "success", "call_type": "acompletion", "startTime": %d, "response_cost": %s,'
        b' "endTime": %s, "model": "gpt-4o", "messages": [{"content": %s}], "metadata":'
        b' {"usage_object": {"prompt_tokens": %s, "completion_tokens": 7}}}'
        % (TIME_US // 1_000_000, wrong, wrong, wrong, wrong)
    )
    assert of_payload.started_us == TIME_US
    assert (of_payload.model, of_payload.tokens_out) == ("gpt-4o", 7)
    assert (of_payload.tokens_in, of_payload.latency_ms) == (None, None)
    assert of_payload.gateway_nanousd is None
    assert of_payload.anomalies == ("usage_type", "usage_unknown", "cost_usd")


def test_numbers_may_stand_in_quotes() -> None:
    of_line = formats.parse(
        line(
            cost_usd="0.5",
            usage={"input_tokens": "12", "output_tokens": "3"},
            attributes={"latency_ms": "12.5", "ttft_ms": "3", "status_code": "429"},
        )
    )
    assert (of_line.tokens_in, of_line.tokens_out, of_line.total_tokens) == (12, 3, 15)
    assert (of_line.latency_ms, of_line.ttft_ms, of_line.status_code) == (12.5, 3.0, 429)
    assert (of_line.gateway_nanousd, of_line.anomalies) == (500_000_000, ())
    of_payload = formats.parse(
        payload(
            response_cost="0.5",
            metadata={"usage_object": {"prompt_tokens": "12", "completion_tokens": "3"}},
            error_information={"error_code": "499"},
        )
    )
    assert (of_payload.tokens_in, of_payload.tokens_out, of_payload.total_tokens) == (12, 3, 15)
    assert (of_payload.gateway_nanousd, of_payload.status_code) == (500_000_000, 499)
    assert of_payload.anomalies == ()


@pytest.mark.parametrize("missing", [{}, None, [], "", 0, False, "text"])
def test_a_part_that_is_missing_or_no_object_costs_what_it_would_have_said(missing: object) -> None:
    of_line = formats.parse(line(attributes=missing, metadata=missing))
    assert of_line == formats.parse(line())
    of_payload = formats.parse(payload(metadata=missing, error_information=missing))
    assert of_payload == formats.parse(payload())


def test_what_a_later_version_adds_is_ignored() -> None:
    more = {"schema_version": 9, "new": {"deep": ["er"]}}
    of_line = formats.parse(
        line(attributes={"provider": "openai"} | more, metadata={"team": "core"} | more, **more)
    )
    expected = line(attributes={"provider": "openai"}, metadata={"team": "core"})
    assert of_line == formats.parse(expected)
    about: dict[str, Any] = {"usage_object": {"prompt_tokens": 1}}
    of_payload = formats.parse(payload(metadata=about | more, **more))
    assert of_payload == formats.parse(payload(metadata=about))


def test_the_shared_default_user_of_a_proxy_is_nobody() -> None:
    about = {"user_api_key_user_id": "default_user_id", "requester_metadata": {"developer_id": "d"}}
    trace = formats.parse(payload(metadata=about))
    assert (trace.developer_id, trace.developer_via) == ("d", "metadata")


def test_the_hash_of_a_key_is_kept() -> None:
    for trace in (
        formats.parse(payload(metadata={"user_api_key_hash": HASH})),
        formats.parse(line(metadata={"key_hash": HASH})),
    ):
        assert trace.details == f'{{"key_hash":"{HASH}"}}'


@pytest.mark.parametrize(
    "key",
    [
        "sk-1234567890abcdef",
        "litellm_proxy_master_key",
        HASH.upper(),
        HASH + "0",
        HASH[1:],
        HASH + "\n",
        " " + HASH,
        "sk-" + HASH,
        [HASH],
        int("1" * 18),
    ],
)
def test_what_is_no_hash_of_a_key_is_kept_nowhere(key: Any) -> None:
    """LiteLLM logs the key itself in place of its hash when it does not begin with `sk-`."""
    of_payload = formats.parse(payload(metadata={"user_api_key_hash": key}))
    of_line = formats.parse(line(metadata={"key_hash": key}))
    assert (of_payload.details, of_line.details) == (None, None)
    assert (of_payload.anomalies, of_line.anomalies) == ((), ("key_hash",))
    bare = str(key[0] if isinstance(key, list) else key).strip()
    assert bare not in repr(of_payload)
    assert bare not in repr(of_line)


def test_no_text_of_prompt_answer_or_error_survives_in_a_trace() -> None:
    canary = "SECRET-CANARY"
    trace = formats.parse(
        payload(
            messages=[{"role": "user", "content": canary}],
            response={"choices": [{"message": {"content": canary}}]},
            model_parameters={"tools": [canary], "instructions": canary},
            error_str=canary,
            error_information={"error_message": canary, "traceback": canary, "error_code": ""},
            metadata={"requester_metadata": {"headers": {"authorization": canary}, "x": canary}},
        )
    )
    assert canary not in repr(trace)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
TRACE_KEYS = ["timestamp", "id", "litellm_call_id", "cost_usd", "attributes", "usage", "metadata"]
PAYLOAD_KEYS = (
    "startTime endTime status call_type metadata id response_cost request_tags error_information "
    "session_id end_user usage timestamp"
).split()


def parsed(data: bytes) -> Trace | BadLine:
    try:
        return formats.parse(data)
    except BadLine as bad:
        return bad


@given(st.binary(max_size=200))
def test_no_bytes_at_all_raise_anything_but_bad_line(data: bytes) -> None:
    assert parsed(data)


@given(
    st.dictionaries(st.sampled_from(TRACE_KEYS), ANY_JSON),
    st.dictionaries(st.sampled_from(PAYLOAD_KEYS), ANY_JSON),
)
def test_no_json_of_the_right_keys_raises_anything_but_bad_line(
    trace: dict[str, Any], other: dict[str, Any]
) -> None:
    for record in (trace, {"timestamp": TIME, "usage": {}} | trace):
        parsed(json.dumps(record).encode())
    start = {"startTime": 1.0, "status": "success", "call_type": "x"}
    for record in (other, start | other):
        parsed(json.dumps(record).encode())


@given(
    st.dictionaries(
        st.sampled_from(
            ["llm.model_name", "status_code", "latency_ms", "accepted", "stream", "service_tier"]
        ),
        ANY_JSON,
    ),
    st.dictionaries(
        st.sampled_from(["session_id", "developer_id", "repo", "tags", "team", "key_hash"]),
        ANY_JSON,
    ),
)
def test_whatever_a_trace_line_says_the_trace_can_be_stored(
    attributes: dict[str, Any], metadata: dict[str, Any]
) -> None:
    trace = formats.parse(line(attributes=attributes, metadata=metadata))
    for value in trace:
        if isinstance(value, str):
            value.encode()
        elif isinstance(value, int):
            assert -(2**63) <= value < 2**63
    json.loads(trace.details or "{}")
    assert isinstance(json.loads(trace.tags or "[]"), list)


PLAIN: dict[str, dict[str, Any]] = {
    "attributes": {
        "llm.model_name": "anthropic/claude-x",
        "provider": "anthropic",
        "call_type": "acompletion",
        "status": "success",
        "status_code": 200,
        "latency_ms": 12.5,
        "ttft_ms": 1,
        "cache_hit": False,
        "stream": True,
        "service_tier": "flex",
        "error_class": "Timeout",
        "model_group": "group",
        "attempted_retries": 1,
        "attempted_fallbacks": 0,
        "accepted": True,
        "prod_lens.accepted": False,
        "prod_lens.diff_ratio": 0.5,
        "unknown": "x",
    },
    "metadata": {
        "session_id": "session-1",
        "session_via": "header",
        "developer_id": "dev@example.com",
        "developer_via": "key_user",
        "repo": "acme/web",
        "end_user": "someone",
        "tags": ["a", "b"],
        "team": "core",
        "key_alias": "laptop",
        "key_hash": HASH,
    },
    "top": {
        "timestamp": TIME,
        "id": "id-1",
        "litellm_call_id": "call-1",
        "cost_usd": 0.5,
        "usage": {"input_tokens": 1, "output_tokens": 2},
    },
}
ODD: list[object] = [
    *(None, True, [], ["a", " b", 1], ["User-Agent: x"], {}, "failure", "", " ", " a", "a ", "é"),
    *("x" * 512, "x" * 513, "a\u2028b", "a\0b", "session-", "../..", "git@github.com:a/b.git", "1"),
    *(0, 404, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -1, -1.5, 1.5, 1e7, 1e300, TIME_US / 1e6),
    *("2025-10-12T19:00:00.5+02:00", "2025-10-12T19:00:00", "1969-12-31T23:59:59Z"),
    *("2025-10-12T19:00:00.1234567Z", "2025-10-12t19:00:00z", "1969-12-31T23:59:59.9999999Z"),
    *("2025-10-12 19:00:00Z", "9999-12-31T23:59:59-01:00", "2025-10-12T19:00Z", "2025-W41-7"),
]
PARTS = {
    name: st.lists(st.sampled_from(sorted(plain)), unique=True).map(
        lambda keys, plain=plain: {key: plain[key] for key in keys}  # type: ignore[misc]
    )
    for name, plain in PLAIN.items()
}
CHANGES = st.lists(
    st.sampled_from([(part, key) for part, plain in PLAIN.items() for key in plain]), max_size=2
)


@pytest.mark.long
@settings(max_examples=20 * settings().max_examples)
@given(PARTS["top"], PARTS["attributes"], PARTS["metadata"], CHANGES, st.data())
def test_what_is_recognised_is_what_would_have_been_read(
    top: dict[str, Any],
    attributes: dict[str, Any],
    metadata: dict[str, Any],
    changes: list[tuple[str, str]],
    data: st.DataObject,
) -> None:
    parts = {"top": top, "attributes": attributes, "metadata": metadata}
    for part, key in changes:
        parts[part][key] = data.draw(st.sampled_from(ODD))
    whole = (
        {"attributes": attributes, "metadata": metadata} | {"timestamp": TIME, "usage": {}} | top
    )
    line = json.dumps(whole, ensure_ascii=False).encode()
    assert outcome(quickly, line) == outcome(carefully, line)


#: As LiteLLM writes it most, by the path of each key.
USUAL: dict[str, Any] = {
    "prompt_tokens": 8,
    "completion_tokens": 4,
    "total_tokens": 12,
    "prompt_tokens_details.cached_tokens": 3,
    "prompt_tokens_details.cache_creation_tokens": 2,
    "prompt_tokens_details.cache_write_tokens": 2,
    "prompt_tokens_details.cache_creation_token_details.ephemeral_5m_input_tokens": 1,
    "prompt_tokens_details.cache_creation_token_details.ephemeral_1h_input_tokens": 1,
    "prompt_tokens_details.audio_tokens": 0,
    "completion_tokens_details.reasoning_tokens": 1,
    "completion_tokens_details.audio_tokens": 0,
    "cache_creation_input_tokens": 2,
    "cache_read_input_tokens": 3,
    "service_tier": "standard",
}
ABSENT = object()
INSTEAD = [ABSENT, None, 0, 1, 3, 9, 3.0, -1, 1.5, 10**12 + 1, "2", True, {}, [], "", "a b", "flex"]
MORE = ["cost", "other", "prompt_tokens_details.image_tokens", "completion_tokens_details.other"]


def usage_of(values: dict[str, Any]) -> dict[str, Any]:
    """The object of these values by path."""
    usage: dict[str, Any] = {}
    for path, value in values.items():
        *outer, name = path.split(".")
        inner = usage
        for key in outer:
            inner = inner.setdefault(key, {})
        if value is not ABSENT:
            inner[name] = value
    return usage


@pytest.mark.parametrize("changed", [*USUAL, *MORE])
def test_a_usage_that_is_usual_is_read_as_any_other(changed: str) -> None:
    calls = list(product(["openai", "openrouter"], ["acompletion", "aspeech"], ["", "claude-"]))
    for value, other, of_other in product(INSTEAD, USUAL, [ABSENT, 0, 9, USUAL]):
        also = {} if of_other is USUAL else {other: of_other}
        provider, call_type, family = calls[len(str(value) + other) % len(calls)]
        names = {"provider": provider, "call_type": call_type, "llm.model_name": f"{family}x"}
        sent = line(attributes=names, usage=usage_of(USUAL | also | {changed: value}))
        assert outcome(quickly, sent) == outcome(carefully, sent)


@pytest.mark.parametrize("names", [("provider", "llm.model_name"), ("llm.model_name", "provider")])
def test_what_could_not_be_read_is_named_in_one_order_whatever_the_lines(
    names: tuple[str, str],
) -> None:
    data = line(attributes=dict.fromkeys(names, " "))
    for parse in (quickly, carefully):
        trace = parse(data)
        assert trace is not None
        assert trace.anomalies == ("model", "provider")


@pytest.mark.parametrize("prefixes", [("", "prod_lens."), ("prod_lens.", "")])
def test_of_two_names_for_one_fact_the_prefixed_is_believed_whatever_their_order(
    prefixes: tuple[str, str],
) -> None:
    sent = {"": (True, 0.25, 1), "prod_lens.": (False, 0.75, 3)}
    names = ("accepted", "diff_ratio", "accepted_lines")
    attributes = {
        f"{prefix}{name}": value
        for prefix in prefixes
        for name, value in zip(names, sent[prefix], strict=True)
    }
    for parse in (quickly, carefully):
        trace = parse(line(attributes=attributes))
        assert trace is not None
        assert (trace.accepted, trace.diff_ratio, trace.accepted_lines) == sent["prod_lens."]


def outcome(parse: Callable[[bytes], Trace | None], line: bytes) -> Trace | str | None:
    try:
        return parse(line)
    except BadLine as bad:
        return bad.reason


NO_FORMAT = (
    "neither a trace line, nor a LiteLLM payload, nor a span: a trace line needs "
    '"timestamp" and "usage"'
)


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        (b"hello", "not JSON (character 0)"),
        (b'{"usage": }', "not JSON (character 10)"),
        (b'{"timestamp": "2025-', "unterminated string at character 14"),
        (b'{"a": "\x01"}', "invalid control character at character 7"),
        (b'{"a": 1} {"a": 2}', "extra data at character 9"),
        (b'{"a" 1}', "expecting ':' delimiter at character 5"),
        (b'{"prompt": "hi"}', NO_FORMAT),
    ],
)
def test_a_refused_line_says_what_is_wrong_with_it_and_where(line: bytes, detail: str) -> None:
    refused = parsed(line)
    assert isinstance(refused, BadLine)
    assert detail == refused.detail
