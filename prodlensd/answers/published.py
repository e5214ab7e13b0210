"""The calls that many hosts have published to one folder or bucket, as the table `calls`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prodlensd import snapshots
from prodlensd.answers.calls import ALWAYS_US, FOREVER_US, Calls, database, make_view
from prodlensd.ledger import span_of
from prodlensd.model import US_PER_DAY, OperationalError
from prodlensd.moments import day_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


_EPOCH: Final = date(1970, 1, 1)


class PublishedCalls(Calls):
    """The table `calls` of many hosts, open; and which of the hosts are `behind`."""

    def __init__(
        self,
        db: DuckDBPyConnection,
        table: snapshots.Table,
        found: snapshots.Published,
        days: list[date],
    ) -> None:
        spans = [span_of((day - _EPOCH).days) for day in days]
        first, last = (span_of((found.copies[n].day - _EPOCH).days) for n in (0, -1))
        super().__init__(db, (), table.damage, (first[0], last[1] - 1), spans)
        self._found = found

    def behind(self) -> dict[str, date]:
        """The hosts whose last day is older than the newest of all, with that day, oldest first."""
        last = {copy.host: copy.day for copy in self._found.copies}  # these are in order of days
        newest = max(last.values())
        late = [(day, host) for host, day in last.items() if day < newest]
        return {host: day for day, host in sorted(late)}


@contextmanager
def open_published(
    url: str, since_us: int = ALWAYS_US, until_us: int = FOREVER_US
) -> Iterator[PublishedCalls]:
    """The calls at a file://, s3:// or gs:// address, of the days that this time has a part of.

    A query reads only the days and columns that it asks for. Raises OperationalError where nothing
    can be read, also while a query is asked: then it names the file.
    """
    found = _published(url)
    with database(Path(tempfile.gettempdir())) as db:
        first, last = _day(since_us), _day(until_us - 1)
        table = found.table(first, last)
        db.register("published", table)
        make_view(db, "FROM published", "event_date")  # by which folders are passed over
        days = sorted({copy.day for copy in found.copies if first <= copy.day <= last})
        yield PublishedCalls(db, table, found, days)


def _published(url: str) -> snapshots.Published:
    try:
        found = snapshots.Published(url)
    except (OSError, ValueError) as error:
        raise OperationalError(f"cannot read {url}: {' '.join(str(error).split())}") from error
    if not found.copies:
        raise OperationalError(f"nothing is published at {url}")
    return found


def _day(us: int) -> date:
    """The UTC day; the first or last there is, of a time beyond."""
    try:
        return day_of(us // US_PER_DAY)
    except OverflowError:
        return date.min if us < 0 else date.max
