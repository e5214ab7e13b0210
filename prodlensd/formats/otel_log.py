"""A log record of OTLP/JSON: the events that Claude Code and Codex send of their calls.

Claude Code says all of a call in one event: `api_request`, or `api_error` when it failed. Codex
says the tokens, or what went wrong, at the end of the answer (`sse_event` of the kind
`response.completed`, over a WebSocket too), and nothing of them in its `api_request`, which is a
call only when it failed. Seen of Claude Code 2.1.197 and Codex 0.171.0: tests/data/otlp.jsonl.

Every other event of the two is no call, and so is a record of any other program, unless it counts
tokens: that may be a call which nobody here understands.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

from prodlensd.formats.fields import (
    details,
    epoch_us,
    epoch_us_of_nanos,
    identity,
    integer,
    number,
    provider,
    provider_of,
    session_id,
    text,
    unread,
    word,
)
from prodlensd.formats.otel_attributes import dict_of, scalar
from prodlensd.formats.otel_names import REPO
from prodlensd.formats.usage import modified, of_call, read_usage
from prodlensd.model import BadLine, NotACall, Trace, bill_json, repo_slug

_TIMES: Final = frozenset({"timeUnixNano", "observedTimeUnixNano"})
_CONTENT: Final = frozenset({"body", "attributes"})
_OK: Final = range(200, 300)
_US_PER_MS: Final = 1000
#: What Claude Code adds to a model's name for itself: a context of a million tokens.
_CLAUDE_CONTEXT: Final = "[1m]"
_OPENAI_MODEL: Final = re.compile(r"(?:gpt-(?!oss)|codex-|o[0-9])")
#: Where it is not said who sold the call, the name of the model says it. This attribute says it;
#: `OTEL_RESOURCE_ATTRIBUTES` sets it, as it does the others of the resource.
_PROVIDER: Final = "gen_ai.provider.name"
_TEAM: Final = "team.id"

#: A count of theirs → its place in the usage object of the provider; () for none.
_Places = dict[str, tuple[str, ...]]
_CLAUDE_USAGE: Final[_Places] = {
    "input_tokens": ("input_tokens",),
    "output_tokens": ("output_tokens",),
    "cache_read_tokens": ("cache_read_input_tokens",),
    "cache_creation_tokens": ("cache_creation_input_tokens",),
}
_CODEX_USAGE: Final[_Places] = {
    "input_token_count": ("input_tokens",),
    "output_token_count": ("output_tokens",),
    "cached_token_count": ("input_tokens_details", "cached_tokens"),
    "cache_write_token_count": ("input_tokens_details", "cache_write_tokens"),
    "reasoning_token_count": ("output_tokens_details", "reasoning_tokens"),
    "tool_token_count": (),  # the total, whatever its name says
}
#: A name that ends so is of a count: one that is not known is not passed over.
_COUNTS: Final = ("_tokens", "_token_count")

Attributes = dict[str, Any]


def parse(record: dict[str, Any]) -> Trace | None:
    """The trace of a log record that says what a call used; None when it is no log record.

    Raises NotACall for any other log record, and BadLine for a call that cannot be read.
    """
    if not (_TIMES & record.keys() and _CONTENT & record.keys()):
        return None
    resource = _flat(dict_of(record.get("resource")).get("attributes"))
    attributes = resource | _flat(record.get("attributes"))
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
    is_claude = text(attributes.get("service.name")) == "claude-code"
    return f"claude_code.{said}" if is_claude and said and "." not in said else said or ""


def _flat(listed: object) -> Attributes:
    """The attributes of the list, by name."""
    return {
        one["key"]: scalar(dict_of(one.get("value")))
        for one in (listed if type(listed) is list else ())
        if type(one) is dict and type(one.get("key")) is str
    }


def _usage(attributes: Attributes, places: _Places) -> dict[str, Any]:
    """The counts as an object of the provider; one that is not known keeps its own name."""
    usage: dict[str, Any] = {}
    for name, sent in attributes.items():
        count = sent if (whole := integer(sent)) is None else whole
        match places.get(name, (name,) if name.endswith(_COUNTS) else ()):
            case (outer, inner):
                usage.setdefault(outer, {})[inner] = count
            case (key,):
                usage[key] = count
    return usage


class _Call(NamedTuple):
    """What each of the two programs says in a way of its own; the session as it was sent."""

    key: str | None
    session: object
    model: str | None
    seller: str | None
    usage: dict[str, Any]
    status: str
    status_code: int | None


def _claude(record: dict[str, Any], attributes: Attributes, status: str) -> Trace:
    get = attributes.get
    session = session_id(get("session.id"))
    number_in_session = text(get("event.sequence"))
    model = text(get("model"))
    call = _Call(
        # The session is the second part: the one before the space is shown as the call's id.
        key=identity(get("request_id"), session)
        or identity(number_in_session and f"event-{number_in_session}", session),
        session=get("session.id"),
        model=model and model.removesuffix(_CLAUDE_CONTEXT),
        seller=_seller_of_claude(model or ""),
        usage=_usage(attributes, _CLAUDE_USAGE),
        status=status,
        status_code=integer(get("status_code")),
    )
    return _trace(record, attributes, call)


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
    if name == "codex.api_request":
        # Of a request that succeeded the end of its answer says more; a list is no answer.
        is_call = has_failed and get("endpoint") != "/models"
    else:
        # The end of an answer is told twice: as the provider's event, and then with its tokens or
        # with what went wrong.
        is_call = get("event.kind") == "response.completed" and (
            has_failed or ("input_token_count" in attributes and not _is_warm_up(attributes))
        )
    if not is_call:
        raise NotACall
    moment = text(record.get("observedTimeUnixNano"))
    model = text(get("model"))
    call = _Call(
        key=identity(moment and f"event-{moment}", session_id(get("conversation.id"))),
        session=get("conversation.id"),
        model=model,
        seller="openai" if model and _OPENAI_MODEL.match(model) else None,
        usage=_usage(attributes, _CODEX_USAGE),
        status="failure" if has_failed else "success",
        status_code=code,
    )
    return _trace(record, attributes, call)


def _is_warm_up(attributes: Attributes) -> bool:
    """Whether it is what Codex sends over a new WebSocket before the first call: nothing at all."""
    counts = [integer(attributes.get(name)) for name in _CODEX_USAGE]
    return "ttft_ms" not in attributes and not any(counts)


def _trace(record: dict[str, Any], attributes: Attributes, call: _Call) -> Trace:
    get = attributes.get
    started_us, latency_ms = _times(record, attributes)
    session = session_id(call.session)
    sold_by = provider(get(_PROVIDER)) or provider_of(call.model) or call.seller
    sent_user, sent_repo = get("user.email"), get(REPO)
    developer, repo = text(sent_user), repo_slug(sent_repo)
    reading = read_usage(call.usage or None, sold_by, "chat")
    tokens, bill, tier, anomalies = of_call(reading, call.model, call.status)
    bill = modified(bill, speed=word(get("speed")))
    return Trace(
        started_us,
        call.key,
        None,
        session,
        "event" if session else None,
        developer,
        "metadata" if developer else None,
        repo,
        call.model,
        sold_by,
        "chat",
        *tokens,
        latency_ms,
        None,
        call.status,
        call.status_code,
        cache_hit=False,
        service_tier=tier,
        end_user=None,
        tags=None,
        accepted=None,
        diff_ratio=None,
        accepted_lines=None,
        details=details(team=text(get(_TEAM))),
        # Claude Code's `cost_usd` is its own estimate, at prices that the event does not name.
        gateway_nanousd=None,
        bill=bill_json(bill),
        anomalies=anomalies
        + unread(
            session_id=(call.session, session),
            developer_id=(sent_user, developer),
            model=(get("model"), call.model),
            repo_slug=(sent_repo, repo),
            latency_ms=(get("duration_ms"), latency_ms),
        ),
    )


def _times(record: dict[str, Any], attributes: Attributes) -> tuple[int, float | None]:
    """When the call began, and how long it took in milliseconds if that is said. Raises BadLine.

    The event was at the end of the call; without a length, that is all there is to say.
    """
    ended_us = _ended_us(record, attributes)
    latency_ms = number(attributes.get("duration_ms"))
    if latency_ms is None or latency_ms * _US_PER_MS > ended_us:
        return ended_us, None
    return ended_us - round(latency_ms * _US_PER_MS), latency_ms


def _ended_us(record: dict[str, Any], attributes: Attributes) -> int:
    if (at_us := epoch_us(text(attributes.get("event.timestamp")))) is not None:
        return at_us
    for name in ("timeUnixNano", "observedTimeUnixNano"):
        if at_us := epoch_us_of_nanos(record.get(name)):  # 0 is an unknown time
            return at_us
    raise BadLine("bad_timestamp", "time of a log record: expected nanoseconds")
