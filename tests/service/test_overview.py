"""`prodlensd` alone says what somebody wants to know first, each stretch beside the one before."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from prodlensd.model import US_PER_S
from tests.service.test_reprice import Desk, desk

__all__ = ["desk"]  # a fixture

NOW = datetime(2026, 1, 14, 12, tzinfo=UTC)  # a Wednesday


@pytest.fixture(autouse=True)
def at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prodlensd.cli.overview.now_us", lambda: int(NOW.timestamp()) * US_PER_S)
    monkeypatch.setattr("prodlensd.cli.overview.time_zone", lambda _: UTC)


def call(at: str, cost_usd: float | None, who: str = "ana@example.com", **attributes: Any) -> bytes:
    """A call of 1,000 tokens, of which 600 are from a cache; without a cost it has no price."""
    usage = {"prompt_tokens": 1000, "completion_tokens": 10}
    usage |= {"prompt_tokens_details": {"cached_tokens": 600}}  # type: ignore[dict-item]
    record = {
        "timestamp": f"{at}Z",
        "id": f"{at} {who}",
        "litellm_call_id": f"{at} {who}",
        "cost_usd": cost_usd,
        "attributes": {"llm.model_name": "here/unheard-of", "status": "success"} | attributes,
        "usage": {} if attributes else usage,
        "metadata": {"developer_id": who},
    }
    return json.dumps(record).encode() + b"\n"


CALLS = (
    call("2025-12-10T12:00:00", 4.0),
    call("2025-12-20T12:00:00", 8.0),  # later in December than it is in January
    call("2026-01-06T12:00:00", 1.0),
    call("2026-01-09T12:00:00", 5.0),  # later in its week than it is in this one
    call("2026-01-12T12:00:00", 2.0, "ben@example.com"),
    call("2026-01-13T12:00:00", None),
    call("2026-01-14T08:30:00", 1.0),
    call("2026-01-14T10:00:00", None, status="failure", status_code=500),
    call("2026-01-14T12:00:01", 64.0),  # not yet
)


def overview(desk: Desk, *arguments: str, code: int = 0) -> list[str]:
    done = desk.command(*arguments)
    assert code == done.returncode, done.output
    return [" ".join(text.split()) for text in done.output.splitlines()]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("is_compacted", [False, True])
def test_a_stretch_stands_beside_the_same_part_of_the_one_before(
    desk: Desk, is_compacted: bool
) -> None:
    desk.ingest(*CALLS)
    if is_compacted:
        assert desk.command("compact").returncode == 0
    title, _, *lines = overview(desk)
    assert title.startswith("AI usage on ")
    assert title.endswith("14 Jan 2026, 12:00 UTC")
    # 8 dollars in 13 days that are over, and 18 that are left.
    assert [
        "today $1.00 2 calls █ █ 50.0 % failed",
        "this week ≥ $3.00 4 calls +200 % on last week",
        "January ≥ $9.00 6 calls +125 % on the month before",
        "forecast about ≥ $19.08 at the end of the month",
        "cache 60.0 % of the input came from the cache",
        "unpriced 1 call of 1 model: prodlensd prices check",
        "",
        "top developers top models",
        "ana@example.com ≥ $7.00 here/unheard-of ≥ $9.00",
        "ben@example.com $2.00",
    ] == lines


def test_where_nothing_was_before_there_is_no_change(desk: Desk) -> None:
    desk.ingest(CALLS[6])
    lines = overview(desk)
    assert "this week $1.00 1 call no cost last week" in lines
    assert "January $1.00 1 call no cost the month before" in lines
    assert not [text for text in lines if "forecast" in text]


def test_an_empty_ledger_says_where_to_look(desk: Desk) -> None:
    desk.ingest()
    assert "no calls yet: prodlensd doctor says what is not wired" in overview(desk)


def test_without_a_ledger_there_is_one_clear_sentence(desk: Desk) -> None:
    desk.stop()
    for file in desk.home.rglob("prodlens.db*"):
        file.unlink()
    [said] = overview(desk, code=1)
    assert said.startswith("Error: no ledger at ")


def test_names_from_outside_do_nothing_to_a_terminal(desk: Desk) -> None:
    desk.ingest(call("2026-01-14T08:30:00", 1.0, "\x1b]0;owned\x07"))
    assert all(text.isprintable() for text in overview(desk))
