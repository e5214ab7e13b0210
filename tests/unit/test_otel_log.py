"""Log events of Claude Code and Codex: which of them are calls, and what is read of those.

What the two programs really write is in tests/data/otlp.jsonl (see the README there). Events that
are made up here, of what could not be captured, are variations of those.
"""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodlensd.formats import BadLine, NotACall, Parts, parse_line
from prodlensd.formats.otel_log import parse as parse_log
from prodlensd.model import Price, Trace, bill_of
from prodlensd.pricing import Pricer
from prodlensd.pricing.builtin import BuiltinBook

CAPTURED = Path(__file__).parents[1] / "data" / "otlp.jsonl"
#: What was said, in prompts, answers, errors and bodies of the captured requests.
CANARY = "canary-which-nobody-may-see"

Record = dict[str, Any]


def boxed(value: object) -> Record:
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case dict() | None:
            return value or {}
        case _:
            return {"stringValue": value}


def listed(attributes: Record) -> list[Record]:
    return [{"key": name, "value": boxed(value)} for name, value in attributes.items()]


def attributes_of(record: Record) -> Record:
    return {one["key"]: next(iter(one["value"].values()), None) for one in record["attributes"]}


def captured() -> list[tuple[Record, Trace | None]]:
    """Each captured log record, and the call that it is."""
    found = []
    for line in CAPTURED.read_bytes().splitlines():
        parts = parse_line(line)
        assert isinstance(parts, Parts)
        resources = json.loads(line).get("resourceLogs", [])
        for part in parts:
            assert not isinstance(part.found, BadLine)
            if resources:
                record = json.loads(parts.bytes_of(part)) | {"resource": resources[0]["resource"]}
                found.append((record, part.found))
    return found


CALLS = [(record, trace) for record, trace in captured() if trace]


def call(number: int) -> Trace:
    return CALLS[number][1]


# What the real programs write ---------------------------------------------------------------------

S = "00000000-0000-4000-8000-00000000000"
CLAUDE = {
    "session_id": f"{S}1",
    "session_via": "event",
    "model": "claude-opus-4-8",
    "provider": "anthropic",
    "call_type": "chat",
    "tokens_in": 1200 + 20_000 + 4096,
    "tokens_out": 321,
    "total_tokens": 25_617,
    "cache_read_tokens": 20_000,
    "cache_write_tokens": 4096,
    "status": "success",
}
CODEX = {
    "session_id": f"{S}6",
    "session_via": "event",
    "model": "gpt-5.1-codex",
    "provider": "openai",
    "call_type": "chat",
    "tokens_in": 5000,
    "tokens_out": 700,
    "total_tokens": 5700,
    "cache_read_tokens": 3000,
    "cache_write_tokens": 0,
    "reasoning_tokens": 512,
    "status": "success",
}
COUNTS = {name for name in CODEX if "tokens" in name}


def failed(call: Record, **facts: Any) -> Record:
    return {k: v for k, v in call.items() if k not in COUNTS} | {"status": "failure"} | facts


