"""A ledger with a month of made-up calls and some hostile names, its page as a file and served."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

# These tests share modules, and --import-mode=importlib puts nothing on the path.
sys.path.append(str(Path(__file__).parents[2]))

from prodlensd.app.made_up import month
from prodlensd.moments import moment_of, now_us
from tests.browser.chromium import Tab, chromium
from tests.forked import forked

NOW: Final = moment_of(now_us())
PERIOD: Final = ("--since", "always", "--timezone", "UTC")
HOSTILE: Final = (
    "<script>alert(1);document.title='owned'</script>",
    "\"><img src='http://127.0.0.1:9/x.png' onerror=alert(1)>",
    "javascript:alert(1)",
    "</style><style>body{background:url(http://127.0.0.1:9/y)}",
    "a name of one word that is far longer than any window is wide: " + "n" * 400,
)
BUDGETS: Final = """
[[budget]]
name = "everything"
monthly_usd = 1000000
[[budget]]
name = "<b>core</b>"
team = "core"
monthly_usd = 1
"""


class Served(NamedTuple):
    """The home of a ledger, the file of its page, and the address at which it is served."""

    home: Path
    file: str
    address: str

    def report(self, *arguments: str) -> dict[str, object]:
        env = environment(self.home)
        done = forked("report", "--json", *PERIOD, *arguments, env=env)
        return dict(json.loads(done.stdout))


def environment(home: Path) -> dict[str, str]:
    """That of a prodlensd at this home, whatever the machine is set up for."""
    own = {name: text for name, text in os.environ.items() if not name.startswith("PRODLENSD_")}
    return own | {"PRODLENSD_HOME": str(home)}


def dear(name: str, number: int) -> str:
    """A dear call of somebody with this name, made just now."""
    line = {
        "timestamp": NOW.isoformat(),
        "cost_usd": 3.0 + number / 10,
        "attributes": {"llm.model_name": name, "latency_ms": 900.0, "ttft_ms": 90.0},
        "usage": {"input_tokens": 10, "output_tokens": 1},
        "metadata": {"developer_id": name, "session_id": name, "team": name, "repo": name},
    }
    return json.dumps(line)


def logged(home: Path, names: tuple[str, ...]) -> None:
    """Fills a ledger there with a month until now, and calls of people with these names."""
    (home / "logs").mkdir(parents=True)
    for file, lines in month(NOW).items():
        (home / "logs" / file).write_text("".join(f"{line}\n" for line in lines), "utf-8")
    lines = [dear(name, number) for number, name in enumerate(names)]
    (home / "logs" / "others.jsonl").write_text("".join(f"{line}\n" for line in lines))
    env = environment(home)
    done = forked("run", "--once", env=env)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("browser") / "home"
    logged(home, (*HOSTILE, "core"))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = home / "config.toml"
    config.write_text(f'host = "made-up"\n[http]\nlisten = "127.0.0.1:{port}"\n{BUDGETS}')
    env = environment(home)
    file = home / "page.html"
    done = forked("report", "--format", "html", "-o", str(file), *PERIOD, env=env)
    assert done.returncode == 0, done.stderr
    daemon = subprocess.Popen(
        [sys.executable, "-m", "prodlensd", "run"], env=env, stderr=subprocess.PIPE
    )
    try:
        assert daemon.stderr
        while b"serving HTTP" not in (line := daemon.stderr.readline()):
            assert line, "the daemon has ended"
        yield Served(home, file.as_uri(), f"http://127.0.0.1:{port}/")
    finally:
        daemon.terminate()
        daemon.communicate(timeout=60)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with chromium(tmp_path_factory.mktemp("profile")) as tab:
        yield tab
