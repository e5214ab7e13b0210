"""SIGKILL while transcripts are read: a restart, and every call is there once."""

from __future__ import annotations

import random
import signal
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.crash.conftest import Home
from tests.crash.driver import TRANSCRIPT_SEAMS
from tests.scenario.file_actions import MODEL
from tests.transcripts.calls import Call
from tests.transcripts.claude_code import Session, Writing
from tests.transcripts.codex import Thread
from tests.transcripts.corpus import BEGIN_US, MINUTE_US, Maker
from tests.transcripts.proxied import proxied

DAY_US = 1440 * MINUTE_US
OF_ALL = ("Ledger.commit", "Sources.register", "Ledger.mark", "Spending.add", "write_snapshot")


class Laptop(Home):
    """With files of two agents: a fork of each is read first, and a call that the proxy saw too."""

    def __init__(self, driver: Any, folder: Path) -> None:
        super().__init__(driver, folder, "", retention=False)
        self.make = Maker(1, characters=30)
        self.projects, self.sessions = folder / "projects", folder / "sessions"
        for place in (self.projects, self.sessions):
            place.mkdir()
        told = f"claude_code = ['{self.projects}']\ncodex = ['{self.sessions}']\n"
        self._config.write_text(f"{self._config.read_text()}[transcripts]\n{told}")
        self.calls: list[Call] = []

    def first_files(self) -> None:
        """Forks whose parents are still to come, and an answer that is not complete."""
        make = self.make
        session = Session(make.random, make.texts, make.uuid(), cwd="/w")
        for number in range(4):
            self._answer(session, BEGIN_US + number * DAY_US // 2, Writing(3, (1, 2)))
        fork = session.forked(make.uuid(), marked=True)
        growing, whole = self._call(fork.session_id, BEGIN_US + 3 * DAY_US), fork.lines[:]
        fork.answer(growing, Writing(3, (1, 2), late=True))
        (self.projects / "a-fork.jsonl").write_bytes(b"".join(fork.lines[: len(whole) + 1]))
        (self.logs / "traces.jsonl").write_bytes(proxied(self.calls[0], cost_usd=0.5))
        thread = Thread(make.random, make.texts, f"0{make.uuid()[1:]}", at_us=BEGIN_US)
        self._work(thread, BEGIN_US, 3)
        forked = thread.forked(f"f{make.uuid()[1:]}", at_us=BEGIN_US + 2 * DAY_US)
        self._work(forked, BEGIN_US + 2 * DAY_US, 2)
        (self.sessions / "rollout-fork.jsonl").write_bytes(forked.content)
        self.later = (session, fork, thread)

    def later_files(self) -> None:
        """The parents, which go on; the rest of the answer; and the proxy's line of it."""
        session, fork, thread = self.later
        self._answer(session, BEGIN_US + 5 * DAY_US, Writing(2))
        self._work(thread, BEGIN_US + 5 * DAY_US, 2)
        (self.projects / "a-fork.jsonl").write_bytes(fork.content)
        (self.projects / "parent.jsonl").write_bytes(session.content)
        (self.sessions / "rollout-parent.jsonl").write_bytes(thread.content)
        with (self.logs / "traces.jsonl").open("ab") as file:
            file.write(proxied(self.calls[4], cost_usd=0.5))

    def _call(self, session_id: str, at_us: int) -> Call:
        self.calls.append(self.make.claude_call(session_id, at_us, model=MODEL))
        return self.calls[-1]

    def _answer(self, session: Session, at_us: int, writing: Writing) -> None:
        session.answer(self._call(session.session_id, at_us), writing)

    def _work(self, thread: Thread, at_us: int, calls: int) -> None:
        thread.turn(at_us, MODEL)
        for number in range(calls):
            call = self.make.codex_call(thread.thread_id, at_us + number * MINUTE_US, MODEL)
            thread.call(call)
            thread.again(at_us + number * MINUTE_US, call.usage)
            self.calls.append(call)

    def wrong(self) -> list[str]:
        true = Counter((call.session_id, call.usage.tokens_out) for call in self.calls)
        rows, archived = (
            Counter((session, out) for session, out, _ in found)
            for found in (self.now(), self.snapshots().elements())
        )
        faults = {
            "missing": true - rows,
            "doubled or invented": rows - true,
            "not in the snapshots": rows - archived,
            "doubled in the snapshots": archived - rows,
            "not added up, or twice": self.spent_calls() ^ rows.total(),
            "of another day": self.query("SELECT started_us FROM trace") if self.moved() else [],
        }
        return [f"{what}: {which}" for what, which in faults.items() if which]

    def moved(self) -> bool:
        """Whether a call has another day than its first line, or its request, began on."""
        days = Counter(call.first_us // DAY_US for call in self.calls)
        return days != Counter(self.query(f"SELECT started_us / {DAY_US} FROM trace"))


def outcome(driver: Any, folder: Path, seam: str, when: str, nth: int) -> tuple[bool, list[str]]:
    """Whether the second run died there, and what was wrong after a third."""
    laptop = Laptop(driver, folder)
    laptop.first_files()
    assert laptop.run() == 0, laptop.said()
    laptop.later_files()
    code = laptop.run(seam, when, nth)
    assert code in (0, -signal.SIGKILL), laptop.said()
    calls = laptop.query("SELECT count(*) FROM trace")
    assert calls[0] <= len(laptop.calls), "doubled by the kill"
    assert laptop.run() == 0, laptop.said()
    return code != 0, laptop.wrong()


@pytest.mark.sampled(6)
@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("seam", [*TRANSCRIPT_SEAMS, *OF_ALL])
def test_a_kill_while_transcripts_are_read_loses_nothing_and_doubles_nothing(
    driver: Any, tmp_path: Path, seam: str, when: str, nth: int
) -> None:
    died, wrong = outcome(driver, tmp_path / "home", seam, when, nth)
    assert wrong == []
    assert died or nth == 2


@pytest.mark.long
def test_a_kill_at_an_sql_statement_of_them_loses_nothing(driver: Any, tmp_path: Path) -> None:
    died = 0
    for nth in count(random.randrange(1, 30), 30):  # noqa: S311 - other ones each time
        is_dead, wrong = outcome(driver, tmp_path / f"home-{nth}", "sql", "before", nth)
        assert wrong == [], nth
        if not is_dead:
            break
        died += 1
    assert died > 4
