"""Who sells which model, in which region, as the names in a log say it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import takewhile
from typing import Final, NamedTuple

from prodlensd.pricing.rates import STANDARD_TIERS, Question

#: LiteLLM's name of a provider → the name it has in our books. Others have their own name.
_PROVIDERS: Final = {
    "text-completion-openai": "openai",
    **dict.fromkeys(("azure_ai", "azure_text"), "azure"),
    "anthropic_text": "anthropic",
    **dict.fromkeys(("bedrock", "bedrock_converse", "bedrock_mantle", "amazon_nova"), "aws"),
    **dict.fromkeys(("vertex_ai", "gemini"), "google"),
    **dict.fromkeys(("codestral", "text-completion-codestral"), "mistral"),
    "cohere_chat": "cohere",
    "xai": "x-ai",
    "together_ai": "together",
    "fireworks_ai": "fireworks",
    "moonshot": "moonshotai",
    "voyage": "voyageai",
}
#: Other spellings of a provider → LiteLLM's.
_SPELLINGS: Final = {
    **dict.fromkeys(("aws", "aws.bedrock"), "bedrock"),
    "vertex_ai_beta": "vertex_ai",
    "google": "gemini",
    "x-ai": "xai",
    "together": "together_ai",
    "fireworks": "fireworks_ai",
    "moonshotai": "moonshot",
    "voyageai": "voyage",
    "mistralai": "mistral",
}
#: Who has a name of its own among those of the vendors whose models it sells.
_SELLS_AS_ITSELF: Final = {"perplexity"}
#: A name without a path is one of Fireworks' own, for which LiteLLM adds this.
_FIREWORKS: Final = "accounts/fireworks/models"

#: Names that LiteLLM gives to their maker where nobody else is named.
_MAKERS: Final = (
    ("anthropic", re.compile(r"claude-[\w.@-]+")),
    (
        "openai",
        re.compile(
            r"(?:gpt-(?!oss)|chatgpt-|o[134](?:-|$)|text-embedding-(?:3|ada)|(?:ft:)?gpt-[345])"
            r"[\w.:-]*"
        ),
    ),
    ("vertex_ai", re.compile(r"gemini-[\w.@-]+")),
    ("bedrock", re.compile(r"(?:[a-z-]+\.)?(?:anthropic|amazon|meta|mistral|cohere)\.[\w.:-]+")),
)

#: Where the standard price holds.
_STANDARD_REGIONS: Final = {
    "aws": {"us-east-1", "us-east-2", "us-west-2"},
    "azure": {"global", "global-standard"},
    "google": {"global"},
}
_AWS_REGION: Final = re.compile(r"[a-z]{2}(?:-gov)?-[a-z]+-\d")
_AWS_ROUTE: Final = re.compile(
    rf"converse|invoke|converse_like|{_AWS_REGION.pattern}"
    r"|arn:aws[\w-]*:bedrock:([a-z0-9-]*):(?:.*:)?(?:inference-profile|foundation-model)"
)
#: What a name on Bedrock begins with when it is not of one region.
SCOPE: Final = r"(us|us-gov|eu|au|jp|apac|in|ca|global)\."
_AWS_SCOPE: Final = re.compile(SCOPE)
#: The regions that are in the scope of an inference profile: a call from there has its price.
_IN_SCOPE: Final = {
    "us": re.compile(r"us-(?!gov)"),
    "us-gov": re.compile(r"us-gov-"),
    "eu": re.compile(r"eu-"),
    "au": re.compile(r"ap-southeast-[24]"),
    "jp": re.compile(r"ap-northeast-[13]"),
    "apac": re.compile(r"ap-"),
    "in": re.compile(r"ap-south-"),
    "ca": re.compile(r"ca-"),
    "global": re.compile(r"(?!us-gov-)"),
}
#: Azure's zones, which have prices of their own, and its standard.
_AZURE_REGIONS: Final = {"eu", "us", "global", "global-standard"}

#: Vertex's traffic type → the service tier it means; "" is the standard.
_TRAFFIC_TIERS: Final = {
    "on_demand": "",
    "on_demand_flex": "flex",
    "on_demand_priority": "priority",
}
_STANDARD_GEOS: Final = {"global", "not_available", ""}
_STANDARD_SPEEDS: Final = {"standard", "normal", ""}

_MAX_SHOWN_CHARS: Final = 100


class Sought(NamedTuple):
    """What a question seeks, in lower case.

    seller      the provider, by the name it has in our books
    provider    the same by LiteLLM's name
    model       the model's name as logged
    name        the same without provider, route and region
    region      where it runs, "" for the standard price
    modifiers   the others that are not standard
    maker       whose model a bare name was taken to be; "" when the log names the provider
    """

    seller: str
    provider: str
    model: str
    name: str
    region: str
    modifiers: Mapping[str, str]
    maker: str = ""


def sought(question: Question, maker: str = "") -> Sought | str:
    """What the question seeks; or the reason why it cannot be had.

    Where it names no provider, the model is `maker`'s, or of whoever such a name says.
    """
    model = question.model.lower().replace("[1m]", "")
    provider = question.provider.lower()
    if provider:
        maker = ""
    else:
        provider = maker = maker or _maker(model)
    if not provider:
        return f"model_unknown:{shown(model)}" if model else "model_missing"
    provider = _SPELLINGS.get(provider, provider)
    seller = _PROVIDERS.get(provider, provider)
    modifiers = _modifiers(question)
    parts = model.split("/")
    while len(parts) > 1 and seller in (parts[0], _PROVIDERS.get(parts[0])):
        del parts[0]
        if seller in _SELLS_AS_ITSELF:
            break
    name, regions = _without_region(seller, parts)
    regions |= {modifiers.pop("region", "")}
    if seller == "aws" and (scope := _AWS_SCOPE.match(name)):
        regions = {region for region in regions if not _IN_SCOPE[scope[1]].match(region)}
    regions -= _STANDARD_REGIONS.get(seller, set()) | {""}
    if len(regions) > 1:  # the log contradicts itself
        return f"modifier_unknown:region={shown(' and '.join(sorted(regions)))}"
    return Sought(seller, provider, model, name, "".join(regions), modifiers, maker)


def _without_region(seller: str, parts: list[str]) -> tuple[str, set[str]]:
    """The model's name and the regions beside it. Other routes stay in the name."""
    if seller == "aws":
        routes = list(takewhile(bool, map(_AWS_ROUTE.fullmatch, parts[:-1])))
        regions = {route[1] or route[0] for route in routes if route}
        name = "/".join(parts[len(routes) :])
        return name, {region for region in regions if _AWS_REGION.fullmatch(region)}
    if seller == "azure" and len(parts) > 1 and parts[0] in _AZURE_REGIONS:
        return "/".join(parts[1:]), {parts[0]}
    if len(parts) > 1 and parts[0] == "responses":
        del parts[0]
    if seller == "fireworks" and len(parts) == 1:
        parts.insert(0, _FIREWORKS)
    name = "/".join(parts)
    # a fine-tuned model, "ft:base:organisation:name:id", is billed by its base
    return ":".join(name.split(":")[:2]) if name.startswith("ft:") else name, set()


