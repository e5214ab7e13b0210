"""Trace lines as our callback writes them, made of what real proxies logged.

Every payload of the corpora goes through the callback itself; what it writes is a template. Each
line is one of them in turn, with an id, a time, a session and counts of its own, so that nothing
that is remembered of one line helps with another more than it would in life. The number of a line
decides everything in it.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson

from benchmarks.lines import shuffle, start_of
from prodlensd.litellm_callback import Event

CORPORA: Final = tuple(
    Path(__file__).parents[1] / "tests" / "data" / f"{name}.jsonl.gz"
    for name in ("corpus", "corpus_1_80_0")
)
_DEVELOPERS: Final = 50
_CALLS_A_SESSION: Final = 40
_FEWER_FAILURES: Final = 5
#: How far back the twin of a line stands: two hooks of LiteLLM report within milliseconds.
_TWIN_AFTER: Final = 7
#: The corpora are of two providers; what else a proxy may serve takes every third line of OpenAI's.
_OTHERS: Final = (
    ("azure", "azure/gpt-4.1"),
    ("bedrock", "bedrock/anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ("gemini", "gemini/gemini-2.5-pro"),
    ("mistral", "mistral/mistral-large-latest"),
    ("deepseek", "deepseek/deepseek-chat"),
    ("vertex_ai", "vertex_ai/gemini-2.5-flash"),
)


class Truth(NamedTuple):
    """What is in a log: the calls, the lines that tell of one again, and what the calls add up to.

    The cost is what the proxy says.
    """

    calls: int
    duplicates: int
    tokens_in: int
    cost_nanousd: int


def callback_lines(count: int, *, duplicate_every: int = 0) -> Iterator[bytes]:
    """So many lines; every `duplicate_every`th is one that stands a few lines before."""
    templates = _templates()
    for number in range(count):
        is_twin = duplicate_every and number % duplicate_every == duplicate_every - 1
        own = number - _TWIN_AFTER if is_twin else number
        yield _line(templates[own % len(templates)], own)


def truth_of(log: Path) -> Truth:
    """What the lines say when each is read by itself, a call's first line counting."""
    calls: set[str] = set()
    duplicates = tokens_in = cost_nanousd = 0
    with log.open("rb") as file:
        for record in map(orjson.loads, file):
            if record["litellm_call_id"] in calls:
                duplicates += 1
                continue
            calls.add(record["litellm_call_id"])
            tokens_in += record["usage"].get("prompt_tokens", 0)
            cost_nanousd += round(Decimal(repr(record.get("cost_usd", 0.0))) * 1_000_000_000)
    return Truth(len(calls), duplicates, tokens_in, cost_nanousd)


@cache
def _templates() -> list[dict[str, Any]]:
    """A line for each payload of the corpora, in an order that mixes the kinds of calls."""
    templates = []
    for corpus in CORPORA:
        for payload in map(json.loads, gzip.decompress(corpus.read_bytes()).splitlines()):
            event = Event({"standard_logging_object": payload}, None, None, payload["status"])
            templates.append(event.line())
    templates.sort(key=lambda line: sha256(str(line["id"]).encode()).digest())
    failures = [line for line in templates if line["attributes"]["status"] == "failure"]
    # Fewer of them fail than in the corpora, which were made to show how calls do.
    left_out = [line for at, line in enumerate(failures) if at % _FEWER_FAILURES]
    return [line for line in templates if line not in left_out]


def _line(template: dict[str, Any], number: int) -> bytes:
    shuffled, began = shuffle(number), start_of(number)
    factor = 1 + shuffled % 97
    call_id = f"{shuffled:016x}{number:016x}"
    cost = template.get("cost_usd")
    line = {
        "timestamp": f"{began:%Y-%m-%dT%H:%M:%S.%fZ}",
        "id": _response_id(template, call_id),
        "litellm_call_id": _uuid(call_id),
        **({} if cost is None else {"cost_usd": cost * factor}),
        "attributes": _attributes(template["attributes"], shuffled, number),
        "usage": _times(template["usage"], factor),
        "metadata": _metadata(template["metadata"], shuffled, number),
    }
    return json.dumps(line).encode() + b"\n"


def _response_id(template: dict[str, Any], call_id: str) -> str:
    """As the provider spells its ids; a failure has the id of the call."""
    prefix, underscore, _ = template["id"].partition("_")
    if underscore:
        return f"{prefix}_{call_id[:24]}"
    if template["id"].startswith("chatcmpl-"):
        return f"chatcmpl-{call_id[:24]}"
    return _uuid(call_id)


def _attributes(said: dict[str, Any], shuffled: int, number: int) -> dict[str, Any]:
    attributes = dict(said)
    latency_ms = 300 + shuffled % 60_000_000 / 1000
    attributes["latency_ms"] = round(latency_ms, 3)
    if "ttft_ms" in attributes:
        attributes["ttft_ms"] = round(latency_ms / 7, 3)
    if number % 3 == 0 and said.get("provider") == "openai" and "stream" in said:
        provider, model = _OTHERS[shuffled % len(_OTHERS)]
        attributes |= {"provider": provider, "llm.model_name": model}
        attributes["model_group"] = model.partition("/")[2]
    return attributes


def _metadata(said: dict[str, Any], shuffled: int, number: int) -> dict[str, Any]:
    """Of one of fifty developers; the session is new where LiteLLM draws an id for each call."""
    developer = shuffled % _DEVELOPERS
    is_alone = said.get("session_via") == "trace_id"
    session = b"alone %d" % number
    if not is_alone:
        session = b"%d of %d" % (number // (_CALLS_A_SESSION * _DEVELOPERS), developer)
    metadata = {**said, "session_id": _uuid(sha256(session).hexdigest()[:32])}
    if "developer_id" in said:
        metadata["developer_id"] = f"dev{developer}@example.com"
        metadata["key_alias"] = f"laptop-of-dev{developer}"
        metadata["key_hash"] = sha256(b"key %d" % developer).hexdigest()
    return metadata


def _times(value: Any, factor: int) -> Any:  # noqa: ANN401 - JSON
    """The usage with every number so many times as large: what added up still does."""
    if isinstance(value, dict):
        return {name: _times(part, factor) for name, part in value.items()}
    if isinstance(value, list):
        return [_times(part, factor) for part in value]
    return value * factor if type(value) in (int, float) else value


def _uuid(digits: str) -> str:
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:32]}"
