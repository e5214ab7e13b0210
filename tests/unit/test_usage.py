"""Token counts: every shape means the same afterwards; what is absent or odd is no number."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodlensd.formats.usage import USAGE_EXCLUSIVE, USAGE_UNKNOWN, read_usage
from prodlensd.formats.usage_found import MAX_COUNT, USAGE_MISMATCH, USAGE_TYPE
from prodlensd.model import Usage

LITELLM = {
    "completion_tokens": 300,
    "prompt_tokens": 10000,
    "total_tokens": 10300,
    "completion_tokens_details": {"reasoning_tokens": 200, "audio_tokens": None},
    "prompt_tokens_details": {
        "audio_tokens": 0,
        "cached_tokens": 8000,
        "cache_creation_tokens": 500,
        "cache_write_tokens": 500,
        "cache_creation_token_details": {
            "ephemeral_5m_input_tokens": 100,
            "ephemeral_1h_input_tokens": 400,
        },
    },
    "cache_creation_input_tokens": 500,
    "cache_read_input_tokens": 8000,
}
ANTHROPIC = {
    "input_tokens": 1500,
    "output_tokens": 300,
    "cache_read_input_tokens": 8000,
    "cache_creation_input_tokens": 500,
    "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 400},
}
BEDROCK = {
    "inputTokens": 1500,
    "outputTokens": 300,
    "totalTokens": 10300,
    "cacheReadInputTokens": 8000,
    "cacheWriteInputTokens": 500,
}
RESPONSES = {
    "input_tokens": 2006,
    "input_tokens_details": {"cached_tokens": 1920},
    "output_tokens": 300,
    "output_tokens_details": {"reasoning_tokens": 200},
    "total_tokens": 2306,
}
GEMINI = {
    "promptTokenCount": 1000,
    "candidatesTokenCount": 200,
    "thoughtsTokenCount": 50,
    "cachedContentTokenCount": 400,
    "totalTokenCount": 1250,
}


def read(record: object) -> tuple[Usage, tuple[str, ...]]:
    """The counts, and what was odd."""
    reading = read_usage(record)
    return reading.usage, reading.anomalies


BIG = Usage(10000, 300, 10300, 8000, 500)


@pytest.mark.parametrize(
    ("record", "usage"),
    [
        pytest.param(
            {"input_tokens": 250, "output_tokens": 150, "total_tokens": 400},
            Usage(250, 150, 400),
            id="the plain trace line",
        ),
        pytest.param(
            LITELLM,
            BIG._replace(cache_write_1h_tokens=400, reasoning_tokens=200, audio_in_tokens=0),
            id="LiteLLM's usage object",
        ),
        pytest.param(ANTHROPIC, BIG._replace(cache_write_1h_tokens=400), id="Anthropic"),
        pytest.param(
            {**ANTHROPIC, "total_tokens": 10300},
            BIG._replace(cache_write_1h_tokens=400),
            id="Anthropic with a total",
        ),
        pytest.param(BEDROCK, BIG, id="Bedrock converse"),
        pytest.param(
            {**BEDROCK, "cacheDetails": [{"ttl": "5m"}, {"ttl": "1h", "inputTokens": 400}]},
            BIG._replace(cache_write_1h_tokens=400),
            id="Bedrock with hours",
        ),
        pytest.param(
            RESPONSES,
            Usage(2006, 300, 2306, 1920, None, None, 200),
            id="OpenAI Responses",
        ),
        pytest.param(GEMINI, Usage(1000, 250, 1250, 400, None, None, 50), id="Gemini"),
        pytest.param(
            {**GEMINI, "totalTokenCount": 1200},
            Usage(1000, 200, 1200, 400, None, None, 50),
            id="Gemini with the thoughts among the candidates",
        ),
        pytest.param(
            {**GEMINI, "thoughtsTokenCount": 400, "totalTokenCount": 1600},
            Usage(1000, 600, 1600, 400, None, None, 400),
            id="Gemini that thought as much as it had cached",
        ),
        pytest.param(
            {"promptTokenCount": 10, "thoughtsTokenCount": 5, "totalTokenCount": 15},
            Usage(10, 5, 15, reasoning_tokens=5),
            id="Gemini that only thought",
        ),
        pytest.param(
            {
                **GEMINI,
                "toolUsePromptTokenCount": 30,
                "totalTokenCount": 1280,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 900},
                    {"modality": "AUDIO", "tokenCount": 100},
                ],
            },
            Usage(1030, 250, 1280, 400, None, None, 50, 100),
            id="Gemini with tools and audio",
        ),
        pytest.param(
            {"prompt_tokens": 9, "completion_tokens": 1, "prompt_cache_hit_tokens": 4},
            Usage(9, 1, 10, 4),
            id="DeepSeek",
        ),
        pytest.param(
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 115,
                "completion_tokens_details": {"reasoning_tokens": 100},
            },
            Usage(10, 105, 115, reasoning_tokens=100),
            id="xAI with the reasoning beside the completion",
        ),
        pytest.param({"prompt_tokens": 8, "total_tokens": 8}, Usage(8, None, 8), id="an embedding"),
        pytest.param({"total_tokens": 8}, Usage(total_tokens=8), id="only a total"),
        pytest.param({}, Usage(), id="nothing"),
        pytest.param(None, Usage(), id="no usage"),
        pytest.param(
            {"input_tokens": "12", "output_tokens": 3.0, "total_tokens": None},
            Usage(12, 3, 15),
            id="numbers in other clothes",
        ),
        pytest.param(
            {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}, Usage(0, 0, 0), id="zeros"
        ),
    ],
)
def test_every_shape_is_read_into_the_same_meaning(record: object, usage: Usage) -> None:
    assert (usage, ()) == read(record)


NO_NUMBERS: tuple[object, ...] = (
    True,
    [],
    {},
    "x",
    "",
    "²",
    "٣",
    " 1",
    "1.0",
    "1e3",
    "-1",
    "9" * 5000,
)
NO_COUNTS = (-1, -1.0, 1.5, MAX_COUNT + 1, 1e300, float("nan"), float("inf"), *NO_NUMBERS)


@pytest.mark.parametrize("count", NO_COUNTS, ids=lambda count: repr(count)[:20])
@pytest.mark.parametrize("name", ["input_tokens", "prompt_tokens", "inputTokens"])
def test_what_is_no_count_is_left_out_and_flagged(name: str, count: object) -> None:
    usage, anomalies = read({name: count})
    assert usage.tokens_in is None
    assert anomalies == (USAGE_TYPE, USAGE_UNKNOWN)
    assert read_usage({name: count}).bill.unknown == (name,)


def test_a_record_that_is_no_object_is_flagged() -> None:
    assert read([1]) == (Usage(), (USAGE_TYPE,))


def test_one_bad_count_spoils_no_other() -> None:
    usage, anomalies = read({"input_tokens": 7, "output_tokens": True, "total_tokens": 9})
    assert (usage, anomalies) == (Usage(7, None, 9), (USAGE_TYPE, USAGE_UNKNOWN))


def test_a_total_that_adds_up_with_the_cache_means_the_input_left_it_out() -> None:
    usage, anomalies = read(
        {
            "prompt_tokens": 1500,
            "completion_tokens": 300,
            "total_tokens": 9800,
            "prompt_tokens_details": {"cached_tokens": 8000},
        }
    )
    assert (usage, anomalies) == (Usage(9500, 300, 9800, 8000), (USAGE_EXCLUSIVE,))


def test_a_cache_larger_than_the_prompt_cannot_be_inside_it() -> None:
    usage, anomalies = read(
        {
            "prompt_tokens": 3,
            "completion_tokens": 550,
            "total_tokens": 553,
            "cache_creation_input_tokens": 12304,
        }
    )
    assert usage == Usage(12307, 550, 12857, None, 12304)
    assert anomalies == (USAGE_EXCLUSIVE,)


def test_anthropic_names_with_an_inclusive_total_are_inclusive() -> None:
    usage, anomalies = read(
        {
            "input_tokens": 10000,
            "output_tokens": 300,
            "total_tokens": 10300,
            "cache_read_input_tokens": 8000,
        }
    )
    assert (usage, anomalies) == (Usage(10000, 300, 10300, 8000), ())


@pytest.mark.parametrize(
    ("record", "usage"),
    [
        ({"input_tokens": 1, "output_tokens": 2, "total_tokens": 9}, Usage(1, 2, 9)),
        (
            {"promptTokenCount": 1, "candidatesTokenCount": 9, "thoughtsTokenCount": 4},
            Usage(1, 9, 10, reasoning_tokens=4),
        ),
        (
            {
                "prompt_tokens": 1,
                "completion_tokens": 2,
                "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 4},
                "prompt_tokens_details": {"audio_tokens": 5},
            },
            Usage(1, 2, 3),
        ),
        (
            {
                "input_tokens": 1,
                "output_tokens": 2,
                "cache_creation_input_tokens": 5,
                "cache_creation": {"ephemeral_1h_input_tokens": 6},
            },
            Usage(6, 2, 8, None, 5),
        ),
    ],
)
def test_counts_that_contradict_each_other_are_flagged(
    record: dict[str, Any], usage: Usage
) -> None:
    read_as, anomalies = read(record)
    assert (read_as, anomalies[0]) == (usage, USAGE_MISMATCH)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
COUNTS = st.integers(0, 50) | st.integers(MAX_COUNT - 5, MAX_COUNT + 5) | JSON
NAMES = sorted(
    {
        name
        for shape in (LITELLM, ANTHROPIC, BEDROCK, RESPONSES, GEMINI)
        for name in (*shape, *(n for v in shape.values() if isinstance(v, dict) for n in v))
    }
    | {"promptTokensDetails", "cacheDetails", "cached_tokens", "reasoning_tokens"}
)
RECORDS = st.dictionaries(
    st.sampled_from(NAMES), COUNTS | st.dictionaries(st.sampled_from(NAMES), COUNTS), max_size=8
)


@given(JSON | RECORDS)
def test_reading_never_raises_and_yields_whole_numbers_and_known_anomalies(record: object) -> None:
    usage, anomalies = read(record)
    assert all(count is None or (type(count) is int and count >= 0) for count in usage)
    assert set(anomalies) <= {USAGE_TYPE, USAGE_MISMATCH, USAGE_EXCLUSIVE, USAGE_UNKNOWN}


@given(RECORDS)
def test_the_buckets_are_disjoint_parts_of_the_input(record: object) -> None:
    usage, _ = read(record)
    cached, write = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
    if usage.tokens_in is not None:
        assert cached + write <= usage.tokens_in
        assert (usage.audio_in_tokens or 0) <= usage.tokens_in
    assert (usage.cache_write_1h_tokens or 0) <= write
    if usage.tokens_out is not None:
        assert (usage.reasoning_tokens or 0) <= usage.tokens_out


@given(
    st.tuples(*[st.integers(0, 10**6)] * 5),
    st.booleans(),
)
def test_one_call_reads_alike_from_every_provider(
    counts: tuple[int, int, int, int, int], with_total: bool
) -> None:
    fresh, cached, five_minutes, hour, out = counts
    write = five_minutes + hour
    whole = fresh + cached + write
    total = {"total_tokens": whole + out} if with_total else {}
    split = {"ephemeral_5m_input_tokens": five_minutes, "ephemeral_1h_input_tokens": hour}
    openai = {
        "prompt_tokens": whole,
        "completion_tokens": out,
        "prompt_tokens_details": {
            "cached_tokens": cached,
            "cache_creation_tokens": write,
            "cache_creation_token_details": split,
        },
    }
    anthropic = {
        "input_tokens": fresh,
        "output_tokens": out,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": write,
        "cache_creation": split,
    }
    expected = Usage(whole, out, whole + out, cached, write, hour), ()
    assert read({**openai, **total}) == expected
    assert read({**anthropic, **total}) == expected
