"""Signals, at any moment and at any pace: none is lost, none does harm, a stop is heard at once."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prodlensd.process.signals import Signals
from prodlensd.process.wakeup import Wakeup, wait

_SIGHUPS = 10_000
#: What to do between two signals: nothing, yield the processor, or wait a moment.
_PACES: tuple[Callable[[], object], ...] = (
    lambda: None,
    os.sched_yield,
    lambda: threading.Event().wait(0.0002),
)

#: Waits again and again, as the daemon does, and counts; ends by itself when it is asked to.
_WAITER = """
import mmap, os, struct, sys
from prodlensd.process.signals import Signals
from prodlensd.process.wakeup import Wakeup, wait
turns = mmap.mmap(os.open(sys.argv[1], os.O_RDWR), 8)
count, reloads, bell = 0, 0, Wakeup()
with Signals() as signals:
    while not signals.stop_asked:
        wait(0.0002, bell, signals.wakeup)
        reloads += signals.take_reload()
        count += 1
        struct.pack_into("q", turns, 0, count)
print(reloads)
"""


def line(number: int) -> bytes:
    return (
        json.dumps(
            {
                "timestamp": f"2026-01-01T00:{number // 60 % 60:02d}:{number % 60:02d}Z",
                "usage": {"input_tokens": 1, "output_tokens": 1},
                "metadata": {"session_id": f"s{number}"},
                "id": f"i{number}",
                "litellm_call_id": f"c{number}",
            }
        ).encode()
        + b"\n"
    )


@pytest.fixture
def waiter(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Callable[[], int]]]:
    """A process that waits, and how often it has."""
    turns = tmp_path / "turns"
    turns.write_bytes(bytes(8))
    process = subprocess.Popen(
        [sys.executable, "-c", _WAITER, str(turns)], stdout=subprocess.PIPE, text=True
    )
    yield process, lambda: int.from_bytes(turns.read_bytes(), "little")
    process.kill()
    process.communicate()


def send(pid: int, count: int, seed: int) -> None:
    """Signals at any pace: bursts of some length, with pauses of each kind."""
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    sent = 0
    while sent < count:
        pace = chance.choice(_PACES)
        for _ in range(min(chance.randrange(1, 200), count - sent)):
            os.kill(pid, signal.SIGHUP)
            sent += 1
            pace()


@pytest.mark.scenario(105)
def test_ten_thousand_signals_at_any_pace_do_a_waiting_process_no_harm(
    waiter: tuple[subprocess.Popen[str], Callable[[], int]], wait_until: Callable[..., Any]
) -> None:
    process, turns = waiter
    wait_until(lambda: turns() > 0, "the first wait")
    for seed in range(20):
        before = turns()
        send(process.pid, _SIGHUPS // 20, seed)
        wait_until(lambda least=before: turns() > least + 1, "it goes on waiting")
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=100)
    assert process.returncode == 0
    assert int(said) > 0


@pytest.mark.long
@pytest.mark.scenario(105)
def test_ten_thousand_sighups_do_a_daemon_no_harm(
    machine: Any, wait_until: Callable[..., Any]
) -> None:
    daemon = machine.start()
    log = machine.logs / "a.jsonl"
    for number in range(10):
        with log.open("ab") as file:
            file.write(line(number))
        send(daemon.pid, _SIGHUPS // 10, number)
    assert daemon.poll() is None, machine.said()[-2000:]
    wait_until(lambda: machine.query("SELECT count(*) FROM traces") == [10], "all lines")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(100) == 0
    assert "Traceback" not in machine.said()
    assert "configuration read again" in machine.said()
    assert machine.query("SELECT sum(lines), sum(traces) FROM sources") == [(10, 10)]


@pytest.mark.long
@pytest.mark.scenario(105)
def test_a_sighup_while_the_daemon_starts_is_no_end(
    machine: Any, wait_until: Callable[..., Any]
) -> None:
    with machine.log.open("ab") as log:
        daemon = subprocess.Popen([sys.executable, "-m", "prodlensd", "run"], stderr=log)
    machine._started.append(daemon)
    wait_until(lambda: catches(daemon.pid, signal.SIGHUP), "its handlers")
    assert not machine.ledger.exists(), "long before there is anything to do"
    beat = "SELECT pid FROM daemon WHERE phase = 'running'"
    sent = 0
    while machine.query(beat) != [daemon.pid]:
        assert daemon.poll() is None, f"after {sent} signals: {machine.said()}"
        daemon.send_signal(signal.SIGHUP)
        sent += 1
        threading.Event().wait(0.01)
        assert sent < 6000, "it never gets anywhere"
    assert sent > 0
    wait_until(lambda: machine.query(beat) == [daemon.pid], "a heartbeat")


def catches(pid: int, number: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(row for row in status.splitlines() if row.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


@pytest.mark.scenario(86)
def test_a_stop_is_heard_at_once_however_long_the_wait(
    machine: Any, wait_until: Callable[..., Any]
) -> None:
    machine.config.write_text("[logs]\nrescan_interval_s = 3600\n")
    for _ in range(5):
        daemon = machine.start()
        wait_until(lambda pid=daemon.pid: is_asleep(pid), "its long wait")
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(100) == 0


def is_asleep(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def test_a_ring_that_comes_while_nobody_waits_ends_the_next_wait_at_once() -> None:
    bell, signals = Wakeup(), Wakeup()
    assert not wait(0, bell, signals)
    bell.ring()
    bell.ring()
    assert wait(60, bell, signals)
    assert not wait(0, bell, signals)


def test_rings_without_end_fill_no_pipe() -> None:
    bell = Wakeup()
    for _ in range(200_000):
        bell.ring()
    assert wait(0, bell)
    bell.clear()
    assert not wait(0, bell)


def test_the_handlers_that_stood_before_come_back() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)}
    with Signals() as signals:
        assert signal.getsignal(signal.SIGHUP) != before[signal.SIGHUP]
        os.kill(os.getpid(), signal.SIGHUP)
        assert wait(5, signals.wakeup)
        assert signals.reload_asked
        assert signals.take_reload()
        assert not signals.take_reload()
        assert not signals.stop_asked
    assert {number: signal.getsignal(number) for number in before} == before