ON_AZURE = {
    "provider": "azure",
    "developer_id": "dev@example.com",
    "developer_via": "metadata",
    "details": '{"team":"platform"}',
}
WANT = {
    "Claude Code, after an overload that it says nothing of": CLAUDE
    | {
        "started_us": 1_795_816_624_279_000,
        "key": f"req_made_up_0002 {S}1",
        "repo_slug": "test/prodlens-demo",
        "latency_ms": 18.0,
    },
    "Claude Code, given up": failed(
        CLAUDE,
        started_us=1_795_816_629_881_000,
        key=f"req_fail2 {S}2",
        session_id=f"{S}2",
        latency_ms=40.0,
        status_code=500,
    ),
    "Claude Code in fast mode": CLAUDE
    | {
        "started_us": 1_795_816_796_516_000,
        "key": f"req_made_up_0001 {S}3",
        "session_id": f"{S}3",
        "latency_ms": 166.0,
        "bill": '{"modifiers":{"speed":"fast"}}',
    },
    "Claude Code on Bedrock, which has no such model": failed(
        CLAUDE,
        started_us=1_795_816_796_606_000,
        key=f"event-1 {S}4",
        session_id=f"{S}4",
        model="us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        provider="bedrock",
        latency_ms=547.0,
        status_code=404,
    ),
    "Codex, refused": failed(
        CODEX | ON_AZURE,
        started_us=1_795_816_840_129_000,
        key=f"event-1795816840207432596 {S}6",
        latency_ms=78.0,
        status_code=500,
    ),
    "Codex, tried again": CODEX
    | ON_AZURE
    | {"started_us": 1_795_816_840_426_000, "key": f"event-1795816840426641812 {S}6"},
    "Codex over a WebSocket": CODEX
    | {
        "started_us": 1_795_816_782_505_000,
        "key": f"event-1795816782505755219 {S}7",
        "session_id": f"{S}7",
    },
    "Codex, failed within the answer": failed(
        CODEX,
        started_us=1_795_816_711_036_000,
        key=f"event-1795816711036835724 {S}8",
        session_id=f"{S}8",
    ),
    "Codex, answered then": CODEX
    | {
        "started_us": 1_795_816_711_274_000,
        "key": f"event-1795816711274512657 {S}8",
        "session_id": f"{S}8",
    },
    "Codex, with a cache write": CODEX
    | {
        "started_us": 1_795_816_720_563_000,
        "key": f"event-1795816720563547810 {S}9",
        "session_id": f"{S}9",
        "cache_write_tokens": 1000,
    },
}


@pytest.mark.parametrize(("number", "want"), [*enumerate(WANT.values())], ids=list(WANT))
def test_a_captured_call_is_read_whole(number: int, want: Record) -> None:
    trace = call(number)._asdict()
    empty = (None, (), False)
    assert {k: v for k, v in trace.items() if v not in empty or type(v) is int} == want


def test_every_other_captured_event_is_passed_over() -> None:
    assert len(CALLS) == len(WANT)
    others = {attributes_of(record)["event.name"] for record, trace in captured() if not trace}
    assert others == {
        *("user_prompt", "assistant_response", "api_request_body", "api_response_body"),
        *("api_retries_exhausted", "codex.user_prompt", "codex.conversation_starts"),
        *("codex.startup_phase", "codex.api_request", "codex.sse_event", "codex.turn_ttft"),
        *("codex.websocket_connect", "codex.websocket_request"),
    }


@pytest.mark.parametrize(
    ("number", "nanousd"),
    [
        # 1200 at $5, 20,000 at $0.50, 4096 at $6.25 and 321 at $25 a million; twice that when fast
        (0, 6_000_000 + 10_000_000 + 25_600_000 + 8_025_000),
        (2, 2 * (6_000_000 + 10_000_000 + 25_600_000 + 8_025_000)),
        # 2000 at $1.25, 3000 at $0.125 and 700 at $10 a million
        (6, 2_500_000 + 375_000 + 7_000_000),
    ],
)
def test_a_captured_call_has_its_price_by_the_table(number: int, nanousd: int) -> None:
    price = Pricer(books=[BuiltinBook()]).price(call(number))
    assert (price.nanousd, price.source) == (nanousd, "table")


def as_a_collector_writes(value: Any) -> Any:
    """Made up: the same record with whole numbers as texts, and no nulls and unknown times."""
    if isinstance(value, list):
        return [as_a_collector_writes(one) for one in value]
    if isinstance(value, dict):
        return {
            name: str(one) if name == "intValue" else as_a_collector_writes(one)
            for name, one in value.items()
            if one is not None and (name, one) != ("timeUnixNano", "0")
        }
    return value


def test_a_collector_that_writes_the_same_in_its_own_way_changes_no_call() -> None:
    for record, trace in CALLS:
        rewritten = as_a_collector_writes(record)
        assert rewritten != record
        assert parse_log(rewritten) == trace


