"""The price lists that come with prodlensd, as one book: genai-prices, then LiteLLM's; corrected.

Run as a module, this answers questions on its standard input (see `child`).
"""

from __future__ import annotations

from typing import Final

from prodlensd import __version__
from prodlensd.pricing import corrections, genai, litellm_map
from prodlensd.pricing.child import serve
from prodlensd.pricing.listed import Listed, Row
from prodlensd.pricing.names import Sought, named, sought, unknown
from prodlensd.pricing.rates import Origin, PriceBook, Question, Quote

#: What `corrections` calls the price lists.
GENAI: Final = "genai-prices"
LITELLM: Final = "LiteLLM"
#: Reasons, the better first: of two, the one counts whose list knows more of the name.
_REASONS: Final = ("modifier_unknown", "price_unknown", "model_unknown", "provider_unknown")


class BuiltinBook(PriceBook):
    """All of them as a price book. Raises OSError or ValueError when one cannot be read."""

    def __init__(self) -> None:
        corrections.rows()
        litellm_map.load()

    def quote(self, question: Question) -> Quote:
        """The price at the time of the call; without rates when it is not known exactly."""
        asked = sought(question)
        if isinstance(asked, str) and (maker := litellm_map.maker_of(question.model)):
            asked = sought(question, maker)
        if isinstance(asked, str):
            return Quote(None, reason=asked)
        row = _corrected(asked, question.at_us)
        if asked.maker:
            row = _because(row, f"a bare name is {asked.maker}'s")
        return row.quote()


def _corrected(asked: Sought, at_us: int) -> Row:
    """The price of what the name means at that time."""
    rule, at = corrections.name_of(asked, at_us)
    if rule is None:
        row = _multiplied(asked, at_us)
    elif rule.successor:
        row = _multiplied(asked._replace(name=rule.successor), at_us)
        row = _because(row, f"{asked.name} is billed as {rule.successor}")
    elif rule.believe:
        row = _multiplied(asked, at_us, only=rule.believe)
    elif rule.lacks:
        row = _multiplied(asked, at_us)
        row = row._replace(listed=row.listed and row.listed.without(rule.lacks))
    else:
        row = _written(rule, asked)
    return row.within(*at)


def _written(rule: corrections.Name, asked: Sought) -> Row:
    """What we say ourselves."""
    name = named(asked.provider, asked.name)
    origin = Origin(f"prodlensd {__version__}", name, rule.unpriced or "is corrected")
    if rule.rates is None:
        return Row(None, origin=origin, reason=f"price_unknown:{name}")
    if asked.modifiers or asked.region:
        return Row(None, origin=origin, reason=unknown(asked.modifiers, asked.region))
    return Row(Listed(rule.rates, vendor=asked.seller), origin=origin)


def _multiplied(asked: Sought, at_us: int, *, only: str = "") -> Row:
    """The price where modifiers that are a factor of every price are taken into account."""
    rule, at = corrections.factor_of(asked, at_us)
    if rule is None:
        return _looked_up(asked, at_us, only).within(*at)
    left = {name: value for name, value in asked.modifiers.items() if name != rule.modifier}
    region = "" if rule.modifier == "region" else asked.region
    row = _multiplied(asked._replace(modifiers=left, region=region), at_us, only=only)
    if row.listed is not None:
        row = row._replace(listed=row.listed.times(rule.times))
        row = _because(row, f"times {float(rule.times)} for {rule.modifier}")
    return row.within(*at)


def _looked_up(asked: Sought, at_us: int, only: str) -> Row:
    """The price of the first list that has it, with what the other one has besides."""
    if only == LITELLM:
        return litellm_map.find(asked, at_us)
    first = genai.find(asked, at_us)
    if only == GENAI:
        return first
    second = litellm_map.find(asked, at_us)
    if first.listed is None and second.listed is None:
        known = min(first, second, key=_rank)
        return known.within(*first[1:3]).within(*second[1:3])
    if first.listed is None:
        return second.within(*first[1:3])
    if second.listed is None:  # not yet, or no longer
        later = litellm_map.find(asked, second.until_us) if second.is_dated else second
        return first if _more(first, later) is None else first.within(*second[1:3])
    return _more(first, second) or first


def _more(row: Row, other: Row) -> Row | None:
    """The price with what only the other list has; None if that is nothing."""
    if row.listed is None or other.listed is None:
        return None
    more = row.listed.with_more_of(other.listed)
    if more.rates() == row.listed.rates():
        return None
    if more.units == row.listed.units:  # they disagree: only what this list says itself is left
        return row._replace(listed=more).within(*other[1:3])
    book = f"{row.origin.book} and {other.origin.book}"
    origin = Origin(book, row.origin.entry, row.origin.match)
    return row._replace(listed=more, origin=origin).within(*other[1:3])


def _rank(row: Row) -> int:
    kind = row.reason.partition(":")[0]
    return _REASONS.index(kind) if kind in _REASONS else -1


def _because(row: Row, why: str) -> Row:
    """The same, saying why besides."""
    match = "; ".join(filter(None, (row.origin.match, why)))
    return row._replace(origin=row.origin._replace(match=match))


if __name__ == "__main__":
    serve(BuiltinBook)
