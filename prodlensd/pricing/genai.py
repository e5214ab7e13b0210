"""The price book genai-prices: prices of many providers, with their history.

Run as a module, this answers questions on its standard input (see `child`): its imports take 30 MB
that the daemon does without. genai-prices matches names by prefix and by substring; here a match
only counts when it explains the whole name, so that an invented model has no price.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, time, timedelta
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Final

from genai_prices import types as genai
from genai_prices.data_snapshot import get_snapshot

from prodlensd.moments import moment_of, moment_us
from prodlensd.pricing.child import serve
from prodlensd.pricing.corrections import corrected, first_correction_us
from prodlensd.pricing.rates import (
    ALWAYS,
    FOREVER,
    STANDARD_TIERS,
    Origin,
    PriceBook,
    Quote,
    Rates,
    pico,
    rates_of,
)

#: LiteLLM's name of a provider → genai-prices' name. Other providers have no price here, not even
#: their vendor's: a reseller sets its own.
_BOOK_NAMES: Final = {
    **dict.fromkeys(("openai", "text-completion-openai"), "openai"),
    **dict.fromkeys(("azure", "azure_ai", "azure_text"), "azure"),
    **dict.fromkeys(("anthropic", "anthropic_text"), "anthropic"),
    **dict.fromkeys(("bedrock", "bedrock_converse", "bedrock_mantle", "amazon_nova", "aws"), "aws"),
    **dict.fromkeys(("vertex_ai", "vertex_ai_beta", "gemini", "google"), "google"),
    **dict.fromkeys(("mistral", "codestral", "text-completion-codestral"), "mistral"),
    **dict.fromkeys(("cohere", "cohere_chat"), "cohere"),
    **dict.fromkeys(("xai", "x-ai"), "x-ai"),
    **dict.fromkeys(("together_ai", "together"), "together"),
    **dict.fromkeys(("fireworks_ai", "fireworks"), "fireworks"),
    **{name: name for name in ("baseten", "cerebras", "cloudflare", "databricks", "deepseek")},
    **{name: name for name in ("groq", "minimax", "novita", "openrouter", "ovhcloud")},
    **{name: name for name in ("perplexity", "zai")},
    "moonshot": "moonshotai",
    "voyage": "voyageai",
}

_UNITS: Final = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_reasoning_mtok": "reasoning",
    "input_audio_mtok": "audio_in",
    "output_audio_mtok": "audio_out",
}
#: Extras that are not part of every call's price. Models with any other unit (images, hours,
#: searches by depth) have no price, because no count of it is logged.
_EXTRAS: Final = {"web_searches_kcount", "storage_searches_kcount", "cache_audio_read_mtok"}

#: Vendors whose models Azure and Google sell at the vendor's own price.
_SOLD_AT_LIST: Final = {"openai", "anthropic"}

_DATE: Final = r"-20\d\d-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01])"
_SUFFIX: Final = rf"{_DATE}|-latest|@[\w.-]+"
_SUFFIXES: Final = {  # what may follow a model's name without making it another model
    "aws": re.compile(rf"(?:{_SUFFIX}|-v\d+|:\d+k?)*$"),
    "google": re.compile(rf"(?:{_SUFFIX}|-00\d)*$"),
}
_ANY_SUFFIX: Final = re.compile(rf"(?:{_SUFFIX})*$")
_DATE_SUFFIX: Final = re.compile(rf"(?:{_DATE}|@[\w.-]+)$")
_COMPACT_DATE: Final = re.compile(r"-(20\d\d)(\d\d)(\d\d)$")
_AWS_SCOPE: Final = re.compile(r"(?:(?:us|us-gov|eu|au|jp|apac|in|ca|global)\.)?(?:[a-z0-9]+\.)?")
#: How many parts that end in a dot a scope has at most: a region, and a vendor.
_MAX_SCOPES: Final = 2
_AWS_ROUTE: Final = re.compile(
    r"converse|invoke|[a-z]{2}(-gov)?-[a-z]+-\d|arn:aws.*:(inference-profile|foundation-model)"
)

#: The book and its version, which takes a millisecond to find out.
_BOOK: Final = f"genai-prices {version('genai-prices')}"


class GenaiBook(PriceBook):
    """genai-prices as a price book."""

    def quote(self, provider: str, model: str, at_us: int, tier: str | None) -> Quote:
        """The price at the time of the call; without rates when it is not known exactly."""
        book_name = _BOOK_NAMES.get(provider.lower())
        name = _bare_name(book_name, model) if book_name else None
        if book_name is None or name is None:
            return Quote(None)
        if (right := corrected(book_name, name, at_us)) is not None:
            return right
        found = _find(book_name, name)
        if found is None:
            return Quote(None)
        prices, seller, match = found
        try:
            at = moment_of(at_us)
            from_us, until_us = _window(prices, at)
        except OverflowError:  # beyond the calendar
            return Quote(None)
        until_us = min(until_us, first_correction_us(book_name, name))
        dated = _prices_at(prices, at, tier, own=seller == book_name)
        rates = None if dated is None else _rates(dated, book_name)
        origin = Origin(_BOOK, f"{seller}/{prices.id}", match)
        return Quote(rates, from_us, until_us, origin)


def _bare_name(book_name: str, model: str) -> str | None:
    """The model's name without its prefixes; None for a route that is not billed by the token."""
    parts = model.lower().replace("[1m]", "").split("/")
    while len(parts) > 1 and _BOOK_NAMES.get(parts[0]) == book_name:
        del parts[0]
    if book_name == "aws":
        return parts[-1] if all(map(_AWS_ROUTE.fullmatch, parts[:-1])) else None
    if len(parts) > 1 and parts[0] == "responses":
        del parts[0]
    name = "/".join(parts)
    # a fine-tuned model, "ft:base:organisation:name:id", is billed by its base
    return ":".join(name.split(":")[:2]) if name.startswith("ft:") else name


