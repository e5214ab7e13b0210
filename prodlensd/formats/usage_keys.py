"""Every key of a usage object that is known, and what its value is: one table.

What is not in it, and is not zero or empty, is not understood: the call then has no table price.
To add a key, write it where it stands in the record, with what it is and who says so.

A value of the table is the object of the keys below, or a text:

    a count     a field of `Usage`, or one of the counts of the shapes (`prompt`, `native_in`, …)
    unit:NAME   a unit of the bill: part of the tokens, or paid by use
    word:NAME   a modifier of the price
    money:NAME  what the provider says it charged
    list:NAME   a list that `usage` reads item by item
    nothing     known, and the price does not depend on it: durations, totals and parts that other
                counts say again, or uses that the provider says are free
"""

from __future__ import annotations

from typing import Any, Final

Keys = dict[str, Any]

NOTHING: Final = "nothing"
_SEARCHES: Final = "unit:web_search_requests"

#: LiteLLM 1.110.2, types/utils.py: CacheCreationTokenDetails; platform.claude.com, prompt caching.
_WRITES_BY_LIFETIME: Final[Keys] = {
    "ephemeral_5m_input_tokens": "write_5m",
    "ephemeral_30m_input_tokens": "unit:cache_write_30m_tokens",
    "ephemeral_1h_input_tokens": "cache_write_1h_tokens",
    "ephemeral_12h_input_tokens": "unit:cache_write_12h_tokens",
}
_CACHED: Final[Keys] = {  # platform.openai.com/docs/api-reference/realtime
    "text_tokens": NOTHING,
    "audio_tokens": "unit:audio_cache_read_tokens",
    "image_tokens": "unit:image_cache_read_tokens",
}
#: OpenAI's prompt_tokens_details and what LiteLLM (PromptTokensDetailsWrapper), xAI and OpenRouter
#: add to it.
_INPUT: Final[Keys] = {
    "cached_tokens": "cache_read_tokens",
    "cached_tokens_details": _CACHED,
    "cache_creation_tokens": "cache_write_tokens",
    "cache_write_tokens": "cache_write_tokens",
    "cache_creation_input_tokens": "cache_write_tokens",
    "cache_creation_token_details": _WRITES_BY_LIFETIME,
    "cache_type": NOTHING,  # DashScope: how the cache was asked for; its tokens are counted
    "text_tokens": NOTHING,
    "audio_tokens": "audio_in_tokens",
    "image_tokens": "unit:image_in_tokens",
    "video_tokens": "unit:video_in_tokens",
    "tool_use_tokens": NOTHING,  # a part of the prompt
    "initial_prompt_tokens": "context",
    "web_search_requests": _SEARCHES,
    "google_maps_grounding_requests": "unit:maps_grounding_requests",
    "character_count": "unit:characters",
    "image_count": "unit:images",
    "video_length_seconds": "unit:video_seconds",
    "audio_length_seconds": "unit:audio_seconds",
    "query_count": "unit:requests",
}
_OUTPUT: Final[Keys] = {
    "reasoning_tokens": "reasoning_tokens",
    "thinking_tokens": "reasoning_tokens",
    "text_tokens": "text_out",
    "audio_tokens": "audio_out_tokens",
    "image_tokens": "unit:image_out_tokens",
    "video_tokens": "unit:video_out_tokens",
    # parts of the completion, at its price (platform.openai.com/docs/guides/predicted-outputs)
    "accepted_prediction_tokens": NOTHING,
    "rejected_prediction_tokens": NOTHING,
}
#: What Anthropic's and LiteLLM's `server_tool_use` counts. A fetch and a search for tools cost
#: their tokens alone (platform.claude.com/docs/en/agents-and-tools/tool-use/web-fetch-tool).
_SERVER_TOOLS: Final[Keys] = {
    "web_search_requests": _SEARCHES,
    "web_fetch_requests": NOTHING,
    "tool_search_requests": NOTHING,
    "code_execution_requests": "unit:code_execution_requests",
    "browser_open_requests": "unit:browser_open_requests",
}
#: docs.x.ai, tools: calls are paid by use, but for MCP.
_XAI_TOOLS: Final[Keys] = {
    "web_search_calls": _SEARCHES,
    "x_search_calls": "unit:x_search_requests",
    "code_interpreter_calls": "unit:code_execution_requests",
    "file_search_calls": "unit:file_search_requests",
    "document_search_calls": "unit:file_search_requests",
    "collections_search_calls": "unit:file_search_requests",
    "mcp_calls": NOTHING,
}

#: ai.google.dev/api/generate-content#UsageMetadata; its SDKs write the same in snake case.
_GEMINI: Final[Keys] = {
    "promptTokenCount": "gemini_in",
    "candidatesTokenCount": "gemini_out",
    "responseTokenCount": "gemini_out",  # the Live API's name
    "totalTokenCount": "gemini_total",
    "thoughtsTokenCount": "gemini_thoughts",
    "toolUsePromptTokenCount": "gemini_tools",
    "cachedContentTokenCount": "cache_read_tokens",
    "promptTokensDetails": "list:modalities_in",
    "toolUsePromptTokensDetails": "list:modalities_in",
    "candidatesTokensDetails": "list:modalities_out",
    "responseTokensDetails": "list:modalities_out",
    "cacheTokensDetails": "list:modalities_cached",
    "trafficType": "word:traffic_type",
    "serviceTier": "word:service_tier",
}


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


