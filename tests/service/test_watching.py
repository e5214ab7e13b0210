"""File events are a bell: late, lost or dead, they cost latency and never a line."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prodlensd.logs.bell import Bell


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


@pytest.mark.long
@pytest.mark.scenario(85)
def test_a_thousand_files_made_while_the_daemon_was_stopped_are_all_read(
    machine: Any, wait_until: Callable[..., Any]
) -> None:
    daemon = machine.start()
    daemon.send_signal(signal.SIGSTOP)
    for number in range(1000):
        (machine.logs / f"{number}.jsonl").write_bytes(line(number))
    daemon.send_signal(signal.SIGCONT)
    wait_until(lambda: machine.query("SELECT count(*) FROM traces") == [1000], "all lines")
    assert machine.query("SELECT sum(duplicates) FROM sources") == [0]


def test_a_bell_without_a_folder_is_degraded_and_mends_itself(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    with Bell([folder]) as bell:
        assert bell.state.startswith("degraded: ")
        folder.mkdir()
        bell.repair()
        assert bell.state == "ok"
        (folder / "a.jsonl").write_bytes(b"x")
        assert bell.wait(100)


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
        assert bell.wait(100)


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
        assert bell.wait(100)


def test_no_watches_left_is_degraded_and_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr("watchdog.observers.api.BaseObserver.schedule", refuse)
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


def test_it_tells_which_files_changed_by_the_names_of_the_configuration(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    with Bell([link]) as bell:
        (real / "a.jsonl").write_bytes(b"x")
        assert bell.wait(100)
        changed: set[str] = set()
        while bell.wait(1):
            changed |= bell.take() or set()
        assert changed | (bell.take() or set()) == {str(link / "a.jsonl")}
        assert bell.take() == set()


@pytest.mark.parametrize("what", ["deleted", "moved"])
def test_what_goes_or_moves_has_everything_looked_at(tmp_path: Path, what: str) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"x")
    with Bell([tmp_path]) as bell:
        if what == "deleted":
            (tmp_path / "a.jsonl").unlink()
        else:
            (tmp_path / "a.jsonl").rename(tmp_path / "b.jsonl")
        assert bell.wait(100)
        assert bell.take() is None


def test_more_changes_than_can_be_named_have_everything_looked_at(tmp_path: Path) -> None:
    bell = Bell([tmp_path])
    for number in range(5000):
        bell._note(str(number))
    assert bell.take() is None
    assert bell.take() == set()


def test_a_bell_that_stays_degraded_is_tried_less_and_less_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0
    tried: list[float] = []
    with Bell([tmp_path / "missing"], clock=lambda: now_s) as bell:
        real = bell._watch

        def watch() -> None:
            tried.append(now_s)
            real()

        monkeypatch.setattr(bell, "_watch", watch)
        for _ in range(720):  # an hour of looks, one every five seconds
            bell.repair()
            now_s += 5
        assert tried[:4] == [0, 5, 15, 35]
        assert len(tried) < 15
        (tmp_path / "missing").mkdir()
        bell.repair()
        assert bell.state == "ok", "at once, when there is something new"
