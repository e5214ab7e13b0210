"""A log record of OTLP/JSON: the events that Claude Code and Codex send of their calls.

Claude Code says all of a call in one event: `api_request`, or `api_error` when it failed. Codex
says the tokens when the answer is complete (`sse_event` of the kind `response.completed`), and
nothing of them in its `api_request`, which is a call only when it failed.

Every other event of the two is no call, and so is a record of any other program, unless it counts
tokens: that may be a call which nobody here understands.
"""

from __future__ import annotations

from typing import Any, Final

from prodlensd.formats.fields import (
    epoch_us,
    identity,
    integer,
    number,
    provider_of,
    repo_slug,
    session_id,
    text,
    unread,
    word,
)
from prodlensd.formats.otel_attributes import dict_of, scalar
from prodlensd.formats.otel_names import REPO
from prodlensd.formats.usage import modified, of_call, read_usage
from prodlensd.model import BadLine, NotACall, Trace, bill_json

_TIMES: Final = frozenset({"timeUnixNano", "observedTimeUnixNano"})
_CONTENT: Final = frozenset({"body", "attributes"})
_OK: Final = range(200, 300)
_US_PER_MS: Final = 1000
#: Their names of counts → those of the provider whose usage object it was.
_CLAUDE_USAGE: Final = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_input_tokens",
    "cache_creation_tokens": "cache_creation_input_tokens",
}
_CODEX_USAGE: Final = {
    "input_token_count": ("input_tokens", None),
    "output_token_count": ("output_tokens", None),
    "cached_token_count": ("input_tokens_details", "cached_tokens"),
    "reasoning_token_count": ("output_tokens_details", "reasoning_tokens"),
}

Attributes = dict[str, Any]


def parse(record: dict[str, Any]) -> Trace | None:
    """The trace of a log record that says what a call used; None when it is no log record.

    Raises NotACall for any other log record, and BadLine for a call that cannot be read.
    """
    if not (_TIMES & record.keys() and _CONTENT & record.keys()):
        return None
    attributes = _flat(record.get("attributes"))
    name = _name(record, attributes)
    if name == "claude_code.api_request":
        return _claude(record, attributes, "success")
    if name == "claude_code.api_error":
        return _claude(record, attributes, "failure")
    if name in ("codex.sse_event", "codex.api_request"):
        return _codex(record, attributes, name)
    if not name.startswith(("claude_code.", "codex.")) and any(
        "token" in key for key in attributes
    ):
        raise BadLine("unknown_format", "a log record that counts tokens, of a program not known")
    raise NotACall


def _name(record: dict[str, Any], attributes: Attributes) -> str:
    """The event's full name; Claude Code's attribute has it without its own."""
    said = text(attributes.get("event.name")) or text(record.get("eventName"))
    body = text(dict_of(record.get("body")).get("stringValue"))
    if body and body.startswith(("claude_code.", "codex.")):
        return body
    service = text(_flat(dict_of(record.get("resource")).get("attributes")).get("service.name"))
    prefix = "claude_code." if service == "claude-code" and said and "." not in said else ""
    return prefix + (said or "")


def _flat(listed: object) -> Attributes:
    """The attributes of the list, by name."""
    return {
        one["key"]: scalar(dict_of(one.get("value")))
        for one in (listed if type(listed) is list else ())
        if type(one) is dict and type(one.get("key")) is str
    }


def _claude(record: dict[str, Any], attributes: Attributes, status: str) -> Trace:
    get = attributes.get
    usage = {theirs: get(ours) for ours, theirs in _CLAUDE_USAGE.items() if ours in attributes}
    session = session_id(get("session.id"))
    number_in_session = text(get("event.sequence"))
    return _trace(
        record,
        attributes,
        # The session is the second part: the one before the space is shown as the call's id.
        key=identity(get("request_id"), session)
        or identity(number_in_session and f"event-{number_in_session}", session),
        session=session,
        seller=_seller_of_claude(text(get("model")) or ""),
        usage=usage,
        status=status,
        status_code=integer(get("status_code")),
    )


def _seller_of_claude(model: str) -> str | None:
    """Anthropic's resellers name its models in ways of their own."""
    if "anthropic." in model:
        return "bedrock"
    if model.startswith("claude-"):
        return "vertex_ai" if "@" in model else "anthropic"
    return None


def _codex(record: dict[str, Any], attributes: Attributes, name: str) -> Trace:
    get = attributes.get
    code = integer(get("http.response.status_code"))
    has_failed = "error.message" in attributes or (code is not None and code not in _OK)
    is_answer = get("event.kind") == "response.completed" and "input_token_count" in attributes
    # Parts of an answer are no call, and of a call that succeeded the answer says more.
    if not (is_answer if name == "codex.sse_event" else has_failed):
        raise NotACall
    usage: dict[str, Any] = {}
    for ours, (theirs, part) in _CODEX_USAGE.items():
        if (count := get(ours)) is not None:
            usage[theirs] = {part: count} if part else count
    return _trace(
        record,
        attributes,
        key=None,
        session=session_id(get("conversation.id")),
        seller="openai",
        usage=usage,
        status="success" if is_answer else "failure",
        status_code=code,
    )


def _trace(
    record: dict[str, Any],
    attributes: Attributes,
    *,
    key: str | None,
    session: str | None,
    seller: str | None,
    usage: dict[str, Any],
    status: str,
    status_code: int | None,
) -> Trace:
    get = attributes.get
    ended_us = _ended_us(record, attributes)
    latency_ms = number(get("duration_ms"))
    model = text(get("model"))
    sold_by = provider_of(model) or seller
    about = _flat(dict_of(record.get("resource")).get("attributes"))
    sent_repo = get(REPO) or about.get(REPO)
    developer, repo = text(get("user.email")), repo_slug(sent_repo)
    reading = of_call(read_usage(usage or None, sold_by, "chat"), model, status)
    tokens, bill, tier, anomalies = reading
    bill = modified(bill, speed=word(get("speed")))
    return Trace(
        ended_us - round((latency_ms or 0) * _US_PER_MS),
        key,
        None,
        session,
        "event" if session else None,
        developer,
        "metadata" if developer else None,
        repo,
        model,
        sold_by,
        "chat",
        *tokens,
        latency_ms,
        None,
        status,
        status_code,
        cache_hit=False,
        service_tier=tier,
        end_user=None,
        tags=None,
        accepted=None,
        diff_ratio=None,
        accepted_lines=None,
        details=None,
        # Claude Code's `cost_usd` is its own estimate, at prices that the event does not name.
        gateway_nanousd=None,
        bill=bill_json(bill),
        anomalies=anomalies + unread(model=(get("model"), model), repo_slug=(sent_repo, repo)),
    )


def _ended_us(record: dict[str, Any], attributes: Attributes) -> int:
    """When the event was: at the end of the call. Raises BadLine."""
    if (at_us := epoch_us(text(attributes.get("event.timestamp")))) is not None:
        return at_us
    for name in ("timeUnixNano", "observedTimeUnixNano"):
        if nanos := integer(record.get(name)):  # 0 is an unknown time
            return nanos // 1000
    raise BadLine("bad_timestamp", "time of a log record: expected nanoseconds")
