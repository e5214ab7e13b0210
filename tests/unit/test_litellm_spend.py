"""Rows of LiteLLM's spend logs say what the payloads of the same calls say.

`tests/data/spend_rows*.jsonl.gz` were made by LiteLLM's own `get_logging_payload` (see
tests/e2e/spend_rows.py) of the payloads of the corpus beside them.
"""

from __future__ import annotations

import contextlib
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodlensd import formats
from prodlensd.model import BadLine, Trace

DATA = Path(__file__).parents[1] / "data"
SAID = "the words of a prompt"
START_US = 1_793_534_400_123_000
HASH = "0123456789abcdef" * 4

ROW: dict[str, Any] = {
    "request_id": "chatcmpl-1",
    "call_type": "acompletion",
    "api_key": HASH,
    "spend": 0.25,
    "total_tokens": 12,
    "prompt_tokens": 10,
    "completion_tokens": 2,
    "startTime": "2026-11-01T12:00:00.123Z",
    "endTime": "2026-11-01T12:00:01.123Z",
    "completionStartTime": "2026-11-01T12:00:00.623Z",
    "model": "openai/gpt-4o-mini",
    "model_group": "small",
    "custom_llm_provider": "openai",
    "api_base": "https://api.openai.com/v1",
    "user": "ada@example.com",
    "metadata": {
        "user_api_key_alias": "laptop",
        "user_api_key_team_alias": "Core",
        "spend_logs_metadata": {"repo": "acme/shop"},
        "usage_object": {
            "prompt_tokens": 10,
            "completion_tokens": 2,
            "total_tokens": 12,
            "prompt_tokens_details": {"cached_tokens": 4},
        },
    },
    "cache_hit": "False",
    "request_tags": ["a", "User-Agent: x"],
    "team_id": "t-1",
    "end_user": "customer",
    "session_id": "s-1",
    "status": "success",
    "litellm_call_id": "call-1",
    "messages": [{"role": "user", "content": SAID}],
    "response": {"choices": [SAID]},
    "proxy_server_request": {"body": SAID},
}


def trace(**parts: Any) -> Trace:
    read = formats.parse(json.dumps(ROW | parts).encode())
    assert isinstance(read, Trace)
    return read


def pairs(rows: str, payloads: str) -> list[tuple[Trace, Trace]]:
    def traces(name: str) -> list[Any]:
        lines = gzip.decompress((DATA / f"{name}.jsonl.gz").read_bytes()).splitlines()
        return [formats.parse(line) for line in lines]

    return list(zip(traces(rows), traces(payloads), strict=True))


PAIRS = [
    *pairs("spend_rows", "corpus"),
    *pairs("spend_rows_1_80_0", "corpus_1_80_0"),
]
#: What a row and a payload say alike of every call.
ALIKE = (
    *("call_type", "tokens_in", "tokens_out", "total_tokens"),
    *("cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens", "reasoning_tokens"),
    *("audio_in_tokens", "audio_out_tokens", "status", "cache_hit", "service_tier"),
    *("end_user", "tags", "gateway_nanousd", "bill"),
)


@pytest.mark.parametrize("field", ALIKE)
def test_a_row_says_what_the_payload_of_its_call_says(field: str) -> None:
    assert [(getattr(p, field)) for _, p in PAIRS] == [getattr(row, field) for row, _ in PAIRS]


def test_a_row_has_the_times_of_its_call_to_the_millisecond() -> None:
    for row, payload in PAIRS:
        assert abs(row.started_us - payload.started_us) < 1000
        assert row.latency_ms == pytest.approx(payload.latency_ms, abs=1)


def test_a_row_names_no_other_developer_than_the_payload() -> None:
    """The names that clients send with a request, a row does not have."""
    for row, payload in PAIRS:
        assert row.developer_id in (payload.developer_id, None)
    assert sum(row.developer_id is not None for row, _ in PAIRS) > 250
    assert sum(row.repo_slug is not None for row, _ in PAIRS) > 10


def test_no_row_has_the_key_of_a_payload() -> None:
    """Its start, in milliseconds, is another: the ledger ties the two by the ids."""
    assert all(str(row.key).startswith(" ") for row, _ in PAIRS)
    assert len({row.key for row, _ in PAIRS}) == len(
        {(row.key, row.started_us) for row, _ in PAIRS}
    )


def test_a_row_fills_the_facts_of_a_trace() -> None:
    read = trace()
    assert (START_US, " chatcmpl-1", "call-1") == read[:3]
    assert ("s-1", "trace_id", "ada@example.com", "key_user", "acme/shop") == read[3:8]
    assert (10, 2, 12, 4) == read[11:15]
    assert (1000.0, 500.0, "success", 200) == read[20:24]
    assert ("customer", '["a"]', 250_000_000) == (read.end_user, read.tags, read.gateway_nanousd)
    assert {
        "stream": True,
        "model_group": "small",
        "team": "Core",
        "key_alias": "laptop",
        "key_hash": HASH,
    } == json.loads(read.details or "")


@pytest.mark.parametrize(
    "start",
    [
        "2026-11-01T12:00:00.123Z",
        "2026-11-01T12:00:00.123000+00:00",
        "2026-11-01T13:00:00.123+01:00",
        "2026-11-01T12:00:00.123",
        "2026-11-01 12:00:00.123",
        "2026-11-01 12:00:00.123+00",
        "2026-11-01 12:00:00.123000+00:00",
    ],
)
def test_the_start_is_read_in_every_shape_and_is_utc_without_a_zone(start: str) -> None:
    assert START_US == trace(startTime=start).started_us


