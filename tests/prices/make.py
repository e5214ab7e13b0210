"""Makes prodlensd/pricing/litellm_prices.json: `make prices`.

Of each name that is sold by the token the file has the newest prices, and since which of the maps
they are the same; of a name that LiteLLM has dropped, also until which. A later map may know more
units of a name, as long as it agrees in those that both have.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

from prodlensd.pricing.listed import Listed
from prodlensd.pricing.litellm_rates import listed_in, seller_of, tiers_of, vendor_of
from tests.prices.maps import Entries, days, map_before

_FILE: Final = Path(__file__).parents[2] / "prodlensd" / "pricing" / "litellm_prices.json"
#: (seller, name, service tier)
_Sold = tuple[str, str, str]


class _Price(NamedTuple):
    listed: Listed
    since: int
    before: int | None = None


def main() -> None:
    """Fetches the maps and writes the file."""
    maps = [(day, *map_before(day)) for day in days()]
    prices: dict[_Sold, _Price] = {}
    for number, (_, _, entries) in enumerate(maps):
        _take(prices, _sold(entries), number)
    text = _text([[day, version] for day, version, _ in maps], prices)
    _FILE.write_text(text, encoding="utf-8")
    names = len({sold[:2] for sold in prices})
    print(f"{_FILE.name}: {names} names in {len(text) / 1000:.0f} kB")


def _sold(entries: Entries) -> dict[_Sold, Listed]:
    """What is sold by the token, in each tier; only where the standard price is known as well."""
    sold: dict[_Sold, Listed] = {}
    for key, entry in entries.items():
        seller, name = seller_of(entry), key.lower()
        tiers = {tier: listed_in(entry, tier, vendor_of(name, seller)) for tier in tiers_of(entry)}
        if tiers.get(""):
            sold |= {(seller, name, tier): found for tier, found in tiers.items() if found}
    return sold


def _take(prices: dict[_Sold, _Price], sold: dict[_Sold, Listed], number: int) -> None:
    """Takes the map of this number into account."""
    for key, listed in sold.items():
        known = prices.get(key)
        same = known and known.before is None and known.listed.is_part_of(listed)
        prices[key] = _Price(listed, known.since if known and same else number)
    for key, known in prices.items():
        if key not in sold and known.before is None:
            prices[key] = known._replace(before=number)


def _text(maps: list[list[str]], prices: dict[_Sold, _Price]) -> str:
    """The file's text: a line for each seller, so that a change is seen where it is."""
    units = sorted({unit for price in prices.values() for unit in price.listed.picos})
    flat = {key: _flat(price.listed, units) for key, price in prices.items()}
    rates = sorted(set(flat.values()))
    number = {text: index for index, text in enumerate(rates)}
    names: dict[str, dict[str, dict[str, list[int]]]] = {}
    for (seller, name, tier), (_, since, before) in sorted(prices.items(), key=lambda i: i[0]):
        held = [since, number[flat[seller, name, tier]], *([] if before is None else [before])]
        names.setdefault(seller, {}).setdefault(name, {})[tier] = held
    sellers = ",\n".join(f"{json.dumps(seller)}:{_json(sold)}" for seller, sold in names.items())
    head = f'{{"maps":{_json(maps)},\n"units":{_json(units)},\n"rates":[\n'
    return head + ",\n".join(rates) + '],\n"names":{\n' + sellers + "}}\n"


def _flat(listed: Listed, units: list[str]) -> str:
    steps = [[over, _pairs(picos, units)] for over, picos in listed.above]
    return _json([_pairs(listed.picos, units), *steps])


def _pairs(picos: Any, units: list[str]) -> list[int]:
    return [number for unit in sorted(picos) for number in (units.index(unit), picos[unit])]


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


if __name__ == "__main__":
    main()
