"""The zone of $TZ is the C library's, whatever it says; Python's own clock is the witness."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import product
from zoneinfo import ZoneInfo

import pytest

from prodlensd.app.zone import time_zone

#: Rules of all kinds: months and weeks, days of the year, odd minutes, hours below 0 and above 24.
RULES = (
    "CET-1CEST,M3.5.0,M10.5.0/3",
    ":CET-1CEST,M3.5.0,M10.5.0/3",
    "EST5EDT",
    "EST5EDT,M3.2.0,M11.1.0",
    "CET-1CEST",
    "AEST-10AEDT,M10.1.0,M4.1.0/3",
    "<+0330>-3:30<+0430>,J79/24,J263/24",
    "<-03>3<-02>,M3.5.0/-2,M10.5.0/-1",
    "IST-2IDT,M3.4.4/26,M10.5.0",
    "XXX-1:30:30",
    "WAT-1,and what is no rule",
)
OTHERS = ("", ":", "UTC", "UTC0", ":/etc/localtime", "Nonsense/Zone", "X5", "../../etc/passwd", "/")


#: Of a year, those around which clocks are changed.
DAYS = (*range(60, 120), *range(255, 320))

ZoneOf = Callable[[str], tzinfo]


@pytest.fixture
def zone_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[ZoneOf]:
    def find(text: str) -> tzinfo:
        monkeypatch.setenv("TZ", text)
        time.tzset()
        return time_zone(None)

    yield find
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("text", [*RULES, *OTHERS])
def test_the_zone_is_the_systems_when_clocks_change(text: str, zone_of: ZoneOf) -> None:
    zone = zone_of(text)
    start = datetime(2026, 1, 1)  # noqa: DTZ001 - of whatever clock
    for day, hour in product(DAYS, range(24)):
        there = start + timedelta(days=day, hours=hour, minutes=30)
        moment = there.replace(tzinfo=UTC)
        systems = datetime.fromtimestamp(moment.timestamp())  # noqa: DTZ006 - the witness
        ours = moment.astimezone(zone)
        assert (systems, systems.fold) == (ours.replace(tzinfo=None), ours.fold)
        assert moment.timestamp() == ours.timestamp()
        for fold in (0, 1):
            twice = there.replace(fold=fold)
            assert twice.timestamp() == twice.replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize("text", RULES)
def test_a_rule_has_the_name_that_tz_gives_it(text: str, zone_of: ZoneOf) -> None:
    assert text.removeprefix(":") == str(zone_of(text))


@pytest.mark.parametrize("text", ["Nonsense/Zone", "X5", "\x1b[31m", "", "UTC0", "CET-25"])
def test_what_means_nothing_is_utc(text: str, zone_of: ZoneOf) -> None:
    assert UTC is zone_of(text)


def test_a_zone_that_is_asked_for_by_name_must_be_one() -> None:
    assert ZoneInfo("Europe/Berlin") is time_zone("Europe/Berlin")
    for name in ("", "CET-1CEST,M3.5.0,M10.5.0/3", ":Europe/Berlin", "/etc/localtime", "Nonsense"):
        with pytest.raises(ValueError, match="--timezone: no time zone"):
            time_zone(name)


@pytest.mark.parametrize("text", ["CET-1CEST,M3.5.0,M10.5.0/3", "EST5EDT4,M3.2.0,M11.1.0"])
def test_the_ends_of_the_calendar_are_times_too(text: str, zone_of: ZoneOf) -> None:
    zone = zone_of(text)
    for end in (datetime.min, datetime.max):  # noqa: DTZ901 - without a zone on purpose
        assert end.replace(tzinfo=zone).utcoffset() is not None
