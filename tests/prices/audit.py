"""Compares our built-in prices with LiteLLM's map, name by name, tier by tier: `make audit`.

Each difference that is known stands in known_differences.toml with who is right, and why.
"""

from __future__ import annotations

import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, NamedTuple

from prodlensd.pricing.builtin import BuiltinBook
from prodlensd.pricing.listed import Listed, is_same
from prodlensd.pricing.litellm_rates import listed_in, seller_of, tiers_of, vendor_of
from prodlensd.pricing.rates import Modifiers, Question, Quote, Rates
from tests.prices.maps import PINNED, PINNED_DAY, Entries, pinned_map

_KNOWN: Final = Path(__file__).parent / "known_differences.toml"
_NOON_US: Final = int(datetime.fromisoformat(f"{PINNED_DAY}T12:00").replace(tzinfo=UTC).timestamp())
#: Factors in an entry, and what our books call the modifier.
_FACTORS: Final = (
    ("regional_processing_uplift_multiplier_eu", ("region", "eu")),
    ("regional_processing_uplift_multiplier_us", ("region", "us")),
    ("fedramp_uplift_multiplier", ("region", "gov")),
    ("regional_endpoint_uplift_multiplier", ("region", "us-east5")),
)
_SPECIFIC: Final = (("us", ("inference_geo", "us")), ("fast", ("speed", "fast")))


class Finding(NamedTuple):
    """One comparison: a unit of a name under its modifiers, in pico-USD; None: no price."""

    provider: str
    name: str
    modifiers: str
    unit: str
    theirs: int | None
    ours: int | None
    book: str = ""
    reason: str = ""

    @property
    def verdict(self) -> str:
        """In which column it is counted."""
        if self.ours is None:
            return "only there"
        if self.theirs is None:
            return "only here"
        return "agree" if is_same(self.theirs, self.ours) else "differ"


def compare(entries: Entries) -> Iterator[Finding]:
    """All comparisons, in the order of the map."""
    book = BuiltinBook()
    for name, entry in entries.items():
        provider = seller_of(entry)
        for modifiers, theirs in _theirs(name, entry, provider):
            model = name if "/" in name else f"{provider}/{name}"
            ours = book.quote(Question(provider, model, _NOON_US * 1_000_000, modifiers))
            yield from _by_unit(provider, name, modifiers, theirs, ours)


def _theirs(
    name: str, entry: Mapping[str, Any], provider: str
) -> Iterator[tuple[Modifiers, Listed]]:
    """What LiteLLM sells by the token: under each of the modifiers that it knows."""
    vendor = vendor_of(name.lower(), provider)
    standard = listed_in(entry, "", vendor)
    if standard is None:
        return
    for tier in tiers_of(entry):
        if listed := listed_in(entry, tier, vendor):
            yield ((("service_tier", tier),) if tier else ()), listed
    specific = entry.get("provider_specific_entry") or {}
    factors = [(entry.get(key), modifier) for key, modifier in _FACTORS]
    factors += [(specific.get(key), modifier) for key, modifier in _SPECIFIC]
    for factor, modifier in factors:
        if factor is not None:
            yield (modifier,), standard.times(Fraction(str(factor)))


def _by_unit(
    provider: str, name: str, modifiers: Modifiers, theirs: Listed, ours: Quote
) -> Iterator[Finding]:
    label = " ".join(f"{key}={value}" for key, value in modifiers)
    book = ours.origin.book.split(" ")[0]
    mine = _units(ours.rates) if ours.rates else {}
    its = {f"{unit}": rate for unit, rate in theirs.picos.items()}
    for over, picos in theirs.above:
        its |= {f"{unit} above {over}": rate for unit, rate in picos.items()}
    filled = _units(theirs.rates())
    its = {unit: rate for unit, rate in its.items() if rate or unit in mine}
    for unit in sorted({*its, *(unit for unit in mine if unit not in filled)}):
        yield Finding(provider, name, label, unit, its.get(unit), mine.get(unit), book, ours.reason)


