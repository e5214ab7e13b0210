"""LiteLLM's price file as a price book, by exact name only: today's prices, without history.

The file is `model_prices_and_context_window.json`, as LiteLLM ships it. Run as a module with the
file's path, this answers questions on its standard input (see `child`).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from prodlensd.pricing.child import serve
from prodlensd.pricing.rates import (
    STANDARD_TIERS,
    Origin,
    PriceBook,
    Quote,
    Rates,
    pico,
    rates_of,
)

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
#: The file's additions to a provider's name, which tell its routes apart.
_ROUTE: Final = re.compile(r"_converse$|_chat$|-.*$")
#: Service tier → the end of the names of its prices.
_TIERS: Final = {
    **dict.fromkeys(STANDARD_TIERS, ""),
    "flex": "_flex",
    "priority": "_priority",
    "batch": "_batches",
}
#: Kinds of models billed by the token alone; others bill images, minutes or searches as well.
_MODES: Final = ("chat", "completion", "responses", "embedding")
#: With one of these, the price of the tokens is not the price of the call.
_NOT_ALL: Final = {
    *("tiered_pricing", "off_peak_pricing", "citation_cost_per_token"),
    *("input_cost_per_request", "input_cost_per_query"),
}
_TOKENS_PER_MILLION: Final = 1_000_000


class LiteLLMFile(PriceBook):
    """The file as a price book. Raises OSError, or ValueError when it is not such a file."""

    def __init__(self, path: Path) -> None:
        try:
            self._entries = json.loads(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path}: not JSON: {error}") from error
        if not isinstance(self._entries, dict):
            raise ValueError(f"{path}: expected an object of models, as LiteLLM ships it")  # noqa: TRY004
        self._book = f"LiteLLM price file {path.name}"

    def quote(self, provider: str, model: str, at_us: int, tier: str | None) -> Quote:
        """The file's price, for all times: the file has no dates."""
        del at_us
        suffix = _TIERS.get((tier or "").lower())
        bare = model.removeprefix(f"{provider}/")
        for key in dict.fromkeys((f"{provider}/{model}", model, bare)):
            entry = self._entries.get(key)
            if suffix is None or not isinstance(entry, dict) or not _sold_by(entry, provider):
                continue
            if rates := _rates(entry, suffix, provider):
                return Quote(rates, origin=Origin(self._book, key, f"is {key}"))
        return Quote(None)


def _sold_by(entry: Mapping[str, Any], provider: str) -> bool:
    """Whether the entry is of this provider: a reseller sets its own prices."""
    seller = str(entry.get("litellm_provider"))
    return provider in (seller, _ROUTE.sub("", seller))


def _rates(entry: Mapping[str, Any], suffix: str, provider: str) -> Rates | None:
    """The rates of a tier; None unless they are the whole price of short and of long calls.

    An input price of 0 means that LiteLLM knows none.
    """
    if entry.get("mode") not in _MODES or not entry.keys().isdisjoint(_NOT_ALL):
        return None
    base = _picos(entry, suffix)
    steps = sorted(
        (int(found[2]) * 1000, _picos(entry, f"{found[1]}{suffix}"))
        for found in map(_ABOVE.fullmatch, entry)
        if found
    )
    if not all({"input", "output"} <= known.keys() for known in (base, *map(itemgetter(1), steps))):
        return None
    above = tuple((threshold, rates_of(base | dearer, provider)) for threshold, dearer in steps)
    return rates_of(base, provider, above) if base["input"] else None


def _picos(entry: Mapping[str, Any], suffix: str) -> dict[str, int]:
    """The prices whose names end so, in pico-USD per token; values that are not prices left out."""
    picos = {}
    for name, unit in _UNITS.items():
        price = entry.get(f"{name}{suffix}")
        if type(price) in (int, float):
            with suppress(ValueError):
                picos[unit] = pico(Decimal(str(price)) * _TOKENS_PER_MILLION)
    return picos


if __name__ == "__main__":
    serve(lambda: LiteLLMFile(Path(sys.argv[1])))
