"""One value of a hostile record → the value in our types and units, or None.

Nothing here raises, guesses or repairs: what is not plainly a number is not a number. Callers note
a value that was sent and could not be read as an anomaly.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import lru_cache
from typing import Final

import msgspec
import orjson

from prodlensd.model import MAX_TEXT_CHARS, NANOUSD_PER_USD, US_PER_S, provider_in

INT64_MAX: Final = 2**63 - 1
MAX_EXACT_FLOAT: Final = 2**53
MAX_DIGITS: Final = 32
MAX_KEY_CHARS: Final = 2048
MAX_TAGS: Final = 64
#: More than any call costs: a larger amount is an anomaly. It fits 64 bits of nano-dollars and the
#: decimal128(18, 9) of a snapshot; the sum of many calls need not (see ledger.sums).
MAX_COST_USD: Final = 1e6
#: 9999-12-31: the last day that ISO 8601 dates and Python's datetime both know.
MAX_EPOCH_S: Final = 253_402_300_799

_WORD: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}\Z")
_INTEGER: Final = re.compile(r"[0-9]{1,18}\Z")
_NANOS: Final = re.compile(r"[0-9]{1,19}\Z")
_URL_USER: Final = re.compile(r"(?<=://)[^/\s]*@")
_KEY_HASH: Final = re.compile(r"[0-9a-f]{64}\Z")
_CLAUDE_CODE_USER: Final = re.compile(r"user_.*_session_([A-Za-z0-9_-]+)\Z")

#: LiteLLM's names of providers that may stand before the model ("anthropic/claude-…").
PROVIDERS: Final = frozenset(
    "ai21 anthropic azure azure_ai azure_text bedrock bedrock_converse cerebras codestral cohere "
    "cohere_chat dashscope databricks deepinfra deepseek fireworks_ai gemini github "
    "github_copilot groq hosted_vllm huggingface litellm_proxy lm_studio meta_llama minimax "
    "mistral moonshot nvidia_nim ollama ollama_chat openai openai_like openrouter perplexity "
    "replicate sagemaker sambanova text-completion-openai together_ai "
    "vercel_ai_gateway vertex_ai voyage watsonx xai zai".split()
)


def text(value: object) -> str | None:
    """A short text without surrounding space; None for anything else.

    A whole number becomes its digits, 12.0 too: pandas writes 12 so in a column with gaps.
    """
    if type(value) is str:
        trimmed = value.strip()
        is_name = 0 < len(trimmed) <= MAX_TEXT_CHARS and (trimmed.isascii() or _storable(trimmed))
        return trimmed if is_name else None
    if type(value) is int and abs(value) <= INT64_MAX:
        return str(value)
    if type(value) is float and value.is_integer() and abs(value) <= MAX_EXACT_FLOAT:
        return str(int(value))
    return None


def _storable(value: str) -> bool:
    """False for lone surrogates, which JSON can spell and no column can hold."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def number(value: object) -> float | None:
    """A number from 0 to 2**53 (a larger one is not a time, share or cost), in quotes too."""
    if type(value) is int and 0 <= value <= INT64_MAX:
        value = float(value)  # first of all, as the decoder does: it may round down to the bound
    if type(value) is float:
        return value if 0 <= value <= MAX_EXACT_FLOAT else None
    if type(value) is str and len(value) <= MAX_DIGITS:
        try:
            return number(float(value))
        except ValueError:
            return None
    return None


def integer(value: object) -> int | None:
    """A whole number that is not negative and fits SQLite; 12.0 and "12" are 12, True is not 1."""
    if type(value) is int:
        return value if 0 <= value <= INT64_MAX else None
    if type(value) is float:
        return int(value) if value.is_integer() and 0 <= value <= MAX_EXACT_FLOAT else None
    if type(value) is str and _INTEGER.match(value):
        return int(value)
    return None