def test_what_claude_code_thinks_that_it_cost_is_not_read() -> None:
    record, trace = CALLS[0]
    assert attributes_of(record)["cost_usd"] == 0.060875
    assert trace.gateway_nanousd is None


# What is a call -----------------------------------------------------------------------------------


def with_attributes(record: Record, **changes: Any) -> Record:
    """The record with other attributes; one that is `...` is taken away."""
    changed = deepcopy(record)
    kept = [one for one in record["attributes"] if one["key"] not in changes]
    sent = {name: value for name, value in changes.items() if value is not ...}
    changed["attributes"] = kept + listed(sent)
    return changed


def read(number: int, **changes: Any) -> Trace:
    dotted = {name.replace("__", "."): value for name, value in changes.items()}
    trace = parse_log(with_attributes(CALLS[number][0], **dotted))
    assert trace is not None
    return trace


def is_no_call(number: int, **changes: Any) -> bool:
    try:
        read(number, **changes)
    except NotACall:
        return True
    return False


SUCCESS, FAILURE, REFUSED, ANSWERED, BROKEN = 0, 1, 4, 6, 7


@pytest.mark.parametrize(
    ("number", "changes"),
    [
        (REFUSED, {"error.message": ..., "http.response.status_code": 200}),
        (REFUSED, {"error.message": ..., "http.response.status_code": ...}),
        (REFUSED, {"endpoint": "/models"}),
        (ANSWERED, {"input_token_count": ...}),
        (ANSWERED, {"event.kind": "response.created"}),
        (BROKEN, {"event.kind": "response.failed"}),
        (BROKEN, {"error.message": ...}),
        (ANSWERED, {"event.name": "codex.tool_result"}),
    ],
)
def test_of_codexs_events_of_one_call_no_second_one_counts(number: int, changes: Record) -> None:
    assert not is_no_call(number)
    assert is_no_call(number, **changes)


def test_a_request_of_codex_that_got_no_answer_or_another_than_200_has_failed() -> None:
    assert read(REFUSED, http__response__status_code=..., error__message="x").status_code is None
    refused = read(REFUSED, error__message=..., http__response__status_code="429")
    assert (refused.status, refused.status_code) == ("failure", 429)
    assert read(REFUSED, endpoint=...).status == "failure"  # older versions name none


NOTHING = dict.fromkeys(
    ("input_token_count", "output_token_count", "cached_token_count", "reasoning_token_count"), "0"
)


def test_what_opens_a_websocket_is_no_call_and_a_call_that_lost_its_counts_is_one() -> None:
    assert is_no_call(ANSWERED, **NOTHING, tool_token_count=0, ttft_ms=...)
    assert not is_no_call(ANSWERED, **NOTHING, tool_token_count=7, ttft_ms=...)
    lost = read(ANSWERED, **NOTHING, tool_token_count=0)
    assert (lost.tokens_in, lost.anomalies) == (None, ("usage_missing",))


def test_an_event_of_claude_code_is_known_by_its_body_or_by_its_name_and_service() -> None:
    record = CALLS[SUCCESS][0]
    assert parse_log(record | {"body": None}) == call(SUCCESS)
    assert parse_log(record | {"resource": {}}) == call(SUCCESS)
    with pytest.raises(NotACall):
        parse_log(with_attributes(record | {"body": None}, **{"event.name": "tool_result"}))
    with pytest.raises(BadLine, match="a program not known"):
        parse_log(record | {"body": None, "resource": {}})


def test_a_record_of_another_program_is_passed_over_unless_it_counts_tokens() -> None:
    record = {"timeUnixNano": "1", "body": {"stringValue": CANARY}, "attributes": []}
    with pytest.raises(NotACall):
        parse_log(record)
    counting = record | {"attributes": listed({"gen_ai.usage.input_tokens": 5, CANARY: CANARY})}
    with pytest.raises(BadLine) as refused:
        parse_log(counting)
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize(
    "record", [{}, {"timeUnixNano": "1"}, {"attributes": []}, {"body": {}, "startTimeUnixNano": 1}]
)
def test_what_has_no_time_of_a_log_record_or_no_content_is_none(record: Record) -> None:
    assert parse_log(record) is None


