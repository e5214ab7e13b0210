"""On a terminal the log is for a person, and nothing from outside can steer the terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import Any

import pytest


def on_terminal(*arguments: str, **environment: str) -> str:
    """What prodlensd prints when its stderr and stdout are a terminal."""
    ours, theirs = pty.openpty()
    try:
        done = subprocess.Popen(
            [sys.executable, "-m", "prodlensd", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            env=os.environ | environment,
        )
        os.close(theirs)
        printed = b""
        while block := _read(ours):
            printed += block
        done.wait(100)
    finally:
        os.close(ours)
    return printed.decode(environment.get("PYTHONIOENCODING", "utf-8"))


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # how Linux says that the other side is closed
        return b""


def test_its_log_is_in_columns_there() -> None:
    printed = on_terminal("run", "--once")
    assert "started" in printed
    assert not printed.startswith("{")


def test_a_hostile_file_name_cannot_send_escape_sequences(machine: Any) -> None:
    hostile = machine.logs / "\x1b]0;owned\x07.jsonl"
    hostile.write_bytes(b"one\n")
    assert machine.command("run", "--once").returncode == 0
    hostile.write_bytes(b"two\n")
    printed = on_terminal("run", "--once")  # says which file is read again
    assert "owned" in printed
    assert "\x1b]0;" not in printed
    assert "\x1b]0;" not in on_terminal("status")


def test_colour_is_for_terminals_and_can_be_refused(machine: Any) -> None:
    assert "\x1b[" in on_terminal("status")
    assert "\x1b[" not in on_terminal("status", NO_COLOR="1")
    assert "\x1b[" not in machine.command("status").stdout


@pytest.mark.parametrize("encoding", ["ascii", "iso8859-1", "euc_jp"])
def test_a_terminal_of_another_encoding_has_a_log_and_a_bar_too(
    machine: Any, encoding: str
) -> None:
    (machine.logs / "日本.txt").write_bytes(b"one\n")
    machine.config.write_text('[logs]\ninclude = ["*.txt"]\n')
    machine.ledger.mkdir()
    refused = on_terminal("run", "--once", PYTHONIOENCODING=encoding)
    assert "not a file" in refused
    machine.ledger.rmdir()
    assert machine.command("run", "--once").returncode == 0
    for command in ("verify", "reprice"):
        printed = on_terminal(command, PYTHONIOENCODING=encoding)
        assert "Traceback" not in printed
        assert printed.isascii()
    assert "日本" not in on_terminal("dead-letters", "list", PYTHONIOENCODING="ascii")
