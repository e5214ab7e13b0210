"""The documented trace line: what our LiteLLM callback writes, and anyone may (see the README).

Two tables say which key of a line becomes which field of a trace, and how its value is read. A line
is walked key by key, so that a short line costs little however many keys are known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson

from prodlensd.formats.decoding import decode
from prodlensd.formats.fields import (
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
from prodlensd.model import BadLine, Trace

_Reader = Callable[[object], object]
_HTTP_ERROR: Final = 400
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


def parse(line: bytes) -> Trace | None:
    """The trace of a trace line; None when the object has no `usage` and so is something else."""
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
    fields[_STATUS] = fields[_STATUS] or _outcome(fields[_STATUS_CODE], details)
    fields[_CACHE_HIT] = fields[_CACHE_HIT] is True
    fields[_DETAILS] = orjson.dumps(details).decode() if details else None
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


def _outcome(status_code: int | None, details: dict[str, object]) -> str:
    """A line that does not say is judged by its HTTP status, or else by its having an error."""
    if status_code is not None:
        return "failure" if status_code >= _HTTP_ERROR else "success"
    return "failure" if "error_class" in details else "success"
