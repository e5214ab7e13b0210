"""Prices of calls: the price books, one a file, and the order in which they are believed."""

from __future__ import annotations

from prodlensd.pricing.child import HUNG_S, BookUnavailableError, ChildBook
from prodlensd.pricing.litellm_map import known_models, newest_day
from prodlensd.pricing.overrides import Override
from prodlensd.pricing.pricer import Pins, Pricer, provider_of
from prodlensd.pricing.rates import (
    ALWAYS,
    FOREVER,
    Billed,
    PriceBook,
    Question,
    Quote,
    Rates,
    billed,
    cost,
    flat_rates,
    from_list,
    modifiers_of,
)

__all__ = [
    "ALWAYS",
    "FOREVER",
    "HUNG_S",
    "Billed",
    "BookUnavailableError",
    "ChildBook",
    "Override",
    "Pins",
    "PriceBook",
    "Pricer",
    "Question",
    "Quote",
    "Rates",
    "billed",
    "cost",
    "flat_rates",
    "from_list",
    "known_models",
    "modifiers_of",
    "newest_day",
    "provider_of",
]
