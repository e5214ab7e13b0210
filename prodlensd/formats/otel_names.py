"""The names that instrumentations give to what a span says: tables only, a source with each.

Read in the source of these versions: opentelemetry-semantic-conventions 0.66b2, opentelemetry-util-
genai 1.3b0, openinference-semantic-conventions 0.1.42, opentelemetry-semantic-conventions-ai 0.4.9
and 0.5.1 with OpenLLMetry's instrumentations 0.40.14 and 0.62.4 (Traceloop), Vercel's `ai` 4.3, 5.0
and 6.0 with @ai-sdk/otel 1.0.173 (AI SDK 7), pydantic-ai 1.0.5 and 2.68.0, strands-agents 1.62.0,
langfuse 5.0.4, and litellm 1.55 to 1.110.2.
"""

from __future__ import annotations

from typing import Final

from prodlensd.formats.usage_keys import NOTHING

# What a span is -----------------------------------------------------------------------------------

CALL_KINDS: Final = frozenset({"LLM", "EMBEDDING"})  # OpenInference
#: Not here: OpenTelemetry's own kinds and Phoenix's UNKNOWN, which do not tell what a span is.
OTHER_KINDS: Final = frozenset(
    "AGENT CHAIN DECISION EVALUATOR GUARDRAIL PROMPT RERANKER RETRIEVER TOOL".split()
)
#: `langfuse.observation.type` of a call; its other types (span, agent, tool, …) are none.
CALL_OBSERVATIONS: Final = frozenset({"generation", "embedding"})
#: `gen_ai.operation.name`. Beside OpenTelemetry's four: `responses` and `completion` are what older
#: instrumentations of OpenAI write, `image_generation` is pydantic-ai's, the last three AI SDK 7's.
CALL_OPERATIONS: Final = frozenset(
    "chat text_completion generate_content embeddings responses completion image_generation "
    "ai.generateSpeech ai.transcribe ai.streamTranscribe".split()
)
#: `ai.operationId` of the AI SDK. Their parents (`ai.generateText`, `ai.embed`) repeat their usage.
AI_CALLS: Final = frozenset(
    "ai.generateText.doGenerate ai.streamText.doStream ai.generateObject.doGenerate "
    "ai.streamObject.doStream ai.embed.doEmbed ai.embedMany.doEmbed "
    "ai.generateSpeech ai.transcribe ai.streamTranscribe".split()
)
#: `llm.request.type` of OpenLLMetry: of calls, and the others.
CALL_REQUESTS: Final = frozenset({"chat", "completion", "embedding"})
OTHER_REQUESTS: Final = frozenset({"rerank", "unknown"})
#: LiteLLM's CallTypes that ask a model for something, without the `a` of the asynchronous ones.
LITELLM_CALLS: Final = frozenset(
    "completion completion_with_retries text_completion embedding responses compact_responses "
    "anthropic_messages generate_content generate_content_stream create_interaction "
    "image_generation image_edit image_variation speech transcription rerank ocr create_video "
    "video_generation video_remix video_edit video_extension pass_through_endpoint "
    "llm_passthrough_route _arealtime _aresponses_websocket".split()
)

# Of several names the first counts ----------------------------------------------------------------

