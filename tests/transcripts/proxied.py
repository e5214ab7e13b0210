"""The line that our callback writes of a call that went through the proxy as well."""

from __future__ import annotations

import json
from typing import Any, Final

from tests.transcripts.calls import Call, iso

#: From the start of the request to the first line of its answer.
LATENCY_US: Final = 4_000_000
TEAM: Final = "core"


def proxied(call: Call, **more: Any) -> bytes:
    """A line of our callback's, with the response's own id, as LiteLLM has it since PR #39511."""
    usage = call.usage
    written = usage.cache_write - usage.cache_write_1h
    prompt = {
        "cached_tokens": usage.cache_read,
        "cache_creation_tokens": usage.cache_write,
        "cache_creation_token_details": {
            "ephemeral_5m_input_tokens": written,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        },
    }
    maker, call_type = ("anthropic", "anthropic_messages")
    if not call.id.startswith("msg_"):
        maker, call_type = ("openai", "aresponses")
    record = {
        "timestamp": iso(call.first_us - LATENCY_US),
        "id": call.id,
        "litellm_call_id": f"call-{call.id}",
        "attributes": {
            "llm.model_name": f"{maker}/{call.model}",
            "provider": maker,
            "call_type": call_type,
            "status": "success",
            "status_code": 200,
            "latency_ms": LATENCY_US / 1000,
        },
        "usage": {
            "prompt_tokens": usage.tokens_in,
            "completion_tokens": usage.tokens_out,
            "total_tokens": usage.total,
            "prompt_tokens_details": prompt,
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
            "server_tool_use": {"web_search_requests": call.searches},
        },
        "metadata": {"session_id": call.session_id, "developer_id": "dev@acme.example"},
    }
    return json.dumps(record | more).encode() + b"\n"
