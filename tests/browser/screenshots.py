"""Takes the pictures of docs/page.md and the README: `python -m tests.browser.screenshots`.

Of the month of `make demo`, which is made up, up to now. Needs chromium, as `make programs` does.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.browser.chromium import chromium
from tests.browser.conftest import environment, logged

_DOCS: Final = Path(__file__).parents[2] / "docs"
#: The picture → the question, and the width, height and colours of the window.
_PICTURES: Final = {
    "page.png": ("?since=2w", 1200, 1000, False),
    "page-dark.png": ("?since=2w&team=core", 1000, 800, True),
    "page-phone.png": ("?since=2w", 390, 844, False),
}
_CONFIG: Final = """
host = "our-proxy"
[http]
listen = "127.0.0.1:{port}"
[[budget]]
name = "web"
team = "web"
monthly_usd = 55
[[budget]]
name = "Ana"
developer = "ana@*"
monthly_usd = 25
"""


@contextmanager
def _served(home: Path) -> Iterator[str]:
    """The address of the month's page."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    logged(home, ())
    (home / "config.toml").write_text(_CONFIG.format(port=port))
    command = [sys.executable, "-m", "prodlensd", "run"]
    with subprocess.Popen(command, env=environment(home), stderr=subprocess.PIPE) as daemon:
        assert daemon.stderr
        while b"serving HTTP" not in daemon.stderr.readline():
            pass
        yield f"http://127.0.0.1:{port}/"
        daemon.terminate()


def main() -> None:
    """Takes all pictures."""
    with tempfile.TemporaryDirectory() as folder, _served(Path(folder) / "home") as address:
        profile = Path(folder) / "profile"
        profile.mkdir()
        with chromium(profile) as tab:
            for name, (question, width, height, is_dark) in _PICTURES.items():
                tab.look(width=width, is_dark=is_dark)
                tab.open(f"{address}{question}")
                (_DOCS / name).write_bytes(tab.screenshot(height))


if __name__ == "__main__":
    main()
