"""The attributes of a span, in one form: those that are read, by dotted name."""

from __future__ import annotations

from typing import Any, Final

from prodlensd.formats import otel_names as names

Attributes = dict[str, Any]

#: All the attributes that are read, beside what is in the namespaces of usage; `flat` drops the
#: others.
READ: Final = frozenset({*names.READ, *names.USAGE})
#: And the paths to them, such as "llm" and "llm.token_count".
PATHS: Final = frozenset(
    name[:end] for name in READ for end, character in enumerate(name) if character == "."
)
_USAGE_PREFIXES: Final = tuple(sorted(f"{space}." for space in names.USAGE_SPACES))
_MAX_DOTS: Final = 8  # in the name of an attribute of usage


def flat(attributes: object) -> Attributes:
    """The attributes that are read, by dotted name, however they were nested or listed."""
    known: Attributes = {}
    if type(attributes) is dict:
        _add(known, "", attributes)
    elif type(attributes) is list:  # OTLP
        for attribute in attributes:
            if type(attribute) is dict and type(attribute.get("key")) is str:
                _add(known, "", {attribute["key"]: _otlp(attribute.get("value"))})
    return known


def _add(known: Attributes, path: str, attributes: Attributes) -> None:
    """Adds to `known` the attributes that are read, no deeper than their names go."""
    for inner, value in attributes.items():
        name = path + inner
        is_usage = name in names.USAGE_SPACES or name.startswith(_USAGE_PREFIXES)
        if type(value) is dict and (
            name in PATHS or (is_usage and name not in READ and name.count(".") < _MAX_DOTS)
        ):
            _add(known, f"{name}.", value)
        elif (name in READ or is_usage) and _is_said(value):
            known[name] = value


def _is_said(value: object) -> bool:
    """False for pandas' NaN, and for what LiteLLM writes for None."""
    return value is not None and value != "" and value == value  # noqa: PLR0124


def _otlp(value: object) -> object:
    """The value of an OTLP value object; of an array the list of its values."""
    box = dict_of(value)
    items = dict_of(box.get("arrayValue")).get("values")
    if type(items) is list:
        return [scalar(dict_of(item)) for item in items]
    return scalar(box)


def scalar(box: dict[str, Any]) -> object:
    """The value in an OTLP box; the box itself for a kind that is not read, None if it is empty."""
    for kind in ("stringValue", "intValue", "doubleValue", "boolValue"):
        if kind in box:
            return box[kind]
    return box or None


def first(attributes: Attributes, places: tuple[str, ...]) -> object:
    """The value of the first of these attributes that the span has."""
    for name in places:
        if name in attributes:
            return attributes[name]
    return None


def dict_of(value: object) -> dict[str, Any]:
    """The object, or an empty one for anything else."""
    return value if type(value) is dict else {}


def word_of(attributes: Attributes, *places: str) -> str | None:
    """The first of these attributes, if it is a text."""
    sent = first(attributes, places)
    return sent if type(sent) is str else None
