"""A price file of LiteLLM's as a price book, by exact name only: today's prices, without history.

That is `model_prices_and_context_window.json`, as LiteLLM ships it. Run as a module with the file's
path it answers questions on its standard input (see `child`).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from prodlensd.pricing.child import serve
from prodlensd.pricing.rates import Origin, Quote, Rates, pico, rates_of

_UNITS: Final = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "audio_in",
    "output_cost_per_audio_token": "audio_out",
}
_ABOVE: Final = re.compile(r"input_cost_per_token(_above_(\d+)k_tokens)")
#: Service tier → what follows the name of its price.
_TIERS: Final = {
    **dict.fromkeys(("", "standard", "default", "auto", "on_demand"), ""),
    "flex": "_flex",
    "priority": "_priority",
    "batch": "_batches",
}
#: What is billed by the token alone; the rest (images, minutes, searches) our counts cannot bill.
_MODES: Final = {"chat", "completion", "responses", "embedding"}
_TOKENS_PER_MILLION: Final = 1_000_000


class LiteLLMFile:
    """The file as a PriceBook. Raises OSError, or ValueError when it is no such file."""

    def __init__(self, path: Path) -> None:
        try:
            self._entries = json.loads(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path}: not JSON: {error}") from error
        if not isinstance(self._entries, dict):
            raise ValueError(f"{path}: expected an object of models, as LiteLLM ships it")  # noqa: TRY004
        self._book = f"LiteLLM price file {path.name}"

    def quote(self, provider: str, model: str, at_us: int, tier: str | None) -> Quote:
        """Return the price in the file, which does not say since when it holds."""
        del at_us
        suffix = _TIERS.get((tier or "").lower())
        for key in dict.fromkeys((f"{provider}/{model}", model)):
            entry = self._entries.get(key)
            if suffix is None or not isinstance(entry, dict) or not _sold_by(entry, provider):
                continue
            if entry.get("mode") in _MODES and (rates := _rates(entry, suffix, provider)):
                return Quote(rates, origin=Origin(self._book, key, f"is {key}"))
        return Quote(None)


def _sold_by(entry: Mapping[str, Any], provider: str) -> bool:
    """Whether the entry is this provider's own: a reseller sets its own prices."""
    seller = str(entry.get("litellm_provider", ""))
    return seller == provider or seller.startswith(f"{provider}-")


def _rates(entry: Mapping[str, Any], suffix: str, provider: str) -> Rates | None:
    """The rates of a tier; None unless both the input and the output have a price."""
    base = _picos(entry, suffix)
    if not {"input", "output"} <= base.keys():
        return None
    steps = sorted(
        (int(found[2]) * 1000, found[1]) for found in map(_ABOVE.fullmatch, entry) if found
    )
    above = tuple(
        (threshold, rates_of(base | _picos(entry, f"{step}{suffix}"), provider))
        for threshold, step in steps
    )
    return rates_of(base, provider, above)


def _picos(entry: Mapping[str, Any], suffix: str) -> dict[str, int]:
    prices = {unit: entry.get(f"{name}{suffix}") for name, unit in _UNITS.items()}
    return {
        unit: pico(Decimal(str(price)) * _TOKENS_PER_MILLION)
        for unit, price in prices.items()
        if isinstance(price, int | float)
    }


if __name__ == "__main__":
    serve(lambda: LiteLLMFile(Path(sys.argv[1])))
