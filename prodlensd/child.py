"""Starts our own program in a process of its own: it can crash, or be large, and harm nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO


def start(
    *arguments: str,
    module: str = "prodlensd",
    stdin: int = subprocess.DEVNULL,
    stdout: int | None = subprocess.DEVNULL,
    stderr: IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    is_own_session: bool = False,
) -> subprocess.Popen[bytes]:
    """Starts `python -m module arguments` on this interpreter and this package. Raises OSError.

    It imports what we would, and never what lies in the current folder. In a session of its own, a
    Ctrl-C in the terminal does not reach it.
    """
    return subprocess.Popen(  # noqa: S603 - our own interpreter, our own module
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env={**(os.environ if env is None else env), "PYTHONPATH": _own_path()},
        start_new_session=is_own_session,
    )


def _own_path() -> str:
    """A $PYTHONPATH with which a child finds what we find, but for the current folder.

    `python -m` puts that first, with whatever may come to lie there. Only where this package itself
    lies there it stays, and comes last.
    """
    entries = (entry for entry in sys.path if entry and not _is_current(entry))
    return os.pathsep.join(dict.fromkeys((*entries, str(Path(__file__).parents[1]))))


def _is_current(folder: str) -> bool:
    try:
        return Path(folder).samefile(os.curdir)
    except OSError:
        return False
