"""Virtual environments for what the tests talk to and what must not stand beside prodlensd.

Each is made once, from a complete list of pinned packages, and kept in .cache, or in the folder
that $PRODLENSD_TEST_VENVS names. Run by hand to prepare:
`python tests/venvs.py tests/e2e/litellm-*.txt tests/readers/pyspark.txt`
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


def venv_python(requirements: Path) -> Path:
    """The Python of the environment of this list, installed first if missing or out of date."""
    cache = Path(os.environ.get("PRODLENSD_TEST_VENVS") or _PROJECT / ".cache")
    folder = cache / requirements.stem
    python = folder / "bin" / "python"
    stamp = folder / "installed"
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    if not (stamp.is_file() and stamp.read_text() == wanted):
        venv.create(folder, clear=True)
        # The list is complete, so nothing is resolved: what was measured is what is installed.
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
        subprocess.run(
            [*pip, "--disable-pip-version-check", "--no-deps", "-r", str(requirements)],
            env=os.environ | {"PIP_BUILD_CONSTRAINT": str(_PROJECT / "constraints.txt")},
            check=True,
        )
        stamp.write_text(wanted)
    return python


if __name__ == "__main__":
    for requirements in sys.argv[1:]:
        sys.stdout.write(f"{venv_python(Path(requirements))}\n")
