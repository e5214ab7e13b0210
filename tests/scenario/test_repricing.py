"""What a call cost stays what it cost: only `reprice` changes it, and keeps each change.

The books here are small ones in memory; an upgrade is a restart with another book.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import apsw
import pytest

from prodlensd.answers.verify import verify
from prodlensd.jobs.repricing import Repriced, reprice, write_nothing
from prodlensd.ledger import Change, Ledger, LedgerError, Prices, Reader, Selected, Selection
from prodlensd.ledger.tallies import count_disputed
from prodlensd.logs.tailer import Tailer
from prodlensd.model import US_PER_DAY, Price, Trace
from prodlensd.moments import now_us
from prodlensd.pricing import ALWAYS, FOREVER, Override, PriceBook, Pricer, Quote, flat_rates
from prodlensd.pricing.rates import Origin, Question
from tests.scenario.conftest import PricedBy, World

#: 2026-01-01 and the two days after it, in microseconds.
NEW_YEAR = 20454 * US_PER_DAY
DAYS = [NEW_YEAR + n * US_PER_DAY for n in range(3)]
#: Calls whose price is not in the ledger: there must be none.
WITHOUT_PRICE = """
    SELECT price_id FROM trace WHERE price_id NOT NULL AND price_id NOT IN (
        SELECT price_id FROM price
    )
