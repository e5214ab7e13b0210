"""The Tab key, pressed in real shells."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from prodlensd.cli import main

_PATIENCE_S = 100
_REAL = pytest.mark.real_programs

#: A shell → how it is started without the files of whoever runs the tests, and what it is told.
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(prodlensd completion bash)"'),
    "zsh": (
        ["zsh", "-f", "-i"],
        'bindkey -e; autoload -U compinit; compinit -D; eval "$(prodlensd completion zsh)"',
    ),
    "fish": (
        ["fish", "--no-config", "-i"],
        "function fish_prompt; echo '$ '; end; prodlensd completion fish | source",
    ),
}


class Shell:
    """A shell at a terminal of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        command, setup = SHELLS[name]
        own, other = pty.openpty()
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = os.environ | {"PATH": path, "TERM": "dumb", "HOME": str(folder), "PS1": "$ "}
        self._process = subprocess.Popen(
            command,
            stdin=other,
            stdout=other,
            stderr=other,
            env=environment,
            cwd=folder,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no threads
        )
        os.close(other)
        self._terminal, self._seen = own, ""
        self.type(f"{setup}; echo re''ady\r")
        self._await("ready")

    def type(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def completed(self, begun: str) -> str:
        """What the Tab key makes of this command line."""
        self.type(f"{begun}\t")
        # To the start of the line, and there a command that prints what is on it.
        self.type("\x01echo '<'\x05 '>'\r")
        return " ".join(self._await("<(.*?)>").split())

    def _await(self, pattern: str) -> str:
        """What the terminal shows in a line of its own; then it is forgotten."""
        deadline = time.monotonic() + _PATIENCE_S
        line = re.compile(rf"(?:^|[\r\n]){pattern}[\r\n]")
        while not (found := line.search(self._seen)):
            assert time.monotonic() < deadline, self._seen
            if select.select([self._terminal], [], [], 1)[0]:
                self._seen += os.read(self._terminal, 1 << 16).decode(errors="replace")
        self._seen = self._seen[found.end() :]
        return found[1] if found.groups() else found[0]

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)


@pytest.fixture(params=["bash", *(pytest.param(name, marks=_REAL) for name in ("zsh", "fish"))])
def shell(request: pytest.FixtureRequest, machine: Any, tmp_path: Path) -> Iterator[Shell]:
    lines = [
        call(1, "zoe@example.com", "acme/shop"),
        call(2, "zoe;reboot", "acme/shop"),
        call(3, "yan@example.com", "acme/web"),
    ]
    (machine.logs / "a.jsonl").write_text("".join(lines))
    assert 0 == machine.command("run", "--once").returncode
    shell = Shell(request.param, tmp_path)
    yield shell
    shell.end()


def call(number: int, developer: str, repo: str) -> str:
    line = {
        "timestamp": f"2026-01-01T00:00:0{number}Z",
        "attributes": {"llm.model_name": "anthropic/claude-sonnet-4-5"},
        "usage": {"input_tokens": 10, "output_tokens": 1},
        "metadata": {"developer_id": developer, "repo": repo, "session_id": f"session{number}"},
    }
    return json.dumps(line) + "\n"


@pytest.mark.long
def test_a_shell_completes_commands_options_and_names(shell: Shell) -> None:
    for begun, completed in (
        ("prodlensd stat", "prodlensd status"),
        ("prodlensd prices ch", "prodlensd prices check"),
        ("prodlensd report --comp", "prodlensd report --compare"),
        ("prodlensd report --by dev", "prodlensd report --by developer"),
        ("prodlensd report --by developer,mod", "prodlensd report --by developer,model"),
        ("prodlensd report --columns +ttft_p9", "prodlensd report --columns +ttft_p95"),
        ("prodlensd report --sort unp", "prodlensd report --sort unpriced"),
        ("prodlensd reprice --source over", "prodlensd reprice --source override"),
        ("prodlensd report --timezone Europe/Berl", "prodlensd report --timezone Europe/Berlin"),
        ("prodlensd report --developer zo", "prodlensd report --developer zoe@example.com"),
        ("prodlensd report --repo acme/w", "prodlensd report --repo acme/web"),
        (
            "prodlensd report --model anthropic/claude-sonnet-4",
            "prodlensd report --model anthropic/claude-sonnet-4-5",
        ),
        ("prodlensd prices show gpt-4o-min", "prodlensd prices show gpt-4o-mini"),
        ("prodlensd completion z", "prodlensd completion zsh"),
        ("prodlensd help dead", "prodlensd help dead-letters"),
    ):
        assert completed in shell.completed(begun)


def asked(words: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], str]:
    """What a shell is told when Tab is pressed at the end, and what is on stderr."""
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    monkeypatch.setenv("_MAIN_COMPLETE", "bash_complete")
    done = CliRunner().invoke(main)
    assert 0 == done.exit_code, done.exception
    return done.stdout.split(), done.stderr


@pytest.mark.parametrize(
    "spoil",
    [
        lambda machine: machine.config.touch(),
        lambda machine: machine.ledger.write_text("no database"),
        lambda machine: machine.ledger.mkdir(),
        lambda machine: machine.config.write_text("no = TOML ="),
    ],
    ids=["no ledger", "another file", "a folder", "a bad configuration"],
)
def test_where_no_names_can_be_had_nothing_is_said(
    machine: Any, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Any], object]
) -> None:
    spoil(machine)
    before = sorted(machine.home.iterdir())
    for words in ("report --developer ", "report --repo a", "show ", "reprice --provider "):
        assert ([], "") == asked(f"prodlensd {words}", monkeypatch)
    assert before == sorted(machine.home.iterdir())


def test_names_come_from_the_ledger_that_the_command_would_ask(
    machine: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (machine.logs / "a.jsonl").write_text(call(1, "zoe@example.com", "acme/shop"))
    assert 0 == machine.command("run", "--once").returncode
    other = tmp_path / "other.toml"
    other.write_text(f'store.path = "{tmp_path}/nothing.db"\n')
    offered = ["plain,zoe@example.com"]
    assert (offered, "") == asked("prodlensd report --developer ", monkeypatch)
    assert ([], "") == asked(f"prodlensd report -c {other} --developer ", monkeypatch)


def test_a_name_that_a_shell_would_run_is_never_offered(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = ["$(reboot)", "x;reboot", "`id`", "a b", "*", "-c", "é\n", "x|y", "~root", "!!", "x'"]
    lines = [call(number % 10, name, "acme/shop") for number, name in enumerate(hostile)]
    (machine.logs / "a.jsonl").write_text("".join([*lines, call(1, "zoe@example.com", "a/b")]))
    assert 0 == machine.command("run", "--once").returncode
    offered, said = asked("prodlensd report --developer ", monkeypatch)
    assert (["plain,zoe@example.com"], "") == (offered, said)


def test_commands_are_offered_without_loading_them(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys; from prodlensd.cli import main\n"
        "try: main(prog_name='prodlensd')\n"
        "except SystemExit: pass\n"
        "print(*sorted(name for name in sys.modules if name.startswith('prodlensd.cli.')))"
    )
    for name, value in (("COMP_WORDS", "prodlensd re"), ("COMP_CWORD", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("_PRODLENSD_COMPLETE", "zsh_complete")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True
    )
    lines = done.stdout.splitlines()
    assert ["report", "reconcile", "reprice"] == [lines[1], lines[4], lines[7]]
    names = ("at_once", "commands", "options", "streams", "typed")
    assert " ".join(f"prodlensd.cli.{name}" for name in names) == lines[-1]