# What is read -------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [1200, "1200", 1200.0, {"stringValue": "1200"}], ids=repr)
@pytest.mark.parametrize("number", [SUCCESS, ANSWERED])
def test_a_count_is_read_as_number_text_or_double(sent: object, number: int) -> None:
    name = "input_tokens" if number == SUCCESS else "input_token_count"
    cached = {"cached_token_count": 0, "cache_read_tokens": 0, "cache_creation_tokens": 0}
    trace = read(number, **{name: sent}, **cached)
    assert (trace.tokens_in, trace.anomalies) == (1200, ())


@pytest.mark.parametrize(
    "sent", [-1, "many", True, 1.5, {"kvlistValue": {}}, CANARY, 10**13], ids=repr
)
def test_a_count_that_is_none_leaves_the_call_without_a_price(sent: object) -> None:
    for number, name in ((SUCCESS, "output_tokens"), (ANSWERED, "cached_token_count")):
        trace = read(number, **{name: sent})
        assert "usage_unknown" in trace.anomalies
        assert CANARY not in repr(trace)
        assert Pricer(books=[BuiltinBook()]).price(trace).nanousd is None


@pytest.mark.parametrize("number", [SUCCESS, ANSWERED])
@pytest.mark.parametrize("name", ["image_token_count", "audio_out_tokens", "x_tokens"])
def test_a_count_that_nobody_here_knows_is_not_passed_over(number: int, name: str) -> None:
    assert bill_of(read(number, **{name: "5"}).bill).unknown == (name,)
    assert bill_of(read(number, **{name: 0}).bill).unknown == ()


def test_the_name_that_codex_gives_the_total_is_no_count_of_its_own() -> None:
    assert read(ANSWERED, tool_token_count=1).anomalies == ()


def test_reasoning_and_cache_that_an_older_codex_does_not_count_are_not_known() -> None:
    older = dict.fromkeys(("cache_write_token_count", "reasoning_token_count"), ...)
    trace = read(ANSWERED, **older)
    assert (trace.cache_write_tokens, trace.reasoning_tokens) == (None, None)
    assert (trace.tokens_in, trace.cache_read_tokens) == (5000, 3000)


@pytest.mark.parametrize(
    ("number", "model", "read_as", "provider"),
    [
        (SUCCESS, "claude-opus-4-8[1m]", "claude-opus-4-8", "anthropic"),
        (SUCCESS, "claude-sonnet-4-5@20250929", "claude-sonnet-4-5@20250929", "vertex_ai"),
        (SUCCESS, "eu.anthropic.claude-x-v1:0", "eu.anthropic.claude-x-v1:0", "bedrock"),
        (SUCCESS, "bedrock/claude-x", "bedrock/claude-x", "bedrock"),
        (SUCCESS, "my-alias", "my-alias", None),
        (SUCCESS, ..., None, None),
        (ANSWERED, "gpt-oss:20b", "gpt-oss:20b", None),
        (ANSWERED, "o4-mini", "o4-mini", "openai"),
        (ANSWERED, "ollama/gpt-5", "ollama/gpt-5", "ollama"),
    ],
)
def test_the_model_says_who_sold_the_call_where_nobody_else_does(
    number: int, model: object, read_as: str | None, provider: str | None
) -> None:
    trace = read(number, model=model)
    assert (trace.model, trace.provider) == (read_as, provider)


SAID = {
    "gen_ai.provider.name": "aws.bedrock",
    "user.email": "dev@example.com",
    "team.id": "platform",
    "vcs.repository.url.full": "git@example.com:test/prodlens-demo.git",
}


