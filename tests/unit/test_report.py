"""The questions of `report`: which time, which order, and figures that hide nothing."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, datetime, tzinfo
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from prodlensd.answers.forecast import Forecast
from prodlensd.answers.periods import Period, read_period, span_around
from prodlensd.answers.questions import Question, read_by
from prodlensd.answers.report import Figures, Group, Report, SourceCost
from prodlensd.answers.report import _ordered as ordered
from prodlensd.answers.wording import cost
from prodlensd.app.report import Asked
from prodlensd.cli.report_columns import COLUMNS, DEFAULT, read_columns
from prodlensd.cli.report_forms import (
    csv_of,
    in_csv,
    in_json,
    in_markdown,
    markdown,
    table,
)
from prodlensd.model import US_PER_DAY, US_PER_S
from prodlensd.text import money, printable

BERLIN = ZoneInfo("Europe/Berlin")
HOUR_US = 3600 * US_PER_S


def us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp()) * US_PER_S


#: A Wednesday.
NOW_US = us("2026-11-18T12:00:00+01:00")


# Money


@pytest.mark.parametrize(
    ("nanousd", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (280_000, "$0.00028"),
        (3_000_000, "$0.003"),
        (3_347_500, "$0.003348"),
        (33_280_000, "$0.03328"),
        (30_000_000, "$0.03"),
        (500_000_000, "$0.50"),
        (999_999_999, "$1.00"),
        (1_000_000_000, "$1.00"),
        (12_340_000_000, "$12.34"),
        (12_345_000_000, "$12.34"),
        (1_234_567_890_000_000, "$1,234,567.89"),
        (2**63 - 1, "$9,223,372,036.85"),
    ],
)
def test_money_is_never_rounded_to_nothing(nanousd: int, text: str) -> None:
    assert money(nanousd) == text


@given(st.integers(min_value=1, max_value=2**63 - 1))
def test_money_is_right_to_four_digits_or_to_the_cent(nanousd: int) -> None:
    nearest = round(float(money(nanousd).lstrip("$").replace(",", "")) * 1e9)
    assert abs(nearest - nanousd) <= max(nanousd / 1999, 5_000_000 if nanousd >= 10**9 else 0)


def figures(**known: Any) -> Figures:
    nothing: dict[str, Any] = dict.fromkeys(Figures.__struct_fields__)
    counts = ("requests", "failed_requests", "calls", "billed_calls", "errors", "unpriced_calls")
    by_kind: dict[str, Any] = {"cost_by_source": {}, "unpriced_reasons": {}}
    return Figures(**nothing | dict.fromkeys(counts, 0) | by_kind | known)


@pytest.mark.parametrize(
    ("cost_nanousd", "billed", "unpriced", "text"),
    [
        (12_340_000_000, 5, 0, "$12.34"),
        (12_340_000_000, 5, 3, "≥ $12.34"),
        (5_000, 3, 2, "≥ $0.000005"),
        (0, 3, 1, "≥ $0.00"),
        (0, 3, 3, "unpriced"),  # nothing that is billed has a price: what is free tells nothing
        (0, 0, 0, "$0.00"),
        (None, 2, 2, "unpriced"),
        (None, 0, 0, "-"),
    ],
)
def test_a_cost_never_hides_what_is_unpriced(
    cost_nanousd: int | None, billed: int, unpriced: int, text: str
) -> None:
    known = figures(cost_nanousd=cost_nanousd, billed_calls=billed, unpriced_calls=unpriced)
    assert text == cost(known)
    more: dict[str, Any]
    for count in ("calls", "sessions"):
        more = {count: 1}
        each = COLUMNS[f"cost_per_{count[:-1]}"].cell(replace(known, **more), known)
        assert each == text
    is_known = "$" in text
    assert (COLUMNS["share"].cell(known, figures(cost_nanousd=10**12)) == "-") == (not is_known)


def test_the_summary_says_how_many_calls_have_no_price_and_why() -> None:
    reasons = {"model_unknown": 1_200, "usage_missing": 34}
    known = figures(
        *(), calls=9_999, cost_nanousd=10**9, unpriced_calls=1_234, unpriced_reasons=reasons
    )
    why = (
        "1,234 calls have no price (1,200 model_unknown, 34 usage_missing): prodlensd prices check"
    )
    said = printed("table", replace(found("model", group("a")), total=known))
    assert said.endswith(f" · ≥ $1.00 · {why}\n")
    one = figures(calls=1, unpriced_calls=1, unpriced_reasons={"model_unknown": 1})
    said = printed("table", replace(found("model", group("a")), total=one))
    assert said.endswith(
        " · unpriced · 1 call has no price (1 model_unknown): prodlensd prices check\n"
    )


# Time


def period(since: str | None, until: str | None, by: str = "day", zone: tzinfo = BERLIN) -> Any:
    read = read_period(since, until, read_by(by), zone, NOW_US)
    return read.since_us, read.until_us


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-11-01", "2026-11-01T00:00+01:00", "2026-11-02T00:00+01:00"),
        ("today", "2026-11-18T00:00+01:00", "2026-11-19T00:00+01:00"),
        ("0d", "2026-11-18T00:00+01:00", "2026-11-19T00:00+01:00"),
        ("yesterday", "2026-11-17T00:00+01:00", "2026-11-18T00:00+01:00"),
        ("7d", "2026-11-11T00:00+01:00", "2026-11-12T00:00+01:00"),
        ("24h", "2026-11-17T12:00+01:00", "2026-11-17T12:00+01:00"),
        ("2026-11-01T14:30", "2026-11-01T14:30+01:00", "2026-11-01T14:30+01:00"),
        ("2026-11-01T14:30Z", "2026-11-01T14:30+00:00", "2026-11-01T14:30+00:00"),
        # The days on which clocks change have 25 and 23 hours.
        ("2026-10-25", "2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00"),
        ("2026-03-29", "2026-03-29T00:00+01:00", "2026-03-30T00:00+02:00"),
    ],
)
def test_a_day_reaches_from_its_start_to_its_end_and_a_moment_is_its_own(
    text: str, start: str, end: str
) -> None:
    assert period(text, None) == (us(start), None)
    assert period("2020-01-01", text)[1] == us(end)


def test_always_is_all_that_a_ledger_can_hold() -> None:
    assert period("always", None) == (0, None)


def test_one_day_can_be_asked_for_by_its_name_twice() -> None:
    since_us, until_us = period("2026-11-01", "2026-11-01")
    assert until_us - since_us == US_PER_DAY


@pytest.mark.parametrize(
    ("by", "until", "start"),
    [
        ("day", None, "2026-10-19T00:00+02:00"),
        ("developer,model", None, "2026-10-19T00:00+02:00"),
        ("day", "2026-03-31", "2026-03-01T00:00+01:00"),
        ("week", None, "2026-08-31T00:00+02:00"),  # the twelfth Monday, this week's included
        ("month", None, "2025-12-01T00:00+01:00"),
        ("model,month", "2026-10-31", "2025-12-01T00:00+01:00"),
        ("month", "2026-11-01", "2025-12-01T00:00+01:00"),
    ],
)
def test_a_report_that_is_not_told_since_when_begins_with_a_whole_day_week_or_month(
    by: str, until: str | None, start: str
) -> None:
    assert period(None, until, by)[0] == us(start)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "7",
        "-7d",
        "7y",
        "w",
        "2026-W60",
        "2026-0",
        "2026-13-01",
        "2026-11-01T",
        "9999999d",
        "٣d",
        "T",
        "1e3h",
    ],
)
def test_what_is_no_time_is_refused_with_what_is_accepted(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"not a time; accepted are 2026-11-01, .* 7d, 4w, 3mo .* 24h"
    ):
        period(text, None)


@pytest.mark.parametrize(
    ("text", "meant"),
    [("yestreday", "yesterday"), ("this_week", "this-week"), ("Today", "today")],
)
def test_what_is_nearly_the_name_of_a_time_is_answered_with_that(text: str, meant: str) -> None:
    with pytest.raises(ValueError, match=rf"'{text}' is not a time; did you mean {meant}"):
        period(text, None)


def test_an_end_before_the_start_is_refused() -> None:
    with pytest.raises(
        ValueError, match="--until 2026-11-01 ends before --since 2026-11-02 begins"
    ):
        period("2026-11-02", "2026-11-01")


@pytest.mark.parametrize("text", ["0001-01-01", "1969-12-31", "9999-12-30", "999999h"])
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Niue"])
def test_the_ends_of_the_calendar_are_times_too(text: str, zone: str) -> None:
    since_us, _ = period(text, None, zone=ZoneInfo(zone))
    assert 0 <= since_us < 2**62
    period(None, text, zone=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("unit", "at", "start", "end", "name"),
    [
        ("day", "2026-10-25T23:59+01:00", "2026-10-25T00+02", "2026-10-26T00+01", "2026-10-25"),
        ("day", "2026-03-29T22:00+00:00", "2026-03-30T00+02", "2026-03-31T00+02", "2026-03-30"),
        ("week", "2027-01-01T12:00+01:00", "2026-12-28T00+01", "2027-01-04T00+01", "2026-W53"),
        ("week", "2026-03-29T23:59+02:00", "2026-03-23T00+01", "2026-03-30T00+02", "2026-W13"),
        ("month", "2026-10-31T23:30+01:00", "2026-10-01T00+02", "2026-11-01T00+01", "2026-10"),
        ("month", "2026-12-31T23:30+00:00", "2027-01-01T00+01", "2027-02-01T00+01", "2027-01"),
    ],
)
def test_days_weeks_and_months_are_those_of_the_zone(
    unit: str, at: str, start: str, end: str, name: str
) -> None:
    assert span_around(us(at), unit, BERLIN) == (us(start), us(end), name)


ZONES = [
    "America/Havana",  # midnight comes twice when clocks are set back
    "America/Sao_Paulo",  # and was skipped when they were set forward
    "America/St_Johns",  # a minute after midnight they were set back to the day before
    "Pacific/Apia",  # had no 30 December 2011
    "Pacific/Kiritimati",
    "Asia/Kathmandu",
    "Europe/Berlin",
]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("unit", ["day", "week", "month"])
def test_every_moment_is_in_one_span_and_spans_follow_on_each_other(unit: str, zone: str) -> None:
    @given(st.integers(min_value=0, max_value=us("9999-12-31T23:59:59+00:00")))
    @example(us("2006-10-29T02:31:30+00:00"))  # St. John's, just after a minute past midnight
    @example(us("2011-12-30T10:00:00+00:00"))
    @example(us("9999-12-31T23:59:59+00:00"))
    def check(at_us: int) -> None:
        start_us, end_us, name = span_around(at_us, unit, ZoneInfo(zone))
        assert start_us <= at_us < end_us
        assert span_around(end_us - 1, unit, ZoneInfo(zone)) == (start_us, end_us, name)
        if end_us < us("9999-12-01T00:00:00+00:00"):
            next_start_us, _, next_name = span_around(end_us, unit, ZoneInfo(zone))
            assert (next_start_us, next_name > name) == (end_us, True)

    check()


def test_the_hours_of_a_year_fall_into_365_days_of_which_two_are_odd() -> None:
    start_us = us("2026-01-01T00:00+01:00")
    spans = {span_around(start_us + hour * HOUR_US, "day", BERLIN)[:2] for hour in range(365 * 24)}
    hours = [(end - start) // HOUR_US for start, end in sorted(spans)]
    assert (len(hours), hours.count(23), hours.count(25), hours.count(24)) == (365, 1, 1, 363)
    assert all(before[1] == after[0] for before, after in pairwise(sorted(spans)))


# Groups


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no ''; expected one of day, week, month, hour, weekday, developer, "),
        ("day,", "there is no ''; expected one of day, week, "),
        ("colour", "there is no 'colour'; expected one of day, week, "),
        ("Day", r"there is no 'Day'; did you mean day\?"),
        ("day,modl", r"there is no 'modl'; did you mean model\?"),
        ("day,model,repo", "'day,model,repo': expected one or two names"),
        ("model,model", "'model,model': expected one or two names, not the same twice"),
    ],
)
def test_what_cannot_be_grouped_by_is_refused_with_what_can(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"--by:? {said}"):
        read_by(text)


def group(*key: str | None, cost: int | None = None, calls: int = 1) -> Group:
    return Group(key, ((),) * len(key), figures(cost_nanousd=cost, calls=calls))


def in_order(groups: list[Group], *by: str, **firsts: Figures) -> list[Group]:
    question = Question(by=by, period=Period(0, None, UTC))
    return ordered(groups, question, dict(firsts.items()))


def test_times_go_from_early_to_late_and_names_from_dear_to_cheap() -> None:
    groups = [
        group("2026-11-02", "a", cost=9),
        group("2026-11-01", "a", cost=1),
        group("2026-11-01", "b", cost=2),
    ]
    keys = [found.key for found in in_order(groups, "day", "model")]
    assert keys == [("2026-11-01", "b"), ("2026-11-01", "a"), ("2026-11-02", "a")]


def test_of_two_names_the_first_is_ordered_by_all_that_it_costs() -> None:
    groups = [
        group("ann", "x", cost=5),
        group("bob", "x", cost=3),
        group("bob", "y", cost=4),
    ]
    firsts = {"ann": figures(cost_nanousd=5), "bob": figures(cost_nanousd=7)}
    keys = [found.key for found in in_order(groups, "developer", "model", **firsts)]
    assert keys == [("bob", "y"), ("bob", "x"), ("ann", "x")]


def test_names_of_one_cost_are_ordered_by_calls_then_by_name_then_those_without() -> None:
    groups = [
        group(None, cost=0),
        group("unpriced", calls=99),
        group("b", cost=0),
        group("a", cost=0),
        group("c", cost=0, calls=2),
    ]
    keys = [found.key[0] for found in in_order(groups, "model")]
    assert keys == ["c", "a", "b", None, "unpriced"]


# Forms


HOSTILE = [
    "=HYPERLINK(A1)",
    "+1",
    "-1",
    "@SUM(A1)",
    "\uff1d1",
    "a\nb",
    "\x1b]0;owned\x07",
    "\x9b31m",
    "a|b`c`",
    "[x](http://example.com)",
    "<img src=x>",
    "\u202egnp",
    '"quoted", and more',
    "x" * 500,
    "漢字" * 40,
    "",
]


def found(by: str, *groups: Group) -> Report:
    total = figures(calls=len(groups), cost_nanousd=len(groups))
    return Report((by,), Period(0, None, UTC), groups, total, None)


def printed(form: str, report: Report, *columns: str, width: int | None = None) -> str:
    answer = Asked(
        Question(by=report.by, period=report.period, top=report.top), report, None, None, {}
    )
    if form in ("table", "md"):
        shown = columns or DEFAULT
        return markdown(answer, shown) if form == "md" else table(answer, shown, width=width)
    return {"json": in_json, "csv": csv_of}[form](answer)


@pytest.mark.parametrize("form", ["table", "md", "csv"])
@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_breaks_a_line_or_steers_a_terminal(form: str, name: str) -> None:
    hostile = Group((name,), ((name,),), figures(cost_nanousd=1))
    text = printed(form, found("developer", hostile))
    plain = printed(form, found("developer", Group(("plain",), (("plain",),), figures())))
    assert len(text.splitlines()) == len(plain.splitlines())
    assert all(line.isprintable() for line in text.replace("\r\n", "\n").split("\n"))


@pytest.mark.parametrize("name", HOSTILE)
def test_in_csv_no_text_is_a_formula_and_numbers_stay_numbers(name: str) -> None:
    hostile = Group((name,), ((name,),), figures(cost_nanousd=280_000, latency_p50_ms=1.5))
    (row,) = csv.DictReader(io.StringIO(printed("csv", found("developer", hostile)), newline=""))
    for text in (row["developer"], row["developer_via"]):
        assert text[:1] not in {"=", "+", "-", "@", "\uff1d", "\t", "\r"}
        assert text.removeprefix("'") == printable(name)
    assert (row["cost_nanousd"], row["cost_usd"]) == ("280000", "0.000280000")
    assert (row["latency_p50_ms"], row["latency_p95_ms"]) == ("1.5", "")


def test_csv_is_that_of_rfc_4180_with_its_header_even_when_empty() -> None:
    empty = printed("csv", found("session"))
    assert empty.startswith("session,session_via,requests,failed_requests,calls,")
    assert empty.count("\r\n") == 1
    assert ",latency_p50_ms,latency_p95_ms,cost_usd," in empty, "new columns come last"
    assert empty.endswith("\r\n")
    assert '"a ""b"", c"' in printed("csv", found("model", group('a "b", c')))


def test_in_markdown_a_name_is_one_cell_of_plain_text() -> None:
    assert in_markdown("a|b") == r"a\|b"
    assert in_markdown("`<b>`") == r"\`\<b\>\`"
    assert in_markdown("\\|") == r"\\\|"
    title, _, row, *_ = printed("md", found("model", group("|" * 9))).splitlines()
    bars = [len(re.findall(r"(?<!\\)\|", text)) for text in (title, row)]
    assert bars == [len(DEFAULT) + 1] * 2, "the bar is no column of Markdown"


def test_names_without_a_value_look_unlike_an_empty_one() -> None:
    nameless = found("developer", group(None))
    assert "\n(none) " in printed("table", nameless)
    assert "\n| (none) | " in printed("md", nameless).replace("\\", "")
    assert printed("csv", nameless).splitlines()[1].startswith(",,")
    assert json.loads(printed("json", nameless))["groups"][0]["developer"] is None


def test_an_empty_json_report_has_the_same_keys() -> None:
    full = found("developer", Group(("a",), (("key_user", "metadata"),), figures()))
    one, none = json.loads(printed("json", full)), json.loads(printed("json", found("developer")))
    assert one["schema"] == none["schema"] == "prodlensd.report/1"
    assert one.keys() == none.keys()
    assert one["total"].keys() == none["total"].keys()
    assert one["groups"][0].keys() == {"developer", "developer_via"} | one["total"].keys()
    first = {"schema", "by", "since", "until", "timezone", "top", "groups", "total"}
    assert first | {"more_groups", "rest"} < one.keys(), "what the schema had, it has"
    had = "requests failed_requests calls billed_calls errors tokens_in tokens_out cost_usd "
    had += "cache_read_tokens cache_write_tokens reasoning_tokens cost_nanousd unpriced_calls "
    had += "unpriced_tokens latency_p50_ms latency_p95_ms cost_by_source unpriced_reasons"
    assert {*had.split()} < one["total"].keys()
    assert one["groups"][0]["developer_via"] == ["key_user", "metadata"]


def test_json_has_the_exact_sum_and_dollars_and_both_are_null_when_nothing_is_priced() -> None:
    priced = group("a", cost=123_456_789)
    with_source = Group(
        ("b",),
        ((),),
        figures(unpriced_calls=2, cost_by_source={"unpriced": SourceCost(2, None)}),
    )
    first, second = json.loads(printed("json", found("model", priced, with_source)))["groups"]
    assert (first["cost_nanousd"], first["cost_usd"]) == (123_456_789, 0.123456789)
    assert (second["cost_nanousd"], second["cost_usd"]) == (None, None)
    assert second["cost_by_source"] == {"unpriced": {"calls": 2, "cost_nanousd": None}}


def test_ways_of_finding_a_name_are_joined() -> None:
    both = found("developer", Group(("a",), (("key_user", "metadata"),), figures()))
    assert printed("table", both).splitlines()[1].endswith("  key_user, metadata")
    known = found("developer", Group(("a",), (("key_user", "key_email"),), figures()))
    assert "via" not in printed("table", known), "where no name is a mere claim, it says nothing"
    assert printed("csv", both).splitlines()[1].startswith('a,"key_user, metadata",')


def test_in_csv_leaves_harmless_names_alone() -> None:
    assert in_csv("anthropic/claude-3-5-sonnet") == "anthropic/claude-3-5-sonnet"
    assert in_csv("dév@example.com") == "dév@example.com"


def test_columns_are_read_in_their_order_and_what_has_a_plus_comes_on_top() -> None:
    assert read_columns(None) == DEFAULT
    assert read_columns("cost, calls") == ("cost", "calls")
    assert read_columns("+p95,+cost") == (*DEFAULT, "p95")
    assert read_columns("calls,+p95,calls") == ("calls", "p95")
    for text in ("", ",", "+", "colour"):
        with pytest.raises(ValueError, match="expected one of calls, failed, input"):
            read_columns(text)
    for text in ("calls,Cost", "++cost"):
        with pytest.raises(ValueError, match=r"did you mean cost"):
            read_columns(text)


# What is left out


def limited(*groups: Group, more: int, rest: Figures) -> Report:
    full = found("session", *groups)
    return replace(full, top=len(groups), more_groups=more, rest=rest)


def test_the_rest_is_a_row_before_the_total_and_the_hint_says_how_to_see_it() -> None:
    report = limited(group("a", cost=3 * 10**9), more=1234, rest=figures(cost_nanousd=2 * 10**9))
    hint = " · 1,234 groups more: --top 0 shows all"
    *_, last, total, _, said = printed("table", report).splitlines()
    assert (last.split()[:2], total.split()[0]) == (["(1,234", "more)"], "total")
    assert "$2.00" in last
    assert said.endswith(hint)
    *_, last, total, _, said = printed("md", report).splitlines()
    assert last.startswith(r"| \(1,234 more\) |")
    assert total.split()[1] == "total"
    assert said.endswith(hint)


def test_bars_are_as_long_as_what_groups_cost_and_neither_rest_nor_total_has_one() -> None:
    groups = (group("a", cost=4 * 10**9), group("b", cost=2 * 10**9), group("c"))
    report = limited(*groups, more=2, rest=figures(cost_nanousd=9 * 10**9))
    _, *rows = printed("table", report, "cost", "bar", width=40).splitlines()
    assert [line.count("█") for line in rows[:4]] == [
        rows[0].count("█"),
        rows[0].count("█") // 2,
        0,
        0,
    ]
    assert rows[0].count("█") > 8
    assert "█" not in rows[5]


def test_the_summary_breaks_between_what_it_says() -> None:
    report = limited(group("a", cost=10**9), more=2, rest=figures())
    said = printed("table", report, "cost", width=50).split("\n\n")[1]
    assert said.splitlines()[1:] == ["2 groups more: --top 0 shows all"]


def expecting(*known: Any) -> Asked:
    report = found("model", group("a", cost=10**9))
    forecast = Forecast("2026-04", *known)
    return Asked(Question(by=report.by, period=report.period), report, None, forecast, {})


def test_a_forecast_says_what_it_stands_on() -> None:
    answer = expecting(12 * 10**9, 15 * 10**9, 10, 20, 0)
    said = (
        "2026-04: about $15.00 at its end, if the 20 days left cost what the 10 days that are over"
    )
    assert said in table(answer, DEFAULT, width=None)
    assert json.loads(in_json(answer))["forecast"]["expected_nanousd"] == 15 * 10**9
    unpriced = table(expecting(12 * 10**9, 15 * 10**9, 1, 1, 7), DEFAULT, width=None)
    assert (
        "about ≥ $15.00 at its end, if the 1 day left costs what the 1 day that is over" in unpriced
    )
    nothing = table(expecting(None, None, 0, 30, 0), DEFAULT, width=None)
    assert "no day is over that has a price, so nothing can be expected" in nothing


def test_json_says_how_many_groups_are_left_out_and_what_they_add_up_to() -> None:
    rest = figures(cost_nanousd=5, cost_by_source={"table": SourceCost(2, 5)})
    said = json.loads(printed("json", limited(group("a", cost=9), more=1, rest=rest)))
    assert (said["schema"], said["top"], said["more_groups"]) == ("prodlensd.report/1", 1, 1)
    assert said["rest"].keys() == said["total"].keys()
    assert said["rest"]["cost_by_source"] == {"table": {"calls": 2, "cost_nanousd": 5}}
    full = json.loads(printed("json", found("session", group("a"))))
    assert (full.keys(), full["more_groups"], full["rest"]) == (said.keys(), 0, None)


def test_csv_has_no_row_for_what_is_left_out() -> None:
    text = printed("csv", limited(group("a"), more=2, rest=figures(calls=7)))
    assert [row["session"] for row in csv.DictReader(io.StringIO(text, newline=""))] == ["a"]


def test_without_more_groups_nothing_is_said_of_them() -> None:
    for form in ("table", "md"):
        assert "more)" not in printed(form, found("session", group("a")))
        assert "--top" not in printed(form, found("session", group("a")))
