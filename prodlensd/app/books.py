"""The price books of a configuration, and what calls cost by them."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from typing import Final, Self

from prodlensd import __version__
from prodlensd import config as configuration
from prodlensd.answers.facts import price_book_version
from prodlensd.pricing import HUNG_S, ChildBook, Override, Pins, Pricer, flat_rates

_LITELLM_FILE: Final = "prodlensd.pricing.litellm_file"


class Books:
    """The pricer of a configuration and its price books, each in a child process.

    A context manager: the processes end with it. `pins` are the prices that the ledger keeps, and
    `patience_s` is how long an answer is waited for.
    """

    def __init__(
        self,
        pricing: configuration.Pricing,
        pins: Pins | None = None,
        patience_s: float = HUNG_S,
    ) -> None:
        child_book = partial(ChildBook, now_s=time.monotonic, patience_s=patience_s)
        self._children = [child_book()]
        if pricing.litellm_prices is not None:
            file = str(pricing.litellm_prices)
            self._children.append(child_book(_LITELLM_FILE, file))
        fallback = pricing.fallback
        self.pricer = Pricer(
            prefer=pricing.prefer,
            free_providers=pricing.free_providers,
            fallback=None
            if fallback is None
            else flat_rates(fallback.input_usd_per_million, fallback.output_usd_per_million),
            overrides=[_override(override) for override in pricing.override],
            books=self._children,
            pins=pins,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.close()

    def start(self) -> None:
        """Starts the processes, without waiting until they can answer. Raises OSError."""
        for child in self._children:
            child.start()

    def warm_up(self) -> None:
        """Waits until the processes can answer."""
        for child in self._children:
            child.warm_up()

    def rest(self) -> None:
        """Ends the processes that have not been asked for a minute; they start when asked again."""
        for child in self._children:
            child.rest()


def fingerprint(pricing: configuration.Pricing) -> str:
    """A digest of all prices in force: with other prices, unpriced calls are tried again.

    A LiteLLM price file that cannot be read counts as empty; asking it for a price is an error.
    """
    digest = blake2b(digest_size=16)
    for part in (__version__, price_book_version() or "", repr(pricing)):
        digest.update(part.encode() + b"\0")
    if pricing.litellm_prices is not None:
        with suppress(OSError):
            digest.update(pricing.litellm_prices.read_bytes())
    return digest.hexdigest()


def _override(override: configuration.PriceOverride) -> Override:
    return Override(**{name: getattr(override, name) for name in override.__struct_fields__})