"""
TOKENS = {"input_tokens": 1000, "output_tokens": 1000}


class Book(PriceBook):
    """One version of a price book: for each model its prices, each from a time on."""

    def __init__(self, version: int, **models: Mapping[int, float]) -> None:
        self._version = version
        self._models = models

    def quote(self, question: Question) -> Quote:
        provider, model, at_us, _ = question
        name = model.removeprefix(f"{provider}/").replace("-", "_")
        quote = Quote(None)
        for from_us, usd in sorted(self._models.get(name, {}).items()):
            if from_us > at_us:
                return quote._replace(until_us=from_us)
            origin = Origin(f"book {self._version}", model, f"is {model}")
            quote = Quote(flat_rates(usd, usd), from_us, FOREVER, origin)
        return quote


def dated(*usd: float) -> dict[int, float]:
    """A price from the first of the three days on, another from the second on."""
    return dict(zip([ALWAYS, *DAYS[1:]], usd, strict=False))


class Anything(PriceBook):
    """A book that explains every name of a provider: `acme` for one dollar, any other for three."""

    def __init__(self, version: int = 1) -> None:
        self._version = version

    def quote(self, question: Question) -> Quote:
        provider = question.provider
        if not question.model:
            return Quote(None)
        usd = self._version * (1 if provider == "acme" else 3)
        origin = Origin(f"anything {self._version}", provider, f"begins with {provider}")
        return Quote(flat_rates(usd, usd), 0, FOREVER, origin)


OLD = Book(1, m=dated(1), gone=dated(1))
NEW = Book(2, m=dated(2, 3, 4), later=dated(5))


@pytest.fixture
def at(make_line: Any) -> Callable[..., bytes]:
    """`at(us, number)`: the line of a call of 2000 tokens that started then."""

    def at(us: int, number: int, model: str = "acme/m", **more: Any) -> bytes:
        seconds, fraction = divmod(us - NEW_YEAR, 1_000_000)
        day, second = divmod(seconds, 86_400)
        clock = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}.{fraction:06d}Z"
        facts = {
            "timestamp": f"2026-01-{day + 1:02d}T{clock}",
            "attributes": {"llm.model_name": model},
            "usage": TOKENS,
        }
        line: bytes = make_line(number, **facts | more)
        return line

    return at


def upgrade(world: Any, book: PriceBook, **more: Any) -> None:
    """The same ledger and logs under another version of the program and its prices."""
    world.restart()
    pricer = Pricer(books=[book], pins=Prices(world.store, now_us), **more)
    world.daemon._pricer = pricer


def lose_the_checkpoints(world: Any) -> None:
    with world.store.db as db:
        db.execute("UPDATE source SET state = 'gone'")


def selection(*sources: str, **more: Any) -> Selection:
    return Selection(
        sources or ("table",), more.pop("since", ALWAYS), more.pop("until", FOREVER), **more
    )


#: Nobody else is there to take turns with.
ALONE = nullcontext()


def again(
    ledger: Path,
    store: Ledger,
    book: PriceBook,
    wanted: Selection,
    *,
    dry_run: bool = False,
    turn: Any = ALONE,
    **more: Any,
) -> Repriced:
    """As the command does it."""
    prices = Prices(store, now_us)
    with Reader(ledger) as reader:
        pricer = Pricer(books=[book], pins=reader.prices if dry_run else prices, **more)
        write = write_nothing if dry_run else prices.repricing("1", wanted, 1).write
        repriced = reprice(reader, wanted, pricer=pricer, write=write, turn=turn)
    prices.write_pins()
    return repriced


def reprice_world(world: Any, book: PriceBook, *sources: str, **more: Any) -> Repriced:
    narrowed = {k: more.pop(k) for k in ("since", "until", "model", "provider") if k in more}
    repriced = again(world.ledger, world.store, book, selection(*sources, **narrowed), **more)
    world.check()
    return repriced


def selected(world: Any, wanted: Selection, most: int = 1000) -> list[list[Selected]]:
    """The calls of the first day."""
    with Reader(world.ledger) as reader:
        return list(reader.prices.calls(DAYS[0] // US_PER_DAY, wanted, most))


def costs(world: Any) -> list[Any]:
    """Source and micro-dollars of each call, in time order: at $1 a million, 2000 for a call."""
    rows = world.query("SELECT cost_source, cost_nanousd FROM trace ORDER BY started_us, key")
    return [source if cost is None else (source, cost / 1000) for source, cost in rows]


def history(world: Any) -> list[Any]:
    """Every change, run by run."""
    rows: list[Any] = world.query(
        "SELECT repricing_id, timestamp, old_cost_source, old_cost_usd, new_cost_source, "
        "new_cost_usd FROM cost_changes ORDER BY repricing_id, call_id"
    )
    return rows


def dirty(world: World) -> set[int]:
    """The days whose snapshot is behind; all are marked clean."""
    days = world.dirty_days()
    with world.store.db as db:
        db.execute("UPDATE partition SET compacted_version = version")
    return days


TABLE = "table"
AT_OLD_PRICES = [(TABLE, 2000)] * 3
AT_NEW_PRICES = [(TABLE, 4000), (TABLE, 6000), (TABLE, 8000)]


@pytest.mark.parametrize("ids", [True, False])
def test_an_upgrade_of_the_price_book_changes_no_stored_cost(
    world: Any, at: Any, ids: bool
) -> None:
    lines = [at(day, number, ids=ids) for number, day in enumerate(DAYS)]
    lines.append(at(DAYS[2] + 1, 3, "acme/later", ids=ids))
    upgrade(world, OLD)
    world.append("a.jsonl", *lines)
    world.step()
    assert costs(world) == [*AT_OLD_PRICES, "unpriced"]
    upgrade(world, NEW)  # a restart
    world.step()
    assert costs(world) == [*AT_OLD_PRICES, "unpriced"]
    lose_the_checkpoints(world)  # the same logs again
    upgrade(world, NEW)
    world.step()
    assert costs(world) == [*AT_OLD_PRICES, "unpriced"]
    (world.logs / "a.jsonl.1").write_bytes(b"".join(lines))  # a copy
    if ids:
        world.append("b.jsonl", lines[1], *lines)  # the same records
    world.step()
    assert costs(world) == [*AT_OLD_PRICES, "unpriced"]
    assert world.counts()[2] >= 6
    assert history(world) == world.query("SELECT * FROM repricing") == []
    dirty(world)
    # What it is for
    repriced = reprice_world(world, NEW, TABLE)
    assert costs(world) == [*AT_NEW_PRICES, "unpriced"]
    assert (repriced.seen, repriced.unpriced) == (3, 0)
    assert repriced.total == (3, 6_000_000, 18_000_000)
    assert dirty(world) == {day // US_PER_DAY for day in DAYS}
    assert history(world) == [
        (1, f"2026-01-0{n + 1}T00:00:00.000000Z", TABLE, 0.002, TABLE, usd)
        for n, usd in enumerate([0.004, 0.006, 0.008])
    ]
    # And once
    assert reprice_world(world, NEW, TABLE).changes == {}
    assert dirty(world) == set()
    assert len(history(world)) == 3
    assert world.query("SELECT count(*) FROM repricing") == [1]


@pytest.mark.parametrize(
    ("usage", "nanousd"), [(TOKENS, 2_000_000), ({"input_tokens": 1000, "output_tokens": 2}, None)]
)
def test_a_richer_record_under_another_book_keeps_the_price_unless_its_tokens_are_others(
    world: Any, at: Callable[..., bytes], usage: dict[str, int], nanousd: int | None
) -> None:
    upgrade(world, OLD)
    world.append("a.jsonl", at(DAYS[1], 1, metadata={}))
    world.step()
    upgrade(world, NEW)
    world.append("a.jsonl", at(DAYS[1], 1, usage=usage))
    world.step()
    assert world.sessions() == ["s1"]
    assert world.query("SELECT cost_nanousd FROM trace") == [nanousd or 3 * 1002 * 1000]


def test_a_richer_record_of_a_known_call_does_not_hide_that_it_was_repriced(
    world: Any, at: Any
) -> None:
    upgrade(world, OLD)
    world.append("a.jsonl", at(DAYS[1], 1))
    world.step()
    reprice_world(world, NEW, TABLE)
    upgrade(world, NEW)
    world.append("b.jsonl", at(DAYS[1], 1), at(DAYS[1], 1, metadata={}))
    world.step()
    assert costs(world) == [(TABLE, 6000)]
    assert world.sessions() == ["s1"]


def test_a_change_is_linked_to_the_prices_before_and_after(world: Any, at: Any) -> None:
    upgrade(world, OLD)
    world.append("a.jsonl", at(DAYS[2], 1))
    world.step()
    reprice_world(world, NEW, TABLE)
    rows = world.query(
        "SELECT was.book, was.rates, is_.book, is_.rates, is_.from_us FROM cost_change AS c "
        "JOIN price AS was ON was.price_id = c.old_price_id "
        "JOIN price AS is_ ON is_.price_id = c.new_price_id"
    )
    ((book, rates, new_book, new_rates, from_us),) = rows
    assert (book, new_book, from_us) == ("book 1", "book 2", DAYS[2])
    assert rates.startswith("[1000000,1000000,")
    assert new_rates.startswith("[4000000,4000000,")
    assert world.query("SELECT price_id FROM trace") == world.query(
        "SELECT new_price_id FROM cost_change"
    )


def test_only_the_days_that_changed_become_dirty(world: Any, at: Any) -> None:
    upgrade(world, OLD)
    world.append("a.jsonl", *(at(day, n) for n, day in enumerate(DAYS)))
    world.step()
    dirty(world)
    half_new = Book(2, m=dated(1, 7, 1))
    assert reprice_world(world, half_new, TABLE).total.calls == 1
    assert dirty(world) == {DAYS[1] // US_PER_DAY}


def test_unpriced_calls_get_the_price_of_their_day_and_the_others_keep_theirs(
    world: Any, at: Any
) -> None:
    upgrade(world, OLD)
    world.append(
        "a.jsonl",
        at(DAYS[0], 1, "acme/later"),
        at(DAYS[0] + 1, 2),
        at(DAYS[0] + 2, 3, "acme/never"),
        at(DAYS[0] + 3, 4, "acme/later", cost_usd=0.5),
    )
    world.step()
    before = ["unpriced", (TABLE, 2000), "unpriced", ("gateway", 500_000)]
    assert costs(world) == before
    dry = reprice_world(world, NEW, "unpriced", dry_run=True)
    assert costs(world) == before
    assert history(world) == world.query("SELECT * FROM repricing") == []
    repriced = reprice_world(world, NEW, "unpriced")
    assert repriced == dry
    assert (repriced.seen, repriced.unpriced, repriced.total) == (2, 1, (1, 0, 10_000_000))
    assert costs(world) == [(TABLE, 10_000), *before[1:]]
    assert history(world) == [(1, "2026-01-01T00:00:00.000000Z", "unpriced", None, TABLE, 0.01)]


def test_what_the_table_asks_follows_and_with_it_what_is_disputed(world: Any, at: Any) -> None:
    upgrade(world, OLD)
    world.append(
        "a.jsonl",
        at(DAYS[0], 1, cost_usd=0.004),  # twice what the table asks: not disputed
        at(DAYS[0] + 1, 2, cost_usd=0.004000001),
        at(DAYS[0] + 2, 3, cost_usd=0.001),
        at(DAYS[0] + 3, 4, cost_usd=0.000999999),
        at(DAYS[0] + 4, 5, "acme/later", cost_usd=0.001),
    )
    world.step()
    shown = "SELECT table_nanousd, disputed FROM trace ORDER BY started_us"
    table = 2_000_000
    assert world.query(shown) == [
        *((table, None), (table, "yes"), (table, None), (table, "yes"), (None, None))
    ]
    repriced = reprice_world(world, NEW, "gateway")
    assert repriced.total.calls == 5
    assert repriced.total.old_nanousd == repriced.total.new_nanousd
    table = 4_000_000
    assert world.query(shown) == [
        *((table, None), (table, None), (table, "yes"), (table, "yes"), (10_000_000, "yes"))
    ]
    assert {source for source, _ in costs(world)} == {"gateway"}
    assert reprice_world(world, NEW, "gateway").changes == {}


def test_the_sql_and_the_program_agree_on_what_is_disputed(world: Any, at: Any) -> None:
    upgrade(world, OLD)
    world.append("a.jsonl", *(at(DAYS[0] + n, n) for n in range(400)))
    world.step()
    chance = random.Random(1)  # noqa: S311 - repeatable on purpose
    edges = [None, 0, 1, 2, 3, 4, 10**15, 2 * 10**15]
    pairs = [(g, t) for g in edges for t in edges]
    pairs += [(g := chance.randrange(10**9), 2 * g + chance.randrange(-1, 2)) for _ in range(300)]
    with world.store.db as db:
        for n, pair in enumerate(pairs):
            db.execute(
                "UPDATE call SET gateway_nanousd = ?, table_nanousd = ? WHERE started_us = ?",
                (*pair, DAYS[0] + n),
            )
    shown = world.query("SELECT disputed, 0 FROM trace ORDER BY started_us")
    expected = ["yes" if count_disputed([pair]) else None for pair in pairs]
    assert [told for told, _ in shown[: len(pairs)]] == expected


def test_a_new_preference_is_applied_when_asked_for(world: Any, at: Any) -> None:
    upgrade(world, OLD)
    world.append("a.jsonl", at(DAYS[0], 1, cost_usd=0.5), at(DAYS[0] + 1, 2, "x/y", cost_usd=0.25))
    world.step()
    assert reprice_world(world, OLD, "gateway", prefer="table").total.calls == 1
    assert costs(world) == [(TABLE, 2000), ("gateway", 250_000)]
    assert reprice_world(world, OLD, TABLE).total.calls == 1
    assert costs(world) == [("gateway", 500_000), ("gateway", 250_000)]
    assert [row[2:] for row in history(world)] == [
        ("gateway", 0.5, TABLE, 0.002),
        (TABLE, 0.002, "gateway", 0.5),
    ]


def test_a_fallback_taken_away_leaves_its_calls_unpriced_when_asked(world: Any, at: Any) -> None:
    ten = flat_rates(10, 10)
    upgrade(world, OLD, fallback=ten)
    world.append("a.jsonl", at(DAYS[0], 1, "acme/never"), at(DAYS[0] + 1, 2, "acme/later"))
    world.step()
    assert costs(world) == [("fallback", 20_000)] * 2
    upgrade(world, OLD)
    world.step()
    assert reprice_world(world, OLD, "unpriced", TABLE).seen == 0
    assert costs(world) == [("fallback", 20_000)] * 2
    assert reprice_world(world, NEW, "fallback").total == (2, 40_000_000, 10_000_000)
    assert costs(world) == ["unpriced", (TABLE, 10_000)]
    assert [row[4:] for row in history(world)] == [("unpriced", None), (TABLE, 0.01)]


def test_an_override_comes_and_goes_when_asked(world: Any, at: Any) -> None:
    mine = Override(model="m", input_usd_per_million=7, output_usd_per_million=7)
    upgrade(world, OLD)
    world.append("a.jsonl", at(DAYS[0], 1))
    world.step()
    assert reprice_world(world, OLD, TABLE, overrides=[mine]).total.calls == 1
    assert costs(world) == [("override", 14_000)]
    assert world.query("SELECT table_nanousd FROM trace") == [2_000_000]
    assert reprice_world(world, OLD, "override").total.calls == 1
    assert costs(world) == [(TABLE, 2000)]


def test_a_price_that_the_table_has_lost_keeps_its_cost(world: Any, at: Any) -> None:
    upgrade(world, OLD)
    world.append("a.jsonl", *(at(day, n, "acme/gone") for n, day in enumerate(DAYS)))
    world.step()
    upgrade(world, NEW)
    assert reprice_world(world, NEW, TABLE).changes == {}
    assert costs(world) == AT_OLD_PRICES
    with world.store.db as db:
        db.execute("DELETE FROM price")
    assert reprice_world(world, NEW, TABLE).unpriced == 3
    assert costs(world) == ["unpriced"] * 3


def test_what_is_free_or_was_never_billed_is_left_alone(world: Any, at: Any) -> None:
    upgrade(world, OLD, free_providers=["ollama"])
    world.append(
        "a.jsonl",
        at(DAYS[0], 1, "ollama/m"),
        at(DAYS[0] + 1, 2, attributes={"llm.model_name": "acme/later", "cache_hit": True}),
        at(DAYS[0] + 2, 3, usage={}, attributes={"status": "failure"}),
    )
    world.step()
    before = [("free", 0), ("cache_hit", 0), ("not_billable", 0)]
    assert costs(world) == before
    free = {"free_providers": ["ollama"]}
    everything = ("unpriced", TABLE, "override", "fallback", "gateway")
    assert reprice_world(world, NEW, *everything, **free).seen == 0
    assert reprice_world(world, NEW, "free", **free).changes == {}
    assert costs(world) == before


# Which calls


@pytest.mark.parametrize(
    ("since", "until", "numbers"),
    [
        (ALWAYS, FOREVER, [0, 1, 2, 3, 4]),
        (DAYS[1], DAYS[2], [2, 3]),
        (DAYS[1] + 1, DAYS[2], [3]),
        (DAYS[1] - 1, DAYS[1], [1]),
        (DAYS[1] - 1, DAYS[1] + 1, [1, 2]),
        (ALWAYS, DAYS[0], []),
        (ALWAYS, DAYS[0] + 1, [0]),
        (DAYS[2], FOREVER, [4]),
        (DAYS[2] + 1, FOREVER, []),
        (DAYS[1], DAYS[1], []),
    ],
)
def test_a_period_is_kept_to_the_microsecond(
    world: Any, at: Any, since: int, until: int, numbers: list[int]
) -> None:
    times = [DAYS[0], DAYS[1] - 1, DAYS[1], DAYS[2] - 1, DAYS[2]]
    upgrade(world, OLD)
    world.append("a.jsonl", *(at(us, n) for n, us in enumerate(times)))
    world.step()
    assert reprice_world(world, NEW, TABLE, since=since, until=until).seen == len(numbers)
    changed = [n for n, (_, cost) in enumerate(costs(world)) if cost != 2000]
    assert changed == numbers


MODELS = ["acme/m", "acme/M", "acme/m[1m]", "acme/m1", "acme/m?", "acme/m*", "acme/n]", "other/m"]


@pytest.mark.parametrize(
    ("pattern", "matched"),
    [
        ("acme/m", {"acme/m"}),
        ("acme/m[1m]", {"acme/m[1m]"}),
        ("acme/m?", {"acme/m?"}),
        ("acme/n]", {"acme/n]"}),
        ("*[1m]", {"acme/m[1m]"}),
        ("acme/*", set(MODELS) - {"other/m"}),
        ("acme/m*", set(MODELS) - {"other/m", "acme/n]", "acme/M"}),
        ("*/m", {"acme/m", "other/m"}),
        ("*", set(MODELS)),
        ("m", set()),
        ("", set()),
        ("acme/[m]", set()),
        ("acme/_", set()),
        ("acme/%", set()),
    ],
)
def test_a_model_is_named_as_logged_with_a_star_for_any_characters(
    world: Any, at: Any, pattern: str, matched: set[str]
) -> None:
    ten = flat_rates(10, 10)
    upgrade(world, Book(0), fallback=ten)
    world.append("a.jsonl", *(at(DAYS[0] + n, n, model) for n, model in enumerate(MODELS)))
    world.append("a.jsonl", at(DAYS[0] + 99, 99, attributes={}))
    world.step()
    repriced = reprice_world(world, Book(0), "fallback", model=pattern)
    assert {kind.model for kind in repriced.changes} == matched
    assert repriced.seen == len(matched)


def test_a_provider_is_named_as_logged(world: Any, at: Any) -> None:
    upgrade(world, OLD)
    for number, provider in enumerate(["acme", "acme2", None]):
        named = {"llm.model_name": "acme/m"} | ({"provider": provider} if provider else {})
        world.append("a.jsonl", at(DAYS[0] + number, number, attributes=named))
    world.step()
    logged = world.query("SELECT provider, count(*) FROM trace GROUP BY 1")
    for provider, calls in logged:
        if provider is not None:
            everything = ("table", "unpriced")
            assert reprice_world(world, OLD, *everything, provider=provider).seen == calls
    assert reprice_world(world, OLD, "table", "unpriced", provider="acm").seen == 0


# While others write


def test_a_call_that_was_changed_meanwhile_is_passed_over(world: Any, at: Any) -> None:
    upgrade(world, OLD)
    world.append("a.jsonl", *(at(DAYS[0] + n, n) for n in range(3)))
    world.step()
    wanted = selection(TABLE)
    pricer = Pricer(books=[NEW])
    (calls,) = selected(world, wanted)
    seen = [Change(*call, pricer.price(call[0])) for call in calls]
    nine = Book(3, m=dated(9))
    assert reprice_world(world, nine, TABLE, until=DAYS[0] + 1).total.calls == 1
    late = Prices(world.store, now_us).repricing("1", wanted, 2)
    made = late.write(seen)
    world.check()
    assert [change.trace.started_us - DAYS[0] for change in made] == [1, 2]
    assert costs(world) == [(TABLE, 18_000), (TABLE, 4000), (TABLE, 4000)]
    assert [row[0] for row in history(world)] == [1, 2, 2]


def test_a_run_whose_every_change_came_too_late_is_not_noted(world: Any, at: Any) -> None:
    upgrade(world, OLD)
    world.append("a.jsonl", at(DAYS[0], 1))
    world.step()
    wanted = selection(TABLE)
    (((trace, old),),) = selected(world, wanted)
    reprice_world(world, NEW, TABLE)
    dirty(world)
    late = Prices(world.store, now_us).repricing("1", wanted, 2)
    change = Change(trace, old, Price(1, TABLE, 1))
    assert late.write([change]) == []
    world.check()
    assert costs(world) == [(TABLE, 4000)]
    assert world.query("SELECT count(*) FROM repricing") == [1]
    assert dirty(world) == set()


def test_two_that_see_the_same_dispute_count_it_once(world: Any, at: Any) -> None:
    upgrade(world, OLD)
    world.append("a.jsonl", at(DAYS[0], 1, cost_usd=0.0015))
    world.step()
    wanted = selection("gateway")
    (((trace, old),),) = selected(world, wanted)
    change = Change(trace, old, old._replace(table_nanousd=4_000_000))
    made = [
        len(Prices(world.store, now_us).repricing("1", wanted, n).write([change])) for n in (1, 2)
    ]
    assert made == [1, 0]
    world.check()
    assert world.query("SELECT disputed FROM trace") == ["yes"]


class Turn:
    """Somebody else, who has a turn before each transaction of ours."""

    def __init__(self, world: Any, at_once: Callable[[apsw.Connection], Any]) -> None:
        self.had: list[Any] = []
        self._world = world
        self._at_once = at_once

    def __enter__(self) -> None:
        db = apsw.Connection(str(self._world.ledger))
        try:
            self.had.append(self._at_once(db))
        finally:
            db.close()
        self._world.check()

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def two_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prodlensd.jobs.repricing.CALLS_AT_ONCE", 2)


def seven_calls(world: Any, at: Any) -> None:
    upgrade(world, OLD)
    world.append("a.jsonl", *(at(DAYS[0] + n // 2, n) for n in range(6)), at(DAYS[1], 6))
    world.step()


def test_nobody_waits_while_prices_are_looked_up(world: Any, at: Any) -> None:
    class Patient(Book):
        def quote(self, question: Question) -> Quote:
            with Turn(world, lambda db: db.execute("BEGIN IMMEDIATE; ROLLBACK").get):
                asked.append(question.model)
            return super().quote(question._replace(model="acme/later"))

    asked: list[str] = []
    upgrade(world, OLD)
    world.append("a.jsonl", *(at(DAYS[0] + n, n, f"acme/new{n}") for n in range(5)))
    world.step()
    assert reprice_world(world, Patient(2, later=dated(5)), "unpriced").total.calls == 5
    assert sorted(asked) == [f"acme/new{n}" for n in range(5)]


@pytest.mark.usefixtures("two_at_once")
def test_others_commit_between_small_transactions_after_each_of_which_all_agrees(
    world: Any, at: Any
) -> None:
    def commit(db: apsw.Connection) -> Any:
        with db:
            db.execute("UPDATE source SET size_bytes = size_bytes + 1")
        return db.execute("SELECT count(*) FROM cost_change").get

    seven_calls(world, at)
    turn = Turn(world, commit)
    assert reprice_world(world, NEW, TABLE, turn=turn).total.calls == 7
    assert turn.had == [0, 2, 4, 6]
    assert len(history(world)) == 7
    assert world.query("SELECT count(*) FROM repricing") == [1]


@pytest.mark.usefixtures("two_at_once")
def test_a_long_run_does_not_keep_the_write_ahead_log_from_being_emptied(
    world: Any, at: Any
) -> None:
    def empty(db: apsw.Connection) -> Any:
        return next(db.execute("PRAGMA wal_checkpoint(TRUNCATE)"))

    seven_calls(world, at)
    turn = Turn(world, empty)
    reprice_world(world, NEW, TABLE, turn=turn)
    assert turn.had == [(0, 0, 0)] * 4


def test_a_run_ends_though_new_calls_come_faster_than_it_prices(world: Any, at: Any) -> None:
    upgrade(world, OLD)
    world.append("a.jsonl", at(DAYS[0], 0), at(DAYS[0] + 1, 1))
    world.step()
    seen = 0
    with Reader(world.ledger) as reader:
        for calls in reader.prices.calls(DAYS[0] // US_PER_DAY, selection(TABLE), 1):
            seen += len(calls)
            assert seen < 10
            world.append("a.jsonl", *(at(DAYS[0] + 9 * seen + n, 9 * seen + n) for n in range(5)))
            world.step()
    assert seen == 2


def test_calls_of_one_moment_are_each_looked_at_once_however_they_are_keyed(
    world: Any, at: Any
) -> None:
    upgrade(world, OLD)
    lines = [at(DAYS[0], n, ids=n % 2 == 0) for n in range(7)]
    world.append("a.jsonl", *lines)
    world.step()
    found = [trace.key for calls in selected(world, selection(TABLE), 2) for (trace, *_) in calls]
    assert len({*found}) == len(found) == 7


# Prices are written with the rows that need them


def commits(world: Any, *lines: bytes) -> int:
    """How many transactions it takes to ingest these lines."""
    count = 0

    def committing() -> bool:
        nonlocal count
        count += 1
        return False

    world.append("a.jsonl", *lines)
    world.store.db.set_commit_hook(committing)
    world.step()
    world.store.db.set_commit_hook(None)
    return count


def test_a_hundred_new_names_are_one_transaction_as_a_hundred_calls_of_one_are(
    world: Any, at: Any
) -> None:
    upgrade(world, Anything())
    world.append("a.jsonl", at(DAYS[0], 0))
    world.step()
    known = commits(world, *(at(DAYS[0] + 1, n) for n in range(1, 100)))
    new = commits(world, *(at(DAYS[0] + 2, n, f"acme/new{n}") for n in range(100, 200)))
    assert known == new
    assert world.query("SELECT count(*) FROM price") == [101]
    assert world.query(WITHOUT_PRICE) == []


def test_every_call_is_expected_before_it_is_priced(
    world: Any, at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def price(trace: Trace) -> Price:
        priced.append(trace)
        assert priced == expected[: len(priced)]
        assert len(expected) - len(priced) < 3
        return Price(1, "table")

    monkeypatch.setattr("prodlensd.pipeline.lines._AHEAD", 3)
    expected: list[Trace] = []
    priced: list[Trace] = []
    world.daemon._pricer = PricedBy(price, expected.extend)
    lines = [at(DAYS[0] + n, n) for n in range(7)]
    world.append("a.jsonl", b"garbage\n", *lines[:4], b"\n", *lines[4:])
    world.step()
    assert len(priced) == len(expected) == 7


def test_prices_of_a_transaction_that_failed_are_written_by_the_next(world: Any, at: Any) -> None:
    upgrade(world, Anything())
    world.step()
    db = world.store.db
    db.pragma("max_page_count", db.pragma("page_count"))  # a full disk
    world.append("a.jsonl", *(at(DAYS[0], n, f"acme/{'n' * 200}{n}") for n in range(200)))
    with pytest.raises(LedgerError, match="full"):
        world.step()
    assert world.query("SELECT count(*) FROM price") == [0]
    db.pragma("max_page_count", 1 << 30)
    world.step()
    assert world.query("SELECT count(*) FROM price") == [200]
    assert world.query(WITHOUT_PRICE) == []


def test_names_without_end_do_not_make_prices_without_end(
    world: Any, at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prodlensd.ledger.pins.MOST_NAMED", 3)
    upgrade(world, Anything())
    for n in range(20):
        world.append("a.jsonl", at(DAYS[n % 3], n, f"acme/new{n}"))
        world.step()
    world.append("a.jsonl", at(DAYS[1] + 1, 20, "acme/new0"), at(DAYS[1] + 2, 21, "zeta/new"))
    world.append("a.jsonl", at(DAYS[1] + 3, 22, attributes={}))
    world.step()
    kept = (
        "SELECT provider, model, book, entry, match, from_us, until_us FROM price ORDER BY rates, "
    )
    origin = ("anything 1", "acme", "begins with acme")
    assert [
        ("", "", *origin, ALWAYS, FOREVER),
        *(("acme", f"acme/new{n}", *origin, 0, FOREVER) for n in range(3)),
        ("", "", "anything 1", "zeta", "begins with zeta", ALWAYS, FOREVER),
    ] == world.query(f"{kept} model")
    assert world.query(WITHOUT_PRICE) == []
    # What has a name keeps it, and what has none is the price of no call that has none.
    assert ["acme/new0", "acme/new0"] == world.query(
        "SELECT p.model FROM trace AS t JOIN price AS p USING (price_id) "
        "WHERE t.model = 'acme/new0'"
    )
    assert world.query("SELECT cost_source FROM trace WHERE model IS NULL") == ["unpriced"]
    # A repricing changes nothing, and its changes can be followed to the price without a name.
    assert reprice_world(world, Anything(), TABLE).changes == {}
    assert reprice_world(world, Anything(2), TABLE).total.calls == 22
    assert world.query(
        "SELECT old.entry, new.entry, count(*) FROM cost_change "
        "JOIN price AS old ON old.price_id = old_price_id "
        "JOIN price AS new ON new.price_id = new_price_id GROUP BY 1, 2"
    ) == [("acme", "acme", 21), ("zeta", "zeta", 1)]


# Proof


def test_the_ledger_and_its_snapshots_are_proven_after_it(
    world: Any, at: Any, tmp_path: Path
) -> None:
    upgrade(world, OLD)
    world.append("a.jsonl", *(at(day, n, cost_usd=n / 100) for n, day in enumerate(DAYS)))
    world.append("a.jsonl", *(at(day + 1, n + 10) for n, day in enumerate(DAYS)), b"garbage\n")
    world.step()

    def follow(checkpoints: Any) -> Tailer:
        return Tailer(
            [world.logs],
            include=["*.jsonl"],
            recursive=False,
            max_line_bytes=world.max_line_bytes,
            checkpoints=checkpoints,
        )

    def proven() -> tuple[int, int]:
        found = verify(
            world.ledger,
            follow=follow,
            snapshot_path=lambda day: day.place(tmp_path),
        )
        assert (found.state, found.differences) == ("complete", ())
        return found.snapshots, found.snapshots_due

    def write_snapshots() -> int:
        return len(world.compact(tmp_path))

    assert write_snapshots() == 3
    assert proven() == (3, 0)
    reprice_world(world, NEW, TABLE, "gateway")
    assert proven() == (0, 3)
    assert write_snapshots() == 3
    assert proven() == (3, 0)


CALLS_A_DAY, CALLS_A_BATCH = 4, 2
#: Forks one repricing after the other, each on a copy of the ledger, the nth killed at its nth
#: statement; the last one runs to its end.
KILLER = """
import os, shutil, signal, sys
from itertools import count
from pathlib import Path
from prodlensd.jobs import repricing as reprice
from prodlensd.ledger import Ledger, transactions
from tests.scenario.test_repricing import CALLS_A_BATCH, NEW, again, selection
reprice.CALLS_AT_ONCE = CALLS_A_BATCH
pristine, folder = map(Path, sys.argv[1:])
open_writer = transactions.open_writer
for nth in count(1):
    ledger = folder / f"{nth}.db"
    shutil.copy(pristine, ledger)
    child = os.fork()
    if child == 0:
        seen = count(1)
        def kill(_cursor, _sql, _bindings):
            if next(seen) == nth:
                os.kill(os.getpid(), signal.SIGKILL)
            return True
        def open_watched(path, durability, migrating):
            db = open_writer(path, durability, migrating)
            db.exec_trace = kill
            return db
        transactions.open_writer = open_watched
        with Ledger(ledger) as opened:
            again(ledger, opened, NEW, selection("table", "gateway"))
        os._exit(0)
    if os.waitpid(child, 0)[1] != signal.SIGKILL:
        break
