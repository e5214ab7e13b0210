"""Dated prices that are wrong in genai-prices: few, each with its source, each tested.

DeepSeek's API names stand for whatever model is current. genai-prices still bills them as of early
2025; from September 2025 on the vendor's change log says otherwise (api-docs.deepseek.com/updates).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from prodlensd import __version__
from prodlensd.moments import moment_us
from prodlensd.pricing.rates import FOREVER, Origin, Quote, rates_of


def _us(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    return moment_us(datetime(year, month, day, hour, minute, tzinfo=UTC))


#: (from, pico-USD per token of fresh input, cached input, output); None: the name is retired.
_DEEPSEEK: Final = (
    (_us(2025, 9, 5, 16), (560_000, 70_000, 1_680_000)),  # V3.1, no more off-peak hours
    (_us(2025, 9, 29), (280_000, 28_000, 420_000)),  # V3.2-Exp
    (_us(2026, 4, 24), None),  # another model behind the names, at a price we could not verify
)
_DATED: Final = {
    ("deepseek", "deepseek-chat"): _DEEPSEEK,
    ("deepseek", "deepseek-reasoner"): _DEEPSEEK,
}


def corrected(provider: str, model: str, at_us: int) -> Quote | None:
    """The right quote where that of genai-prices is wrong, else None."""
    dated = _DATED.get((provider, model), ())
    until_us = FOREVER
    for from_us, picos in reversed(dated):
        if at_us >= from_us:
            origin = Origin(f"prodlensd {__version__}", f"{provider}/{model}", "is corrected")
            if picos is None:
                return Quote(None, from_us, until_us, origin)
            units = dict(zip(("input", "cache_read", "output"), picos, strict=True))
            return Quote(rates_of(units, provider), from_us, until_us, origin)
        until_us = from_us
    return None


def first_correction_us(provider: str, model: str) -> int:
    """When the price in genai-prices stops being right, in microseconds; FOREVER if never."""
    dated = _DATED.get((provider, model))
    return dated[0][0] if dated else FOREVER
