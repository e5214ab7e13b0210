"""The page's addresses and colours, and the process that makes pages."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodlensd import child
from prodlensd.answers import page
from prodlensd.answers.page.drawing import COLOURS, colours
from prodlensd.answers.periods import read_period
from prodlensd.answers.questions import FILTERS
from prodlensd.app.zone import time_zone
from prodlensd.daemon import Pages
from prodlensd.model import US_PER_S

NOW_US = int(datetime(2026, 11, 18, 12, tzinfo=UTC).timestamp()) * US_PER_S
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def zone_of(name: str | None) -> tzinfo:
    return time_zone(name or "UTC")


def read(query: str) -> page.Asked:
    return page.read_address(query, zone_of, NOW_US)


# Addresses ----------------------------------------------------------------------------------------


def test_an_address_asks_what_the_options_of_a_report_ask() -> None:
    times = "since=7d&until=yesterday&timezone=Europe/Berlin"
    asked = read(f"{times}&developer=zoe&developer=a*&repo=x")
    berlin = time_zone("Europe/Berlin")
    assert asked.period == read_period("7d", "yesterday", (), berlin, NOW_US)
    assert asked.filters == (("developer", ("zoe", "a*")), ("repo", ("x",)))


def test_an_address_without_a_question_asks_for_thirty_days() -> None:
    assert read("").period == read_period("30d", None, (), UTC, NOW_US)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("sinse=7d", "the address: there is no 'sinse'; did you mean since?"),
        ("since=todai", "since: 'todai' is not a time; did you mean today?"),
        ("since=today&until=yesterday", "until yesterday ends before since today begins"),
        ("timezone=Berlin", "timezone: no time zone 'Berlin' is known here; did you mean"),
        ("since=1d&since=2d", "the address: since stands there 2 times"),
        ("since=", "since: '' is not a time; accepted are"),
        ("&".join(f"tag={n}" for n in range(51)), "the address: more than 50 names in it"),
    ],
)
def test_a_mistake_in_an_address_is_one_sentence(query: str, said: str) -> None:
    with pytest.raises(ValueError, match="^" + said.replace("?", r"\?")):
        read(query)


@given(
    st.lists(st.tuples(st.sampled_from(FILTERS), NAMES), max_size=5),
    st.sampled_from(FILTERS),
    NAMES,
)
def test_every_link_leads_where_it_says(
    chosen: list[tuple[str, str]], name: str, value: str
) -> None:
    here = read("since=2026-10&timezone=Asia/Tokyo")
    for each, pattern in chosen:
        here = read(urlsplit(here.narrowed(each, pattern)).query)
    there = read(urlsplit(here.narrowed(name, value)).query)
    assert dict(here.filters) | {name: (value,)} == dict(there.filters)
    assert (here.period, here.times) == (there.period, there.times)
    back = read(urlsplit(there.widened(name)).query)
    assert {each: of for each, of in there.filters if each != name} == dict(back.filters)
    day = read(urlsplit(there.address(times={"since": "2026-11-02"})).query)
    assert ("timezone", "Asia/Tokyo") in day.times
    assert there.filters == day.filters


# Colours ------------------------------------------------------------------------------------------


@given(st.lists(NAMES, unique=True, max_size=30))
def test_models_of_one_page_have_colours_of_their_own(names: list[str]) -> None:
    found = colours(names)
    assert [*found] == names[:COLOURS]
    assert len(set(found.values())) == len(found)


@given(st.lists(NAMES, unique=True, min_size=1, max_size=COLOURS))
def test_the_dearest_model_has_the_same_colour_on_every_page(names: list[str]) -> None:
    assert colours(names)[names[0]] == colours(names[:1])[names[0]]


# What is missing ----------------------------------------------------------------------------------


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    assert page.what_is_missing() is None
    monkeypatch.setattr("prodlensd.answers.page.find_spec", lambda name: name == "jinja2" or None)
    assert page.what_is_missing() == (
        "a page needs vl-convert-python: pipx inject prodlensd vl-convert-python (or, in the "
        "environment that it runs in, pip install vl-convert-python)"
    )


# The process that makes pages ---------------------------------------------------------------------

#: Answers with its own pid and the question; to "crash" with its end, to "hang" with nothing.
MAKER = """
import os, threading
from prodlensd.daemon import Answer, answer_each

def make(query):
    if query == "crash":
        os._exit(1)
    if query == "hang":
        threading.Event().wait()
    with open("made", "a") as made:
        made.write(query + "\\n")
    while query.startswith("wait") and not os.path.exists("go"):
        threading.Event().wait(0.01)
    return Answer(f"{os.getpid()} {query}".encode(), headers=(("X-Made", "yes"),))

