"""Makes prodlensd/pricing/litellm_prices.json: `make prices`.

Of each name that is sold by the token the file has the newest prices, and since which of the maps
each of them is the same: what the map said before that may have been another price, or an error. Of
a name that LiteLLM has dropped it has the last ones, and until which map.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from prodlensd.pricing.listed import Listed, is_same
from prodlensd.pricing.litellm_rates import listed_in, seller_of, tiers_of, vendor_of
from tests.prices.maps import Entries, days, map_before

_FILE: Final = Path(__file__).parents[2] / "prodlensd" / "pricing" / "litellm_prices.json"
#: (seller, name, service tier)
_Sold = tuple[str, str, str]


#: (number of a map, the prices from it on); None: none.
_Timeline = list[tuple[int, Listed | None]]
#: Without one of these that the newest prices have, there is no price of a call.
_NEEDED: Final = {"input", "output", "audio_out", "image_out_tokens"}


def main() -> None:
    """Fetches the maps and writes the file."""
    maps = [(day, *map_before(day)) for day in days()]
    sold = [_sold(entries) for _, _, entries in maps]
    names = sorted({key for of in sold for key in of})
    prices = {key: _timeline([of.get(key) for of in sold]) for key in names}
    text = _text([[day, version] for day, version, _ in maps], prices)
    _FILE.write_text(text, encoding="utf-8")
    number = len({key[:2] for key in names})
    print(f"{_FILE.name}: {number} names in {len(text) / 1000:.0f} kB")


def _sold(entries: Entries) -> dict[_Sold, Listed]:
    """What is sold by the token, in each tier; only where the standard price is known as well."""
    sold: dict[_Sold, Listed] = {}
    for key, entry in entries.items():
        seller, name = seller_of(entry), key.lower()
        tiers = {tier: listed_in(entry, tier, vendor_of(name, seller)) for tier in tiers_of(entry)}
        if tiers.get(""):
            sold |= {(seller, name, tier): found for tier, found in tiers.items() if found}
    return sold


def _timeline(prices: list[Listed | None]) -> _Timeline:
    """Since when the newest prices hold, and before that those of them that are the same."""
    last = max(number for number, listed in enumerate(prices) if listed)
    known = prices[last]
    timeline: _Timeline = [(last + 1, None)] if last + 1 < len(prices) else []
    since = last
    for number in range(last, -1, -1):
        before = prices[number]
        common = before and known and _common(known, before)
        if not common:
            break
        if common != known:
            timeline.insert(0, (since, known))
            known = common
        since = number
    return [(since, known), *timeline]


def _common(new: Listed, old: Listed) -> Listed | None:
    """The new prices without those that were others before; None if too few are left."""
    if [over for over, _ in new.above] != [over for over, _ in old.above]:
        return None
    steps = [(new.picos, old.picos)]
    steps += [(mine, its) for (_, mine), (_, its) in zip(new.above, old.above, strict=True)]
    kept = [
        {unit: rate for unit, rate in mine.items() if is_same(rate, its.get(unit, rate))}
        for mine, its in steps
    ]
    if any(
        _NEEDED & mine.keys() - left.keys() for (mine, _), left in zip(steps, kept, strict=True)
    ):
        return None
    above = zip([over for over, _ in new.above], kept[1:], strict=True)
    return new._replace(picos=kept[0], above=tuple(above))


def _text(maps: list[list[str]], prices: dict[_Sold, _Timeline]) -> str:
    """The file's text: a line for each seller, so that a change is seen where it is."""
    listed = [known for timeline in prices.values() for _, known in timeline if known]
    units = sorted({unit for known in listed for unit in known.picos})
    rates = sorted({_flat(known, units) for known in listed})
    number = {text: index for index, text in enumerate(rates)}
    names: dict[str, dict[str, dict[str, list[int | None]]]] = {}
    for (seller, name, tier), timeline in prices.items():
        names.setdefault(seller, {}).setdefault(name, {})[tier] = [
            part
            for since, known in timeline
            for part in (since, known and number[_flat(known, units)])
        ]
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
