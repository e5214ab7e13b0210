"""A span of OpenTelemetry's GenAI or OpenInference's conventions, one JSON object a line.

As SDKs print it (attributes by dotted names), as Phoenix and Arize export it (the same nested, or
as columns of a data frame), and as OTLP/JSON has it (attributes as a list of typed values). All are
brought into one form, which keeps only the attributes of `otel_names`: no prompts or answers.

A span is a call only if its kind or its operation is that of one, whoever wrote it. Spans around
calls (agents, chains, the AI SDK's functions) repeat the tokens of the calls inside them, which
would then count twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from prodlensd.formats import otel_names as names
from prodlensd.formats.fields import (
    INT64_MAX,
    PROVIDERS,
    details,
    epoch_us,
    epoch_us_of_nanos,
    flag,
    identity,
    integer,
    key_hash,
    nanousd,
    number,
    provider,
    provider_of,
    region_of,
    session_id,
    tags,
    text,
    unread,
)
from prodlensd.formats.otel_attributes import READ, Attributes, dict_of, first, flat
from prodlensd.formats.otel_calls import is_call, is_litellms, kind_of, operation_of, scope_of
from prodlensd.formats.otel_usage import usage_object
from prodlensd.formats.usage import modified, of_call, read_usage
from prodlensd.model import US_PER_S, BadLine, NotACall, Trace, bill_json, repo_slug

_READ: Final = READ  # the fuzzer takes its keys from each format
_HEX: Final = re.compile(r"(?:0x)?([0-9A-Fa-f]{16,32})\Z")
_CLASS_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.$:]{0,199}\Z")
_HTTP_STATUS: Final = re.compile(r"[1-5][0-9]{2}\Z")
_ERRORS: Final = frozenset({"ERROR", "STATUS_CODE_ERROR", "STATUSCODE.ERROR", "2"})
_MAX_EVENTS: Final = 64


def parse(record: dict[str, Any]) -> Trace | None:
    """The trace of a span that is a call; None when the object is not a span.

    Raises NotACall for any other span, and BadLine for a call without a start.
    """
    if not _is_span(record):
        return None
    attributes = flat(record.get("attributes")) or flat(
        {
            name.removeprefix("attributes."): value
            for name, value in record.items()
            if name.startswith("attributes.")
        }
    )
    if not is_call(record, attributes):
        raise NotACall
    started_us = _moment_us(record, "startTimeUnixNano", "start_time")
    if not started_us:  # in OTLP, 0 is an unknown time
        raise BadLine("bad_timestamp", "start of a span: expected ISO 8601 or nanoseconds")
    ended_us = _moment_us(record, "endTimeUnixNano", "end_time")
    return _trace(record, attributes, started_us, ended_us)


def _trace(
    record: dict[str, Any], attributes: Attributes, started_us: int, ended_us: int | None
) -> Trace:
    get = attributes.get
    trace_id, span_id = _ids(record)
    key, call_id = _identity(attributes, trace_id, span_id)
    sent_session, sent_model = first(attributes, names.SESSION), _model(attributes)
    sent_repo = get(names.REPO) or flat(dict_of(record.get("resource")).get("attributes")).get(
        names.REPO
    )
    sent_user, developer_via = _developer(attributes)
    session, developer = session_id(sent_session), text(sent_user)
    model, repo = text(sent_model), repo_slug(sent_repo)
    sent_cost = first(attributes, names.GATEWAY_COST) if is_litellms(attributes) else None
    cost = nanousd(sent_cost)
    status, status_code, error_class = _outcome(record, attributes)
    sent_provider = _sent_provider(attributes)
    sent_usage = usage_object(attributes, scope_of(record, attributes), sent_provider)
    sold_by = _provider(sent_provider) or provider_of(model)
    call_type = text(operation_of(attributes)) or kind_of(record, attributes).lower()
    reading = read_usage(sent_usage, sold_by, call_type)
    usage, bill, tier, anomalies = of_call(reading, model, status)
    bill = modified(bill, region=region_of(first(attributes, names.ADDRESS)))
    return Trace(
        started_us,
        key,
        call_id,
        session or session_id(trace_id),
        "span" if session else "trace_id" if trace_id else None,
        developer,
        developer_via if developer else None,
        repo,
        model,
        sold_by,
        call_type,
        *usage,
        None if ended_us is None or ended_us < started_us else (ended_us - started_us) / 1000,
        _ttft_ms(attributes),
        status,
        status_code,
        cache_hit=get("litellm.cache_hit") is True,
        service_tier=tier or text(first(attributes, names.SERVICE_TIER)),
        end_user=text(first(attributes, names.END_USER)),
        tags=tags(first(attributes, names.TAGS)),
        accepted=None,
        diff_ratio=None,
        accepted_lines=None,
        details=details(
            error_class=error_class,
            stream=_stream(attributes),
            response_id=text(first(attributes, names.RESPONSE_ID)),
            model_group=text(get("litellm.model_group")),
            team=text(first(attributes, names.TEAM)),
            key_alias=text(first(attributes, names.KEY_ALIAS)),
            key_hash=key_hash(first(attributes, names.KEY_HASH)),
        ),
        # LiteLLM's only. Another cost was computed by the maker of the span, at prices (and, in
        # practice, in a currency) that the span does not name.
        gateway_nanousd=cost,
        bill=bill_json(bill),
        anomalies=anomalies
        + unread(
            session_id=(sent_session, session),
            developer_id=(sent_user, developer),
            model=(sent_model, model),
            repo_slug=(sent_repo, repo),
            cost_usd=(sent_cost, cost),
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


def _both_ids(record: dict[str, Any]) -> list[tuple[object, ...]]:
    """The values in all places of the trace's id, and of the span's id."""
    context, get = dict_of(record.get("context")), record.get
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


def _identity(
    attributes: Attributes, trace_id: str | None, span_id: str | None
) -> tuple[str | None, str | None]:
    """The key, or without one the id that is shown.

    A span of LiteLLM's callback has the ids that our callback writes, so that a call which is
    logged both ways is one. Any other span is told by its own id and its trace's.
    """
    get = attributes.get
    key = identity(get("litellm.call_id"), get("gen_ai.response.id"))
    # The span's id first: the part before the space is shown as the call's id.
    key = key or identity(span_id, trace_id)
    return key, None if key else span_id


def _model(attributes: Attributes) -> object:
    """The model that answered, else the one asked for.

    LiteLLM may write its alias of a deployment as either, and names the deployment beside it.
    """
    model, sent = first(attributes, names.MODEL), attributes.get(names.MODEL_SENT)
    is_alias = model is None or model in [attributes.get(name) for name in names.MODEL_ASKED]
    return sent if is_alias and sent is not None and not _ends_with(sent, model) else model


def _ends_with(sent: object, model: object) -> bool:
    """Whether the deployment is that model, with no more than its provider before it."""
    return type(sent) is str and sent.partition("/")[2] == model


def _sent_provider(attributes: Attributes) -> object:
    sent = [attributes[name] for name in names.PROVIDER if name in attributes]
    return next((name for name in sent if str(name).lower() not in names.FRAMEWORKS), None)


def _provider(sent: object) -> str | None:
    """LiteLLM's name; the AI SDK adds the API to it, as in "openai.chat"."""
    name = provider(sent)
    words = name.lower().split(".") if name else []
    for end in range(len(words), 0, -1):
        prefix = ".".join(words[:end])
        if found := names.AI_PROVIDERS.get(prefix):
            return found
        if end < len(words) and provider(prefix) in PROVIDERS:
            return provider(prefix)
    return name


