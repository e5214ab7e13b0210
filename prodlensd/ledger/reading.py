"""Opens the ledger to read it. There is a file for each question that it can be asked."""

from __future__ import annotations

from pathlib import Path

from prodlensd.ledger.calls import CallReader
from prodlensd.ledger.connection import ReadOnly
from prodlensd.ledger.days import DayReader
from prodlensd.ledger.heartbeat import READ, Heartbeat
from prodlensd.ledger.letters import LetterReader
from prodlensd.ledger.prices import PriceReader
from prodlensd.ledger.publishing import PublishingReader
from prodlensd.ledger.sources import SourceReader
from prodlensd.ledger.spent import SpentReader
from prodlensd.ledger.tallies import TallyReader
from prodlensd.ledger.telling import ToldReader


class Reader(ReadOnly):
    """A read-only view of the ledger, a context manager, with everything that it can be asked."""

    def __init__(self, path: Path, *, in_one_thread: bool = False) -> None:
        super().__init__(path, in_one_thread=in_one_thread)
        self.sources = SourceReader(self)
        self.letters = LetterReader(self)
        self.days = DayReader(self)
        self.publishing = PublishingReader(self)
        self.calls = CallReader(self)
        self.tallies = TallyReader(self)
        self.prices = PriceReader(self)
        self.spent = SpentReader(self)
        self.told = ToldReader(self)

    def heartbeat(self) -> Heartbeat | None:
        """The daemon's last sign of life; None before the first."""
        row = self.one(READ)
        return None if row is None else Heartbeat(*row)
