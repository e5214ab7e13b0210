"""Money: exact to the nano-dollar, from the source that is to be believed, and never invented."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import genai_prices.data
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodlensd.formats import fields
from prodlensd.ledger import Ledger, Prices
from prodlensd.model import NANOUSD_PER_USD, NO_BILL, Bill, Price, Trace, Usage, bill_json
from prodlensd.pricing import (
    ALWAYS,
    BookUnavailableError,
    ChildBook,
    Override,
    PriceBook,
    Pricer,
    Quote,
    Rates,
    flat_rates,
)
from prodlensd.pricing.builtin import BuiltinBook
from prodlensd.pricing.genai import (
    _explains,
    _leaves,
    _sellers,
    _stem_chars,
    _text,
    find,
)
from prodlensd.pricing.names import _PROVIDERS, Sought, sought
from prodlensd.pricing.rates import (
    FOREVER,
    MAX_NANOUSD,
    STANDARD_TIERS,
    Origin,
    Question,
    cost,
    from_list,
    pico,
    rates_of,
    to_json,
)

SONNET = "claude-sonnet-4-5-20250929"
BEDROCK_SONNET = f"us.anthropic.{SONNET}-v1:0"


def us(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[arg-type,misc]


OCTOBER_2025 = us(2025, 10, 12)
NOVEMBER_2026 = us(2026, 11, 17, 12)
BOOK = BuiltinBook()
EMPTY = Trace._make([None] * len(Trace._fields))


def a_trace(provider: str | None, model: str | None, **facts: Any) -> Trace:
    """A successful call of 1000 tokens in and out, unless told otherwise."""
    call = {"started_us": NOVEMBER_2026, "status": "success", "cache_hit": False, "anomalies": ()}
    tokens = {"tokens_in": 1000, "tokens_out": 1000}
    return EMPTY._replace(provider=provider, model=model, **{**call, **tokens, **facts})


def buckets(fresh: int, read: int, write: int, hour: int, out: int) -> dict[str, int]:
    """The columns of a call whose tokens are given as disjoint buckets."""
    return {
        "tokens_in": fresh + read + write + hour,
        "tokens_out": out,
        "cache_read_tokens": read,
        "cache_write_tokens": write + hour,
        "cache_write_1h_tokens": hour,
    }


def question(provider: str, model: str, at_us: int, tier: str | None = None) -> Question:
    """What a book is asked about such a call."""
    is_standard = tier is None or tier.lower() in STANDARD_TIERS
    return Question(provider, model, at_us, () if is_standard else (("service_tier", tier or ""),))


def asked(provider: str, model: str, at_us: int, tier: str | None = None) -> Quote:
    """What the built-in price lists answer."""
    return BOOK.quote(question(provider, model, at_us, tier))


def charged(rates: Rates, usage: Usage, bill: Bill = NO_BILL) -> int | None:
    """What a call with these tokens costs."""
    call = EMPTY._replace(**usage._asdict(), bill=bill_json(bill))
    return cost(rates, call).nanousd


class Only(PriceBook):
    """A book that knows one price, counts its questions, and changes its mind when told to."""

    def __init__(self, *quotes: Quote) -> None:
        self.quotes = quotes
        self.asked = 0

    def quote(self, question: Question) -> Quote:
        self.asked += 1
        return next(q for q in self.quotes if q.from_us <= question.at_us < q.until_us)


class Unpriced:
    """Equal to every price of an unpriced call, whatever the reason."""

    def __eq__(self, other: object) -> bool:
        is_price = isinstance(other, Price) and other.nanousd is other.table_nanousd is None
        return is_price and other.source == "unpriced" and bool(other.reason)  # type: ignore[attr-defined]

    __hash__ = None  # type: ignore[assignment]


UNPRICED: Any = Unpriced()
TEN = flat_rates(10, 10)
NO_BOOK = Only(Quote(None))


@pytest.mark.parametrize(
    ("usd", "provider", "model", "facts"),
    [
        pytest.param(
            "0.00300",
            "anthropic",
            "claude-3-5-sonnet-20241022",
            buckets(250, 0, 0, 0, 150) | {"started_us": OCTOBER_2025},
            id="V1",
        ),
        pytest.param(
            "0.00028",
            "anthropic",
            "anthropic/claude-3-5-haiku-latest",
            buckets(100, 0, 0, 0, 50) | {"started_us": OCTOBER_2025},
            id="V2",
        ),
        pytest.param(
            "0.03000",
            None,
            "anthropic/claude-3-opus-20240229",
            buckets(500, 0, 0, 0, 300) | {"started_us": OCTOBER_2025},
            id="V3",
        ),
        pytest.param("0.013275", "anthropic", SONNET, buckets(1500, 8000, 500, 0, 300), id="V4"),
        pytest.param("0.014175", "anthropic", SONNET, buckets(1500, 8000, 100, 400, 300), id="V5"),
        pytest.param(
            "0.0033475",
            "openai",
            "gpt-5",
            buckets(86, 1920, 0, 0, 300) | {"reasoning_tokens": 200},
            id="V6",
        ),
        pytest.param("0.640", "gemini", "gemini-2.5-pro", buckets(250000, 0, 0, 0, 1000), id="V7"),
        pytest.param("0.260", "gemini", "gemini-2.5-pro", buckets(200000, 0, 0, 0, 1000), id="V8"),
        pytest.param(
            "0.5150025", "gemini", "gemini-2.5-pro", buckets(200001, 0, 0, 0, 1000), id="V8 above"
        ),
        pytest.param("0.005625", "openai", "gpt-5", {"service_tier": "flex"}, id="V9"),
        pytest.param("0.0198", "bedrock", BEDROCK_SONNET, {}, id="V10"),
        pytest.param(
            "0.0146025", "bedrock", BEDROCK_SONNET, buckets(1500, 8000, 500, 0, 300), id="V10c"
        ),
        pytest.param(
            "0.2265",
            "anthropic",
            "claude-sonnet-4-5",
            buckets(10000, 240000, 0, 0, 1000) | {"started_us": OCTOBER_2025},
            id="V11",
        ),
        pytest.param(
            "0.054399", "anthropic", "claude-3-7-sonnet", buckets(3, 0, 12304, 0, 550), id="V12"
        ),
        pytest.param(
            "0.018",
            "anthropic",
            "claude-sonnet-4-20250514",
            {"gateway_nanousd": 0},
            id="V13",
        ),
        pytest.param(
            "0.0000035",
            "openai",
            "text-embedding-3-small",
            {"tokens_in": 175, "tokens_out": None, "call_type": "aembedding"},
            id="an embedding",
        ),
        pytest.param(
            "0.0007",
            "deepseek",
            "deepseek-chat",
            {"started_us": OCTOBER_2025},
            id="a corrected price",
        ),
        pytest.param(
            "0.012",
            "openai",
            "o3",
            {"started_us": us(2025, 6, 1), "tokens_in": 400, "tokens_out": 200},
            id="a price of its time",
        ),
    ],
)
def test_list_prices_are_exact_to_the_nano_dollar(
    usd: str, provider: str | None, model: str, facts: dict[str, Any]
) -> None:
    price = Pricer(books=[BOOK]).price(a_trace(provider, model, **facts))
    nanousd = int(Decimal(usd) * NANOUSD_PER_USD)
    assert price == Price(nanousd, "table", nanousd)


@pytest.mark.parametrize("prefer", ["gateway", "table"])
def test_v14_an_answer_from_the_gateways_cache_costs_nothing(prefer: Any) -> None:
    trace = a_trace("openai", "gpt-5", cache_hit=True, gateway_nanousd=0)
    assert Pricer(prefer=prefer, books=[BOOK]).price(trace) == Price(0, "cache_hit")


def test_v15_a_deployments_alias_has_no_price() -> None:
    trace = a_trace("azure", "azure/my-team-deployment", gateway_nanousd=0)
    assert Pricer(books=[BOOK]).price(trace) == UNPRICED


@pytest.mark.parametrize(
    ("nanousd", "tokens_in", "tokens_out"),
    [(4_000_000, 250, 150), (1_500_000, 100, 50), (8_000_000, 500, 300)],
)
def test_a_fallback_is_used_when_nothing_else_knows_and_is_called_so(
    nanousd: int, tokens_in: int, tokens_out: int
) -> None:
    trace = a_trace(None, "somebody/something", tokens_in=tokens_in, tokens_out=tokens_out)
    assert Pricer(fallback=TEN, books=[NO_BOOK]).price(trace) == Price(nanousd, "fallback")
    assert Pricer(fallback=TEN).price(trace._replace(model=None)) == Price(nanousd, "fallback")
    assert Pricer(books=[NO_BOOK]).price(trace) == UNPRICED


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("gemini", "gemini-2.5-pro-ultra"),
        ("anthropic", "claude-3-5-sonnet-foo"),
        ("deepseek", "deepseek-chat-v99"),
        ("anthropic", "claude-99"),
        ("anthropic", "claude-sonnet-4-5-turbo"),
        ("anthropic", "claude-opus-4-99"),
        ("anthropic", "claude-sonnet-4-20259999"),
        ("openai", "gpt-99-turbo"),
        ("openai", "gpt-5-nano-foo"),
        ("openai", "gpt-5-latest"),
        ("openai", "acme-internal-7b"),
        ("openai", "claude-sonnet-4-5"),
        ("openai", "anthropic/claude-sonnet-4-5"),
        ("azure", "my-o4-mini-deployment"),
        ("bedrock", f"evil-{BEDROCK_SONNET}"),
        ("bedrock", f"us.anthropic.{SONNET}-mini-v1:0"),
        ("bedrock", f"us-east-1/1-month-commitment/{BEDROCK_SONNET}"),
        ("vertex_ai", f"my-{SONNET}"),
        ("openrouter", "openrouter/openai/claude-sonnet-4.5"),
        ("fireworks_ai", "accounts/fireworks/models/deepseek-v4-pro-8b"),
        ("mistral", "mixtral-8x7b-evil"),
        ("groq", SONNET),
        ("nobody", "gpt-5"),
        ("openai", ""),
        ("openai", "whisper-1"),  # neither are hours
        ("perplexity", "sonar"),  # nor how deep it searched
    ],
)
def test_a_name_nobody_sells_has_no_price(provider: str, model: str) -> None:
    assert asked(provider, model, NOVEMBER_2026, None).rates is None


@pytest.mark.parametrize(
    ("usd_per_million", "provider", "model"),
    [
        ((3, 15), "anthropic", f"anthropic/{SONNET}"),
        ((3, 15), "anthropic", f"{SONNET}[1m]"),
        ((3, 15), "anthropic", "claude-sonnet-4-20250514"),
        ((3, 15), "anthropic", "Claude-Sonnet-4-6"),
        ((15, 75), "anthropic", "claude-opus-4-1-20250805"),
        ((1.25, 10), "openai", "openai/gpt-5-2025-08-07"),
        ((0.25, 2), "openai", "gpt-5-mini-20250807"),
        ((5, 30), "openai", "openai/openai/gpt-5.5"),
        ((0.3, 1.2), "openai", "ft:gpt-4o-mini-2024-07-18:acme::abc123"),
        ((1.25, 10), "vertex_ai", "vertex_ai/gemini-2.5-pro"),
        ((0.1, 0.4), "gemini", "gemini-2.0-flash-001"),
        ((3, 15), "vertex_ai", "claude-sonnet-4-5@20250929"),
        ((3.3, 16.5), "bedrock", f"bedrock/converse/{BEDROCK_SONNET}"),
        ((3.3, 16.5), "bedrock_converse", f"eu.anthropic.{SONNET}-v1:0"),
        ((3, 15), "bedrock", f"bedrock/global.anthropic.{SONNET}-v1:0"),
        ((3, 15), "bedrock", "us-west-2/anthropic.claude-3-5-sonnet-20241022-v2:0"),
        ((3.3, 16.5), "bedrock", f"arn:aws:bedrock:us-east-1:1:inference-profile/{BEDROCK_SONNET}"),
        ((2.5, 10), "azure", "azure/gpt-4o"),
        ((3, 15), "openrouter", "openrouter/anthropic/claude-sonnet-4.5"),
        ((0.15, 0.6), "groq", "groq/openai/gpt-oss-120b"),
        ((1.74, 3.48), "fireworks_ai", "fireworks_ai/accounts/fireworks/models/deepseek-v4-pro"),
    ],
)
def test_real_names_in_all_their_spellings_have_their_price(
    usd_per_million: tuple[float, float], provider: str, model: str
) -> None:
    rates = asked(provider, model, NOVEMBER_2026, None).rates
    assert rates is not None
    assert (rates.input, rates.output) == tuple(map(pico, usd_per_million))


@pytest.mark.parametrize(
    ("input_usd", "at"),
    [
        ("0.56", us(2025, 9, 20)),
        ("0.28", us(2025, 9, 29)),
        ("0.28", us(2026, 4, 23, 23)),
        (None, us(2026, 4, 24)),
    ],
)
def test_what_a_deepseek_alias_cost_depends_on_the_day(input_usd: str | None, at: int) -> None:
    quote = asked("deepseek", "deepseek/deepseek-chat", at, None)
    assert quote.from_us <= at < quote.until_us
    assert (quote.rates and quote.rates.input) == (input_usd and pico(input_usd))


def test_a_quote_from_before_a_correction_ends_where_the_correction_begins() -> None:
    assert asked("deepseek", "deepseek-chat", us(2025, 9, 5, 15), None).until_us == us(
        2025, 9, 5, 16
    )


@pytest.mark.parametrize(
    ("input_usd", "at", "window"),
    [
        ("0.66", us(2026, 11, 17, 0), (us(2026, 11, 17), us(2026, 11, 17, 1))),
        ("1.32", us(2026, 11, 17, 2), (us(2026, 11, 17, 1), us(2026, 11, 17, 4))),
        (None, us(2026, 11, 21, 2), (us(2026, 11, 21, 1), us(2026, 11, 21, 4))),
        ("0.66", us(2026, 11, 21, 5), (us(2026, 11, 21, 4), us(2026, 11, 21, 6))),
        (None, us(2026, 8, 11, 2), (us(2026, 8, 11, 1), us(2026, 8, 11, 4))),
        ("0.435", us(2026, 8, 16, 23), (us(2026, 8, 16, 10), us(2026, 8, 17))),
    ],
    ids=["night", "peak", "weekend peak", "weekend", "peak of an unknown past", "before peaks"],
)
def test_peak_hours_are_honoured_where_the_book_knows_them_and_refused_where_not(
    input_usd: str | None, at: int, window: tuple[int, int]
) -> None:
    rates, *held, _, _ = asked("deepseek", "deepseek-v4-pro", at, None)
    assert (rates and rates.input) == (input_usd and pico(input_usd))
    assert tuple(held) == window


@pytest.mark.parametrize("tier", [None, "", "standard", "default", "auto", "ON_DEMAND"])
def test_these_tiers_are_the_list_price(tier: str | None) -> None:
    rates = asked("openai", "gpt-5", NOVEMBER_2026, tier).rates
    assert rates is not None
    assert rates.input == 1_250_000


@pytest.mark.parametrize(
    ("input_pico", "tier"),
    [(625_000, "FLEX"), (625_000, "batch"), (2_500_000, "priority"), (None, "scale")],
)
def test_another_tier_is_another_price_or_none(input_pico: int | None, tier: str) -> None:
    rates = asked("openai", "gpt-5", NOVEMBER_2026, tier).rates
    assert (rates and rates.input) == input_pico


def test_a_tier_has_no_price_before_its_price_is_known_nor_at_a_reseller() -> None:
    assert asked("openai", "gpt-5", us(2025, 8, 20), "flex").rates is None
    assert asked("azure", "gpt-5", NOVEMBER_2026, "flex").rates is None
    assert asked("azure", "gpt-5", NOVEMBER_2026, None).rates is not None


MINE = Override(
    model="my-deployment", input_usd_per_million=3.0, output_usd_per_million=Decimal(15)
)
OVERRIDE = Price(18_000_000, "override")


@pytest.mark.parametrize(
    ("expected", "facts"),
    [
        (OVERRIDE, {"gateway_nanousd": 5_000_000_000}),
        (Price(0, "cache_hit"), {"cache_hit": True, "gateway_nanousd": 5_000_000_000}),
        (Price(0, "not_billable"), {"status": "failure", "tokens_in": None, "tokens_out": None}),
        (Price(0, "not_billable"), {"status": "failure", "tokens_in": 0, "tokens_out": 0}),
        (OVERRIDE, {"status": "failure"}),
        (UNPRICED, {"tokens_in": None, "tokens_out": None}),
        (
            Price(40_000_000, "gateway"),  # an image: no tokens, but a cost that the gateway knows
            {"tokens_in": None, "tokens_out": None, "gateway_nanousd": 40_000_000},
        ),
        (Price(5_000_000_000, "gateway"), {"tokens_out": None, "gateway_nanousd": 5_000_000_000}),
        (UNPRICED, {"tokens_out": None}),
        (UNPRICED, {"tokens_in": None}),
        (
            UNPRICED,
            {"tokens_in": None, "tokens_out": None, "total_tokens": 9},
        ),
    ],
)
@pytest.mark.parametrize("prefer", ["gateway", "table"])
def test_what_comes_before_any_price_list(
    prefer: Any, expected: Price, facts: dict[str, Any]
) -> None:
    pricer = Pricer(prefer=prefer, fallback=TEN, overrides=[MINE])
    assert pricer.price(a_trace("azure", "azure/my-deployment", **facts)) == expected


GATEWAY = Price(1_230_000, "gateway", 11_250_000)
GATEWAY_ALONE = Price(1_230_000, "gateway")
TABLE = Price(11_250_000, "table", 11_250_000)


@pytest.mark.parametrize(
    ("prefer", "expected", "provider", "cost"),
    [
        ("gateway", GATEWAY, "openai", 0.00123),
        ("table", TABLE, "openai", 0.00123),
        ("gateway", TABLE, "openai", 0.0),
        ("gateway", TABLE, "openai", None),
        ("gateway", TABLE, "openai", float("nan")),
        ("gateway", TABLE, "openai", float("inf")),
        ("gateway", TABLE, "openai", -1.0),
        ("gateway", TABLE, "openai", 1e15),
        ("table", GATEWAY_ALONE, "unheard-of", 0.00123),
        ("table", Price(20_000_000, "fallback"), "unheard-of", 0.0),
        ("gateway", Price(0, "free"), "ollama", 0.0),
        ("gateway", Price(0, "free"), "ollama_chat", None),
        ("gateway", GATEWAY_ALONE, "ollama", 0.00123),
        ("table", GATEWAY_ALONE, "ollama", 0.00123),
        ("table", Price(0, "free"), "ollama", 0.0),
        ("table", Price(0, "free"), "azure", 0.0),
    ],
)
def test_the_order_in_which_prices_are_believed(
    prefer: Any, expected: Price, provider: str, cost: float | None
) -> None:
    nanousd = fields.nanousd(cost)
    pricer = Pricer(prefer=prefer, free_providers=["ollama", "azure"], fallback=TEN, books=[BOOK])
    named = a_trace(provider, "gpt-5", gateway_nanousd=nanousd)
    prefixed = a_trace(None, f"{provider}/gpt-5", gateway_nanousd=nanousd)
    assert pricer.price(named) == expected
    assert pricer.price(prefixed) == expected


def test_an_absurd_number_of_tokens_is_not_priced_at_all() -> None:
    trace = a_trace("openai", "gpt-5", tokens_in=2**53)
    assert Pricer(books=[BOOK], fallback=TEN).price(trace) == UNPRICED


@pytest.mark.parametrize(
    ("input_usd", "provider", "model", "at"),
    [
        ("1", "acme", "acme/m", us(2026, 1, 1)),
        ("1", "acme", "m", us(2026, 1, 31, 23)),
        ("2", "acme", "m", us(2026, 2, 1)),
        (None, "acme", "m", us(2026, 3, 1)),
        ("3", "other", "m", us(2025, 12, 31)),
        (None, "other", "m", us(2026, 1, 1)),
        (None, "acme", "M", us(2026, 1, 1)),
        (None, "acme", "acme/m2", us(2026, 1, 1)),
    ],
)
def test_an_override_is_for_its_exact_model_provider_and_time(
    input_usd: str | None, provider: str, model: str, at: int
) -> None:
    def priced(usd: float, **facts: Any) -> Override:
        return Override(
            model="m", input_usd_per_million=usd, output_usd_per_million=Decimal(0), **facts
        )

    pricer = Pricer(
        overrides=[
            priced(1, provider="acme", valid_to=date(2026, 2, 1)),
            priced(2, provider="acme", valid_to=datetime(2026, 3, 1, tzinfo=UTC)),
            priced(3, valid_to=date(2026, 1, 1)),
        ]
    )
    pricer.price(a_trace(provider, model, started_us=us(2020, 1, 1)))  # is not for another time
    price = pricer.price(a_trace(provider, model, started_us=at))
    assert price.nanousd == (input_usd and pico(input_usd))


def test_an_override_lasts_from_its_first_moment_until_just_before_its_last() -> None:
    later = Override(
        model="m",
        input_usd_per_million=1,
        output_usd_per_million=0,
        valid_from=date(2026, 1, 1),
        valid_to=date(2026, 2, 1),
    )
    pricer = Pricer(overrides=[later])
    first, last = us(2026, 1, 1), us(2026, 2, 1)
    times = [first - 1, first, last - 1, last, first, first - 1, last, last - 1]
    prices = [pricer.price(a_trace("a", "m", started_us=at)).source for at in times]
    yes, no = "override", "unpriced"
    assert prices == [no, yes, yes, no, yes, no, no, yes]


def test_what_a_book_said_is_asked_again_only_when_it_no_longer_holds() -> None:
    cheap = Quote(flat_rates(1, 1), until_us=us(2026, 1, 1))
    book = Only(cheap, Quote(flat_rates(2, 2), from_us=us(2026, 1, 1)))
    pricer = Pricer(books=[book])
    days = [us(2025, 12, 30), us(2025, 12, 31, 23), us(2026, 1, 1), us(2026, 5, 1), us(2025, 1, 1)]
    prices = [pricer.price(a_trace("a", "m", started_us=day)).nanousd for day in days]
    assert prices == [2_000_000, 2_000_000, 4_000_000, 4_000_000, 2_000_000]
    assert book.asked == 3


def test_what_is_remembered_is_bounded() -> None:
    book = Only(Quote(TEN))
    pricer = Pricer(books=[book])
    for number in range(10_000):
        pricer.price(a_trace("a", f"m{number}"))
    assert pricer.price(a_trace("a", "m" * 1000)) == UNPRICED
    assert 0 < len(pricer._table._held) <= 4096


# Two costs of one call


LISTED = Quote(flat_rates(1, 1), origin=Origin("book 1", "acme/m", "is m"))
LISTED_COST = 2_000_000  # of a call of `a_trace`


@pytest.mark.parametrize(
    ("expected", "prefer", "mine", "gateway_nanousd"),
    [
        (Price(5_000_000, "gateway", LISTED_COST), "gateway", (), 5_000_000),
        (Price(LISTED_COST, "table", LISTED_COST), "table", (), 5_000_000),
        (Price(LISTED_COST, "table", LISTED_COST), "gateway", (), 0),
        (Price(18_000_000, "override", LISTED_COST), "gateway", (MINE,), 5_000_000),
        (Price(18_000_000, "override", LISTED_COST), "table", (MINE,), None),
    ],
)
def test_what_the_table_asks_is_kept_whoevers_cost_counts(
    expected: Price, prefer: Any, mine: tuple[Override, ...], gateway_nanousd: int | None
) -> None:
    pricer = Pricer(prefer=prefer, overrides=mine, books=[Only(LISTED)], fallback=TEN)
    trace = a_trace("acme", "my-deployment", gateway_nanousd=gateway_nanousd)
    assert pricer.price(trace) == expected


@pytest.mark.parametrize(
    "facts",
    [
        {"cache_hit": True, "gateway_nanousd": 5_000_000},
        {"status": "failure", "tokens_in": None, "tokens_out": None},
        {"provider": "ollama", "gateway_nanousd": 5_000_000},
        {"tokens_out": None, "gateway_nanousd": 5_000_000},
    ],
    ids=["cache hit", "not billable", "free provider", "tokens missing"],
)
def test_what_no_table_can_ask_for_has_no_table_cost(facts: dict[str, Any]) -> None:
    pricer = Pricer(free_providers=["ollama"], books=[Only(LISTED)], fallback=TEN)
    assert pricer.price(a_trace("acme", "m")._replace(**facts)).table_nanousd is None


# Pins: what calls were priced at, kept for when a book no longer says so


class Observed:
    """The pins of a ledger, on a clock of its own."""

    def __init__(self, store: Ledger, clock: SimpleNamespace) -> None:
        self.prices = Prices(store, lambda: clock.now_us)
        self.clock = clock
        self._ledger = store

    def rows(self, columns: str) -> list[Any]:
        return list(self._ledger.db.execute(f"SELECT {columns} FROM price ORDER BY rowid"))

    def price(self, trace: Trace, *quotes: Quote, **more: Any) -> Price:
        """By a pricer that has only just started."""
        books = [Only(quote) for quote in quotes]
        pricer = Pricer(books=books, pins=self.prices, **more)
        price = pricer.price(trace)
        self.prices.write_pins()
        return price


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    clock = SimpleNamespace(now_us=NOVEMBER_2026)
    with Ledger(tmp_path / "prodlens.db") as store:
        yield Observed(store, clock)


LOST = Quote(None)


def call_at(at_us: int) -> Trace:
    return a_trace("acme", "m", started_us=at_us)


def test_a_price_is_kept_once_with_where_it_stands_and_how_it_was_found(ledger: Any) -> None:
    rates = rates_of({"input": 7, "output": 9}, "acme", ((100, flat_rates(3, 4)),))
    quote = Quote(rates, us(2026, 1, 1), us(2027, 1, 1), Origin("book 1", "acme/m", "is m"))
    trace = a_trace("acme", "acme/m", service_tier="flex")
    price = ledger.price(trace, quote)
    ledger.clock.now_us += 1
    again = ledger.price(trace, quote)
    assert price == again
    assert ledger.rows("price_id, source, provider, model, tier, book, entry, match") == [
        (price.price_id, "table", "acme", "acme/m", "flex", "book 1", "acme/m", "is m")
    ]
    assert ledger.rows("from_us, until_us, rates, pinned_us, confirmed_us") == [
        (*quote[1:3], to_json(rates), NOVEMBER_2026, NOVEMBER_2026 + 1)
    ]
    assert ledger.prices.pinned("acme", "acme/m", "flex", NOVEMBER_2026).rates == to_json(rates)


@pytest.mark.parametrize(
    ("same", "quote"),
    [
        (True, LISTED._replace(origin=Origin("book 2.0", "acme/m", "begins with m"))),
        (False, LISTED._replace(rates=flat_rates(1, 2))),
        (False, LISTED._replace(rates=flat_rates(1, 1)._replace(above=((9, TEN),)))),
        (False, LISTED._replace(until_us=us(2027, 1, 1))),
        (False, LISTED._replace(origin=Origin("book 1", "acme/n", "is m"))),
        (False, LISTED._replace(origin=Origin("paper 1", "acme/m", "is m"))),
    ],
    ids=["version", "rates", "cliff", "window", "entry", "book"],
)
def test_equal_rates_of_another_version_of_the_book_are_the_same_price(
    ledger: Any, same: bool, quote: Quote
) -> None:
    trace = a_trace("acme", "m")
    first, second = ledger.price(trace, LISTED), ledger.price(trace, quote)
    assert (first.price_id == second.price_id) is same
    assert len(ledger.rows("*")) == 2 - same
    assert ("book 1",) in ledger.rows("book")  # as it was when first used


def test_the_price_behind_a_cost_is_its_own_else_the_tables(ledger: Any) -> None:
    trace = a_trace("acme", "my-deployment")
    own = ledger.price(trace, LISTED, overrides=[MINE])
    gateway = ledger.price(trace._replace(gateway_nanousd=5_000_000), LISTED)
    table = ledger.price(trace, LISTED)
    fallback = ledger.price(trace._replace(tokens_out=3), LOST, fallback=TEN, overrides=[])
    assert (gateway.source, gateway.price_id) == ("gateway", table.price_id)
    assert table.source == fallback.source == "table"  # the pins know it still
    flat = ledger.price(a_trace("acme", "unknown"), LOST, fallback=TEN)
    sources = dict(ledger.rows("price_id, source"))
    assert sources[table.price_id] == "table"
    assert sources[own.price_id] == "override"
    assert sources[flat.price_id] == "fallback"
    for source in ("free", "unpriced"):
        price = ledger.price(a_trace("x", "y"), LOST, free_providers=["x"] * (source == "free"))
        assert price[1:4] == (source, None, None)


def test_a_price_the_book_has_lost_holds_until_the_book_last_said_so(ledger: Any) -> None:
    before = ledger.price(call_at(OCTOBER_2025), LISTED)
    ledger.clock.now_us += 10**12
    last = ledger.clock.now_us
    ledger.price(call_at(OCTOBER_2025), LISTED)
    ledger.clock.now_us += 10**12
    for at_us, source in [
        (OCTOBER_2025, "table"),
        (ALWAYS, "table"),
        (last, "table"),
        (last + 1, "unpriced"),
        (ledger.clock.now_us, "unpriced"),
        (FOREVER - 1, "unpriced"),
    ]:
        price = ledger.price(call_at(at_us), LOST)
        assert price.source == source
        assert price.nanousd == (before.nanousd if source == "table" else None)
    assert ledger.price(a_trace("acme", "m2"), LOST).source == "unpriced"
    assert ledger.price(a_trace("acme2", "m"), LOST).source == "unpriced"
    flex = a_trace("acme", "m", started_us=last, service_tier="flex")
    assert ledger.price(flex, LOST).source == "unpriced"


def test_using_a_lost_price_does_not_make_it_the_price_of_later_calls(ledger: Any) -> None:
    ledger.price(call_at(NOVEMBER_2026), LISTED)
    ledger.clock.now_us += 10**12
    pricer = Pricer(books=[Only(LOST)], pins=ledger.prices)
    times = [NOVEMBER_2026 - 1, NOVEMBER_2026, NOVEMBER_2026 + 1, ledger.clock.now_us]
    sources = ["table", "table", "unpriced", "unpriced"]
    assert [pricer.price(call_at(at)).source for at in times] == sources
    assert [ledger.price(call_at(at), LOST).source for at in times] == sources


def test_of_several_prices_that_are_kept_the_one_last_heard_of_counts(ledger: Any) -> None:
    for usd in (1, 2):
        ledger.price(call_at(OCTOBER_2025), LISTED._replace(rates=flat_rates(usd, usd)))
        ledger.clock.now_us += 1
    assert ledger.price(call_at(OCTOBER_2025), LOST).nanousd == 4_000_000


def test_what_is_kept_of_an_override_or_a_fallback_is_no_list_price(ledger: Any) -> None:
    trace = a_trace("acme", "my-deployment")
    assert ledger.price(trace, LOST, overrides=[MINE]).source == "override"
    assert ledger.price(trace, LOST, fallback=TEN).source == "fallback"
    assert len(ledger.rows("*")) == 2
    assert ledger.price(trace, LOST) == UNPRICED


def test_a_window_of_the_kept_price_is_kept_too(ledger: Any) -> None:
    first, end = us(2026, 1, 1), us(2026, 2, 1)
    ledger.price(call_at(first), LISTED._replace(from_us=first, until_us=end))
    times = [first - 1, first, end - 1, end]
    sources = [ledger.price(call_at(at), LOST).source for at in times]
    assert sources == ["unpriced", "table", "table", "unpriced"]


def test_the_book_is_asked_before_what_is_kept_and_that_before_the_second_book(ledger: Any) -> None:
    trace = call_at(OCTOBER_2025)
    second = LISTED._replace(rates=flat_rates(5, 5), origin=Origin("second"))
    newer = LISTED._replace(rates=flat_rates(3, 3))
    assert ledger.price(trace, LOST, LOST) == UNPRICED
    assert ledger.price(trace, LISTED, second).nanousd == LISTED_COST
    assert ledger.price(trace, newer, second).nanousd == 6_000_000
    assert ledger.price(trace, LOST, second).nanousd == 6_000_000
    after = call_at(ledger.clock.now_us + 1)
    assert ledger.price(after, LOST, second).nanousd == 10_000_000


def test_what_the_second_book_says_holds_no_longer_than_the_first_has_none() -> None:
    until = us(2026, 1, 1)
    lost_until = Quote(None, until_us=until)
    book = Only(lost_until, LISTED._replace(from_us=until))
    second = Only(LISTED._replace(rates=flat_rates(5, 5)))
    pricer = Pricer(books=[book, second])
    costs = [pricer.price(call_at(at)).nanousd for at in (until - 1, until)]
    assert costs == [10_000_000, LISTED_COST]


PICOS = st.fixed_dictionaries(dict.fromkeys(("input", "output"), st.integers(0, 10**12)))
SIMPLE = st.builds(rates_of, PICOS, st.sampled_from(["anthropic", "x"]))


@given(SIMPLE, st.lists(st.tuples(st.integers(1, 10**6), SIMPLE), max_size=3))
def test_rates_survive_being_kept(rates: Rates, above: list[tuple[int, Rates]]) -> None:
    rates = rates._replace(above=tuple(above))
    assert from_list(json.loads(to_json(rates))) == rates


@pytest.mark.parametrize(
    ("source", "usd", "provider", "model"),
    [
        ("override", 3, "ollama", "my-deployment"),
        ("override", 3, None, "ollama/my-deployment"),
        ("table", 1, "acme", "m"),
        ("free", None, "ollama", "m"),
        ("free", None, None, "ollama_chat/m"),
        ("fallback", 10, "nobody", "m"),
    ],
)
def test_a_quote_is_by_whose_rates_the_call_would_be_priced(
    source: str, usd: int | None, provider: str | None, model: str
) -> None:
    class OnlyAcme(Only):
        def quote(self, question: Question) -> Quote:
            return super().quote(question) if question.provider == "acme" else LOST

    pricer = Pricer(
        free_providers=["ollama"], overrides=[MINE], books=[OnlyAcme(LISTED)], fallback=TEN
    )
    trace = a_trace(provider, model)
    told, quote = pricer.quote(trace)
    assert told == source == pricer.price(trace).source
    assert (quote.rates and quote.rates.input) == (usd and pico(usd))


def test_a_quote_of_what_nobody_knows_has_no_rates() -> None:
    lost = LOST._replace(reason="model_unknown:m")
    assert Pricer(books=[Only(lost)]).quote(a_trace("a", "m"))[1].reason == lost.reason
    for model in (None, "m" * 1000):
        source, quote = Pricer().quote(a_trace("a", model))
        assert (source, quote.rates) == ("unpriced", None)
        assert quote.reason


UNITS = {"input": 1000, "output": 7000}


@pytest.mark.parametrize(
    ("expected", "provider", "picos"),
    [
        ((1000, 1250, 2000), "anthropic", UNITS),
        ((1000, 1000, None), "openai", UNITS),
        ((1000, None, None), "somebody", UNITS),
        ((100, 900, None), "openai", {**UNITS, "cache_read": 100, "cache_write": 900}),
        ((100, 900, 2000), "anthropic", {**UNITS, "cache_read": 100, "cache_write": 900}),
    ],
)
def test_a_missing_unit_is_filled_in_only_where_the_vendor_says_so(
    expected: tuple[int | None, ...], provider: str, picos: dict[str, int]
) -> None:
    rates = rates_of(picos, provider)
    assert (rates.cache_read, rates.cache_write, rates.cache_write_1h) == expected
    assert (rates.reasoning, rates.audio_in, rates.audio_out) == (7000, None, None)


def test_reasoning_and_audio_have_their_own_rates_where_there_are_any() -> None:
    rates = rates_of({**UNITS, "reasoning": 3000, "audio_in": 5000, "audio_out": 9000}, "x")
    usage = Usage(100, 50, None, 20, None, None, 10, 30, 5)
    expected = (70 + 0) * 1 + 30 * 5 + 35 * 7 + 10 * 3 + 5 * 9
    assert charged(rates, usage) == expected


@pytest.mark.parametrize(("nanousd", "tokens"), [(0, 1), (1, 2), (2, 3), (2, 5), (4, 7)])
def test_half_a_nano_dollar_of_a_cost_goes_to_the_even_neighbour(nanousd: int, tokens: int) -> None:
    half = rates_of({"input": 500, "output": 0}, "x")
    assert charged(half, Usage(tokens, 0)) == nanousd


@pytest.mark.parametrize("usd", [-1, "x", float("nan"), float("inf"), 10**7])
def test_what_is_no_price_is_refused(usd: Any) -> None:
    with pytest.raises(ValueError, match="price"):
        pico(usd)


def test_a_rate_keeps_every_decimal() -> None:
    assert [pico(0.1), pico("0.003625"), pico(Decimal("0.075")), pico(3)] == [
        100_000,
        3_625,
        75_000,
        3_000_000,
    ]


def half_even(value: Fraction) -> int:
    return round(value)


@given(st.floats(min_value=0, max_value=1e6, exclude_min=True))
def test_the_gateways_float_is_rounded_as_it_is_printed(usd: float) -> None:
    assert fields.nanousd_of(usd) == half_even(Fraction(repr(usd)) * NANOUSD_PER_USD)


@given(st.integers(0, 10**9).map(lambda n: n * 2 + 1))
def test_a_half_nano_dollar_goes_to_the_even_neighbour(halves: int) -> None:
    usd = float(f"{halves * 5}e-10")
    assert fields.nanousd_of(usd) == half_even(Fraction(halves, 2))


COUNT = st.integers(0, 10**7)
RATE = st.integers(0, 10**8)
FLAT = st.tuples(*[RATE] * 8).map(lambda rates: Rates(*rates))
TIERED = st.builds(lambda flat, dearer: flat._replace(above=((1000, dearer),)), FLAT, FLAT)
PARTS = st.tuples(*[COUNT] * 5)


def by_hand(rates: Rates, parts: tuple[int, ...]) -> Fraction:
    """Nano-USD of disjoint buckets, before rounding."""
    if rates.above and sum(parts[:4]) > 1000:
        rates = rates.above[0][1]
    each = (rates[0], rates[2], rates[3], rates[4], rates[1])
    return Fraction(sum(n * (rate or 0) for n, rate in zip(parts, each, strict=True)), 1000)


def usage_of(parts: tuple[int, ...]) -> Usage:
    return Usage(**buckets(*parts))


@given(TIERED, PARTS | st.tuples(*[st.integers(0, 300)] * 5))
def test_a_cost_is_the_sum_of_its_buckets_rounded_once(
    rates: Rates, parts: tuple[int, ...]
) -> None:
    assert charged(rates, usage_of(parts)) == half_even(by_hand(rates, parts))


@given(FLAT, PARTS, st.integers(0, 4), COUNT)
def test_more_tokens_never_cost_less(
    rates: Rates, parts: tuple[int, ...], which: int, more: int
) -> None:
    larger = (*parts[:which], parts[which] + more, *parts[which + 1 :])
    cost, larger_cost = (charged(rates, usage_of(p)) for p in (parts, larger))
    assert cost is not None
    assert larger_cost is not None
    assert cost <= larger_cost


@given(FLAT, PARTS, st.integers(1, 50))
def test_within_a_tier_twice_the_tokens_cost_twice_as_much(
    rates: Rates, parts: tuple[int, ...], times: int
) -> None:
    cost = charged(rates, usage_of(parts))
    multiple = charged(rates, usage_of(tuple(n * times for n in parts)))
    assert cost is not None
    assert multiple is not None
    assert abs(multiple - cost * times) <= times // 2 + 1  # half a nano-dollar for each rounding


VENDORS = genai_prices.data.providers
NAMES = [(vendor.id, model.id) for vendor in VENDORS for model in vendor.models]
LOGGED_AS = {book: provider for provider, book in _PROVIDERS.items()}
SOLD = [(LOGGED_AS.get(vendor, vendor), name) for vendor, name in NAMES]


@given(
    st.sampled_from(SOLD)
    | st.tuples(st.sampled_from(sorted(_PROVIDERS)), st.text(max_size=20))
    | st.tuples(st.just("deepseek"), st.sampled_from(["deepseek-chat", "deepseek-v4-pro"])),
    st.integers(-(2**63), 2**63 - 1) | st.integers(us(2024, 1, 1), us(2027, 1, 1)),
    st.none() | st.sampled_from(["flex", "batch", "priority"]) | st.text(max_size=5),
)
def test_any_question_has_an_answer_that_holds_at_its_time_and_at_its_edges(
    sold: tuple[str, str], at_us: int, tier: str | None
) -> None:
    rates, from_us, until_us, _, _ = asked(*sold, at_us, tier)
    assert from_us <= at_us < until_us or (rates is None and until_us == FOREVER)
    for moment in (from_us, until_us - 1):
        if abs(moment) < us(9000, 1, 1):
            assert asked(*sold, moment, tier).rates == rates


@pytest.mark.sampled(2)
@pytest.mark.parametrize("tokens", [(1000, 300, 100), (300_000, 200_000, 5000)])
def test_every_price_of_the_book_is_charged_as_the_book_itself_would(
    tokens: tuple[int, int, int],
) -> None:
    tokens_in, read, tokens_out = tokens
    at = datetime(2026, 11, 17, 12, tzinfo=UTC)
    priced = 0
    for (vendor, name), (provider, _) in zip(NAMES, SOLD, strict=True):
        meant = sought(question(provider, name, NOVEMBER_2026))
        if not isinstance(meant, Sought):
            continue
        rates = find(meant, NOVEMBER_2026).quote().rates
        if rates is None or rates.output is None:
            continue
        usage = genai_prices.Usage(
            input_tokens=tokens_in, cache_read_tokens=read, output_tokens=tokens_out
        )
        theirs = genai_prices.calc_price(
            usage, meant.name, provider_id=vendor, genai_request_timestamp=at
        ).total_price
        ours = charged(rates, Usage(tokens_in, tokens_out, None, read))
        assert ours == half_even(Fraction(theirs) * NANOUSD_PER_USD), (vendor, name)
        priced += 1
    assert priced > 1000


@given(st.builds(a_trace, st.sampled_from(["openai", "x", None]), st.text(max_size=9)), st.floats())
def test_every_call_gets_a_price_that_fits_the_ledger(trace: Trace, cost: float) -> None:
    nanousd, source, table_nanousd, _, reason = PRICER.price(
        trace._replace(gateway_nanousd=fields.nanousd(cost))
    )
    assert table_nanousd is None or 0 <= table_nanousd <= MAX_NANOUSD
    assert (nanousd is None) == (source == "unpriced") == (reason is not None)
    assert nanousd is None or 0 <= nanousd <= MAX_NANOUSD


@given(st.builds(a_trace, st.sampled_from(["openai", "x", None]), st.text(max_size=9)))
def test_on_a_plan_every_call_costs_nothing_and_what_is_not_known_has_its_reason(
    trace: Trace,
) -> None:
    usual = PRICER.price(trace)
    on_plan = PRICER.price(trace._replace(bill=bill_json(Bill(plan=True))))
    assert on_plan == Price(0, "plan", usual.nanousd, usual.price_id, usual.reason)
    assert usual.is_known == on_plan.is_known == (on_plan.reason is None)


PRICER = Pricer(books=[BOOK])


@pytest.mark.long
def test_the_child_answers_as_the_book_itself_does_and_comes_back_after_a_rest() -> None:
    child = ChildBook(now_s=time.monotonic)
    questions = [
        question("anthropic", SONNET, NOVEMBER_2026),
        question("gemini", "gemini-2.5-pro", OCTOBER_2025),
        question("openai", "text-embedding-3-small", NOVEMBER_2026),
        question("openai", "gpt-\ud8005\n\x00é", NOVEMBER_2026, "flex"),
    ]
    for each in questions:
        assert child.quote(each) == BOOK.quote(each)
        child.close()
    child.close()


class Counted(ChildBook):
    """A child that counts how often it is asked, and how much at once."""

    def __init__(self) -> None:
        super().__init__(now_s=time.monotonic)
        self.asked: list[int] = []

    def _ask(self, questions: Sequence[Question]) -> Iterator[Quote]:
        self.asked.append(len(questions))
        return super()._ask(questions)


@pytest.mark.long
def test_what_is_expected_is_asked_for_at_once_and_had_once() -> None:
    child = Counted()
    questions = [question("gemini", f"gemini-2.5-pro@x{n}", OCTOBER_2025) for n in range(1100)]
    questions[7] = question("anthropic", "made-up", OCTOBER_2025)
    try:
        child.expect(questions)
        assert child.asked == [500, 500, 100]
        answers = [child.quote(each) for each in questions]
        assert len(child.asked) == 3
        assert answers == [BOOK.quote(each) for each in questions]
        assert child.quote(questions[0]) == answers[0]
        assert len(child.asked) == 4
        child.expect(questions[:1])
        child.expect(questions[1:2])
        child.quote(questions[0])
        assert len(child.asked) == 7
    finally:
        child.close()


def test_what_calls_need_is_known_before_the_first_is_priced() -> None:
    book = Only(LISTED)
    pricer = Pricer(books=[book], free_providers=["ollama"], overrides=[MINE])
    pricer.price(a_trace("acme", "known"))
    calls = [
        a_trace("acme", "known"),
        a_trace("acme", "new"),
        a_trace("acme", "new", started_us=OCTOBER_2025),
        a_trace("acme", "new", service_tier="flex"),
        a_trace(None, "zeta/new"),
        a_trace("ollama", "new"),
        a_trace("acme", "hit", cache_hit=True),
        a_trace("acme", "failed", status="failure"),
        a_trace("acme", "x" * 301),
    ]
    assert sorted(pricer.questions(calls), key=str) == [
        question("acme", "new", NOVEMBER_2026, "flex"),
        question("acme", "new", NOVEMBER_2026),
        question("zeta", "zeta/new", NOVEMBER_2026),
    ]


def names_like_those_of_the_book() -> Iterator[tuple[str, str]]:
    """Each name of a seller's list as it is, and with something before, after or within it."""
    for book_name in sorted(vendor.id for vendor in VENDORS):
        for _, shelf in _sellers(book_name):
            for model in shelf.models:
                texts = {text.lower() for text in map(_text, _leaves(model.match)) if text}
                for name in {model.id, *texts}:
                    yield from ((book_name, name), (book_name, name[1:]), (book_name, f"{name}x"))
                    yield from ((book_name, f"eu.acme.{name}-20250101-v1:0"), (book_name, ""))
                    yield from ((book_name, f"us.{name}@x-1"), (book_name, f"a.b.c.{name}-latest"))
                    yield book_name, f"{name}-2025-01-01{name}"


