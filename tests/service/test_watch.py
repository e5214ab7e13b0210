"""`watch`, on a real terminal: it draws anew as lines arrive, and `q` leaves all as it was."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.service.test_overview import call
from tests.service.test_reprice import Desk, desk

__all__ = ["desk"]  # a fixture


def now_call(model: str) -> bytes:
    at = datetime.now(UTC).isoformat(timespec="microseconds").removesuffix("+00:00")
    return call(at, 1.0, **{"llm.model_name": model})


def _hear_ctrl_c() -> None:
    """Takes the terminal; what a shell starts in the background would be deaf to its SIGINT."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Watch:
    """`prodlensd watch` on a terminal of its own. The mutable state: what it has printed."""

    def __init__(self) -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        self.before = termios.tcgetattr(theirs)
        # Where readline was loaded, it has left a size in the environment of what was started.
        environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "prodlensd", "watch"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment | {"TERM": "xterm-256color"},
            start_new_session=True,
            preexec_fn=_hear_ctrl_c,  # noqa: PLW1509 - no threads are started here
        )
        self.theirs = theirs
        self.printed = b""

    def has(self, text: str) -> bool:
        while select.select([self.ours], [], [], 0)[0]:
            self.printed += os.read(self.ours, 65536)
        return text.encode() in self.printed

    def press(self, keys: bytes) -> None:
        os.write(self.ours, keys)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def watch(desk: Desk) -> Iterator[Watch]:
    desk.ingest(now_call("here/first"))
    watch = Watch()
    yield watch
    watch.end()


def test_it_draws_anew_as_lines_arrive_and_q_leaves(
    desk: Desk, watch: Watch, wait_until: Any
) -> None:
    wait_until(lambda: watch.has("AI usage on "), "the overview")
    wait_until(lambda: watch.has("last calls (UTC); q leaves"), "the calls")
    assert watch.has("first")
    assert not watch.has("second")
    desk.ingest(now_call("here/second"))
    wait_until(lambda: watch.has("second"), "the new call")
    watch.press(b"x")
    assert watch.process.poll() is None
    watch.press(b"q")
    wait_until(lambda: watch.has("") and watch.process.poll() is not None, "it leaves")
    assert watch.process.returncode == 0
    assert watch.has("\x1b[?1049l")  # the screen of before
    assert watch.has("\x1b[?25h")  # with its cursor
    assert termios.tcgetattr(watch.theirs)[3] == watch.before[3]
    assert b"Traceback" not in watch.printed


@pytest.mark.parametrize("key", [b"\x03", b"\x04"])
def test_other_keys_that_leave_programs_leave_it_too(
    watch: Watch, wait_until: Any, key: bytes
) -> None:
    wait_until(lambda: watch.has("AI usage on "), "the overview")
    watch.press(key)
    wait_until(lambda: watch.has("") and watch.process.poll() is not None, "it leaves")
    assert watch.process.returncode == 0
    assert b"Traceback" not in watch.printed


def test_another_size_of_the_terminal_is_drawn_for(watch: Watch, wait_until: Any) -> None:
    wait_until(lambda: watch.has("last calls"), "the calls")
    fcntl.ioctl(watch.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 6, 60, 0, 0))

    def is_small() -> bool:
        _, title, drawn = watch.printed.rpartition(b"AI usage") if watch.has("") else (b"",) * 3
        return bool(title) and drawn.count(b"\n") == 5 and b"last calls" not in drawn

    wait_until(is_small, "drawn for six lines, where there is no room for calls")


def test_without_a_terminal_it_is_shown_once(desk: Desk) -> None:
    desk.ingest(now_call("here/\x1b[2Jfirst"))
    done = desk.command("watch")
    assert done.returncode == 0
    assert "AI usage on" in done.stdout
    assert "\\x1b[2Jfirst" in done.stdout


def test_without_a_ledger_there_is_one_sentence(desk: Desk) -> None:
    desk.stop()
    for file in desk.home.rglob("prodlens.db*"):
        file.unlink()
    done = desk.command("watch")
    assert (done.returncode, done.stderr.startswith("Error: no ledger at ")) == (1, True)
