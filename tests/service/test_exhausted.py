"""Whatever the machine runs out of, at the start or later: the daemon lives, says so, and heals.

A resource is taken away and given back while a real daemon runs. What can be limited from outside
is; what only root escapes is refused where the program asks for it.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.long  # each waits for a daemon to recover

_PRELUDE = """
import ctypes, errno, os, subprocess, sys, threading

def refusing(owner, name, error):
    real = getattr(owner, name)
    def call(*arguments, **named):
        if os.path.exists({flag!r}):
            raise error
        return real(*arguments, **named)
    setattr(owner, name, call)

def refused(number):
    return OSError(number, os.strerror(number))

{refuse}
from prodlensd.daemon import loop
loop.BEAT_INTERVAL_S = 2.0  # four looks at the logs: ten seconds would prove no more
from prodlensd.__main__ import main
sys.argv = ["prodlensd", "run"]
main()
"""
_REFUSALS = {
    "inotify instances": """
from watchdog.observers import inotify_c
refusing(inotify_c, "inotify_init", refused(errno.EMFILE))
""",
    "watches": """
from watchdog.observers import inotify_c
refusing(inotify_c, "inotify_add_watch", refused(errno.ENOSPC))
""",
    "threads": """
refusing(threading.Thread, "start", RuntimeError("can't start new thread"))
""",
    "processes": """
refusing(subprocess, "Popen", refused(errno.EAGAIN))
""",
    "memory": """
refusing(os, "pread", MemoryError())
""",
    "memory for a look": """
refusing(os, "scandir", MemoryError())
""",
    "pipes and sockets": """
