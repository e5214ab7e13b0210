"""Every call through a real proxy is in the ledger once, as its client saw it; no word of it is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.e2e.traffic import Sent, Traffic, read_lines

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def traces(home: Path, everyday: Traffic, extras: Traffic) -> list[dict[str, Any]]:
    """What the daemon makes of both log folders; asked twice, it must make nothing more of them."""
    home.mkdir()
    folders = [str(traffic.log_folder) for traffic in (everyday, extras)]
    (home / "config.toml").write_text(f"[logs]\ndirectories = {folders}\n")
    for _ in range(2):
        subprocess.run([sys.executable, "-m", "prodlensd", "run", "--once"], check=True)
    db = apsw.Connection(str(home / "prodlens.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        db.row_trace = lambda cursor, row: {
            column[0]: value for column, value in zip(cursor.description, row, strict=True)
        }
        return list(
            db.execute("SELECT * FROM traces JOIN sources USING (source_id) ORDER BY timestamp")
        )
    finally:
        db.close()


def of(sent: Sent, traffic: Traffic, traces: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The traces of this proxy that began while this call was under way."""
    return [
        trace
        for trace in traces
        if Path(trace["path"]).parent == traffic.log_folder
        and sent.began <= datetime.fromisoformat(trace["timestamp"]) <= sent.ended
    ]


def answered(
    traces: list[dict[str, Any]], *traffics: Traffic
) -> Iterator[tuple[Sent, dict[str, Any]]]:
    for traffic in traffics:
        for sent, _ in traffic.answered():
            # A retried call's success may begin with, or before, the attempt that failed.
            found = of(sent, traffic, traces)
            yield sent, next(trace for trace in found if trace["status"] == "success")


def test_every_call_is_in_the_ledger_once_with_its_outcome(
    traces: list[dict[str, Any]], everyday: Traffic, extras: Traffic
) -> None:
    for traffic in (everyday, extras):
        for sent in traffic.sent:
            found = sorted((t["status"], t["status_code"]) for t in of(sent, traffic, traces))
            assert found == sorted(sent.call.outcomes), sent.call.name
    lines = sum(len(read_lines(traffic.log_folder)) for traffic in (everyday, extras))
    assert len(traces) == lines > 20


def test_it_holds_what_the_client_truly_sent_and_received(
    traces: list[dict[str, Any]], everyday: Traffic, extras: Traffic
) -> None:
    for sent, trace in answered(traces, everyday, extras):
        name, plan = sent.call.name, sent.call.plan
        cached = plan.cache_read + plan.cache_write_5m
        assert trace["tokens_in"] == plan.tokens_in + cached, name
        assert trace["tokens_out"] == plan.tokens_out, name
        assert (trace["cache_read_tokens"] or 0) == plan.cache_read, name
        assert (trace["cache_write_tokens"] or 0) == plan.cache_write_5m, name
        assert trace["cost_usd"] == pytest.approx(sent.cost_usd, rel=1e-6, abs=1e-9), name
        assert trace["cost_source"] == ("cache_hit" if sent.call.is_cache_hit else "gateway"), name
        assert trace["latency_ms"] <= sent.milliseconds + 250, name
        assert trace["model"].split("/")[-1] == sent.call.body["model"].split("/")[-1].replace(
            "flaky", "gpt-4o-mini"
        ), name


def test_it_knows_session_developer_and_repository(
    traces: list[dict[str, Any]], everyday: Traffic
) -> None:
    for sent in everyday.sent:
        for trace in of(sent, everyday, traces):
            call = sent.call
            if call.session_id is not None:
                assert trace["session_id"] == call.session_id.removeprefix("session-"), call.name
            assert trace["developer_id"] == call.developer_id, call.name
            assert trace["repo_slug"] == (call.repo and "acme/web"), call.name


def test_nothing_that_was_said_or_secret_is_in_ledger_or_snapshots(
    traces: list[dict[str, Any]], home: Path
) -> None:
    files = [path for path in home.rglob("*") if path.is_file()]
    assert len(traces) > 20
    assert [path.suffix for path in files if path.suffix == ".parquet"]
    assert [path for path in files if b"canary" in path.read_bytes().lower()] == []


def test_calls_of_today_are_todays(traces: list[dict[str, Any]]) -> None:
    now = datetime.now(UTC)
    for trace in traces:
        began = datetime.fromisoformat(trace["timestamp"])
        assert now - timedelta(hours=1) < began <= now
        assert trace["event_date"] == f"{began:%Y-%m-%d}"


def test_searches_fast_mode_and_writes_of_an_hour_are_priced_by_the_table_to_the_nano_dollar(
    home: Path, everyday: Traffic
) -> None:
    sent, (line,) = everyday.call("claude-fast-priced")
    line.pop("cost_usd")  # as if the gateway knew none
    (home / "logs").mkdir(parents=True)
    (home / "logs" / "one.jsonl").write_text(json.dumps(line) + "\n")
    subprocess.run([sys.executable, "-m", "prodlensd", "run", "--once"], check=True)
    db = apsw.Connection(str(home / "prodlens.db"), flags=apsw.SQLITE_OPEN_READONLY)
    asked = "SELECT cost_source, unpriced_reason, round(cost_usd * 1e9) FROM traces"
    (found,) = db.execute(asked)
    db.close()
    plan = sent.call.plan
    # Opus 4.8 in fast mode: 10 and 50 dollars a million, writes of an hour at twice the input, and
    # ten dollars for a thousand searches.
    searches = plan.usage["server_tool_use"]["web_search_requests"] * 10_000_000
    picos = plan.tokens_in * 10_000 + plan.cache_write_1h * 20_000 + plan.tokens_out * 50_000
    assert found == ("table", None, picos + searches)
