"""Rates of an entry of LiteLLM's price map, by the names that prices have there.

The map is `model_prices_and_context_window.json`, as LiteLLM ships it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any, Final

from prodlensd.pricing.listed import Above, Listed
from prodlensd.pricing.names import Sought
from prodlensd.pricing.rates import pico

_UNITS: Final = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "cache_creation_input_token_cost_above_12hr": "cache_write_12h_tokens",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "audio_in",
    "output_cost_per_audio_token": "audio_out",
    "input_cost_per_image_token": "image_in_tokens",
    "output_cost_per_image_token": "image_out_tokens",
    "input_cost_per_video_token": "video_in_tokens",
    "output_cost_per_video_token": "video_out_tokens",
    "cache_read_input_audio_token_cost": "audio_cache_read_tokens",
    "cache_read_input_image_token_cost": "image_cache_read_tokens",
    "citation_cost_per_token": "citation_tokens",
}
#: Where some uses a month are free, nobody can tell what one more costs.
_FREE_USES: Final = "search_free_requests"
_ABOVE: Final = re.compile(r"(?:input|output)_cost_per_token(_above_(\d+)k_tokens)")
#: Service tier → the end of the names of its prices.
_TIERS: Final = {
    **{tier: f"_{tier}" for tier in ("flex", "priority", "ultrafast", "balanced")},
    "": "",
    "batch": "_batches",
}
#: Kinds of models that are billed by the token.
_MODES: Final = (
    *("chat", "completion", "responses", "embedding", "realtime"),
    *("audio_transcription", "audio_speech", "image_generation", "image_edit"),
)
#: Who charges the price of long calls for those that just reach the threshold.
_REACHES: Final = ("xai",)
_WITHOUT_OUTPUT: Final = ("embedding",)
#: What else than text a model may give, where text has no price of its own.
_OUTPUTS: Final = ("output", "image_out_tokens", "audio_out")
#: Kinds of models whose price is that of the images they give.
_IMAGE_MODES: Final = ("image_generation", "image_edit")
_IMAGES: Final = ("image_out_tokens",)
#: With this, a cache read costs one thing or another, which no usage tells.
_TWO_CACHES: Final = "explicit_cache_read_input_token_cost"
#: With one of these, the price of the tokens is not the price of the call.
_NOT_ALL: Final = {
    *("off_peak_pricing", "input_cost_per_request", "input_cost_per_query"),
    *("input_cost_per_character", "output_cost_per_character", "ocr_cost_per_page"),
}
#: What LiteLLM adds to a provider's name to tell its routes apart.
_ROUTE: Final = re.compile(r"_converse$|_chat$|(?<=_ai)-.*$")
_TOKENS_PER_MILLION: Final = 1_000_000
_VENDORS: Final = (
    ("anthropic", re.compile("claude"), re.compile(r"anthropic|bedrock|vertex|azure_ai")),
    ("google", re.compile("gemini"), re.compile(r"gemini|vertex")),
    ("openai", re.compile("gpt|/?o[134]|embedding"), re.compile(r"openai|azure$|azure_text")),
)


def vendor_of(key: str, seller: str) -> str:
    """Whose rules about missing rates hold for the entry: those of the model's maker."""
    for vendor, names, sellers in _VENDORS:
        if names.search(key) and sellers.search(seller):
            return vendor
    return ""


def is_sold_by_token(entry: Mapping[str, Any]) -> bool:
    """Whether the tokens of a call, and what it uses besides, are its whole price.

    Where a search costs by its depth, which nobody logs, every call makes one.
    """
    return (
        entry.get("mode") in _MODES
        and entry.keys().isdisjoint(_NOT_ALL)
        and len(_search_picos(entry)) <= 1
    )


def keys_of(asked: Sought, model: str) -> Iterator[str]:
    """The keys that may stand for a model: in a region that has a price of its own, only there."""
    provider, name = asked.provider, asked.name
    if not asked.region:
        bare = model.removeprefix(f"{provider}/")
        keys = [f"{provider}/{bare}", model, bare]
        if name != bare.lower():  # a route or a prefix was before it
            keys += [f"{provider}/{name}", name]
        yield from dict.fromkeys(keys)
    elif asked.seller in {"aws", "azure"}:
        base = "bedrock" if asked.seller == "aws" else provider
        yield from dict.fromkeys(f"{of}/{asked.region}/{name}" for of in (provider, base))


def seller_of(entry: Mapping[str, Any]) -> str:
    """Who sells what the entry is about: a provider, without its routes."""
    return _ROUTE.sub("", str(entry.get("litellm_provider")))


