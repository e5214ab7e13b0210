"""Opens the database, when it is prodlensd's and its schema and SQLite can be trusted."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import apsw

from prodlensd import model
from prodlensd.ledger.schema import APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION
from prodlensd.model import OperationalError, TemporaryError

#: Older ones can corrupt a WAL database that has two connections (sqlite.org/wal.html#walresetbug).
MIN_SQLITE: Final = (3, 51, 3)
#: Shorter than the five seconds in which a daemon has to stop.
BUSY_TIMEOUT_MS: Final = 2000
_HEADER_BYTES: Final = 100
#: SQLite's own, of which it takes some ten million a second.
_STEPS_OF_PROGRESS: Final = 10_000
_WAL_SIZE_LIMIT_BYTES: Final = 64 << 20

_DURABILITY: Final = {"full": "FULL", "normal": "NORMAL"}


class LedgerError(OperationalError):
    """The database cannot be used; the message says what to do."""


class LedgerLostError(OperationalError):
    """The database is no longer this daemon's: it was moved, replaced, or taken over.

    The daemon has to stop, before it writes to a file that is not the ledger any more.
    """


class LedgerLockedError(LedgerError, TemporaryError):
    """Another program has locked the database; try again later."""


def open_writer(path: Path, durability: str, migrating: Callable[[], None]) -> apsw.Connection:
    """The writing connection, schema up to date. Creates the file (0600) and its folder (0700).

    `migrating` is called again and again while that takes long.
    """
    if tuple(map(int, apsw.sqlite_lib_version().split("."))) < MIN_SQLITE:
        raise LedgerError(
            f"SQLite {apsw.sqlite_lib_version()} can corrupt a shared database; "
            "prodlensd needs 3.51.3 or later: upgrade the apsw package"
        )
    with translated(path):
        if not path.exists():
            _create(path)
        _check_is_file(path)
        if not _is_whole(path):
            raise LedgerError(
                f"{path} is empty or cut short: the ledger in it is damaged; restore a backup, "
                "or delete the file to begin a new one from the logs still there"
            )
        return _open(path, path, durability, migrating)


def _check_is_file(path: Path) -> None:
    """Raises LedgerError: opening a FIFO would wait for ever, and a device may do anything."""
    if not path.is_file():
        raise LedgerError(f"{path}: not a file; set store.path to one, or to where none is yet")


def _filled_log(path: Path) -> Path | None:
    """The write-ahead log of a database; None when there is none, or nothing in it."""
    log = path.with_name(f"{path.name}-wal")
    return log if log.exists() and log.stat().st_size > 0 else None


def _is_whole(path: Path) -> bool:
    """Whether the file has whole pages only: SQLite would fill up a cut one without an error.

    True for a file that is not SQLite's, which it reports itself, and for one with a write-ahead
    log, which may complete it.
    """
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if _filled_log(path) is not None:
        return True
    if len(header) < _HEADER_BYTES:
        return False
    page_bytes = int.from_bytes(header[16:18], "big")
    is_sqlite = header.startswith(b"SQLite format 3\0") and page_bytes > 1
    return not is_sqlite or path.stat().st_size % page_bytes == 0


def _create(path: Path) -> None:
    """Creates a ledger: whenever we are killed, it is whole or does not exist."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (log := _filled_log(path)) is not None:
        # SQLite would write its pages into the new ledger.
        raise LedgerError(
            f"{log} is there, but not the ledger that it belongs to: put that beside it again, "
            "or move it away to begin a new ledger from the logs still there"
        )
    unfinished = path.with_name(f"{path.name}.new")
    for suffix in ("", "-wal", "-shm"):
        unfinished.with_name(unfinished.name + suffix).unlink(missing_ok=True)
    os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    _open(unfinished, path, "full", lambda: None).close()
    unfinished.rename(path)


def _open(
    path: Path, named: Path, durability: str, migrating: Callable[[], None]
) -> apsw.Connection:
    db = apsw.Connection(_name(path))
    try:
        _restrict(db, path)
        _configure(db, durability)
        _migrate(db, named, migrating)
    except BaseException:
        db.close()
        raise
    return db


def _name(path: Path) -> str:
    """The path for SQLite: in UTF-8, whatever encoding the locale has for names of files.

    Raises ValueError when its bytes are not UTF-8.
    """
    return os.fsencode(path).decode()