#: The provider's answer comes before the request.
MODEL: Final = (
    "llm.response.model_name",
    "gen_ai.response.model",
    "ai.response.model",
    "llm.model_name",
    "embedding.model_name",
    "llm.request.model_name",
    "langfuse.observation.model.name",
    "gen_ai.request.model",
    "ai.model.id",
)
#: LiteLLM's names of what the client asked for, an alias often, and of the deployment it took.
MODEL_ASKED: Final = ("litellm.model_group", "gen_ai.request.model")
MODEL_SENT: Final = "litellm.provider.model"
PROVIDER: Final = (
    "llm.provider",
    "gen_ai.provider.name",
    "llm.system",
    "gen_ai.system",
    "ai.model.provider",
)
RESPONSE_ID: Final = ("gen_ai.response.id", "ai.response.id")
SESSION: Final = (
    "session.id",
    "langfuse.session.id",
    "gen_ai.conversation.id",
    "ai.telemetry.metadata.sessionId",
    "ai.telemetry.metadata.session_id",
    "ai.telemetry.metadata.session.id",
    "traceloop.association.properties.session_id",
)
#: Whom LiteLLM's proxy took the key for, and how that is called in `developer_via`.
KEY_HOLDER: Final = {
    "metadata.user_api_key_user_id": "key_user",
    "litellm.metadata.user_api_key_user_id": "key_user",
    "metadata.user_api_key_user_email": "key_email",
}
#: The headers of the request, as text: a user that they name is the client's claim.
REQUEST_HEADERS: Final = "metadata.requester_custom_headers"
USER: Final = (
    "user.id",
    "langfuse.user.id",
    "ai.telemetry.metadata.userId",
    "ai.telemetry.metadata.user_id",
    "ai.telemetry.metadata.user.id",
    "traceloop.association.properties.user_id",
)
END_USER: Final = (
    "enduser.id",
    "litellm.end_user.id",
    "metadata.user_api_key_end_user_id",
    "gen_ai.user",
    "llm.user",
)
TAGS: Final = ("tag.tags", "langfuse.trace.tags", "ai.telemetry.metadata.tags")
#: The provider's host; `gen_ai.openai.api_base` is OpenLLMetry's.
ADDRESS: Final = ("server.address", "gen_ai.openai.api_base")
SERVICE_TIER: Final = ("openai.response.service_tier", "gen_ai.openai.response.service_tier")
STREAM: Final = (
    "gen_ai.request.stream",
    "litellm.request.streaming",
    "gen_ai.is_streaming",
    "llm.is_streaming",
)
#: Seconds, and the AI SDK's milliseconds.
TTFT_S: Final = (
    "gen_ai.response.time_to_first_chunk",
    "gen_ai.client.operation.time_to_first_chunk",
)
TTFT_MS: Final = "ai.response.msToFirstChunk"
TEAM: Final = (
    "metadata.user_api_key_team_alias",
    "litellm.team.alias",
    "metadata.user_api_key_team_id",
    "litellm.team.id",
)
KEY_ALIAS: Final = ("metadata.user_api_key_alias", "litellm.metadata.user_api_key_alias")
KEY_HASH: Final = ("metadata.user_api_key_hash", "litellm.api_key.hash")
#: LiteLLM's cost in dollars. What others reckoned is not read: `operation.cost`, `llm.cost.*`,
#: `gen_ai.usage.cost`, `langfuse.observation.cost_details`.
GATEWAY_COST: Final = ("gen_ai.cost.total_cost", "litellm.cost.total")

#: What frameworks write as the provider: themselves. Who answered is then not said.
FRAMEWORKS: Final = frozenset({"strands-agents", "langchain", "langgraph", "crewai", "litellm"})
#: The AI SDK's names of providers, by their first words → LiteLLM's.
AI_PROVIDERS: Final = {
    "amazon-bedrock": "bedrock",
    "azure-openai": "azure",
    "bedrock": "bedrock",
    "fireworks": "fireworks_ai",
    "gateway": "vercel_ai_gateway",
    "google.generative-ai": "gemini",
    "google.vertex": "vertex_ai",
    "togetherai": "together_ai",
    "vertex": "vertex_ai",
}

# Usage --------------------------------------------------------------------------------------------

#: All that is under these names belongs to the usage. A name of it that is not in USAGE and is not
#: zero is not understood, and the call has no table price.
USAGE_SPACES: Final = frozenset(
    {"gen_ai.usage", "llm.token_count", "llm.token.counts", "llm.usage", "ai.usage"}
)

# Where a count stands in a usage object of OpenAI's, the shape whose input has the cached tokens.
_IN, _OUT, _TOTAL = "prompt_tokens", "completion_tokens", "total_tokens"
_PART_IN, _PART_OUT = "prompt_tokens_details.", "completion_tokens_details."
_READ, _WRITE = f"{_PART_IN}cached_tokens", f"{_PART_IN}cache_creation_tokens"
_AUDIO_READ = f"{_PART_IN}cached_tokens_details.audio_tokens"
_IMAGE_READ = f"{_PART_IN}cached_tokens_details.image_tokens"
_AUDIO_IN, _AUDIO_OUT = f"{_PART_IN}audio_tokens", f"{_PART_OUT}audio_tokens"
_IMAGE_IN, _IMAGE_OUT = f"{_PART_IN}image_tokens", f"{_PART_OUT}image_tokens"
_VIDEO_IN, _VIDEO_OUT = f"{_PART_IN}video_tokens", f"{_PART_OUT}video_tokens"
_REASONING = f"{_PART_OUT}reasoning_tokens"
_XAI_TOOLS = "server_side_tool_usage_details."


def _under(space: str, names: dict[str, str]) -> dict[str, str]:
    return {f"{space}.{name}": place for name, place in names.items()}


