"""Lines of transcripts, one by one."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from prodlensd.formats.claude_code import ClaudeCode
from prodlensd.formats.codex import _COUNTERS, Codex
from prodlensd.formats.transcripts import AGAIN, Caller
from prodlensd.formats.usage import Reading, of_call, read_usage
from prodlensd.formats.usage_usual import MessageUsage, read_usual_message
from prodlensd.model import BadLine, Trace

USAGE = {"input_tokens": 3, "cache_read_input_tokens": 1000, "output_tokens": 90}


def nobody(_folder: str | None) -> Caller:
    return Caller()


def answer(**fields: Any) -> dict[str, Any]:
    message = {"id": "msg_01", "model": "claude-sonnet-4-5", "usage": USAGE}
    return {
        "type": "assistant",
        "timestamp": "2026-11-01T10:00:00.000Z",
        "sessionId": "s1",
        "uuid": "u1",
        "message": message | fields.pop("message", {}),
        **fields,
    }


def read(*records: dict[str, Any]) -> list[Any]:
    transcript = ClaudeCode("", nobody)
    return [transcript.read(json.dumps(record).encode()) for record in records]


def test_a_line_that_says_the_same_again_is_not_read_twice() -> None:
    first, again, grown = read(
        answer(), answer(uuid="u2"), answer(message={"usage": USAGE | {"output_tokens": 91}})
    )
    assert isinstance(first, Trace)
    assert again is AGAIN
    assert isinstance(grown, Trace)
    assert (first.tokens_in, first.tokens_out, grown.tokens_out) == (1003, 90, 91)
    assert first.key == grown.key


@pytest.mark.parametrize(
    "line",
    [
        answer(type="user"),
        answer(isApiErrorMessage=True),
        answer(message={"model": "<synthetic>"}),
        {"type": "user", "toolUseResult": {"usage": USAGE}},
        {"type": "progress", "data": {"message": {"message": answer()["message"]}}},
        {"type": "assistant", "message": 'a text that holds a "usage" and is no message'},
    ],
    ids=["user", "error", "synthetic", "tool", "progress", "text"],
)
def test_what_is_no_answer_is_no_call(line: dict[str, Any]) -> None:
    assert read(line) == [None]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (answer(timestamp="yesterday"), "bad_timestamp"),
        (answer(message={"id": None}), "unknown_format"),
        (answer(message={"id": "two words"}), "unknown_format"),
    ],
)
def test_an_answer_that_cannot_be_read_is_refused(line: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadLine) as refused:
        read(line)
    assert refused.value.reason == reason
    with pytest.raises(BadLine, match="invalid_json"):
        ClaudeCode("", nobody).read(json.dumps(answer()).encode()[:-9])


def test_what_strict_json_has_not_costs_only_what_it_says() -> None:
    odd = answer(score=float("nan"), gitBranch="\ud800x", large=2**70)
    line = json.dumps(odd).encode()
    trace = ClaudeCode("", nobody).read(line)
    assert isinstance(trace, Trace)
    assert (trace.tokens_in, trace.session_id) == (1003, "s1")


def test_bytes_that_are_no_text_are_refused() -> None:
    line = json.dumps(answer(cwd="/w/~")).encode().replace(b"~", b"\xff")
    with pytest.raises(BadLine, match="invalid_utf8"):
        ClaudeCode("", nobody).read(line)
    line = json.dumps(meta("A", cwd="/w/~")).encode().replace(b"~", b"\xff")
    with pytest.raises(BadLine, match="invalid_utf8"):
        Codex("", nobody).read(line)


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("claude-sonnet-4-5-20250929", "anthropic"),
        ("claude-sonnet-4-5@20250929", "vertex_ai"),
        ("eu.anthropic.claude-sonnet-4-5-20250929-v1:0", "bedrock"),
        ("openrouter/anthropic/claude-sonnet-4.5", "openrouter"),
        ("glm-4.6", None),
        (None, None),
    ],
)
def test_the_seller_of_a_model_is_known_by_how_the_model_is_spelled(
    model: str | None, provider: str | None
) -> None:
    (trace,) = read(answer(message={"model": model}))
    assert (trace.model, trace.provider) == (model, provider)


counts = st.integers(0, 5000)
lifetimes = st.fixed_dictionaries(
    {}, optional={"ephemeral_5m_input_tokens": counts, "ephemeral_1h_input_tokens": counts}
)
messages = st.fixed_dictionaries(
    {"input_tokens": counts, "output_tokens": counts},
    optional={
        "cache_read_input_tokens": counts | st.none(),
        "cache_creation_input_tokens": counts | st.none(),
        "cache_creation": lifetimes,
        "server_tool_use": st.fixed_dictionaries(
            {}, optional={"web_search_requests": st.integers(0, 2), "web_fetch_requests": counts}
        ),
        "service_tier": st.sampled_from(["standard", "priority", "batch", "a b", None]),
        "speed": st.sampled_from(["standard", "fast", None]),
        "inference_geo": st.sampled_from(["not_available", "global", "us", None]),
        "iterations": st.lists(
            st.fixed_dictionaries({"input_tokens": counts, "output_tokens": counts}), max_size=2
        ),
        "total_tokens": counts,
        "unheard_of": counts,
    },
)


def usually(usage: dict[str, Any]) -> Reading | None:
    try:
        return read_usual_message(msgspec.convert(usage, MessageUsage))
    except msgspec.ValidationError:
        return None


@example(
    usage={"input_tokens": 1, "output_tokens": 2, "iterations": [{"input_tokens": 1}]},
    said_again=None,
)
@example(usage={"input_tokens": 1, "output_tokens": 2, "cache_creation": {}}, said_again=None)
@example(
    usage={
        "input_tokens": 1,
        "output_tokens": 2,
        "cache_creation_input_tokens": 3,
        "cache_creation": {"ephemeral_1h_input_tokens": 4},
    },
    said_again=None,
)
@example(
    usage={"input_tokens": 1, "output_tokens": 2, "server_tool_use": {"web_search_requests": 1}},
    said_again=None,
)
@example(
    usage={"input_tokens": 1, "output_tokens": 2, "cache_creation_input_tokens": 3},
    said_again={"cache_creation": {"ephemeral_1h_input_tokens": 4}},
)
@given(usage=messages, said_again=st.none() | st.builds(dict, cache_creation=lifetimes))
def test_the_quick_way_reads_a_message_as_the_whole_table_does(
    usage: dict[str, Any], said_again: dict[str, Any] | None
) -> None:
    if said_again is not None:
        counted = {name: usage[name] for name in usage if name.endswith("_tokens")}
        usage |= {"iterations": [{"type": "message", **counted, **said_again}]}
    quick = usually(usage)
    whole = of_call(read_usage(usage, "anthropic"), "claude-sonnet-4-5", "success")
    assert quick in (None, whole)


def test_the_usual_message_is_read_the_quick_way() -> None:
    usage = {
        "input_tokens": 3,
        "cache_creation_input_tokens": 100,
        "cache_read_input_tokens": 9,
        "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 0},
        "output_tokens": 90,
        "service_tier": "standard",
        "inference_geo": "not_available",
    }
    assert usually(usage) is not None


# Codex --------------------------------------------------------------------------------------------


def meta(thread: str, **payload: Any) -> dict[str, Any]:
    return {"type": "session_meta", "payload": {"id": thread, "cwd": "/w", **payload}}


def turn(model: str) -> dict[str, Any]:
    return {"type": "turn_context", "payload": {"model": model}}


def counter(total: tuple[int, int], last: tuple[int, int] | None) -> dict[str, Any]:
    info = {
        f"{name}_token_usage": {"input_tokens": used[0], "output_tokens": used[1]}
        for name, used in (("total", total), ("last", last))
        if used is not None
    }
    return {
        "timestamp": "2026-11-01T10:00:00.000Z",
        "type": "event_msg",
        "payload": {"type": "token_count", "info": info},
    }


steps = st.one_of(
    st.builds(meta, st.sampled_from("AB"), forked_from_id=st.sampled_from(["A", None])),
    st.builds(turn, st.sampled_from(["gpt-5", "gpt-5-codex"])),
    st.builds(
        counter,
        st.tuples(st.integers(0, 30), st.integers(0, 3)),
        st.none() | st.tuples(st.integers(0, 30), st.integers(0, 3)),
    ),
    st.just({"type": "response_item", "payload": {"text": "token_count"}}),
)


def outcome(transcript: Codex, record: dict[str, Any]) -> object:
    try:
        return transcript.read(json.dumps(record).encode())
    except BadLine as bad:
        return bad.reason


@given(st.lists(steps, max_size=12))
def test_what_is_kept_with_the_checkpoint_is_all_that_reading_on_needs(
    records: list[dict[str, Any]],
) -> None:
    whole = Codex("", nobody)
    memory = ""
    for record in records:
        part = Codex(memory, nobody)
        assert outcome(part, record) == outcome(whole, record)
        memory = part.memory()
        assert memory == whole.memory()


def test_a_call_is_a_growth_of_the_total() -> None:
    transcript = Codex("", nobody)
    told = [
        outcome(transcript, record)
        for record in (
            meta("A"),
            turn("gpt-5-codex"),
            counter((100, 10), (100, 10)),
            counter((100, 10), (100, 10)),
            counter((250, 30), (150, 20)),
        )
    ]
    calls = [trace for trace in told if isinstance(trace, Trace)]
    assert [(call.tokens_in, call.tokens_out, call.model) for call in calls] == [
        (100, 10, "gpt-5-codex"),
        (150, 20, "gpt-5-codex"),
    ]
    assert told[3] is AGAIN


@pytest.mark.parametrize(
    "lineage",
    [
        {"forked_from_id": "A"},
        {"source": {"subagent": {"thread_spawn": {"parent_thread_id": "A", "depth": 1}}}},
    ],
)
def test_a_thread_that_begins_in_the_middle_of_its_parent_goes_on_with_its_counter(
    lineage: dict[str, Any],
) -> None:
    parent, child = Codex("", nobody), Codex("", nobody)
    counters = (counter((100, 10), (100, 10)), counter((250, 30), (150, 20)))
    _, _, told = (outcome(parent, record) for record in (meta("A"), *counters))
    outcome(child, meta("B", **lineage))
    replayed = outcome(child, counters[1])
    own = outcome(child, counter((300, 35), (50, 5)))
    assert isinstance(told, Trace)
    assert isinstance(replayed, Trace)
    assert isinstance(own, Trace)
    assert replayed[:2] == told[:2]
    assert (replayed.tokens_in, own.tokens_in, own.key) == (150, 50, " codex A/0/300/0/35/0")


@pytest.mark.parametrize(
    "source", ["cli", None, 7, {}, {"subagent": "review"}, {"subagent": {"thread_spawn": []}}]
)
def test_a_source_that_names_no_parent_is_none(source: object) -> None:
    transcript = Codex("", nobody)
    outcome(transcript, meta("B", source=source))
    own = outcome(transcript, counter((300, 35), (50, 5)))
    assert isinstance(own, Trace)
    assert own.key == " codex B/0/300/0/35/0"


def written(total: tuple[int, ...], last: tuple[int, ...]) -> dict[str, Any]:
    """A counter with what was read from the cache and written to it."""
    names = ("input_tokens", "cached_input_tokens", "cache_write_input_tokens", "output_tokens")
    info = {
        f"{name}_token_usage": dict(zip(names, used, strict=True))
        for name, used in (("total", total), ("last", last))
    }
    record = counter((0, 0), None)
    record["payload"]["info"] = info
    return record


def test_what_is_written_to_the_cache_is_counted_where_codex_notes_it() -> None:
    """As in ccusage #1617, whose last call wrote nothing."""
    last = (58_697, 57_817, 0, 227)
    total = (935_040, 875_306, 57_610, 11_150)
    before = tuple(a - b for a, b in zip(total, last, strict=True))
    transcript = Codex("", nobody)
    told = [
        outcome(transcript, record)
        for record in (meta("A"), turn("gpt-5.6-terra"), written(before, before))
    ]
    on = Codex(transcript.memory(), nobody)
    calls = [told[-1], outcome(on, written(total, last))]
    assert [
        (call.tokens_in, call.cache_read_tokens, call.cache_write_tokens, call.tokens_out)
        for call in calls
        if isinstance(call, Trace)
    ] == [(876_343, 817_489, 57_610, 10_923), (58_697, 57_817, None, 227)]


