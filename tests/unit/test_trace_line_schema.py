"""The JSON Schema of the trace line says what the parser reads and what our callback writes."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from prodlensd import formats
from prodlensd.formats import trace_line
from prodlensd.formats.usage import USAGE_EXCLUSIVE, USAGE_MISSING, USAGE_UNKNOWN
from prodlensd.formats.usage_found import USAGE_MISMATCH
from prodlensd.formats.usage_keys import KEYS, LISTS
from prodlensd.litellm_callback import Event

DATA = Path(__file__).parents[1] / "data"
SCHEMA: dict[str, Any] = json.loads(
    files("prodlensd").joinpath("trace_line.schema.json").read_text(encoding="utf-8")
)
VALIDATOR = Draft202012Validator(SCHEMA)
PARTS: dict[str, Any] = SCHEMA["properties"]


def faults(record: object) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(record)]


# It says what is read -----------------------------------------------------------------------------


def test_it_is_a_schema_and_every_key_of_it_is_explained() -> None:
    Draft202012Validator.check_schema(SCHEMA)

    def check(node: dict[str, Any]) -> None:
        for name, inner in node.get("properties", {}).items():
            assert inner.get("description"), name
            check(inner)
            check(inner.get("items", {}))
        if "properties" in node:
            assert node["additionalProperties"] is True

    check(SCHEMA)


def test_its_keys_are_those_that_the_parser_reads() -> None:
    times = {"latency_ms", "ttft_ms"}
    assert set(PARTS) == set(trace_line._Line.__struct_encode_fields__)
    assert set(PARTS["attributes"]["properties"]) == set(trace_line._NAMES)
    assert set(trace_line._NAMES) == (
        trace_line._ATTRIBUTES.keys() | trace_line._ATTRIBUTE_DETAILS.keys() | times
    )
    assert set(PARTS["metadata"]["properties"]) == (
        trace_line._METADATA.keys() | trace_line._METADATA_DETAILS.keys()
    )


def test_its_counts_are_known_where_they_stand_in_the_usage() -> None:
    def check(node: dict[str, Any], keys: dict[str, Any]) -> None:
        for name, inner in node.get("properties", {}).items():
            assert name in keys or name == "more"  # which nobody understands, on purpose
            if isinstance(keys.get(name), dict):
                check(inner, keys[name])

    check(PARTS["usage"], KEYS | {name: KEYS.get(name, role) for name, role in LISTS.items()})


# It holds for what is written ---------------------------------------------------------------------


def corpus(name: str) -> list[dict[str, Any]]:
    lines = gzip.decompress((DATA / f"{name}.jsonl.gz").read_bytes()).split(b"\n")[:-1]
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(("name", "count"), [("corpus", 231), ("corpus_1_80_0", 85)])
def test_what_our_callback_writes_of_real_calls_is_valid_and_read(name: str, count: int) -> None:
    payloads = corpus(name)
    assert len(payloads) == count
    for payload in payloads:
        kwargs = {"standard_logging_object": payload, "response_cost": payload["response_cost"]}
        begun, ended = (datetime.fromtimestamp(payload[k], UTC) for k in ("startTime", "endTime"))
        line = Event(kwargs, begun, ended, payload["status"]).line()
        assert faults(line) == []
        trace = formats.parse(json.dumps(line).encode())
        direct = formats.parse(json.dumps(payload).encode())
        assert (trace.tokens_in or 0) == (direct.tokens_in or 0)
        assert set(trace.anomalies) <= {"repo_slug", USAGE_MISSING}


def test_the_sample_is_valid() -> None:
    lines = (DATA / "sample.jsonl").read_bytes().splitlines()
    assert [faults(json.loads(line)) for line in lines] == [[], [], []]


def test_its_examples_are_a_success_a_failure_and_a_stream_with_cache() -> None:
    examples = SCHEMA["examples"]
    assert [faults(example) for example in examples] == [[], [], []]
    success, failure, stream = (formats.parse(json.dumps(e).encode()) for e in examples)
    assert (success.status, success.tokens_in, success.repo_slug) == ("success", 260, "acme/web")
    assert (failure.status, failure.status_code, failure.tokens_in) == ("failure", 429, None)
    assert (stream.ttft_ms, stream.cache_read_tokens, stream.cache_write_tokens) == (640, 8000, 500)
    assert success.key
    assert failure.key
    assert stream.key
    assert success.anomalies + failure.anomalies + stream.anomalies == ()


# What is valid is read ----------------------------------------------------------------------------

#: No surrogates: JSON that people exchange has none.
CHARACTERS = st.characters(codec="utf-8")
TIMES = st.datetimes(datetime(1972, 1, 1), datetime(8999, 1, 1)).flatmap(  # noqa: DTZ001
    lambda time: st.sampled_from(
        [
            time.isoformat(),
            f"{time.isoformat(timespec='milliseconds')}Z",
            f"{time.isoformat(' ', 'minutes')}+05:30",
            f"{time.isoformat('t', 'seconds')}.123456789-23:59",
            time.replace(tzinfo=UTC).timestamp(),
        ]
    )
)


def values(node: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Whatever the node of the schema lets through."""
    if "$ref" in node:
        return values(SCHEMA["$defs"][node["$ref"].rpartition("/")[2]])
    if "enum" in node:
        return st.sampled_from(node["enum"])
    if "anyOf" in node:
        return st.one_of([values(option) for option in node["anyOf"]])
    kinds = node["type"] if isinstance(node["type"], list) else [node["type"]]
    return st.one_of([of_type(kind, node) for kind in kinds])


