"""The audit: every difference between our prices and LiteLLM's map is seen, and has a reason."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from prodlensd.pricing.listed import Listed
from tests.prices import audit, make, maps
from tests.prices.audit import Finding, Known

PROJECT = Path(__file__).parents[2]
OPUS: dict[str, Any] = {
    "litellm_provider": "anthropic",
    "mode": "chat",
    "input_cost_per_token": 5e-06,
    "output_cost_per_token": 2.5e-05,
    "cache_read_input_token_cost": 5e-07,
    "input_cost_per_token_batches": 2.5e-06,
    "output_cost_per_token_batches": 1.25e-05,
    "provider_specific_entry": {"us": 1.1, "fast": 2.0},
}


def verdicts(**change: Any) -> Counter[tuple[str, str, str]]:
    """(modifiers, unit, verdict) of all that differs or is there alone, for a changed entry."""
    found = audit.compare({"claude-opus-4-8": OPUS | change})
    return Counter(
        (one.modifiers, one.unit, one.verdict) for one in found if one.verdict != "agree"
    )


ONLY_HERE = {key for key in verdicts() if key[2] == "only here"}


def test_an_entry_that_agrees_in_every_tier_and_modifier_differs_in_nothing() -> None:
    assert set(verdicts()) == ONLY_HERE
    assert {found.modifiers for found in audit.compare({"claude-opus-4-8": OPUS})} == {
        "",
        "service_tier=batch",
        "inference_geo=us",
        "speed=fast",
    }


@pytest.mark.parametrize(
    ("expected", "change"),
    [
        (("", "cache_read", "differ"), {"cache_read_input_token_cost": 6e-07}),
        (("service_tier=batch", "output", "differ"), {"output_cost_per_token_batches": 1.3e-05}),
        (("speed=fast", "input", "differ"), {"provider_specific_entry": {"fast": 3}}),
        (("", "image_out_tokens", "only there"), {"output_cost_per_image_token": 3e-05}),
        (
            ("", "input above 200000", "only there"),
            {
                "input_cost_per_token_above_200k_tokens": 1e-05,
                "output_cost_per_token_above_200k_tokens": 5e-05,
            },
        ),
        (
            ("service_tier=ultrafast", "input", "only there"),
            {"input_cost_per_token_ultrafast": 1e-05, "output_cost_per_token_ultrafast": 1e-04},
        ),
    ],
)
def test_a_difference_is_found_in_its_tier_and_unit(
    expected: tuple[str, str, str], change: dict[str, Any]
) -> None:
    assert expected in verdicts(**change)


def test_a_rate_that_a_list_rounds_is_no_difference() -> None:
    assert set(verdicts(cache_read_input_token_cost=5.004e-07)) == ONLY_HERE


def test_what_is_not_sold_by_the_token_is_not_compared() -> None:
    assert not verdicts(mode="rerank")
    assert not verdicts(input_cost_per_token=None)


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`report(known)`: of a map that differs from our books in one rate."""

    def report(*known: Known) -> audit.Report:
        entry = OPUS | {"cache_read_input_token_cost": 6e-07}
        monkeypatch.setattr(audit, "pinned_map", lambda: {"claude-opus-4-8": entry})
        monkeypatch.setattr(audit, "known", lambda: list(known))
        return audit.report()

    return report


def a_reason(**parts: list[str]) -> Known:
    anything = {part: ["*"] for part in ("providers", "names", "modifiers", "units")}
    given = {**anything, "verdicts": ["differ"], **parts}
    return Known(**given, right="we", why="because", source="https://example.org")


def test_a_difference_without_a_reason_and_a_reason_without_a_difference_are_told(
    report: Any,
) -> None:
    new = report().unexplained
    # in the standard price, and in the two that are a multiple of it
    assert [(one.modifiers, one.unit) for one in new] == [
        ("", "cache_read"),
        ("inference_geo=us", "cache_read"),
        ("speed=fast", "cache_read"),
    ]
    fitting, other = a_reason(units=["cache_*"]), a_reason(names=["gpt-*"])
    assert report(fitting).unexplained == []
    assert report(fitting).stale == []
    assert report(fitting, other).stale == [other]
    assert report(other).unexplained == new


