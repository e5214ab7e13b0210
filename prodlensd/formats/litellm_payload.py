"""LiteLLM's own `StandardLoggingPayload`, one object a line, as versions 1.80 and 1.106 write it.

Of its 13 kB, ten are prompt, completion and price map. A typed decoder skips those, which is three
times as fast as decoding everything.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from prodlensd.formats.fields import (
    details,
    epoch_us,
    flag,
    identity,
    integer,
    key_hash,
    nanousd,
    provider,
    provider_of,
    region_of,
    session_id,
    session_of_user,
    tags,
    text,
    unread,
)
from prodlensd.formats.usage import COARSE_USAGE, Reading, modified, of_call, read_usage
from prodlensd.formats.usage_usual import read_usual
from prodlensd.model import BadLine, Trace, Usage, bill_json, repo_slug


class _Payload(msgspec.Struct, gc=False):
    """The fields that are read. Of an unexpected type, a field is lost and not the line."""

    startTime: Any = None  # noqa: N815
    endTime: Any = None  # noqa: N815
    completionStartTime: Any = None  # noqa: N815
    id: Any = None
    litellm_call_id: Any = None
    trace_id: Any = None
    session_id: Any = None
    call_type: Any = None
    status: Any = None
    stream: Any = None
    cache_hit: Any = None
    model: Any = None
    model_group: Any = None
    api_base: Any = None
    custom_llm_provider: Any = None
    response_cost: Any = None
    prompt_tokens: Any = None
    completion_tokens: Any = None
    total_tokens: Any = None
    end_user: Any = None
    request_tags: Any = None
    error_information: Any = None
    metadata: Any = None
    request_id: Any = None  # of a row of the spend logs


_DECODER: Final = msgspec.json.Decoder(_Payload)
_FIELDS: Final = _Payload.__struct_fields__
_NOTHING: Final[dict[str, Any]] = {}
_CLIENT_CLOSED_REQUEST: Final = 499
_OK: Final = 200
_VENDOR_SESSION_HEADER: Final = re.compile(r"x-.+-session-id\Z")
_REPO_NAMES: Final = ("repo", "repository", "repo_slug")
_VENDOR_SESSION: Final = re.compile(r"[A-Za-z0-9_-]{8,}\Z")


def parse_strict(line: bytes) -> Trace | None:
    """The trace of a payload in strict JSON, as `parse` reads it; None for any other line."""
    try:
        payload = _DECODER.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return None
    return _trace(payload)


def parse(record: dict[str, Any]) -> Trace | None:
    """The trace of a payload; None for an object that lacks a payload's status and call type."""
    return _trace(_Payload(**{name: record[name] for name in _FIELDS if name in record}))


def _trace(payload: _Payload) -> Trace | None:
    if payload.status not in ("success", "failure") or payload.call_type is None:
        return None
    if payload.request_id is not None:
        return None
    started_us = epoch_us(payload.startTime)
    if started_us is None:
        raise BadLine("bad_timestamp", "startTime: expected epoch seconds")
    about = _dict(payload.metadata)
    model = text(payload.model)
    sold_by = provider(payload.custom_llm_provider) or provider_of(model)
    reading = _usage(payload, about, sold_by, model)
    usage, bill, tier, anomalies = reading
    bill = modified(bill, region=region_of(payload.api_base))
    headers = _headers(about)
    session, session_via = _session(payload, about, headers)
    developer, developer_via = _developer(about, headers)
    repo_sent = _repo(payload, about, headers)
    repo = repo_slug(repo_sent)
    cost = nanousd(payload.response_cost)
    anomalies += unread(repo_slug=(repo_sent, repo), cost_usd=(payload.response_cost, cost))
    key = identity(payload.litellm_call_id, payload.id)
    return Trace(
        started_us,
        key,
        None if key else text(payload.litellm_call_id),
        session,
        session_via,
        developer,
        developer_via,
        repo,
        model,
        sold_by,
        text(payload.call_type),
        *usage,
        _since(started_us, payload.endTime),
        _since(started_us, payload.completionStartTime) if payload.stream is True else None,
        payload.status,
        _status_code(payload),
        payload.cache_hit is True,
        tier,
        text(payload.end_user) or text(about.get("user_api_key_end_user_id")),
        tags(payload.request_tags),
        accepted=None,
        diff_ratio=None,
        accepted_lines=None,
        details=details(
            error_class=text(_dict(payload.error_information).get("error_class")),
            stream=flag(payload.stream),
            model_group=text(payload.model_group),
            team=text(about.get("user_api_key_team_alias"))
            or text(about.get("user_api_key_team_id")),
            key_alias=text(about.get("user_api_key_alias")),
            key_hash=key_hash(about.get("user_api_key_hash")),
        ),
        gateway_nanousd=cost,
        bill=bill_json(bill),
        anomalies=anomalies,
    )