def key_digest(key: str | bytes) -> bytes:
    """The key of a trace as `pruned` has it: a key that is a digest stays as it is."""
    return key if isinstance(key, bytes) else model.digest_of(key.encode())


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raises SQLite's and the system's errors as LedgerError; a failed constraint stays a bug."""
    try:
        yield
    except apsw.ConstraintError:
        raise
    except apsw.BusyError as error:
        raise LedgerLockedError(f"{path}: locked by another program ({error})") from error
    except apsw.NotADBError as error:
        raise LedgerError(
            f"{path}: not a SQLite database; move it away or set store.path"
        ) from error
    except apsw.CorruptError as error:
        raise LedgerError(
            f"{path}: the database is damaged ({error}); restore a backup, or move it away and "
            "start again: the logs still there are read anew"
        ) from error
    except (apsw.Error, OSError) as error:
        raise LedgerError(f"{path}: {error}") from error


class Database:
    """An open database, a context manager. A question raises LedgerError when SQLite fails."""

    db: apsw.Connection

    def __init__(self, path: Path) -> None:
        self.path = path

    def __exit__(self, *_: object) -> None:
        self.db.close()

    def all(self, sql: str, bindings: tuple[object, ...] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of an answer, read as they are taken."""
        with translated(self.path):
            yield from self.db.execute(sql, bindings)

    def one(self, sql: str, bindings: tuple[object, ...] = ()) -> tuple[Any, ...] | None:
        """The first row; None when there is none."""
        return next(self.all(sql, bindings), None)

    def value(self, sql: str, bindings: tuple[object, ...] = ()) -> Any:  # noqa: ANN401
        """The first column of the first row, which there must be."""
        return next(self.all(sql, bindings))[0]


class ReadOnly(Database):
    """A database on a connection that cannot write. Raises LedgerError when there is none.

    `in_one_thread`: without SQLite's lock around each value of a row, which takes a quarter of the
    time of reading it. Nothing then finds out when two threads do use it.
    """

    def __init__(self, path: Path, *, in_one_thread: bool = False) -> None:
        super().__init__(path)
        mutex = apsw.SQLITE_OPEN_NOMUTEX if in_one_thread else apsw.SQLITE_OPEN_FULLMUTEX
        self._flags = apsw.SQLITE_OPEN_READONLY | mutex

    def __enter__(self) -> Self:
        self.db = _open_to_read(self.path, self._flags)
        return self

    @contextmanager
    def one_moment(self) -> Iterator[None]:
        """All that is read within is of one moment; the write-ahead log grows until the end."""
        with translated(self.path):
            self.db.execute("BEGIN")
        try:
            yield
        finally:
            with translated(self.path):
                self.db.execute("ROLLBACK")

    def version(self) -> int:
        """A number that another program's change of the database makes another one."""
        return int(self.value("PRAGMA data_version"))

    def faults(self, most: int) -> list[str]:
        """What SQLite finds wrong with the database, `most` at most. Reads all of it."""
        found = [fault for (fault,) in self.all(f"PRAGMA integrity_check({most})")]
        return [] if found == ["ok"] else found

    def quick_faults(self, most: int, most_s: float) -> list[str] | None:
        """What SQLite finds wrong at a quick look, `most` at most; None: it would take longer."""
        end_s = time.monotonic() + most_s
        with _progress(self.db, lambda: time.monotonic() > end_s), translated(self.path):
            try:
                found = [row[0] for row in self.db.execute(f"PRAGMA quick_check({most})")]
            except apsw.InterruptError:
                return None
        return [] if found == ["ok"] else [str(fault) for fault in found]


def sqlite_version() -> str:
    """The version of SQLite that reads and writes ledgers."""
    return apsw.sqlite_lib_version()


def check_is_there(path: Path) -> None:
    """Raises LedgerError when there is no ledger yet: the daemon alone begins one."""
    if not path.exists():
        raise LedgerError(f"no ledger at {path}: has the daemon run yet?")


def _check_may_read(path: Path) -> None:
    """Raises LedgerError for a ledger that is another user's, or in a folder closed to us."""
    try:
        path.stat()
        may_read = os.access(path, os.R_OK)
    except OSError as error:
        may_read = not isinstance(error, PermissionError)
    if not may_read:
        raise LedgerError(
            f"{path}: this user may not read it; ask as the user who runs the daemon, or as root"
        )


