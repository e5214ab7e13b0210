"""Real daemons in processes of their own, which no test can leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.forked import Forked, forked

_GRACE_S = 10


class Machine:
    """A home folder with a ledger in it, and the daemons started there."""

    def __init__(self, home: Path, wait_until: Callable[..., Any]) -> None:
        self.home = home
        self.logs = home / "logs"
        self.ledger = home / "prodlens.db"
        self.config = home / "config.toml"
        self.log = home.with_suffix(".log")
        self._wait_until = wait_until
        self._started: list[subprocess.Popen[bytes] | Forked] = []
        self.logs.mkdir(parents=True)

    def command(self, *arguments: str, first: str = "") -> subprocess.CompletedProcess[str]:
        """Runs prodlensd to its end, after this Python code."""
        return forked(*arguments, first=first)

    def log_a_call(self) -> None:
        """Appends a trace line to a log."""
        with (self.logs / "calls.jsonl").open("ab") as log:
            log.write(b'{"timestamp": "2026-11-22T18:00:00Z", "cost_usd": 0.1, "usage": {}}\n')

    def ingest(self, first: str = "") -> subprocess.CompletedProcess[str]:
        """Runs `run --once`, to have a ledger and its snapshots."""
        done = self.command("run", "--once", first=first)
        assert done.returncode == 0, done.stderr
        return done

    def start(self, *arguments: str) -> Forked:
        """Starts a daemon and waits for its first heartbeat."""
        with self.log.open("ab") as log:
            daemon = Forked("run", *arguments, stderr=log)
        self._started.append(daemon)
        self._wait_until(
            lambda: self.query("SELECT pid FROM daemon WHERE phase = 'running'") == [daemon.pid],
            "the daemon's first heartbeat",
        )
        return daemon

    def query(self, sql: str) -> list[Any]:
        """What another process sees; nothing while there is no ledger."""
        try:
            db = apsw.Connection(str(self.ledger), flags=apsw.SQLITE_OPEN_READONLY)
        except apsw.CantOpenError:
            return []
        try:
            db.set_busy_timeout(2000)
            return [row[0] if len(row) == 1 else row for row in db.execute(sql)]
        except apsw.SQLError:
            return []  # the tables are not there yet
        finally:
            db.close()

    def said(self) -> str:
        return self.log.read_text()

    def reap(self) -> None:
        for daemon in self._started:
            if daemon.poll() is None:
                os.kill(daemon.pid, signal.SIGCONT)
                daemon.terminate()
                try:
                    daemon.wait(_GRACE_S)
                except subprocess.TimeoutExpired:
                    daemon.kill()
                    daemon.wait()


@pytest.fixture
def machine(home: Path, wait_until: Callable[..., Any]) -> Iterator[Machine]:
    machine = Machine(home, wait_until)
    yield machine
    machine.reap()
