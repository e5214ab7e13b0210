"""The connection that writes, its transactions, and which daemon may use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import apsw

from prodlensd.ledger.call_rows import CallRows
from prodlensd.ledger.connection import Database, LedgerLostError, open_writer, translated
from prodlensd.ledger.heartbeat import WRITE, Heartbeat
from prodlensd.ledger.pins import Pins


class Writer(Database):
    """The connection that writes, a context manager. `host` is noted with each new source.

    `migrating` is called again and again while the schema of an older version is brought up to
    date, which takes a minute for four million calls.

    The mutable state: the connection, and the daemon that has taken it over, by pid and start.
    `pins` are the prices that wait for the next transaction, `rows` the calls' rows.
    """

    pins: Pins
    rows: CallRows

    def __init__(
        self,
        path: Path,
        *,
        host: str = "",
        durability: str = "full",
        migrating: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(path)
        self.host = host
        self._durability = durability
        self._migrating = migrating
        self._owner: tuple[int, int] | None = None
        self._file: tuple[int, int] = (0, 0)

    def __enter__(self) -> Self:
        self.db = open_writer(self.path, self._durability, self._migrating)
        self._file = self._file_now()
        self.pins = Pins(self.db)
        self.rows = CallRows(self.db)
        return self

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """BEGIN IMMEDIATE to COMMIT, or ROLLBACK when anything raises.

        It also writes the prices that wait, before the rows that were priced at them.
        """
        with translated(self.path), _first_error(), self.db:
            self._check_ours()
            self.pins.write()
            self.rows.begin()
            yield
        self.pins.settle()
        self.rows.settle()

    def write(self, sql: str, bindings: tuple[object, ...] = ()) -> int:
        """Runs one statement in a transaction of its own; returns how many rows it changed."""
        with self.transaction():
            self.db.execute(sql, bindings)
            return self.db.changes()

    def take_over(self, *, pid: int, version: str, started_us: int) -> None:
        """Makes this daemon the only one that may write, and shuts out any that wrote before.

        The lock beside the database keeps other daemons out; this still does when that file was
        deleted.
        """
        self.write(WRITE, Heartbeat(pid, version, started_us, started_us, "starting", "ok"))
        self._owner = (pid, started_us)

    def beat(self, beat: Heartbeat) -> None:
        """Notes that the daemon is alive. Not worth an fsync: a lost heartbeat is a late one."""
        with translated(self.path):
            synchronous = self.db.pragma("synchronous")
            self.db.execute("PRAGMA synchronous = NORMAL")
            try:
                self.write(WRITE, beat)
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
    """Raises the error that came first, instead of one that followed from it.

    When the disk is full SQLite rolls back by itself, and apsw's own ROLLBACK then fails.
    """
    try:
        yield
    except apsw.SQLError as error:
        first: BaseException = error
        while type(first) is apsw.SQLError and isinstance(first.__context__, apsw.Error):
            first = first.__context__
        raise first from None