#: Attribute → its place in the usage object; NOTHING is known, and says nothing of the price.
USAGE: Final[dict[str, str]] = {
    # OpenTelemetry, with the first names of the cached tokens (semantic-conventions #3163)
    **_under(
        "gen_ai.usage",
        {
            "input_tokens": _IN,
            "output_tokens": _OUT,
            "prompt_tokens": _IN,  # until version 1.27
            "completion_tokens": _OUT,
            "cache_read.input_tokens": _READ,
            "cache_creation.input_tokens": _WRITE,
            "cache_write.input_tokens": _WRITE,  # util-genai
            "cache_read_input_tokens": _READ,
            "cache_creation_input_tokens": _WRITE,
            "cache_write_input_tokens": _WRITE,  # Strands
            "cache_read_tokens": _READ,  # langfuse #12306
            "cache_write_tokens": _WRITE,
            "cache_creation_tokens": _WRITE,
            "cached_tokens": _READ,
            "input_cached_tokens": _READ,
            "reasoning.output_tokens": _REASONING,
            "reasoning_tokens": _REASONING,  # OpenLLMetry
            "text.input_tokens": NOTHING,  # from here on util-genai
            "text.output_tokens": NOTHING,
            "text.cache_read.input_tokens": NOTHING,
            "audio.input_tokens": _AUDIO_IN,
            "audio.output_tokens": _AUDIO_OUT,
            "audio.cache_read.input_tokens": _AUDIO_READ,
            "image.input_tokens": _IMAGE_IN,
            "image.output_tokens": _IMAGE_OUT,
            "image.cache_read.input_tokens": _IMAGE_READ,
            # OpenLLMetry, Strands, LiteLLM
            "total_tokens": _TOTAL,
            "token_type": NOTHING,
            # costs that somebody reckoned: OpenLIT, AgentOps, LiteLLM's metric
            "cost": NOTHING,
            "total_cost": NOTHING,
            # AI SDK 7, speech and transcription: the provider's usage in snake case
            "input_token_details.text_tokens": NOTHING,
            "input_token_details.audio_tokens": _AUDIO_IN,
            "seconds": "seconds",
        },
    ),
    # pydantic-ai: `details` repeats counts under the names of the provider. Those of Anthropic's
    # own input, which has no cached tokens, stand beside the whole input.
    **_under(
        "gen_ai.usage.details",
        {
            "input_tokens": NOTHING,
            "output_tokens": NOTHING,
            "total_tokens": NOTHING,
            "cache_read_tokens": _READ,
            "cache_write_tokens": _WRITE,
            "cache_read_input_tokens": _READ,
            "cache_creation_input_tokens": _WRITE,
            "input_cached_tokens": _READ,
            "cached_tokens": _READ,  # Moonshot
            "prompt_cache_hit_tokens": _READ,  # DeepSeek
            "prompt_cache_miss_tokens": NOTHING,
            "ephemeral_1h_input_tokens": (
                f"{_PART_IN}cache_creation_token_details.ephemeral_1h_input_tokens"
            ),
            "input_audio_tokens": _AUDIO_IN,
            "output_audio_tokens": _AUDIO_OUT,
            "cache_audio_read_tokens": _AUDIO_READ,
            "reasoning_tokens": _REASONING,
            "thinking_tokens": _REASONING,
            "audio_tokens": _AUDIO_OUT,  # a part of OpenAI's completion_tokens_details
            "text_tokens": NOTHING,
            "accepted_prediction_tokens": NOTHING,
            "rejected_prediction_tokens": NOTHING,
            "web_search_requests": "server_tool_use.web_search_requests",
            # Google
            "thoughts_tokens": _REASONING,
            "cached_content_tokens": _READ,
            "tool_use_prompt_tokens": NOTHING,  # a part of the input
            "text_prompt_tokens": NOTHING,
            "text_candidates_tokens": NOTHING,
            "text_cache_tokens": NOTHING,
            "text_tool_use_prompt_tokens": NOTHING,
            "audio_prompt_tokens": _AUDIO_IN,
            "audio_candidates_tokens": _AUDIO_OUT,
            "audio_cache_tokens": _AUDIO_READ,
            "image_prompt_tokens": _IMAGE_IN,
            "image_candidates_tokens": _IMAGE_OUT,
            "image_cache_tokens": _IMAGE_READ,
            "video_prompt_tokens": _VIDEO_IN,
            "video_candidates_tokens": _VIDEO_OUT,
            # xAI
            "prompt_text_tokens": NOTHING,
            "server_side_tools_web_search": f"{_XAI_TOOLS}web_search_calls",
            "server_side_tools_x_search": f"{_XAI_TOOLS}x_search_calls",
            "server_side_tools_code_execution": f"{_XAI_TOOLS}code_interpreter_calls",
        },
    ),
    # OpenInference
    **_under(
        "llm.token_count",
        {
            "prompt": _IN,
            "completion": _OUT,
            "total": _TOTAL,
            "prompt_details.cache_read": _READ,
            "prompt_details.cache_input": _READ,  # "input tokens in the prompt that were cached"
            "prompt_details.cache_write": _WRITE,
            "prompt_details.audio": _AUDIO_IN,
            "completion_details.reasoning": _REASONING,
            "completion_details.audio": _AUDIO_OUT,
        },
    ),
    # LiteLLM's form for Langtrace
    **_under("llm.token.counts", {"prompt": _IN, "completion": _OUT, "total": _TOTAL}),
    # OpenLLMetry
    **_under(
        "llm.usage",
        {
            "prompt_tokens": _IN,
            "completion_tokens": _OUT,
            "total_tokens": _TOTAL,
            "reasoning_tokens": _REASONING,
            "cache_read_input_tokens": _READ,
            "cache_creation_input_tokens": _WRITE,
            "token_type": NOTHING,
        },
    ),
    # The AI SDK: 4, 5, 6 in this order
    **_under(
        "ai.usage",
        {
            "promptTokens": _IN,
            "completionTokens": _OUT,
            "tokens": _IN,  # of embeddings
            "inputTokens": _IN,
            "outputTokens": _OUT,
            "totalTokens": _TOTAL,
            "reasoningTokens": _REASONING,
            "cachedInputTokens": _READ,
            "inputTokenDetails.noCacheTokens": NOTHING,
            "inputTokenDetails.cacheReadTokens": _READ,
            "inputTokenDetails.cacheWriteTokens": _WRITE,
            "outputTokenDetails.textTokens": NOTHING,
            "outputTokenDetails.reasoningTokens": _REASONING,
        },
    ),
}