def test_a_reason_fits_all_parts_or_not_at_all() -> None:
    found = Finding("openai", "gpt-5", "", "input", 1, 2)
    assert a_reason().explains(found)
    assert a_reason(providers=["openai"], names=["gpt-*"]).explains(found)
    for parts in ({"providers": ["azure"]}, {"names": ["o*"]}, {"units": ["output"]}):
        assert not a_reason(**parts).explains(found)
    assert not a_reason(modifiers=["service_tier=*"]).explains(found)
    assert not a_reason(verdicts=["only there"]).explains(found)


def test_each_known_difference_says_who_is_right_and_why_and_has_a_source() -> None:
    for row in audit.known():
        assert row.right in ("genai-prices", "LiteLLM", "prodlensd", "nobody")
        assert row.why
        assert row.source.startswith(("https://", "LiteLLM #"))


def test_the_maps_are_two_a_month_up_to_the_pinned_one() -> None:
    days = maps.days()
    assert days == sorted(set(days))
    assert (days[0], days[-1]) == ("2025-06-01", maps.PINNED_DAY)


# What makes the second list

OLD = Listed({"input": 3, "output": 15, "cache_read": 2})
NEW = Listed({"input": 3, "output": 15, "cache_read": 1})
WIDER = Listed({**NEW.picos, "web_search_requests": 7})
DEARER = Listed({"input": 4, "output": 15, "cache_read": 1})
LONG = Listed({"input": 3, "output": 15, "cache_read": 1}, ((200, {"input": 6, "output": 20}),))


@pytest.mark.parametrize(
    ("expected", "maps"),
    [
        ([(0, NEW)], [NEW, NEW, NEW]),
        ([(1, NEW)], [None, NEW, NEW]),
        ([(0, WIDER)], [NEW, WIDER]),  # a unit of which nothing was said before
        ([(0, Listed({"input": 3, "output": 15})), (2, NEW)], [OLD, OLD, NEW]),
        ([(1, NEW)], [DEARER, NEW]),  # it was another price, or an error
        ([(2, NEW)], [NEW, DEARER, NEW]),
        ([(2, NEW)], [NEW, None, NEW]),
        ([(1, LONG)], [NEW, LONG]),
        ([(0, NEW), (2, None)], [NEW, NEW, None]),
        ([(1, NEW), (2, None)], [DEARER, NEW, None, None]),
    ],
)
def test_a_price_is_known_since_it_is_the_same(
    expected: list[tuple[int, Listed | None]], maps: list[Listed | None]
) -> None:
    assert make._timeline(maps) == expected


def test_the_file_holds_each_price_once() -> None:
    long: list[tuple[int, Listed | None]] = [(1, LONG)]
    prices = {("acme", "m", ""): make._timeline([OLD, NEW]), ("acme", "n", ""): long}
    held = json.loads(make._text([["2026-01-01", "1.0"], ["2026-01-15", "1.1"]], prices))
    assert held["names"] == {"acme": {"m": {"": [0, 2, 1, 1]}, "n": {"": [1, 0]}}}
    assert held["units"] == ["cache_read", "input", "output"]
    assert held["rates"] == [
        [[0, 1, 1, 3, 2, 15], [200, [1, 6, 2, 20]]],
        [[0, 1, 1, 3, 2, 15]],
        [[1, 3, 2, 15]],
    ]


@pytest.mark.real_programs
def test_litellms_map_and_our_books_differ_in_nothing_but_what_is_known() -> None:
    found = audit.report()
    assert found.unexplained == []
    assert found.stale == []
    figures = found.figures
    assert figures["… and we do"] >= 0.95 * figures["names that LiteLLM prices by the token"] > 3000
    manual = (PROJECT / "docs" / "pricing.md").read_text(encoding="utf-8")
    section = manual.partition("## The audit")[2].partition("\n## ")[0]
    for figure, number in figures.items():
        assert f"{number:,}" in section, f"{figure}: {number:,}"


@pytest.mark.real_programs
def test_the_second_list_is_made_of_the_maps_that_it_names() -> None:
    version, entries = maps.map_before(maps.PINNED_DAY)
    assert version == maps.PINNED
    assert entries == maps.pinned_map()