import socket
refusing(os, "pipe", refused(errno.EMFILE))
refusing(socket, "socketpair", refused(errno.EMFILE))
""",
}
#: Without these the daemon cannot begin, and says so; its service manager tries again.
_NEEDED_AT_THE_START = {"pipes and sockets"}
_CONFIG = """
[logs]
rescan_interval_s = 0.5
[parquet]
interval_s = 1
[http]
listen = "127.0.0.1:0"
"""


def line(number: int) -> bytes:
    return (
        json.dumps(
            {
                "timestamp": f"2026-01-01T00:{number // 60 % 60:02d}:{number % 60:02d}Z",
                "attributes": {"llm.model_name": "anthropic/claude-sonnet-4-5"},
                "usage": {"input_tokens": 1, "output_tokens": 1},
                "metadata": {"session_id": f"s{number}"},
                "id": f"i{number}",
                "litellm_call_id": f"c{number}",
            }
        ).encode()
        + b"\n"
    )


class Limited:
    """A daemon, and a switch that takes something from it."""

    def __init__(self, machine: Any, wait_until: Callable[..., Any]) -> None:
        self.machine = machine
        self._wait_until = wait_until
        self.flag = machine.home / "exhausted"
        self.written = 0
        machine.config.write_text(_CONFIG)

    def start(self, refuse: str) -> subprocess.Popen[bytes]:
        code = _PRELUDE.format(flag=str(self.flag), refuse=refuse)
        with self.machine.log.open("ab") as log:
            self.daemon = subprocess.Popen([sys.executable, "-c", code], stderr=log)
        self.machine._started.append(self.daemon)
        return self.daemon

    def write(self, count: int = 3) -> None:
        for number in range(self.written, self.written + count):
            with (self.machine.logs / f"{number}.jsonl").open("ab") as file:
                file.write(line(number))
        self.written += count

    def lives(self, what: str) -> None:
        """It is there, and gets on with its heartbeats and its log, for a while."""
        beat = self.beats()
        self._wait_until(lambda: self.beats() > beat or self.daemon.poll() is not None, what)
        assert self.daemon.poll() is None, self.machine.said()[-3000:]

    def beats(self) -> int:
        return int((self.machine.query("SELECT beat_us FROM daemon") or [0])[0])

    def has_all(self, what: str) -> None:
        counted = "SELECT count(*), count(DISTINCT session_id) FROM traces"
        expected = [(self.written, self.written)]
        self._wait_until(lambda: self.machine.query(counted) == expected, what)
        assert self.machine.query("SELECT sum(duplicates) FROM sources") == [0]

    def complaints(self) -> list[str]:
        entries = [json.loads(row) for row in self.machine.said().splitlines() if row[:1] == "{"]
        return [e["event"] for e in entries if e["level"] in ("warning", "error")]


@pytest.fixture
def limited(machine: Any, wait_until: Callable[..., Any]) -> Limited:
    return Limited(machine, wait_until)


@pytest.mark.scenario(97)
@pytest.mark.parametrize("what", sorted(set(_REFUSALS) - _NEEDED_AT_THE_START))
def test_what_is_gone_at_the_start_ends_no_daemon_and_loses_no_line(
    limited: Limited, what: str
) -> None:
    limited.flag.touch()
    limited.write()
    limited.start(_REFUSALS[what])
    limited.lives(f"a heartbeat without {what}")
    limited.write()
    limited.lives(f"another without {what}")
    limited.flag.unlink()
    limited.has_all(f"all lines, when there are {what} again")
    assert "Traceback" not in limited.machine.said()
    assert len(limited.complaints()) < 12, limited.complaints()


@pytest.mark.scenario(97)
@pytest.mark.parametrize("what", sorted(_REFUSALS))
def test_what_goes_while_it_runs_ends_no_daemon_and_loses_no_line(
    limited: Limited, what: str
) -> None:
    limited.start(_REFUSALS[what])
    limited.write()
    limited.has_all("the first lines")
    limited.flag.touch()
    limited.write()
    limited.lives(f"a heartbeat without {what}")
    limited.flag.unlink()
    limited.write()
    limited.has_all(f"all lines, when there are {what} again")
    assert "Traceback" not in limited.machine.said()
    assert len(limited.complaints()) < 12, limited.complaints()


@pytest.mark.scenario(97)
@pytest.mark.parametrize(
    ("limit", "value"), [(resource.RLIMIT_NOFILE, 3), (resource.RLIMIT_FSIZE, 4096)]
)
def test_a_limit_that_falls_while_it_runs_is_said_and_waited_out(
    limited: Limited, wait_until: Callable[..., Any], limit: int, value: int
) -> None:
    """No descriptor is left, or no file may grow: a disk that is full, or a quota."""
    daemon = limited.start("")
    limited.write()
    limited.has_all("the first lines")
    before = resource.prlimit(daemon.pid, limit)
    resource.prlimit(daemon.pid, limit, (value, before[1]))
    limited.write()
    wait_until(lambda: limited.complaints() or daemon.poll() is not None, "a complaint")
    assert daemon.poll() is None, limited.machine.said()[-3000:]
    resource.prlimit(daemon.pid, limit, before)
    limited.write()
    limited.has_all("all lines, when it is as before")
    assert limited.machine.query("PRAGMA integrity_check") == ["ok"]
    assert len(limited.complaints()) < 12, limited.complaints()


@pytest.mark.scenario(97)
def test_an_interpreter_that_is_gone_is_said_and_no_hang(
    limited: Limited, wait_until: Callable[..., Any], tmp_path: Path
) -> None:
    """As after an upgrade of the environment under the running daemon."""
    gone = tmp_path / "python"
    gone.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    gone.chmod(0o700)
    limited.start(f"sys.executable = {str(gone)!r}")
    limited.write()
    limited.has_all("the first lines")
    gone.unlink()
    limited.write()
    fault = "SELECT fault FROM daemon WHERE fault LIKE '%cannot be started%No such file%'"
    wait_until(lambda: limited.machine.query(fault), "the fault in the heartbeat")
    status = limited.machine.command("status")
    assert status.returncode == 1, status.stdout
    assert "cannot be started" in status.stdout