"""


class Killed(World):
    """A world of which only the ledger is left, after a repricing of it was killed."""

    def __init__(self, ledger: Path) -> None:
        self.ledger = ledger

    def run_again(self) -> Repriced:
        with Ledger(self.ledger) as store:
            return again(self.ledger, store, NEW, selection("table", "gateway"))

    def batches_done(self) -> int:
        """That each batch is whole: its costs, its history, its prices, its mark."""
        done = 0
        for n, day in enumerate(DAYS):
            of_day = f"started_us / {US_PER_DAY} = {day // US_PER_DAY}"
            asked = self.query(
                f"SELECT table_nanousd FROM trace WHERE {of_day} ORDER BY started_us"
            )
            new = asked.count((n + 2) * 2_000_000)
            assert asked == [(n + 2) * 2_000_000] * new + [2_000_000] * (CALLS_A_DAY - new)
            assert new % CALLS_A_BATCH == 0, f"a batch of day {n} is torn"
            assert self.query(f"SELECT count(*) FROM cost_change WHERE {of_day}") == [new]
            versions = f"SELECT version - 1 FROM partition WHERE day = {day // US_PER_DAY}"
            assert self.query(versions) == [new / CALLS_A_BATCH]
            assert new == 0 or done == n * CALLS_A_DAY, "out of order"
            done += new
        assert self.query("SELECT count(*) FROM repricing") == [min(done, 1)]
        assert self.query(WITHOUT_PRICE) == []
        return done // CALLS_A_BATCH

    def outcome(self) -> list[Any]:
        """All that a repricing leaves behind, but for which run changed what, and when."""
        changes = "SELECT started_us, key, old_nanousd, old_source, old_price_id, new_nanousd, "
        changes += "new_source, new_price_id FROM cost_change"
        prices = "SELECT price_id, provider, model, book, rates FROM price"
        tables = [changes, prices, *(f"SELECT * FROM {name}" for name in ("trace", "tally"))]
        tables += ["SELECT * FROM total", "SELECT day, version > 1 FROM partition"]
        return [sorted(map(repr, self.query(table))) for table in tables]


@pytest.mark.long
def test_kill_9_at_any_statement_leaves_batches_whole_and_a_second_run_does_the_rest(
    world: Any, at: Any, tmp_path: Path
) -> None:
    upgrade(world, OLD)
    for n, day in enumerate(DAYS):
        world.append("a.jsonl", at(day, n), at(day + 1, n + 10, cost_usd=0.001))
        world.append("a.jsonl", at(day + 2, n + 20), at(day + 2, n + 30))
    world.step()
    folder = tmp_path / "killed"
    folder.mkdir()
    pristine = tmp_path / "pristine.db"
    world.store.db.execute("VACUUM INTO ?", (str(pristine),))
    command = [sys.executable, "-c", KILLER, str(pristine), str(folder)]
    subprocess.run(command, check=True, timeout=100, cwd=Path(__file__).parents[2])
    *killed, whole = (Killed(folder / f"{n + 1}.db") for n in range(len(list(folder.glob("*.db")))))
    assert len(killed) > 50
    assert whole.batches_done() == 6
    expected = whole.outcome()
    done = []
    for one in killed:
        apsw.Connection(str(one.ledger)).pragma("integrity_check")  # recovers what was left
        one.check()
        done.append(one.batches_done())
        one.run_again()
        one.check()
        assert one.outcome() == expected
        assert one.run_again().changes == {}
    assert done == sorted(done)  # the later it was killed, the more was done
    assert set(done) == set(range(6))
