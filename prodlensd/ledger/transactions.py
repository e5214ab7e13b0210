"""The connection that writes, its transactions, and whose it is. What is written, others know."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import apsw

from prodlensd.ledger.connection import LedgerLostError, open_writer, translated
from prodlensd.ledger.heartbeat import WRITE, Heartbeat
from prodlensd.ledger.pins import Pins


class Writer:
    """The connection that writes, a context manager. `host` is noted with each new source.

    The mutable state: the connection, and as which daemon it was taken over. `pins` are the prices
    that wait for the next transaction.
    """

    pins: Pins

    def __init__(self, path: Path, *, host: str = "", durability: str = "full") -> None:
        self.path = path
        self.host = host
        self.db: apsw.Connection
        self._durability = durability
        self._owner: tuple[int, int] | None = None
        self._file: tuple[int, int] = (0, 0)

    def __enter__(self) -> Self:
        self.db = open_writer(self.path, self._durability)
        self._file = self._file_now()
        self.pins = Pins(self.db)
        return self

    def __exit__(self, *_: object) -> None:
        self.db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """BEGIN IMMEDIATE to COMMIT, or ROLLBACK when anything raises.

        Prices that wait go along, before the rows that were priced at them.
        """
        with translated(self.path), _first_error(), self.db:
            self._check_ours()
            self.pins.write()
            yield
        self.pins.settle()

    def take_over(self, *, pid: int, version: str, started_us: int) -> None:
        """Makes this daemon the only one that may write, and shuts out any that wrote before.

        The lock beside the database should have kept others out; this holds even when somebody
        deleted the lock.
        """
        with self.transaction():
            beat = Heartbeat(pid, version, started_us, started_us, "starting", "ok")
            self.db.execute(WRITE, beat)
        self._owner = (pid, started_us)

    def beat(self, beat: Heartbeat) -> None:
        """Notes that the daemon is alive. Not worth an fsync: a lost heartbeat is a late one."""
        with translated(self.path):
            synchronous = self.db.pragma("synchronous")
            self.db.execute("PRAGMA synchronous = NORMAL")
            try:
                with self.transaction():
                    self.db.execute(WRITE, beat)
            finally:
                self.db.execute(f"PRAGMA synchronous = {synchronous}")

    def _check_ours(self) -> None:
        """Raises LedgerLostError when this daemon must not write any more."""
        if self._owner is None:
            return
        if self._file_now() != self._file:
            raise LedgerLostError(f"{self.path} was moved, deleted or replaced while in use")
        owner = self.db.execute("SELECT pid, started_us FROM daemon").get
        if owner != self._owner:
            raise LedgerLostError(f"{self.path} was taken over by another prodlensd: {owner}")

    def _file_now(self) -> tuple[int, int]:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return (0, 0)
        return (status.st_dev, status.st_ino)


@contextmanager
def _first_error() -> Iterator[None]:
    """Raises what went wrong first, not what apsw says of it.

    When the disk is full SQLite rolls back by itself, and apsw's own ROLLBACK finds nothing to do.
    """
    try:
        yield
    except apsw.SQLError as error:
        first: BaseException = error
        while type(first) is apsw.SQLError and isinstance(first.__context__, apsw.Error):
            first = first.__context__
        raise first from None
