"""Reports over random ledgers: what plain Python counts, whatever is shown and left out.

Some days are in their snapshot alone, some in the ledger alone, some are behind, some are half
pruned, and some are repriced: the same question has the same answer.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from prodlensd.answers.calls import Where, open_calls
from prodlensd.answers.periods import Period
from prodlensd.answers.questions import BY, SORTS, Filter
from prodlensd.ledger import Change, Partitions, Prices, Reader, Selection
from prodlensd.logs import Folders
from prodlensd.model import Price
from prodlensd.pipeline import Owner
from prodlensd.pricing import Override, Pricer
from tests.scenario.asking import ask, assert_right, grouped, rows_of
from tests.scenario.conftest import World

NEW_YEAR = 20454  # days since 1970
TOP_BY = [
    *(("session",), ("model",), ("tag",), ("developer", "session"), ("session", "developer")),
    *(("day", "session"), ("session", "day"), ("model", "month"), ("tag", "model")),
    *(("model", "tag"), ("weekday", "tag"), ("hour", "team")),
]
TOP_BY_PARTS = [TOP_BY[part::4] for part in range(4)]
PAIRS = list(itertools.permutations(BY, 2))
SOME_PAIRS = random.Random(1).sample(PAIRS, 8)  # noqa: S311 - no secret


# The ledger


def calls(seed: int, day: Any = lambda chance: chance.randrange(1, 5)) -> Iterator[bytes]:
    """Calls with equal costs, without names, without prices, and with requests in many groups."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    for number in range(chance.randrange(40, 160)):
        failed = chance.random() < 0.2
        details = {"cached_tokens": chance.choice([None, 0, 3])}
        record = {
            "timestamp": f"2026-01-0{day(chance)}T{chance.randrange(10, 24)}:0{number % 9}:00Z",
            "id": f"chatcmpl-{number}",
            "litellm_call_id": f"call-{chance.randrange(60)}",
            "cost_usd": chance.choice([None, 0.25, 0.5, 0.5, round(chance.random(), 9), 1e6]),
            "attributes": {
                "llm.model_name": chance.choice(["ollama/llama", "acme/m", "acme/ü", None]),
                "status": "failure" if failed else "success",
                "cache_hit": chance.random() < 0.1,
                "latency_ms": chance.choice([None, chance.randrange(1000) / 8]),
                "ttft_ms": chance.choice([None, chance.randrange(100) / 8]),
                "error_class": chance.choice([None, "Timeout"]) if failed else None,
                "diff_ratio": chance.choice([None, 0.25, 0.5]),
                "accepted_lines": chance.choice([None, 0, 7]),
            },
            "usage": {}
            if failed
            else {
                "prompt_tokens": chance.randrange(10, 100),
                "completion_tokens": chance.choice([0, number]),
                "prompt_tokens_details": details,
            },
            "metadata": {
                "session_id": chance.choice([None, *(f"s{n}" for n in range(20))]),
                "developer_id": chance.choice([None, "ann", "bob", "böb", "Zoe"]),
                "team": chance.choice([None, "core", "web"]),
                "key_alias": chance.choice([None, "ci"]),
                "end_user": chance.choice([None, "u1", "u2"]),
                "tags": chance.choice([None, ["a"], ["b", "a"], ["c", "b", "c"], ["d[1]", "é*"]]),
            },
        }
        yield json.dumps(record).encode() + b"\n"


def ledger_of(world: World, folder: Path, seed: int) -> None:
    """A world of these calls, of which the first two days are pruned."""
    known = Override(model="claude-a", input_usd_per_million=3, output_usd_per_million=0.007)
    world.daemon._pricer = Pricer(free_providers=["ollama"], overrides=[known])
    read_transcripts(world, "plan.jsonl", seed, is_on_plan=True)
    read_transcripts(world, "api.jsonl", seed + 50, is_on_plan=False)
    world.append("a.jsonl", *calls(seed))
    world.step()
    world.compact(folder)
    assert world.prune(folder, NEW_YEAR + 2) > 0