@pytest.mark.parametrize("start", ["", "yesterday", None, "2026-13-01 12:00:00"])
def test_a_row_without_a_time_is_refused(start: object) -> None:
    with pytest.raises(BadLine, match="bad_timestamp"):
        trace(startTime=start)


def test_metadata_and_tags_may_be_json_in_a_text_and_in_that_again() -> None:
    once = {name: json.dumps(ROW[name]) for name in ("metadata", "request_tags")}
    twice = {name: json.dumps(value) for name, value in once.items()}
    assert trace() == trace(**once) == trace(**twice)


def test_every_value_may_be_a_text_as_in_a_csv_file() -> None:
    texts = {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in ROW.items()
    }
    assert trace() == trace(**texts)
    assert trace(**(texts | {"spend": "2.5e-01"})).gateway_nanousd == trace().gateway_nanousd


@pytest.mark.parametrize("metadata", [None, "", "{", "[1]", "null", 7, [], "failed-to-serialize"])
def test_a_row_whose_metadata_is_lost_keeps_what_its_columns_say(metadata: object) -> None:
    read = trace(metadata=metadata)
    assert (10, 2, None) == (read.tokens_in, read.tokens_out, read.cache_read_tokens)
    assert '"team":"t-1"' in (read.details or "")
    assert "coarse_usage" in read.anomalies


@pytest.mark.parametrize("status", [None, ""])
def test_without_a_status_the_metadata_says_whether_it_failed(status: object) -> None:
    failed = {"status": "failure", "error_information": {"error_code": "429", "error_class": "E"}}
    assert ("success", 200) == trace(status=status)[22:24]
    assert ("failure", 429) == trace(status=status, metadata=failed)[22:24]
    row = {name: value for name, value in ROW.items() if name != "status"}
    read = formats.parse(json.dumps(row).encode())
    assert isinstance(read, Trace)
    assert read.status == "success"


@pytest.mark.parametrize(
    ("said", "is_hit"), [("True", True), ("False", False), ("", False), (None, False)]
)
def test_a_cache_hit_is_said_in_a_word(said: object, is_hit: bool) -> None:
    assert is_hit is trace(cache_hit=said).cache_hit


def test_cached_tokens_beside_the_totals_are_found_where_no_usage_object_is() -> None:
    beside = {"additional_usage_values": {"cache_read_input_tokens": 4}}
    assert (10, 2, 12, 4) == trace(metadata=beside)[11:15]


def test_the_totals_of_a_row_that_bills_several_attempts_are_believed() -> None:
    read = trace(prompt_tokens=30, total_tokens=32)
    assert (30, 2, 32) == read[11:14]
    assert "coarse_usage" in read.anomalies


def test_a_key_is_never_kept() -> None:
    """Where LiteLLM could not hash, it logs the key itself."""
    read = trace(api_key="sk-secret", metadata={"user_api_key": "sk-secret"})
    assert "sk-secret" not in repr(read)


def test_what_was_said_is_not_looked_at() -> None:
    assert SAID not in repr(trace())


def test_what_is_no_row_is_left_to_other_formats() -> None:
    summed = {"startTime": "2026-11-01", "spend": 1.5, "users": {}, "models": {}}
    with pytest.raises(BadLine, match="unknown_format"):
        formats.parse(json.dumps(summed).encode())


@pytest.mark.parametrize("request_id", ["", "two words", "x" * 3000, "tab\t"])
def test_an_id_that_is_none_makes_no_key(request_id: str) -> None:
    assert trace(request_id=request_id).key is None


# What PostgreSQL 15 wrote of four of these rows, in a table with the columns of LiteLLM's schema


def exported(shape: str) -> list[Trace]:
    """The calls of an export, as `import` reads it."""
    content = gzip.decompress((DATA / f"spend_export_{shape}.gz").read_bytes())
    found: list[Any] = []
    for line in [content] if formats.is_document(content) else content.splitlines():
        read = formats.parse_line(line)
        found += [read] if isinstance(read, Trace) else [part.found for part in read]
    return found


@pytest.mark.parametrize("shape", ["lines", "agg", "pretty", "csv", "copy_csv"])
def test_an_export_of_postgresql_says_what_litellm_wrote(shape: str) -> None:
    """By row_to_json, json_agg, jsonb_pretty, psql --csv and COPY … CSV HEADER."""
    written = {row.key: row for row, _ in PAIRS}
    rows = exported(shape)
    assert 4 == len(rows)
    assert [written[row.key] for row in rows] == rows


def test_copy_doubles_backslashes_so_that_some_rows_are_no_json() -> None:
    """Therefore the manual names other ways."""
    with pytest.raises(BadLine, match="invalid_json"):
        exported("copy")


# Nonsense -----------------------------------------------------------------------------------------

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*ROW]), _JSON), st.dictionaries(st.text(), _JSON))
def test_a_row_of_any_values_is_a_trace_or_refused(row: dict[str, Any], about: Any) -> None:
    for metadata in (about, json.dumps(about), json.dumps({"usage_object": about})):
        with contextlib.suppress(BadLine):
            trace(**(row | {"metadata": metadata}))


@given(st.lists(st.text(max_size=30) | st.sampled_from(['"', ",", "\n", "\r\n", '""', "\0", "1"])))
def test_a_table_of_any_text_has_rows_that_are_traces_or_refused(parts: list[str]) -> None:
    header = b'"request_id",startTime,call_type\n'
    text = header + "".join(parts).encode(errors="replace")
    table: Any = formats.parse_line(text)
    found = [(part.begin, part.length) for part in table]
    ends = [begin + length for begin, length in found]
    assert all(end < begin for end, (begin, _) in zip(ends, found[1:], strict=False))
    assert all(
        len(header) <= begin <= end <= len(text)
        for (begin, _), end in zip(found, ends, strict=True)
    )