#: The usage object itself, as text: LiteLLM's own in its metadata (Python's notation), Langfuse's,
#: and what the AI SDK keeps of the provider's answer.
LITELLM_USAGE: Final = "metadata.usage_object"
LANGFUSE_USAGE: Final = "langfuse.observation.usage_details"
AI_PROVIDER_METADATA: Final = "ai.response.providerMetadata"
#: In the AI SDK's text: provider → the name of the provider's own usage object.
AI_RAW_USAGE: Final = {
    "anthropic": "usage",
    "google": "usageMetadata",
    "vertex": "usageMetadata",
}
#: Providers whose input the AI SDK 4 and 5 give without the cached tokens, as the provider does.
#: AI SDK 6 includes them, and then writes `inputTokenDetails`.
AI_EXCLUSIVE: Final = ("anthropic", "vertex.anthropic", "amazon-bedrock", "bedrock")
#: So do these instrumentations; the scope's name tells, where the span has it. Their total is the
#: sum of what they count, and proves nothing.
EXCLUSIVE_SCOPES: Final = frozenset(
    {
        "@traceloop/instrumentation-anthropic",  # 0.27.0
        "@traceloop/instrumentation-bedrock",
        "opentelemetry.instrumentation.bedrock",  # OpenLLMetry 0.62.4: Converse's inputTokens
    }
)

#: Langfuse's usage types, which are disjoint: `input` is what no `input_…` counts. Langfuse 5.0.4
#: (langchain/CallbackHandler.py) and LiteLLM 1.110.2 (otel/mappers/langfuse.py).
LANGFUSE_TYPES: Final = {
    "input_cached_tokens": _READ,
    "input_cache_read": _READ,
    "input_cache_read_input_tokens": _READ,
    "cache_read_input_tokens": _READ,
    "input_cache_creation": _WRITE,
    "input_cache_creation_tokens": _WRITE,
    "input_cache_creation_input_tokens": _WRITE,
    "cache_creation_input_tokens": _WRITE,
    "input_audio": _AUDIO_IN,
    "input_audio_tokens": _AUDIO_IN,
    "input_image_tokens": _IMAGE_IN,
    "output_reasoning": _REASONING,
    "output_reasoning_tokens": _REASONING,
    "output_audio": _AUDIO_OUT,
    "output_audio_tokens": _AUDIO_OUT,
    "output_image_tokens": _IMAGE_OUT,
}

# All that is read ---------------------------------------------------------------------------------

#: The scope's name, where an exporter writes it among the attributes.
SCOPE: Final = ("otel.scope.name", "otel.library.name")
REPO: Final = "vcs.repository.url.full"
#: Every attribute that is read; the others are dropped, and with them all that was said.
READ: Final = frozenset(
    {
        *("openinference.span.kind", "gen_ai.operation.name", "ai.operationId", "llm.request.type"),
        *("langfuse.observation.type", "litellm.call_type", "litellm.call_id", "litellm.cache_hit"),
        *("error.type", "exception.type", "http.response.status_code", *ADDRESS),
        *(*MODEL, *MODEL_ASKED, MODEL_SENT, *PROVIDER, *RESPONSE_ID, *SESSION, *KEY_HOLDER),
        *(REQUEST_HEADERS, *USER, *END_USER, *TAGS, *SERVICE_TIER, *STREAM, *TTFT_S, TTFT_MS),
        *(*TEAM, *KEY_ALIAS, *KEY_HASH, *GATEWAY_COST, REPO, *SCOPE),
        *(LITELLM_USAGE, LANGFUSE_USAGE, AI_PROVIDER_METADATA),
    }
)
