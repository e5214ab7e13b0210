"""Spans of OpenTelemetry's GenAI and OpenInference's conventions, in each form they come in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodlensd import formats
from prodlensd.formats import (
    FORMATS,
    litellm_payload,
    otel_attributes,
    otel_names,
    otel_span,
    trace_line,
)
from prodlensd.formats.usage_keys import NOTHING
from prodlensd.model import BadLine, NotACall, Trace, bill_of

CANARY = "SECRET-CANARY"
TRACE_ID, SPAN_ID = "409df945e0584829b240cfbdd2ff4488", "01fa961201b88358"
KEY = f"{SPAN_ID} {TRACE_ID}"
START, END = "2024-01-11T23:45:17.982858Z", "2024-01-11T23:45:18.517639Z"
START_US = 1_705_016_717_982_858
LATENCY_MS = 534.781

#: One call in OpenInference's names and another in OpenTelemetry's.
OPENINFERENCE: dict[str, Any] = {
    "openinference.span.kind": "LLM",
    "llm.model_name": "claude-sonnet-4-5",
    "llm.provider": "anthropic",
    "llm.token_count.prompt": 10000,
    "llm.token_count.completion": 300,
    "llm.token_count.total": 10300,
    "llm.token_count.prompt_details.cache_read": 8000,
    "llm.token_count.prompt_details.cache_write": 500,
    "llm.token_count.prompt_details.audio": 20,
    "llm.token_count.completion_details.audio": 10,
    "llm.cost.total": 0.5,
    "session.id": "session-s1",
    "user.id": "dev@example.com",
    "tag.tags": ["nightly"],
    "input.value": CANARY,
    "llm.input_messages.0.message.content": CANARY,
    "llm.invocation_parameters": CANARY,
    "metadata": CANARY,
}
GENAI: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "azure.ai.openai",
    "gen_ai.request.model": "my-deployment",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.conversation.id": "conv-1",
    "gen_ai.request.stream": True,
    "gen_ai.response.time_to_first_chunk": 0.25,
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.output_tokens": 30,
    "gen_ai.usage.cache_read.input_tokens": 60,
    "gen_ai.usage.cache_creation.input_tokens": 10,
    "gen_ai.usage.reasoning.output_tokens": 20,
    "openai.response.service_tier": "flex",
    "enduser.id": "customer-9",
    "gen_ai.input.messages": [{"role": "user", "parts": [{"content": CANARY}]}],
    "gen_ai.prompt": CANARY,
}


def nested(attributes: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in attributes.items():
        *path, last = name.split(".")
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    return tree


def boxed(value: object) -> dict[str, object]:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case list():
            return {"arrayValue": {"values": [boxed(item) for item in value]}}
        case _:
            return {"stringValue": value}


def of_sdk(attributes: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """As the Python SDK's console exporter prints it, but for the line breaks."""
    return {
        "name": f"chat {CANARY}",
        "context": {
            "trace_id": f"0x{TRACE_ID}",
            "span_id": f"0x{SPAN_ID}",
            "trace_state": "[]",
        },
        "kind": "SpanKind.CLIENT",
        "parent_id": "0x2fe8a7932cf142d7",
        "start_time": START,
        "end_time": END,
        "status": {"status_code": "UNSET"},
        "attributes": attributes,
        "events": [],
        "links": [],
        "resource": {"attributes": {"service.name": "web"}, "schema_url": ""},
    } | parts


