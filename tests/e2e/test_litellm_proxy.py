"""Real calls through a real LiteLLM proxy, and the lines they leave behind."""

from __future__ import annotations

import stat

import pytest

from tests.e2e.traffic import FAST, Traffic, read_lines

# The first run installs LiteLLM, a minute or two for each version.
pytestmark = pytest.mark.timeout(900)

#: A proxy on a busy machine may look at its clock a little after its client did.
CLOCK_MS = 250.0


def test_each_call_leaves_exactly_its_lines(everyday: Traffic) -> None:
    expected = {sent.call.name: list(sent.call.outcomes) for sent in everyday.sent}
    assert {
        sent.call.name: [
            (line["attributes"]["status"], line["attributes"]["status_code"]) for line in lines
        ]
        for sent, lines in everyday.calls()
    } == expected
    assert len(read_lines(everyday.log_folder)) == sum(map(len, expected.values()))


def test_a_cached_answer_a_fallback_and_a_refusal_leave_exactly_their_lines(
    extras: Traffic,
) -> None:
    expected = {sent.call.name: list(sent.call.outcomes) for sent in extras.sent}
    assert {
        sent.call.name: [
            (line["attributes"]["status"], line["attributes"]["status_code"]) for line in lines
        ]
        for sent, lines in extras.calls()
    } == expected


def test_an_attempt_that_failed_shares_the_call_id_of_the_one_that_answered(
    everyday: Traffic, extras: Traffic
) -> None:
    for traffic, name in ((everyday, "retried"), (extras, "fallback")):
        _, (failed, answered) = traffic.call(name)
        assert failed["litellm_call_id"] == answered["litellm_call_id"]
        assert failed["id"] != answered["id"]


def test_each_line_identifies_itself(everyday: Traffic) -> None:
    lines = read_lines(everyday.log_folder)
    keys = {(line["timestamp"], line["litellm_call_id"], line["id"]) for line in lines}
    assert len(keys) == len(lines)


def test_tokens_are_those_the_provider_counted(everyday: Traffic) -> None:
    for sent, line in everyday.answered():
        plan, usage = sent.call.plan, line["usage"]
        details = usage.get("prompt_tokens_details", {})
        cached = plan.cache_read + plan.cache_write_5m
        assert usage["prompt_tokens"] == plan.tokens_in + cached, sent.call.name
        assert usage["completion_tokens"] == plan.tokens_out, sent.call.name
        assert details.get("cached_tokens", 0) == plan.cache_read, sent.call.name
        assert details.get("cache_creation_tokens", 0) == plan.cache_write_5m, sent.call.name


#: What LiteLLM loses of the usage object, and keeps nowhere, by version: of an answer, of a stream.
LOST = {
    "1.110.2": (set(), {"service_tier"}),
    "1.106.2": (set(), {"service_tier"}),
    "1.80.0": ({"service_tier", "speed", "inference_geo"}, FAST.keys() | {"1h"}),
}


@pytest.mark.parametrize("is_stream", [False, True])
def test_what_the_provider_says_of_the_usage_stands_in_the_line(
    everyday: Traffic, is_stream: bool
) -> None:
    _, (line,) = everyday.call("claude-fast-stream" if is_stream else "claude-fast")
    lost = LOST[everyday.version][is_stream]
    usage, attributes = line["usage"], line["attributes"]
    writes = usage["prompt_tokens_details"].get("cache_creation_token_details", {})
    assert usage["prompt_tokens_details"]["cache_creation_tokens"] == 40
    assert writes.get("ephemeral_1h_input_tokens") == (None if "1h" in lost else 40)
    assert {name: usage.get(name) for name in FAST} == FAST | dict.fromkeys(FAST.keys() & lost)
    # The tier that was served, and the speed that was asked for where nobody says what was served.
    assert attributes.get("service_tier") == usage.get("service_tier")
    assert attributes.get("speed") == ("fast" if "speed" in lost else None)


