"""A span of OpenTelemetry's GenAI or OpenInference's conventions, one JSON object a line.

As SDKs print it (attributes by dotted names), as Phoenix and Arize export it (the same nested, or
as columns of a data frame), and as OTLP/JSON has it (attributes as a list of typed values). All are
brought into one form, which keeps only the attributes listed below: no prompts or answers.

A span is a call only if its kind or its operation is that of one. Spans around calls (agents,
chains) repeat the tokens of the calls inside them, which would then count twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from prodlensd.formats.fields import (
    INT64_MAX,
    details,
    epoch_us,
    flag,
    identity,
    integer,
    number,
    provider_of,
    repo_slug,
    reported,
    session_id,
    tags,
    text,
    unread,
)
from prodlensd.formats.usage import read_usage
from prodlensd.model import US_PER_S, BadLine, Trace

_CALL_KINDS: Final = frozenset({"LLM", "EMBEDDING"})
#: Not here: OpenTelemetry's own kinds and Phoenix's UNKNOWN, which do not tell what a span is.
_OTHER_KINDS: Final = frozenset(
    "AGENT CHAIN DECISION EVALUATOR GUARDRAIL PROMPT RERANKER RETRIEVER TOOL".split()
)
_CALL_OPERATIONS: Final = frozenset({"chat", "embeddings", "generate_content", "text_completion"})

# Of several names the first counts: the provider's answer comes before the request.
_MODEL: Final = (
    "llm.response.model_name",
    "gen_ai.response.model",
    "llm.model_name",
    "embedding.model_name",
    "llm.request.model_name",
    "gen_ai.request.model",
)
_PROVIDER: Final = ("llm.provider", "gen_ai.provider.name", "llm.system", "gen_ai.system")
_SESSION: Final = ("session.id", "gen_ai.conversation.id")
_SERVICE_TIER: Final = ("openai.response.service_tier", "gen_ai.openai.response.service_tier")
_REPO: Final = "vcs.repository.url.full"

#: OpenTelemetry's and OpenInference's names of providers → LiteLLM's, by which prices are found.
#: Not here: "aws" and "google", which sell the same models under two names at different prices.
_PROVIDER_NAMES: Final = {
    "aws.bedrock": "bedrock",
    "az.ai.inference": "azure_ai",
    "az.ai.openai": "azure",
    "azure.ai.inference": "azure_ai",
    "azure.ai.openai": "azure",
    "gcp.gemini": "gemini",
    "gcp.vertex_ai": "vertex_ai",
    "ibm.watsonx.ai": "watsonx",
    "mistral_ai": "mistral",
    "mistralai": "mistral",
    "moonshot_ai": "moonshot",
    "vertexai": "vertex_ai",
    "x_ai": "xai",
}

#: Both conventions count as OpenAI does: the input includes cache reads and writes, the output the
#: reasoning. So each count gets OpenAI's name, and is checked like any other.
_COUNTS: Final = {
    "prompt_tokens": (
        "llm.token_count.prompt",
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.prompt_tokens",  # until version 1.27 of the conventions
    ),
    "completion_tokens": (
        "llm.token_count.completion",
        "gen_ai.usage.output_tokens",
        "gen_ai.usage.completion_tokens",
    ),
    "total_tokens": ("llm.token_count.total", "gen_ai.usage.total_tokens"),
}
_COUNTS_IN: Final = {
    "cached_tokens": (
        "llm.token_count.prompt_details.cache_read",
        "gen_ai.usage.cache_read.input_tokens",
    ),
    "cache_creation_tokens": (
        "llm.token_count.prompt_details.cache_write",
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",  # its name at first
    ),
    "audio_tokens": ("llm.token_count.prompt_details.audio",),
}
_COUNTS_OUT: Final = {
    "reasoning_tokens": (
        "llm.token_count.completion_details.reasoning",
        "gen_ai.usage.reasoning.output_tokens",
    ),
    "audio_tokens": ("llm.token_count.completion_details.audio",),
}

_TTFT_S: Final = "gen_ai.response.time_to_first_chunk"
_STREAM: Final = "gen_ai.request.stream"

#: All the attributes that are read; `_flat` drops the others.
_READ: Final = frozenset(
    {
        *("openinference.span.kind", "gen_ai.operation.name", "gen_ai.response.id"),
        *("user.id", "enduser.id", "tag.tags", "error.type", "exception.type"),
        *("http.response.status_code", _TTFT_S, _STREAM, _REPO),
        *(*_MODEL, *_PROVIDER, *_SESSION, *_SERVICE_TIER),
        *(
            name
            for counts in (_COUNTS, _COUNTS_IN, _COUNTS_OUT)
            for names in counts.values()
            for name in names
        ),
    }
)
#: And the paths to them, such as "llm" and "llm.token_count".
_PATHS: Final = frozenset(
    name[:end] for name in _READ for end, character in enumerate(name) if character == "."
)

_HEX: Final = re.compile(r"(?:0x)?([0-9A-Fa-f]{16,32})\Z")
_CLASS_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.$:]{0,199}\Z")
_HTTP_STATUS: Final = re.compile(r"[1-5][0-9]{2}\Z")
_ERRORS: Final = frozenset({"ERROR", "STATUS_CODE_ERROR", "STATUSCODE.ERROR", "2"})
_NANOS: Final = re.compile(r"[0-9]{1,19}\Z")
_MAX_EVENTS: Final = 64

_Attributes = dict[str, Any]


def parse(record: dict[str, Any]) -> Trace | None:
    """The trace of a span that is a call; None when the object is not a span.

    Raises BadLine for any other span.
    """
    if not _is_span(record):
        return None
    attributes = _flat(record.get("attributes")) or _flat(
        {
            name.removeprefix("attributes."): value
            for name, value in record.items()
            if name.startswith("attributes.")
        }
    )
    if not _is_call(record, attributes):
        raise BadLine("unknown_format", "a span that is not the call of a model")
    started_us = _moment_us(record, "startTimeUnixNano", "start_time")
    if not started_us:  # in OTLP, 0 is an unknown time
        raise BadLine("bad_timestamp", "start of a span: expected ISO 8601 or nanoseconds")
    ended_us = _moment_us(record, "endTimeUnixNano", "end_time")
    return _trace(record, attributes, started_us, ended_us)


def _trace(
    record: dict[str, Any], attributes: _Attributes, started_us: int, ended_us: int | None
) -> Trace:
    get = attributes.get
    trace_id, span_id = _ids(record)
    # The span's id first: the part before the space is shown as the call's id.
    key = identity(span_id, trace_id)
    sent_session, sent_model = _first(attributes, _SESSION), _first(attributes, _MODEL)
    sent_repo = get(_REPO) or _flat(_dict(record.get("resource")).get("attributes")).get(_REPO)
    session, developer = session_id(sent_session), text(get("user.id"))
    model, repo = text(sent_model), repo_slug(sent_repo)
    usage, anomalies = read_usage(_usage(attributes))
    status, status_code, error_class = _outcome(record, attributes)
    ttft_s = number(get(_TTFT_S))
    return Trace(
        started_us,
        key,
        None if key else span_id,
        session or session_id(trace_id),
        "span" if session else "trace_id" if trace_id else None,
        developer,
        "metadata" if developer else None,
        repo,
        model,
        _provider(attributes) or provider_of(model),
        text(get("gen_ai.operation.name")) or _kind(record, attributes).lower(),
        *reported(usage, model),
        None if ended_us is None or ended_us < started_us else (ended_us - started_us) / 1000,
        None if ttft_s is None else ttft_s * 1000,
        status,
        status_code,
        cache_hit=False,
        service_tier=text(_first(attributes, _SERVICE_TIER)),
        end_user=text(get("enduser.id")),
        tags=tags(get("tag.tags")),
        accepted=None,
        diff_ratio=None,
        accepted_lines=None,
        details=details(
            error_class=error_class,
            stream=flag(get(_STREAM)),
            response_id=text(get("gen_ai.response.id")),
        ),
        # Not `llm.cost.total`: it was computed by the maker of the span, at prices (and, in
        # practice, in a currency) that the span does not name.
        gateway_nanousd=None,
        anomalies=anomalies
        + unread(
            session_id=(sent_session, session),
            developer_id=(get("user.id"), developer),
            model=(sent_model, model),
            repo_slug=(sent_repo, repo),
        ),
    )


# What it is ---------------------------------------------------------------------------------------


def _is_span(record: dict[str, Any]) -> bool:
    """Whether it has a start, an id and attributes, each under one of the exporters' names."""
    return (
        ("start_time" in record or "startTimeUnixNano" in record)
        and any(span_id is not None for span_id in _both_ids(record)[1])
        and ("attributes" in record or any(name.startswith("attributes.") for name in record))
    )


