"""Prices of calls: the books they come from, one a file, and the order of believing them."""

from __future__ import annotations

from prodlensd.pricing.child import BookUnavailableError, ChildBook
from prodlensd.pricing.overrides import Override
from prodlensd.pricing.pricer import Pricer
from prodlensd.pricing.rates import PriceBook, Quote, Rates, flat_rates

__all__ = [
    "BookUnavailableError",
    "ChildBook",
    "Override",
    "PriceBook",
    "Pricer",
    "Quote",
    "Rates",
    "flat_rates",
]