@pytest.mark.parametrize("name", ["", "-latest", "@x", ":0", "-v1"])
def test_a_name_that_is_nothing_but_a_version_has_no_price(name: str) -> None:
    for provider in _PROVIDERS:
        assert asked(provider, f"{provider}/{name}", NOVEMBER_2026, None).rates is None


@pytest.mark.long
@pytest.mark.parametrize("part", range(8))
def test_a_name_is_found_as_if_every_clause_of_the_book_were_asked(part: int) -> None:
    found = 0
    for book_name, name in sorted(set(names_like_those_of_the_book()))[part::8]:
        stem = _stem_chars(name, book_name)
        for _, shelf in _sellers(book_name):
            near = shelf.near(name, stem, in_scope=book_name == "aws")
            expected = [m for m in shelf.models if _explains(m.match, name, book_name)]
            assert [m for m in near if _explains(m.match, name, book_name)] == expected, name
            found += len(expected)
    assert found > 375


def test_a_child_that_cannot_answer_is_a_fault_and_not_an_unknown_price() -> None:
    broken = ChildBook("prodlensd.pricing.no_such_book", now_s=time.monotonic)
    with pytest.raises(BookUnavailableError) as fault:
        Pricer(books=[broken], fallback=TEN).price(a_trace("openai", "gpt-5"))
    assert isinstance(fault.value, OSError)


