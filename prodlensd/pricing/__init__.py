"""Prices of calls: the price books, one a file, and the order in which they are believed."""

from __future__ import annotations

from prodlensd.pricing.child import BookUnavailableError, ChildBook
from prodlensd.pricing.overrides import Override
from prodlensd.pricing.pricer import Pins, Pricer, provider_of
from prodlensd.pricing.rates import (
    ALWAYS,
    FOREVER,
    PriceBook,
    Quote,
    Rates,
    cost_nanousd,
    flat_rates,
)

__all__ = [
    "ALWAYS",
    "FOREVER",
    "BookUnavailableError",
    "ChildBook",
    "Override",
    "Pins",
    "PriceBook",
    "Pricer",
    "Quote",
    "Rates",
    "cost_nanousd",
    "flat_rates",
    "provider_of",
]