def is_sold_by(seller: str, provider: str) -> bool:
    """Whether the seller is this provider: a reseller sets its own prices."""
    return seller == _ROUTE.sub("", provider)


def listed_in(entry: Mapping[str, Any], tier: str, vendor: str) -> Listed | None:
    """The prices of a service tier; None unless they are the whole price of short and long calls.

    An input price of 0 means that LiteLLM knows none.
    """
    suffix = _TIERS.get(tier)
    if suffix is None or not is_sold_by_token(entry):
        return None
    base, steps = _picos(entry, suffix), list(_steps(entry, suffix))
    if entry.get("litellm_provider") in _REACHES:
        steps = [(threshold - 1, dearer) for threshold, dearer in steps]
    if "tiered_pricing" in entry:
        if suffix:
            return None
        base, steps = _tiered(entry["tiered_pricing"])
    mode = entry["mode"]
    if not all(_is_whole(picos, mode) for picos in (base, *(dearer for _, dearer in steps))):
        return None
    standard = (base if "tiered_pricing" in entry else _picos(entry, "")).keys()
    uses = _uses(entry)
    above: Above = tuple((threshold, dearer | uses) for threshold, dearer in steps)
    listed = Listed(base | uses, above, standard, vendor) if base["input"] else None
    return listed.without(["cache_read"]) if listed and _TWO_CACHES in entry else listed


def tiers_of(entry: Mapping[str, Any]) -> list[str]:
    """The service tiers for which the entry has prices, the standard one ("") among them."""
    return [
        tier
        for tier, end in _TIERS.items()
        if f"input_cost_per_token{end}" in entry or (not tier and "tiered_pricing" in entry)
    ]


def _is_whole(picos: Mapping[str, int], mode: str) -> bool:
    outputs = _IMAGES if mode in _IMAGE_MODES else _OUTPUTS
    has_output = mode in _WITHOUT_OUTPUT or any(unit in picos for unit in outputs)
    return "input" in picos and has_output


def _steps(entry: Mapping[str, Any], suffix: str) -> Iterator[tuple[int, dict[str, int]]]:
    """The prices of long calls: more input tokens than this, and what they cost then."""
    ends = {(int(found[2]) * 1000, found[1]) for found in map(_ABOVE.fullmatch, entry) if found}
    for threshold, end in sorted(ends):
        yield threshold, _picos(entry, f"{end}{suffix}")


def _tiered(ranges: object) -> tuple[dict[str, int], list[tuple[int, dict[str, int]]]]:
    """The same of a list of ranges; without prices when it is none."""
    steps: list[tuple[int, dict[str, int]]] = []
    for step in ranges if isinstance(ranges, Sequence) else ():
        if not isinstance(step, Mapping):
            return {}, []
        begins = step.get("range")
        over = begins[0] if isinstance(begins, Sequence) and begins else None
        if not isinstance(over, (int, float)) or over != int(over):
            return {}, []
        steps.append((int(over), _picos(step, "")))
    thresholds = [over for over, _ in steps]
    if not steps or thresholds[0] != 0 or thresholds != sorted(set(thresholds)):
        return {}, []
    return steps[0][1], steps[1:]


def _picos(entry: Mapping[str, Any], suffix: str) -> dict[str, int]:
    """The prices whose names end so, in pico-USD per token; values that are not prices left out."""
    picos = {}
    for name, unit in _UNITS.items():
        if (rate := _pico(entry.get(f"{name}{suffix}"))) is not None:
            picos[unit] = rate
    return picos


def _uses(entry: Mapping[str, Any]) -> dict[str, int]:
    """The prices of what a call uses besides, in pico-USD for one use."""
    found = {
        "web_search_requests": _search_picos(entry),
        "maps_grounding_requests": {_pico(entry.get("google_maps_grounding_cost_per_query"))},
    }
    known = {} if _FREE_USES in entry else found
    return {unit: rate for unit, rates in known.items() for rate in rates if rate is not None}


def _search_picos(entry: Mapping[str, Any]) -> set[int | None]:
    """The prices of a search: one, if its depth makes no difference."""
    price = entry.get("search_context_cost_per_query")
    return {_pico(usd) for usd in price.values()} if isinstance(price, Mapping) else set()


def _pico(usd: object) -> int | None:
    if type(usd) in (int, float):
        with suppress(ValueError):
            return pico(Decimal(str(usd)) * _TOKENS_PER_MILLION)
    return None