def _developer(attributes: Attributes) -> tuple[object, str]:
    """Who it was and how it is known: LiteLLM's proxy knows whose key it was, others claim.

    With `user_header_mappings` LiteLLM takes the user of the key from a request header. So a name
    that a header also holds is a claim, as in our callback.
    """
    for place, via in names.KEY_HOLDER.items() if is_litellms(attributes) else ():
        name = text(attributes.get(place))
        if name and name != "default_user_id":  # the name of everyone who has the master key
            headers = str(attributes.get(names.REQUEST_HEADERS))
            return name, "header" if f"'{name}'" in headers or f'"{name}"' in headers else via
    return first(attributes, names.USER), "metadata"


def _stream(attributes: Attributes) -> bool | None:
    """LiteLLM writes it as a word."""
    sent = first(attributes, names.STREAM)
    return {"True": True, "False": False}.get(sent) if type(sent) is str else flag(sent)


def _ttft_ms(attributes: Attributes) -> float | None:
    if (ttft_s := number(first(attributes, names.TTFT_S))) is not None:
        return ttft_s * 1000
    return number(attributes.get(names.TTFT_MS))


def _outcome(record: dict[str, Any], attributes: Attributes) -> tuple[str, int | None, str | None]:
    """Status, HTTP status and class of the error. UNSET is the status of a success.

    Some instrumentations name the error and leave the status unset. An exception among the events
    is not a failure by itself: it may have been handled.
    """
    status = dict_of(record.get("status"))
    error = attributes.get("error.type")
    statuses = (record.get("status_code"), status.get("status_code"), status.get("code"))
    failed = error not in (None, "") or any(
        type(sent) in (str, int) and str(sent).upper() in _ERRORS for sent in statuses
    )
    code = attributes.get("http.response.status_code")
    if code is None and type(error) in (str, int) and _HTTP_STATUS.match(str(error)):
        code = error
    classes = (error, *_exceptions(record)) if failed else ()
    error_class = next((c for c in classes if type(c) is str and _CLASS_NAME.match(c)), None)
    return "failure" if failed else "success", integer(code), error_class


def _exceptions(record: dict[str, Any]) -> Iterator[object]:
    """The classes of the exceptions among the span's events."""
    events = record.get("events")
    for event in events[:_MAX_EVENTS] if type(events) is list else ():
        yield flat(dict_of(event).get("attributes")).get("exception.type")


# When it was --------------------------------------------------------------------------------------


def _moment_us(record: dict[str, Any], nanos: str, other: str) -> int | None:
    """Microseconds since 1970, of OTLP's nanoseconds, of ISO 8601, or of any other number."""
    sent = record.get(nanos)
    return _us(record.get(other)) if sent is None else epoch_us_of_nanos(sent)


def _us(value: object) -> int | None:
    """Microseconds since 1970. The size of a number tells its unit: pandas writes milliseconds."""
    if type(value) is not int and type(value) is not float:
        return epoch_us(value)
    for below, us in ((1e11, US_PER_S), (1e14, 1000), (1e17, 1), (INT64_MAX, 1e-3)):
        if 0 <= value < below:
            return round(value * us)
    return None