def test_the_cost_is_what_the_provider_asks_for(everyday: Traffic, extras: Traffic) -> None:
    for traffic in (everyday, extras):
        for sent, line in traffic.answered():
            assert line["cost_usd"] == pytest.approx(sent.cost_usd, rel=1e-6), sent.call.name


def test_latency_is_what_the_client_waited(everyday: Traffic) -> None:
    for sent, line in everyday.answered():
        plan, latency_ms = sent.call.plan, line["attributes"]["latency_ms"]
        pauses = plan.pieces * plan.pause_s if sent.call.is_stream else 0
        assert latency_ms >= (plan.wait_s + pauses) * 1000, sent.call.name
        assert latency_ms <= sent.milliseconds + CLOCK_MS, sent.call.name


def test_the_first_token_comes_when_the_client_saw_it_or_the_line_does_not_say(
    everyday: Traffic,
) -> None:
    said = set()
    for sent, line in everyday.answered():
        ttft_ms = line["attributes"].get("ttft_ms")
        assert sent.call.is_stream or ttft_ms is None, sent.call.name
        if ttft_ms is not None:
            assert ttft_ms >= sent.call.plan.wait_s * 1000, sent.call.name
            assert ttft_ms <= sent.first_byte_ms + CLOCK_MS, sent.call.name
            said.add(sent.call.name)
    assert "chat-stream" in said
    # LiteLLM 1.80.0 does not measure it for streams that it passes on as they are.
    assert ("claude-stream" in said) == (everyday.version != "1.80.0")


def test_who_called_from_where_is_what_the_client_sent(everyday: Traffic) -> None:
    for sent, lines in everyday.calls():
        for line in lines:
            who = line["metadata"]
            if sent.call.session_id is None:
                assert who["session_via"] == "trace_id", sent.call.name
            else:
                assert who["session_id"] == sent.call.session_id, sent.call.name
            assert who.get("developer_id") == sent.call.developer_id, sent.call.name
            assert who.get("developer_via") == sent.call.developer_via, sent.call.name
            assert who.get("repo") == sent.call.repo, sent.call.name


def test_a_call_is_described_as_it_was_made(everyday: Traffic) -> None:
    for sent, line in everyday.answered():
        attributes = line["attributes"]
        asked_for = sent.call.body["model"].split("/")[-1]
        assert attributes["llm.model_name"].split("/")[-1] == asked_for, sent.call.name
        assert attributes["provider"] == ("anthropic" if "claude" in asked_for else "openai")
        assert attributes["stream"] == sent.call.is_stream, sent.call.name
        assert attributes["cache_hit"] is False, sent.call.name


def test_a_cached_answer_is_marked_and_free(extras: Traffic) -> None:
    _, (miss,) = extras.call("cache-miss")
    _, (hit,) = extras.call("cache-hit")
    assert (miss["attributes"]["cache_hit"], hit["attributes"]["cache_hit"]) == (False, True)
    assert miss["cost_usd"] > 0
    assert hit["cost_usd"] == 0


def test_a_failure_names_the_class_of_the_error_and_no_more(extras: Traffic) -> None:
    _, (limited,) = extras.call("rate-limited")
    assert limited["attributes"]["error_class"] == "RateLimitError"
    assert limited["usage"] == {}


def test_nothing_that_was_said_or_secret_is_in_the_log_folder(
    everyday: Traffic, extras: Traffic
) -> None:
    for traffic in (everyday, extras):
        files = [path for path in traffic.log_folder.rglob("*") if path.is_file()]
        assert files
        assert [path for path in files if b"canary" in path.read_bytes().lower()] == []


def test_only_the_user_may_read_the_logs(everyday: Traffic) -> None:
    modes = {stat.S_IMODE(path.stat().st_mode) for path in everyday.log_folder.iterdir()}
    assert modes == {0o600}
    assert stat.S_IMODE(everyday.log_folder.stat().st_mode) == 0o700
