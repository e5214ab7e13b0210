"""The built-in price lists: each modifier and region at its own price, and nothing invented."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import prodlensd.pricing
from prodlensd.model import UNPRICED_REASONS, Bill, Trace, bill_json
from prodlensd.pricing import FOREVER, ChildBook, Override, Quote, corrections, genai, litellm_map
from prodlensd.pricing.builtin import BuiltinBook
from prodlensd.pricing.corrections import Factor, Name, Scope
from prodlensd.pricing.listed import Listed
from prodlensd.pricing.names import Sought, sought
from prodlensd.pricing.overrides import Overrides
from prodlensd.pricing.rates import Modifiers, Question, cost, pico

BOOK = BuiltinBook()
FOLDER = Path(prodlensd.pricing.__file__).parent
EMPTY = Trace._make([None] * len(Trace._fields))


def us(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[arg-type,misc]


NOW = us(2026, 11, 23, 12)


def asked(
    provider: str, model: str, at_us: int = NOW, modifiers: dict[str, str] | None = None
) -> Quote:
    return BOOK.quote(Question(provider, model, at_us, tuple(sorted((modifiers or {}).items()))))


def usd(quote: Quote) -> tuple[float, float] | str:
    """Input and output in USD per million tokens; or why there is no price."""
    if quote.rates is None:
        return quote.reason
    return (quote.rates.input or 0) / 1e6, (quote.rates.output or 0) / 1e6


def charged(quote: Quote, **facts: Any) -> tuple[float | None, str | None]:
    """What a call with these tokens and units costs in USD; or why it has no price."""
    tokens = {name: value for name, value in facts.items() if name in Trace._fields}
    units = {name: value for name, value in facts.items() if name not in tokens}
    assert quote.rates is not None
    nanousd, reason = cost(quote.rates, EMPTY._replace(**tokens, bill=bill_json(Bill(units))))
    return nanousd and nanousd / 1e9, reason


# Modifiers


@pytest.mark.parametrize(
    ("expected", "provider", "model", "modifiers"),
    [
        ((1.5, 7.5), "anthropic", "claude-sonnet-4-6", {"service_tier": "batch"}),
        ((1.5, 7.5), "anthropic", "claude-sonnet-4-6", {"service_tier": "BATCH"}),
        ((10, 50), "anthropic", "claude-opus-4-8", {"speed": "fast"}),
        ((5, 25), "anthropic", "claude-opus-4-8", {"speed": "standard"}),
        ((5.5, 27.5), "anthropic", "claude-opus-4-8", {"inference_geo": "us"}),
        ((11, 55), "anthropic", "claude-opus-4-8", {"inference_geo": "US", "speed": "Fast"}),
        ((5, 25), "anthropic", "claude-opus-4-8", {"inference_geo": "global"}),
        ((8, 40), "openai", "gpt-5.6-sol", {"service_tier": "fast"}),
        ((8, 40), "openai", "gpt-5.6-sol", {"service_tier": "priority"}),
        ((2, 10), "openai", "gpt-5.6-sol", {"service_tier": "flex"}),
        ((4.4, 22), "openai", "gpt-5.6-sol", {"region": "eu"}),
        ((2.2, 11), "openai", "gpt-5.6-sol", {"region": "us", "service_tier": "flex"}),
        ((4.4, 22), "openai", "gpt-5.6-sol", {"region": "gov"}),
        ((2.5, 10), "openai", "gpt-4o", {"region": "eu"}),  # older than the surcharge
        ((0.15, 1.25), "gemini", "gemini-3.5-flash-lite", {"traffic_type": "ON_DEMAND_FLEX"}),
        ((0.3, 2.5), "gemini", "gemini-3.5-flash-lite", {"traffic_type": "ON_DEMAND"}),
        ((3, 15), "vertex_ai", "claude-sonnet-4-5@20250929", {"region": "global"}),
        ((3.3, 16.5), "vertex_ai", "claude-sonnet-4-5@20250929", {"region": "us-east5"}),
        ((1.25, 10), "vertex_ai", "gemini-2.5-pro", {"region": "us-central1"}),
    ],
)
def test_a_modifier_has_the_price_of_its_own_row_or_factor(
    expected: tuple[float, float], provider: str, model: str, modifiers: dict[str, str]
) -> None:
    assert usd(asked(provider, model, NOW, modifiers)) == expected


@pytest.mark.parametrize(
    ("unknown", "provider", "model", "modifiers"),
    [
        ("service_tier=scale", "openai", "gpt-5", {"service_tier": "scale"}),
        (
            "service_tier=batch",
            "anthropic",
            "claude-opus-4-8",
            {"service_tier": "batch", "speed": "fast"},
        ),
        ("speed=ludicrous", "anthropic", "claude-opus-4-8", {"speed": "ludicrous"}),
        ("speed=fast", "anthropic", "claude-sonnet-4-5", {"speed": "fast"}),
        ("inference_geo=eu", "anthropic", "claude-opus-4-8", {"inference_geo": "eu"}),
        ("inference_geo=us", "anthropic", "claude-sonnet-4-5", {"inference_geo": "us"}),
        ("region=eu", "anthropic", "claude-opus-4-8", {"region": "eu"}),
        ("traffic_type=odd", "gemini", "gemini-2.5-pro", {"traffic_type": "ODD"}),
        ("region=us-central1", "vertex_ai", "gemini-3-pro-preview", {"region": "us-central1"}),
        ("region=westeurope", "azure", "gpt-4o", {"region": "westeurope"}),
        ("search_context_size=low", "openai", "gpt-5", {"search_context_size": "low"}),
    ],
)
def test_a_modifier_without_a_price_is_named(
    unknown: str, provider: str, model: str, modifiers: dict[str, str]
) -> None:
    quote = asked(provider, model, NOW, modifiers)
    assert (quote.rates, quote.reason) == (None, f"modifier_unknown:{unknown}")


def test_a_factor_multiplies_tokens_but_not_what_is_paid_by_use() -> None:
    sold = "anthropic", "claude-opus-4-8", NOW
    plain = asked(*sold, {"speed": "fast"})
    in_the_us = asked(*sold, {"speed": "fast", "inference_geo": "us"})
    call = {"tokens_in": 1100, "cache_write_tokens": 100, "cache_write_1h_tokens": 100}
    call |= {"tokens_out": 10}
    assert charged(plain, **call) == (0.0125, None)
    assert charged(in_the_us, **call) == (0.01375, None)
    assert charged(in_the_us, **call, web_search_requests=2) == (0.03375, None)
    assert in_the_us.origin.match.endswith("times 1.1 for inference_geo")


def test_a_tier_without_a_rate_that_the_standard_has_does_not_know_it() -> None:
    listed = Listed({"input": 2, "output": 4}, standard=["input", "output", "cache_read"])
    assert listed.rates().cache_read is None
    assert Listed({"input": 2, "output": 4}).rates().cache_read == 2
    known = Listed({"input": 2, "output": 4, "cache_write": 3}, vendor="openai").rates()
    assert dict(known.others) == {"cache_write_30m_tokens": 3}
    written = Listed({"input": 2, "output": 4}, standard=["cache_write"], vendor="openai").rates()
    assert (written.cache_write, written.others) == (None, ())
    fast = Listed({"input": 4}, standard=["input", "cache_write"], vendor="anthropic").rates()
    assert (fast.cache_write, fast.cache_write_1h) == (5, 8)  # a factor of any input price


@given(
    st.sampled_from([("anthropic", "claude-opus-4-8"), ("openai", "gpt-5"), ("azure", "gpt-4o")]),
    st.text(min_size=1, max_size=150),
    st.text(min_size=1, max_size=150),
)
def test_a_modifier_that_nobody_knows_never_has_a_price(
    sold: tuple[str, str], name: str, value: str
) -> None:
    known = {"service_tier", "speed", "inference_geo", "region", "traffic_type"}
    quote = BOOK.quote(Question(*sold, NOW, ((name, value),)))
    if name not in known:
        assert quote.rates is None
        assert quote.reason.startswith("modifier_unknown:")
        assert quote.reason.isprintable()
        assert len(quote.reason) < 120


# Units


@pytest.mark.parametrize(
    ("expected", "provider", "model", "facts"),
    [
        (0.044014, "openai", "gpt-image-1.5", {"tokens_in": 22, "image_out_tokens": 1372}),
        (
            0.44,
            "openai",
            "gpt-6-astra",
            {"tokens_in": 20_000, "cache_write_tokens": 16_000, "cache_write_12h_tokens": 16_000},
        ),
        (0.02, "anthropic", "claude-opus-4-8", {"tokens_in": 0, "web_search_requests": 2}),
        (0.00003, "gemini", "gemini-2.5-flash-image", {"tokens_in": 0, "image_out_tokens": 1}),
        (0.000084, "openai", "gpt-4o-transcribe", {"tokens_in": 14, "audio_in_tokens": 14}),
    ],
)
def test_each_unit_has_its_own_rate(
    expected: float, provider: str, model: str, facts: dict[str, int]
) -> None:
    facts = {"tokens_out": facts.get("image_out_tokens", 0), **facts}
    assert charged(asked(provider, model), **facts) == (expected, None)


def test_a_unit_that_no_list_has_is_named() -> None:
    images = charged(asked("openai", "gpt-5"), tokens_in=0, tokens_out=1, image_out_tokens=1)
    assert images == (None, "unit_without_rate:image_out_tokens")
    # searches of a model that does not reason cost one thing or another, which no usage tells
    searches = charged(asked("openai", "gpt-4.1"), tokens_in=0, tokens_out=0, web_search_requests=1)
    assert searches == (None, "unit_without_rate:web_search_requests")


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "whisper-1"), ("perplexity", "sonar-pro"), ("openai", "gpt-4o-search-preview")],
)
def test_what_is_not_billed_by_tokens_alone_has_no_price(provider: str, model: str) -> None:
    assert usd(asked(provider, model)) == f"price_unknown:{provider}/{model}"


# Regions


@pytest.mark.parametrize(
    ("expected", "model", "modifiers"),
    [
        ((3, 15), "anthropic.claude-3-5-sonnet-20241022-v2:0", {}),
        ((3, 15), "us-west-2/anthropic.claude-3-5-sonnet-20241022-v2:0", {}),
        ((3, 15), "anthropic.claude-3-5-sonnet-20241022-v2:0", {"region": "us-east-1"}),
        ((6, 30), "us-gov-west-1/anthropic.claude-opus-4-8", {}),
        ((6, 30), "anthropic.claude-opus-4-8", {"region": "us-gov-west-1"}),
        ((2.4, 12), "us-gov.anthropic.claude-sonnet-5", {}),
        ((3.3, 16.5), "eu.anthropic.claude-sonnet-4-5-20250929-v1:0", {"region": "eu-west-1"}),
        ((3, 15), "global.anthropic.claude-sonnet-4-5-20250929-v1:0", {"region": "eu-west-1"}),
        ((0.078, 0.312), "eu.amazon.nova-lite-v1:0", {}),
        ((0.063, 0.252), "apac.amazon.nova-lite-v1:0", {}),
        ((0.429, 3.597), "eu.amazon.nova-2-lite-v1:0", {}),
        ("region=eu-west-2", "anthropic.claude-opus-4-8", {"region": "eu-west-2"}),
        ("region=ap-south-1", "eu.anthropic.claude-opus-4-8", {"region": "ap-south-1"}),
        (
            "region=eu-west-1 and eu-west-2",
            "eu-west-1/anthropic.claude-opus-4-8",
            {"region": "eu-west-2"},
        ),
    ],
)
def test_a_region_of_bedrock_is_honoured_or_has_no_price(
    expected: tuple[float, float] | str, model: str, modifiers: dict[str, str]
) -> None:
    known = asked("bedrock", f"bedrock/{model}", NOW, modifiers)
    assert usd(known) == (f"modifier_unknown:{expected}" if isinstance(expected, str) else expected)


def test_an_arn_says_its_region() -> None:
    profile = "inference-profile/eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
    assert usd(asked("bedrock", f"arn:aws:bedrock:eu-west-1:1:{profile}")) == (3.3, 16.5)
    elsewhere = asked("bedrock", f"arn:aws:bedrock:ap-south-1:1:{profile}")
    assert elsewhere.reason == "modifier_unknown:region=ap-south-1"


@pytest.mark.parametrize(
    ("expected", "model"),
    [
        ((2.5, 10), "azure/gpt-4o"),
        ((2.5, 10), "azure/global/gpt-4o-2024-08-06"),
        ((2.75, 11), "azure/eu/gpt-4o-2024-08-06"),
        ((2.75, 11), "azure/us/gpt-4o-2024-08-06"),
        ("modifier_unknown:region=eu", "azure/eu/gpt-4-turbo"),
        ("model_unknown:azure/my-team-deployment", "azure/my-team-deployment"),
    ],
)
def test_a_zone_of_azure_is_honoured_or_has_no_price(
    expected: tuple[float, float] | str, model: str
) -> None:
    assert usd(asked("azure", model)) == expected


# Names


@pytest.mark.parametrize(
    ("maker", "model"),
    [
        ("anthropic", "claude-sonnet-4-20250514"),
        ("openai", "gpt-4o"),
        ("openai", "o3"),
        ("openai", "ft:gpt-4o-mini-2024-07-18:acme::abc123"),
        ("vertex_ai", "gemini-2.5-pro"),
        ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("cohere", "command-r-08-2024"),  # as LiteLLM's map has it
    ],
)
def test_a_bare_name_is_its_makers_and_says_so(maker: str, model: str) -> None:
    quote = asked("", model)
    assert quote.rates == asked(maker, model).rates is not None
    assert quote.origin.match.endswith(f"a bare name is {maker}'s")
    assert "bare" not in asked(maker, model).origin.match


@pytest.mark.parametrize(
    ("reason", "provider", "model"),
    [
        ("provider_unknown:nobody", "nobody", "gpt-5"),
        ("model_unknown:gpt-oss-120b", "", "gpt-oss-120b"),
        ("model_unknown:my-model", "", "my-model"),
        ("model_missing", "", ""),
        ("model_unknown:openai/gpt-99", "openai", "openai/gpt-99"),
        ("model_unknown:openai/gpt-99", "OpenAI", "gpt-99"),
        ("price_unknown:openai/gpt-oss-120b", "openai", "openai/gpt-oss-120b"),
        ("price_unknown:azure_ai/gpt-oss-120b", "azure_ai", "azure_ai/gpt-oss-120b"),
        ("price_unknown:deepseek/deepseek-r1", "deepseek", "deepseek-r1"),
        (
            "model_unknown:bedrock/1-month-commitment/anthropic.claude-v2",
            "bedrock",
            "bedrock/us-east-1/1-month-commitment/anthropic.claude-v2",
        ),
    ],
)
def test_what_has_no_price_says_why(reason: str, provider: str, model: str) -> None:
    assert asked(provider, model)[::4] == (None, reason)


@pytest.mark.parametrize("provider", ["Anthropic", "ANTHROPIC", "anthropic"])
def test_a_provider_is_one_however_it_is_written(provider: str) -> None:
    assert usd(asked(provider, "claude-sonnet-4-5")) == (3, 15)


@given(st.text(max_size=200), st.text(max_size=200), st.integers(-(2**63), 2**63 - 1))
def test_every_reason_is_of_the_vocabulary_short_and_printable(
    provider: str, model: str, at_us: int
) -> None:
    quote = asked(provider, model, at_us)
    assert (quote.rates is None) == bool(quote.reason)
    if quote.reason:
        assert quote.reason.partition(":")[0] in UNPRICED_REASONS
        assert quote.reason.isprintable()
        assert len(quote.reason) < 130


@pytest.mark.parametrize(
    ("expected", "model", "at"),
    [
        ((3, 15), "grok-4", us(2026, 5, 15, 18)),
        ((1.25, 2.5), "grok-4", us(2026, 5, 15, 19)),
        ((0.2, 0.5), "grok-4-1-fast-reasoning", us(2026, 5, 1)),
        ((1.25, 2.5), "grok-4-1-fast-reasoning", us(2026, 6, 1)),
        ((0.2, 1.5), "grok-code-fast-1", us(2026, 5, 1)),
        ((1.25, 2.5), "grok-code-fast-1", us(2026, 5, 16)),
        ((1, 2), "grok-code-fast-1", us(2026, 6, 1)),
    ],
)
def test_a_retired_grok_is_billed_as_its_successor(
    expected: tuple[float, float], model: str, at: int
) -> None:
    assert usd(asked("xai", f"xai/{model}", at)) == expected


def test_a_successors_price_says_whose_it_is() -> None:
    quote = asked("xai", "grok-4")
    assert quote.origin.entry == "x-ai/grok-4.3"
    assert quote.origin.match.endswith("grok-4 is billed as grok-4.3")


def test_a_price_holds_no_longer_than_what_its_name_means() -> None:
    before = asked("xai", "grok-4", us(2026, 5, 15, 18))
    after = asked("xai", "grok-4", us(2026, 5, 15, 19))
    assert before.until_us == after.from_us == us(2026, 5, 15, 19)


def test_a_price_of_our_own_is_that_of_calls_without_modifiers() -> None:
    at = us(2025, 10, 12)
    assert usd(asked("deepseek", "deepseek-chat", at)) == (0.28, 0.42)
    batch = asked("deepseek", "deepseek-chat", at, {"service_tier": "batch"})
    assert usd(batch) == "modifier_unknown:service_tier=batch"


def test_a_long_or_odd_name_is_cut_and_made_printable() -> None:
    assert usd(asked("openai", "x" * 150)) == f"model_unknown:openai/{'x' * 93}"
    assert usd(asked("openai", "a\x1b[31m")) == "model_unknown:openai/a?[31m"
    assert usd(asked("n" * 150, "x")) == f"provider_unknown:{'n' * 100}"
    long = asked("openai", "gpt-5", NOW, {"speed": "y" * 150})
    assert usd(long) == f"modifier_unknown:speed={'y' * 94}"


# Corrections are data


def fitting(pattern: str) -> str:
    """A name that fits the pattern."""
    return re.sub(r"\[(.)[^]]*\]", r"\1", pattern).replace("*", "").replace("?", "x")


NAMES, FACTORS = corrections.rows()
ROWS: list[Name | Factor] = [*NAMES, *FACTORS]


def question_of(row: Name | Factor, model: str) -> Question:
    """A question that the row is about, at its first moment."""
    modifiers: Modifiers = ()
    if isinstance(row, Factor):
        modifiers = ((row.modifier, fitting(row.values[0]) or "us-east5"),)
    at_us = max(row.scope.from_us, us(2020, 1, 1))
    return Question(row.scope.provider, fitting(model), at_us, modifiers)


@pytest.mark.parametrize("number", range(len(ROWS)))
def test_each_correction_has_a_source_and_is_reached(number: int) -> None:
    row = ROWS[number]
    assert row.scope.source.startswith(("https://", "LiteLLM "))
    for question in (question_of(row, model) for model in row.scope.models):
        meant = sought(question)
        assert isinstance(meant, Sought)
        find = corrections.factor_of if isinstance(row, Factor) else corrections.name_of
        found, (from_us, until_us) = find(meant, question.at_us)
        assert found == row, f"{question.model} is another row's"
        assert from_us <= question.at_us < until_us


@pytest.mark.parametrize("number", range(len(ROWS)))
def test_what_a_correction_points_to_has_a_price(number: int) -> None:
    row = ROWS[number]
    now = min(NOW, row.scope.until_us - 1)
    questions = [question_of(row, model)._replace(at_us=now) for model in row.scope.models]
    priced = [BOOK.quote(question).rates is not None for question in questions]
    assert any(priced) == (isinstance(row, Factor) or not row.unpriced)


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"successor": "b", "unpriced": "why"},
        {"successor": "b", "source": ""},
        {"successor": "b", "models": []},
        {"successor": "b", "from": date(2001, 1, 1), "until": date(2000, 1, 1)},
        {"succesor": "b"},
        {"rates": {"input": "-1"}},
    ],
    ids=str,
)
def test_a_correction_that_is_not_well_formed_is_refused(row: dict[str, Any]) -> None:
    whole = {"provider": "a", "models": ["m"], "source": "https://example.org"}
    corrections._name({**whole, "successor": "b"})
    with pytest.raises(ValueError, match=r"corrections\.toml|price per million"):
        corrections._name({**whole, **row})


def test_of_several_rows_that_fit_the_last_counts() -> None:
    scope = Scope("a", ("m",), us(2026, 1, 1), FOREVER, "https://example.org")
    first, last = Name(scope, successor="b"), Name(scope._replace(from_us=us(2026, 2, 1)))
    assert corrections._at(us(2026, 1, 15), [first, last]) == (
        first,
        (us(2026, 1, 1), us(2026, 2, 1)),
    )
    assert corrections._at(us(2026, 3, 1), [first, last]) == (last, (us(2026, 2, 1), FOREVER))


# Two lists


def test_the_lists_complete_each_other_where_they_agree() -> None:
    one = Listed({"input": 10, "output": 20}, vendor="openai")
    other = Listed({"input": 10, "output": 20, "cache_read": 1, "image_in_tokens": 5})
    both = one.with_more_of(other).rates()
    assert (both.cache_read, dict(both.others)["image_in_tokens"]) == (1, 5)


def test_where_the_lists_disagree_nothing_is_taken_over_and_nothing_filled_in() -> None:
    one = Listed({"input": 10, "output": 20})
    other = Listed({"input": 11, "output": 20, "cache_read": 1})
    both = one.with_more_of(other).rates()
    assert (both.input, both.cache_read) == (10, None)
    assert one.rates().cache_read == 10


def test_prices_of_long_calls_are_taken_over_as_well() -> None:
    one = Listed({"input": 10, "output": 20, "cache_read": 1})
    long = {"input": 20, "output": 40}
    other = Listed({"input": 10, "output": 20}, ((200, long),))
    ((over, dearer),) = one.with_more_of(other).rates().above
    assert (over, dearer.input, dearer.cache_read) == (200, 20, None)
    steeper = Listed({"input": 10, "output": 20}, ((100, long),))
    assert other.with_more_of(steeper).above == other.above


def test_a_rate_that_a_list_rounds_is_no_disagreement() -> None:
    one, other = Listed({"input": 51_000}), Listed({"input": 50_960, "output": 7})
    assert one.with_more_of(other).picos == {"input": 51_000, "output": 7}
    assert one.with_more_of(Listed({"input": 50_900, "output": 7})).picos == one.picos


def test_a_price_of_the_second_list_is_known_only_since_it_is_there() -> None:
    since = us(2026, 9, 15)
    model = "us-gov-west-1/anthropic.claude-opus-4-8"
    before, after = asked("bedrock", model, since - 1), asked("bedrock", model, since)
    assert (before.rates, before.until_us) == (None, since)
    assert after.rates is not None
    assert after.from_us == since
    assert after.origin.book.startswith("LiteLLM 1.110.2's")


def test_a_unit_that_cost_something_else_before_is_not_known_then() -> None:
    flex = {"service_tier": "flex"}
    vertex = "vertex_ai", "gemini-3.5-flash-lite"
    before, after = asked(*vertex, us(2026, 8, 26), flex), asked(*vertex, us(2026, 9, 26), flex)
    assert usd(before) == usd(after) == (0.15, 1.25)
    assert before.until_us == after.from_us == us(2026, 9, 15)
    assert before.rates is not None
    assert after.rates is not None
    assert (before.rates.cache_read, after.rates.cache_read) == (None, pico("0.015"))


def test_nor_is_it_filled_in_where_only_the_newest_price_has_it() -> None:
    zone = "azure", "azure/us/o4-mini-2025-04-16"
    before, after = asked(*zone, us(2026, 9, 30)), asked(*zone, us(2026, 10, 1))
    assert before.rates is not None
    assert after.rates is not None
    assert (before.rates.cache_read, after.rates.cache_read) == (None, pico("0.303"))


def test_what_the_second_list_adds_holds_from_then_on() -> None:
    since = us(2026, 9, 15)
    before, after = (asked("openai", "gpt-6-astra", at) for at in (since - 1, since))
    assert before.until_us == after.from_us == since
    for quote, known in ((before, False), (after, True)):
        assert quote.rates is not None
        assert ("cache_write_12h_tokens" in dict(quote.rates.others)) is known
        assert ("LiteLLM" in quote.origin.book) is known


def test_a_name_that_litellm_dropped_has_no_price_from_then_on() -> None:
    last, gone = us(2026, 10, 15) - 1, us(2026, 10, 15)
    meant = sought(Question("xai", "grok-3-mini", last))
    assert isinstance(meant, Sought)
    assert litellm_map.find(meant, last).until_us == gone
    row = litellm_map.find(meant, gone)
    assert (row.listed, row.from_us, row.reason) == (None, gone, "price_unknown:xai/grok-3-mini")


def test_the_second_lists_file_is_small_sorted_and_says_what_it_is_made_of() -> None:
    text = (FOLDER / "litellm_prices.json").read_text()
    held = json.loads(text)
    assert len(text) < 400_000
    assert held["maps"] == sorted(held["maps"])
    assert held["maps"][-1][1] in text
    assert list(held["names"]) == sorted(held["names"])
    for sold in held["names"].values():
        assert list(sold) == sorted(sold)
        for timeline in (timeline for tiers in sold.values() for timeline in tiers.values()):
            since, rates = timeline[::2], timeline[1::2]
            assert since == sorted(set(since))
            assert all(0 <= number < len(held["maps"]) for number in since)
            assert all(0 <= number < len(held["rates"]) for number in rates if number is not None)
            assert rates[0] is not None
            assert None not in rates[:-1]


def test_lists_are_asked_for_nothing_but_what_was_meant() -> None:
    meant = sought(Question("openai", "openai/gpt-5", NOW))
    assert isinstance(meant, Sought)
    for find in (genai.find, litellm_map.find):
        row = find(meant, NOW)
        assert row.listed is not None
        assert row.listed.picos["input"] == pico("1.25")


# A price of one's own


@pytest.mark.parametrize(
    ("expected", "provider"), [((3.75, 6, 3.75), "anthropic"), ((3, 3, 3), "acme")]
)
def test_an_override_prices_every_token_by_its_vendors_rule_or_its_own(
    expected: tuple[float, float, float], provider: str
) -> None:
    mine = Override(
        model="m", provider=provider, input_usd_per_million=3, output_usd_per_million=15
    )
    rates = Overrides([mine]).quote(Question(provider, "m", NOW, (("speed", "fast"),))).rates
    assert rates is not None
    others = dict(rates.others)
    writes = rates.cache_write, rates.cache_write_1h, others["cache_write_12h_tokens"]
    assert writes == tuple(map(pico, expected))
    assert (rates.audio_in, others["image_in_tokens"]) == (pico(3), pico(3))
    assert (rates.audio_out, others["image_out_tokens"]) == (pico(15), pico(15))


# In the child


def test_a_question_and_its_answer_pass_through_the_child_whole() -> None:
    child = ChildBook(now_s=time.monotonic)
    modifiers = (("inference_geo", "us"), ("speed", "fast"))
    questions = [
        Question("anthropic", "claude-opus-4-8", NOW, modifiers),
        Question("anthropic", "claude-opus-4-8", NOW, (("speed", "odd"),)),
        Question("nobody", "x", NOW),
    ]
    try:
        answers = [child.quote(question) for question in questions]
    finally:
        child.close()
    assert answers == [BOOK.quote(question) for question in questions]
    assert [bool(answer.reason) for answer in answers] == [False, True, True]
    assert answers[2].until_us == FOREVER