def test_a_thread_may_go_on_with_a_version_that_notes_more_or_less() -> None:
    """No call is made of it, and none is known by another key."""
    transcript = Codex('{"thread":"A","session":"A","root":"A","totals":[100,0,10,0]}', nobody)
    assert outcome(transcript, written((100, 0, 0, 10), (100, 0, 0, 10))) is AGAIN
    newer = outcome(transcript, written((300, 0, 150, 20), (200, 0, 150, 10)))
    assert outcome(transcript, counter((300, 20), (200, 10))) is AGAIN
    older = outcome(transcript, counter((400, 30), (100, 10)))
    assert isinstance(newer, Trace)
    assert isinstance(older, Trace)
    assert (newer.cache_write_tokens, older.cache_write_tokens) == (150, None)
    assert [newer.key, older.key] == [" codex A/0/300/0/20/0", " codex A/0/400/0/30/0"]


def test_a_counter_that_began_anew_may_come_to_the_same_total_by_other_calls() -> None:
    transcript = Codex("", nobody)
    told = [
        outcome(transcript, record)
        for record in (
            meta("A"),
            *(counter((100, 10), (100, 10)), counter((250, 30), (150, 20))),
            *(counter((100, 10), (100, 10)), counter((250, 30), (150, 20))),
        )
    ]
    keys = {call.key for call in told if isinstance(call, Trace)}
    assert len(keys) == 4


def test_a_counter_before_any_thread_is_refused() -> None:
    assert outcome(Codex("", nobody), counter((100, 10), None)) == "unknown_format"


@given(st.tuples(*[counts] * 5), st.sampled_from(["gpt-5", "claude-x", None]))
def test_the_quick_way_reads_a_counter_as_the_whole_table_does(
    used: tuple[int, ...], model: str | None
) -> None:
    info = {"total_token_usage": dict(zip(_COUNTERS, used, strict=True))}
    record = counter((0, 0), None) | {"payload": {"type": "token_count", "info": info}}
    transcript = Codex("", nobody)
    outcome(transcript, meta("A"))
    outcome(transcript, turn(model or ""))
    trace = outcome(transcript, record)
    tokens_in, cached, tokens_out, reasoning, written = used
    usage = {
        "prompt_tokens": tokens_in,
        "completion_tokens": tokens_out,
        "total_tokens": tokens_in + tokens_out,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written or None},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    whole = of_call(read_usage(usage, "openai", "responses"), model, "success")
    if any(used[:-1]):
        assert isinstance(trace, Trace)
        assert trace._asdict().items() >= whole.usage._asdict().items()
        assert trace.anomalies == whole.anomalies
    else:
        assert trace is None