def _units(rates: Rates, end: str = "") -> dict[str, int]:
    flat = {f"{unit}{end}": rate for unit, rate in rates._asdict().items() if type(rate) is int}
    flat |= {f"{unit}{end}": rate for unit, rate in rates.others}
    for over, dearer in rates.above:
        flat |= _units(dearer, f" above {over}")
    return flat


class Known(NamedTuple):
    """Differences that are known: patterns of their parts, who is right, and why."""

    providers: list[str]
    names: list[str]
    modifiers: list[str]
    units: list[str]
    verdicts: list[str]
    right: str
    why: str
    source: str

    def explains(self, found: Finding) -> bool:
        """Whether this is such a difference."""
        parts = (found.provider, found.name, found.modifiers, found.unit, found.verdict)
        return all(
            any(fnmatchcase(part, pattern) for pattern in patterns)
            for part, patterns in zip(parts, self[:5], strict=True)
        )


def known() -> list[Known]:
    """The rows of known_differences.toml. Raises TypeError or KeyError for one that is none."""
    rows = tomllib.loads(_KNOWN.read_text(encoding="utf-8"))["known"]
    anything: list[str] = ["*"]
    defaults = dict.fromkeys(("providers", "names", "modifiers", "units"), anything)
    return [Known(**{**defaults, "verdicts": ["differ"], **row}) for row in rows]


class Report(NamedTuple):
    """What a comparison found: the differences that nobody explains, and reasons without any."""

    findings: list[Finding]
    unexplained: list[Finding]
    stale: list[Known]

    @property
    def figures(self) -> dict[str, int]:
        """What the manual says of it."""
        names = [one for one in self.findings if one.unit == "input" and not one.modifiers]
        ours = [one for one in names if one.ours is not None]
        verdicts = Counter(one.verdict for one in self.findings)
        apart = [one for one in self.findings if one.book == "genai-prices"]
        differ = {one.name for one in self.findings if one.verdict == "differ"}
        return {
            "names that LiteLLM prices by the token": len(names),
            "… and we do": len(ours),
            "… which genai-prices has": sum(one.book == "genai-prices" for one in ours),
            "rates that agree": verdicts["agree"],
            "… of names that genai-prices has": sum(one.verdict == "agree" for one in apart),
            "rates that differ": verdicts["differ"],
            "names that they are of": len(differ),
            "rates that only LiteLLM has": verdicts["only there"],
        }


def report() -> Report:
    """Compares the pinned map with our books."""
    findings = list(compare(pinned_map()))
    reasons = known()
    used: set[int] = set()
    unexplained = []
    for found in findings:
        if found.verdict in ("agree", "only here"):
            continue
        fitting = [number for number, row in enumerate(reasons) if row.explains(found)]
        used.update(fitting)
        if not fitting:
            unexplained.append(found)
    stale = [row for number, row in enumerate(reasons) if number not in used]
    return Report(findings, unexplained, stale)


def main() -> None:
    """Prints the totals by provider, and what nobody explains. Fails when there is any."""
    found = report()
    print(f"LiteLLM {PINNED}'s price map beside our books, on {PINNED_DAY}")
    columns = ("agree", "differ", "only there", "only here")
    print(f"{'provider':24}{'names':>8}{'priced':>8}" + "".join(f"{c:>12}" for c in columns))
    for provider in sorted({one.provider for one in found.findings}):
        of = [one for one in found.findings if one.provider == provider]
        totals = Counter(one.verdict for one in of)
        names = [one for one in of if one.unit == "input" and not one.modifiers]
        priced = sum(one.ours is not None for one in names)
        print(
            f"{provider:24}{len(names):8}{priced:8}"
            + "".join(f"{totals[column]:12}" for column in columns)
        )
    for figure, number in found.figures.items():
        print(f"{figure:40}{number:8,}")
    for new in found.unexplained:
        print(f"unexplained: {new}")
    for row in found.stale:
        print(f"explains nothing: {row}")
    sys.exit(bool(found.unexplained or found.stale))


if __name__ == "__main__":
    main()
