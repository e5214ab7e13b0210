"""`show` lists a session's calls in order, or says all that is known of one call."""

from __future__ import annotations

import json
from typing import Any

import pytest

from prodlensd.ledger import Reader
from tests.service.test_reprice import OVERRIDE, Desk, desk, line

__all__ = ["desk"]  # a fixture


def call(number: int, session: str = "s", **more: Any) -> bytes:
    """A call with a price by the proxy, cached tokens and a time to the first token."""
    attributes = {
        "llm.model_name": "ours/model",
        "latency_ms": 1500 + number,
        "ttft_ms": 250,
        "status": "success",
        "status_code": 200,
    }
    usage = {"prompt_tokens": 1000, "completion_tokens": 10 + number}
    usage |= {"prompt_tokens_details": {"cached_tokens": 600}}  # type: ignore[dict-item]
    who = {"session_id": session, "developer_id": "ana@example.com", "repo": "acme/web"}
    record: dict[str, Any] = {"attributes": attributes, "usage": usage, "metadata": who}
    return line(number, **record | {"cost_usd": 0.25} | more)


def shown(desk: Desk, *arguments: str, code: int = 0) -> str:
    done = desk.command("show", *arguments)
    assert code == done.returncode, done.output
    return str(done.stdout if code == 0 else done.stderr)


def test_a_session_is_its_calls_in_order_of_time_and_a_total(desk: Desk) -> None:
    failed = {"status": "failure", "status_code": 529, "llm.model_name": "ours/model"}
    desk.ingest(
        call(3), call(1), call(2, attributes=failed, usage={}, cost_usd=None), call(4, "other")
    )
    title, header, *calls, total = shown(desk, "s").splitlines()
    assert "session s, developer ana@example.com, repo acme/web, 2026-01-01 (UTC)" == title
    names = "time model input cached output cost ttft latency status"
    assert names.split() == header.split()
    assert [
        "00:00:01 model 1,000 600 11 $0.25 250 ms 1.5 s ok",
        "00:00:02 model - - - $0.00 - - failed 529",
        "00:00:03 model 1,000 600 13 $0.25 250 ms 1.5 s ok",
    ] == [" ".join(row.split()) for row in calls]
    assert "total 3 calls 2,000 1,200 24 $0.50 1 failed" == " ".join(total.split())


def test_a_total_says_when_it_is_not_complete(desk: Desk) -> None:
    desk.ingest(call(1), call(2, cost_usd=None))
    assert "≥ $0.25" in shown(desk, "s").splitlines()[-1]
    desk.ingest(call(3, "all unpriced", cost_usd=None))
    *_, row, total = shown(desk, "all unpriced").splitlines()
    assert "unpriced" in row
    assert "unpriced" in total
    assert "$" not in row + total


def test_a_call_is_shown_with_its_line_its_bill_its_price_and_where_that_is_from(
    desk: Desk,
) -> None:
    desk.config.write_text(OVERRIDE)
    first = call(1)
    desk.ingest(first, call(2))
    text = shown(desk, "call2")
    for part in (
        "call     call2\n",
        "session  s\n",
        "status   success 200\n",
        "latency  1.5 s, to the first token 250 ms\n",
        "tokens   1,000 in, 600 of them read from a cache, 12 out, ",
        "cost     $0.001024, override\n",
        f"line     byte {len(first):,} of {desk.logs / 'a.jsonl'}\n",
        "price    override: ",
        "gateway  reported $0.25\n",
        "ledger   $0.001024, override\n",
    ):
        assert part in text, part
    priced = desk.command("prices", "show", "--call", "call2").stdout.partition("\n")[2]
    assert priced
    assert priced in text


def test_changes_of_its_price_are_shown(desk: Desk) -> None:
    desk.ingest(call(1, cost_usd=None))
    assert "changed" not in shown(desk, "call1")
    desk.config.write_text(OVERRIDE)
    desk.stop()
    assert 0 == desk.command("reprice").returncode
    text = shown(desk, "call1")
    assert "Z: unpriced → $0.001022, override\n" in text
    [change] = json.loads(shown(desk, "call1", "--json"))["call"]["changes"]
    assert ("unpriced", None) == (change["old_source"], change["old_nanousd"])
    assert ("override", 1_022_000) == (change["new_source"], change["new_nanousd"])


def test_of_a_pruned_call_there_is_what_its_snapshot_has(desk: Desk) -> None:
    desk.config.write_text("[retention]\nstore_days = 1\n")
    desk.ingest(call(1))
    desk.stop()
    assert 0 == desk.command("compact").returncode
    with Reader(desk.ledger) as reader:
        assert reader.prices.call("call1") is None
    text = shown(desk, "call1")
    assert "price    pruned: where it came from is no longer here\n" in text
    assert "gateway  reported $0.25\n" in text
    assert f"line     byte 0 of {desk.logs / 'a.jsonl'}\n" in text
    assert "tokens   1,000 in" in text
    found = json.loads(shown(desk, "call1", "--json"))["call"]
    assert (250_000_000, None) == (found["cost_nanousd"], found["price"])


def test_attempts_with_one_id_are_listed_and_the_last_is_shown(desk: Desk) -> None:
    failed = {"status": "failure", "status_code": 429, "llm.model_name": "ours/model"}
    first = call(1, attributes=failed, usage={}, cost_usd=None)
    desk.ingest(first, call(2, litellm_call_id="call1", id="again"))
    text = shown(desk, "call1")
    assert "failed 429" in text
    assert "total" in text
    assert "the last of them:\ncall     call1\ntime     2026-01-01T00:00:02.000000Z" in text
    assert 2 == json.loads(shown(desk, "call1", "--json"))["calls_with_this_id"]


def test_a_name_that_is_both_is_taken_for_the_session_and_that_is_said(desk: Desk) -> None:
    desk.ingest(call(1, "call2"), call(2, "another"))
    text = shown(desk, "call2")
    assert "session call2" in text
    assert "the session's name is also the id of 1 call: prodlensd prices show --call\n" in text


def test_what_is_not_there_is_a_sentence_and_exit_code_1(desk: Desk) -> None:
    desk.ingest(call(1))
    said = shown(desk, "nobody\x1b]0;x", code=1)
    assert "Error: nobody\\x1b]0;x: no session has this name, and no call this id\n" == said
    assert "" == desk.command("show", "nobody").stdout


def test_hostile_names_are_escaped(desk: Desk) -> None:
    hostile = "a\x1b]0;owned\x07\nb"
    attributes = {"llm.model_name": hostile, "latency_ms": 1}
    desk.ingest(call(1, hostile, attributes=attributes))
    for name in (hostile, "call1"):
        assert "\x1b" not in shown(desk, name)
    found = json.loads(shown(desk, hostile, "--json"))
    assert hostile == found["calls"][0]["model"] == found["name"]


@pytest.mark.parametrize("name", ["s", "call1"])
def test_json_has_the_same_keys_for_both(name: str, desk: Desk) -> None:
    desk.ingest(call(1))
    found = json.loads(shown(desk, name, "--json"))
    expected = "schema name kind calls_with_this_id calls more_calls total call"
    assert expected.split() == list(found)
    assert "prodlensd.show/1" == found["schema"]
    assert 250_000_000 == found["total"]["cost_nanousd"]
    assert "2026-01-01T00:00:01.000000Z" == found["calls"][0]["timestamp"]
