"""`reconcile` holds a provider's bill against the ledger, in every shape that a bill comes in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prodlensd.answers.bills import read_bill
from tests.service.test_overview import call
from tests.service.test_reprice import Desk, desk

__all__ = ["desk"]  # a fixture

ANTHROPIC: dict[str, Any] = {
    "data": [
        {
            "starting_at": "2026-01-05T00:00:00Z",
            "ending_at": "2026-01-06T00:00:00Z",
            "results": [
                {"currency": "USD", "amount": "123.45678", "workspace_id": None, "model": None},
                {"currency": "USD", "amount": "1000", "description": "Claude, Output"},
            ],
        },
        {
            "starting_at": "2026-01-06T00:00:00Z",
            "ending_at": "2026-01-07T00:00:00Z",
            "results": [],
        },
    ],
    "has_more": False,
    "next_page": None,
}
OPENAI = {
    "object": "page",
    "data": [
        {
            "object": "bucket",
            "start_time": 1767571200,
            "end_time": 1767657600,
            "results": [
                {
                    "object": "organization.costs.result",
                    "amount": {"value": 0.06, "currency": "usd"},
                    "line_item": None,
                    "project_id": None,
                },
                {
                    "object": "organization.costs.result",
                    "amount": {"value": "11.1745678", "currency": "usd"},
                },
            ],
        }
    ],
    "has_more": True,
    "next_page": "page_2",
}
ANTHROPIC_CSV = (
    "usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,speed\n"
    "2026-01-05,Claude Haiku 4.5,Default,key,message,≤ 200k,input_no_cache,1.2345678,standard\n"
    '2026-01-05,Claude Haiku 4.5,"a, ""b""",key,message,≤ 200k,output,10,standard\n'
)
OPENAI_CSV = (
    "start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,line_item\n"
    '1767571200,1767657600,2026-01-05T00:00:00+00:00,2026-01-06T00:00:00+00:00,0.06,usd,"a, in"\n'
    "1767571200,1767657600,2026-01-05T00:00:00+00:00,2026-01-06T00:00:00+00:00,11.1745678,usd,out\n"
)
COST = 11_234_567_800


@pytest.mark.parametrize(
    ("text", "provider"),
    [
        (json.dumps(ANTHROPIC), "anthropic"),
        (json.dumps(OPENAI), "openai"),
        (f"\ufeff{ANTHROPIC_CSV}", "anthropic"),
        (OPENAI_CSV, "openai"),
        (OPENAI_CSV.replace("start_time_iso", "other"), "openai"),
        ("day,usd\n2026-01-05,11.2345678\n", None),
        ("Date;note;USD\n2026-01-05;x;$11.2345678\n", None),
        ("day,usd\r\n2026-01-05T23:00:00-05:00,1\r\n2026-01-05,11.2345678\r\n", None),
    ],
)
def test_each_shape_of_a_bill_gives_the_same_day(text: str, provider: str | None) -> None:
    bill = read_bill(text)
    assert (bill.provider, bill.refused) == (provider, [])
    assert [cost for day, cost in bill.days.items() if day.isoformat() == "2026-01-05"] == [COST]


def test_many_pages_are_one_bill_and_no_day_counts_twice() -> None:
    later = json.loads(json.dumps(ANTHROPIC).replace("2026-01-0", "2026-02-0"))
    for text in (json.dumps([ANTHROPIC, later]), f"{json.dumps(ANTHROPIC)}\n{json.dumps(later)}\n"):
        bill = read_bill(text)
        assert [(day.month, cost) for day, cost in bill.days.items()] == [(1, COST), (2, COST)]
    [*_, refused] = read_bill(json.dumps([ANTHROPIC, ANTHROPIC])).refused
    assert refused == ("bucket 4", "its day was there already")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("2026-01-05,ten", "no amount: ten"),
        ("2026-01-05,", "no amount: nothing"),
        ("2026-01-05,1e99", "no amount: 1e99"),
        ("2026-01-05,nan", "no amount: nan"),
        ("2026-01-05", "no amount: None"),
        ("05.01.2026,1", "no day: 05.01.2026"),
        ("99999999999999999999,1", ""),
        ("\x1b[2J,1", "no day: \\x1b[2J"),
    ],
)
def test_a_row_that_cannot_be_read_is_named_and_the_others_count(row: str, why: str) -> None:
    bill = read_bill(f"day,usd\n2026-01-04,1\n{row}\n2026-01-06,2\n")
    assert list(bill.days.values()) == [10**9, 2 * 10**9]
    [refused] = bill.refused
    assert refused.place == "line 3"
    assert refused.why.startswith(why)


def test_a_result_that_cannot_be_read_is_named_and_the_others_count() -> None:
    odd = [5, {}, {"amount": True, "currency": "USD"}, {"amount": "1", "currency": "EUR"}]
    bucket = ANTHROPIC["data"][0]
    page = {"data": [{**bucket, "results": [*odd, *bucket["results"]]}, 7]}
    bill = read_bill(json.dumps(page))
    assert list(bill.days.values()) == [COST]
    assert [place for place, _ in bill.refused] == [f"bucket 1, result {n}" for n in range(1, 5)]


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "[[1]]", '{"data": 5}', "a,b\n1,2", "{", "[" * 100_000, '{"data": [5]}'],
)
def test_what_is_no_bill_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own words, or ours
        read_bill(text)