def _is_call(record: dict[str, Any], attributes: _Attributes) -> bool:
    if kind := _kind(record, attributes):
        return kind in _CALL_KINDS
    operation = attributes.get("gen_ai.operation.name")
    return type(operation) is str and operation in _CALL_OPERATIONS


def _kind(record: dict[str, Any], attributes: _Attributes) -> str:
    """OpenInference's kind of span, in capitals; "" when it has none."""
    for sent in (attributes.get("openinference.span.kind"), record.get("span_kind")):
        if type(sent) is str and (sent in _CALL_KINDS or sent in _OTHER_KINDS):
            return sent
    return ""


def _both_ids(record: dict[str, Any]) -> list[tuple[object, ...]]:
    """The values in all places of the trace's id, and of the span's id."""
    context, get = _dict(record.get("context")), record.get
    return [
        (context.get(snake), get(f"context.{snake}"), get(camel), get(snake))
        for snake, camel in (("trace_id", "traceId"), ("span_id", "spanId"))
    ]


def _ids(record: dict[str, Any]) -> tuple[str | None, str | None]:
    """Trace and span id, each in the same digits from every exporter."""
    trace_id, span_id = (
        next((known for sent in places if (known := _id(sent))), None)
        for places in _both_ids(record)
    )
    return trace_id, span_id


