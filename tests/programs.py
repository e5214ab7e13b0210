"""Installs into .cache what tests of real programs talk to: `make programs`.

Tests install by themselves what is not there. Beforehand, two are installed at a time, it can be
seen which, and what cannot be installed is one clear error instead of many failed tests.
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[1]))

from tests.systemd.root import is_root_made, made_root
from tests.venvs import is_installed, venv_python

_AT_ONCE = 2


def missing() -> list[Path | None]:
    """The lists whose environments are not there; None is the system with systemd.

    The slowest two, that system and Spark, come first.
    """
    lists = sorted(Path(__file__).parent.glob("*/*.txt"), reverse=True)
    return [
        *([] if is_root_made() else [None]),
        *(path for path in lists if not is_installed(path)),
    ]


def install(which: Path | None) -> str:
    """Installs one of them; returns what went wrong, or nothing."""
    name = "a small system with systemd" if which is None else which.stem
    sys.stdout.write(f"Installing {name} into .cache, once.\n")
    sys.stdout.flush()
    try:
        made_root() if which is None else venv_python(which)
    except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
        return f"Cannot install {name}: {error}\n"
    return ""


if __name__ == "__main__":
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        wrong = [*threads.map(install, missing())]
    sys.exit("".join(wrong) or 0)
