"""LiteLLM's price file as a second book: exact names only, and nothing that tokens cannot bill."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from prodlensd import config
from prodlensd.model import Price, Trace
from prodlensd.pricing import ALWAYS, FOREVER, BookUnavailableError, ChildBook, Pricer, Rates
from prodlensd.pricing.litellm_file import LiteLLMFile
from prodlensd.pricing.overrides import Overrides
from prodlensd.pricing.rates import Question, cost, pico

NOW = int(datetime(2026, 11, 22, tzinfo=UTC).timestamp()) * 1_000_000
MODULE = "prodlensd.pricing.litellm_file"

CHAT = {"mode": "chat", "litellm_provider": "acme", "max_input_tokens": 200_000}
PLAIN = CHAT | {"input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05}
#: In the shape of the real file: one entry of each kind.
FILE: dict[str, Any] = {
    "sample_spec": {
        "input_cost_per_token": 1e-06,
        "output_cost_per_token": 1e-06,
        "litellm_provider": "one of https://docs.litellm.ai/docs/providers",
        "mode": "one of: chat, embedding, completion, image_generation",
    },
    "acme/plain": PLAIN,
    "bare": PLAIN,
    "acme/both": PLAIN,
    "both": PLAIN | {"input_cost_per_token": 9e-06},
    "acme/full": PLAIN
    | {
        "cache_read_input_token_cost": 3e-07,
        "cache_creation_input_token_cost": 3.75e-06,
        "cache_creation_input_token_cost_above_1hr": 6e-06,
        "output_cost_per_reasoning_token": 2e-05,
        "input_cost_per_audio_token": 1e-05,
        "output_cost_per_audio_token": 2.4e-05,
        "input_cost_per_image_token": 8e-06,
        "output_cost_per_image_token": 3.2e-05,
        "input_cost_per_video_token": 2e-06,
        "output_cost_per_video_token": 4e-05,
        "cache_creation_input_token_cost_above_12hr": 9e-06,
        "cache_read_input_audio_token_cost": 1e-06,
        "cache_read_input_image_token_cost": 4e-06,
        "citation_cost_per_token": 2e-06,
        "search_context_cost_per_query": {
            "search_context_size_low": 0.01,
            "search_context_size_high": 0.01,
        },
        "google_maps_grounding_cost_per_query": 0.025,
        "supports_vision": True,
    },
    "acme/long": PLAIN
    | {
        "input_cost_per_token_above_200k_tokens": 6e-06,
        "output_cost_per_token_above_200k_tokens": 2.25e-05,
        "cache_read_input_token_cost": 3e-07,
        "cache_read_input_token_cost_above_200k_tokens": 6e-07,
        "input_cost_per_token_above_1000k_tokens": 1e-05,
        "output_cost_per_token_above_1000k_tokens": 3e-05,
        "input_cost_per_token_flex": 1.5e-06,
        "output_cost_per_token_flex": 7.5e-06,
        "input_cost_per_token_batches": 1e-06,
        "output_cost_per_token_batches": 2e-06,
        "input_cost_per_token_above_200k_tokens_batches": 3e-06,
        "output_cost_per_token_above_200k_tokens_batches": 4e-06,
        "input_cost_per_token_above_1000k_tokens_batches": 5e-06,
        "output_cost_per_token_above_1000k_tokens_batches": 6e-06,
    },
    "acme/tiers": PLAIN
    | {
        "input_cost_per_token_flex": 1.5e-06,
        "output_cost_per_token_flex": 7.5e-06,
        "input_cost_per_token_priority": 6e-06,
        "output_cost_per_token_priority": 3e-05,
        "input_cost_per_token_batches": 1e-06,
    },
    "acme/whole-dollars": CHAT | {"input_cost_per_token": 1, "output_cost_per_token": 0},
    "acme/embed": PLAIN | {"mode": "embedding", "output_cost_per_token": 0.0},
    "vertex_ai/claude": PLAIN | {"litellm_provider": "vertex_ai-anthropic_models"},
    "us.writer.v1:0": PLAIN | {"litellm_provider": "bedrock_converse"},
    "reseller/plain": PLAIN | {"litellm_provider": "reseller"},
}


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """`write(entries)`: the path of a price file of these."""

    def write(entries: object) -> Path:
        path = tmp_path / "prices.json"
        path.write_text(entries if isinstance(entries, str) else json.dumps(entries))
        return path

    return write


@pytest.fixture
def book(write: Any) -> LiteLLMFile:
    return LiteLLMFile(write(FILE))


def a_question(provider: str, model: str, tier: str | None = None, **modifiers: str) -> Question:
    given = {**modifiers, **({"service_tier": tier} if tier is not None else {})}
    return Question(provider, model, NOW, tuple(sorted(given.items())))


def rates_in(book: LiteLLMFile, provider: str, model: str, tier: str | None = None) -> Rates | None:
    return book.quote(a_question(provider, model, tier)).rates


def usd(rates: Rates | None) -> tuple[float, float] | None:
    return rates and ((rates.input or 0) / 1e6, (rates.output or 0) / 1e6)


@pytest.mark.parametrize(
    ("expected", "provider", "model"),
    [
        ((3, 15), "acme", "plain"),
        ((3, 15), "acme", "acme/plain"),
        ((3, 15), "acme", "bare"),
        ((3, 15), "acme", "acme/bare"),  # the provider's own prefix says nothing new
        ((3, 15), "acme", "both"),  # with the provider before the logged name
        ((3, 15), "acme", "acme/both"),
        ((3, 15), "vertex_ai", "claude"),
        ((3, 15), "bedrock", "us.writer.v1:0"),
        ((3, 15), "bedrock_converse", "us.writer.v1:0"),
        (None, "acme", "Plain"),
        (None, "acme", "plain-20260101"),
        (None, "acme", "plai"),
        (None, "acme", "other/plain"),
        (None, "acme", ""),
        (None, "", "acme/plain"),
        (None, "", "bare"),
        (None, "reseller", "bare"),
        (None, "reseller", "acme/plain"),
        (None, "acme", "reseller/plain"),
        (None, "acm", "bare"),
        (None, "None", "bare"),
        (None, "acme", "sample_spec"),
        (None, "vertex_ai-anthropic", "claude"),
        (None, "vertex", "vertex_ai/claude"),
    ],
)
def test_a_name_is_looked_up_exactly_and_at_its_own_seller_only(
    book: LiteLLMFile, expected: tuple[int, int] | None, provider: str, model: str
) -> None:
    assert usd(rates_in(book, provider, model)) == expected


def test_every_unit_of_the_file_is_read(book: LiteLLMFile) -> None:
    rates = rates_in(book, "acme", "full")
    assert rates is not None
    assert rates[:8] == tuple(map(pico, ("3", "15", "0.3", "3.75", "6", "20", "10", "24")))
    assert dict(rates.others) == {
        "image_in_tokens": pico(8),
        "image_out_tokens": pico(32),
        "video_in_tokens": pico(2),
        "video_out_tokens": pico(40),
        "cache_write_12h_tokens": pico(9),
        "audio_cache_read_tokens": pico(1),
        "image_cache_read_tokens": pico(4),
        "citation_tokens": pico(2),
        "web_search_requests": pico(10_000),  # a cent a search
        "maps_grounding_requests": pico(25_000),
    }


def test_what_is_free_for_a_while_has_no_price_of_one_more(write: Any) -> None:
    free = FILE["acme/full"] | {"search_free_requests": {"count": 5000, "period": "month"}}
    rates = rates_in(LiteLLMFile(write({"acme/m": free})), "acme", "m")
    assert rates is not None
    assert {"web_search_requests", "maps_grounding_requests"}.isdisjoint(dict(rates.others))


def test_a_missing_unit_costs_what_its_vendor_says_and_else_has_no_price(
    book: LiteLLMFile, write: Any
) -> None:
    rates = rates_in(book, "acme", "plain")
    assert rates == Rates(pico(3), pico(15), cache_read=pico(3), reasoning=pico(15))
    claude = LiteLLMFile(write({"claude": PLAIN | {"litellm_provider": "anthropic"}}))
    rates = rates_in(claude, "anthropic", "claude")
    assert rates is not None
    assert (rates.cache_write, rates.cache_write_1h) == (pico("3.75"), pico(6))
    assert rates.audio_in is None


@pytest.mark.parametrize(
    ("expected", "tier"),
    [
        ((3, 15), None),
        ((3, 15), ""),
        ((3, 15), "default"),
        ((3, 15), "on_demand"),
        ((1.5, 7.5), "flex"),
        ((1.5, 7.5), "FLEX"),
        ((6, 30), "priority"),
        (None, "batch"),  # of which only the input has a price
        (None, "scale"),
        (None, "_flex"),
    ],
)
def test_a_tier_has_its_own_price_or_none(
    book: LiteLLMFile, expected: tuple[float, float] | None, tier: str | None
) -> None:
    assert usd(rates_in(book, "acme", "tiers", tier)) == expected


@pytest.mark.parametrize(
    ("expected", "tokens_in"),
    [
        ("0.615", 200_000),
        ("1.222506", 200_001),
        ("6.0225", 1_000_000),
        ("10.03001", 1_000_001),
    ],
)
def test_a_long_input_is_billed_wholly_at_the_price_above_its_cliff(
    book: LiteLLMFile, expected: str, tokens_in: int
) -> None:
    rates = rates_in(book, "acme", "long")
    assert rates is not None
    assert [threshold for threshold, _ in rates.above] == [200_000, 1_000_000]
    call = Trace._make([None] * len(Trace._fields))._replace(tokens_in=tokens_in, tokens_out=1000)
    assert cost(rates, call).nanousd == round(float(expected) * 1e9)
    # what a cache read costs above the second cliff is not written there
    assert [dearer.cache_read for _, dearer in rates.above] == [600_000, None]


def test_a_tier_whose_price_of_long_input_is_not_known_has_none(book: LiteLLMFile) -> None:
    assert rates_in(book, "acme", "long", "flex") is None
    rates = rates_in(book, "acme", "long", "batch")
    assert usd(rates) == (1, 2)
    assert rates is not None
    assert [(over, usd(dearer)) for over, dearer in rates.above] == [
        (200_000, (3, 4)),
        (1_000_000, (5, 6)),
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "video_generation"},
        {"mode": "ocr"},
        {"mode": "rerank"},
        {"mode": None},
        {"mode": ["chat"]},
        {"input_cost_per_token": None},
        {"output_cost_per_token": None},
        {"output_cost_per_token": "1.5e-05"},
        {"output_cost_per_token": True},
        {"input_cost_per_token": -3e-06},
        {"input_cost_per_token": 2.5},
        {"input_cost_per_token": float("nan")},
        {"output_cost_per_token": float("inf")},
        {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0},
        {"input_cost_per_token": 0.0},
        {"input_cost_per_token_above_200k_tokens": 6e-06},
        {"tiered_pricing": [{"range": [0, 32000], "input_cost_per_token": 1e-06}]},
        {"tiered_pricing": [{"input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06}]},
        {"tiered_pricing": []},
        {"tiered_pricing": 3},
        {"tiered_pricing": [3]},
        {"off_peak_pricing": {}},
        {"input_cost_per_request": 0.005},
        {"input_cost_per_query": 0.005},
        {"input_cost_per_character": 1e-06},
        {"search_context_cost_per_query": {"low": 0.005, "high": 0.012}},
        {"litellm_provider": None},
    ],
    ids=str,
)
def test_what_is_no_whole_price_of_a_call_is_none(write: Any, change: dict[str, Any]) -> None:
    book = LiteLLMFile(write({"acme/m": PLAIN | change, "acme/n": PLAIN}))
    assert rates_in(book, "acme", "m") is None
    assert usd(rates_in(book, "acme", "n")) == (3, 15)


@pytest.mark.parametrize("entry", [None, 3, "text", [], [PLAIN], {}])
def test_an_entry_that_is_no_table_is_passed_over(write: Any, entry: object) -> None:
    assert rates_in(LiteLLMFile(write({"acme/m": entry, "m": PLAIN})), "acme", "m") is not None


def test_a_dollar_a_token_is_the_highest_price(book: LiteLLMFile) -> None:
    assert usd(rates_in(book, "acme", "whole-dollars")) == (1_000_000, 0)
    assert usd(rates_in(book, "acme", "embed")) == (3, 0)


def test_images_that_have_no_rate_are_no_text(write: Any) -> None:
    paints = PLAIN | {"mode": "image_generation"}
    entries = {"acme/m": paints, "acme/n": paints | {"output_cost_per_image_token": 3.2e-05}}
    book = LiteLLMFile(write(entries))
    assert rates_in(book, "acme", "m") is None
    rates = rates_in(book, "acme", "n")
    assert rates is not None
    assert dict(rates.others) == {"image_out_tokens": pico(32)}


def test_of_two_prices_of_a_cache_read_neither_is_known(write: Any) -> None:
    reads = {"cache_read_input_token_cost": 3e-07, "explicit_cache_read_input_token_cost": 1e-07}
    rates = rates_in(LiteLLMFile(write({"acme/m": PLAIN | reads})), "acme", "m")
    assert rates is not None
    assert (rates.input, rates.cache_read) == (pico(3), None)


def test_ranges_of_input_tokens_are_cliffs(write: Any) -> None:
    ranges = [
        {"range": [0, 32000.0], "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06},
        {
            "range": [32000.0, 128000.0],
            "input_cost_per_token": 3e-06,
            "output_cost_per_token": 4e-06,
        },
    ]
    book = LiteLLMFile(write({"acme/m": CHAT | {"tiered_pricing": ranges}}))
    rates = rates_in(book, "acme", "m")
    assert rates is not None
    assert usd(rates) == (1, 2)
    assert [(over, usd(dearer)) for over, dearer in rates.above] == [(32_000, (3, 4))]
    assert rates_in(book, "acme", "m", "flex") is None


def test_xai_charges_the_price_of_long_calls_from_the_threshold_on(write: Any) -> None:
    entry = FILE["acme/long"] | {"litellm_provider": "xai"}
    rates = rates_in(LiteLLMFile(write({"xai/grok": entry})), "xai", "grok")
    assert rates is not None
    assert [over for over, _ in rates.above] == [199_999, 999_999]


def test_a_tier_without_a_rate_that_the_standard_has_does_not_know_it(write: Any) -> None:
    entry = FILE["acme/tiers"] | {"cache_read_input_token_cost": 3e-07}
    book = LiteLLMFile(write({"acme/m": entry}))
    standard, flex = rates_in(book, "acme", "m"), rates_in(book, "acme", "m", "flex")
    assert standard is not None
    assert flex is not None
    assert (standard.cache_read, flex.cache_read) == (300_000, None)


REGIONS = {
    "claude": PLAIN | {"litellm_provider": "bedrock"},
    "bedrock/eu-west-2/claude": PLAIN
    | {"litellm_provider": "bedrock", "input_cost_per_token": 4e-06},
    "azure/gpt": PLAIN | {"litellm_provider": "azure"},
    "azure/eu/gpt": PLAIN | {"litellm_provider": "azure", "input_cost_per_token": 5e-06},
}


@pytest.mark.parametrize(
    ("expected", "asked"),
    [
        (3, a_question("bedrock", "bedrock/claude")),
        (3, a_question("bedrock", "bedrock/us-west-2/claude")),
        (3, a_question("bedrock", "claude", region="us-east-1")),
        (4, a_question("bedrock", "bedrock/eu-west-2/claude")),
        (4, a_question("bedrock", "claude", region="EU-WEST-2")),
        (5, a_question("azure", "azure/eu/gpt")),
        (5, a_question("azure", "gpt", region="eu")),
        (3, a_question("azure", "azure/gpt", region="global")),
        ("modifier_unknown:region=eu-west-1", a_question("bedrock", "claude", region="eu-west-1")),
        (
            "modifier_unknown:region=eu-west-1 and eu-west-2",
            a_question("bedrock", "bedrock/eu-west-2/claude", region="eu-west-1"),
        ),
        ("modifier_unknown:region=us", a_question("azure", "azure/us/gpt")),
        ("modifier_unknown:speed=fast", a_question("azure", "azure/gpt", speed="fast")),
        ("modifier_unknown:service_tier=flex", a_question("azure", "azure/gpt", "flex")),
        ("model_unknown:azure/other", a_question("azure", "azure/other")),
    ],
)
def test_a_region_or_another_modifier_has_a_row_of_its_own_or_no_price(
    write: Any, expected: float | str, asked: Question
) -> None:
    quote = LiteLLMFile(write(REGIONS)).quote(asked)
    assert (usd(quote.rates) or [quote.reason])[0] == expected


def test_a_price_there_is_a_table_price_with_its_origin_and_of_any_time(book: LiteLLMFile) -> None:
    question = a_question("acme", "plain")
    quote = book.quote(question)
    assert quote[1:] == (
        ALWAYS,
        FOREVER,
        ("LiteLLM price file prices.json", "acme/plain", "is acme/plain"),
        "",
    )
    assert book.quote(question._replace(at_us=ALWAYS)) == quote
    empty = Trace._make([None] * len(Trace._fields))
    trace = empty._replace(
        started_us=NOW,
        provider="acme",
        model="acme/plain",
        status="success",
        tokens_in=1000,
        tokens_out=100,
        cache_hit=False,
        anomalies=(),
    )
    pricer = Pricer(books=[Overrides([]), book])
    assert pricer.price(trace)[:3] == Price(4_500_000, "table", 4_500_000)[:3]
    assert pricer.quote(trace) == ("table", quote)


# Files that are none


BAD_FILES = ["", "{", "[]", "null", "3", '{"a": 1', b"\xff\xfe\x00".decode("latin-1")]


@pytest.mark.parametrize("content", BAD_FILES)
def test_what_is_no_price_file_is_refused_by_name(write: Any, content: str) -> None:
    path = write(content)
    with pytest.raises(ValueError, match=r"prices\.json"):
        LiteLLMFile(path)


def test_a_file_of_numbers_too_long_to_read_is_refused_by_name(write: Any) -> None:
    with pytest.raises(ValueError, match=r"prices\.json"):
        LiteLLMFile(write(f'{{"a": {"1" * 5000}}}'))


@pytest.mark.parametrize("content", ["[]", "{", None])
def test_the_child_says_which_file_is_not_to_be_read_and_answers_when_it_is(
    write: Any, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "prices.json" if content is None else write(content)
    child = ChildBook(MODULE, str(path), now_s=time.monotonic)
    try:
        with pytest.raises(BookUnavailableError, match=r"prices\.json"):
            child.quote(a_question("acme", "plain"))
        write(FILE)
        quote = child.quote(a_question("acme", "plain"))
        assert quote == LiteLLMFile(path).quote(a_question("acme", "plain"))
        long = a_question("acme", "long")
        assert child.quote(long) == LiteLLMFile(path).quote(long)
    finally:
        child.close()


# Its place in the configuration


def configured(folder: Path, value: str) -> config.Config:
    (folder / "config.toml").write_text(f'[pricing]\nlitellm_prices = "{value}"\n')
    return config.load(folder / "config.toml")


def test_the_file_is_looked_for_beside_the_configuration(write: Any, tmp_path: Path) -> None:
    path = write(FILE)
    assert configured(tmp_path, "prices.json").pricing.litellm_prices == path
    assert configured(tmp_path, str(path)).pricing.litellm_prices == path
    assert configured(tmp_path, "").pricing.litellm_prices is None


@pytest.mark.parametrize("missing", ["no-such.json", "."])
def test_a_file_that_is_not_there_is_an_error_of_its_key(tmp_path: Path, missing: str) -> None:
    with pytest.raises(config.ConfigError, match=r"pricing\.litellm_prices: no such file"):
        configured(tmp_path, missing)
