"""A row of LiteLLM's spend logs (the table `LiteLLM_SpendLogs`), one JSON object.

As its API gives it and as Postgres exports it; from a CSV file, every value is a text. A row says
what a payload says (see `litellm_payload`), in other words: it is brought into a payload's, so that
both are read by the same rules. What was said (`messages`, `response`, `proxy_server_request`) is
never looked at.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from prodlensd.formats import litellm_payload
from prodlensd.formats.fields import epoch_us, integer, row_identity, text
from prodlensd.model import BadLine, Trace

_TOTALS: Final = ("prompt_tokens", "completion_tokens", "total_tokens")
_SAME: Final = (
    *("startTime", "endTime", "completionStartTime", "call_type", "model", "model_group"),
    *("api_base", "custom_llm_provider", "end_user", *_TOTALS),
)
#: The metadata of a row that a payload has under the same name.
_ABOUT: Final = (
    *("user_api_key_alias", "user_api_key_team_alias", "user_api_key_user_email"),
    *("user_api_key_end_user_id", "spend_logs_metadata"),
)


def parse(row: dict[str, Any]) -> Trace | None:
    """The trace of a row; None for an object that lacks a row's id, start and call type."""
    request_id = row.get("request_id")
    if type(request_id) is not str or not {"startTime", "call_type"} <= row.keys():
        return None
    if epoch_us(row["startTime"]) is None:
        raise BadLine("bad_timestamp", "startTime: expected ISO 8601, e.g. 2026-11-01T12:00:00Z")
    about = _object(row.get("metadata"))
    trace = litellm_payload.parse(_payload(row, about))
    if trace is None:
        return None
    call_id = text(row.get("litellm_call_id")) or text(about.get("litellm_call_id"))
    key = row_identity(request_id)
    return trace._replace(key=key, call_id=call_id or text(request_id))


def _payload(row: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
    """The payload that says the same. The ids are left out: they do not make a payload's key."""
    payload = {name: row.get(name) for name in _SAME}
    began, ended = epoch_us(payload["completionStartTime"]), epoch_us(payload["endTime"])
    return payload | {
        # The session, where LiteLLM knew of one; else its id of the trace, or one made up.
        "trace_id": row.get("session_id"),
        "status": _status(row, about),
        # Of what is no stream, LiteLLM notes the end of the answer as its beginning.
        "stream": True if began is not None and ended is not None and began < ended else None,
        "cache_hit": row.get("cache_hit") in ("True", "true", True),
        "response_cost": row.get("spend"),
        "request_tags": _list(row.get("request_tags")),
        "error_information": _object(about.get("error_information")),
        "metadata": {name: about.get(name) for name in _ABOUT}
        | {
            "user_api_key_hash": row.get("api_key") or about.get("user_api_key"),
            "user_api_key_user_id": row.get("user") or about.get("user_api_key_user_id"),
            "user_api_key_team_id": row.get("team_id") or about.get("user_api_key_team_id"),
            "usage_object": _usage(row, about),
        },
    }


def _status(row: dict[str, Any], about: dict[str, Any]) -> str:
    """The status: older versions note it in the metadata, and of failures only."""
    status = row.get("status") or about.get("status")
    return "failure" if status == "failure" else "success"


def _usage(row: dict[str, Any], about: dict[str, Any]) -> dict[str, Any] | None:
    """The usage object of the response; else the totals with what was counted beside them.

    A row that bills several attempts has totals of its own. None where nothing but totals is known.
    """
    totals = {name: integer(row.get(name)) for name in _TOTALS}
    usage = _object(about.get("usage_object"))
    if usage and all(usage.get(name) in (None, count) for name, count in totals.items()):
        return usage
    beside = _object(about.get("additional_usage_values"))
    return {**beside, **totals} if beside else None


def _object(value: object) -> dict[str, Any]:
    value = _decoded(value)
    return value if type(value) is dict else {}


def _list(value: object) -> list[Any]:
    value = _decoded(value)
    return value if type(value) is list else []


def _decoded(value: object) -> object:
    """The value, of JSON in a text, or of that in a text again."""
    for _ in range(2):
        if type(value) is not str:
            break
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return None
    return value
