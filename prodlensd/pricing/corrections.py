"""What price lists have wrong or not at all, as data: `corrections.toml`, each row with its source.

Two kinds of rows. A [[name]] says what the names of models stand for since a moment: other rates, a
successor, nothing that has a price, or the row of the price list that has it right. A [[factor]]
says by how much a modifier multiplies the price of every token. Of several rows that fit, the last
counts.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from fnmatch import fnmatchcase
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

from prodlensd.moments import moment_us
from prodlensd.pricing.listed import USES, Picos
from prodlensd.pricing.names import Sought
from prodlensd.pricing.rates import ALWAYS, FOREVER, pico

_PICO_PER_THOUSANDTH: Final = 1000


class Scope(NamedTuple):
    """What a row is about: these names of a provider, since `from_us` until before `until_us`.

    `models` are patterns of names without their provider, in lower case.
    """

    provider: str
    models: tuple[str, ...]
    from_us: int
    until_us: int
    source: str


class Name(NamedTuple):
    """What the names in `scope` mean: one of these.

    rates       pico-USD for one of each unit
    successor   the name under which they are billed
    unpriced    why they have no price
    believe     the price list that has them right, where another has them wrong
    lacks       units whose price is not known, whatever a list says
    """

    scope: Scope
    rates: Picos | None = None
    successor: str = ""
    unpriced: str = ""
    believe: str = ""
    lacks: tuple[str, ...] = ()


class Factor(NamedTuple):
    """By how much the price of tokens is multiplied where a modifier has one of these values."""

    scope: Scope
    modifier: str
    values: tuple[str, ...]
    times: Fraction


_Row = TypeVar("_Row", Name, Factor)


class At(NamedTuple):
    """The time around a moment in which the same row counts, or none."""

    from_us: int = ALWAYS
    until_us: int = FOREVER


@cache
def rows() -> tuple[tuple[Name, ...], tuple[Factor, ...]]:
    """The rows of the file. Raises ValueError for one that is not well formed."""
    text = Path(__file__).with_name("corrections.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    if tables.keys() != {"name", "factor"}:
        raise ValueError(f"corrections.toml has the tables {sorted(tables)}")
    return tuple(map(_name, tables["name"])), tuple(map(_factor, tables["factor"]))


def name_of(asked: Sought, at_us: int) -> tuple[Name | None, At]:
    """The row about this name."""
    return _at(at_us, (row for row in rows()[0] if _fits(row.scope, asked)))


def factor_of(asked: Sought, at_us: int) -> tuple[Factor | None, At]:
    """The row about one of the modifiers."""
    modifiers = {**asked.modifiers, "region": asked.region}
    return _at(
        at_us,
        (
            row
            for row in rows()[1]
            if (value := modifiers.get(row.modifier))
            and any(fnmatchcase(value, pattern) for pattern in row.values)
            and _fits(row.scope, asked)
        ),
    )


def _fits(scope: Scope, asked: Sought) -> bool:
    return scope.provider in (asked.seller, asked.provider) and any(
        fnmatchcase(asked.name, model) for model in scope.models
    )


def _at(at_us: int, fitting: Iterable[_Row]) -> tuple[_Row | None, At]:
    found, at = None, At()
    for row in fitting:
        if row.scope.from_us <= at_us < row.scope.until_us:
            found = row
        for edge in (row.scope.from_us, row.scope.until_us):
            at = At(max(at[0], edge), at[1]) if edge <= at_us else At(at[0], min(at[1], edge))
    return found, at


def _name(row: dict[str, Any]) -> Name:
    name = Name(
        _scope(row),
        _picos(row.pop("rates")) if "rates" in row else None,
        successor=row.pop("successor", ""),
        unpriced=row.pop("unpriced", ""),
        believe=row.pop("believe", ""),
        lacks=tuple(row.pop("lacks", ())),
    )
    if row or sum(map(bool, name[1:])) != 1:
        raise ValueError(f"corrections.toml: not one meaning for {name.scope}: {row}")
    return name


def _factor(row: dict[str, Any]) -> Factor:
    scope = _scope(row)
    factor = Factor(
        scope, row.pop("modifier"), tuple(row.pop("values")), Fraction(row.pop("times"))
    )
    if row:
        raise ValueError(f"corrections.toml: unknown keys for {scope}: {sorted(row)}")
    return factor


def _scope(row: dict[str, Any]) -> Scope:
    scope = Scope(
        row.pop("provider"),
        tuple(row.pop("models")),
        _us(row.pop("from", None), ALWAYS),
        _us(row.pop("until", None), FOREVER),
        row.pop("source"),
    )
    if not all((scope.provider, scope.models, scope.source)) or scope.from_us >= scope.until_us:
        raise ValueError(f"corrections.toml: not a whole row: {scope}")
    return scope


def _us(moment: date | None, otherwise: int) -> int:
    """A date's midnight in UTC, or a datetime, in microseconds."""
    if moment is None:
        return otherwise
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time(), UTC)
    return moment_us(moment)


def _picos(usd: Mapping[str, str]) -> Picos:
    """Rates of USD per million tokens, or per thousand uses."""
    return {
        unit: pico(price) * (_PICO_PER_THOUSANDTH if unit.endswith(USES) else 1)
        for unit, price in usd.items()
    }