#: Beside the usage object's shape of OpenAI: what each provider adds.
_ADDED: Final[Keys] = {
    # Anthropic, and LiteLLM's copy of it
    "cache_read_input_tokens": "beside_read",
    "cache_creation_input_tokens": "beside_write",
    "cache_creation": _WRITES_BY_LIFETIME,
    "server_tool_use": _SERVER_TOOLS,
    "service_tier": "word:service_tier",
    "speed": "word:speed",
    "inference_geo": "word:inference_geo",
    "iterations": "list:iterations",
    # DeepSeek; Moonshot
    "prompt_cache_hit_tokens": "beside_read",
    "prompt_cache_miss_tokens": NOTHING,
    "cached_tokens": "beside_read",
    # xAI, with the sources of its live search (docs.x.ai/docs/guides/live-search)
    "cost_in_usd_ticks": "money:ticks",
    "num_sources_used": "unit:sources",
    "num_server_side_tools_used": NOTHING,
    "server_side_tool_usage_details": _XAI_TOOLS,
    # Perplexity: docs.perplexity.ai; its reasoning may stand beside the completion
    "reasoning_tokens": "reasoning_tokens",
    "citation_tokens": "unit:citation_tokens",
    "num_search_queries": "unit:search_queries",
    "search_context_size": "word:search_context_size",
    # OpenRouter, says its page on usage accounting, and DeepInfra
    "cost": "money:cost",
    "upstream_usage_cost": NOTHING,
    "is_byok": "money:is_byok",
    "cost_details": {
        "upstream_inference_cost": "money:upstream",
        "upstream_inference_prompt_cost": NOTHING,
        "upstream_inference_input_cost": NOTHING,
        "upstream_inference_completions_cost": NOTHING,
        "upstream_inference_output_cost": NOTHING,
    },
    "estimated_cost": "money:cost",
    # Groq: how long it took, in seconds
    **dict.fromkeys(("queue_time", "prompt_time", "completion_time", "total_time"), NOTHING),
    # Cohere; Mistral; OpenAI's transcriptions by the minute
    "billed_units": {
        "input_tokens": NOTHING,
        "output_tokens": NOTHING,
        "search_units": "unit:search_units",
        "classifications": "unit:classifications",
    },
    "search_units": "unit:search_units",
    "prompt_audio_seconds": "unit:audio_seconds",
    "seconds": "unit:audio_seconds",
    "type": NOTHING,
}

KEYS: Final[Keys] = {
    # OpenAI's chat, which LiteLLM writes for every provider
    "prompt_tokens": "prompt",
    "completion_tokens": "completion",
    "total_tokens": "total",
    "prompt_tokens_details": _INPUT,
    "completion_tokens_details": _OUTPUT,
    # OpenAI's Responses, audio and image endpoints (singular), and Anthropic
    "input_tokens": "native_in",
    "output_tokens": "native_out",
    "input_tokens_details": _INPUT,
    "output_tokens_details": _OUTPUT,
    "input_token_details": _INPUT,
    "output_token_details": _OUTPUT,
    **_GEMINI,
    **{_snake(name): role for name, role in _GEMINI.items() if name != "promptTokensDetails"},
    # docs.aws.amazon.com/bedrock: TokenUsage of Converse
    "inputTokens": "bedrock_in",
    "outputTokens": "bedrock_out",
    "totalTokens": "total",
    "cacheReadInputTokens": "cache_read_tokens",
    "cacheReadInputTokenCount": "cache_read_tokens",
    "cacheWriteInputTokens": "cache_write_tokens",
    "cacheWriteInputTokenCount": "cache_write_tokens",
    "cacheDetails": "list:lifetimes",
    **_ADDED,
}

#: Keys of objects that Gemini's SDKs give to lists.
LISTS: Final[Keys] = {"prompt_tokens_details": "list:modalities_in"}

#: Of each modifier, the values (in lower case) that mean the standard price.
STANDARD: Final = {
    "service_tier": frozenset({"standard", "default", "auto", "on_demand"}),
    "speed": frozenset({"standard", "normal", "default"}),
    "inference_geo": frozenset({"not_available", "global", "default"}),
    "traffic_type": frozenset({"on_demand", "traffic_type_unspecified"}),
}
#: Google's traffic types that are its service tiers.
TIER_OF_TRAFFIC: Final = {"on_demand_flex": "flex", "on_demand_priority": "priority"}

#: Providers that charge what they say under `cost`. Beside the usage of others LiteLLM writes there
#: what it computed itself (litellm 1.110.2, core_helpers.py: stamp_litellm_bill_on_usage).
STATE_THEIR_COST: Final = frozenset({"openrouter", "perplexity", "deepinfra", "vercel_ai_gateway"})

#: LiteLLM's calls whose output is no text, where the usage does not say what it is → the count.
OUTPUT_OF_CALL: Final = {
    f"{prefix}{call_type}": count
    for prefix in ("", "a")
    for call_type, count in {
        **dict.fromkeys(
            ("image_generation", "image_edit", "image_variation"), "unit:image_out_tokens"
        ),
        "speech": "audio_out_tokens",
    }.items()
}

#: Gemini's modality → the unit, of the input, of the output, and of what was read from the cache.
MODALITIES: Final[dict[str, dict[str, str]]] = {
    "modalities_in": {
        "TEXT": NOTHING,
        "AUDIO": "audio_in_tokens",
        "IMAGE": "unit:image_in_tokens",
        "VIDEO": "unit:video_in_tokens",
        "DOCUMENT": "unit:document_in_tokens",
    },
    "modalities_out": {
        "TEXT": NOTHING,
        "AUDIO": "audio_out_tokens",
        "IMAGE": "unit:image_out_tokens",
        "VIDEO": "unit:video_out_tokens",
    },
    "modalities_cached": {
        "TEXT": NOTHING,
        "AUDIO": "unit:audio_cache_read_tokens",
        "IMAGE": "unit:image_cache_read_tokens",
        "VIDEO": "unit:video_cache_read_tokens",
        "DOCUMENT": "unit:document_cache_read_tokens",
    },
}
