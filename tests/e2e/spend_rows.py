"""Rows of LiteLLM's spend logs, made by LiteLLM itself: run by the Python of its environment.

Reads payload lines on stdin and writes for each the row that `get_logging_payload` makes, as the
writer to the database gets it: times in ISO 8601, `metadata` and `request_tags` as JSON in a text.
What the proxy hands over beside the payload (kwargs, the response) is put together from the payload
alone, as the proxy's hooks do it. The database keeps milliseconds.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any


def row_of(payload: dict[str, Any]) -> dict[str, Any]:
    """The row that LiteLLM writes of the call that it logged so."""
    from litellm.proxy.spend_tracking.spend_tracking_utils import get_logging_payload

    about = payload["metadata"]
    metadata = {
        **{name: value for name, value in about.items() if name.startswith("user_api_key_")},
        "user_api_key": about.get("user_api_key_hash"),
        "spend_logs_metadata": about.get("spend_logs_metadata"),
        "requester_ip_address": about.get("requester_ip_address"),
        "model_group": payload.get("model_group"),
        "model_info": {"id": payload.get("model_id")},
        "tags": payload.get("request_tags"),
    }
    usage = about.get("usage_object") or {}
    response: Any = {"id": payload["id"], "usage": usage} if usage else {"id": payload["id"]}
    if payload["status"] == "failure":
        metadata |= {"status": "failure", "error_information": payload["error_information"]}
        response = {}
    kwargs = {
        "litellm_call_id": payload.get("litellm_call_id") or payload["id"],
        "call_type": payload["call_type"],
        "model": payload["model"].rpartition("/")[2],
        "custom_llm_provider": payload.get("custom_llm_provider"),
        "response_cost": payload["response_cost"],
        "cache_hit": payload["cache_hit"] or False,
        "completion_start_time": moment(payload["completionStartTime"]),
        "litellm_params": {"metadata": metadata, "api_base": payload.get("api_base") or ""},
        "standard_logging_object": payload,
    }
    if payload["cache_hit"]:  # each of the two gives the response's id a time of its own
        response["id"] = payload["id"].partition("_cache_hit")[0]
    started, ended = moment(payload["startTime"]), moment(payload["endTime"])
    return dict(get_logging_payload(kwargs, response, started, ended))


def moment(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)


def stored(value: datetime) -> str:
    """A time as the database keeps it."""
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def main() -> None:
    import litellm
    from litellm.proxy.utils import jsonify_object

    litellm.suppress_debug_info = True
    for line in sys.stdin:
        row = jsonify_object(row_of(json.loads(line)))
        sys.stdout.write(json.dumps(row, default=stored) + "\n")


if __name__ == "__main__":
    main()
