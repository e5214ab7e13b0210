"""What was told to others: the last state of each subject, and attempts that failed."""

from __future__ import annotations

from msgspec import Struct

from prodlensd.ledger.connection import Database
from prodlensd.ledger.publishing import FailedAttempts
from prodlensd.ledger.transactions import Writer


class ToldReader(Struct, frozen=True):
    """What was told."""

    ledger: Database

    def states(self) -> dict[str, str]:
        """Each subject, and the state of it that was told last, or is no news."""
        return dict(self.ledger.all("SELECT subject, state FROM told"))

    def failed(self) -> FailedAttempts | None:
        """The attempts that failed since the last that did not; None when there are none."""
        row = self.ledger.one("SELECT failures, since_us, next_us, fault FROM telling")
        return None if row is None else FailedAttempts(*row)


class Telling:
    """Notes what was told. Without state of its own."""

    def __init__(self, ledger: Writer) -> None:
        self._ledger = ledger

    def note(self, subject: str, state: str, now_us: int) -> None:
        """Notes that this state was told, or is no news."""
        told = (subject, state, now_us)
        self._ledger.write("INSERT OR REPLACE INTO told VALUES (?, ?, ?)", told)

    def note_failed(self, failed: FailedAttempts | None) -> None:
        """Notes the attempts that failed; None: the last one did not."""
        if failed is None:
            self._ledger.write("DELETE FROM telling")
        else:
            self._ledger.write("INSERT OR REPLACE INTO telling VALUES (1, ?, ?, ?, ?)", failed)
