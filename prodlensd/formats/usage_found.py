"""One usage object, key by key: what each of them is, and what nobody here understands."""

from __future__ import annotations

import re
from typing import Any, Final

from prodlensd.formats.fields import word
from prodlensd.formats.usage_keys import LISTS, MODALITIES, NOTHING, STANDARD, TIER_OF_TRAFFIC, Keys

USAGE_TYPE: Final = "usage_type"  # a count that is not a whole number in [0, 10**12]: left out
USAGE_MISMATCH: Final = "usage_mismatch"  # the counts contradict each other

#: More than any call has. The sums within a call (an input with its cache, a total) fit 64 bits;
#: those of many calls need not (see ledger.sums).
MAX_COUNT: Final = 10**12
_MAX_UNKNOWN: Final = 8
_MAX_ITEMS: Final = 64
_MAX_DEPTH: Final = 8
_TOTALS: Final = frozenset({"total", "gemini_total"})
#: What providers name their counts. Anything else may be text that somebody wrote.
_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}\Z")


class Found:
    """What is in a usage object, by the table of known keys.

    All of it is mutable while the object is read. counts: by the names of `Usage` and of the
    shapes; words: modifiers that are not standard; unknown: the names of keys not understood.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.units: dict[str, float] = {}
        self.words: dict[str, str] = {}
        self.money: dict[str, Any] = {}
        self.iterations: list[dict[str, Any]] = []
        self.unknown: list[str] = []
        self.odd: list[str] = []

    def read(self, record: dict[Any, Any], keys: Keys, path: str) -> None:
        """Takes every key of the object for what the table says it is."""
        for name, value in record.items():
            role = keys.get(name)
            if role is None:
                if not _is_empty(value):
                    self.not_understood(f"{path}{name}")
            elif role is NOTHING or value is None:
                pass
            elif type(role) is dict:
                if isinstance(value, dict):
                    self.read(value, role, f"{path}{name}.")
                elif isinstance(value, list) and name in LISTS:
                    self.take(LISTS[name], value, f"{path}{name}")
                elif not _is_empty(value):
                    self.not_understood(f"{path}{name}")
            else:
                self.take(role, value, f"{path}{name}")

    def take(self, role: str, value: object, name: str) -> None:
        """Notes one value by its role. Of two for one role the larger counts."""
        kind, _, what = role.partition(":")
        match kind:
            case "unit":
                self.unit(what, value, name)
            case "word":
                self.modifier(what, value, name)
            case "list":
                self.items(what, value, name)
            case "money":
                self.money[what] = value
            case _:
                self.count(role, value, name)

    def count(self, role: str, value: object, name: str) -> None:
        """Notes a count of tokens. A total is no part of the bill: one that is odd is left out."""
        if role in _TOTALS and _count(value) is None:
            self.odd.append(USAGE_TYPE)
        elif (count := self.whole(value, name)) is not None:
            before = self.counts.get(role, 0)
            if before and count and before != count:
                self.odd.append(USAGE_MISMATCH)
            self.counts[role] = max(count, before)

    def unit(self, unit: str, value: object, name: str) -> None:
        """Notes how much of a unit was used: seconds with their fractions."""
        is_fraction = type(value) is float and 0 <= value <= MAX_COUNT
        quantity = value if is_fraction else self.whole(value, name)
        if isinstance(quantity, int | float) and quantity:
            self.units[unit] = max(quantity, self.units.get(unit, 0))

    def whole(self, value: object, name: str) -> int | None:
        """A whole number; None, and the name as not understood, when it is not one."""
        if (count := _count(value)) is None:
            self.odd.append(USAGE_TYPE)
            self.not_understood(name)
        return count

    def items(self, what: str, value: object, name: str) -> None:
        """Reads a list of objects; anything else, and a longer list, is not understood."""
        if type(value) is not list or len(value) > _MAX_ITEMS or not all(map(_is_object, value)):
            if not _is_empty(value):
                self.not_understood(name)
        elif what in MODALITIES:
            self.modalities(MODALITIES[what], value, name)
        elif what == "lifetimes":
            self.lifetimes(value, name)
        else:
            self.iterations = value

    def modifier(self, modifier: str, value: object, name: str) -> None:
        """Notes a modifier, unless it is the standard."""
        if (said := word(value)) is None:
            if not _is_empty(value):
                self.not_understood(name)
            return
        lower = said.lower()
        if modifier == "traffic_type" and lower in TIER_OF_TRAFFIC:
            self.words.setdefault("service_tier", TIER_OF_TRAFFIC[lower])
        elif modifier == "service_tier" or lower not in STANDARD.get(modifier, ()):
            self.words[modifier] = said

    def modalities(self, roles: dict[str, str], parts: list[Any], name: str) -> None:
        """Gemini's list of {modality, tokenCount}, added up."""
        sums: dict[str, int] = {}
        for part in parts:
            count = part.get("tokenCount", part.get("token_count"))
            role = roles.get(str(part.get("modality")).upper().removeprefix("MODALITY."))
            if role is None:
                if not _is_empty(count):
                    self.not_understood(name)
            elif role is not NOTHING and count is not None:
                sums[role] = sums.get(role, 0) + (self.whole(count, name) or 0)
        for role, total in sums.items():
            self.take(role, total, name)

    def lifetimes(self, parts: list[Any], name: str) -> None:
        """Bedrock's list of {ttl, inputTokens}: what was written to the cache, by lifetime."""
        roles = {"5m": "write_5m", "1h": "cache_write_1h_tokens"}
        for part in parts:
            role, count = roles.get(str(part.get("ttl"))), part.get("inputTokens")
            if role is not None and count is not None:
                self.take(role, count, name)
            elif not _is_empty(count):
                self.not_understood(name)

    def not_understood(self, name: str) -> None:
        """Notes the key, by a name that cannot be text that somebody wrote."""
        shown = name if all(map(_KEY.match, name.split("."))) else "?"
        if shown not in self.unknown and len(self.unknown) < _MAX_UNKNOWN:
            self.unknown.append(shown)


def _is_empty(value: object, depth: int = 0) -> bool:
    """Whether a value says nothing: none, zero, no, or an object or a list of such."""
    if isinstance(value, dict | list) and depth < _MAX_DEPTH:
        parts = value.values() if isinstance(value, dict) else value
        return all(_is_empty(part, depth + 1) for part in parts)
    return value is None or (type(value) in (bool, int, float, str) and not value)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _count(value: object) -> int | None:
    """A whole number of tokens; None when it is not one."""
    if type(value) is int and 0 <= value <= MAX_COUNT:  # `type is`: a bool is not a count
        return value
    if isinstance(value, float) and 0 <= value <= MAX_COUNT and value.is_integer():
        return int(value)
    # int() of many digits takes long
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 16:  # noqa: PLR2004
        return _count(int(value))
    return None
