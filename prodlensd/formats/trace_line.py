"""The documented trace line: what our LiteLLM callback writes, and anyone may (docs/trace-line.md).

What differs from line to line (times, ids, session, tokens, cost) is read for each line. What
repeats is read once and remembered, for a bounded number of values of `attributes` and `metadata`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Final, NamedTuple

import msgspec
import orjson
from msgspec import Meta
from msgspec.structs import astuple

from prodlensd.formats.decoding import decode_forgiving
from prodlensd.formats.fields import (
    MAX_COST_USD,
    MAX_EXACT_FLOAT,
    epoch_us,
    flag,
    identity,
    integer,
    key_hash,
    nanousd,
    nanousd_of,
    number,
    provider,
    provider_of,
    session_id,
    tags,
    text,
    unread,
    word,
)
from prodlensd.formats.usage import Reading, modified, of_call, read_usage
from prodlensd.formats.usage_usual import read_usual
from prodlensd.model import NO_BILL, BadLine, Trace, bill_json, repo_slug

_REMEMBERED: Final = 4096
_HTTP_ERROR: Final = 400


# A line of other types, or with numbers out of these bounds, is left to `parse`.
_Number = Annotated[float, Meta(ge=0, le=MAX_EXACT_FLOAT)] | None
_Cost = Annotated[float, Meta(ge=0, le=MAX_COST_USD)] | None


class _Attributes(msgspec.Struct, gc=False):
    """Typed so that equal values are the same value: to Python, 1, 1.0 and True are equal."""

    model: str | None = msgspec.field(name="llm.model_name", default=None)
    provider: str | None = None
    call_type: str | None = None
    status: str | None = None
    status_code: int | None = None
    latency_ms: _Number = None
    ttft_ms: _Number = None
    cache_hit: bool | None = None
    service_tier: str | None = None
    region: str | None = None
    speed: str | None = None
    error_class: str | None = None
    stream: bool | None = None
    model_group: str | None = None
    attempted_retries: int | None = None
    attempted_fallbacks: int | None = None
    accepted: bool | None = None
    diff_ratio: _Number = None
    accepted_lines: int | None = None
    prod_accepted: bool | None = msgspec.field(name="prod_lens.accepted", default=None)
    prod_diff_ratio: _Number = msgspec.field(name="prod_lens.diff_ratio", default=None)
    prod_accepted_lines: int | None = msgspec.field(name="prod_lens.accepted_lines", default=None)


class _Metadata(msgspec.Struct, gc=False):
    """The same of `metadata`, by the names that the line has."""

    session_id: str | None = None
    session_via: str | None = None
    developer_id: str | None = None
    developer_via: str | None = None
    repo: str | None = None
    end_user: str | None = None
    tags: tuple[str, ...] | None = None
    team: str | None = None
    key_alias: str | None = None
    key_hash: str | None = None


class _Line(msgspec.Struct, gc=False):
    timestamp: datetime
    usage: msgspec.Raw
    id: Any = None
    litellm_call_id: Any = None
    cost_usd: _Cost = None
    attributes: _Attributes = msgspec.field(default_factory=_Attributes)
    metadata: msgspec.Raw = msgspec.Raw(b"{}")


_DECODER: Final = msgspec.json.Decoder(_Line)
_METADATA_DECODER: Final = msgspec.json.Decoder(_Metadata)
_NAMES: Final = _Attributes.__struct_encode_fields__
_METADATA_NAMES: Final = _Metadata.__struct_encode_fields__


def parse_strict(line: bytes) -> Trace | None:
    """The trace of a line of strict JSON with the usual types, as `parse` reads it; else None."""
    try:
        record = _DECODER.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return None
    started_us = epoch_us(record.timestamp)
    if started_us is None:
        return None
    attributes, usd = record.attributes, record.cost_usd
    times_ms = attributes.latency_ms, attributes.ttft_ms
    attributes.latency_ms = attributes.ttft_ms = None
    call = _call_of_values(astuple(attributes))
    cost = None if usd is None else nanousd_of(usd)
    ids = record.litellm_call_id, record.id
    reading = read_usual(record.usage, call.provider, call.call_type, call.model)
    if reading is None:
        reading = _reading(_decoded(record.usage), call)
    session, caller = _caller_of_json(record.metadata)
    return _trace(started_us, ids, reading, times_ms, cost, call, session, caller)


def parse(record: dict[str, Any]) -> Trace | None:
    """The trace of an object of any types; None when it has no time or no `usage`."""
    if "timestamp" not in record or "usage" not in record:
        return None
    started_us = epoch_us(record["timestamp"])
    if started_us is None:
        raise BadLine("bad_timestamp", "timestamp: expected ISO 8601, e.g. 2025-10-12T19:00:00Z")
    part = record.get("attributes")
    attributes = dict(part) if type(part) is dict else {}
    sent = {name: attributes.pop(name, None) for name in ("latency_ms", "ttft_ms")}
    times_ms = number(sent["latency_ms"]), number(sent["ttft_ms"])
    cost = nanousd(record.get("cost_usd"))
    call, caller = _call(attributes), _caller(record.get("metadata"))
    ids = record.get("litellm_call_id"), record.get("id")
    reading, session = _reading(record["usage"], call), caller.session_id
    trace = _trace(started_us, ids, reading, times_ms, cost, call, session, caller)
    anomalies = unread(
        latency_ms=(sent["latency_ms"], times_ms[0]),
        ttft_ms=(sent["ttft_ms"], times_ms[1]),
        cost_usd=(record.get("cost_usd"), cost),
    )
    return trace._replace(anomalies=trace.anomalies + anomalies)


def _reading(usage: object, call: _Call) -> Reading:
    return of_call(read_usage(usage, call.provider, call.call_type), call.model, call.status)


def _trace(
    started_us: int,
    ids: tuple[object, object],
    reading: Reading,
    times_ms: tuple[float | None, float | None],
    gateway_nanousd: int | None,
    call: _Call,
    session: str | None,
    caller: _Caller,
) -> Trace:
    key = identity(*ids)
    usage, bill, tier, anomalies = reading
    model, provider, call_type, status, status_code, cache_hit, service_tier = call[:7]
    region, speed, accepted, diff_ratio, accepted_lines, details, unread = call[7:]
    _, via, developer, developer_via, repo, end_user, tags, of_caller, unread_of_caller = caller
    if region or speed:
        bill = modified(bill, region=region, speed=speed)
    details = f"{details},{of_caller}" if details and of_caller else details or of_caller
    if unread or unread_of_caller:
        anomalies += unread + unread_of_caller
    call_id = None if key else text(ids[0])
    bill_text = None if bill is NO_BILL else bill_json(bill)
    # Added up, and not unpacked into one: that takes twice as long.
    return _new_trace(
        Trace,
        (started_us, key, call_id, session, via, developer, developer_via, repo)  # noqa: RUF005
        + (model, provider, call_type)
        + usage
        + times_ms
        + (status, status_code, cache_hit, tier or service_tier, end_user, tags)
        + (accepted, diff_ratio, accepted_lines, f"{{{details}}}" if details else None)
        + (gateway_nanousd, bill_text, anomalies),
    )


_new_trace: Final[Callable[[type[Trace], tuple[Any, ...]], Trace]] = tuple.__new__


# What repeats -------------------------------------------------------------------------------------


class _Call(NamedTuple):
    """What `attributes` says, but for its times; fields as in `Trace`, and in its order.

    details     the inside of a JSON object
    unread      the fields that were sent and could not be read
    """

    model: str | None
    provider: str | None
    call_type: str | None
    status: str
    status_code: int | None
    cache_hit: bool
    service_tier: str | None
    region: str | None
    speed: str | None
    accepted: bool | None
    diff_ratio: float | None
    accepted_lines: int | None
    details: str
    unread: tuple[str, ...]


class _Caller(NamedTuple):
    """What `metadata` says; fields as in `Trace` and `_Call`."""

    session_id: str | None
    session_via: str | None
    developer_id: str | None
    developer_via: str | None
    repo_slug: str | None
    end_user: str | None
    tags: str | None
    details: str
    unread: tuple[str, ...]


_Reader = Callable[[object], object]
#: The key in a line → the field of a trace, or the name in its details, and how the value is read.
_ATTRIBUTES: Final[dict[str, tuple[str, _Reader]]] = {
    "llm.model_name": ("model", text),
    "provider": ("provider", provider),
    "call_type": ("call_type", text),
    "status": ("status", lambda value: value if value in ("success", "failure") else None),
    "status_code": ("status_code", integer),
    "cache_hit": ("cache_hit", flag),
    "service_tier": ("service_tier", text),
    "region": ("region", word),
    "speed": ("speed", word),
    # The acceptance fields come from other tools, under a prefix or without.
    **{
        f"{prefix}{name}": (name, reader)
        for prefix in ("", "prod_lens.")
        for name, reader in (
            ("accepted", flag),
            ("diff_ratio", number),
            ("accepted_lines", integer),
        )
    },
}
_ATTRIBUTE_DETAILS: Final[dict[str, tuple[str, _Reader]]] = {
    "error_class": ("error_class", text),
    "stream": ("stream", flag),
    "model_group": ("model_group", text),
    "attempted_retries": ("attempted_retries", integer),
    "attempted_fallbacks": ("attempted_fallbacks", integer),
}
_METADATA: Final[dict[str, tuple[str, _Reader]]] = {
    "session_id": ("session_id", session_id),
    "session_via": ("session_via", text),
    "developer_id": ("developer_id", text),
    "developer_via": ("developer_via", text),
    "repo": ("repo_slug", repo_slug),
    "end_user": ("end_user", text),
    "tags": ("tags", tags),
}
_METADATA_DETAILS: Final[dict[str, tuple[str, _Reader]]] = {
    "team": ("team", text),
    "key_alias": ("key_alias", text),
    "key_hash": ("key_hash", key_hash),
}


def _call(part: object) -> _Call:
    read, unread = _read(part, _ATTRIBUTES)
    details, unread_details = _read(part, _ATTRIBUTE_DETAILS)
    get = read.get
    return _Call(
        get("model"),
        get("provider") or provider_of(get("model")),
        get("call_type"),
        get("status") or _status(get("status_code"), has_error="error_class" in details),
        get("status_code"),
        get("cache_hit") is True,
        get("service_tier"),
        get("region"),
        get("speed"),
        get("accepted"),
        get("diff_ratio"),
        get("accepted_lines"),
        _inside(details),
        unread + unread_details,
    )


@lru_cache(_REMEMBERED)
def _call_of_values(values: tuple[Any, ...]) -> _Call:
    return _call(dict(zip(_NAMES, values, strict=True)))


def _status(status_code: int | None, *, has_error: bool) -> str:
    """The status of a line that names none: by its HTTP status, or else by its having an error."""
    if status_code is not None:
        return "failure" if status_code >= _HTTP_ERROR else "success"
    return "failure" if has_error else "success"


def _caller(part: object) -> _Caller:
    read, unread = _read(part, _METADATA)
    details, unread_details = _read(part, _METADATA_DETAILS)
    known = [read.get(name) for name in _Caller._fields[:-2]]
    return _Caller._make([*known, _inside(details), unread + unread_details])


def _caller_of_json(json: msgspec.Raw) -> tuple[str | None, _Caller]:
    """The session, which may be another on every line, and the rest, which may not."""
    try:
        sent = _METADATA_DECODER.decode(json)
    except msgspec.DecodeError:
        sent = None
    session = None if sent is None else session_id(sent.session_id)
    if sent is None or (session is None and sent.session_id):
        caller = _caller(_decoded(json))
        return caller.session_id, caller
    sent.session_id = None
    return session, _caller_of_values(astuple(sent))


@lru_cache(_REMEMBERED)
def _caller_of_values(values: tuple[Any, ...]) -> _Caller:
    said = dict(zip(_METADATA_NAMES, values, strict=True))
    return _caller(said | {"tags": None if said["tags"] is None else list(said["tags"])})


def _decoded(json: msgspec.Raw) -> object:
    try:
        return orjson.loads(bytes(json))
    except orjson.JSONDecodeError:
        return decode_forgiving(bytes(json))


def _read(
    part: object, table: dict[str, tuple[str, _Reader]]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What the part has of the table, and the names of what was sent and could not be read.

    Both follow the order of the table, not the line's: equal contents are read into equal traces.
    Of two keys for one name, the later in the table wins.
    """
    known: dict[str, Any] = {}
    unread: list[str] = []
    sent: dict[str, Any] = part if type(part) is dict else {}
    for key, (name, reader) in table.items():
        value = sent.get(key)
        if value is not None:
            read = reader(value)
            if read is not None:
                known[name] = read
            elif value not in ("", []):
                unread.append(name)
    return known, tuple(unread)


def _inside(details: dict[str, Any]) -> str:
    return orjson.dumps(details, option=orjson.OPT_SORT_KEYS).decode()[1:-1]