def transcripts(seed: int) -> Iterator[bytes]:
    """Lines of a transcript: some models have a price, some names are another file's."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    for number in range(chance.randrange(20, 60)):
        usage = {"input_tokens": chance.randrange(10, 100), "output_tokens": number}
        model = chance.choice(["claude-a", "claude-a", "claude-b"])
        record = {
            "type": "assistant",
            "timestamp": f"2026-01-0{chance.randrange(1, 5)}T{chance.randrange(10, 24)}:00:00Z",
            "sessionId": chance.choice(["s1", "s2", "t1"]),
            "message": {"id": f"msg_{seed}_{number}", "model": model, "usage": usage},
        }
        yield json.dumps(record).encode() + b"\n"


def read_transcripts(world: World, name: str, seed: int, *, is_on_plan: bool) -> None:
    """Has the daemon read such a transcript as well."""
    folder = world.logs.with_name("transcripts")
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"".join(transcripts(seed)))
    world.tailer._transcripts = [
        Folders([folder], include=["*.jsonl"], recursive=True, format="claude_code")
    ]
    world.daemon._owner = Owner("ann", is_on_plan)
    world.settle()


def mixed(world: World, folder: Path, seed: int) -> None:
    """The same, and then: late calls of all days, a half pruned one, repriced ones and new ones."""
    ledger_of(world, folder, seed)
    proof = Partitions(world.store).get(NEW_YEAR + 2).sha256
    assert proof is not None
    assert Partitions(world.store).prune(NEW_YEAR + 2, proof, 5) == 5
    late = [line.replace(b"chatcmpl-", b"late-") for line in calls(seed + 100)]
    world.append("late.jsonl", *late[:20])  # also of days that are pruned
    world.settle()
    world.append("new.jsonl", *calls(seed + 200, lambda chance: chance.randrange(6, 8)))
    world.settle()
    everything = Selection(("gateway", "unpriced"), 0, 2**62)
    with Reader(world.ledger) as reader:
        (found,) = reader.prices.calls(NEW_YEAR + 3, everything, 1000)
    changes = [Change(*call, Price(77, "override")) for call in found]
    assert Prices(world.store, lambda: 1).repricing("test", everything, 1).write(changes)
    assert len(world.dirty_days()) > 3


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "parquet"


# Which groups


@pytest.mark.long
@pytest.mark.parametrize("some", TOP_BY_PARTS, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_the_dearest_groups_and_the_rest_are_those_that_python_finds(
    world: World, folder: Path, seed: int, some: list[tuple[str, ...]]
) -> None:
    ledger_of(world, folder, seed)
    rows = rows_of(world.ledger, folder)
    with open_calls(Where(world.ledger, folder)) as calls:
        for by in some:
            groups = len(grouped(rows, by))
            for top in {1, groups // 2, groups - 1} - {0}:
                assert_right(world.ledger, folder, by, rows, calls, top=top)


@pytest.mark.long
@pytest.mark.parametrize("some", TOP_BY_PARTS, ids=str)
def test_a_report_of_no_more_groups_than_asked_for_leaves_nothing_out(
    world: World, folder: Path, some: list[tuple[str, ...]]
) -> None:
    ledger_of(world, folder, seed=7)
    rows = rows_of(world.ledger, folder)
    for by in some:
        groups = len(grouped(rows, by))
        full, exactly = (ask(world.ledger, folder, by, top=top) for top in (0, groups))
        assert (groups, 0, None) == (len(full.groups), full.more_groups, full.rest)
        assert (full.groups, full.total) == (exactly.groups, exactly.total)
        assert (0, None) == (exactly.more_groups, exactly.rest)


@pytest.mark.long
@pytest.mark.parametrize("some", TOP_BY_PARTS, ids=str)
def test_what_is_shown_stands_in_the_order_of_the_whole_report(
    world: World, folder: Path, some: list[tuple[str, ...]]
) -> None:
    ledger_of(world, folder, seed=11)
    for by in some:
        full, few = ask(world.ledger, folder, by), ask(world.ledger, folder, by, top=5)
        places = [full.groups.index(group) for group in few.groups]
        assert all(before < after for before, after in pairwise(places)), by


@pytest.mark.long
def test_times_alone_are_all_shown(world: World, folder: Path) -> None:
    ledger_of(world, folder, seed=3)
    rows = rows_of(world.ledger, folder)
    for by in (("day",), ("week",), ("month",), ("hour",), ("weekday",), ("weekday", "hour")):
        found = ask(world.ledger, folder, by, top=1)
        assert (len(grouped(rows, by)), 0) == (len(found.groups), found.more_groups)


# By every name, wherever the calls are


@pytest.mark.sampled(2)
@pytest.mark.parametrize("zone", ["America/St_Johns", "UTC"])
def test_by_every_name_the_report_is_what_python_counts(
    world: World, folder: Path, zone: str
) -> None:
    mixed(world, folder, seed=1)
    rows = rows_of(world.ledger, folder)
    period = Period(0, None, ZoneInfo(zone))
    with open_calls(Where(world.ledger, folder)) as calls:
        for by in BY:
            assert_right(world.ledger, folder, (by,), rows, calls, period=period)


@pytest.mark.long
@pytest.mark.parametrize(
    "pairs",
    [SOME_PAIRS, *(pytest.param(PAIRS[n::6], marks=pytest.mark.long) for n in range(6))],
    ids=["some", *map(str, range(6))],
)
def test_by_every_two_names_the_report_is_what_python_counts(
    world: World, folder: Path, pairs: list[tuple[str, str]]
) -> None:
    mixed(world, folder, seed=2)
    rows = rows_of(world.ledger, folder)
    with open_calls(Where(world.ledger, folder)) as calls:
        for number, by in enumerate(pairs):
            assert_right(world.ledger, folder, by, rows, calls, top=number % 3 * 4)


@pytest.mark.long
@pytest.mark.parametrize("sort", SORTS)
def test_groups_stand_in_the_order_that_is_asked_for(world: World, folder: Path, sort: str) -> None:
    mixed(world, folder, seed=3)
    rows = rows_of(world.ledger, folder)
    names = (("developer",), ("model", "tag"), ("day", "team"))
    with open_calls(Where(world.ledger, folder)) as calls:
        for by, top in itertools.product(names, (0, 2)):
            assert_right(world.ledger, folder, by, rows, calls, sort=sort, top=top)


@pytest.mark.long
def test_a_period_has_its_first_moment_and_not_its_last(world: World, folder: Path) -> None:
    mixed(world, folder, seed=4)
    rows = rows_of(world.ledger, folder)
    moments = sorted({row["started_us"] for row in rows})
    for since_us, until_us in (moments[3:5], moments[10:50:39], (moments[20], moments[20] + 1)):
        period = Period(since_us, until_us, ZoneInfo("UTC"))
        assert ask(world.ledger, folder, ("day",), period=period).total.calls > 0
        assert_right(world.ledger, folder, ("model", "day"), rows, period=period)


# Filters


FILTERS: list[tuple[Filter, ...]] = [
    (("developer", ("ann",)),),
    (("developer", ("b*",)),),
    (("developer", ("b?b", "(none)")),),
    (("developer", ("[ab]*",)),),
    (("developer", ("_ob", "a%")),),
    (("developer", ("nobody",)),),
    (("model", ("*/m*",)), ("status", ("success",))),
    (("tag", ("a",)),),
    (("tag", ("d[1]",)),),
    (("tag", ("(none)", "c")), ("team", ("core", "(none)"))),
    (("tag", ("é*",)), ("session", ("s1*", "s?"))),
    (("provider", ("(none)",)), ("repo", ("(none)",)), ("host", ("lap*",))),
    (("source", ("proxy", "cod*")),),
    (("source", ("claude_code",)), ("developer", ("ann",))),
    (("model", ("\\", "'; DROP TABLE trace; --", "$since")),),
]


@pytest.mark.sampled(16)
@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_of_one_filter_any_pattern_is_enough_and_each_filter_must_pass(
    world: World, folder: Path, filters: tuple[Filter, ...]
) -> None:
    mixed(world, folder, seed=5)
    rows = rows_of(world.ledger, folder)
    with open_calls(Where(world.ledger, folder)) as calls:
        for by, top in ((("model",), 0), (("tag", "team"), 3), (("day",), 0)):
            assert_right(world.ledger, folder, by, rows, calls, filters=filters, top=top)


# Tags, subtotals and clocks by hand


def lines(*calls: dict[str, Any]) -> Iterator[bytes]:
    """A call each, of these facts; where no time is named, at noon."""
    for number, facts in enumerate(calls):
        at = facts.pop("at", "2026-01-01T12:00:00Z")
        model = {"llm.model_name": facts.pop("model", "acme/m")}
        cost = facts.pop("cost", 1.0)
        ids = {"id": f"r{number}", "litellm_call_id": f"c{number}"}
        usage = {"prompt_tokens": 10, "completion_tokens": 1}
        record = {"timestamp": at, "attributes": model, "usage": usage, "cost_usd": cost}
        yield json.dumps(record | ids | {"metadata": facts}).encode() + b"\n"


def calls_by(found: Any) -> dict[Any, int]:
    return {
        group.key if len(found.by) > 1 else group.key[0]: group.figures.calls
        for group in found.groups
    }


def test_a_call_with_two_tags_is_in_both_groups_and_once_in_the_total(
    world: World, folder: Path
) -> None:
    world.daemon._pricer = Pricer()
    tagged = [{"tags": ["x", "y"]}, {"tags": ["x", "x"]}, {"tags": ["y", "z"]}, {}]
    world.append("a.jsonl", *lines(*tagged))
    world.step()
    found = ask(world.ledger, folder, ("tag",))
    assert calls_by(found) == {"x": 2, "y": 2, "z": 1, None: 1}
    assert (found.total.calls, found.total.cost_nanousd) == (4, 4 * 10**9)
    few = ask(world.ledger, folder, ("tag",), top=1)
    assert (calls_by(few), few.more_groups) == ({"x": 2}, 3)
    assert few.rest is not None
    assert (few.rest.calls, few.total.calls) == (3, 4), "y and z of one call are one call"


def test_subtotals_are_of_the_first_name_and_add_up(world: World, folder: Path) -> None:
    world.daemon._pricer = Pricer()
    who = [("ann", "acme/m"), ("ann", "acme/n"), ("bob", "acme/m"), ("ann", "acme/m")]
    world.append("a.jsonl", *lines(*({"developer_id": d, "model": m} for d, m in who)))
    world.step()
    found = ask(world.ledger, folder, ("developer", "model"), top=2)
    assert calls_by(found) == {("ann", "acme/m"): 2, ("ann", "acme/n"): 1}
    assert {name: of.calls for name, of in (found.firsts or {}).items()} == {"ann": 3}
    full = ask(world.ledger, folder, ("developer", "model"))
    assert full.firsts is not None
    assert sum(of.cost_nanousd or 0 for of in full.firsts.values()) == full.total.cost_nanousd


def test_hours_and_weekdays_are_those_of_the_readers_clock(world: World, folder: Path) -> None:
    """In the night of 25 October 2026 Berlin has two o'clock twice, in that of 29 March never."""
    night = [f"2026-10-{day}T{hour}:30:00Z" for day, hour in (("24", 23), ("25", "00"))]
    night += ["2026-10-25T01:30:00Z", "2026-10-25T23:30:00Z"]
    spring = ["2026-03-29T00:59:59Z", "2026-03-29T01:00:00Z"]
    world.append("a.jsonl", *lines(*({"at": at} for at in (*night, *spring))))
    world.step()
    period = Period(0, None, ZoneInfo("Europe/Berlin"))
    hours = calls_by(ask(world.ledger, folder, ("hour",), period=period))
    assert hours == {"00:00": 1, "01:00": 2, "02:00": 2, "03:00": 1}
    assert [*hours] == sorted(hours)
    days = calls_by(ask(world.ledger, folder, ("weekday",), period=period))
    assert [*days.items()] == [("Mon", 1), ("Sun", 5)]


@pytest.mark.long
def test_a_call_in_the_year_9999_does_no_harm_in_any_zone(world: World, folder: Path) -> None:
    at = ["9999-12-31T23:59:59Z", "2026-03-29T01:00:00Z", "5000-07-01T12:00:00Z"]
    world.append("a.jsonl", *lines(*({"at": moment} for moment in at)))
    world.step()
    rows = rows_of(world.ledger, folder)
    with open_calls(Where(world.ledger, folder)) as calls:
        for name in ("Europe/Berlin", "Pacific/Kiritimati", "America/New_York"):
            period = Period(0, None, ZoneInfo(name))
            for by in ("day", "week", "month", "hour", "weekday"):
                found = ask(world.ledger, folder, (by,), calls, period=period)
                assert found.total.calls == 3
                assert by != "day" or "2026-03-2" in str([group.key for group in found.groups])
    period = Period(0, None, ZoneInfo("America/New_York"))
    assert_right(world.ledger, folder, ("day",), rows, period=period)
