"""The documented trace line: what our LiteLLM callback writes, and anyone may (see the README).

Two ways lead to the same trace. A plain line, with nothing odd about it, goes through a typed
decoder that checks while it reads: that is nearly every line, and the daemon's main path. Any other
line goes through tables that say what each key becomes and how its value is read, one by one. The
tests hold the two against each other.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
import orjson
from msgspec import Meta

from prodlensd.formats.decoding import decode
from prodlensd.formats.fields import (
    INT64_MAX,
    MAX_COST_USD,
    MAX_EPOCH_S,
    MAX_TEXT_CHARS,
    cost_usd,
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
)
from prodlensd.formats.usage import read_usage
from prodlensd.model import US_PER_S, BadLine, Trace

_HTTP_ERROR: Final = 400


def parse(line: bytes) -> Trace | None:
    """The trace of a trace line; None when the object has no `usage` and so is something else."""
    if line.isascii():  # the typed decoder does not look into text that it skips
        try:
            return _plain_trace(_PLAIN.decode(line))
        except (_OddError, msgspec.DecodeError, RecursionError):
            pass
    return parse_odd(line)


def _outcome(status_code: int | None, *, has_error: bool) -> str:
    """A line that does not say is judged by its HTTP status, or else by its having an error."""
    if status_code is not None:
        return "failure" if status_code >= _HTTP_ERROR else "success"
    return "failure" if has_error else "success"


def _json_of(details: dict[str, object]) -> str:
    return orjson.dumps(details, option=orjson.OPT_SORT_KEYS).decode()


# Plain lines --------------------------------------------------------------------------------------

_Text = Annotated[str, Meta(max_length=MAX_TEXT_CHARS)] | None
_Number = Annotated[float, Meta(ge=0)] | None
_Count = Annotated[int, Meta(ge=0, le=INT64_MAX)] | None


class _OddError(Exception):
    """A line of the right types that is not plain all the same."""


class _Attributes(msgspec.Struct, gc=False):
    model: _Text = msgspec.field(name="llm.model_name", default=None)
    provider: _Text = None
    call_type: _Text = None
    status: Literal["success", "failure"] | None = None
    status_code: _Count = None
    latency_ms: _Number = None
    ttft_ms: _Number = None
    cache_hit: bool | None = None
    service_tier: _Text = None
    error_class: _Text = None
    stream: bool | None = None
    model_group: _Text = None
    attempted_retries: _Count = None
    attempted_fallbacks: _Count = None
    # From other tools, and rare: a line that has them is odd.
    accepted: Any = None
    diff_ratio: Any = None
    accepted_lines: Any = None
    prefixed_accepted: Any = msgspec.field(name="prod_lens.accepted", default=None)
    prefixed_diff_ratio: Any = msgspec.field(name="prod_lens.diff_ratio", default=None)
    prefixed_accepted_lines: Any = msgspec.field(name="prod_lens.accepted_lines", default=None)


class _Metadata(msgspec.Struct, gc=False):
    session_id: _Text = None
    session_via: _Text = None
    developer_id: _Text = None
    developer_via: _Text = None
    repo: _Text = None
    end_user: _Text = None
    tags: Any = None
    team: _Text = None
    key_alias: _Text = None


class _Line(msgspec.Struct, gc=False):
    timestamp: datetime
    usage: Any
    id: str | None = None
    litellm_call_id: _Text = None
    cost_usd: Annotated[float, Meta(ge=0, le=MAX_COST_USD)] | None = None
    attributes: _Attributes = msgspec.field(default_factory=_Attributes)
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


_PLAIN: Final = msgspec.json.Decoder(_Line)


def _plain_trace(line: _Line) -> Trace:
    """The trace of a decoded line. Raises _OddError where its text is not as it will be stored."""
    attributes, about = line.attributes, line.metadata
    if line.timestamp.tzinfo is None:
        raise _OddError
    started_us = round(line.timestamp.timestamp() * US_PER_S)
    if not 0 <= started_us <= MAX_EPOCH_S * US_PER_S:
        raise _OddError
    usage, anomalies = read_usage(line.usage)
    model = _plain(attributes.model)
    session = None if about.session_id is None else session_id(about.session_id)
    repo = None if about.repo is None else repo_slug(about.repo)
    if (repo is None and about.repo) or (session is None and about.session_id):
        raise _OddError
    details = _plain_details(attributes, about)
    return Trace._make(
        (
            started_us,
            identity(line.litellm_call_id, line.id),
            _plain(line.litellm_call_id),
            session,
            _plain(about.session_via),
            _plain(about.developer_id),
            _plain(about.developer_via),
            repo,
            model,
            _plain(attributes.provider) or provider_of(model),
            _plain(attributes.call_type),
            *reported(usage, model),
            attributes.latency_ms,
            attributes.ttft_ms,
            attributes.status
            or _outcome(attributes.status_code, has_error=bool(attributes.error_class)),
            attributes.status_code,
            attributes.cache_hit is True,
            _plain(attributes.service_tier),
            _plain(about.end_user),
            None if about.tags is None else _plain_tags(about.tags),
            None,
            None,
            None,
            _json_of(details) if details else None,
            line.cost_usd,
            anomalies,
        )
    )


def _plain(value: str | None) -> str | None:
    if value is None or value == value.strip() != "":
        return value
    raise _OddError


def _plain_tags(value: object) -> str | None:
    if type(value) is list and all(type(tag) is str for tag in value):
        return tags(value)
    raise _OddError


def _plain_details(attributes: _Attributes, about: _Metadata) -> dict[str, object]:
    if not (
        attributes.accepted
        is attributes.diff_ratio
        is attributes.accepted_lines
        is attributes.prefixed_accepted
        is attributes.prefixed_diff_ratio
        is attributes.prefixed_accepted_lines
        is None
    ):
        raise _OddError
    details = {
        "error_class": _plain(attributes.error_class),
        "stream": attributes.stream,
        "model_group": _plain(attributes.model_group),
        "attempted_retries": attributes.attempted_retries,
        "attempted_fallbacks": attributes.attempted_fallbacks,
        "team": _plain(about.team),
        "key_alias": _plain(about.key_alias),
    }
    return {name: value for name, value in details.items() if value is not None}


# All lines ----------------------------------------------------------------------------------------

_Reader = Callable[[object], object]
_FIELD: Final = {name: index for index, name in enumerate(Trace._fields)}
_TOKENS_IN, _PAST_TOKENS = _FIELD["tokens_in"], _FIELD["audio_out_tokens"] + 1
_KEY, _CALL_ID, _MODEL, _PROVIDER = (
    _FIELD[name] for name in ("key", "call_id", "model", "provider")
)
_STATUS, _STATUS_CODE, _CACHE_HIT = (
    _FIELD[name] for name in ("status", "status_code", "cache_hit")
)
_DETAILS, _COST, _ANOMALIES = (
    _FIELD[name] for name in ("details", "cost_gateway_usd", "anomalies")
)
_BLANK: Final[tuple[None, ...]] = (None,) * len(Trace._fields)


def _status(value: object) -> str | None:
    return value if type(value) is str and value in {"success", "failure"} else None


def _columns(**readers: tuple[str, _Reader]) -> dict[str, tuple[int, _Reader]]:
    return {name: (_FIELD[field], read) for name, (field, read) in readers.items()}


def _details(**readers: _Reader) -> dict[str, tuple[int, _Reader]]:
    """Rarely asked facts, which go together into one column under their own names."""
    return {name: (-1, read) for name, read in readers.items()}


_ATTRIBUTES: Final = {
    "llm.model_name": (_MODEL, text),
    **_columns(
        provider=("provider", text),
        call_type=("call_type", text),
        status=("status", _status),
        status_code=("status_code", integer),
        latency_ms=("latency_ms", number),
        ttft_ms=("ttft_ms", number),
        cache_hit=("cache_hit", flag),
        service_tier=("service_tier", text),
    ),
    # The acceptance fields come from other tools, under a prefix or without.
    **{
        f"{prefix}{name}": (_FIELD[name], read)
        for prefix in ("", "prod_lens.")
        for name, read in (("accepted", flag), ("diff_ratio", number), ("accepted_lines", integer))
    },
    **_details(
        error_class=text,
        stream=flag,
        model_group=text,
        attempted_retries=integer,
        attempted_fallbacks=integer,
    ),
}
_METADATA: Final = {
    **_columns(
        session_id=("session_id", session_id),
        session_via=("session_via", text),
        developer_id=("developer_id", text),
        developer_via=("developer_via", text),
        repo=("repo_slug", repo_slug),
        end_user=("end_user", text),
        tags=("tags", tags),
    ),
    **_details(team=text, key_alias=text),
}


def parse_odd(line: bytes) -> Trace | None:
    """As `parse`, for any line at all."""
    record = decode(line)
    if "timestamp" not in record or "usage" not in record:
        return None
    started_us = epoch_us(record["timestamp"])
    if started_us is None:
        raise BadLine("bad_timestamp", "timestamp: expected ISO 8601, e.g. 2025-10-12T19:00:00Z")
    usage, anomalies = read_usage(record["usage"])
    fields: list[Any] = [started_us, *_BLANK[1:]]
    details: dict[str, object] = {}
    unread: list[str] = []
    _read_part(record.get("attributes"), _ATTRIBUTES, fields, details, unread)
    _read_part(record.get("metadata"), _METADATA, fields, details, unread)
    if (cost := record.get("cost_usd")) is not None:
        fields[_COST] = cost_usd(cost)
        if fields[_COST] is None:
            unread.append("cost_usd")
    fields[_KEY] = identity(record.get("litellm_call_id"), record.get("id"))
    fields[_CALL_ID] = text(record.get("litellm_call_id"))
    fields[_TOKENS_IN:_PAST_TOKENS] = reported(usage, fields[_MODEL])
    fields[_PROVIDER] = fields[_PROVIDER] or provider_of(fields[_MODEL])
    fields[_STATUS] = fields[_STATUS] or _outcome(
        fields[_STATUS_CODE], has_error="error_class" in details
    )
    fields[_CACHE_HIT] = fields[_CACHE_HIT] is True
    fields[_DETAILS] = _json_of(details) if details else None
    fields[_ANOMALIES] = (*anomalies, *unread) if unread else anomalies
    return Trace._make(fields)


def _read_part(
    part: object,
    table: dict[str, tuple[int, _Reader]],
    fields: list[Any],
    details: dict[str, object],
    unread: list[str],
) -> None:
    """Reads what this part of the line has; notes what was sent and could not be read."""
    if type(part) is not dict:
        return
    for name, value in part.items():
        entry = table.get(name)
        if entry is None or value is None:
            continue
        index, read = entry
        known = read(value)
        if known is None:
            if value not in ("", []):
                unread.append(name if index < 0 else Trace._fields[index])
        elif index < 0:
            details[name] = known
        else:
            fields[index] = known
