"""What a price list says of a model, before anything that it leaves out is filled in."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fractions import Fraction
from typing import Final, NamedTuple

from prodlensd.pricing.rates import (
    ALWAYS,
    FOREVER,
    READ_PARTS,
    WRITE_PARTS,
    Origin,
    Quote,
    Rates,
    rates_of,
)

#: Pico-USD for one of a unit, by the fields of Rates and the names of `Bill.units`.
Picos = Mapping[str, int]
#: Input tokens, and the prices of a call that has more.
Above = tuple[tuple[int, Picos], ...]

_FIELDS: Final = Rates._fields[:-2]
#: What ends the name of a unit that is paid by use.
USES: Final = "_requests"
#: Lists round a rate to its thousandth at most.
_ROUNDED: Final = 1000
#: What Anthropic sets as a factor of the input's price, whatever that is.
_FACTORS: Final = {"anthropic": {"cache_write", "cache_write_1h"}}


class Listed(NamedTuple):
    """The prices of a model under its modifiers.

    standard    the units that its standard price has: those that are missing here are not known,
                while what no price has is filled in by the vendor's own rules (see `rates_of`)
    vendor      whose rules these are
    """

    picos: Picos
    above: Above = ()
    standard: Collection[str] = ()
    vendor: str = ""

    def rates(self) -> Rates:
        """The rates, with what the vendor says of the missing ones."""
        units = {*self.standard, *self.picos}
        above = tuple((over, _rates(units, dearer, self.vendor)) for over, dearer in self.above)
        return _rates(self.standard, self.picos, self.vendor)._replace(above=above)

    def with_more_of(self, other: Listed) -> Listed:
        """The same with what only the other has, if both agree in all that both have.

        That may be units, and prices of long calls. If they do not agree, these units are not
        known, instead of being filled in.
        """
        standard = {*self.standard, *other.standard, *other.picos}
        mine, its = dict(self.above), dict(other.above)
        pairs = [
            (self.picos, other.picos),
            *((mine[over], its[over]) for over in mine if over in its),
        ]
        if (mine and its and mine.keys() != its.keys()) or not all(
            map(agree, *zip(*pairs, strict=True))
        ):
            return self._replace(standard=standard)
        above = {over: {**its.get(over, {}), **mine.get(over, {})} for over in (mine or its)}
        picos = {**other.picos, **self.picos}
        return self._replace(picos=picos, above=tuple(above.items()), standard=standard)

    def without(self, units: Collection[str]) -> Listed:
        """The same without the prices of these units."""
        picos, *dearer = [
            {unit: rate for unit, rate in picos.items() if unit not in units}
            for picos in (self.picos, *(picos for _, picos in self.above))
        ]
        above = tuple(zip([over for over, _ in self.above], dearer, strict=True))
        return self._replace(picos=picos, above=above, standard={*self.standard, *units})

    @property
    def units(self) -> list[Collection[str]]:
        """Which units have a price: for short calls, and for those above each threshold."""
        return [self.picos.keys(), *(dearer.keys() for _, dearer in self.above)]

    def times(self, factor: Fraction) -> Listed:
        """The same with tokens at this factor; what is paid by use costs the same."""
        above = tuple((over, _times(dearer, factor)) for over, dearer in self.above)
        return self._replace(picos=_times(self.picos, factor), above=above)


class Row(NamedTuple):
    """What a price list answers: as a Quote, before anything is filled in."""

    listed: Listed | None
    from_us: int = ALWAYS
    until_us: int = FOREVER
    origin: Origin = Origin("")
    reason: str = ""

    @property
    def is_dated(self) -> bool:
        """Whether the list may say something else at another time."""
        return self.until_us != FOREVER

    def within(self, from_us: int, until_us: int) -> Row:
        """The same, for as long as that holds as well."""
        return self._replace(
            from_us=max(self.from_us, from_us), until_us=min(self.until_us, until_us)
        )

    def quote(self) -> Quote:
        """The answer of a price book."""
        return Quote(None if self.listed is None else self.listed.rates(), *self[1:])


def agree(one: Picos, other: Picos) -> bool:
    """Whether two lists have the same price of every unit that both have, but for rounding."""
    return all(is_same(one[unit], other[unit]) for unit in one.keys() & other.keys())


def is_same(one: int, other: int) -> bool:
    """Whether two rates are the same but for the decimals that a list leaves out."""
    return abs(one - other) * _ROUNDED <= max(one, other)


def _rates(units: Collection[str], picos: Picos, vendor: str) -> Rates:
    rates = rates_of(picos, vendor)
    lost = set(units) - picos.keys() - _FACTORS.get(vendor, set())
    for whole, parts in (("cache_read", READ_PARTS), ("cache_write", WRITE_PARTS)):
        lost |= set(parts) - picos.keys() if whole in lost else set()
    known = {unit: None if unit in lost else getattr(rates, unit) for unit in _FIELDS}
    others = tuple(item for item in rates.others if item[0] not in lost)
    return Rates(**known, others=others)  # type: ignore[arg-type]


def _times(picos: Picos, factor: Fraction) -> Picos:
    return {
        unit: rate if unit.endswith(USES) else round(rate * factor) for unit, rate in picos.items()
    }