@lru_cache(maxsize=4096)
def _find(book_name: str, name: str) -> tuple[genai.ModelInfo, str, str] | None:
    """The model that `name` means, the provider that the book has it under, and how it matches."""
    dashed = _COMPACT_DATE.sub(r"-\1-\2-\3", name)
    for candidate in dict.fromkeys((name, dashed, _DATE_SUFFIX.sub("", name))):
        stem = _stem_chars(candidate, book_name)
        for seller, shelf in _sellers(book_name):
            for model in shelf.near(candidate, stem, in_scope=book_name == "aws"):
                if why := _explains(model.match, candidate, book_name):
                    return model, seller, why
    return None


@cache
def _sellers(book_name: str) -> list[tuple[str, _Shelf]]:
    """The models of the provider, and of the vendors whose models it sells at their price."""
    books = {provider.id: provider for provider in get_snapshot().providers}
    provider = books[book_name]
    vendors = [books[v] for v in provider.fallback_model_providers or () if v in _SOLD_AT_LIST]
    return [(seller.id, _Shelf(seller.models)) for seller in (provider, *vendors)]


class _Shelf:
    """Models in the book's order, found by the texts of their clauses.

    Asking every clause takes a millisecond, and a log may name a new model on every line.
    """

    def __init__(self, models: Iterable[genai.ModelInfo]) -> None:
        self.models = list(models)
        self._by_text: dict[str, list[int]] = {}
        self._by_pattern: list[tuple[re.Pattern[str], int]] = []
        for number, model in enumerate(self.models):
            for clause in _leaves(model.match):
                if isinstance(clause, genai.ClauseRegex):
                    self._by_pattern.append((re.compile(clause.regex), number))
                elif (text := _text(clause)) is not None:
                    self._by_text.setdefault(text, []).append(number)
        self._longest_chars = max(map(len, self._by_text), default=0)

    def near(self, name: str, stem_chars: int, *, in_scope: bool) -> Iterator[genai.ModelInfo]:
        """Every model with a clause that may explain the name (see `_explains`), and few others.

        Such a clause has a text that begins with the name, or after a scope, and reaches to the end
        of its stem at least; or it has a pattern.
        """
        begins = {0}
        if in_scope:
            begins.update([dot.end() for dot in re.finditer(r"\.", name)][:_MAX_SCOPES])
        numbers = {number for pattern, number in self._by_pattern if pattern.search(name)}
        for begin in begins:
            for end in range(stem_chars, min(len(name), begin + self._longest_chars) + 1):
                numbers.update(self._by_text.get(name[begin:end], ()))
        return (self.models[number] for number in sorted(numbers))


def _leaves(clause: object) -> Iterator[object]:
    match clause:
        case genai.ClauseOr(or_=parts) | genai.ClauseAnd(and_=parts):
            for part in parts:
                yield from _leaves(part)
        case _:
            yield clause


def _text(clause: object) -> str | None:
    """The text that a clause looks for, in lower case; None of a kind that explains no name."""
    match clause:
        case (
            genai.ClauseEquals(equals=text)
            | genai.ClauseStartsWith(starts_with=text)
            | genai.ClauseContains(contains=text)
            | genai.ClauseEndsWith(ends_with=text)
        ):
            return text.lower()
        case _:
            return None


def _stem_chars(name: str, book_name: str) -> int:
    """The length of the name without a date, an alias or a version at its end."""
    found = _SUFFIXES.get(book_name, _ANY_SUFFIX).search(name)
    return len(name) if found is None else found.start()


