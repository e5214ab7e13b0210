"""The time zone of the command line, or else this machine's, as the C library finds it."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Final

from prodlensd.text import did_you_mean, printable

_EXPECTED: Final = "; expected a name such as Europe/Berlin, or UTC"
_LOCALTIME: Final = Path("/etc/localtime")
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - of whatever clock
_DAY_S: Final = 86_400


def time_zone(name: str | None) -> tzinfo:
    """The zone of this name, or this machine's. Raises ValueError, but only for a name."""
    if name is None:
        given = os.environ.get("TZ")
        return _from_file(_LOCALTIME) or UTC if given is None else _from_environment(given)
    if (zone := _named(name)) is None:
        from zoneinfo import available_timezones  # noqa: PLC0415

        raise ValueError(
            f"--timezone: no time zone {name!r} is known here"
            + (did_you_mean(name, available_timezones()) or _EXPECTED)
        )
    return zone


def local_clock() -> tzinfo:
    """The zone of this machine, for days of which nobody asks the zone's name: loads nothing."""
    return time_zone(None) if "TZ" in os.environ else _CLibraryZone("local time")


def _named(name: str) -> tzinfo | None:
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - it takes 3 ms, and `local_clock` mostly does without

    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        return None


def _from_file(path: Path) -> tzinfo | None:
    """The zone that a compiled file of the time zone database describes."""
    from zoneinfo import ZoneInfo  # noqa: PLC0415

    try:
        _, known, name = os.path.realpath(path).partition("/zoneinfo/")
        with path.open("rb") as file:
            return ZoneInfo.from_file(file, key=name if known else "local time")
    except (ValueError, OSError):
        return None


def _from_environment(given: str) -> tzinfo:
    """What $TZ means: a file, a name, a rule, or whatever else the C library makes of it."""
    text = given.removeprefix(":")
    zone = _from_file(Path(text)) if text.startswith("/") else _named(text) if text else UTC
    return zone or _CLibraryZone.of(text)


class _CLibraryZone(tzinfo):
    """The zone that the C library has found in $TZ: perhaps a rule, as CET-1CEST,M3.5.0,M10.5.0."""

    def __init__(self, text: str) -> None:
        self._name = printable(text)

    @classmethod
    def of(cls, text: str) -> tzinfo:
        """Such a zone, or UTC: by that the library goes when it understands nothing."""
        time.tzset()
        furthest_s = max(abs(time.timezone), abs(time.altzone))
        return cls(text) if 0 < furthest_s < _DAY_S else UTC  # Python knows none further away

    def __str__(self) -> str:
        return self._name

    def fromutc(self, moment: datetime) -> datetime:
        offset_s = _offset_s(_seconds(moment))
        there = moment + timedelta(seconds=offset_s)
        return there.replace(fold=int(self._offset_s_there(there) != offset_s))

    def utcoffset(self, there: datetime | None) -> timedelta | None:
        return None if there is None else timedelta(seconds=self._offset_s_there(there))

    def _offset_s_there(self, there: datetime) -> int:
        """Where the clock goes back a time is there twice, and where it goes forward never."""
        at_s = _seconds(there)
        around = [_offset_s(at_s - _DAY_S), _offset_s(at_s + _DAY_S)]
        possible = [offset_s for offset_s in around if _offset_s(at_s - offset_s) == offset_s]
        return (possible or around)[-1 if there.fold else 0]

    def dst(self, _moment: datetime | None) -> timedelta | None:
        return None

    def tzname(self, _moment: datetime | None) -> str | None:
        return self._name


def _seconds(moment: datetime) -> int:
    """What the clock shows, as seconds since it showed 1970."""
    return (moment.replace(tzinfo=None) - _EPOCH) // timedelta(seconds=1)


def _offset_s(at_s: int) -> int:
    """How far the C library is ahead of UTC at a moment, in seconds since 1970."""
    return time.localtime(at_s).tm_gmtoff
