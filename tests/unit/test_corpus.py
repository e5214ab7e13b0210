"""231 payloads of a real LiteLLM proxy, field by field against what the client truly sent.

`tests/data/expected.jsonl.gz` was made from the client's and the upstream's side of each call, not
from the payload. `corpus_1_80_0` is an older version's output, for which no such record exists.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from prodlensd import formats
from prodlensd.model import Trace
from prodlensd.pricing import ChildBook, Pricer

DATA = Path(__file__).parents[1] / "data"


def lines_of(name: str) -> list[bytes]:
    return gzip.decompress((DATA / f"{name}.jsonl.gz").read_bytes()).split(b"\n")[:-1]


EXPECTED: list[dict[str, Any]] = [json.loads(line) for line in lines_of("expected")]
TRACES: list[Trace] = [formats.parse(line) for line in lines_of("corpus")]
PAIRS = list(zip(TRACES, EXPECTED, strict=True))


def wrong(field: str, pairs: Sequence[tuple[object, object, dict[str, Any]]]) -> list[str]:
    return [
        f"line {row['line']} ({row['scenario']}): {field} is {found!r}, should be {expected!r}"
        for found, expected, row in pairs
        if found != expected
    ]


def without_prefix(session: str | None) -> str | None:
    return None if session is None else session.removeprefix("session-").removeprefix("session_")


def test_every_line_of_the_corpus_is_a_trace() -> None:
    assert len(TRACES) == len(EXPECTED) == 231


@pytest.mark.parametrize(
    ("field", "column"),
    [
        ("tokens_in", "prompt_tokens"),
        ("tokens_out", "completion_tokens"),
        ("cache_read_tokens", "cache_read_tokens"),
        ("cache_write_tokens", "cache_creation_tokens"),
        ("reasoning_tokens", "reasoning_tokens"),
    ],
)
def test_tokens_are_those_that_the_upstream_counted(field: str, column: str) -> None:
    exact = [(trace, row) for trace, row in PAIRS if row["tokens_exact"]]
    assert len(exact) == 185
    # What nobody logged stays unknown; the upstream's side of it is a zero or not known either.
    assert [] == wrong(field, [(getattr(t, field) or 0, row[column] or 0, row) for t, row in exact])


def test_a_rejected_call_has_no_tokens_rather_than_some() -> None:
    rejected = [(t, row) for t, row in PAIRS if row["client_outcome"] == "http_error"]
    assert len(rejected) == 31
    assert [] == wrong(
        "tokens", [((t.tokens_in or 0) + (t.tokens_out or 0), 0, row) for t, row in rejected]
    )


def test_sessions_are_those_that_the_client_named() -> None:
    named = [(t, row) for t, row in PAIRS if row["session_id"] is not None]
    assert len(named) == 161
    assert [] == wrong(
        "session_id", [(t.session_id, without_prefix(row["session_id"]), row) for t, row in named]
    )


def test_a_call_without_a_session_is_marked_as_known_by_its_trace_id_only() -> None:
    nameless = [(t, row) for t, row in PAIRS if row["session_id"] is None]
    assert len(nameless) == 70
    assert [] == wrong("session_via", [(t.session_via, "trace_id", row) for t, row in nameless])


def test_developers_are_those_of_the_key_and_claims_only_where_the_key_names_nobody() -> None:
    assert [] == wrong(
        "developer_id", [(t.developer_id, row["developer"], row) for t, row in PAIRS]
    )
    verified = [
        (t.developer_via == "key_user", row["key_user_id"] is not None, row) for t, row in PAIRS
    ]
    assert [] == wrong("verified", verified)


def test_repositories_are_slugs_or_nothing() -> None:
    assert [] == wrong("repo_slug", [(t.repo_slug, row["repo_slug"], row) for t, row in PAIRS])
    refused = [row["repo_raw"] for t, row in PAIRS if "repo_slug" in t.anomalies]
    assert len(refused) == 11


def test_models_and_providers_are_as_logged() -> None:
    # Of a request that is no JSON, or of an unknown model, LiteLLM does not log the provider.
    known = [(t, row) for t, row in PAIRS if row["scenario"] not in {"not-json", "unknown-model"}]
    assert len(known) == 228
    assert [] == wrong("provider", [(t.provider, row["provider"], row) for t, row in known])
    assert [] == wrong("model", [(t.model, row["upstream_model"], row) for t, row in known])


def test_outcomes_tell_success_failure_abort_and_cache_hit_apart() -> None:
    assert [] == wrong("status", [(t.status, row["record_status"], row) for t, row in PAIRS])
    assert [] == wrong("cache_hit", [(t.cache_hit, row["cache_hit"], row) for t, row in PAIRS])
    aborted = [(t.status_code, 499, row) for t, row in PAIRS if row["client_outcome"] == "aborted"]
    assert len(aborted) == 3
    assert [] == wrong("status_code", aborted)
    fine = [
        (t.status_code, 200, row)
        for t, row in PAIRS
        if row["client_outcome"] == "ok" and row["record_status"] == "success"
    ]
    assert len(fine) == 189
    assert [] == wrong("status_code", fine)


def call_id(trace: Trace) -> str | None:
    """From the key where that holds it."""
    return trace.key.split(" ")[0] if isinstance(trace.key, str) else trace.call_id


def test_calls_are_known_by_the_ids_the_client_saw() -> None:
    assert [] == wrong("call_id", [(call_id(t), row["call_id"], row) for t, row in PAIRS])
    assert len({(t.started_us, t.key) for t in TRACES}) == len(TRACES)


def test_a_success_that_counted_nothing_has_lost_its_counts() -> None:
    lost = [trace for trace, row in PAIRS if row["scenario"] == "zero-tokens"]
    assert [(trace.status, trace.tokens_in, trace.anomalies) for trace in lost] == [
        ("success", None, ("usage_missing",))
    ]


def test_costs_are_the_gateways_or_unknown_and_never_an_invented_zero() -> None:
    book = ChildBook(now_s=time.monotonic)
    try:
        prices = [Pricer(books=[book]).price(trace) for trace in TRACES]
    finally:
        book.close()
    known = [
        (price.nanousd, round((row["cost_recomputed"] or 0) * 1e9), row)
        for price, (_, row) in zip(prices, PAIRS, strict=True)
        if row["cost_known"] and row["cost_recomputed"] is not None and not row["cache_hit"]
        if row["scenario"] != "zero-tokens"  # whose cost nobody knows, see above
    ]
    assert len(known) > 200
    assert [] == wrong("cost", known)
    unknown = [
        price for price, (_, row) in zip(prices, PAIRS, strict=True) if not row["cost_known"]
    ]
    assert {price.source for price in unknown} <= {"unpriced", "gateway", "table", "not_billable"}
    free_looking = [
        row["line"]
        for price, (trace, row) in zip(prices, PAIRS, strict=True)
        if price.nanousd == 0 and trace.tokens_in and not trace.cache_hit
    ]
    assert free_looking == []


def test_an_older_version_is_read_as_well() -> None:
    older = [formats.parse(line) for line in lines_of("corpus_1_80_0")]
    assert len(older) == 85
    assert all(trace.status in {"success", "failure"} for trace in older)
    assert sum(trace.tokens_in or 0 for trace in older if trace.status == "success") > 10_000
    # Version 1.80 logs no call id, so its lines do not identify themselves: the pipeline chains
    # them.
    assert {trace.key for trace in older} == {None}
