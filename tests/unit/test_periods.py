"""Times as people name them, the period before one, the running month, and a zone's clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from prodlensd.answers.periods import (
    Period,
    local_time,
    offsets,
    previous,
    read_period,
    running_month,
    span_around,
)
from prodlensd.model import US_PER_DAY, US_PER_S

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [
    "Europe/Berlin",
    "America/Sao_Paulo",  # skipped the midnight of 4 November 2018
    "Australia/Lord_Howe",  # sets its clocks by half an hour
    "Pacific/Apia",  # had no 30 December 2011
    "America/Havana",  # has a midnight twice
]
FIRST_US, LAST_US = 0, 4_102_444_800 * US_PER_S  # to the year 2100
CHANGES = [
    "2026-10-25T00:30+00:00",
    "2018-11-04T12:00+00:00",
    "2026-04-04T15:10+00:00",
    "2011-12-31T12:00+00:00",
    "2026-11-01T04:30+00:00",
]


def us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp()) * US_PER_S


#: A Wednesday.
NOW_US = us("2026-11-18T12:00:00+01:00")


def berlin(at_us: int | None) -> str | None:
    return None if at_us is None else f"{local_time(at_us, BERLIN):%Y-%m-%d %H:%M}"


def at_changes(check: Callable[[int], None]) -> Callable[[], None]:
    """The check with any moment, and with those around which clocks were changed."""
    for moment in CHANGES:
        check = example(us(moment))(check)
    return given(st.integers(min_value=FIRST_US, max_value=LAST_US))(check)


# Names


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("4w", "2026-10-21 00:00", "2026-10-22 00:00"),
        ("3mo", "2026-08-18 00:00", "2026-08-19 00:00"),
        ("0mo", "2026-11-18 00:00", "2026-11-19 00:00"),
        ("11mo", "2025-12-18 00:00", "2025-12-19 00:00"),
        ("this-week", "2026-11-16 00:00", "2026-11-23 00:00"),
        ("last-week", "2026-11-09 00:00", "2026-11-16 00:00"),
        ("this-month", "2026-11-01 00:00", "2026-12-01 00:00"),
        ("last-month", "2026-10-01 00:00", "2026-11-01 00:00"),
        ("2026-02", "2026-02-01 00:00", "2026-03-01 00:00"),
        ("2026-W47", "2026-11-16 00:00", "2026-11-23 00:00"),
        ("2026-W53", "2026-12-28 00:00", "2027-01-04 00:00"),
    ],
)
def test_a_named_week_or_month_reaches_from_its_start_to_its_end(
    text: str, start: str, end: str
) -> None:
    assert berlin(read_period(text, None, (), BERLIN, NOW_US).since_us) == start
    assert berlin(read_period("always", text, (), BERLIN, NOW_US).until_us) == end


def test_a_month_ago_is_the_last_day_of_a_month_that_is_too_short() -> None:
    now_us = us("2026-03-31T12:00+02:00")
    assert berlin(read_period("1mo", None, (), BERLIN, now_us).since_us) == "2026-02-28 00:00"
    assert berlin(read_period("13mo", None, (), BERLIN, now_us).since_us) == "2025-02-28 00:00"


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("unit", ["week", "month"])
def test_this_one_and_the_last_join_without_gap_or_overlap(unit: str, zone: str) -> None:
    there = ZoneInfo(zone)

    @at_changes
    def check(now_us: int) -> None:
        last, this = (
            read_period(f"{which}-{unit}", f"{which}-{unit}", (), there, now_us + 62 * US_PER_DAY)
            for which in ("last", "this")
        )
        assert last.until_us == this.since_us
        assert this.until_us is not None
        assert this.since_us <= now_us + 62 * US_PER_DAY < this.until_us
        assert (last.unit, this.unit) == (unit, unit)

    check()


# The period before


@pytest.mark.parametrize(
    ("since", "until", "by", "start", "end"),
    [
        ("last-month", "last-month", "", "2026-09-01 00:00", "2026-10-01 00:00"),
        ("2026-10-01", "2026-10-31", "", "2026-09-01 00:00", "2026-10-01 00:00"),
        ("2026-09", "2026-10", "", "2026-07-01 00:00", "2026-09-01 00:00"),
        ("last-week", "last-week", "", "2026-11-02 00:00", "2026-11-09 00:00"),
        ("2026-11-02", "2026-11-04", "", "2026-10-30 00:00", "2026-11-02 00:00"),
        ("yesterday", "yesterday", "", "2026-11-16 00:00", "2026-11-17 00:00"),
        # Those that still run: the same part.
        ("this-month", None, "", "2026-10-01 00:00", "2026-10-18 12:00"),
        ("this-month", "this-month", "", "2026-10-01 00:00", "2026-10-18 12:00"),
        ("this-week", None, "", "2026-11-09 00:00", "2026-11-11 12:00"),
        ("this-week", "this-week", "", "2026-11-09 00:00", "2026-11-11 12:00"),
        ("today", None, "", "2026-11-17 00:00", "2026-11-17 12:00"),
        ("7d", None, "", "2026-11-03 00:00", "2026-11-10 12:00"),
        ("last-month", None, "", "2026-08-01 00:00", "2026-09-18 12:00"),
        (None, None, "month", "2024-12-01 00:00", "2025-11-18 12:00"),
        # Moments.
        ("24h", None, "", "2026-11-16 12:00", "2026-11-17 12:00"),
        ("2026-11-18T10:00", "2026-11-18T11:00", "", "2026-11-18 09:00", "2026-11-18 10:00"),
        ("yesterday", "2026-11-17T06:00", "", "2026-11-16 18:00", "2026-11-17 00:00"),
    ],
)
def test_before_it_is_as_many_whole_units_or_the_same_part_of_them(
    since: str | None, until: str | None, by: str, start: str, end: str
) -> None:
    before = previous(read_period(since, until, (by,), BERLIN, NOW_US), NOW_US)
    assert before is not None
    assert (berlin(before.since_us), berlin(before.until_us)) == (start, end)


def test_a_part_that_the_shorter_month_before_does_not_have_is_all_of_it() -> None:
    now_us = us("2026-03-31T12:00+02:00")
    before = previous(read_period("this-month", None, (), BERLIN, now_us), now_us)
    assert before is not None
    assert (berlin(before.since_us), berlin(before.until_us)) == (
        "2026-02-01 00:00",
        "2026-03-01 00:00",
    )


@pytest.mark.parametrize(("since", "until"), [("always", None), ("always", "today")])
def test_before_always_is_nothing(since: str, until: str | None) -> None:
    assert previous(read_period(since, until, (), BERLIN, NOW_US), NOW_US) is None


def test_what_has_not_begun_has_nothing_before_it_to_be_compared_with() -> None:
    assert previous(read_period("2026-12", None, (), BERLIN, NOW_US), NOW_US) is None


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("unit", ["day", "week", "month"])
def test_whole_units_and_those_before_them_join_and_are_as_many(unit: str, zone: str) -> None:
    there = ZoneInfo(zone)

    def spans(period: Period) -> int:
        count, at_us = 0, period.since_us
        assert period.until_us is not None
        while at_us < period.until_us:
            count, at_us = count + 1, span_around(at_us, unit, there)[1]
        assert at_us == period.until_us
        return count

    @at_changes
    def check(at_us: int) -> None:
        start_us, end_us, _ = span_around(at_us + 70 * US_PER_DAY, unit, there)
        end_us = span_around(end_us, unit, there)[1]
        period = Period(start_us, end_us, there, unit)
        before = previous(period, LAST_US * 2)
        assert before is not None
        assert before.until_us == start_us
        assert (spans(period), spans(before)) == (2, 2)
        # While the second runs, what is before ends within the one that ends where it begins.
        running = previous(period, end_us - 1)
        assert running is not None
        assert running.since_us == before.since_us
        assert running.until_us is not None
        assert span_around(start_us - 1, unit, there)[0] <= running.until_us <= start_us

    check()


# The running month


def test_a_forecast_stands_on_the_days_that_are_over() -> None:
    month = running_month(NOW_US, BERLIN)
    assert (month.name, month.days_over, month.days_left) == ("2026-11", 17, 13)
    assert (berlin(month.since_us), berlin(month.today_us), berlin(month.until_us)) == (
        "2026-11-01 00:00",
        "2026-11-18 00:00",
        "2026-12-01 00:00",
    )


def test_on_the_first_of_a_month_no_day_is_over() -> None:
    month = running_month(us("2026-11-01T00:00+01:00"), BERLIN)
    assert (month.days_over, month.days_left, month.today_us) == (0, 30, month.since_us)


def test_a_day_that_a_zone_skipped_is_not_counted() -> None:
    month = running_month(us("2011-12-31T12:00+14:00"), ZoneInfo("Pacific/Apia"))
    assert (month.days_over, month.days_left) == (29, 1)


@pytest.mark.parametrize("zone", ZONES)
def test_the_days_over_and_left_are_all_days_of_the_month(zone: str) -> None:
    there = ZoneInfo(zone)

    @at_changes
    def check(now_us: int) -> None:
        month = running_month(now_us, there)
        assert month.since_us <= month.today_us <= now_us < month.until_us
        names = set()
        at_us = month.since_us
        while at_us < month.until_us:
            _, at_us, name = span_around(at_us, "day", there)
            names.add(name)
        assert len(names) == month.days_over + month.days_left

    check()


# The clock of a zone


@pytest.mark.sampled(3)
@pytest.mark.parametrize("zone", [*ZONES, "Africa/Casablanca", "America/Noronha", "Asia/Gaza"])
def test_every_moment_has_the_offset_of_the_last_change_before_it(zone: str) -> None:
    there = ZoneInfo(zone)
    changes = offsets(FIRST_US, LAST_US, there)
    assert changes[0][0] == FIRST_US
    for (_, before_s), (from_us, after_s) in pairwise(changes):
        assert before_s != after_s
        for at_us, offset_s in ((from_us - 1, before_s), (from_us, after_s)):
            witness = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)
            assert witness.astimezone(there).utcoffset() == timedelta(seconds=offset_s)

    # No change is missed: a look at every twelfth hour finds no other.
    looked = range(FIRST_US, LAST_US, US_PER_DAY // 2)
    seen = [local_time(at_us, there).utcoffset() for at_us in looked]
    assert len(changes) - 1 == sum(one != other for one, other in pairwise(seen))


@pytest.mark.parametrize(
    ("zone", "changes"),
    [
        ("Europe/Berlin", [("2026-03-29T01:00Z", 7200), ("2026-10-25T01:00Z", 3600)]),
        ("Australia/Lord_Howe", [("2026-04-04T15:00Z", 37800), ("2026-10-03T15:30Z", 39600)]),
        ("Asia/Kathmandu", []),
    ],
)
def test_the_changes_of_a_year_are_exact(zone: str, changes: list[tuple[str, int]]) -> None:
    found = offsets(us("2026-01-01T00:00Z"), us("2027-01-01T00:00Z"), ZoneInfo(zone))
    assert found[1:] == [(us(moment), offset_s) for moment, offset_s in changes]


def test_a_change_at_the_very_end_is_in_and_one_moment_alone_is_enough() -> None:
    change_us = us("2026-03-29T01:00Z")
    assert offsets(change_us - 1, change_us, BERLIN) == [(change_us - 1, 3600), (change_us, 7200)]
    assert offsets(change_us, change_us, BERLIN) == [(change_us, 7200)]
