"""Virtual environments for what the tests talk to and what must not stand beside prodlensd.

Each is made once, from a complete list of pinned packages, and kept in .cache, or in the folder
that $PRODLENSD_TEST_VENVS names. `make programs` makes all of them.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

_PROJECT: Final = Path(__file__).parents[1]
_STAMP: Final = "installed"


def venv_python(requirements: Path) -> Path:
    """The Python of the environment of this list, installed first if missing or out of date."""
    folder = _folder(requirements)
    python = folder / "bin" / "python"
    if not is_installed(requirements):
        venv.create(folder, clear=True)
        # The list is complete, so nothing is resolved: what was measured is what is installed.
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-qq"]
        subprocess.run(
            [*pip, "--disable-pip-version-check", "--no-deps", "-r", str(requirements)],
            env=os.environ | {"PIP_BUILD_CONSTRAINT": str(_PROJECT / "constraints.txt")},
            check=True,
        )
        (folder / _STAMP).write_text(_wanted(requirements))
    return python


def is_installed(requirements: Path) -> bool:
    """Whether the environment of this list is there and up to date."""
    stamp = _folder(requirements) / _STAMP
    return stamp.is_file() and stamp.read_text() == _wanted(requirements)


def _folder(requirements: Path) -> Path:
    cache = Path(os.environ.get("PRODLENSD_TEST_VENVS") or _PROJECT / ".cache")
    return cache / requirements.stem


def _wanted(requirements: Path) -> str:
    return hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
