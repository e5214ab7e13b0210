"""`statusline` says what a session and today have cost, or nothing, and never an error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from prodlensd.cli import is_answered
from prodlensd.model import US_PER_S
from tests.service.test_overview import call
from tests.service.test_reprice import Desk, desk

__all__ = ["desk"]  # a fixture

NOW_US = int(datetime(2026, 1, 14, 12, tzinfo=UTC).timestamp()) * US_PER_S


@pytest.fixture(autouse=True)
def at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setattr("prodlensd.app.statusline.now_us", lambda: NOW_US)


def in_session(at: str, cost_usd: float | None, session: str) -> bytes:
    record = json.loads(call(at, cost_usd))
    record["metadata"]["session_id"] = session
    return json.dumps(record).encode() + b"\n"


def said(desk: Desk, monkeypatch: pytest.MonkeyPatch, handed: object) -> str:
    text = handed if isinstance(handed, bytes) else json.dumps(handed).encode()
    monkeypatch.setattr("prodlensd.cli.at_once._stdin", lambda: text)
    done = desk.command("statusline")
    assert done.returncode == 0
    assert done.stderr == ""
    output: str = done.stdout
    return output


def test_the_session_and_today_are_told_pruned_or_not(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.ingest(
        in_session("2026-01-02T23:00:00", 1.5, "abc"),
        in_session("2026-01-14T08:00:00", 0.34, "abc"),
        in_session("2026-01-14T09:00:00", 10.46, "other"),
        in_session("2026-01-14T11:59:59", 0.004, "abc*"),
    )
    desk.compact(desk.home / "parquet")
    assert desk.prune(desk.home / "parquet", before_day=20_460) == 1
    handed = {"session_id": "abc", "model": {"id": "x"}}
    expected = "$1.84 session · $10.80 today · 60 % cached\n"
    assert expected == said(desk, monkeypatch, handed)
    assert said(desk, monkeypatch, {"session_id": "abc*"}).startswith("$0.004 session")


@pytest.mark.parametrize(
    "handed", [b"", b"{", b"[1]", b'{"session_id": 5}', b"\xff" * 100, {"session_id": "none"}]
)
def test_without_a_session_today_is_told(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, handed: Any
) -> None:
    desk.ingest(call("2026-01-14T08:00:00", 2.0), call("2026-01-14T09:00:00", None))
    assert said(desk, monkeypatch, handed) == "≥ $2.00 today · 60 % cached\n"


def test_where_nothing_is_known_nothing_is_told(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.ingest(call("2026-01-13T08:00:00", 2.0))
    assert said(desk, monkeypatch, {}) == ""
    desk.ingest(call("2026-01-14T09:00:00", None))
    assert said(desk, monkeypatch, {}) == "unpriced today · 60 % cached\n"
    desk.config.write_text("what = is this")
    assert said(desk, monkeypatch, {}) == ""
    desk.config.write_text("store = 5")
    assert said(desk, monkeypatch, {}) == ""
    desk.config.write_text("")
    desk.stop()
    for file in desk.home.rglob("prodlens.db*"):
        file.unlink()
    assert said(desk, monkeypatch, {}) == ""


def test_of_the_configuration_only_the_place_of_the_ledger_is_read(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.ingest(call("2026-01-14T08:00:00", 2.0))
    desk.config.write_text("[status]\nlag = 1\n")
    assert said(desk, monkeypatch, {}) == "$2.00 today · 60 % cached\n"
    desk.config.write_text('[store]\npath = "elsewhere.db"\n')
    assert said(desk, monkeypatch, {}) == ""


@pytest.mark.parametrize("word", ["-V", "--version", "statusline"])
def test_what_is_answered_at_once_is_what_click_answers(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    desk.ingest(call("2026-01-14T08:00:00", 2.0))
    monkeypatch.setattr("prodlensd.cli.at_once._stdin", lambda: b"")
    capsys.readouterr()  # the log
    assert is_answered([word])
    at_once = capsys.readouterr()
    answer = desk.command(word)
    assert (answer.stdout, answer.stderr) == at_once
    assert answer.stdout


@pytest.mark.parametrize("words", ["", "status", "--help", "statusline --help", "statusline -c x"])
def test_all_else_is_left_to_click(capsys: pytest.CaptureFixture[str], words: str) -> None:
    assert not is_answered(words.split())
    assert ("", "") == capsys.readouterr()


def test_whoever_interrupts_it_is_told_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr("prodlensd.cli.at_once._stdin", interrupted)
    assert is_answered(["statusline"])
    assert ("", "") == capsys.readouterr()


def test_a_pipe_that_stays_open_is_not_waited_for(home: Any) -> None:
    reading, writing = os.pipe()
    done = subprocess.run(
        [sys.executable, "-m", "prodlensd", "statusline"],
        stdin=reading,
        capture_output=True,
        timeout=100,
        check=False,
    )
    os.close(reading)
    os.close(writing)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert not home.exists()