def _dict(value: object) -> dict[str, Any]:
    return value if type(value) is dict else _NOTHING


def _usage(
    payload: _Payload, about: dict[str, Any], sold_by: str | None, model: str | None
) -> Reading:
    """What the usage object says, which has cached ones apart; else the totals beside it."""
    call_type = text(payload.call_type)
    if usage_object := _dict(about.get("usage_object")):
        usual = read_usual(usage_object, sold_by, call_type, model)
        if usual is not None:
            return usual
        return of_call(read_usage(usage_object, sold_by, call_type), model, payload.status)
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    totals = {name: getattr(payload, name) for name in names}
    reading = read_usage(totals, sold_by, call_type)
    if not reading.usage.tokens_in and not reading.usage.tokens_out:
        # A rejected call logs zeros where nothing is known.
        return reading._replace(usage=Usage())
    reading = reading._replace(anomalies=(*reading.anomalies, COARSE_USAGE))
    return of_call(reading, model, payload.status)


def _since(started_us: int, moment: object) -> float | None:
    """Milliseconds from the start to `moment`.

    For Anthropic streams LiteLLM 1.106 logs a start that is late by the whole wait for the first
    byte. A payload does not hold the true start; our callback logs it.
    """
    moment_us = epoch_us(moment)
    return None if moment_us is None or moment_us < started_us else (moment_us - started_us) / 1000


def _status_code(payload: _Payload) -> int | None:
    """HTTP status. LiteLLM logs none for a success, except 499 when the client disconnected."""
    code = integer(_dict(payload.error_information).get("error_code"))
    if payload.status == "success":
        return _CLIENT_CLOSED_REQUEST if code == _CLIENT_CLOSED_REQUEST else _OK
    return code


def _headers(about: dict[str, Any]) -> dict[str, str]:
    """The request's headers as far as LiteLLM logs them (x-…), with names in lower case."""
    sent = _dict(about.get("requester_custom_headers"))
    return {str(name).lower(): value for name, value in sent.items() if type(value) is str}


def _session(
    payload: _Payload, about: dict[str, Any], headers: dict[str, str]
) -> tuple[str | None, str | None]:
    """The session and where it was named; LiteLLM's trace id where nothing else names one."""
    if name := session_id(payload.session_id):
        return name, "gateway"
    if name := _session_of_headers(headers):
        return name, "header"
    requester = _dict(about.get("requester_metadata"))
    if name := session_id(requester.get("session_id")):
        return name, "metadata"
    for user in (requester.get("user_id"), payload.end_user, about.get("user_api_key_end_user_id")):
        if name := session_of_user(user):
            return name, "user_id"
    if name := session_id(payload.trace_id):
        return name, "trace_id"
    return None, None


def _session_of_headers(headers: dict[str, str]) -> str | None:
    for name in ("x-litellm-trace-id", "x-litellm-session-id"):
        if found := session_id(headers.get(name)):
            return found
    for name, value in headers.items():
        vendor = _VENDOR_SESSION_HEADER.match(name) and name != "x-litellm-session-id"
        if vendor and _VENDOR_SESSION.match(value):
            return session_id(value)
    return session_id(headers.get("x-session-id"))


def _developer(about: dict[str, Any], headers: dict[str, str]) -> tuple[str | None, str | None]:
    """The developer and how it is known: a name that the proxy verified, else the client's claim.

    With `user_header_mappings` LiteLLM takes the user of the key from a request header. So a name
    that a header also holds is a claim, as in our callback.
    """
    for via, key in (
        ("key_user", "user_api_key_user_id"),
        ("key_email", "user_api_key_user_email"),
    ):
        name = text(about.get(key))
        if name and name != "default_user_id":  # the name of everyone who has the master key
            is_claim = name in map(str.strip, headers.values())
            return name, "header" if is_claim else via
    if claim := text(_dict(about.get("requester_metadata")).get("developer_id")):
        return claim, "metadata"
    if claim := text(headers.get("x-prodlens-developer")):
        return claim, "header"
    return None, None


def _repo(payload: _Payload, about: dict[str, Any], headers: dict[str, str]) -> object:
    """The repository as sent; of several, the one that was sent most deliberately."""
    if (sent := _named_repo(about.get("requester_metadata"))) is not None:
        return sent
    if header := headers.get("x-prodlens-repo"):
        return header
    if sent := _named_repo(about.get("spend_logs_metadata")):
        return sent
    for tag in payload.request_tags if type(payload.request_tags) is list else ():
        if type(tag) is str and tag.startswith("repo:"):
            return tag.removeprefix("repo:")
    return _named_repo(about.get("user_api_key_auth_metadata"))


def _named_repo(place: object) -> object:
    named = _dict(place)
    return next((named[name] for name in _REPO_NAMES if named.get(name) is not None), None)
