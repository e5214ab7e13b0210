"""What is, beyond what `status` knows: who reads the folders, the callback, the database, disks."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import Struct

from prodlensd.access import nearest
from prodlensd.ledger import LedgerError, Reader, sqlite_version
from prodlensd.litellm import COPIED_CALLBACK_FILE, callback_folder, callback_source
from prodlensd.logs import PassedOver, Tailer
from prodlensd.model import LOG, Fault, Folder
from prodlensd.process import lock_path

#: How long SQLite may look for damage.
QUICK_LOOK_S: Final = 0.3


class Installed(NamedTuple):
    """A service that is installed, as its manager has it; `fault`: why that could not be asked.

    `config` is the configuration that it names, `run_as` its user; None where it names none.
    `hides_homes`: whether it runs where home folders are not seen.
    """

    path: Path
    log_hint: str
    config: Path | None = None
    run_as: str | None = None
    word: str = ""
    detail: str = ""
    is_up: bool = False
    has_failed: bool = False
    is_enabled: bool = False
    fault: str = ""
    hides_homes: bool = False


class Setup(Struct, frozen=True, kw_only=True):
    """How this machine is set up: what the configuration and the service manager say.

    `parquet` None: snapshots are off. `follow` makes a tailer of the logs that begins anew.
    `transcripts` are the folders that are read, `unread` those of agents that are not. `places` are
    where a copy of the callback may lie; `env` are this shell's variables.
    """

    config: Path | None
    ledger: Path
    folders: Sequence[Path]
    include: Sequence[str]
    recursive: bool
    follow: Callable[[], Tailer]
    transcripts: Sequence[Folder]
    unread: Sequence[Folder]
    parquet: Path | None
    proxy_url: str
    price_file: Path | None
    services: Sequence[Installed]
    places: Sequence[Path]
    env: dict[str, str]


class User(NamedTuple):
    """Whose permissions count."""

    uid: int
    name: str
    groups: frozenset[int]

    def may(self, path: Path, wanted: int) -> bool:
        """Whether this user may do this (os.R_OK | …) there; True where that cannot be known.

        For another user by the modes alone: access lists are not looked at.
        """
        if self.uid == os.geteuid():
            return os.access(path, wanted)
        within = [(parent, os.X_OK) for parent in path.parents]
        return self.uid == 0 or all(self._may(*one) for one in [*within, (path, wanted)])

    def _may(self, path: Path, wanted: int) -> bool:
        try:
            status = path.stat()
        except OSError:
            return True
        shift = 6 if status.st_uid == self.uid else 3 if status.st_gid in self.groups else 0
        return status.st_mode >> shift & wanted == wanted


def user_of(ledger: Path, services: Iterable[Installed]) -> User:
    """The user whom the daemon runs as: the lock's, else a service's, else this one."""
    try:
        return _user(lock_path(ledger).stat().st_uid)
    except OSError:
        pass
    for service in services:
        if service.run_as is not None:
            try:
                return _user(pwd.getpwnam(service.run_as).pw_uid)
            except KeyError:
                continue
    return _user(os.geteuid())


def _user(uid: int) -> User:
    try:
        known = pwd.getpwuid(uid)
    except KeyError:
        return User(uid, f"user {uid}", frozenset())
    named = {group.gr_gid for group in grp.getgrall() if known.pw_name in group.gr_mem}
    return User(uid, known.pw_name, frozenset({known.pw_gid, *named}))


class Folders(NamedTuple):
    """The log folders: those that are missing or closed, and the files in the others."""

    missing: list[Path]
    closed: list[Fault]
    files: int
    unreadable: list[str]
    newest_us: int | None  # when a file was last written to
    passed_over: dict[str, PassedOver]


def look_at_folders(setup: Setup, user: User) -> Folders:
    """The folders as this user may read them."""
    missing, closed = list[Path](), list[Fault]()
    for folder in setup.folders:
        try:
            is_folder = stat.S_ISDIR(folder.stat().st_mode)
        except FileNotFoundError:
            missing.append(folder)
        except OSError as error:
            closed.append(Fault(str(folder), error.strerror or str(error)))
        else:
            if not is_folder:
                closed.append(Fault(str(folder), "it is no folder"))
            elif not user.may(folder, os.R_OK | os.X_OK):
                closed.append(Fault(str(folder), f"{user.name} may not list it"))
    tailer = setup.follow()
    files = [file for file in tailer.scan(0).new if file.format == LOG]
    unreadable = [file.path for file in files if not user.may(Path(file.path), os.R_OK)]
    newest_ns = max((file.mtime_ns for file in files), default=None)
    newest_us = None if newest_ns is None else newest_ns // 1000
    return Folders(missing, closed, len(files), unreadable, newest_us, tailer.passed_over)


class Callback(NamedTuple):
    """The callback: where its lines would go by this shell, and what is found of it.

    `copies` are the files found, and whether each is this version's. `proxy` is the `litellm` that
    this shell would start; None: none.
    """

    folder: Path
    is_named: bool  # by $LITELLM_LOG_DIR
    is_watched: bool
    copies: list[tuple[Path, bool]]
    proxy: Path | None


def callback(setup: Setup) -> Callback:
    """The callback as this shell would find it."""
    folder = callback_folder(setup.env)
    real = os.path.realpath(folder)
    watched = [os.path.realpath(each) for each in setup.folders]
    is_watched = real in watched or (
        setup.recursive and any(real.startswith(f"{each}/") for each in watched)
    )
    ours, copies = callback_source().encode(), list[tuple[Path, bool]]()
    found = shutil.which("litellm", path=setup.env.get("PATH"))
    proxy = None if found is None else Path(found)
    files = [place / COPIED_CALLBACK_FILE for place in setup.places]
    if proxy is not None:
        # The prodlensd that is installed in the environment of that program.
        within = "lib/python3*/site-packages/prodlensd/litellm_callback.py"
        files += sorted(proxy.resolve().parent.parent.glob(within))
    for file in dict.fromkeys(files):
        try:
            copies.append((file, file.read_bytes() == ours))
        except OSError:
            continue
    return Callback(folder, bool(setup.env.get("LITELLM_LOG_DIR")), is_watched, copies, proxy)


class Database(NamedTuple):
    """The database of the ledger. `faults` None: it is too large to be looked through."""

    sqlite: str
    faults: list[str] | None
    newest_call_us: int | None


def database(ledger: Path) -> Database | None:
    """What SQLite says of the ledger, within QUICK_LOOK_S; None where it cannot be read."""
    try:
        with Reader(ledger) as reader:
            faults = reader.quick_faults(1, QUICK_LOOK_S)
            return Database(sqlite_version(), faults, reader.calls.last_us())
    except (LedgerError, OSError):
        return None


class Disk(NamedTuple):
    """A disk, by what is on it."""

    holds: list[str]
    free_bytes: int


def disks(places: Iterable[tuple[str, Path]]) -> list[Disk]:
    """The disks that these are on, or will be once they are made."""
    found: dict[int, Disk] = {}
    for what, path in places:
        there = nearest(path)
        try:
            device, disk = there.stat().st_dev, os.statvfs(there)
        except OSError:
            continue
        on = found.setdefault(device, Disk([], disk.f_bavail * disk.f_frsize))
        if what not in on.holds:
            on.holds.append(what)
    return list(found.values())
