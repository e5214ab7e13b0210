"""File events are a bell: late, lost or dead, they cost latency and never a line."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prodlensd.bell import Bell


def line(number: int) -> bytes:
    record = {
        "timestamp": "2026-01-01T00:00:00Z",
        "usage": {"input_tokens": 1, "output_tokens": 1},
        "metadata": {"session_id": f"s{number}"},
        "cost_usd": 0.001,
        "id": f"id{number}",
        "litellm_call_id": f"call{number}",
    }
    return json.dumps(record).encode() + b"\n"


@pytest.mark.scenario(62)
def test_a_folder_removed_and_made_again_is_read_and_watched_again(
    machine: Any, wait_until: Callable[..., Any]
) -> None:
    machine.config.write_text("[logs]\nrescan_interval_s = 1\n")
    machine.start()
    shutil.rmtree(machine.logs)
    machine.logs.mkdir()
    (machine.logs / "a.jsonl").write_bytes(line(1))
    wait_until(lambda: machine.query("SELECT count(*) FROM traces") == [1], "the line, by rescan")


@pytest.mark.scenario(85)
def test_a_thousand_files_made_while_the_daemon_was_stopped_are_all_read(
    machine: Any, wait_until: Callable[..., Any]
) -> None:
    daemon = machine.start()
    daemon.send_signal(signal.SIGSTOP)
    for number in range(1000):
        (machine.logs / f"{number}.jsonl").write_bytes(line(number))
    daemon.send_signal(signal.SIGCONT)
    wait_until(lambda: machine.query("SELECT count(*) FROM traces") == [1000], "all lines", 30)
    assert machine.query("SELECT sum(duplicates) FROM sources") == [0]


def test_a_bell_without_a_folder_is_degraded_and_mends_itself(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    with Bell([folder]) as bell:
        assert bell.state.startswith("degraded: ")
        folder.mkdir()
        bell.repair()
        assert bell.state == "ok"
        (folder / "a.jsonl").write_bytes(b"x")
        assert bell.wait(5)


def test_a_bell_watches_the_folder_that_took_the_place_of_another(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    with Bell([folder]) as bell:
        folder.rename(tmp_path / "old")
        folder.mkdir()
        bell.repair()
        bell.wait(0)
        while bell.wait(0.2):  # what the rename itself rang
            pass
        (folder / "a.jsonl").write_bytes(b"x")
        assert bell.wait(5)


@pytest.mark.scenario(67)
@pytest.mark.parametrize("who", ["observer", "emitter"])
def test_a_bell_whose_watcher_died_says_so_and_is_mended(tmp_path: Path, who: str) -> None:
    with Bell([tmp_path]) as bell:
        assert bell.state == "ok"
        assert bell._observer is not None
        (emitter,) = bell._observer.emitters
        dying = bell._observer if who == "observer" else emitter
        dying.stop()
        dying.join()
        assert bell.state == "degraded: watchdog has stopped"
        (tmp_path / "a.jsonl").write_bytes(b"x")
        assert not bell.wait(0.2)
        bell.repair()
        assert bell.state == "ok"
        (tmp_path / "a.jsonl").write_bytes(b"y")
        assert bell.wait(5)


def test_no_watches_left_is_degraded_and_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr("prodlensd.bell.Observer.schedule", refuse)
    with Bell([tmp_path]) as bell:
        assert "watch limit" in bell.state
        assert not bell.wait(0.01)


def test_reading_a_log_does_not_ring(tmp_path: Path) -> None:
    log = tmp_path / "a.jsonl"
    log.write_bytes(b"x")
    with Bell([tmp_path]) as bell:
        while bell.wait(0.2):
            pass
        log.read_bytes()
        assert not bell.wait(0.3)