LATE_BOOK = """
import json, os, sys, time
for line in sys.stdin:
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.01)
    answers = [[None, 0, at_us, ["", "", ""], "late"] for _, _, at_us, _ in json.loads(line)]
    print(json.dumps(answers), flush=True)
"""


def test_a_child_that_is_late_is_waited_for_and_its_late_answer_is_to_its_own_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = tmp_path / "let go"

    def start(*arguments: str, **_: object) -> Any:
        command = [sys.executable, "-c", LATE_BOOK, *arguments]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    monkeypatch.setattr("prodlensd.child.start", start)
    now_s = [0.0]
    book = ChildBook("late_book", str(let_go), now_s=lambda: now_s[0], patience_s=0.01)
    try:
        for _ in range(3):
            with pytest.raises(BookUnavailableError, match="not within"):
                book.quote(question("acme", "first", 1))
        late = book._child
        book._patience_s = 60
        let_go.touch()
        assert book.quote(question("acme", "second", 2)).until_us == 2
        assert book._child is late is not None
        let_go.unlink()
        book._patience_s = 0.01
        now_s[0] = 100.0
        with pytest.raises(BookUnavailableError):
            book.quote(question("acme", "third", 3))
        now_s[0] = 200.0
        with pytest.raises(BookUnavailableError):
            book.quote(question("acme", "third", 3))
        assert book._child is None  # it hangs: the next question starts another
    finally:
        book.close()


def test_the_daemons_side_never_loads_the_heavy_libraries() -> None:
    program = (
        "import sys, prodlensd.pricing\n"
        "print([m for m in ('genai_prices', 'pydantic', 'httpx2') if m in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        check=True,
    )
    assert ran.stdout == b"[]\n"