@pytest.mark.parametrize("number", [SUCCESS, FAILURE, REFUSED, ANSWERED, BROKEN])
def test_provider_developer_team_and_repository_are_read_of_the_event_and_its_resource(
    number: int,
) -> None:
    record, resource = CALLS[number][0], {"attributes": listed(SAID)}
    named = record["resource"]["attributes"][:]
    for trace in (
        read(number, **SAID),
        parse_log(
            with_attributes(record, **dict.fromkeys(SAID, ...))
            | {"resource": {"attributes": named + resource["attributes"]}}
        ),
    ):
        assert trace is not None
        assert (trace.provider, trace.developer_id) == ("bedrock", "dev@example.com")
        assert (trace.developer_via, trace.repo_slug) == ("metadata", "test/prodlens-demo")
        assert trace.details == '{"team":"platform"}'
    theirs = {"attributes": [*named, *listed({"user.email": "resource@example.com"})]}
    own = parse_log(with_attributes(record, **{"user.email": "e@x.org"}) | {"resource": theirs})
    assert own is not None
    assert own.developer_id == "e@x.org"


@pytest.mark.parametrize("speed", [..., "normal", "standard", ""], ids=repr)
def test_only_a_speed_that_is_not_the_standard_is_on_the_bill(speed: object) -> None:
    assert read(SUCCESS, speed=speed).bill is None
    assert bill_of(read(SUCCESS, speed="fast").bill).modifiers == {"speed": "fast"}


def test_a_batch_that_was_sent_twice_has_the_same_keys_and_two_calls_have_two() -> None:
    keys = [(trace.started_us, trace.key) for _, trace in CALLS]
    assert all(key for _, key in keys)
    assert len(set(keys)) == len(keys)
    assert [(trace.started_us, trace.key) for _, trace in captured() if trace] == keys


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({}, f"req_made_up_0002 {S}1"),
        ({"request_id": ...}, f"event-3 {S}1"),
        ({"request_id": "two words"}, f"event-3 {S}1"),
        ({"request_id": ..., "event.sequence": ...}, None),
        ({"session.id": ...}, None),
    ],
)
def test_an_event_of_claude_code_is_known_by_its_request_or_its_place_in_the_session(
    changes: Record, key: str | None
) -> None:
    assert read(SUCCESS, **changes).key == key


# When ---------------------------------------------------------------------------------------------

AT_US = 1_795_816_624_297_000


def timed(number: int, times: Record, **changes: Any) -> Trace:
    record = with_attributes(CALLS[number][0], **changes)
    trace = parse_log({k: v for k, v in record.items() if "UnixNano" not in k} | times)
    assert trace is not None
    return trace


@pytest.mark.parametrize(
    ("said", "times"),
    [
        ("2026-11-27T21:57:04.297Z", {"timeUnixNano": "1"}),
        (..., {"timeUnixNano": "1795816624297000000", "observedTimeUnixNano": "1"}),
        (..., {"timeUnixNano": "0", "observedTimeUnixNano": "1795816624297000499"}),
        (..., {"timeUnixNano": None, "observedTimeUnixNano": 1795816624297000000}),
        ("yesterday", {"observedTimeUnixNano": 1795816624297000000}),
        ("", {"observedTimeUnixNano": 1795816624297000000}),
    ],
)
def test_the_call_ended_when_the_event_says_or_else_when_its_record_does(
    said: object, times: Record
) -> None:
    trace = timed(SUCCESS, times, **{"event.timestamp": said})
    assert (trace.started_us, trace.latency_ms) == (AT_US - 18_000, 18.0)


@pytest.mark.parametrize("nanos", ["0", 0, None, "soon", -5, "9" * 19, [], True], ids=repr)
def test_a_call_without_a_time_is_refused(nanos: object) -> None:
    with pytest.raises(BadLine) as refused:
        timed(SUCCESS, {"timeUnixNano": nanos}, **{"event.timestamp": ...})
    assert refused.value.reason == "bad_timestamp"