def of_phoenix(attributes: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """As Phoenix's REST interface and clients give it."""
    return {
        "id": "U3Bhbjox",
        "name": "ChatCompletion",
        "context": {"trace_id": TRACE_ID, "span_id": SPAN_ID},
        "span_kind": "LLM",
        "parent_id": None,
        "start_time": "2024-01-11T16:45:17.982858-07:00",
        "end_time": "2024-01-11T16:45:18.517639-07:00",
        "status_code": "OK",
        "status_message": CANARY,
        "attributes": attributes,
        "events": [],
    } | parts


def of_data_frame(attributes: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """As pandas writes a row of Phoenix's or Arize's data frame of spans."""
    return (
        {
            "name": "ChatCompletion",
            "context.trace_id": TRACE_ID,
            "context.span_id": SPAN_ID,
            "span_kind": "LLM",
            "start_time": START,
            "end_time": END,
            "status_code": "OK",
        }
        | {f"attributes.{name}": value for name, value in attributes.items()}
        | parts
    )


def of_otlp(attributes: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """As OTLP/JSON spells it."""
    return {
        "traceId": TRACE_ID.upper(),
        "spanId": SPAN_ID,
        "name": "chat",
        "kind": 3,
        "startTimeUnixNano": "1705016717982858000",
        "endTimeUnixNano": "1705016718517639000",
        "attributes": [{"key": name, "value": boxed(value)} for name, value in attributes.items()],
        "status": {},
    } | parts


FORMS: dict[str, Any] = {
    "SDK": of_sdk,
    "Phoenix": of_phoenix,
    "Phoenix, nested": lambda attributes, **parts: of_phoenix(nested(attributes), **parts),
    "data frame": of_data_frame,
    "OTLP": of_otlp,
}
IN_EVERY_FORM = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def parse(span: dict[str, Any]) -> Trace:
    return formats.parse(json.dumps(span).encode())


def is_no_call(span: dict[str, Any]) -> bool:
    """Whether it is known for a span that is not the call of a model."""
    try:
        parse(span)
    except NotACall:
        return True
    return False


def refusal(span: dict[str, Any]) -> BadLine:
    with pytest.raises(BadLine) as caught:
        parse(span)
    return caught.value


@IN_EVERY_FORM
def test_an_openinference_span_is_one_trace_in_every_form(form: Any) -> None:
    trace = parse(form(OPENINFERENCE))
    known = {name: value for name, value in trace._asdict().items() if value is not None}
    assert known == {
        "started_us": START_US,
        "key": KEY,
        "session_id": "s1",
        "session_via": "span",
        "developer_id": "dev@example.com",
        "developer_via": "metadata",
        "model": "claude-sonnet-4-5",
        "provider": "anthropic",
        "call_type": "llm",
        "tokens_in": 10000,
        "tokens_out": 300,
        "total_tokens": 10300,
        "cache_read_tokens": 8000,
        "cache_write_tokens": 500,
        "audio_in_tokens": 20,
        "audio_out_tokens": 10,
        "latency_ms": LATENCY_MS,
        "status": "success",
        "cache_hit": False,
        "tags": '["nightly"]',
        "anomalies": (),
    }


@pytest.mark.parametrize("form", [of_sdk, of_otlp])
def test_a_genai_span_is_one_trace_in_every_form(form: Any) -> None:
    trace = parse(form(GENAI))
    known = {name: value for name, value in trace._asdict().items() if value is not None}
    assert known == {
        "started_us": START_US,
        "key": KEY,
        "session_id": "conv-1",
        "session_via": "span",
        "model": "gpt-4o-2024-08-06",
        "provider": "azure",
        "call_type": "chat",
        "tokens_in": 100,
        "tokens_out": 30,
        "total_tokens": 130,
        "cache_read_tokens": 60,
        "cache_write_tokens": 10,
        "reasoning_tokens": 20,
        "latency_ms": LATENCY_MS,
        "ttft_ms": 250.0,
        "status": "success",
        "cache_hit": False,
        "service_tier": "flex",
        "end_user": "customer-9",
        "details": '{"stream":true,"response_id":"chatcmpl-1"}',
        "anomalies": (),
    }


@IN_EVERY_FORM
def test_nothing_of_what_was_said_is_kept(form: Any) -> None:
    events = [{"name": "gen_ai.user.message", "attributes": {"content": CANARY}}]
    for attributes in (OPENINFERENCE, GENAI):
        kept = parse(form(attributes | {"openinference.span.kind": "LLM"}, events=events))
        assert CANARY not in repr(kept)


def test_the_names_that_are_read_are_no_paths_to_others() -> None:
    assert not otel_attributes.READ & otel_attributes.PATHS


# Which spans are calls ----------------------------------------------------------------------------


@IN_EVERY_FORM
@pytest.mark.parametrize(
    "attributes",
    [
        {"openinference.span.kind": "CHAIN", "llm.token_count.prompt": 5},
        {"openinference.span.kind": "AGENT", "gen_ai.operation.name": "chat"},
        {"openinference.span.kind": "TOOL"},
        {"openinference.span.kind": "RETRIEVER"},
    ],
)
def test_a_span_around_calls_is_passed_over_and_not_counted_again(
    form: Any, attributes: dict[str, Any]
) -> None:
    assert is_no_call(form(attributes))


@pytest.mark.parametrize(
    ("attributes", "is_call"),
    [
        ({"gen_ai.operation.name": "chat"}, True),
        ({"gen_ai.operation.name": "text_completion"}, True),
        ({"gen_ai.operation.name": "generate_content"}, True),
        ({"gen_ai.operation.name": "embeddings"}, True),
        ({"openinference.span.kind": "EMBEDDING"}, True),
        ({"openinference.span.kind": "UNKNOWN", "gen_ai.operation.name": "chat"}, True),
        ({"gen_ai.operation.name": "responses"}, True),
        ({"langfuse.observation.type": "embedding"}, True),
        ({"langfuse.observation.type": "agent", "gen_ai.operation.name": "chat"}, False),
        ({"llm.request.type": "chat"}, True),
        ({"llm.request.type": "embedding"}, True),
        ({"llm.request.type": "rerank"}, False),
        ({"llm.request.type": "arerank"}, True),
        ({"llm.request.type": "anthropic_messages"}, True),
        ({"llm.request.type": "alist_input_items"}, False),
        ({"llm.request.type": "call_mcp_tool", "litellm.call_id": "c"}, False),
        ({"litellm.call_type": "afile_content", "litellm.call_id": "c"} | GENAI, False),
        ({"ai.operationId": "ai.streamText"} | GENAI, False),
        ({"ai.operationId": "ai.embed", "openinference.span.kind": "EMBEDDING"}, False),
        ({"ai.operationId": "ai.streamObject.doStream"}, True),
        ({"ai.operationId": "ai.rerank.doRerank"}, False),
        ({"ai.operationId": ["ai.embed.doEmbed"]}, False),
        ({"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 5}, False),
        ({"gen_ai.operation.name": "execute_tool"}, False),
        ({"gen_ai.operation.name": ["chat"]}, False),
        ({"gen_ai.usage.input_tokens": 5, "gen_ai.request.model": "gpt-4o"}, False),
        ({"http.request.method": "POST"}, False),
        ({}, False),
    ],
)
def test_a_call_is_what_its_kind_or_its_operation_calls_so(
    attributes: dict[str, Any], is_call: bool
) -> None:
    if is_call:
        assert parse(of_sdk(attributes)).started_us == START_US
    else:
        assert is_no_call(of_sdk(attributes))


EMBEDDINGS = {
    "gen_ai.operation.name": "embeddings",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "text-embedding-3-small",
}
TOKENS = {"gen_ai.usage.input_tokens": 28}


@pytest.mark.parametrize(
    ("attributes", "parts", "is_call"),
    [
        (EMBEDDINGS | TOKENS, {}, True),
        (EMBEDDINGS | TOKENS, {"parent_id": None}, False),
        (EMBEDDINGS, {}, False),
        (EMBEDDINGS | TOKENS, {"parent_id": None, "scope": {"name": "gen_ai"}}, False),
        (EMBEDDINGS | TOKENS, {"parent_id": None, "scope": {"name": "another"}}, True),
        (EMBEDDINGS | TOKENS | {"gen_ai.response.model": "t"}, {"parent_id": None}, True),
        (EMBEDDINGS | TOKENS | {"server.address": "h"}, {"parent_id": None}, True),
        (EMBEDDINGS | {"gen_ai.response.model": "t"}, {}, True),
    ],
)
def test_of_the_two_spans_of_an_embedding_by_ai_sdk_7_the_inner_is_the_call(
    attributes: dict[str, Any], parts: dict[str, Any], is_call: bool
) -> None:
    if is_call:
        assert parse(of_sdk(attributes, **parts)).model
    else:
        assert is_no_call(of_sdk(attributes, **parts))


def test_in_otlp_the_span_without_a_parent_is_the_one_around() -> None:
    assert is_no_call(of_otlp(EMBEDDINGS | TOKENS))
    assert parse(of_otlp(EMBEDDINGS | TOKENS, parentSpanId="2fe8a7932cf142d7")).tokens_in == 28


@pytest.mark.parametrize(
    "other",
    [
        {"resourceSpans": [{"scopeSpans": [{"spans": [of_otlp(GENAI)]}]}]},
        {"start_time": START, "attributes": GENAI},
        {"context": {"span_id": SPAN_ID}, "attributes": GENAI},
        {"context": {"span_id": SPAN_ID}, "start_time": START},
        {"message": "started", "level": "INFO", "timestamp": START},
    ],
)
def test_what_has_no_start_no_id_or_no_attributes_is_no_span(other: dict[str, Any]) -> None:
    assert otel_span.parse(other) is None
    assert refusal(other).reason == "unknown_format"


def test_a_line_of_another_format_stays_one_whatever_it_has_of_a_span() -> None:
    span = of_sdk(OPENINFERENCE)
    own = {"timestamp": "2025-10-12T19:00:00Z", "usage": {"input_tokens": 1}}
    for record in (own | span | own, span | own):
        line = json.dumps(record).encode()
        assert formats.parse(line) == trace_line.parse(record)
    payload = span | {"status": "success", "call_type": "acompletion", "startTime": 1.0}
    line = json.dumps(payload).encode()
    assert formats.parse(line) == litellm_payload.parse(payload)


def test_no_other_format_takes_a_span() -> None:
    for name, parse_as in FORMATS.items():
        for form in FORMS.values():
            taken = parse_as(form(OPENINFERENCE))
            assert (taken is not None) is (name == "otel_span")


# Who it is, and when ------------------------------------------------------------------------------


def test_a_span_exported_in_two_forms_is_one_trace() -> None:
    identities = {(t.started_us, t.key) for t in (parse(f(OPENINFERENCE)) for f in FORMS.values())}
    assert identities == {(START_US, KEY)}


def test_a_span_without_a_trace_does_not_identify_itself() -> None:
    trace = parse(of_sdk(GENAI, context={"span_id": SPAN_ID}))
    assert (trace.key, trace.call_id) == (None, SPAN_ID)


def test_without_a_session_the_trace_is_the_last_resort_and_says_so() -> None:
    trace = parse(of_sdk({"gen_ai.operation.name": "chat"}))
    assert (trace.session_id, trace.session_via) == (TRACE_ID, "trace_id")


@pytest.mark.parametrize(
    ("sent", "us"),
    [
        (START, START_US),
        ("2024-01-11T16:45:17.982858-07:00", START_US),
        ("2024-01-11T23:45:17.982857999Z", START_US),
        (1_705_016_717_982, 1_705_016_717_982_000),
        (1_705_016_717_982.0, 1_705_016_717_982_000),
        (1_705_016_717.982858, START_US),
        (1_705_016_717_982_858, START_US),
        (1_705_016_717_982_858_123, START_US),
    ],
)
def test_a_start_is_iso_8601_or_a_number_whose_size_tells_its_unit(sent: Any, us: int) -> None:
    assert parse(of_data_frame(OPENINFERENCE, start_time=sent)).started_us == us


@pytest.mark.parametrize("sent", ["1705016717982858000", 1_705_016_717_982_858_000], ids=repr)
def test_nanoseconds_may_stand_in_quotes(sent: Any) -> None:
    assert parse(of_otlp(GENAI, startTimeUnixNano=sent)).started_us == START_US


@pytest.mark.parametrize("sent", [None, "", "soon", -1, 2**63, 1e300, True, [], "1705016717982858"])
def test_a_start_that_is_no_time_is_refused(sent: Any) -> None:
    assert refusal(of_data_frame(OPENINFERENCE, start_time=sent)).reason == "bad_timestamp"


@pytest.mark.parametrize("sent", ["0", 0, "soon", -1, 1.5, True, "9" * 20], ids=repr)
def test_nanoseconds_that_are_none_are_refused(sent: Any) -> None:
    assert refusal(of_otlp(GENAI, startTimeUnixNano=sent)).reason == "bad_timestamp"


@pytest.mark.parametrize("end", [None, "", "0", "soon", "2024-01-11T23:45:17Z"])
def test_an_end_that_is_none_or_before_the_start_is_no_latency(end: Any) -> None:
    assert parse(of_sdk(GENAI, end_time=end)).latency_ms is None


@pytest.mark.parametrize("place", ["span", "resource"])
def test_the_repository_is_named_by_the_span_or_its_resource(place: str) -> None:
    url = {"vcs.repository.url.full": "https://github.com/acme/web.git"}
    if place == "span":
        trace = parse(of_sdk(GENAI | url))
    else:
        trace = parse(of_sdk(GENAI, resource={"attributes": url}))
    assert trace.repo_slug == "acme/web"


@pytest.mark.parametrize(
    ("sent", "provider"),
    [
        ({"gen_ai.system": "openai"}, "openai"),
        ({"llm.system": "vertexai"}, "vertex_ai"),
        ({"llm.system": "openai", "llm.provider": "azure"}, "azure"),
        ({"gen_ai.provider.name": "aws.bedrock"}, "bedrock"),
        ({"gen_ai.provider.name": "google"}, "google"),
        ({"llm.model_name": "anthropic/claude-x"}, "anthropic"),
        ({"gen_ai.system": "Anthropic"}, "anthropic"),
        ({"gen_ai.system": "gcp.gen_ai"}, "gemini"),
        ({"gen_ai.system": "openai.responses"}, "openai"),
        ({"ai.model.provider": "anthropic.messages"}, "anthropic"),
        ({"ai.model.provider": "google.generative-ai"}, "gemini"),
        ({"ai.model.provider": "google.vertex.chat"}, "vertex_ai"),
        ({"ai.model.provider": "vertex.anthropic.messages"}, "vertex_ai"),
        ({"ai.model.provider": "amazon-bedrock"}, "bedrock"),
        ({"ai.model.provider": "azure.responses"}, "azure"),
        ({"ai.model.provider": "xai.chat"}, "xai"),
        ({"ai.model.provider": "mistral.chat"}, "mistral"),
        ({"ai.model.provider": "my.company.chat"}, "my.company.chat"),
        ({"gen_ai.system": "strands-agents"}, None),
        ({"gen_ai.system": "strands-agents", "llm.provider": "groq"}, "groq"),
        ({}, None),
    ],
)
def test_providers_have_litellms_names(sent: dict[str, Any], provider: str | None) -> None:
    assert parse(of_sdk({"gen_ai.operation.name": "chat"} | sent)).provider == provider


# How it went --------------------------------------------------------------------------------------

EXCEPTION = {
    "name": "exception",
    "attributes": {"exception.type": "openai.RateLimitError", "exception.message": CANARY},
}
OTLP_EXCEPTION = {
    "name": "exception",
    "attributes": [{"key": "exception.type", "value": {"stringValue": "openai.RateLimitError"}}],
}


@pytest.mark.parametrize(
    ("form", "parts"),
    [
        (of_sdk, {"status": {"status_code": "ERROR", "description": CANARY}}),
        (of_sdk, {"status": {"status_code": "StatusCode.ERROR"}}),
        (of_phoenix, {"status_code": "ERROR"}),
        (of_otlp, {"status": {"code": 2, "message": CANARY}}),
        (of_otlp, {"status": {"code": "STATUS_CODE_ERROR"}, "events": [OTLP_EXCEPTION]}),
    ],
)
def test_a_failed_call_names_the_class_of_its_error_and_not_its_text(
    form: Any, parts: dict[str, Any]
) -> None:
    attributes = {"openinference.span.kind": "LLM"}
    trace = parse(form(attributes, **({"events": [{"name": "x"}, EXCEPTION]} | parts)))
    assert trace.status == "failure"
    assert trace.details == '{"error_class":"openai.RateLimitError"}'
    assert CANARY not in repr(trace)


@pytest.mark.parametrize(
    ("error", "status_code", "details"),
    [
        ("timeout", None, '{"error_class":"timeout"}'),
        ("429", 429, None),
        (429, 429, None),
        (f"said {CANARY}", None, None),
    ],
    ids=repr,
)
def test_an_error_type_is_a_failure_whatever_the_status(
    error: object, status_code: int | None, details: str | None
) -> None:
    trace = parse(of_sdk({"gen_ai.operation.name": "chat", "error.type": error}))
    assert (trace.status, trace.status_code, trace.details) == ("failure", status_code, details)


@pytest.mark.parametrize("status", ["OK", "UNSET", "", None, 0, 1, [], {"status_code": ["ERROR"]}])
def test_unset_is_well_and_so_is_an_exception_that_was_handled(status: object) -> None:
    whole = of_sdk({"gen_ai.operation.name": "chat"}, events=[EXCEPTION], status=status)
    assert parse(whole).status == "success"
    assert parse(whole | {"status_code": status}).details is None


# Every instrumentation ----------------------------------------------------------------------------

#: One span a line: `by` whom, of which version; what is read of it (`want`), or null if it is no
#: call; "captured" was printed by that version, the others are written after its source.
SPANS = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "data" / "spans.jsonl").read_text().splitlines()
]


@pytest.mark.parametrize("case", SPANS, ids=[case["by"] for case in SPANS])
def test_of_the_spans_of_a_call_exactly_the_call_is_read_whoever_wrote_them(
    case: dict[str, Any],
) -> None:
    if case["want"] is None:
        assert is_no_call(case["span"])
        return
    want = {"anomalies": []} | case["want"]
    trace = parse(case["span"])
    assert {name: getattr(trace, name) for name in want} == want | {
        "anomalies": tuple(want["anomalies"])
    }
    assert CANARY not in repr(trace)


def call(attributes: dict[str, Any], **parts: Any) -> Trace:
    return parse(of_sdk({"gen_ai.operation.name": "chat"} | attributes, **parts))


def unknown_of(trace: Trace) -> tuple[str, ...]:
    assert ("usage_unknown" in trace.anomalies) is bool(bill_of(trace.bill).unknown)
    return bill_of(trace.bill).unknown


COUNTED = {name: place for name, place in otel_names.USAGE.items() if place is not NOTHING}


@pytest.mark.parametrize("name", COUNTED)
def test_every_name_of_a_count_is_read_in_every_form(name: str) -> None:
    whole = {"gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 7}
    others = {n: count for n, count in whole.items() if COUNTED[n] != COUNTED[name]}
    sent = {name: 5} | ({} if COUNTED[name] == "total_tokens" else others)
    for form in FORMS.values():
        trace = parse(form({"openinference.span.kind": "LLM"} | sent))
        assert 5 in {*trace, *bill_of(trace.bill).units.values()}
        assert (unknown_of(trace), trace.anomalies) == ((), ())


@given(
    st.sampled_from(sorted(otel_names.USAGE_SPACES)),
    st.from_regex(r"[a-z]{1,9}(_[a-z]{1,9}|\.[a-z]{1,9}){0,3}", fullmatch=True),
    st.sampled_from([1, 1.5, "flex", True, [5], {"n": 5}]),
    st.sampled_from(list(FORMS.values())),
)
def test_what_nobody_here_knows_in_a_usage_is_never_passed_over(
    space: str, name: str, value: object, form: Any
) -> None:
    sent = f"{space}.{name}"
    if sent in otel_attributes.READ | otel_attributes.PATHS or sent in otel_names.USAGE_SPACES:
        return
    trace = parse(form({"openinference.span.kind": "LLM", sent: value}))
    assert [name.removesuffix(".n") for name in unknown_of(trace)] == [sent]


@pytest.mark.parametrize(
    "value",
    [
        {"kvlistValue": {"values": [{"key": "n", "value": {"intValue": "5"}}]}},
        {"arrayValue": {"values": [{"intValue": "5"}]}},
        {"bytesValue": "BQ=="},
    ],
)
def test_a_usage_of_a_kind_that_is_not_read_is_not_passed_over(value: dict[str, Any]) -> None:
    span = of_otlp({"gen_ai.operation.name": "chat"})
    span["attributes"].append({"key": "gen_ai.usage.searches", "value": value})
    assert unknown_of(parse(span))[0].startswith("gen_ai.usage.searches")


@pytest.mark.parametrize("value", [0, 0.0, "", None, False, [], {}])
def test_what_is_not_known_and_holds_nothing_costs_nothing(value: object) -> None:
    assert unknown_of(call({"gen_ai.usage.searches": value})) == ()


def test_two_names_of_one_count_agree_or_it_is_not_understood() -> None:
    both = {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.prompt_tokens": "100"}
    assert unknown_of(call(both)) == ()
    assert call(both | {"gen_ai.usage.input_tokens": 0}).tokens_in == 100
    contradiction = call(both | {"gen_ai.usage.prompt_tokens": 90})
    assert unknown_of(contradiction) == ("gen_ai.usage.prompt_tokens",)


@pytest.mark.parametrize(
    "cost",
    [
        {"gen_ai.usage.cost": 0.5},
        {"operation.cost": 0.5},
        {"llm.cost.total": 0.5},
        {"langfuse.observation.cost_details": '{"total": 0.5}'},
        {"gen_ai.cost.total_cost": 0.5},
        {"litellm.cost.total": 0.5},
    ],
)
def test_only_what_litellm_says_in_its_own_span_is_the_gateways_cost(cost: dict[str, Any]) -> None:
    trace = call({"gen_ai.usage.input_tokens": 5} | cost)
    assert (trace.gateway_nanousd, trace.anomalies) == (None, ())
    litellms = call(cost | {"litellm.call_id": "c-1", "llm.request.type": "acompletion"})
    is_its_name = next(iter(cost)) in otel_names.GATEWAY_COST
    assert litellms.gateway_nanousd == (500_000_000 if is_its_name else None)


def test_a_call_that_litellms_callback_and_ours_logged_is_one() -> None:
    ids = {"litellm.call_id": "c-1", "gen_ai.response.id": "chatcmpl-1"}
    span = call({"llm.request.type": "acompletion"} | ids)
    line = trace_line.parse(
        {"timestamp": START, "usage": {}, "litellm_call_id": "c-1", "id": "chatcmpl-1"}
    )
    assert line is not None
    assert (span.started_us, span.key) == (line.started_us, line.key)


def test_a_call_that_has_one_of_litellms_ids_is_told_by_its_span() -> None:
    assert call({"litellm.call_id": "c-1"}).key == KEY
    assert call({"gen_ai.response.id": "chatcmpl-1"}).key == KEY


LITELLMS = {"llm.request.type": "acompletion", "gen_ai.usage.input_tokens": 100}


def test_litellms_usage_object_has_the_parts_that_its_counts_lack() -> None:
    told = "{'prompt_tokens': 100, 'prompt_tokens_details': {'cached_tokens': 60}, 'speed': None}"
    trace = call(LITELLMS | {"metadata.usage_object": told})
    assert (trace.tokens_in, trace.cache_read_tokens, trace.anomalies) == (100, 60, ())


def test_what_litellm_writes_for_none_is_nothing_that_was_sent() -> None:
    nones = {"gen_ai.usage.total_tokens": "", "metadata.user_api_key_team_alias": ""}
    trace = call(LITELLMS | nones | {"metadata.user_api_key_team_id": "t-1"})
    assert (trace.details, trace.anomalies) == ('{"team":"t-1"}', ())


@pytest.mark.parametrize(
    "told",
    [
        "{'a': Wrapper(b=1)}",
        "{'a': \"it's\"}",
        "{" * 2000,
        "{'a': " * 500 + "1" + "}" * 500,
        "[1]",
        "SECRET-CANARY",
    ],
)
def test_a_usage_object_that_cannot_be_read_is_not_understood(told: str) -> None:
    trace = call(LITELLMS | {"metadata.usage_object": told})
    assert trace.tokens_in == 100 or "usage_unknown" in trace.anomalies
    assert unknown_of(trace)
    assert CANARY not in repr(trace)


@pytest.mark.parametrize(
    ("sent", "developer", "via"),
    [
        ({"metadata.user_api_key_user_id": "dana"}, "dana", "key_user"),
        ({"litellm.metadata.user_api_key_user_id": "dana"}, "dana", "key_user"),
        ({"metadata.user_api_key_user_email": "d@example.com"}, "d@example.com", "key_email"),
        ({"metadata.user_api_key_user_id": "default_user_id"}, None, None),
        (
            {
                "metadata.user_api_key_user_id": "dana",
                "metadata.requester_custom_headers": "{'x-user': 'dana'}",
            },
            "dana",
            "header",
        ),
        ({"user.id": "dana"}, "dana", "metadata"),
    ],
)
def test_a_developer_is_verified_only_by_litellms_proxy(
    sent: dict[str, Any], developer: str | None, via: str | None
) -> None:
    trace = call(LITELLMS | sent)
    assert (trace.developer_id, trace.developer_via) == (developer, via)
    others = call({"gen_ai.usage.input_tokens": 100} | sent)
    assert others.developer_via == ("metadata" if "user.id" in sent else None)


@pytest.mark.parametrize("name", otel_names.SESSION)
def test_a_session_is_read_under_each_of_its_names(name: str) -> None:
    assert (call({name: "s-7"}).session_id, call({name: "s-7"}).session_via) == ("s-7", "span")


@pytest.mark.parametrize("name", otel_names.USER)
def test_a_developer_is_read_under_each_of_its_names(name: str) -> None:
    assert call({name: "dev@example.com"}).developer_id == "dev@example.com"


@pytest.mark.parametrize(
    ("answered", "asked", "model"),
    [
        ("claude-x", "claude-x", "claude-x"),
        ("claude-x-2025", "claude-x", "claude-x-2025"),
        ("my-alias", "my-alias", "anthropic/claude-x"),
        (None, "my-alias", "anthropic/claude-x"),
    ],
)
def test_an_alias_of_litellm_is_not_the_model(answered: str | None, asked: str, model: str) -> None:
    names = {"gen_ai.response.model": answered, "gen_ai.request.model": asked}
    trace = call(LITELLMS | names | {"litellm.provider.model": "anthropic/claude-x"})
    assert trace.model == model


# Where the input has no cached tokens -------------------------------------------------------------

#: 1000 fresh tokens, 800 read and 400 written, of which the input counts the fresh ones.
FRESH = {
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 100,
    "gen_ai.usage.total_tokens": 1100,
    "gen_ai.usage.cache_read.input_tokens": 800,
}


@pytest.mark.parametrize("scope", sorted(otel_names.EXCLUSIVE_SCOPES))
def test_an_instrumentation_that_leaves_cached_tokens_out_is_known_by_its_scope(scope: str) -> None:
    assert call(FRESH, scope={"name": scope}).tokens_in == 1800
    assert call(FRESH | {"otel.scope.name": scope}).tokens_in == 1800
    assert call(FRESH, scope={"name": "opentelemetry.instrumentation.anthropic"}).tokens_in == 1000


AI_SDK = {
    "ai.operationId": "ai.streamText.doStream",
    "ai.model.provider": "amazon-bedrock",
    "ai.usage.inputTokens": 1000,
    "ai.usage.outputTokens": 100,
    "ai.usage.totalTokens": 1100,
    "ai.usage.cachedInputTokens": 800,
    "ai.response.providerMetadata": '{"bedrock":{"usage":{"cacheWriteInputTokens":400}}}',
}


def test_the_ai_sdk_counts_as_the_provider_until_version_6_includes_the_cached_tokens() -> None:
    five = parse(of_sdk(AI_SDK))
    assert (five.tokens_in, five.cache_read_tokens, five.cache_write_tokens) == (2200, 800, 400)
    assert five.anomalies == ()
    six = parse(of_sdk(AI_SDK | {"ai.usage.inputTokenDetails.cacheReadTokens": 800}))
    assert six.tokens_in == 1000
    assert parse(of_sdk(AI_SDK | {"ai.model.provider": "openai.chat"})).tokens_in == 1000


def test_whether_an_object_of_the_ai_sdk_includes_them_is_not_known() -> None:
    trace = parse(of_sdk(AI_SDK | {"ai.operationId": "ai.streamObject.doStream"}))
    assert unknown_of(trace)


def test_the_tier_that_openai_served_is_read_of_the_ai_sdks_metadata() -> None:
    told = {"ai.response.providerMetadata": '{"openai":{"serviceTier":"flex"}}'}
    assert parse(of_sdk(AI_SDK | told)).service_tier == "flex"


@pytest.mark.parametrize(
    ("details", "tokens_in", "tokens_out", "odd"),
    [
        ({"input": 40, "output": 10, "input_cached_tokens": 60, "total": 110}, 100, 10, ()),
        ({"input": 40, "output": 10, "input_cached_tokens": 60}, 100, 10, ()),
        ({"input": 100, "output": 10, "input_cached_tokens": 60, "total": 110}, 100, 10, ()),
        ({"input": 5, "output": 4, "output_reasoning_tokens": 6, "total": 15}, 5, 10, ()),
        ({"input": 5, "output": 4, "total": 50}, 5, 4, ("usage_mismatch",)),
        ({"input_tokens": 40, "output_tokens": 10, "cache_read_input_tokens": 60}, 100, 10, ()),
        ({"input": 5, "output": 4, "input_images": 3}, 5, 4, ("usage_unknown",)),
        ({"input": 5, "output": 4, "input_cached_tokens": "x"}, 5, 4, ("usage_unknown",)),
    ],
)
def test_langfuses_usage_types_are_disjoint_unless_their_total_says_otherwise(
    details: dict[str, Any], tokens_in: int, tokens_out: int, odd: tuple[str, ...]
) -> None:
    for sent in (json.dumps(details), details):
        trace = parse(
            of_sdk(
                {
                    "langfuse.observation.type": "generation",
                    "langfuse.observation.usage_details": sent,
                }
            )
        )
        assert (trace.tokens_in, trace.tokens_out, trace.anomalies) == (tokens_in, tokens_out, odd)


# What is odd --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("eu.api.openai.com", "eu"),
        ("bedrock-runtime.eu-west-1.amazonaws.com", "eu-west-1"),
        ("api.openai.com", None),
    ],
)
def test_a_region_that_the_host_names_is_a_part_of_the_price(host: str, region: str | None) -> None:
    assert bill_of(call({"server.address": host}).bill).modifiers.get("region") == region


def test_an_input_that_left_out_the_cache_is_seen_by_its_total() -> None:
    odd = OPENINFERENCE | {"llm.token_count.prompt": 1500}
    trace = parse(of_sdk(odd))
    assert (trace.tokens_in, trace.anomalies) == (10000, ("usage_exclusive",))


def test_counts_may_be_floats_texts_or_missing_as_pandas_has_it() -> None:
    row = of_data_frame(
        {
            "llm.token_count.prompt": 12.0,
            "llm.token_count.completion": "3",
            "llm.token_count.total": float("nan"),
            "llm.token_count.prompt_details.cache_read": None,
            "session.id": 42.0,
            "user.id": float("nan"),
        }
    )
    trace = parse(row)
    assert (trace.tokens_in, trace.tokens_out, trace.total_tokens) == (12, 3, 15)
    assert (trace.session_id, trace.developer_id, trace.anomalies) == ("42", None, ())


@pytest.mark.parametrize(
    ("odd", "anomaly"),
    [
        ({"llm.token_count.prompt": -1}, "usage_type"),
        ({"session.id": ["s"]}, "session_id"),
        ({"user.id": "d" * 3000}, "developer_id"),
        ({"llm.model_name": {"a": 1}}, "model"),
        ({"vcs.repository.url.full": "../../etc/passwd"}, "repo_slug"),
    ],
)
def test_what_cannot_be_used_is_left_out_and_counted(odd: dict[str, Any], anomaly: str) -> None:
    trace = parse(of_sdk({"openinference.span.kind": "LLM"} | odd))
    assert set(trace.anomalies) - {"usage_unknown"} == {anomaly}


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["key", "value", "stringValue", "llm", "a"]), inner)
    ),
    max_leaves=8,
)
ATTRIBUTES = st.dictionaries(st.sampled_from(sorted(otel_attributes.READ)), ANY_JSON, max_size=6)
PARTS = st.dictionaries(
    st.sampled_from(
        [
            *("context", "start_time", "end_time", "status", "status_code", "attributes", "events"),
            *("resource", "span_kind", "traceId", "spanId", "startTimeUnixNano"),
        ]
    ),
    ANY_JSON,
    max_size=4,
)


@given(st.sampled_from(list(FORMS.values())), ATTRIBUTES, PARTS)
def test_whatever_a_span_says_it_is_refused_or_can_be_stored(
    form: Any, attributes: dict[str, Any], parts: dict[str, Any]
) -> None:
    call = attributes | {"openinference.span.kind": "LLM"}
    for span in (form(attributes) | parts, form(call) | parts, form(call)):
        try:
            trace = parse(span)
        except (BadLine, NotACall):
            continue
        for value in trace:
            if isinstance(value, str):
                value.encode()
            elif isinstance(value, int):
                assert -(2**63) <= value < 2**63
        json.loads(trace.details or "{}")
        assert isinstance(json.loads(trace.tags or "[]"), list)