def _id(value: object) -> str | None:
    digits = _HEX.match(value) if type(value) is str else None
    return digits[1].lower() if digits else text(value)


def _provider(attributes: _Attributes) -> str | None:
    name = text(_first(attributes, _PROVIDER))
    return None if name is None else _PROVIDER_NAMES.get(name.lower(), name)


def _usage(attributes: _Attributes) -> dict[str, object]:
    return {
        **_picked(attributes, _COUNTS),
        "prompt_tokens_details": _picked(attributes, _COUNTS_IN),
        "completion_tokens_details": _picked(attributes, _COUNTS_OUT),
    }


def _picked(attributes: _Attributes, table: dict[str, tuple[str, ...]]) -> dict[str, object]:
    return {name: _first(attributes, names) for name, names in table.items()}


def _outcome(record: dict[str, Any], attributes: _Attributes) -> tuple[str, int | None, str | None]:
    """Status, HTTP status and class of the error. UNSET is the status of a success.

    Some instrumentations name the error and leave the status unset. An exception among the events
    is not a failure by itself: it may have been handled.
    """
    status = _dict(record.get("status"))
    error = attributes.get("error.type")
    statuses = (record.get("status_code"), status.get("status_code"), status.get("code"))
    failed = error not in (None, "") or any(
        type(sent) in (str, int) and str(sent).upper() in _ERRORS for sent in statuses
    )
    code = attributes.get("http.response.status_code")
    if code is None and type(error) in (str, int) and _HTTP_STATUS.match(str(error)):
        code = error
    names = (error, *_exceptions(record)) if failed else ()
    error_class = next((n for n in names if type(n) is str and _CLASS_NAME.match(n)), None)
    return "failure" if failed else "success", integer(code), error_class


def _exceptions(record: dict[str, Any]) -> Iterator[object]:
    """The classes of the exceptions among the span's events."""
    events = record.get("events")
    for event in events[:_MAX_EVENTS] if type(events) is list else ():
        yield _flat(_dict(event).get("attributes")).get("exception.type")


# When it was --------------------------------------------------------------------------------------


def _moment_us(record: dict[str, Any], nanos: str, other: str) -> int | None:
    """Microseconds since 1970, of OTLP's nanoseconds, of ISO 8601, or of any other number."""
    sent = record.get(nanos)
    if sent is None:
        return _us(record.get(other))
    count = int(sent) if type(sent) is str and _NANOS.match(sent) else sent
    return (count + 500) // 1000 if type(count) is int and 0 <= count <= INT64_MAX else None


def _us(value: object) -> int | None:
    """Microseconds since 1970. The size of a number tells its unit: pandas writes milliseconds."""
    if type(value) is not int and type(value) is not float:
        return epoch_us(value)
    for below, us in ((1e11, US_PER_S), (1e14, 1000), (1e17, 1), (INT64_MAX, 1e-3)):
        if 0 <= value < below:
            return round(value * us)
    return None


# Its attributes, in one form ----------------------------------------------------------------------


def _flat(attributes: object) -> _Attributes:
    """The attributes that are read, by dotted name, however they were nested or listed."""
    known: _Attributes = {}
    if type(attributes) is dict:
        _add(known, "", attributes)
    elif type(attributes) is list:  # OTLP
        for attribute in attributes:
            if type(attribute) is dict and type(attribute.get("key")) is str:
                _add(known, "", {attribute["key"]: _otlp(attribute.get("value"))})
    return known


def _add(known: _Attributes, path: str, attributes: _Attributes) -> None:
    """Adds to `known` the attributes that are read, no deeper than their names go."""
    for inner, value in attributes.items():
        name = path + inner
        if name in _READ:
            if value is not None and value == value:  # noqa: PLR0124 - pandas' NaN is absent
                known[name] = value
        elif name in _PATHS and type(value) is dict:
            _add(known, f"{name}.", value)


def _otlp(value: object) -> object:
    """The value of an OTLP value object; of an array the list of its texts."""
    box = _dict(value)
    for kind in ("stringValue", "intValue", "doubleValue", "boolValue"):
        if kind in box:
            return box[kind]
    items = _dict(box.get("arrayValue")).get("values")
    return [_dict(item).get("stringValue") for item in items] if type(items) is list else None


def _first(attributes: _Attributes, names: tuple[str, ...]) -> object:
    return next((attributes[name] for name in names if name in attributes), None)


def _dict(value: object) -> dict[str, Any]:
    return value if type(value) is dict else {}
