"""The commands around the daemon: what they write, print and refuse."""

from __future__ import annotations

import ast
import os
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from prodlensd import config

COMMANDS = "run status verify report compact reprice init litellm-callback demo".split()


def test_help_names_every_command(machine: Any) -> None:
    done = machine.command("--help")
    assert done.returncode == 0
    for name in (*COMMANDS, "dead-letters", "prices"):
        assert f"\n  {name}" in done.stdout


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_and_takes_a_configuration(name: str) -> None:
    command = [sys.executable, "-m", "prodlensd", name, "--help"]  # which imports what it needs
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "-c, --config FILE" in done.stdout


def test_an_unknown_command_is_a_usage_error(machine: Any) -> None:
    done = machine.command("frobnicate")
    assert done.returncode == 2
    assert "No such command 'frobnicate'" in done.stderr


def test_init_writes_a_configuration_that_changes_nothing_yet(machine: Any) -> None:
    done = machine.command("init")
    assert done.returncode == 0
    assert f"\n  LITELLM_LOG_DIR={machine.logs}\n" in done.stdout
    assert "prodlensd run):\n\n  prodlensd service install\n" in done.stdout
    assert done.stdout.endswith("\n  prodlensd doctor\n")
    written = machine.config.read_text()
    assert written == config.example()
    assert not any(tomllib.loads(written).values())
    assert machine.command("run", "--once").returncode == 0


def test_init_overwrites_nothing(machine: Any) -> None:
    machine.config.write_text('host = "mine"\n')
    done = machine.command("init")
    assert done.returncode == 1
    assert "already there" in done.stderr
    assert machine.config.read_text() == 'host = "mine"\n'


def test_init_writes_where_it_is_told(machine: Any, tmp_path: Path) -> None:
    path = tmp_path / "new" / "my.toml"
    done = machine.command("init", "--config", str(path))
    assert done.returncode == 0
    assert f"\n  prodlensd service install -c {path}\n" in done.stdout
    assert done.stdout.endswith(f"\n  prodlensd doctor -c {path}\n")
    assert path.read_text() == config.example()


def test_init_proxy_writes_litellms_configuration_and_the_callback_beside_it(
    machine: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "proxy"
    done = machine.command("init", "--proxy", str(folder))
    assert done.returncode == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "litellm_config.yaml",
        "prodlensd_callback.py",
    ]
    assert "prodlensd_callback.trace_logger" in (folder / "litellm_config.yaml").read_text()
    for said in (f"litellm --config {folder}", "ANTHROPIC_BASE_URL", "OPENAI_BASE_URL"):
        assert said in done.stdout
    assert f"LITELLM_LOG_DIR={machine.logs}" in done.stdout
    assert "\n  prodlensd service install\n" in done.stdout
    assert done.stdout.endswith("\n  prodlensd doctor\n")
    again = machine.command("init", "--proxy", str(folder))
    assert again.returncode == 1
    assert "already there" in again.stderr


def test_the_callback_can_be_printed_and_installed_and_is_the_same_file(
    machine: Any, tmp_path: Path
) -> None:
    printed = machine.command("litellm-callback", "--print")
    assert printed.returncode == 0
    ast.parse(printed.stdout)
    assert "prodlensd" not in {
        name.name.partition(".")[0]
        for node in ast.walk(ast.parse(printed.stdout))
        if isinstance(node, ast.Import)
        for name in node.names
    }
    for _ in range(2):  # a second time brings it up to date
        assert machine.command("litellm-callback", "--install", str(tmp_path)).returncode == 0
        assert (tmp_path / "prodlensd_callback.py").read_text() == printed.stdout


def test_the_callback_is_replaced_whole_and_no_link_is_followed(
    machine: Any, tmp_path: Path
) -> None:
    place, other = tmp_path / "prodlensd_callback.py", tmp_path / "other.py"
    other.write_text("somebody's own\n")
    place.symlink_to(other)
    install = ("litellm-callback", "--install", str(tmp_path))
    assert 0 == machine.command(*install).returncode
    assert "somebody's own\n" == other.read_text()
    assert not place.is_symlink()
    place.chmod(0o640)
    with place.open("rb") as open_before:
        assert 0 == machine.command(*install).returncode
        assert place.stat().st_ino != os.fstat(open_before.fileno()).st_ino
        assert place.read_bytes() == open_before.read()
    assert 0o640 == stat.S_IMODE(place.stat().st_mode)
    assert [place, other] == sorted(tmp_path.glob("*.py"), reverse=True)


def test_a_full_disk_leaves_the_callback_as_it_was(tmp_path: Path) -> None:
    place = tmp_path / "prodlensd_callback.py"
    place.write_text("the old one\n")
    limited = 'ulimit -f 4; exec "$@"'  # blocks, of the file that is written
    command = ["sh", "-c", limited, "sh", sys.executable, "-m", "prodlensd"]
    done = subprocess.run(
        [*command, "litellm-callback", "--install", str(tmp_path)],
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        check=False,
    )
    assert (1, "the old one\n") == (done.returncode, place.read_text())
    assert b"cannot write" in done.stderr
    assert [place] == [path for path in tmp_path.iterdir() if path.is_file()]


def test_the_callback_cannot_be_installed_where_it_cannot_be_written(
    machine: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    done = machine.command("litellm-callback", "--install", str(tmp_path / "file" / "sub"))
    assert done.returncode == 1
    assert "cannot write" in done.stderr


@pytest.mark.long
def test_demo_shows_the_samples_at_their_cost_and_a_month_and_leaves_nothing(
    machine: Any,
) -> None:
    machine.config.write_text("not toml [")  # of this machine: the demo must not look at it
    done = machine.command("demo")
    assert done.returncode == 0, done.stderr
    for cost in ("$0.00300  table", "$0.00028  table", "$0.03000  table"):
        assert cost in done.stdout
    assert "health    ok" in done.stdout
    assert "stopped with exit code 0" in done.stdout
    assert "\n2,806 calls from 2" in done.stdout
    overview, _, report = done.stdout.partition("→ prodlensd report --by developer\n")
    assert "\nAI usage on " in overview
    assert "\nchloé@example.com " in report
    assert "\ntotal               2,806   3.3 % " in report
    assert "prodlensd service install " in report
    assert not machine.ledger.exists()
    folder = done.stdout.split("a daemon runs in ")[1].split(",")[0]
    assert not Path(folder).exists()
