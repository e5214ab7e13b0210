"""LiteLLM's price map as a price list with dates, for what genai-prices lacks.

`litellm_prices.json` is made by `make prices` from the maps of many versions of LiteLLM: of each
name that is sold by the token it holds the newest prices, and since which version each of them is
the same. Before that, no price is known. The map is licensed as LICENSE.litellm says.
"""

from __future__ import annotations

import json
import re
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
    names       name → seller → service tier → map since which, rates from then on ...; null: none
    """

    book: str
    moments_us: list[int]
    units: list[str]
    rates: list[list[Any]]
    sellers: Collection[str]
    names: Mapping[str, Mapping[str, Any]]


def newest_day() -> str:
    """The day of the newest map, as YYYY-MM-DD; by the head of the file. Raises OSError."""
    with Path(__file__).with_name(_FILE).open(encoding="utf-8") as file:
        return max(re.findall(r'\["([0-9-]{10})"', file.readline()), default="")


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


def known_models(seller: str) -> Collection[str]:
    """The names of models that the seller has, or all names where it has none."""
    names = load().names
    return [name for name, sellers in names.items() if seller in sellers] or names.keys()


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
            from_us, until_us, listed = _at(held, tiers, tier, vendor_of(key, seller), at_us)
            if listed is None:
                return Row(None, from_us, until_us, reason=f"price_unknown:{model}")
            return Row(listed, from_us, until_us, Origin(held.book, key, f"is {key}"))
    if asked.region and row.reason.startswith("model_unknown"):
        return Row(None, reason=unknown({}, asked.region))
    return row


def maker_of(model: str) -> str:
    """Who sells the model of this bare name; "" when nobody or more than one does."""
    sellers = load().names.get(model.lower(), {})
    return next(iter(sellers)) if len(sellers) == 1 else ""


def _at(
    held: _Map, tiers: Mapping[str, list[Any]], tier: str, vendor: str, at_us: int
) -> tuple[int, int, Listed | None]:
    """Since when, until when, and what.

    The units of the newest prices, and of the standard ones, are not filled in where they are not
    known.
    """
    from_us, number = ALWAYS, None
    for since, rates in zip(tiers[tier][::2], tiers[tier][1::2], strict=True):
        if at_us < held.moments_us[since]:
            return from_us, held.moments_us[since], _listed(held, tiers, tier, number, vendor)
        from_us, number = held.moments_us[since], rates
    return from_us, FOREVER, _listed(held, tiers, tier, number, vendor)


def _listed(
    held: _Map, tiers: Mapping[str, list[Any]], tier: str, number: int | None, vendor: str
) -> Listed | None:
    if number is None:
        return None
    newest = [rates for of in ("", tier) for rates in tiers[of][1::2] if rates is not None]
    units = {held.units[unit] for rates in newest for unit in held.rates[rates][0][::2]}
    base, *steps = held.rates[number]
    above = tuple((over, _picos(held, flat)) for over, flat in steps)
    return Listed(_picos(held, base), above, units, vendor)


def _picos(held: _Map, flat: list[int]) -> Picos:
    return {held.units[unit]: rate for unit, rate in zip(flat[::2], flat[1::2], strict=True)}
