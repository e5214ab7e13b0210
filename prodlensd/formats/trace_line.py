"""The documented trace line: what our LiteLLM callback writes, and anyone may (docs/trace-line.md).

What differs from line to line (times, ids, tokens, cost) is read for each. What repeats (who
called, and which model in what way) is read once and then recognised: `metadata` by its bytes,
`attributes` by its values. Both are memories of pure functions, and bounded.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final, NamedTuple, TypeVar

import msgspec
import orjson
from msgspec import Meta
from msgspec.structs import astuple

from prodlensd.formats.decoding import check_utf8, decode, decode_forgiving
from prodlensd.formats.fields import (
    MAX_COST_USD,
    MAX_EXACT_FLOAT,
    cost_usd,
    epoch_us,
    flag,
    identity,
    integer,
    key_hash,
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
from prodlensd.model import BadLine, Trace

_REMEMBERED: Final = 4096
_HTTP_ERROR: Final = 400


# A line of other types, or with numbers out of these bounds, takes the long way.
_Number = Annotated[float, Meta(ge=0, le=MAX_EXACT_FLOAT)] | None
_Cost = Annotated[float, Meta(ge=0, le=MAX_COST_USD)] | None


class _Attributes(msgspec.Struct, gc=False):
    """Typed so that only the same values are equal: to Python 1, 1.0 and True are, too."""

    model: str | None = msgspec.field(name="llm.model_name", default=None)
    provider: str | None = None
    call_type: str | None = None
    status: str | None = None
    status_code: int | None = None
    latency_ms: _Number = None
    ttft_ms: _Number = None
    cache_hit: bool | None = None
    service_tier: str | None = None
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


class _Line(msgspec.Struct, gc=False):
    timestamp: datetime
    usage: Any
    id: Any = None
    litellm_call_id: Any = None
    cost_usd: _Cost = None
    attributes: _Attributes = msgspec.field(default_factory=_Attributes)
    metadata: msgspec.Raw = msgspec.Raw(b"{}")


_DECODER: Final = msgspec.json.Decoder(_Line)
_NAMES: Final = _Attributes.__struct_encode_fields__


def parse(line: bytes) -> Trace | None:
    """The trace of a trace line; None when the object has no `usage` and so is something else."""
    if not line.isascii():
        check_utf8(line)  # the decoder does not look into what it skips
    try:
        record = _DECODER.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return _parse_the_long_way(line)
    started_us = epoch_us(record.timestamp)
    if started_us is None:
        return _parse_the_long_way(line)
    attributes = record.attributes
    times = attributes.latency_ms, attributes.ttft_ms
    attributes.latency_ms = attributes.ttft_ms = None
    what = _remembered(_WHATS, astuple(attributes), _what_of_values)
    who = _remembered(_WHOS, bytes(record.metadata), _who_of_json)
    ids = record.litellm_call_id, record.id
    return _trace(started_us, ids, record.usage, times, record.cost_usd, what, who)


def _parse_the_long_way(line: bytes) -> Trace | None:
    """For lines that are no strict JSON, or where something is of an unexpected type."""
    record = decode(line)
    if "timestamp" not in record or "usage" not in record:
        return None
    started_us = epoch_us(record["timestamp"])
    if started_us is None:
        raise BadLine("bad_timestamp", "timestamp: expected ISO 8601, e.g. 2025-10-12T19:00:00Z")
    part = record.get("attributes")
    attributes = dict(part) if type(part) is dict else {}
    sent = {name: attributes.pop(name, None) for name in ("latency_ms", "ttft_ms")}
    times = number(sent["latency_ms"]), number(sent["ttft_ms"])
    cost = cost_usd(record.get("cost_usd"))
    what, who = _what(attributes), _who(record.get("metadata"))
    ids = record.get("litellm_call_id"), record.get("id")
    trace = _trace(started_us, ids, record["usage"], times, cost, what, who)
    anomalies = unread(
        latency_ms=(sent["latency_ms"], times[0]),
        ttft_ms=(sent["ttft_ms"], times[1]),
        cost_usd=(record.get("cost_usd"), cost),
    )
    return trace._replace(anomalies=trace.anomalies + anomalies)


def _trace(
    started_us: int,
    ids: tuple[object, object],
    usage_sent: object,
    times: tuple[float | None, float | None],
    cost: float | None,
    what: _What,
    who: _Who,
) -> Trace:
    key = identity(*ids)
    usage, anomalies = read_usage(usage_sent)
    if what.details or who.details:
        details = f"{{{what.details}{',' if what.details and who.details else ''}{who.details}}}"
    else:
        details = None
    if what.unread or who.unread:
        anomalies += what.unread + who.unread
    return _new_trace(
        Trace,
        (
            *(started_us, key, None if key else text(ids[0])),
            *who.names,
            *what.names,
            *reported(usage, what.names[0]),
            *times,
            *what.outcome,
            *who.marks,
            *what.acceptance,
            *(details, cost, anomalies),
        ),
    )


_new_trace: Final[Callable[[type[Trace], tuple[Any, ...]], Trace]] = tuple.__new__


# What repeats -------------------------------------------------------------------------------------


class _What(NamedTuple):
    """What `attributes` says, but for its times."""

    names: tuple[str | None, str | None, str | None]  # model, provider, call type
    outcome: tuple[str, int | None, bool, str | None]  # status, its code, cache hit, service tier
    acceptance: tuple[bool | None, float | None, int | None]
    details: str  # the inside of a JSON object
    unread: tuple[str, ...]


class _Who(NamedTuple):
    """What `metadata` says."""

    names: tuple[str | None, ...]  # session, developer, each with where it was found; repository
    marks: tuple[str | None, str | None]  # end user, tags
    details: str
    unread: tuple[str, ...]


_T = TypeVar("_T")
_Reader = Callable[[object], object]
#: The key in a line → the field of a trace, or the name in its details, and how the value is read.
_ATTRIBUTES: Final[dict[str, tuple[str, _Reader]]] = {
    "llm.model_name": ("model", text),
    "provider": ("provider", text),
    "call_type": ("call_type", text),
    "status": ("status", lambda value: value if value in ("success", "failure") else None),
    "status_code": ("status_code", integer),
    "cache_hit": ("cache_hit", flag),
    "service_tier": ("service_tier", text),
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


def _what(part: object) -> _What:
    read, unread = _read(part, _ATTRIBUTES)
    details, unread_details = _read(part, _ATTRIBUTE_DETAILS)
    get = read.get
    status = get("status") or _status(get("status_code"), has_error="error_class" in details)
    return _What(
        (get("model"), get("provider") or provider_of(get("model")), get("call_type")),
        (status, get("status_code"), get("cache_hit") is True, get("service_tier")),
        (get("accepted"), get("diff_ratio"), get("accepted_lines")),
        _inside(details),
        unread + unread_details,
    )


def _status(status_code: int | None, *, has_error: bool) -> str:
    """A line that does not say is judged by its HTTP status, or else by its having an error."""
    if status_code is not None:
        return "failure" if status_code >= _HTTP_ERROR else "success"
    return "failure" if has_error else "success"


def _who(part: object) -> _Who:
    read, unread = _read(part, _METADATA)
    details, unread_details = _read(part, _METADATA_DETAILS)
    names = ("session_id", "session_via", "developer_id", "developer_via", "repo_slug")
    return _Who(
        tuple(read.get(name) for name in names),
        (read.get("end_user"), read.get("tags")),
        _inside(details),
        unread + unread_details,
    )


def _read(
    part: object, table: dict[str, tuple[str, _Reader]]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What the part has of the table; and the names of what was sent and could not be read.

    Both follow the order of the table, not the line's: equal contents are read into equal traces,
    and of two keys for one name the later in the table wins.
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


_WHATS: Final[dict[Any, _What]] = {}
_WHOS: Final[dict[Any, _Who]] = {}


def _what_of_values(values: tuple[Any, ...]) -> _What:
    return _what(dict(zip(_NAMES, values, strict=True)))


def _who_of_json(json: bytes) -> _Who:
    try:
        return _who(orjson.loads(json))
    except orjson.JSONDecodeError:
        return _who(decode_forgiving(json))


def _remembered(memory: dict[Any, _T], key: object, make: Callable[[Any], _T]) -> _T:
    value = memory.get(key)
    if value is None:
        if len(memory) >= _REMEMBERED:
            memory.clear()
        value = memory[key] = make(key)
    return value
