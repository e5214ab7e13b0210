"""The price list genai-prices: prices of many providers, with their history.

Its imports take 30 MB that the daemon does without (see `child`). genai-prices matches names by
prefix and by substring; here a match only counts when it explains the whole name, so that an
invented model has no price.
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
from prodlensd.pricing.listed import Listed, Row
from prodlensd.pricing.names import SCOPE, Sought, named, shown, unknown
from prodlensd.pricing.rates import ALWAYS, FOREVER, Origin, pico

#: A model with any other unit (hours, pages, a fee for each call) has no price, because its tokens
#: are not the price of a call.
_UNITS: Final = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "output_reasoning_mtok": "reasoning",
    "input_audio_mtok": "audio_in",
    "output_audio_mtok": "audio_out",
    "input_image_mtok": "image_in_tokens",
    "output_image_mtok": "image_out_tokens",
    "input_video_mtok": "video_in_tokens",
    "output_video_mtok": "video_out_tokens",
    "cache_audio_read_mtok": "audio_cache_read_tokens",
    "cache_image_read_mtok": "image_cache_read_tokens",
    "output_citation_mtok": "citation_tokens",
    # paid by use, in USD for a thousand
    "web_searches_kcount": "web_search_requests",
    "storage_searches_kcount": "file_search_requests",
}
_USES: Final = "_kcount"
_PICO_PER_THOUSANDTH: Final = 1000

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
#: What may stand before a model's name on Bedrock. The prices of `us.` are those of the base row;
#: any other scope must be a part of the row's own name.
_AWS_SCOPE: Final = re.compile(rf"(?:us\.)?(?:(?!{SCOPE})[a-z0-9]+\.)?")
#: How many parts that end in a dot a scope has at most: a region, and a vendor.
_MAX_SCOPES: Final = 2
#: The book and its version, which takes a millisecond to find out.
_BOOK: Final = f"genai-prices {version('genai-prices')}"


def find(asked: Sought, at_us: int) -> Row:
    """The price at the time of the call; none when it is not known exactly."""
    model = named(asked.provider, asked.name)
    if asked.seller not in _books():
        return Row(None, reason=f"provider_unknown:{shown(asked.provider)}")
    found = _find(asked.seller, asked.name)
    if found is None:
        return Row(None, reason=f"model_unknown:{model}")
    if asked.region:
        return Row(None, reason=unknown({}, asked.region))
    prices, seller, match = found
    try:
        at = moment_of(at_us)
        window = _window(prices, at)
    except OverflowError:  # beyond the calendar
        return Row(None, reason=f"price_unknown:{model}")
    dated = _prices_at(prices, at, asked.modifiers, own=seller == asked.seller)
    if dated is None:
        return Row(None, *window, reason=unknown(asked.modifiers))
    standard = _given(prices.get_prices(at))
    if seller != asked.seller:  # what is used besides has its own price there
        dated = {unit: price for unit, price in dated.items() if not unit.endswith(_USES)}
    listed = None if _is_vague(prices, at) else _listed(dated, standard, seller)
    origin = Origin(_BOOK, f"{seller}/{prices.id}", match)
    return Row(listed, *window, origin, "" if listed else f"price_unknown:{model}")


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
def _books() -> Mapping[str, genai.Provider]:
    return {provider.id: provider for provider in get_snapshot().providers}


@cache
def _sellers(seller: str) -> list[tuple[str, _Shelf]]:
    """The models of the provider, and of the vendors whose models it sells at their price."""
    provider = _books()[seller]
    vendors = [_books()[v] for v in provider.fallback_model_providers or () if v in _SOLD_AT_LIST]
    return [(of.id, _Shelf(of.models)) for of in (provider, *vendors)]


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
        case genai.ClauseRegex(regex=text):
            found, why = re.search(text, name), "matches"
            start, end = found.span() if found else (0, -1)
        case genai.ClauseStartsWith(starts_with=text):
            why = "begins with"
            start, end = 0, len(clause.starts_with) if clause.is_match(name) else -1
        case genai.ClauseContains(contains=text):
            start, why = name.find(text.lower()), "contains"
            end = start + len(clause.contains) if start >= 0 else -1
        case genai.ClauseEndsWith(ends_with=text):
            why = "ends with"
            start = len(name) - len(clause.ends_with)
            end = len(name) if clause.is_match(name) else -1
        case _:
            return ""
    whole_end = end >= _stem_chars(name, book_name)
    in_scope = book_name == "aws" and _AWS_SCOPE.fullmatch(name, 0, start) is not None
    if not (whole_end and (start == 0 or in_scope)):
        return ""
    return f"{'is' if name == text.lower() else why} {text}"


def _is_vague(model: genai.ModelInfo, at: datetime) -> bool:
    """Whether the price depends on the hour and the book cannot tell it.

    It does not know when peak hours began, nor that weekends have none.
    """
    when = [price.constraint for price in (model.prices if isinstance(model.prices, list) else ())]
    return any(isinstance(c, genai.TimeOfDateConstraint) and c.active(at) for c in when) and (
        at.weekday() >= 5 or any(at < start for start in map(_start, when) if start)  # noqa: PLR2004
    )


def _prices_at(
    model: genai.ModelInfo, at: datetime, modifiers: Mapping[str, str], *, own: bool
) -> dict[str, object] | None:
    """The model's prices at that time, of exactly these modifiers; None when it has none.

    The modifiers of a vendor are not those of who sells its models (`own` is False). They change
    the prices of tokens only: of tokens that have no price there, none is known.
    """
    standard = _given(model.get_prices(at))
    if not modifiers:
        return standard
    when = dict(modifiers)
    if when.get("service_tier") == "batch":
        when["processing"] = when.pop("service_tier")
    for variant in model.price_variants or ():
        begun = variant.constraint is None or variant.constraint.active(at)
        if own and begun and variant.when == when:
            uses = {unit: price for unit, price in standard.items() if unit.endswith(_USES)}
            return uses | _given(variant.prices)
    return None


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


def _listed(given: Mapping[str, object], standard: Iterable[str], vendor: str) -> Listed | None:
    """The prices; None unless tokens, and what a call uses besides, are its whole price."""
    if "input_mtok" not in given or not given.keys() <= _UNITS.keys():
        return None
    thresholds = sorted(
        {t.start for p in given.values() if isinstance(p, genai.TieredPrices) for t in p.tiers}
    )
    above = tuple((start, _flat(given, start + 1)) for start in thresholds)
    return Listed(_flat(given, 0), above, [_UNITS[u] for u in standard if u in _UNITS], vendor)


def _given(prices: genai.ModelPrice) -> dict[str, object]:
    return {unit: price for unit, price in vars(prices).items() if price is not None}


def _flat(given: Mapping[str, object], tokens_in: int) -> dict[str, int]:
    """The rates of a call with this number of input tokens."""
    picos = {}
    for unit, price in given.items():
        if isinstance(price, genai.TieredPrices):
            steps = [price.base, *(tier.price for tier in price.tiers if tokens_in > tier.start)]
            price = steps[-1]  # noqa: PLW2901
        factor = _PICO_PER_THOUSANDTH if unit.endswith(_USES) else 1
        picos[_UNITS[unit]] = _pico(str(price)) * factor
    return picos


#: The book has few different prices, and each model has many of them.
_pico: Final = cache(pico)