def _maker(model: str) -> str:
    return next((maker for maker, names in _MAKERS if names.fullmatch(model)), "")


def _modifiers(question: Question) -> dict[str, str]:
    """The modifiers that are not standard, in lower case."""
    modifiers = {name: value.lower() for name, value in question.modifiers}
    traffic = _TRAFFIC_TIERS.get(modifiers.get("traffic_type", ""))
    if traffic is not None:
        del modifiers["traffic_type"]
        if traffic:
            modifiers["service_tier"] = traffic
    for name, standard in (
        ("service_tier", STANDARD_TIERS),
        ("inference_geo", _STANDARD_GEOS),
        ("speed", _STANDARD_SPEEDS),
    ):
        if modifiers.get(name) in standard:
            del modifiers[name]
    return modifiers


def shown(name: str) -> str:
    """A name from a log as it may be shown: short and printable."""
    cut = name[:_MAX_SHOWN_CHARS]
    return "".join(char if char.isprintable() else "?" for char in cut)


def named(provider: str, model: str) -> str:
    """The model's name with its provider, as it may be shown."""
    prefixed = not provider or model.startswith(f"{provider}/")
    return shown(model if prefixed else f"{provider}/{model}")


def unknown(modifiers: Mapping[str, str], region: str = "") -> str:
    """The reason why nothing is known of a price under these modifiers: the first of them."""
    name, value = min({**modifiers, **({"region": region} if region else {})}.items())
    return f"modifier_unknown:{shown(f'{name}={value}')}"
