"""The program's own log: what cannot be said is dropped and counted, and the work goes on."""

from __future__ import annotations

import fcntl
import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from prodlensd.cli.streams import _Voice
from prodlensd.daemon import log

LINE = b'{"timestamp": "2026-01-01T00:00:00Z", "usage": {"input_tokens": 1, "output_tokens": 1}}\n'


class Fifo:
    """A pipe on which our log is written, and whose reader may go and come back."""

    def __init__(self, path: Path) -> None:
        self._path = path
        os.mkfifo(path)
        self.reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.writer = os.open(path, os.O_WRONLY)

    def configure_log(self, patch: pytest.MonkeyPatch) -> None:
        """Makes it stderr, as for a command, and sets up the log."""
        voice: Any = _Voice(self.writer, "wb", closefd=False)
        patch.setattr(sys, "stderr", io.TextIOWrapper(voice, "utf-8", write_through=True))
        log.configure_log("info")

    def leave(self) -> None:
        os.close(self.reader)

    def come_back(self) -> None:
        self.reader = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)

    def read(self) -> bytes:
        return os.read(self.reader, 1 << 20)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.read().splitlines()]


@pytest.fixture
def fifo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fifo]:
    fifo = Fifo(tmp_path / "fifo")
    monkeypatch.setattr(log, "log_outlet", log.Outlet())
    handlers = list(logging.getLogger().handlers)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    yield fifo
    logging.getLogger().handlers[:] = handlers
    os.close(fifo.writer)
    os.close(fifo.reader)


def test_what_could_not_be_said_is_counted_and_owned_up_to(
    fifo: Fifo, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo.configure_log(monkeypatch)
    structlog.get_logger().info("one")
    assert ["one"] == [event["event"] for event in fifo.events()]
    fifo.leave()
    for word in ("two", "three", "four"):
        structlog.get_logger().info(word)
    log.configure_log("info")  # as a SIGHUP does
    assert 3 == log.log_outlet.dropped
    fifo.come_back()
    structlog.get_logger().warning("five")
    structlog.get_logger().warning("six")
    lost, five, six = fifo.events()
    assert "3 messages of this log could not be written" == lost["event"]
    assert (3, "warning") == (lost["dropped"], lost["level"])
    assert ["five", "six"] == [five["event"], six["event"]]


def test_half_a_line_takes_no_other_line_with_it(
    fifo: Fifo, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo.configure_log(monkeypatch)
    os.set_blocking(fifo.writer, False)
    fcntl.fcntl(fifo.writer, fcntl.F_SETPIPE_SZ, 4096)
    structlog.get_logger().info("x" * 6000)
    assert 1 == log.log_outlet.dropped
    assert not fifo.read().endswith(b"\n")
    structlog.get_logger().info("next")
    blank, lost, following = fifo.read().split(b"\n")[:3]
    assert (b"", "next") == (blank, json.loads(following)["event"])
    assert 1 == json.loads(lost)["dropped"]


def test_what_libraries_say_is_said_in_json_too(
    fifo: Fifo, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo.configure_log(monkeypatch)
    theirs = logging.getLogger("watchdog.observers.inotify")
    theirs.warning("Inotify queue overflowed below %r", b"/logs/\x1b")
    theirs.debug("every event")
    mistaken = logging.LogRecord(theirs.name, logging.ERROR, "", 0, "%d", ("none",), None)
    log._from_libraries.emit(mistaken)  # only ours: pytest's own raises
    theirs.log(logging.WARNING + 5, "of a level of its own")
    try:
        int("caf\udce9 \x1b[31m")
    except ValueError:
        theirs.exception("unable to rebuild")
    overflow, mistake, level, failed = fifo.events()
    assert "Inotify queue overflowed below b'/logs/\\x1b'" == overflow["event"]
    assert ("warning", theirs.name) == (overflow["level"], overflow["library"])
    assert ("%d", "warning") == (mistake["event"], level["level"])
    assert "caf\\udce9 \\x1b[31m" in failed["exception"]


def test_what_ends_a_thread_is_said_in_json_too(
    fifo: Fifo, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo.configure_log(monkeypatch)
    thread = threading.Thread(target=int, args=("no number",), name="emitter")
    thread.start()
    thread.join()
    [died] = fifo.events()
    assert ("a thread has died", "error") == (died["event"], died["level"])
    assert "emitter" == died["thread"]
    assert "ValueError: invalid literal for int()" in died["exception"]


def is_ingested(machine: Any, wait_until: Callable[..., Any], count: int) -> None:
    with (machine.logs / "a.jsonl").open("ab") as file:
        file.write(LINE.replace(b"}}", b'}, "id": "%d"}' % count))
    wait_until(lambda: machine.query("SELECT sum(lines) FROM sources") == [count], f"line {count}")


def reloaded(machine: Any, daemon: subprocess.Popen[bytes], wait_until: Callable[..., Any]) -> None:
    """Makes the daemon say something, and waits until it has."""
    logs = machine.home / f"more-logs-{daemon.pid}"
    machine.config.write_text(f'[logs]\ndirectories = ["{machine.logs}", "{logs}"]\n')
    daemon.send_signal(signal.SIGHUP)
    wait_until(logs.exists, "the new configuration")


@pytest.mark.long
@pytest.mark.parametrize("stderr", ["unread", "full", "closed"])
@pytest.mark.scenario(98)
def test_a_daemon_that_nobody_can_hear_goes_on(
    machine: Any, wait_until: Callable[..., Any], stderr: str
) -> None:
    script = {"unread": 'exec "$@"', "full": 'exec "$@" 2>/dev/full', "closed": 'exec "$@" 2>&-'}
    command = ["sh", "-c", script[stderr], "sh", sys.executable, "-m", "prodlensd", "run"]
    daemon = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert daemon.stderr
    machine._started.append(daemon)  # reaped with the others
    is_ingested(machine, wait_until, 1)
    daemon.stderr.close()
    reloaded(machine, daemon, wait_until)
    is_ingested(machine, wait_until, 2)
    daemon.terminate()
    assert 0 == daemon.wait(100)


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks at /proc")
def test_no_file_of_the_daemon_gets_the_number_of_a_closed_stream(
    machine: Any, wait_until: Callable[..., Any]
) -> None:
    script = 'exec "$@" <&- >&- 2>&-'
    command = ["sh", "-c", script, "sh", sys.executable, "-m", "prodlensd", "run"]
    daemon = subprocess.Popen(command)
    machine._started.append(daemon)
    is_ingested(machine, wait_until, 1)
    files = Path(f"/proc/{daemon.pid}/fd")
    assert ["/dev/null"] * 3 == [str((files / str(number)).readlink()) for number in range(3)]