answer_each(make)
"""


class Made:
    """The process of a test, and the clock by which it is idle."""

    def __init__(self, folder: Path) -> None:
        (folder / "maker.py").write_text(MAKER)
        self._folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self.now_s = 0.0
        self.pages = Pages(self.start, clock=lambda: self.now_s)

    def start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "maker.py"],
            cwd=self._folder,
            env={"PYTHONPATH": child._own_path()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.processes.append(process)
        return process

    def made(self) -> list[str]:
        file = self._folder / "made"
        return file.read_text().splitlines() if file.exists() else []

    def go(self) -> None:
        (self._folder / "go").touch()

    def ask(self, query: str) -> tuple[int, str]:
        self.now_s += 1
        answer = self.pages.page(query)
        pid, _, said = answer.body.decode().partition(" ")
        assert answer.headers == (("X-Made", "yes"),)
        return int(pid), said


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Made]:
    of = Made(tmp_path)
    with closing(of.pages):
        yield of
    for process in of.processes:
        assert process.poll() is not None
        assert process.stdout
        process.stdout.close()


def test_no_process_is_started_before_somebody_looks(made: Made) -> None:
    assert made.processes == []
    made.pages.rest()
    assert made.processes == []


def test_one_process_makes_all_pages(made: Made) -> None:
    said = [made.ask(query) for query in ("a=1", "a=1", 'b="é"\n')]
    assert [text for _, text in said] == ["a=1", "a=1", 'b="é"\n']
    assert {made.processes[0].pid} == {pid for pid, _ in said}


def test_it_is_ended_some_minutes_after_the_last_look_and_started_by_the_next(made: Made) -> None:
    made.ask("first")
    made.now_s += 170
    made.pages.rest()
    assert made.processes[0].poll() is None
    made.now_s += 20
    made.pages.rest()
    assert made.processes[0].poll() is not None
    assert made.processes[0].stdin is not None
    assert made.ask("second")[0] == made.processes[1].pid


def test_one_that_was_killed_is_replaced(made: Made) -> None:
    made.ask("first")
    made.processes[0].kill()
    made.processes[0].wait()
    assert made.ask("second")[0] == made.processes[1].pid


def test_one_that_has_made_many_pages_is_replaced(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prodlensd.daemon.pages._MOST_PAGES", 2)
    pids = [made.ask(str(number))[0] for number in range(5)]
    assert [pids[0]] * 2 + [pids[2]] * 2 + [pids[4]] == pids
    assert len(made.processes) == 3


def test_a_page_that_ends_the_process_is_an_error_and_no_endless_loop(made: Made) -> None:
    made.ask("first")
    with pytest.raises(OSError, match="has ended"):
        made.pages.page("crash")
    assert len(made.processes) == 1
    assert made.ask("next")[1] == "next"


def test_a_page_that_never_comes_is_given_up(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prodlensd.daemon.pages._PATIENCE_S", 0.0)
    with pytest.raises(TimeoutError, match="no page within"):
        made.pages.page("hang")


def test_who_asks_the_same_meanwhile_shares_a_page_and_too_many_are_sent_away(
    made: Made, wait_until: Callable[..., Any]
) -> None:
    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(made.pages.page, "wait")
        wait_until(lambda: made.made() == ["wait"], "the first is at work")
        made.now_s += 1
        others = [threads.submit(made.pages.page, "wait") for _ in range(3)]
        wait_until(lambda: made.pages._places._value == 0, "the others wait")
        busy = made.pages.page("other")
        assert (busy.status, dict(busy.headers)) == (503, {"Retry-After": "5"})
        made.now_s += 1
        made.go()
        assert first.result().status == 200
        assert {other.result().status for other in others} == {200}
    # The first had begun before the others asked; they have one that began after.
    assert made.made() == ["wait", "wait"]


def test_closing_ends_a_page_that_is_being_made_and_starts_no_other(
    made: Made, wait_until: Callable[..., Any]
) -> None:
    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(made.pages.page, "wait") for _ in range(2)]
        wait_until(lambda: made.made() == ["wait"], "the first is at work")
        made.pages.close()
        for each in waiting:
            with pytest.raises(OSError, match=r"has ended|the daemon stops"):
                each.result()
    assert len(made.processes) == 1


def test_resting_does_not_wait_for_a_page(made: Made, wait_until: Callable[..., Any]) -> None:
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(made.pages.page, "wait")
        wait_until(lambda: made.made() == ["wait"], "it is at work")
        made.now_s += 1000
        made.pages.rest()
        made.go()
        assert waiting.result().status == 200


def test_the_process_ends_with_its_input_whatever_it_is_at(
    made: Made, wait_until: Callable[..., Any]
) -> None:
    process = made.start()
    assert process.stdin
    process.stdin.write(b'"wait"\n')
    process.stdin.flush()
    wait_until(lambda: made.made() == ["wait"], "it is at work")
    process.stdin.close()
    assert process.wait(100) == 0


def test_its_priority_is_low(made: Made) -> None:
    pid, _ = made.ask("a")
    stat = Path(f"/proc/{pid}/stat")
    if stat.exists():
        assert int(stat.read_text().rpartition(")")[2].split()[16]) >= 10
