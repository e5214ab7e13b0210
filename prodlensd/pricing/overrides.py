"""The user's own prices as a price book: for exact models, and believed before any other."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from decimal import Decimal

from msgspec import Struct

from prodlensd.model import provider_in
from prodlensd.moments import moment_us
from prodlensd.pricing.names import named
from prodlensd.pricing.rates import (
    ALWAYS,
    FOREVER,
    Origin,
    PriceBook,
    Question,
    Quote,
    pico,
    rates_of,
)


class Override(Struct, frozen=True, kw_only=True):
    """One [[pricing.override]]. Its price holds from `valid_from` until just before `valid_to`.

    `model` is the logged name, with or without its provider prefix. Dates are UTC days.
    """

    model: str
    input_usd_per_million: Decimal | float
    output_usd_per_million: Decimal | float
    cache_read_usd_per_million: Decimal | float | None = None
    cache_write_usd_per_million: Decimal | float | None = None
    provider: str | None = None
    valid_from: date | None = None
    valid_to: date | None = None


class Overrides(PriceBook):
    """A price book of overrides. Of several that fit a call, the first in the list counts."""

    def __init__(self, overrides: Iterable[Override]) -> None:
        self._of: dict[str, list[tuple[str | None, Quote]]] = {}
        for override in overrides:
            self._of.setdefault(override.model, []).append((override.provider, _quote(override)))

    def quote(self, question: Question) -> Quote:
        """The user's price, for all modifiers: it is the price the user pays."""
        provider, model, at_us, _ = question
        from_us, until_us = ALWAYS, FOREVER
        for name in dict.fromkeys((model, model.removeprefix(f"{provider}/"))):
            for only, quote in self._of.get(name, ()):
                if only not in (None, provider):
                    continue
                if at_us < quote.from_us:
                    until_us = min(until_us, quote.from_us)
                elif at_us >= quote.until_us:
                    from_us = max(from_us, quote.until_us)
                else:
                    return quote.within(Quote(None, from_us, until_us))
        return Quote(None, from_us, until_us, reason=f"model_unknown:{named(provider, model)}")


def _quote(override: Override) -> Quote:
    given = {
        "input": override.input_usd_per_million,
        "output": override.output_usd_per_million,
        "cache_read": override.cache_read_usd_per_million,
        "cache_write": override.cache_write_usd_per_million,
    }
    picos = {unit: pico(usd) for unit, usd in given.items() if usd is not None}
    provider = (override.provider or provider_in(override.model)).lower()
    if provider == "anthropic":  # its own rule for cache writes comes before the flat one
        vendors = rates_of(picos, provider)
        writes = {"cache_write": vendors.cache_write, "cache_write_1h": vendors.cache_write_1h}
        picos = {**{unit: rate for unit, rate in writes.items() if rate is not None}, **picos}
    return Quote(
        rates_of(picos, "flat"),
        ALWAYS if override.valid_from is None else _microseconds(override.valid_from),
        FOREVER if override.valid_to is None else _microseconds(override.valid_to),
        Origin("configuration", f"pricing.override of {override.model}", "is written so"),
    )


def _microseconds(moment: date) -> int:
    """A date's midnight, or a datetime, in microseconds since 1970; UTC where no zone is given."""
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment_us(moment)
