"""Copies of snapshots at an address: which there are, which are due, and attempts that failed."""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec import Struct

from prodlensd.ledger.connection import Database
from prodlensd.ledger.days import Partition
from prodlensd.ledger.writing import Ledger
from prodlensd.model import US_PER_S
from prodlensd.process import back_off_s

_FIRST_WAIT_S: Final = 60
_LONGEST_WAIT_S: Final = 3600


class FailedAttempts(NamedTuple):
    """Attempts that failed in a row, since when, when the next is due, and why."""

    failures: int
    since_us: int
    next_us: int
    fault: str

    @classmethod
    def one_more(cls, before: FailedAttempts | None, fault: str, now_us: int) -> FailedAttempts:
        """One more attempt that failed: the wait doubles with each in a row, up to an hour."""
        failures, since_us = (before.failures, before.since_us) if before else (0, now_us)
        wait_s = back_off_s(failures, first_s=_FIRST_WAIT_S, longest_s=_LONGEST_WAIT_S)
        return cls(failures + 1, since_us, now_us + round(wait_s * US_PER_S), fault)


class Copies(NamedTuple):
    """How many snapshots are at an address, how many are due, and when one was last copied."""

    days: int
    due_days: int
    last_us: int | None
    failed: FailedAttempts | None


#: Days whose snapshot is up to date and not, as it is now, at the address.
_DUE: Final = """
    FROM partition AS p LEFT JOIN publication AS q ON q.day = p.day AND q.url = ?
    WHERE p.version = p.compacted_version AND q.sha256 IS NOT p.sha256
"""
_FAILED: Final = "SELECT failures, since_us, next_us, fault FROM publishing"


class PublishingReader(Struct, frozen=True):
    """What was copied, and what is yet to be."""

    ledger: Database

    def due(self, url: str) -> list[Partition]:
        """The days whose snapshot is up to date and is yet to be copied there, oldest first."""
        columns = ", ".join(f"p.{name}" for name in Partition._fields)
        sql = f"SELECT {columns} {_DUE} ORDER BY p.day"
        return [Partition(*row) for row in self.ledger.all(sql, (url,))]

    def copies(self, url: str) -> Copies:
        """What is there, and what is yet to be."""
        sql = "SELECT count(*), max(published_us) FROM publication WHERE url = ?"
        days, last_us = next(self.ledger.all(sql, (url,)))
        due_days = self.ledger.value(f"SELECT count(*) {_DUE}", (url,))
        return Copies(days, due_days, last_us, self.failed())

    def failed(self) -> FailedAttempts | None:
        """The attempts that failed since the last that did not; None when there are none."""
        row = self.ledger.one(_FAILED)
        return None if row is None else FailedAttempts(*row)


class Publishing:
    """Notes what became of copying. Without state of its own."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._reader = PublishingReader(ledger)

    def has_work(self, url: str, now_us: int) -> bool:
        """Whether there is anything to copy there, and an attempt is due."""
        failed = self._reader.failed()
        return (failed is None or now_us >= failed.next_us) and bool(self._reader.due(url))

    def note_copied(self, url: str, partition: Partition, now_us: int) -> None:
        """Notes that the file of this day that the manifest names was copied there."""
        copied = (url, partition.day, partition.sha256, partition.file_bytes, now_us)
        self._ledger.write("INSERT OR REPLACE INTO publication VALUES (?, ?, ?, ?, ?)", copied)

    def forget_copies(self, url: str) -> None:
        """Makes everything due to be copied there again."""
        self._ledger.write("DELETE FROM publication WHERE url = ?", (url,))

    def note_failed(self, failed: FailedAttempts | None) -> None:
        """Notes the attempts that failed; None: the last one did not."""
        if failed is None:
            self._ledger.write("DELETE FROM publishing")
        else:
            sql = "INSERT OR REPLACE INTO publishing VALUES (1, ?, ?, ?, ?)"
            self._ledger.write(sql, failed)