def _explains(clause: object, name: str, book_name: str) -> str:
    """How `clause` matches `name`, but for a date, an alias or a version; "" if it does not."""
    match clause:
        case genai.ClauseOr():
            return next(filter(None, (_explains(p, name, book_name) for p in clause.or_)), "")
        case genai.ClauseAnd():
            whys = (_explains(part, name, book_name) for part in clause.and_)
            return next(filter(None, whys), "") if clause.is_match(name) else ""
        case genai.ClauseEquals():
            return f"is {clause.equals}" if name == clause.equals.lower() else ""
        case genai.ClauseRegex():
            found, why = re.search(clause.regex, name), f"matches {clause.regex}"
            start, end = found.span() if found else (0, -1)
        case genai.ClauseStartsWith():
            why = f"begins with {clause.starts_with}"
            start, end = 0, len(clause.starts_with) if clause.is_match(name) else -1
        case genai.ClauseContains():
            start, why = name.find(clause.contains.lower()), f"contains {clause.contains}"
            end = start + len(clause.contains) if start >= 0 else -1
        case genai.ClauseEndsWith():
            why = f"ends with {clause.ends_with}"
            start = len(name) - len(clause.ends_with)
            end = len(name) if clause.is_match(name) else -1
        case _:
            return ""
    whole_end = end >= _stem_chars(name, book_name)
    in_scope = book_name == "aws" and _AWS_SCOPE.fullmatch(name, 0, start) is not None
    return why if whole_end and (start == 0 or in_scope) else ""


def _prices_at(
    model: genai.ModelInfo, at: datetime, tier: str | None, *, own: bool
) -> genai.ModelPrice | None:
    """The model's prices at that time and tier; None when the book does not have them."""
    tier = (tier or "").lower()
    when = [price.constraint for price in (model.prices if isinstance(model.prices, list) else ())]
    if any(isinstance(c, genai.TimeOfDateConstraint) and c.active(at) for c in when) and (
        at.weekday() >= 5 or any(at < start for start in map(_start, when) if start)  # noqa: PLR2004
    ):
        return None  # the book does not know when peak hours began, nor that weekends have none
    if tier in STANDARD_TIERS:
        return model.get_prices(at)
    context = {"processing": "batch"} if tier == "batch" else {"service_tier": tier}
    for variant in model.price_variants or ():
        begun = variant.constraint is None or variant.constraint.active(at)
        if own and begun and variant.when == context:
            return model.get_prices(at, context)
    return None  # another tier has another price, which is unknown


def _start(constraint: object) -> datetime | None:
    if isinstance(constraint, genai.StartDateConstraint):
        return datetime.combine(constraint.start_date, time(), UTC)
    return None


def _window(model: genai.ModelInfo, at: datetime) -> tuple[int, int]:
    """Start and end of the time around `at`, in microseconds, without a change of price."""
    at_us = moment_us(at)
    moments = [moment_us(moment) for moment in _changes(model, at)]
    return (
        max((moment for moment in moments if moment <= at_us), default=ALWAYS),
        min((moment for moment in moments if moment > at_us), default=FOREVER),
    )


def _changes(model: genai.ModelInfo, at: datetime) -> Iterator[datetime]:
    """When the model's prices change: on its dates, and at its hours on the day of `at`."""
    midnight = datetime.combine(at.date(), time(), UTC)
    conditional = model.prices if isinstance(model.prices, list) else []
    for price in (*conditional, *(model.price_variants or ())):
        if isinstance(price.constraint, genai.TimeOfDateConstraint):
            hours = price.constraint.start_time, price.constraint.end_time
            yield from (midnight, midnight + timedelta(days=1))
            yield from (datetime.combine(at.date(), hour.replace(tzinfo=UTC)) for hour in hours)
        elif (start := _start(price.constraint)) is not None:
            yield start


def _rates(prices: genai.ModelPrice, book_name: str) -> Rates | None:
    given = {unit: price for unit, price in vars(prices).items() if price is not None}
    if "input_mtok" not in given or not given.keys() <= _UNITS.keys() | _EXTRAS:
        return None
    thresholds = sorted(
        {t.start for p in given.values() if isinstance(p, genai.TieredPrices) for t in p.tiers}
    )
    above = tuple((start, _flat(given, book_name, start + 1)) for start in thresholds)
    return _flat(given, book_name, 0)._replace(above=above)


def _flat(given: Mapping[str, object], book_name: str, tokens_in: int) -> Rates:
    """The rates of a call with this number of input tokens."""
    picos = {}
    for unit, price in given.items():
        if isinstance(price, genai.TieredPrices):
            steps = [price.base, *(tier.price for tier in price.tiers if tokens_in > tier.start)]
            price = steps[-1]  # noqa: PLW2901
        if unit in _UNITS:
            picos[_UNITS[unit]] = _pico(str(price))
    return rates_of(picos, book_name)


#: The book has few different prices, and each model has many of them.
_pico: Final = cache(pico)


if __name__ == "__main__":
    serve(GenaiBook)