def of_type(kind: str, node: dict[str, Any]) -> st.SearchStrategy[Any]:
    low, high = node.get("minimum", -(2**63)), node.get("maximum", 2**63)
    match kind:
        case "null":
            return st.none()
        case "integer":
            return st.integers(low, high) | st.integers(low, high).map(float)
        case "number":
            return st.floats(low, high) | st.integers(low, high)
        case "string":
            # To JSON Schema `$` is the end of the text; to Python also the newline before it.
            pattern = node.get("pattern", "").replace("$", r"\Z")
            texts = st.from_regex(pattern, alphabet=CHARACTERS)
            return texts.filter(lambda text: len(text) <= node.get("maxLength", len(text)))
        case "array":
            return st.lists(values(node["items"]), max_size=3)
        case _:
            return objects(node)


def objects(node: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    properties = {name: values(inner) for name, inner in node["properties"].items()}
    some = st.lists(st.sampled_from(sorted(properties)), max_size=4, unique=True)
    return some.flatmap(
        lambda names: st.fixed_dictionaries({name: properties[name] for name in names})
    )


LINES = st.fixed_dictionaries(
    {"timestamp": TIMES, "usage": values(PARTS["usage"])},
    optional={
        name: values(part) for name, part in PARTS.items() if name not in {"timestamp", "usage"}
    },
)
#: What no schema can say: that counts add up and are not all zero, and that a text is a repository.
BEYOND_A_SCHEMA = {USAGE_MISMATCH, USAGE_EXCLUSIVE, USAGE_UNKNOWN, USAGE_MISSING, "repo_slug"}


@given(LINES)
def test_what_is_valid_becomes_a_trace_without_anomalies(record: dict[str, Any]) -> None:
    assert faults(record) == []
    trace = formats.parse(json.dumps(record).encode())
    assert set(trace.anomalies) <= BEYOND_A_SCHEMA


TIME = "2026-11-22T18:00:00Z"


@pytest.mark.parametrize(
    "part",
    [
        {"attributes": None, "metadata": None, "usage": None},
        {"attributes": dict.fromkeys(PARTS["attributes"]["properties"])},
        {"attributes": dict.fromkeys(PARTS["attributes"]["properties"], "")},
        {"metadata": dict.fromkeys(PARTS["metadata"]["properties"]) | {"key_hash": ""}},
        {"usage": dict.fromkeys(PARTS["usage"]["properties"])},
        {"attributes": {"latency_ms": "12.5", "status_code": "200", "attempted_retries": 1.0}},
        {"metadata": {"session_id": 42, "developer_id": 42.0, "repo": "../etc", "tags": []}},
        {"usage": {"input_tokens": "12", "output_tokens": 3.0}},
        {"usage": {"input_tokens": 10**12}, "cost_usd": 1_000_000},
        {"cost_usd": "0.001", "timestamp": 1_760_295_600.5, "id": 7},
        {"timestamp": "2026-11-22 18:00", "anything": ["else"]},
    ],
)
def test_it_is_as_liberal_as_the_parser(part: dict[str, Any]) -> None:
    record = {"timestamp": TIME, "usage": {}} | part
    assert faults(record) == []
    assert set(formats.parse(json.dumps(record).encode()).anomalies) <= {"repo_slug"}


@pytest.mark.parametrize(
    "part",
    [
        {"timestamp": "2026-11-22"},
        {"timestamp": "yesterday"},
        {"timestamp": None},
        {"usage": []},
        {"usage": {"input_tokens": -1}},
        {"usage": {"input_tokens": 10**12 + 1}},
        {"usage": {"input_tokens": "1.0"}},
        {"usage": {"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": True}}},
        {"cost_usd": -0.5},
        {"attributes": {"status": "ok"}},
        {"attributes": {"latency_ms": "soon"}},
        {"attributes": {"latency_ms": 2**53 + 2}},
        {"cost_usd": 1_000_001},
        {"attributes": {"stream": 1}},
        {"metadata": {"developer_id": ["dev"]}},
        {"metadata": {"session_id": " "}},
        {"metadata": {"tags": "nightly"}},
        {"metadata": {"key_hash": "sk-1234"}},
        {"metadata": {"team": "t" * 513}},
    ],
)
def test_it_refuses_what_the_parser_cannot_use(part: dict[str, Any]) -> None:
    record = {"timestamp": TIME, "usage": {}} | part
    assert len(faults(record)) > 0
    try:
        assert len(formats.parse(json.dumps(record).encode()).anomalies) > 0
    except formats.BadLine as bad:
        assert bad.reason == "bad_timestamp"  # noqa: PT017


@pytest.mark.parametrize("name", ["timestamp", "usage"])
def test_a_line_without_time_or_usage_is_none(name: str) -> None:
    record = {"timestamp": TIME, "usage": {}}
    del record[name]
    assert len(faults(record)) == 1