def nanousd(value: object) -> int | None:
    """The cost of one call in nano-dollars, of an amount in US dollars."""
    usd = number(value)
    return nanousd_of(usd) if usd is not None and usd <= MAX_COST_USD else None


def nanousd_of(usd: float) -> int:
    """An amount in nano-dollars, rounded half to even of the number as it is printed."""
    scaled = usd * NANOUSD_PER_USD
    nearest = round(scaled)
    # The product is off by less than its last bit, which matters only next to a half.
    if scaled < 2**42 and -0.49 < scaled - nearest < 0.49:  # noqa: PLR2004
        return nearest
    return int((Decimal(repr(usd)) * NANOUSD_PER_USD).to_integral_value(ROUND_HALF_EVEN))


def word(value: object) -> str | None:
    """A name or a short word, which cannot be a sentence; None for anything else."""
    return value if type(value) is str and _WORD.match(value) else None


def flag(value: object) -> bool | None:
    """True or False; None for anything else."""
    return value if type(value) is bool else None


def epoch_us(value: object) -> int | None:
    """Microseconds since 1970 of a date and time (as ISO 8601 too) or of epoch seconds.

    A time without an offset is UTC: that is what LiteLLM and our callback write.
    """
    try:
        if type(value) is datetime:
            seconds = _utc(value).timestamp()
        elif type(value) is str:
            if len(value) < len("2025-10-12T19:00") or value[10] not in "T t":
                return None
            seconds = _utc(_moment(value)).timestamp()
        elif type(value) is float or type(value) is int:
            seconds = value
        else:
            return None
    except (ValueError, OverflowError):
        return None
    return round(seconds * US_PER_S) if 0 <= seconds <= MAX_EPOCH_S else None


def epoch_us_of_nanos(value: object) -> int | None:
    """Microseconds since 1970 of nanoseconds as OTLP writes them, as a number or a text."""
    nanos = int(value) if type(value) is str and _NANOS.match(value) else value
    return (nanos + 500) // 1000 if type(nanos) is int and 0 <= nanos <= INT64_MAX else None


def _moment(value: str) -> datetime:
    """A time as the decoder of trace lines reads it (nanoseconds are rounded), else as Python."""
    try:
        return msgspec.convert(value, datetime)
    except msgspec.ValidationError:
        return datetime.fromisoformat(value)


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def session_id(value: object) -> str | None:
    """A session's name, without "session-" or "session_" before it."""
    name = text(value)
    if (
        name is not None
        and name.startswith(("session-", "session_"))
        and len(name) > len("session-")
    ):
        return name[len("session-") :].strip() or None
    return name


def session_of_user(value: object) -> str | None:
    """The session in Claude Code's user id, in the id's older form or as JSON."""
    if type(value) is str and value.lstrip().startswith("{"):
        try:
            value = orjson.loads(value) if len(value) <= MAX_TEXT_CHARS * 4 else None
        except orjson.JSONDecodeError:
            return None
    if type(value) is dict:
        return session_id(value.get("session_id"))
    if (
        type(value) is str
        and len(value) <= MAX_TEXT_CHARS
        and (found := _CLAUDE_CODE_USER.match(value))
    ):
        return session_id(found[1])
    return None


def key_hash(value: object) -> str | None:
    """The SHA-256 of a key, by which LiteLLM names it; None for anything that is not a hash.

    Where LiteLLM could not hash, it logs the key itself, which must not be kept or shown.
    """
    return value if type(value) is str and _is_key_hash(value) else None


@lru_cache(maxsize=4096)
def _is_key_hash(value: str) -> bool:
    return _KEY_HASH.match(value) is not None


