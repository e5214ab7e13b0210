"""A virtual environment with one exact version of LiteLLM, made once and kept.

Run by hand to prepare: `python tests/e2e/litellm_venv.py 1.106.2 1.80.0`
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
VERSIONS: Final = ("1.106.2", "1.80.0")  # the newest these tests know, and one of a year before


def litellm_python(version: str) -> Path:
    """The Python of the environment, which is installed first if it is missing or out of date."""
    requirements = HERE / f"litellm-{version}.txt"
    cache = os.environ.get("PRODLENSD_LITELLM_VENVS") or HERE.parents[1] / ".cache"
    folder = Path(cache) / f"litellm-{version}"
    python = folder / "bin" / "python"
    stamp = folder / "installed"
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    if not (stamp.is_file() and stamp.read_text() == wanted):
        venv.create(folder, clear=True, with_pip=True)
        # The list is complete, so nothing is resolved: what was measured is what is installed.
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "-r", str(requirements)]
        subprocess.run([python, "-m", "pip", "install", *options], check=True)
        stamp.write_text(wanted)
    return python


if __name__ == "__main__":
    for chosen in sys.argv[1:] or VERSIONS:
        sys.stdout.write(f"{litellm_python(chosen)}\n")
