"""What a call is billed for: what is not wholly understood has no price by the table.

The kinds are those of public reports: each sample in tests/data/cases.jsonl names its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodlensd import formats
from prodlensd.formats.usage import USAGE_MISSING, USAGE_UNKNOWN, read_usage
from prodlensd.formats.usage_keys import KEYS, NOTHING
from prodlensd.model import NO_BILL, UNPRICED_REASONS, Bill, Price, Trace, bill_json, bill_of
from prodlensd.pricing import ChildBook, Pricer, Question, Quote, flat_rates
from prodlensd.pricing.rates import PriceBook, Rates, cost, modifiers_of, rates_of

CASES = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "data" / "cases.jsonl").read_text().splitlines()
]
TIME = "2026-11-02T12:00:00Z"


@pytest.fixture(scope="module")
def pricer() -> Iterator[Pricer]:
    book = ChildBook(now_s=time.monotonic)
    yield Pricer(books=[book])
    book.close()


def a_call(usage: dict[str, Any], model: str = "anthropic/claude-sonnet-4-6", **more: Any) -> Trace:
    """A successful call with this usage, as it is read from a trace line."""
    attributes = {"llm.model_name": model, "status": "success", **more}
    record = {"timestamp": TIME, "attributes": attributes, "usage": usage}
    return formats.parse(json.dumps(record).encode())


def columns(trace: Trace, price: Price) -> dict[str, Any]:
    usd = None if price.nanousd is None else price.nanousd / 1e9
    return {**trace._asdict(), "cost_usd": usd, "cost_source": price.source}


# What was reported --------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_reported_line_has_the_right_value_or_none(case: dict[str, Any], pricer: Pricer) -> None:
    trace = formats.parse(case["line"].encode())
    found = columns(trace, pricer.price(trace))
    answers = [case[name] for name in ("want", "or") if name in case]
    assert [wanted for wanted in answers if wanted.items() <= found.items()], found


def test_all_reported_lines_are_here() -> None:
    assert len(CASES) == 18


# What is not understood ---------------------------------------------------------------------------

PLAIN = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}
PLACES = [path for path, role in [("", KEYS), *KEYS.items()] if isinstance(role, dict)]
SOMETHING = (
    st.integers(1, 10**6)
    | st.floats(1e-9, 1e6)
    | st.sampled_from([True])
    | st.text("abcXYZ", min_size=1, max_size=9)
    | st.just({"deep": {"er": 1}})
    | st.just([{"n": 1}])
)
UNKNOWN_NAMES = st.text("abcdefghij_", min_size=1, max_size=20)


@given(st.sampled_from(PLACES), UNKNOWN_NAMES.map(lambda name: f"new_{name}"), SOMETHING)
def test_a_key_that_nobody_knows_never_leaves_a_table_price(
    place: str, name: str, value: object
) -> None:
    added: dict[str, Any] = {name: value}
    usage = {**PLAIN, **({place: added} if place else added)}
    trace = a_call(usage)
    assert USAGE_UNKNOWN in trace.anomalies
    price = LISTED.price(trace)
    shown = f"{place}.{name}" if place else name
    assert (price.source, price.reason) == ("unpriced", f"usage_unknown:{shown}")
    paid = LISTED.price(trace._replace(gateway_nanousd=5))
    assert (paid.nanousd, paid.source, paid.table_nanousd) == (5, "gateway", None)


@pytest.mark.parametrize("nothing", [None, 0, 0.0, False, "", {}, [], {"a": 0, "b": {"c": None}}])
def test_a_key_that_says_nothing_changes_nothing(nothing: object) -> None:
    assert read_usage({**PLAIN, "brand_new": nothing}) == read_usage(PLAIN)


def test_a_total_that_is_no_number_is_odd_and_changes_no_price() -> None:
    trace = a_call({**PLAIN, "total_tokens": "lots"})
    assert trace.anomalies == ("usage_type",)
    assert LISTED.price(trace).source == "table"


@pytest.mark.parametrize("key", ["what did the user say", "née", "x" * 65, "a/b", "top-secret", ""])
def test_a_key_that_could_be_a_sentence_is_never_kept(key: str) -> None:
    assert read_usage({**PLAIN, key: 1}).bill.unknown == ("?",)


def test_however_much_is_unknown_few_names_are_kept() -> None:
    reading = read_usage({**PLAIN, **{f"k{number}": 1 for number in range(1000)}})
    assert len(reading.bill.unknown) == 8


def test_a_value_as_deep_as_json_goes_is_not_understood() -> None:
    deep: Any = 0
    for _ in range(500):
        deep = [deep]
    assert read_usage({**PLAIN, "deep": deep}).bill.unknown == ("deep",)


# Units --------------------------------------------------------------------------------------------

#: Every unit of the table of keys that is not a column.
UNITS = sorted(
    {
        role.partition(":")[2]
        for keys in (KEYS, *(inner for inner in KEYS.values() if isinstance(inner, dict)))
        for role in keys.values()
        if isinstance(role, str) and role.startswith("unit:")
    }
)
PARTS = {
    **dict.fromkeys(("image_in_tokens", "video_in_tokens", "document_in_tokens"), "tokens_in"),
    **dict.fromkeys(("image_out_tokens", "video_out_tokens"), "tokens_out"),
}
NO_COUNTS = Trace._make([None] * len(Trace._fields))


def call_of(units: dict[str, float], **counts: int) -> Trace:
    return NO_COUNTS._replace(
        **{"tokens_in": 10_000, "tokens_out": 10_000, **counts},  # type: ignore[arg-type]
        bill=bill_json(Bill(units=units)),
    )


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_without_a_rate_has_no_price_and_one_with_a_rate_has_its_own(unit: str) -> None:
    base = {"input": 1000, "output": 1000, "cache_read": 10, "cache_write": 1000}
    held = {"cache_read_tokens": 100, "cache_write_tokens": 100}
    bare = cost(rates_of(base), call_of({unit: 10}, **held))
    assert bare == (None, f"unit_without_rate:{unit}")
    free = cost(rates_of({**base, unit: 0}), call_of({unit: 10}, **held)).nanousd
    dear = cost(rates_of({**base, unit: 10**6}), call_of({unit: 10}, **held)).nanousd
    assert free is not None
    assert dear is not None
    assert dear - free == 10 * 10**6 // 1000


@given(
    st.dictionaries(st.sampled_from(UNITS), st.integers(0, 5000), max_size=4),
    st.sampled_from(UNITS),
    st.integers(0, 5000),
)
def test_more_of_a_unit_never_lowers_a_cost(units: dict[str, int], unit: str, more: int) -> None:
    same = dict.fromkeys(("input", "output", "cache_read", "cache_write", "audio_in", *UNITS), 7000)
    counts = {"cache_read_tokens": 20_000, "cache_write_tokens": 20_000, "tokens_in": 60_000}
    less = cost(rates_of(same), call_of(dict(units), **counts))
    larger = {**units, unit: units.get(unit, 0) + more}
    dearer = cost(rates_of(same), call_of(dict(larger), **counts))
    if less.nanousd is not None and dearer.nanousd is not None:
        assert less.nanousd <= dearer.nanousd
    else:  # a part that is larger than its whole is never priced
        assert dearer.reason == "usage_mismatch"


def test_parts_larger_than_the_whole_are_never_priced() -> None:
    everything = rates_of({"input": 1, "output": 1, "image_in_tokens": 1})
    call = call_of({"image_in_tokens": 10_001})
    assert cost(everything, call) == (None, "usage_mismatch")


def test_cache_writes_of_every_lifetime_are_at_their_own_rate() -> None:
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 0,
        "prompt_tokens_details": {
            "cache_write_tokens": 900,
            "cache_creation_token_details": {
                "ephemeral_5m_input_tokens": 100,
                "ephemeral_30m_input_tokens": 200,
                "ephemeral_1h_input_tokens": 250,
                "ephemeral_12h_input_tokens": 350,
            },
        },
    }
    reading = read_usage(usage)
    call = NO_COUNTS._replace(**reading.usage._asdict(), bill=bill_json(reading.bill))
    rates = rates_of(
        {
            "input": 1000,
            "output": 0,
            "cache_write": 2000,
            "cache_write_1h": 4000,
            "cache_write_30m_tokens": 3000,
            "cache_write_12h_tokens": 5000,
        }
    )
    assert cost(rates, call).nanousd == 100 * 1 + 100 * 2 + 200 * 3 + 250 * 4 + 350 * 5


def test_what_gemini_read_from_the_cache_is_at_the_rate_of_its_modality() -> None:
    usage = {
        "promptTokenCount": 1000,
        "candidatesTokenCount": 10,
        "totalTokenCount": 1010,
        "cachedContentTokenCount": 500,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 300},
            {"modality": "AUDIO", "tokenCount": 400},
            {"modality": "IMAGE", "tokenCount": 300},
        ],
        "cacheTokensDetails": [
            {"modality": "AUDIO", "tokenCount": 300},
            {"modality": "IMAGE", "tokenCount": 200},
        ],
    }
    reading = read_usage(usage)
    call = NO_COUNTS._replace(**reading.usage._asdict(), bill=bill_json(reading.bill))
    rates = rates_of(
        {
            "input": 1000,
            "output": 0,
            "audio_in": 5000,
            "cache_read": 100,
            "audio_cache_read_tokens": 500,
        },
        "google",
    )
    picos = 300 * 1000 + 100 * 5000 + 300 * 500 + 100 * 1000 + 200 * 100
    assert cost(rates, call).nanousd == picos // 1000


@pytest.mark.parametrize(
    ("call_type", "units", "audio"),
    [
        ("aimage_generation", {"image_out_tokens": 100}, None),
        ("image_edit", {"image_out_tokens": 100}, None),
        ("aspeech", {}, 100),
        ("acompletion", {}, None),
    ],
)
def test_what_makes_pictures_or_speech_makes_no_text_unless_its_usage_says_so(
    call_type: str, units: dict[str, int], audio: int | None
) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 100, "total_tokens": 110}
    for undivided in (usage, PLAIN):
        trace = a_call(undivided, call_type=call_type)
        assert (dict(bill_of(trace.bill).units), trace.audio_out_tokens) == (units, audio)
    divided = a_call(
        {**usage, "completion_tokens_details": {"text_tokens": 100}}, call_type=call_type
    )
    assert (divided.bill, divided.audio_out_tokens) == (None, None)


# Zeros that mean lost -----------------------------------------------------------------------------

ZEROS = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


@pytest.mark.parametrize(
    "usage", [ZEROS, {"input_tokens": 0, "output_tokens": 0}, {"promptTokenCount": 0}]
)
def test_a_success_that_counted_nothing_is_not_free(usage: dict[str, Any]) -> None:
    trace = a_call(usage)
    assert (trace.tokens_in, trace.tokens_out, trace.total_tokens) == (None, None, None)
    assert trace.anomalies == (USAGE_MISSING,)
    assert LISTED.price(trace) == Price(None, "unpriced", reason="usage_missing")
    assert LISTED.price(trace._replace(gateway_nanousd=7))[:2] == (7, "gateway")


def test_a_rejected_call_that_counted_nothing_is_not_billable() -> None:
    trace = a_call(ZEROS, status="failure")
    assert trace.anomalies == ()
    assert LISTED.price(trace) == Price(0, "not_billable")


def test_a_call_that_was_paid_by_use_alone_has_lost_nothing() -> None:
    trace = a_call({**ZEROS, "search_units": 2})
    assert trace.anomalies == ()


# Modifiers ----------------------------------------------------------------------------------------


class ByModifiers(PriceBook):
    """A book that knows the standard price, and fast mode."""

    def quote(self, question: Question) -> Quote:
        known: dict[Any, Rates] = {(): flat_rates(1, 1), (("speed", "fast"),): flat_rates(6, 6)}
        rates = known.get(question.modifiers)
        unknown = "modifier_unknown:" + "=".join(question.modifiers[0]) if rates is None else ""
        return Quote(rates, reason=unknown)


LISTED = Pricer(books=[ByModifiers()])


@pytest.mark.parametrize(
    ("nanousd", "usage", "attributes"),
    [
        (1_100_000, {"speed": "standard", "inference_geo": "not_available"}, {}),
        (1_100_000, {"service_tier": "standard", "trafficType": "ON_DEMAND"}, {}),
        (6_600_000, {"speed": "fast"}, {}),
        (6_600_000, {}, {"speed": "fast"}),
        (6_600_000, {"speed": "fast"}, {"speed": "standard"}),
        (None, {"service_tier": "batch"}, {}),
        (None, {"service_tier": "batch"}, {"service_tier": "standard"}),
        (None, {"inference_geo": "us"}, {}),
        (None, {"trafficType": "ON_DEMAND_FLEX"}, {}),
        (None, {"trafficType": "PROVISIONED_THROUGHPUT"}, {}),
        (None, {"speed": "ludicrous"}, {}),
        (None, {"speed": "fast", "inference_geo": "us"}, {}),
        (None, {}, {"region": "eu-west-2"}),
    ],
)
def test_the_price_under_a_modifier_is_that_of_its_own_row(
    nanousd: int | None, usage: dict[str, Any], attributes: dict[str, str]
) -> None:
    price = LISTED.price(a_call({**PLAIN, **usage}, **attributes))
    assert price.nanousd == nanousd
    assert (price.reason or "").startswith("modifier_unknown:") is (nanousd is None)


def test_a_price_under_a_modifier_is_kept_apart_from_the_standard_one() -> None:
    standard, fast = a_call(PLAIN), a_call({**PLAIN, "speed": "fast"})
    for call, nanousd in [(standard, 1_100_000), (fast, 6_600_000), (standard, 1_100_000)]:
        assert LISTED.price(call).nanousd == nanousd


ROUTED = "openrouter/anthropic/claude-sonnet-4.6"

# The provider's own bill --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nanousd", "usage"),
    [
        (118_700_000, {"cost": 0.1187}),
        (
            1_970_000,
            {"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.00197}},
        ),
        (
            3_970_000,
            {"cost": 0.002, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.00197}},
        ),
        (
            2_000_000,
            {"cost": 0.002, "is_byok": False, "cost_details": {"upstream_inference_cost": 1}},
        ),
        (12_734_400, {"cost_in_usd_ticks": 127_344_000}),
        (5_000_000, {"cost": {"total_cost": 0.005, "input_tokens_cost": 0.001}}),
        (7_000_000, {"estimated_cost": 0.007}),
    ],
)
def test_what_the_provider_charged_comes_before_the_table_and_after_the_gateway(
    nanousd: int, usage: dict[str, Any]
) -> None:
    trace = a_call({**PLAIN, **usage}, ROUTED)
    assert LISTED.price(trace)[:3] == (nanousd, "provider", 1_100_000)
    assert LISTED.price(trace._replace(gateway_nanousd=9))[:2] == (9, "gateway")
    prefers_table = Pricer(prefer="table", books=[ByModifiers()])
    assert prefers_table.price(trace)[:2] == (1_100_000, "table")


@pytest.mark.parametrize("cost", [0, 0.0, None, {"total_cost": 0}])
def test_no_charge_is_no_evidence_of_a_free_call(cost: object) -> None:
    assert LISTED.price(a_call({**PLAIN, "cost": cost}, ROUTED)).source == "table"


@pytest.mark.parametrize("cost", [-1, 1e9, "a lot", True, [1]])
def test_a_charge_that_is_none_is_not_understood(cost: object) -> None:
    price = LISTED.price(a_call({**PLAIN, "cost": cost}, ROUTED))
    assert (price.source, price.reason) == ("unpriced", "usage_unknown:cost")


def test_a_cost_beside_the_usage_of_others_is_litellms_own_and_no_charge() -> None:
    trace = a_call({**PLAIN, "cost": 0.036072})
    assert trace.bill is None
    assert LISTED.price(trace).source == "table"


def test_xai_is_believed_by_its_ticks_whatever_stands_beside_them() -> None:
    trace = a_call({**PLAIN, "cost": 0.5, "cost_in_usd_ticks": 127_344_000}, "xai/grok-4.3")
    assert LISTED.price(trace)[:2] == (12_734_400, "provider")


# What the provider did within the call ------------------------------------------------------------


def within(*parts: dict[str, Any]) -> dict[str, Any]:
    return {**PLAIN, "iterations": list(parts)}


def test_what_was_done_within_a_call_is_billed_each_at_its_own_model(pricer: Pricer) -> None:
    usage = within(
        {"type": "message", "input_tokens": 1000, "output_tokens": 100},
        {
            "type": "advisor_message",
            "model": "claude-opus-4-8",
            "input_tokens": 10,
            "output_tokens": 1,
        },
    )
    price = pricer.price(a_call(usage))
    assert price.nanousd == 1000 * 3000 + 100 * 15_000 + 10 * 5000 + 25_000


def test_one_part_that_is_unknown_leaves_the_whole_call_unpriced(pricer: Pricer) -> None:
    usage = within(
        {"input_tokens": 1, "output_tokens": 1}, {"model": "claude-x", "input_tokens": 1}
    )
    assert pricer.price(a_call(usage)).reason == "model_unknown:anthropic/claude-x"


def test_parts_that_say_again_what_the_call_says_are_not_kept() -> None:
    assert (
        a_call(within({"type": "message", "input_tokens": 1000, "output_tokens": 100})).bill is None
    )


def test_a_part_with_something_unknown_is_not_understood() -> None:
    usage = within({"input_tokens": 1, "new": 1}, {"input_tokens": 5})
    assert LISTED.price(a_call(usage)).reason == "usage_unknown:iterations"


# As it is kept ------------------------------------------------------------------------------------

BILLS = st.builds(
    Bill,
    units=st.dictionaries(st.sampled_from(UNITS), st.integers(1, 10**12) | st.floats(1e-3, 1e6)),
    modifiers=st.dictionaries(st.sampled_from(["speed", "region"]), st.text("abc", min_size=1)),
    iterations=st.lists(st.just({"model": "m", "tokens_in": 1}), max_size=2).map(tuple),
    unknown=st.lists(st.text("abc.", min_size=1), max_size=3).map(tuple),
    provider_nanousd=st.none() | st.integers(1, 10**15),
)


@given(BILLS)
def test_a_bill_survives_being_kept(bill: Bill) -> None:
    assert bill_of(bill_json(bill)) == bill


def test_most_calls_have_no_bill() -> None:
    assert a_call(PLAIN).bill is None
    assert bill_of(None) == NO_BILL
    assert modifiers_of(a_call(PLAIN)) == ()


@given(st.dictionaries(st.sampled_from(sorted(KEYS)), SOMETHING | st.integers(0, 9), max_size=6))
def test_every_call_has_a_price_or_a_reason_of_the_vocabulary(usage: dict[str, Any]) -> None:
    price = LISTED.price(a_call(usage))
    assert (price.nanousd is None) == (price.reason is not None)
    assert price.reason is None or price.reason.partition(":")[0] in UNPRICED_REASONS


def test_every_key_of_the_table_is_read_as_something() -> None:
    kinds = {"unit", "word", "money", "list"}

    def roles(keys: dict[str, Any]) -> Iterator[str]:
        for role in keys.values():
            yield from roles(role) if isinstance(role, dict) else (role,)

    told = {role for role in roles(KEYS) if role != NOTHING}
    assert {role.partition(":")[0] for role in told if ":" in role} == kinds