#: Other spellings of providers, by OpenTelemetry's GenAI convention, OpenInference and SDKs →
#: LiteLLM's, by which prices are found. Not here: "aws" and "google", which sell the same models
#: under two names at different prices.
_PROVIDER_NAMES: Final = {
    "aws.bedrock": "bedrock",
    "az.ai.inference": "azure_ai",
    "az.ai.openai": "azure",
    "azure.ai.inference": "azure_ai",
    "azure.ai.openai": "azure",
    "gcp.gemini": "gemini",
    "gcp.gen_ai": "gemini",
    "gcp.vertex_ai": "vertex_ai",
    "google-gla": "gemini",
    "google-vertex": "vertex_ai",
    "ibm.watsonx.ai": "watsonx",
    "mistral_ai": "mistral",
    "mistralai": "mistral",
    "moonshot_ai": "moonshot",
    "moonshotai": "moonshot",
    "vertexai": "vertex_ai",
    "x-ai": "xai",
    "x_ai": "xai",
}


def provider(value: object) -> str | None:
    """A provider's name in LiteLLM's spelling, where it is known; else as it was sent."""
    name = text(value)
    if name is None or name in PROVIDERS:
        return name
    lower = name.lower()
    return lower if lower in PROVIDERS else _PROVIDER_NAMES.get(lower, name)


#: Hosts of Bedrock, Vertex (without a region: global) and OpenAI's data residency.
_REGIONAL_HOST: Final = re.compile(
    r"(?:https://)?(?:bedrock-runtime(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.com"
    r"|([a-z]+-[a-z]+[0-9]+)-aiplatform\.googleapis\.com|aiplatform\.googleapis\.com"
    r"|aiplatform\.([a-z]{2})\.rep\.googleapis\.com"
    r"|([a-z]{2}|gov)\.api\.openai\.com)(?:[:/]|\Z)"
)


def region_of(address: object) -> str | None:
    """The region that a provider's host or address names, where the price depends on it."""
    return _region_of(address) if type(address) is str else None


@lru_cache(maxsize=1024)
def _region_of(address: str) -> str | None:
    found = _REGIONAL_HOST.match(address)
    return found and next(region for region in (*found.groups(), "global") if region)


def provider_of(model: str | None) -> str | None:
    """The prefix of the model's name, when it is one of LiteLLM's providers."""
    prefix = provider_in(model)
    return prefix if prefix in PROVIDERS else None


def identity(call_id: object, response_id: object) -> str | None:
    """The key of a line that has both of LiteLLM's ids: the two with a space between; else None.

    An id with a space in it is refused, so that different pairs have different keys.
    """
    if type(call_id) is not str or type(response_id) is not str or not call_id or not response_id:
        return None
    key = f"{call_id} {response_id}"
    if len(key) > MAX_KEY_CHARS or not key.isprintable() or key.count(" ") != 1:
        return None
    return key


def row_identity(request_id: str) -> str | None:
    """The key of a row of LiteLLM's spend logs: a space before its id, as no other key has."""
    key = f" {request_id}"
    is_one_word = request_id and request_id.isprintable() and " " not in request_id
    return key if is_one_word and len(key) <= MAX_KEY_CHARS else None


def details(**facts: object) -> str | None:
    """The facts that are known, as a JSON object; None when none is."""
    known = {name: fact for name, fact in facts.items() if fact is not None}
    return orjson.dumps(known).decode() if known else None


def tags(value: object) -> str | None:
    """A list of short texts as a JSON array, without LiteLLM's copies of the user agent.

    The `user:password@` of addresses is left out too: git remotes may hold access tokens.
    """
    if type(value) is not list or not value:
        return None
    known = [
        _URL_USER.sub("", tag)
        for tag in map(text, value[:MAX_TAGS])
        if tag and not tag.startswith("User-Agent: ")
    ]
    return orjson.dumps(known).decode() if known else None


def unread(**fields: tuple[object, object]) -> tuple[str, ...]:
    """The names of the fields that were sent (not null, not empty) and could not be read."""
    return tuple(
        name
        for name, (sent, read) in fields.items()
        if read is None and sent is not None and sent != ""
    )
