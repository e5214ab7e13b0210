"""The usage object of a span that is a call, as `read_usage` takes it, of its attributes.

Three kinds of instrumentations: most write a count an attribute, under names that `otel_names` has
in one table; some keep the provider's own usage object as text, which is better; and some write
counts that leave out the cached tokens. What is in the namespaces of usage and not in the table
goes into the object under its own name, so that its reader does not understand it.
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from prodlensd.formats.fields import integer
from prodlensd.formats.otel_names import (
    AI_EXCLUSIVE,
    AI_PROVIDER_METADATA,
    AI_RAW_USAGE,
    EXCLUSIVE_SCOPES,
    LANGFUSE_TYPES,
    LANGFUSE_USAGE,
    LITELLM_USAGE,
    USAGE,
    USAGE_SPACES,
)
from prodlensd.formats.usage_keys import NOTHING

_Attributes = dict[str, Any]

_MAX_CHARS: Final = 2**20
#: What Python prints of dicts, lists, numbers and plain words; then only its quotes and its three
#: constants are not JSON.
_PYTHON: Final = re.compile(r"\{[\w\s{}\[\]':,.+-]*\}\Z", re.ASCII)
_CONSTANTS: Final = {"None": "null", "True": "true", "False": "false"}
_CONSTANT: Final = re.compile(r"\b(?:None|True|False)\b")


def usage_object(attributes: _Attributes, scope: object, provider: object) -> dict[str, object]:
    """The usage object of the span's attributes; `provider` as the instrumentation calls it."""
    counts, unknown = _counts(attributes)
    told = _loaded(attributes.get(AI_PROVIDER_METADATA))
    own = (
        _litellms(attributes, unknown)
        or _providers_own(told)
        or (None if counts else _langfuses(attributes, unknown))
    )
    if own is None:
        own = _nested(counts)
        if type(scope) is str and scope in EXCLUSIVE_SCOPES:
            own = _beside(own)
        elif "ai.operationId" in attributes:
            own = _of_ai_sdk(own, attributes, told, provider, unknown)
    tier = _dict(told.get("openai")).get("serviceTier")
    return {**({} if tier is None else {"service_tier": tier}), **own, **unknown}


def _counts(attributes: _Attributes) -> tuple[dict[str, object], dict[str, object]]:
    """Place in the usage object → count, and what is not understood, by attribute.

    Of several names of one count the first that is not zero counts. Another that contradicts it is
    not understood.
    """
    counts: dict[str, object] = {}
    unknown: dict[str, object] = {}
    for name, sent in attributes.items():
        place = USAGE.get(name)
        if place is None:
            if name in USAGE_SPACES or name.startswith(_PREFIXES):
                unknown[name] = sent
        elif place is not NOTHING:
            before = counts.setdefault(place, sent)
            if integer(before) == 0:
                counts[place] = sent
            elif _differ(before, sent):
                unknown[name] = sent
    return counts, unknown


_PREFIXES: Final = tuple(sorted(f"{space}." for space in USAGE_SPACES))


def _differ(first: object, second: object) -> bool:
    one, other = integer(first), integer(second)
    return other != 0 and (one != other or (one is None and first != second))


def _nested(counts: dict[str, object]) -> dict[str, Any]:
    usage: dict[str, Any] = {}
    for place, count in counts.items():
        *path, last = place.split(".")
        node = usage
        for part in path:
            node = node.setdefault(part, {})
        node[last] = count
    return usage


# Where the input leaves the cached tokens out -----------------------------------------------------


def _beside(usage: dict[str, Any], **cached: object) -> dict[str, Any]:
    """The same counts in Anthropic's shape, whose input has no cached tokens.

    Its total is left out: it is the sum of what was counted, and would only confirm it.
    """
    parts = dict(usage.get("prompt_tokens_details", {}))
    names = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"}
    moved = {
        "cache_read_input_tokens": parts.pop("cached_tokens", None),
        "cache_creation_input_tokens": parts.pop("cache_creation_tokens", None),
    }
    return {
        **{names.get(name, name): value for name, value in usage.items() if name != "total_tokens"},
        "prompt_tokens_details": parts,
        **{name: cached.get(name) if count is None else count for name, count in moved.items()},
    }


