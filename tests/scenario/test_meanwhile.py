"""Reports while another process takes in calls, compacts, reprices and prunes."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fasteners import InterProcessReaderWriterLock

from prodlensd.answers.calls import Where, open_calls
from prodlensd.answers.forecast import forecast
from prodlensd.ledger import Change, Prices, Reader, Selection
from prodlensd.model import US_PER_S, Price
from prodlensd.pricing import Pricer
from prodlensd.snapshots.locks import LOCK_NAME
from tests.scenario.asking import ask, assert_right, rows_of
from tests.scenario.conftest import World
from tests.scenario.test_top import NEW_YEAR, lines

DAYS = 4
#: A process that asks again and again, and then says what it was told.
ASKING = """
import json, sys
from collections import Counter
from pathlib import Path
from threading import Event
from tests.scenario.asking import ask

ledger, folder, answers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
fixed, counts = Counter(), []
print("asking", flush=True)
for _ in range(answers):
    found = ask(ledger, folder, ("session", "day"))
    groups = [(*group.key, group.figures.calls, group.figures.tokens_in) for group in found.groups]
    fixed[str(sorted(group for group in groups if group[0] == "fixed"))] += 1
    counts.append(found.total.calls)
    Event().wait(0.2)  # when others can have the folder
print(json.dumps([fixed, counts]))
"""


def at(number: int) -> str:
    return f"2026-01-0{number % DAYS + 1}T{number // 60 % 24:02d}:{number % 60:02d}:00Z"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "parquet"


def reprice(world: World, day: int, cost: int) -> None:
    everything = Selection(("gateway", "override"), 0, 2**62)
    with Reader(world.ledger) as reader:
        batches = list(reader.prices.calls(day, everything, 1000))
    for found in batches:
        changes = [Change(*call, Price(cost, "override")) for call in found]
        Prices(world.store, lambda: 1).repricing("test", everything, cost).write(changes)


@pytest.mark.long
@pytest.mark.parametrize("answers", [4, pytest.param(8, marks=pytest.mark.long)])
def test_a_report_never_sees_a_torn_or_a_double_day_and_never_fails(
    world: World, folder: Path, answers: int
) -> None:
    fixed = [{"at": at(number), "session_id": "fixed"} for number in range(200)]
    world.append("a.jsonl", *lines(*fixed))
    world.settle()
    world.compact(folder)
    lock = InterProcessReaderWriterLock(str(folder / LOCK_NAME))  # as compactions take it
    child = [sys.executable, "-c", ASKING, str(world.ledger), str(folder), str(answers)]
    with subprocess.Popen(child, stdout=subprocess.PIPE) as asking:
        assert asking.stdout is not None
        assert asking.stdout.readline() == b"asking\n"
        turns = 0
        while asking.poll() is None:
            turns += 1
            for day in range(NEW_YEAR, NEW_YEAR + DAYS):
                reprice(world, day, turns)
            late = ({"at": at(day), "session_id": f"late-{turns}"} for day in range(DAYS))
            calls = (line.replace(b'"r', b'"late-%d-' % turns) for line in lines(*late))
            world.append("late.jsonl", *calls)
            world.settle()
            with lock.write_lock():
                world.compact(folder)
            if turns % 2:
                with lock.write_lock():
                    world.prune(folder, NEW_YEAR + turns % DAYS)
        out = asking.stdout.read()
    assert asking.returncode == 0
    seen, counts = json.loads(out)
    expected = [("fixed", f"2026-01-0{day + 1}", 50, 500) for day in range(DAYS)]
    assert {*seen} == {str(expected)}
    assert counts == sorted(counts), "what was committed stays"
    assert len(counts) == answers
    assert len({*counts}) > 2, "and much else was committed meanwhile"
    assert_right(world.ledger, folder, ("session", "day"), rows_of(world.ledger, folder))


# The snapshots while a report is open


def test_no_snapshot_is_replaced_while_a_report_is_open(world: World, folder: Path) -> None:
    world.append("a.jsonl", *lines({"at": at(0)}, {"at": at(1)}))
    world.settle()
    world.compact(folder)
    with open_calls(Where(world.ledger, folder)) as calls:
        world.append("a.jsonl", *(line.replace(b'"r', b'"x') for line in lines({"at": at(0)})))
        world.settle()
        assert calls.rows("SELECT count(*) FROM calls") == [(2,)], "it is of one moment"
        code = (
            "import sys; from pathlib import Path; from prodlensd.snapshots import exclusive_lock\n"
            "with exclusive_lock(Path(sys.argv[1])): pass"
        )
        command = [sys.executable, "-c", code, str(folder)]
        done = subprocess.run(command, capture_output=True, check=False)
        assert b"is locked by another compaction or by a reader" in done.stderr
    assert ask(world.ledger, folder, ("day",)).total.calls == 3


# The forecast


NOW = datetime(2026, 4, 11, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("days", "so_far", "expected"),
    [
        ({}, None, None),
        ({11: 5.0}, 5.0, None),  # of today, which is not over
        ({1: 10.0}, 10.0, 30.0),  # 10 days over, 20 left: $1 a day
        ({1: 10.0, 11: 7.0}, 17.0, 30.0),  # of today is counted as a day to come
        ({10: 4.0, 11: 7.0, 2: 1.0}, 12.0, 15.0),
    ],
)
def test_the_forecast_is_what_a_hand_reckons(
    world: World, folder: Path, days: dict[int, float], so_far: float | None, expected: float | None
) -> None:
    calls = [{"at": f"2026-04-{day:02d}T12:00:00Z", "cost": usd} for day, usd in days.items()]
    calls.append({"at": "2026-03-31T12:00:00Z", "cost": 1000.0})
    world.daemon._pricer = Pricer()
    world.append("a.jsonl", *lines(*calls))
    world.settle()
    with open_calls(Where(world.ledger, folder)) as calls_of_all:
        found = forecast(calls_of_all, (), round(NOW.timestamp()) * US_PER_S, UTC)
    nano = [None if usd is None else round(usd * 10**9) for usd in (so_far, expected)]
    assert [found.so_far_nanousd, found.expected_nanousd] == nano
    assert (found.month, found.days_over, found.days_left) == ("2026-04", 10, 20)
