"""LiteLLM's price file as a price book, by exact name only: today's prices, without history.

The file is `model_prices_and_context_window.json`, as LiteLLM ships it. Run as a module with the
file's path, this answers questions on its standard input (see `child`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from prodlensd.pricing.child import serve
from prodlensd.pricing.litellm_rates import is_sold_by, keys_of, listed_in, seller_of, vendor_of
from prodlensd.pricing.names import named, sought, unknown
from prodlensd.pricing.rates import Origin, PriceBook, Question, Quote


class LiteLLMFile(PriceBook):
    """The file as a price book. Raises OSError, or ValueError when it is not such a file."""

    def __init__(self, path: Path) -> None:
        try:
            self._entries = json.loads(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path}: not JSON: {error}") from error
        if not isinstance(self._entries, dict):
            raise ValueError(f"{path}: expected an object of models, as LiteLLM ships it")  # noqa: TRY004
        self._book = f"LiteLLM price file {path.name}"

    def quote(self, question: Question) -> Quote:
        """The file's price, for all times: the file has no dates."""
        asked = sought(question)
        if isinstance(asked, str):
            return Quote(None, reason=asked)
        model = named(question.provider, question.model)
        reason = f"model_unknown:{model}"
        tier = asked.modifiers.get("service_tier", "")
        for key in keys_of(asked, question.model):
            entry = self._entries.get(key)
            if not isinstance(entry, dict) or not is_sold_by(seller_of(entry), asked.provider):
                continue
            if asked.modifiers.keys() <= {"service_tier"} and (
                listed := listed_in(entry, tier, vendor_of(key, asked.provider))
            ):
                return Quote(listed.rates(), origin=Origin(self._book, key, f"is {key}"))
            reason = unknown(asked.modifiers) if asked.modifiers else f"price_unknown:{model}"
        if asked.region and reason.startswith("model_unknown"):
            reason = unknown({}, asked.region)
        return Quote(None, reason=reason)


if __name__ == "__main__":
    serve(lambda: LiteLLMFile(Path(sys.argv[1])))
