"""The three sample calls: their true list prices, and what a flat fallback makes of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import pytest

LOG = Path(__file__).parents[1] / "data" / "sample.jsonl"


def ingest(home: Path, config: str) -> list[Any]:
    (home / "logs").mkdir(parents=True)
    (home / "logs" / "litellm-traces-2025-10-12.jsonl").write_bytes(LOG.read_bytes())
    (home / "config.toml").write_text(config)
    subprocess.run([sys.executable, "-m", "prodlensd", "run", "--once"], check=True)
    db = apsw.Connection(str(home / "prodlens.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return list(
            db.execute(
                "SELECT session_id, developer_id, model, tokens_in, tokens_out, latency_ms, "
                "repo_slug, timestamp, event_date, provider, status, status_code, "
                "total_tokens, cost_usd, cost_source "
                "FROM traces ORDER BY timestamp"
            )
        )
    finally:
        db.close()


def test_the_sample_costs_what_the_list_says(home: Path) -> None:
    repo, day = "test/prodlens-demo", "2025-10-12"
    assert ingest(home, "") == [
        ("abc123", "dev@example.com", "anthropic/claude-3-5-sonnet-20241022", 250, 150, 1234.5,
        repo,
         f"{day}T19:00:00.000000Z", day, "anthropic", "success", 200, 400, 0.003, "table"),
        ("abc124", "dev@example.com", "anthropic/claude-3-5-haiku-latest", 100, 50, 567.8, repo,
         f"{day}T19:05:00.000000Z", day, "anthropic", "success", 200, 150, 0.00028, "table"),
        ("xyz789", "alice@example.com", "anthropic/claude-3-opus-20240229", 500, 300, 2345.6, repo,
         f"{day}T19:10:00.000000Z", day, "anthropic", "success", 200, 800, 0.03, "table"),
    ]  # fmt: skip


def test_under_a_fallback_of_10_and_10_unknown_models_cost_what_it_says(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = tmp_path / "unknown.jsonl"
    unknown.write_bytes(LOG.read_bytes().replace(b"anthropic/claude", b"acme/unheard-of"))
    monkeypatch.setattr(sys.modules[__name__], "LOG", unknown)
    rows = ingest(
        home, "[pricing.fallback]\ninput_usd_per_million = 10\noutput_usd_per_million = 10\n"
    )
    assert [row[-2:] for row in rows] == [
        (0.004, "fallback"),
        (0.0015, "fallback"),
        (0.008, "fallback"),
    ]


def test_without_a_price_there_is_no_number(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unknown = tmp_path / "unknown.jsonl"
    unknown.write_bytes(LOG.read_bytes().replace(b"anthropic/claude", b"acme/unheard-of"))
    monkeypatch.setattr(sys.modules[__name__], "LOG", unknown)
    assert [row[-2:] for row in ingest(home, "")] == [(None, "unpriced")] * 3
