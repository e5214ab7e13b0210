"""Commands as another user of the machine."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = 65534


def as_nobody(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as a user who owns nothing, with the code loaded as one who may read it."""
    code = (
        "import os, sys\n"
        "import encodings.idna, encodings.utf_8_sig, importlib.readers, orjson, pyarrow, duckdb\n"
        "import difflib, hashlib, json, tomllib, zoneinfo\n"
        "from prodlensd.cli import doctor, main, overview, report, run, status, verify\n"
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "main(sys.argv[1:])"
    )
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd="/",
    )


@contextmanager
def home_for_all(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home that every user can get at, which those of pytest are not."""
    with tempfile.TemporaryDirectory(prefix="prodlensd-test-") as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setenv("PRODLENSD_HOME", f"{folder}/home")
        yield Path(folder) / "home"