@pytest.mark.parametrize("sent", [..., -1, "long", True, 2.0**53, {"kvlistValue": {}}], ids=repr)
def test_a_call_whose_length_is_not_known_began_when_it_ended(sent: object) -> None:
    trace = read(SUCCESS, duration_ms=sent)
    assert (trace.started_us, trace.latency_ms) == (AT_US, None)
    assert trace.anomalies == (() if sent is ... else ("latency_ms",))


@pytest.mark.parametrize("sent", [18, "18", 18.0, "18.0"], ids=repr)
def test_a_length_is_read_as_number_text_or_double(sent: object) -> None:
    assert read(SUCCESS, duration_ms=sent).started_us == AT_US - 18_000


def test_codex_says_neither_how_long_an_answer_took_nor_when_its_first_token_came() -> None:
    assert attributes_of(CALLS[6][0])["ttft_ms"] == "3"
    assert (call(6).latency_ms, call(6).ttft_ms) == (None, None)


# What must not be stored --------------------------------------------------------------------------


def test_nothing_that_was_said_reaches_a_trace() -> None:
    assert CAPTURED.read_text().count(CANARY) > 10
    assert CANARY not in repr([trace for _, trace in captured()])
    for record, _ in CALLS:
        said = listed({f"{CANARY}.{name}": CANARY for name in ("prompt", "error", "response")})
        everywhere = deepcopy(record) | {"severityText": CANARY, CANARY: CANARY}
        everywhere["attributes"] += said + listed({f"{CANARY}_tokens": 5, "error": CANARY})
        everywhere["scope"] = {"name": CANARY, "attributes": said}
        everywhere["resource"]["attributes"] += said
        if not str(record["body"]).count("claude_code."):
            everywhere["body"] = {"stringValue": CANARY}
        assert CANARY not in repr(parse_log(everywhere))


@pytest.mark.parametrize(
    ("changes", "anomaly"),
    [
        ({"session.id": "s" * 3000}, "session_id"),
        ({"user.email": {"arrayValue": {}}}, "developer_id"),
        ({"model": "m" * 3000}, "model"),
        ({"vcs.repository.url.full": "../../etc/passwd"}, "repo_slug"),
    ],
)
def test_what_cannot_be_used_is_left_out_and_counted(changes: Record, anomaly: str) -> None:
    assert read(SUCCESS, **changes).anomalies == (anomaly,)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["key", "value", "stringValue", "intValue", "attributes"]), inner
        )
    ),
    max_leaves=8,
)
NAMES = sorted({name for record, _ in CALLS for name in attributes_of(record)} | SAID.keys())
BOX = st.builds(boxed, st.text(max_size=9) | st.integers() | st.floats()) | ANY_JSON
CHANGES = st.dictionaries(st.sampled_from([*NAMES, "x_tokens"]), BOX, max_size=5)
OTHERS = st.dictionaries(
    st.sampled_from(
        ["timeUnixNano", "observedTimeUnixNano", "body", "attributes", "resource", "eventName"]
    ),
    ANY_JSON,
    max_size=2,
)


@given(st.sampled_from([record for record, _ in captured()]), CHANGES, OTHERS)
def test_whatever_a_log_record_says_it_is_refused_passed_over_or_can_be_stored(
    record: Record, changes: Record, others: Record
) -> None:
    attributes = [one for one in record["attributes"] if one["key"] not in changes]
    attributes += [{"key": name, "value": value} for name, value in changes.items()]
    for hostile in (record | {"attributes": attributes}, record | others):
        try:
            trace = parse_log(hostile)
        except (BadLine, NotACall):
            continue
        if trace is None:
            assert others.keys()
            continue
        assert 0 <= trace.started_us < 2**63
        for value in trace:
            if isinstance(value, str):
                value.encode()
            elif isinstance(value, int):
                assert 0 <= value < 2**63
        json.loads(trace.details or "{}")
        assert isinstance(Pricer(books=[]).price(trace), Price)