def _of_ai_sdk(
    usage: dict[str, Any],
    attributes: _Attributes,
    told: dict[str, Any],
    provider: object,
    unknown: dict[str, object],
) -> dict[str, Any]:
    """AI SDK 4 and 5 count as the provider does, and name the rest in its metadata.

    Version 6 includes the cached tokens, and mostly says so by their details. Where it does not
    (objects), whether they are in the input is not known.
    """
    is_exclusive = type(provider) is str and provider.startswith(AI_EXCLUSIVE)
    if not is_exclusive or any(
        name.startswith("ai.usage.inputTokenDetails.") for name in attributes
    ):
        return usage
    anthropic, bedrock = (
        _dict(told.get("anthropic")),
        _dict(_dict(told.get("bedrock")).get("usage")),
    )
    beside = _beside(
        usage,
        cache_read_input_tokens=anthropic.get("cacheReadInputTokens")
        or bedrock.get("cacheReadInputTokens"),
        cache_creation_input_tokens=anthropic.get("cacheCreationInputTokens")
        or bedrock.get("cacheWriteInputTokens"),
    )
    operation = attributes["ai.operationId"]
    if type(operation) is str and "Object" in operation and not anthropic:
        for name in ("cache_read_input_tokens", "cache_creation_input_tokens"):
            unknown[f"ai.usage.{name}"] = beside[name]
    return beside


# The usage object itself --------------------------------------------------------------------------


def _litellms(attributes: _Attributes, unknown: dict[str, object]) -> dict[str, Any] | None:
    """LiteLLM's usage object, which its span has as Python prints it. Its counts have no parts."""
    sent = attributes.get(LITELLM_USAGE)
    usage = _loaded(sent)
    if not usage and sent not in (None, "", "{}", "None", {}):
        unknown[LITELLM_USAGE] = True
    return usage or None


def _providers_own(told: dict[str, Any]) -> dict[str, Any] | None:
    """The provider's usage object in the AI SDK's metadata of the answer."""
    for maker, name in AI_RAW_USAGE.items():
        if usage := _dict(_dict(told.get(maker)).get(name)):
            return usage
    return None


def _langfuses(attributes: _Attributes, unknown: dict[str, object]) -> dict[str, Any] | None:
    """Langfuse's usage details: the provider's own object, or usage types that add up."""
    told = _loaded(attributes.get(LANGFUSE_USAGE))
    if not told.keys() & {"input", "output"}:
        return told or None
    parts: dict[str, object] = {}
    sums = {"input": 0, "output": 0}
    for name, value in told.items():
        place = LANGFUSE_TYPES.get(name)
        count = integer(value)
        if value is None or name == "total" or (name in sums and count is not None):
            continue
        if place is None or count is None:
            unknown[f"{LANGFUSE_USAGE}.{name}"] = value
            continue
        parts[place] = count
        sums["input" if place.startswith("prompt") else "output"] += count
    count_in, count_out = integer(told.get("input")) or 0, integer(told.get("output")) or 0
    total = integer(told.get("total"))
    if total is None or total != count_in + count_out:  # so the parts are not in them
        count_in, count_out = count_in + sums["input"], count_out + sums["output"]
    whole = {"prompt_tokens": count_in, "completion_tokens": count_out}
    return {**_nested(parts), **whole} | ({} if total is None else {"total_tokens": total})


def _loaded(value: object) -> dict[str, Any]:
    """The object in a text of JSON or of Python; empty when it is none."""
    if type(value) is not str or not value.startswith("{") or len(value) > _MAX_CHARS:
        return _dict(value)
    if _PYTHON.match(value):
        value = _CONSTANT.sub(lambda found: _CONSTANTS[found[0]], value.replace("'", '"'))
    try:
        return _dict(orjson.loads(value))
    except orjson.JSONDecodeError:
        return {}


def _dict(value: object) -> dict[str, Any]:
    return value if type(value) is dict else {}