# Against the ledger


def reconcile(desk: Desk, bill: str, *more: str, code: int) -> Any:
    path = desk.home / "bill"
    path.write_text(bill)
    done = desk.command("reconcile", str(path), *more)
    assert code == done.returncode, done.output
    return done


def day(number: int, *costs: float | None, model: str = "anthropic/x") -> list[bytes]:
    return [
        call(f"2026-01-{number:02d}T12:00:0{n}", cost, **{"llm.model_name": model})
        for n, cost in enumerate(costs)
    ]


@pytest.mark.parametrize("is_compacted", [False, True])
def test_days_that_agree_agree(desk: Desk, is_compacted: bool) -> None:
    desk.ingest(*day(5, 10.0, 1.2345678), *day(5, 99.0, model="openai/y"), *day(7, 5.0))
    if is_compacted:
        assert desk.command("compact").returncode == 0
    done = reconcile(desk, json.dumps(ANTHROPIC), code=0)
    assert "in the ledger $11.23 (provider: anthropic): all days agree" in done.output
    reconcile(desk, "day,usd\n2026-01-05,11.24\n", "--provider", "anth*", code=0)
    reconcile(desk, "day,usd\n2026-01-05,11.25\n", "--provider", "anth*", code=1)
    reconcile(desk, "day,usd\n2026-01-05,110.2345678\n", code=0)  # of all providers
    reconcile(desk, "day,usd\n2026-01-05,12\n", "--provider=anthropic", "--tolerance=1", code=0)


def test_what_may_explain_a_difference_is_said(desk: Desk) -> None:
    desk.ingest(*day(5, 10.0, None), *day(6, 2.0), *day(8, 3.0))
    bill = "day,usd\n2026-01-05,12\n2026-01-07,1\n2026-01-08,x\n2026-01-09,-2\n"
    found = json.loads(reconcile(desk, bill, "--json", code=1).stdout)
    assert [
        ("2026-01-05", 12.0, 10.0, ["1 call without a price"]),
        ("2026-01-06", None, 2.0, ["not on the bill"]),
        ("2026-01-07", 1.0, 0.0, ["no call in the ledger"]),
        ("2026-01-08", None, 3.0, ["not on the bill"]),
        ("2026-01-09", -2.0, 0.0, ["no call in the ledger"]),
    ] == [(d["day"], d["billed_usd"], d["ledger_usd"], d["reasons"]) for d in found["days"]]
    assert [refused["place"] for refused in found["refused"]] == ["line 4"]


def test_a_price_table_that_agrees_with_the_bill_is_named(desk: Desk) -> None:
    record = json.loads(call("2026-01-05T12:00:00", 9.0))
    record["attributes"]["llm.model_name"] = "anthropic/claude-sonnet-4-5"
    record["usage"] = {"input_tokens": 1_000_000, "output_tokens": 0, "total_tokens": 1_000_000}
    desk.ingest(json.dumps(record).encode() + b"\n")
    done = reconcile(desk, "day,usd\n2026-01-05,6\n", code=1)
    assert "$6.00 by the price table: agrees" in done.output


def test_open_gaps_are_told_where_the_ledger_lacks_something(desk: Desk) -> None:
    desk.ingest(*day(5, 1.0))
    desk.store.write("INSERT INTO gap VALUES (1, 1, 0, 500, 'shrunk', 'open', 1)")
    assert "1 gap open, 500 B at least" in reconcile(desk, "day,usd\n2026-01-05,3\n", code=1).output
    assert "gap" not in reconcile(desk, "day,usd\n2026-01-05,0.5\n", code=1).output


def test_rows_that_cannot_be_read_alone_are_a_difference(desk: Desk) -> None:
    desk.ingest(*day(5, 1.0))
    done = reconcile(desk, "day,usd\n2026-01-05,1\n\x1b[2J,3\n", code=1)
    assert done.stderr == "line 3: no day: \\x1b[2J\n"
    assert "all days agree" in done.stdout


def test_what_cannot_be_compared_ends_with_one_sentence_and_code_2(
    desk: Desk, tmp_path: Path
) -> None:
    desk.ingest()
    assert "not a bill: " in reconcile(desk, "what?", code=2).stderr
    assert "no day that can be read" in reconcile(desk, "day,usd\nx,1\n", code=2).output
    assert desk.command("reconcile", str(tmp_path / "none")).returncode == 2
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe" * 100)
    assert "not a bill: 'utf-8' codec" in desk.command("reconcile", str(binary)).stderr
    desk.stop()
    for file in desk.home.rglob("prodlens.db*"):
        file.unlink()
    assert "no ledger at" in reconcile(desk, "day,usd\n2026-01-05,1\n", code=2).stderr
