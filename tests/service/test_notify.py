"""What a service manager hears of a daemon: a real daemon, and a socket in the manager's place."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from prodlensd.daemon.notify import Notifier

#: Many pings a second for the tests; real units allow a minute.
WATCHDOG_S = 1.0
HANGING = """\
import threading
from prodlensd.cli import main
from prodlensd.ledger import Ledger
Ledger.commit = lambda *_: threading.Event().wait()
main(["run"])
"""


class Listener:
    """The service manager's end: keeps all that it hears, in order."""

    def __init__(self, address: str, look: Callable[[], Any]) -> None:
        self.heard: list[str] = []
        self.seen_when_ready: list[Any] = []
        self._look = look
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while message := self._socket.recv(4096).decode():
            if "READY=1" in message.splitlines():
                self.seen_when_ready.append(self._look())
            self.heard.append(message)

    def count(self, field: str) -> int:
        return sum(field in message.splitlines() for message in self.heard)

    def position(self, field: str) -> int:
        return next(at for at, message in enumerate(self.heard) if field in message.splitlines())

    def statuses(self) -> list[str]:
        lines = [line for message in self.heard for line in message.splitlines()]
        return [line.removeprefix("STATUS=") for line in lines if line.startswith("STATUS=")]

    def close(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
            own.sendto(b"", self._socket.getsockname())
        self._thread.join(100)
        self._socket.close()


@pytest.fixture(params=["file", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    # Not below tmp_path, which may be too long for a socket.
    return f"@prodlensd-test-{os.getpid()}" if request.param == "abstract" else _short(tmp_path)


def _short(folder: Path) -> str:
    return os.path.relpath(folder / "notify")


@pytest.fixture
def manager(tmp_path: Path, machine: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    yield from _listening(_short(tmp_path), machine, monkeypatch)


def _listening(address: str, machine: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    listener = Listener(address, lambda: machine.query("SELECT count(*) FROM traces"))
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", str(int(WATCHDOG_S * 1e6)))
    yield listener
    machine.reap()
    listener.close()


def append(machine: Any, count: int, start: int = 0) -> None:
    with (machine.logs / "a.jsonl").open("ab") as file:
        for number in range(start, start + count):
            record = {
                "timestamp": "2026-01-01T00:00:00Z",
                "usage": {"input_tokens": 1},
                "cost_usd": 0.1,
                "id": f"id{number}",
                "litellm_call_id": f"call{number}",
            }
            file.write(json.dumps(record).encode() + b"\n")


def silence(listener: Listener, wait_until: Callable[..., Any]) -> None:
    """Returns once nothing has been heard for three times as long as allowed."""
    last = (len(listener.heard), time.monotonic())

    def is_silent() -> bool:
        nonlocal last
        if len(listener.heard) != last[0]:
            last = (len(listener.heard), time.monotonic())
        return time.monotonic() - last[1] > 3 * WATCHDOG_S

    wait_until(is_silent, "silence")


def pings_go_on(listener: Listener, wait_until: Callable[..., Any], what: str) -> None:
    """Ten times as many as fit into one time allowed come in, none of them late by much."""
    before = listener.count("WATCHDOG=1")
    wait_until(lambda: listener.count("WATCHDOG=1") >= before + 10, f"pings {what}")


def test_it_is_ready_when_all_that_was_there_is_in_the_ledger(
    address: str, machine: Any, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., Any]
) -> None:
    append(machine, 6_000)
    listening = _listening(address, machine, monkeypatch)
    manager = next(listening)
    daemon = machine.start()
    wait_until(lambda: manager.count("READY=1"), "READY=1")
    assert manager.seen_when_ready == [[6_000]]
    assert manager.position("STATUS=opening the ledger") == 0
    wait_until(
        lambda: manager.statuses()[-1].startswith("up to date: 6,000 lines since the start"),
        "the status",
    )
    append(machine, 1, start=6_000)
    wait_until(lambda: machine.query("SELECT count(*) FROM traces") == [6_001], "one more")
    daemon.terminate()
    assert daemon.wait(100) == 0
    wait_until(lambda: manager.count("STOPPING=1"), "STOPPING=1")
    assert manager.count("READY=1") == 1
    assert manager.position("READY=1") < manager.position("STOPPING=1")
    next(listening, None)


@pytest.mark.long
def test_a_long_start_asks_for_more_time_as_it_gets_on(
    machine: Any, manager: Listener, wait_until: Callable[..., Any]
) -> None:
    append(machine, 150_000)
    machine.start()
    wait_until(lambda: manager.count("READY=1"), "READY=1")
    ready = manager.position("READY=1")
    extensions = [at for at, text in enumerate(manager.heard) if "EXTEND_TIMEOUT_USEC=" in text]
    assert len(extensions) >= 2
    assert max(extensions) < ready
    assert "WATCHDOG=1" in manager.heard[extensions[0]].splitlines()


def test_idling_is_not_hanging(
    machine: Any, manager: Listener, wait_until: Callable[..., Any]
) -> None:
    machine.config.write_text("[logs]\nrescan_interval_s = 3600\n")
    machine.start()
    wait_until(lambda: manager.count("READY=1"), "READY=1")
    pings_go_on(manager, wait_until, "while idle")
    told = manager.statuses()
    assert told[-1] == "up to date"


def test_a_stopped_process_is_not_heard_of_any_more(
    machine: Any, manager: Listener, wait_until: Callable[..., Any]
) -> None:
    daemon = machine.start()
    wait_until(lambda: manager.count("WATCHDOG=1") > 2, "pings")
    daemon.send_signal(signal.SIGSTOP)
    silence(manager, wait_until)
    daemon.send_signal(signal.SIGCONT)
    pings_go_on(manager, wait_until, "after it was continued")


def test_a_commit_that_hangs_is_not_heard_of_any_more(
    machine: Any, manager: Listener, wait_until: Callable[..., Any]
) -> None:
    append(machine, 10)
    with subprocess.Popen([sys.executable, "-c", HANGING], stderr=subprocess.DEVNULL) as daemon:
        try:
            wait_until(lambda: manager.count("WATCHDOG=1"), "a ping before the commit")
            silence(manager, wait_until)
            assert manager.count("READY=1") == 0
            assert daemon.poll() is None
        finally:
            daemon.kill()


def test_waiting_for_a_locked_database_is_getting_on_and_says_so(
    machine: Any, manager: Listener, wait_until: Callable[..., Any]
) -> None:
    machine.start()
    wait_until(lambda: manager.count("READY=1"), "READY=1")
    db = apsw.Connection(str(machine.ledger))
    db.execute("BEGIN IMMEDIATE")
    append(machine, 1)
    wait_until(
        lambda: manager.statuses()[-1].startswith("cannot go on just now, will keep trying: "),
        "the status",
    )
    pings_go_on(manager, wait_until, "while locked out")
    db.execute("ROLLBACK")
    db.close()
    done = "up to date: 1 line since"
    wait_until(lambda: manager.statuses()[-1].startswith(done), "its work")


def test_a_reload_is_told_from_its_beginning_to_its_end(
    machine: Any, manager: Listener, wait_until: Callable[..., Any]
) -> None:
    daemon = machine.start()
    wait_until(lambda: manager.count("READY=1"), "READY=1")
    asked_usec = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    daemon.send_signal(signal.SIGHUP)
    wait_until(lambda: manager.count("READY=1") == 2, "READY=1 again")
    reloading = manager.position("RELOADING=1")
    fields = dict(line.split("=", 1) for line in manager.heard[reloading].splitlines())
    assert int(fields["MONOTONIC_USEC"]) >= asked_usec
    ready = [at for at, text in enumerate(manager.heard) if "READY=1" in text.splitlines()]
    assert ready[0] < reloading < ready[1]
    assert manager.count("STOPPING=1") == 0


def test_child_processes_have_nothing_to_say(tmp_path: Path) -> None:
    env = {"NOTIFY_SOCKET": str(tmp_path / "x"), "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "A": ""}
    Notifier(env)
    assert env == {"A": ""}


def test_without_a_service_manager_there_is_no_work_and_no_word() -> None:
    notifier = Notifier({"WATCHDOG_USEC": "1000000"})
    assert not notifier.is_heard
    assert notifier.alive_every_s == math.inf
    say_all(notifier)


@pytest.mark.parametrize(
    "address", ["/nowhere/notify", "x" * 300, "vsock:2:1234", "@", "@nobody", "relative", "\udcff"]
)
@pytest.mark.parametrize("watchdog", ["", "0", "-1", "1e6", "²", "9" * 40])
def test_it_never_raises(address: str, watchdog: str) -> None:
    say_all(Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": watchdog}))


def test_another_process_watchdog_is_not_ours() -> None:
    env = {"NOTIFY_SOCKET": "@nobody", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}
    assert Notifier(env).alive_every_s > 1


def test_what_a_path_holds_does_not_become_a_field(
    manager: Listener, wait_until: Callable[..., Any]
) -> None:
    Notifier(os.environ).status("cannot read a\nSTOPPING=1\x1b[31m\udcff.jsonl")
    wait_until(lambda: manager.heard, "the status")
    assert manager.heard == ["STATUS=cannot read a?STOPPING=1?[31m?.jsonl"]


def say_all(notifier: Notifier) -> None:
    notifier.alive()
    notifier.ready()
    notifier.alive()
    notifier.reloading()
    notifier.status("x")
    notifier.stopping()