def _open_to_read(path: Path, flags: int) -> apsw.Connection:
    """A read-only connection; raises LedgerError when there is no ledger yet.

    Without the -shm file, and in a folder that we may not write to, SQLite reads only a database
    that is declared immutable. It is then: a writer that is alive would have made the -shm file.
    """
    _check_may_read(path)
    check_is_there(path)
    with translated(path):
        _check_is_file(path)
        db = apsw.Connection(_name(path), flags=flags)
        try:
            db.set_busy_timeout(BUSY_TIMEOUT_MS)
            _restrict(db, path)
            _check_is_current(db, path)
        except (apsw.ReadOnlyError, apsw.CantOpenError):
            db.close()
            if (log := _filled_log(path)) is not None:
                raise LedgerError(
                    f"{log} may not be read, and holds what is newest: ask as the user whose "
                    "ledger it is, or read the snapshots"
                ) from None
            uri = f"{path.resolve().as_uri()}?immutable=1"
            db = apsw.Connection(uri, flags=flags | apsw.SQLITE_OPEN_URI)
            _restrict(db, path)
            _check_is_current(db, path)
        except BaseException:
            db.close()
            raise
    return db


def _restrict(db: apsw.Connection, path: Path) -> None:
    """Keeps the database's own code harmless, and SQLite's temporary files beside the ledger.

    What a large batch or a sort cannot hold in memory would otherwise go through /var/tmp.
    """
    db.execute("PRAGMA trusted_schema = OFF")
    if os.access(path.parent, os.W_OK | os.X_OK):
        folder = apsw.format_sql_value(_name(path.parent))
        db.execute(f"PRAGMA temp_store_directory = {folder}")


def _configure(db: apsw.Connection, durability: str) -> None:
    db.set_busy_timeout(BUSY_TIMEOUT_MS)
    # A transaction that begins as a reader and turns writer fails at once when busy, timeout or
    # not.
    db.transaction_mode = "IMMEDIATE"
    db.execute("PRAGMA page_size = 8192")
    # Takes effect in a new database only: pages that pruning frees can be given back later.
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(f"PRAGMA synchronous = {_DURABILITY[durability]}")
    if sys.platform == "darwin":
        # On macOS fsync does not reach the disk; F_FULLFSYNC does.
        db.execute("PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON")
    db.execute(f"PRAGMA journal_size_limit = {_WAL_SIZE_LIMIT_BYTES}")
    db.execute("PRAGMA cell_size_check = ON")
    # Else a statement with a join is planned anew for each row that it is asked for.
    db.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    # A key is text or a blob, never another of the types that such a function may be given.
    db.create_scalar_function("key_digest", key_digest, 1, deterministic=True)  # type: ignore[arg-type]


def _migrate(db: apsw.Connection, path: Path, migrating: Callable[[], None]) -> None:
    def go_on() -> bool:
        migrating()
        return False

    with _progress(db, go_on), db:
        version = _check_version(db, path)
        if version == SCHEMA_VERSION:
            return
        from prodlensd.ledger.views import VIEWS  # noqa: PLC0415 - who only reads needs none

        for (view,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'view'").fetchall():
            db.execute(f"DROP VIEW {view}")
        for script in (*MIGRATIONS[version:], VIEWS):
            db.execute(script)
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


@contextmanager
def _progress(db: apsw.Connection, is_to_stop: Callable[[], bool]) -> Iterator[None]:
    db.set_progress_handler(is_to_stop, _STEPS_OF_PROGRESS)
    try:
        yield
    finally:
        db.set_progress_handler(None)


def _check_is_current(db: apsw.Connection, path: Path) -> None:
    """Raises LedgerError for a schema that a reader, which changes nothing, cannot read."""
    if (version := _check_version(db, path)) < SCHEMA_VERSION:
        raise LedgerError(
            f"{path}: schema {version} is of an earlier prodlensd (this one's is "
            f"{SCHEMA_VERSION}): start the daemon again, which brings it up to date"
        )


def _check_version(db: apsw.Connection, path: Path) -> int:
    """The schema version; refuses a foreign database and a schema from the future."""
    application_id = db.pragma("application_id")
    version = int(db.pragma("user_version"))
    if (
        application_id == 0
        and version == 0
        and db.execute("SELECT 1 FROM sqlite_schema").get is None
    ):
        return 0
    if application_id != APPLICATION_ID:
        raise LedgerError(
            f"{path}: a SQLite database, but not prodlensd's; set store.path to another file"
        )
    if version > SCHEMA_VERSION:
        raise LedgerError(
            f"{path}: schema {version} is newer than this prodlensd knows ({SCHEMA_VERSION}); "
            "upgrade prodlensd"
        )
    return version
