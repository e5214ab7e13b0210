"""Whether a span is the call of a model, judged by itself: of a call's spans exactly one is it."""

from __future__ import annotations

from typing import Any, Final

from prodlensd.formats import otel_names as names
from prodlensd.formats.fields import text
from prodlensd.formats.otel_attributes import Attributes, dict_of, first, word_of


def is_call(record: dict[str, Any], attributes: Attributes) -> bool:
    """By what the most knowing of its writers says, so that of a parent and its child one is."""
    if "ai.operationId" in attributes:
        return word_of(attributes, "ai.operationId") in names.AI_CALLS
    if kind := kind_of(record, attributes):
        return kind in names.CALL_KINDS
    if call_type := call_type_of(attributes):
        return _asks_a_model(call_type)
    if "langfuse.observation.type" in attributes:
        return word_of(attributes, "langfuse.observation.type") in names.CALL_OBSERVATIONS
    if "gen_ai.operation.name" in attributes:
        operation = word_of(attributes, "gen_ai.operation.name")
        return operation in names.CALL_OPERATIONS and not _is_around_embeddings(record, attributes)
    return word_of(attributes, "llm.request.type") in names.CALL_REQUESTS


def _is_around_embeddings(record: dict[str, Any], attributes: Attributes) -> bool:
    """Whether it is AI SDK 7's span of `embed`, which has the name and the operation of its calls.

    Its calls are below it. At first it repeated their tokens; since 1.0.75 of @ai-sdk/otel it has
    none (vercel/ai #19250). Both name no more than the provider and the model, which other
    instrumentations do not leave at that.
    """
    if attributes["gen_ai.operation.name"] != "embeddings":
        return False
    passed_on = {*names.SESSION, *names.USER, *names.SCOPE, names.REPO, "error.type"}
    return (
        attributes.keys() - passed_on - names.USAGE.keys() == _AI_SDK_7_EMBEDDINGS
        and scope_of(record, attributes) in (None, "gen_ai")
        and (_has_no_parent(record) or not attributes.keys() & names.USAGE.keys())
    )


_AI_SDK_7_EMBEDDINGS: Final = frozenset(
    {"gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model"}
)


def _has_no_parent(record: dict[str, Any]) -> bool:
    """Whether it is known to be the first span of its trace; OTLP then names no parent at all."""
    if "traceId" in record:
        return not record.get("parentSpanId")
    return "parent_id" in record and record["parent_id"] in (None, "")


def scope_of(record: dict[str, Any], attributes: Attributes) -> object:
    """The name of the instrumentation, where the span tells it."""
    for place in ("scope", "instrumentationScope", "instrumentation_scope"):
        if name := text(dict_of(record.get(place)).get("name")):
            return name
    return text(first(attributes, names.SCOPE))


def call_type_of(attributes: Attributes) -> str | None:
    """The call type of a span of LiteLLM's own callback; None for the spans of others."""
    if not is_litellms(attributes):
        return None
    return word_of(attributes, "litellm.call_type", "llm.request.type")


def is_litellms(attributes: Attributes) -> bool:
    """Whether LiteLLM's callback wrote the span.

    Up to 1.83 it wrote no id of the call. It is then told by its call type, or by its cost where
    OpenLLMetry has the same word.
    """
    if "litellm.call_id" in attributes:
        return True
    request = word_of(attributes, "llm.request.type")
    if request is None or not _asks_a_model(request):
        return False
    is_its_own_word = request not in names.CALL_REQUESTS | names.OTHER_REQUESTS
    return is_its_own_word or "gen_ai.cost.total_cost" in attributes


def _asks_a_model(call_type: str) -> bool:
    return call_type in names.LITELLM_CALLS or call_type.removeprefix("a") in names.LITELLM_CALLS


def operation_of(attributes: Attributes) -> str | None:
    """What was asked of the model, in the words of whoever wrote the span."""
    return call_type_of(attributes) or word_of(
        attributes,
        *("gen_ai.operation.name", "ai.operationId", "llm.request.type"),
        "langfuse.observation.type",
    )


def kind_of(record: dict[str, Any], attributes: Attributes) -> str:
    """OpenInference's kind of span, in capitals; "" when it has none."""
    for sent in (attributes.get("openinference.span.kind"), record.get("span_kind")):
        if type(sent) is str and (sent in names.CALL_KINDS or sent in names.OTHER_KINDS):
            return sent
    return ""
