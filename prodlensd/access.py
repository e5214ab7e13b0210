"""Why the system refused this user a file or a folder: whose that is, and what to do."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def refusal(path: Path, error: OSError, wanted: int = os.R_OK) -> str:
    """The system's reason, and where it is a lack of permission, what stands in the way.

    `wanted` is os.R_OK or os.W_OK. What is not there is refused by the folder that it would be in.
    """
    reason = error.strerror or str(error)
    if not isinstance(error, PermissionError):
        return reason
    there = nearest(path)
    if there.is_dir():
        wanted |= os.X_OK
    for place, need in (
        *((folder, os.X_OK) for folder in reversed(there.parents)),
        (there, wanted),
    ):
        if not os.access(place, need, effective_ids=True):
            return f"{reason}: {'it' if place == path else _text(place)} {_why(place)}"
    return reason


def nearest(path: Path) -> Path:
    """The path, or what is there of it."""
    return next((p for p in (path, *path.parents) if os.path.lexists(p)), path)


def _why(place: Path) -> str:
    found = place.stat()
    return (
        f"belongs to {found.st_uid}:{found.st_gid}, mode {stat.S_IMODE(found.st_mode):04o}, and "
        f"this is user {os.geteuid()}:{os.getegid()}; run as its owner, or let this user in"
    )


def _text(path: Path) -> str:
    """The path, also where its bytes are no text."""
    return os.fsencode(path).decode(errors="backslashreplace")
