"""On a terminal the log is for a person, and nothing from outside can steer the terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import Any

import pytest
from rich.cells import cell_len


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


@pytest.mark.long
def test_a_hostile_file_name_cannot_send_escape_sequences(machine: Any) -> None:
    hostile = machine.logs / "\x1b]0;owned\x07.jsonl"
    hostile.write_bytes(b"one\n")
    machine.ingest()
    hostile.write_bytes(b"two\n")
    printed = on_terminal("run", "--once")  # says which file is read again
    assert "owned" in printed
    assert "\x1b]0;" not in printed
    assert "\x1b]0;" not in on_terminal("status")


def test_colour_is_for_terminals_and_can_be_refused(machine: Any) -> None:
    assert "\x1b[" in on_terminal("status")
    assert "\x1b[" not in on_terminal("status", NO_COLOR="1")
    assert "\x1b[" not in machine.command("status").stdout


@pytest.mark.long
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
    machine.ingest()
    for command in ("verify", "reprice"):
        printed = on_terminal(command, PYTHONIOENCODING=encoding)
        assert "Traceback" not in printed
        assert printed.isascii()
    assert "日本" not in on_terminal("dead-letters", "list", PYTHONIOENCODING="ascii")


LONG = "azure/the-deployment-of-a-team-in-frankfurt-日本語-with-a-name-of-its-own"


@pytest.mark.long
@pytest.mark.parametrize("command", ["prices check", "dead-letters list", "reprice --dry-run"])
def test_a_table_fits_the_terminal_and_only_there_is_anything_left_out(
    machine: Any, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    call = {
        "timestamp": "2026-01-01T00:00:00Z",
        "attributes": {"llm.model_name": LONG},
        "usage": {"input_tokens": 2_900_000_000, "output_tokens": 1},
    }
    log = machine.logs / f"{LONG.replace('/', '-')}.jsonl"
    log.write_text(f"{json.dumps(call)}\nno call\n")
    machine.ingest()
    override = f'[[pricing.override]]\nmodel = "{LONG}"\n'
    machine.config.write_text(f"{override}input_usd_per_million = 9\noutput_usd_per_million = 9\n")
    arguments = command.split()
    for columns in (40, 80):
        printed = on_terminal(*arguments, COLUMNS=str(columns), NO_COLOR="1")
        _, _, shown = printed.rpartition("\x1b[2K")  # after the progress bar
        sentences = ("would change", "→")
        table = [line for line in shown.splitlines() if not any(s in line for s in sentences)]
        assert max(map(cell_len, table)) <= columns
        assert columns == 40 or "…" in shown
    name = log.name if "letters" in command else LONG
    assert name in on_terminal(*arguments, "--wide", COLUMNS="80")
    # As readline sets it for whatever a program starts.
    monkeypatch.setenv("COLUMNS", "80")
    assert name in machine.command(*arguments).stdout
