"""LiteLLM's price map as a price list with dates, for what genai-prices lacks.

`litellm_prices.json` is made by `make prices` from the maps of many versions of LiteLLM: of each
name that is sold by the token it holds the newest prices, and since which version they are the
same. Before that, no price is known. LiteLLM's price map is licensed as LICENSE.litellm
says.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from prodlensd.moments import moment_us
from prodlensd.pricing.listed import Listed, Picos, Row
from prodlensd.pricing.litellm_rates import is_sold_by, keys_of, vendor_of
from prodlensd.pricing.names import Sought, named, shown, unknown
from prodlensd.pricing.rates import ALWAYS, FOREVER, Origin

_FILE: Final = "litellm_prices.json"


class _Map(NamedTuple):
    """The file.

    book        its name, with the version of its newest map
    moments_us  when each of the maps was published at the latest
    units       the units of its rates
    rates       each once: prices, and [tokens, prices above them] ...; prices are unit, rate, ...
    sellers     who sells them
    names       name → seller → service tier → map since which, rates, map before which (if any)
    """

    book: str
    moments_us: list[int]
    units: list[str]
    rates: list[list[Any]]
    sellers: Collection[str]
    names: Mapping[str, Mapping[str, Any]]


@cache
def load() -> _Map:
    """The file. Raises OSError or ValueError when it cannot be read."""
    held = json.loads(Path(__file__).with_name(_FILE).read_bytes())
    days = [f"{day}T00:00:00+00:00" for day, _ in held["maps"]]
    moments = [moment_us(datetime.fromisoformat(day)) for day in days]
    names: dict[str, dict[str, Any]] = {}
    for seller, sold in held["names"].items():
        for name, tiers in sold.items():
            names.setdefault(name, {})[seller] = tiers
    book = f"LiteLLM {held['maps'][-1][1]}'s price map"
    return _Map(book, moments, held["units"], held["rates"], held["names"].keys(), names)


def find(asked: Sought, at_us: int) -> Row:
    """The price at the time of the call; none when it is not known exactly."""
    model = named(asked.provider, asked.name)
    held = load()
    if not any(is_sold_by(seller, asked.provider) for seller in held.sellers):
        return Row(None, reason=f"provider_unknown:{shown(asked.provider)}")
    row = Row(None, reason=f"model_unknown:{model}")
    tier = asked.modifiers.get("service_tier", "")
    for key in keys_of(asked, asked.model):
        for seller, tiers in held.names.get(key, {}).items():
            if not is_sold_by(seller, asked.provider):
                continue
            if tier not in tiers or asked.modifiers.keys() - {"service_tier"}:
                row = Row(None, reason=unknown(asked.modifiers))
                continue
            from_us, until_us, listed = _priced(held, tiers, tier, vendor_of(key, seller))
            reason = f"price_unknown:{model}"
            if at_us < from_us:
                return Row(None, ALWAYS, from_us, reason=reason)
            if at_us >= until_us:
                return Row(None, until_us, FOREVER, reason=reason)
            return Row(listed, from_us, until_us, Origin(held.book, key, f"is {key}"))
    if asked.region and row.reason.startswith("model_unknown"):
        return Row(None, reason=unknown({}, asked.region))
    return row


def maker_of(model: str) -> str:
    """Who sells the model of this bare name; "" when nobody or more than one does."""
    sellers = load().names.get(model.lower(), {})
    return next(iter(sellers)) if len(sellers) == 1 else ""


def _priced(
    held: _Map, tiers: Mapping[str, list[int]], tier: str, vendor: str
) -> tuple[int, int, Listed]:
    """Since when, until when, and what."""
    since, number, *before = tiers[tier]
    base, *steps = held.rates[number]
    standard = held.rates[tiers[""][1]][0][::2]
    above = tuple((over, _picos(held, flat)) for over, flat in steps)
    units = [held.units[unit] for unit in standard]
    return (
        held.moments_us[since],
        held.moments_us[before[0]] if before else FOREVER,
        Listed(_picos(held, base), above, units, vendor),
    )


def _picos(held: _Map, flat: list[int]) -> Picos:
    return {held.units[unit]: rate for unit, rate in zip(flat[::2], flat[1::2], strict=True)}
