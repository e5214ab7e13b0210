"""What coding agents write on this machine: whether it is read, and whether it can be.

What a value quotes (paths, errors of the system) comes from outside, and is not fit to print as is.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

from prodlensd.answers.doctor.facts import Installed, Setup, User
from prodlensd.answers.gauges import CRITICAL, OK, WARNING, Check, worst_of
from prodlensd.logs import Folders, bytes_at
from prodlensd.model import US_PER_DAY, Folder, Sighting
from prodlensd.text import counted

NAMES: Final = {"claude_code": "Claude Code", "codex": "Codex"}
#: What stands on nearly every line of an agent's transcript.
_MARKS: Final = {"claude_code": (b'"sessionId"', b'"uuid"'), "codex": (b'"payload"',)}
_LOOKED_INTO: Final = 3
_LOOK_BYTES: Final = 1 << 16
#: What the system's unit hides (ProtectHome).
_HOMES: Final = tuple(map(Path, ("/home", "/root", "/run/user")))


class Found(NamedTuple):
    """What lies in a folder of transcripts.

    days         on how many days (UTC) one of them was written to last
    is_there     whether there is anything of this name
    fault        why it cannot be listed; "" if it can
    unreadable   transcripts that the daemon's user may not read
    is_of_kind   whether one of the newest looks as this agent's do; True if there is none
    """

    folder: Folder
    files: int = 0
    days: int = 0
    is_there: bool = True
    fault: str = ""
    unreadable: int = 0
    is_of_kind: bool = True

    @property
    def said(self) -> str:
        """How many there are, and where."""
        files, days = counted(self.files, "transcript"), counted(self.days, "day")
        return f"{files} of {days} in {self.folder.path}" if self.files else str(self.folder.path)


def look(folder: Folder, user: User | None = None) -> Found:
    """What lies in a folder, as this user may read it; no user: as the one who asks."""
    with suppress(PermissionError):
        if not folder.path.exists():
            return Found(folder, is_there=False)
        if not folder.path.is_dir():
            return Found(folder, fault="it is no folder")
    if user is not None and not user.may(folder.path, os.R_OK | os.X_OK):
        return Found(folder, fault=f"{user.name} may not list it")
    found = Folders(
        [folder.path], include=folder.include, recursive=folder.recursive, format=folder.format
    ).look(os.scandir)
    files = sorted(found.files.values(), key=lambda file: file.mtime_ns)
    marks, newest = _MARKS[folder.format], files[-_LOOKED_INTO:]
    return Found(
        folder,
        len(files),
        len({file.mtime_ns // (US_PER_DAY * 1000) for file in files}),
        fault=next((f"{where}: {why}" for where, why in found.faults), ""),
        unreadable=sum(user is not None and not user.may(Path(f.path), os.R_OK) for f in files),
        is_of_kind=not files or any(_has_mark(file, marks) for file in newest),
    )


def _has_mark(file: Sighting, marks: Iterable[bytes]) -> bool:
    """Whether one of the marks stands near the beginning; True where that cannot be seen."""
    head = bytes_at(file.path, 0, _LOOK_BYTES)
    return not head or any(mark in head for mark in marks)


def offers(folders: Iterable[Folder]) -> list[tuple[str, str]]:
    """For each agent that has written in these: what lies there, and the key that has it read."""
    found = [each for each in map(look, folders) if each.files]
    return [
        (f"{NAMES[format_]}: {'; '.join(each.said for each in group)}", f"{format_} = true")
        for format_, group in groupby(found, lambda each: each.folder.format)
    ]


def check(setup: Setup, user: User) -> Check | None:
    """Whether transcripts are read, and can be. None where no agent has written any."""
    parts, remedies, state = list[str](), list[str](), OK
    for found in (look(folder, user) for folder in setup.transcripts):
        problem = _problem(found, setup.services, user)
        parts.append(f"{NAMES[found.folder.format]}: {found.said}")
        if problem is not None:
            parts[-1] += f": {problem.value}"
            remedies.append(problem.remedy)
            state = worst_of(problem, Check("", state, ""))
    for said, key in offers(setup.unread):
        parts.append(f"not read: {said}")
        remedies.append(f"to count these calls too: {key} under [transcripts]")
    return Check("agents", state, "; ".join(parts), "; ".join(remedies)) if parts else None


def _problem(found: Found, services: Sequence[Installed], user: User) -> Check | None:
    """What keeps a folder from being read, or from being what it should be."""
    path, agent = found.folder.path, NAMES[found.folder.format]
    hides = bool(services) and all(service.hides_homes for service in services)
    key = f"transcripts.{found.folder.format}"
    if hides and any(path.is_relative_to(home) for home in _HOMES):
        remedy = "a user's own daemon reads transcripts: prodlensd service install --user"
        return Check("", CRITICAL, "the system's service does not see home folders", remedy)
    if not found.is_there:
        return Check("", WARNING, "it is not there", f"correct {key}, or leave it out")
    if found.fault or found.unreadable:
        unread = counted(found.unreadable, "transcript")
        fault = found.fault or f"{user.name} may not read {unread}"
        return Check("", CRITICAL, fault, f"run the daemon as the user who runs {agent}")
    if not found.files:
        return Check("", WARNING, "no transcript is in it", f"name {agent}'s own folder in {key}")
    if not found.is_of_kind:
        value = f"the newest do not look like transcripts of {agent}"
        return Check("", WARNING, value, f"name {agent}'s own folder in {key}")
    return None
