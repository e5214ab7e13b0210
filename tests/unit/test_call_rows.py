"""What calls have in common is kept once, is there for each of them, and goes with the last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from prodlensd.ledger import Ledger
from prodlensd.ledger.call_rows import ERA_US
from prodlensd.ledger.rows import COLUMNS, Row


def row(started_us: int = 0, **said: Any) -> Row:
    known = {"key": b"%d" % started_us, "status": "success", "cache_hit": False}
    known |= {"cost_source": "gateway", "source_id": 1, "source_offset": started_us}
    return tuple(map((known | {"started_us": started_us} | said).get, COLUMNS))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.db") as opened:
        yield opened


def insert(ledger: Ledger, *rows: Row) -> None:
    with ledger.transaction():
        ledger.rows.insert(list(rows))


def eras(ledger: Ledger) -> list[int]:
    return [era for (era,) in ledger.all("SELECT era FROM common ORDER BY common_id")]


def models(ledger: Ledger) -> list[tuple[int, str]]:
    return list(ledger.all("SELECT started_us, model FROM trace ORDER BY started_us"))


def test_calls_that_differ_in_their_own_facts_only_share_a_row(ledger: Ledger) -> None:
    insert(ledger, row(1, model="m", tokens_in=1), row(2, model="m", tokens_in=2))
    insert(ledger, row(3, model="m", session_id="s"))
    assert eras(ledger) == [0]
    insert(ledger, row(4, model="m", tags="[]"))
    assert eras(ledger) == [0, 0]


def test_a_row_is_found_again_by_another_process_and_after_many_others(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prodlensd.ledger.call_rows._MOST_REMEMBERED", 2)
    insert(ledger, *(row(n, model=f"m{n}") for n in range(5)))
    insert(ledger, *(row(10 + n, model=f"m{n}") for n in range(5)))
    with Ledger(ledger.path) as other:
        insert(other, *(row(20 + n, model=f"m{n}") for n in range(5)))
    assert eras(ledger) == [0] * 5
    assert [model for _, model in models(ledger)] == [f"m{n}" for n in range(5)] * 3


def test_a_flag_from_a_line_and_the_same_from_the_ledger_are_one_value(ledger: Ledger) -> None:
    insert(ledger, row(1, cache_hit=True, status_code=200))
    with ledger.transaction():
        read = ledger.rows.get((1, b"1"))
        assert read is not None
        ledger.rows.delete(read)
    with Ledger(ledger.path) as other:
        insert(other, read)
    assert eras(ledger) == [0]


def test_an_era_is_of_thirty_days_also_before_1970(ledger: Ledger) -> None:
    insert(ledger, row(-1), row(0), row(ERA_US - 1), row(ERA_US))
    assert eras(ledger) == [-1, 0, 1]


def test_what_a_failed_transaction_wrote_is_not_remembered(ledger: Ledger) -> None:
    with suppress(ZeroDivisionError), ledger.transaction():
        ledger.rows.insert([row(1, model="m")])
        raise ZeroDivisionError
    insert(ledger, row(2, model="m"))
    assert models(ledger) == [(2, "m")]


def test_what_a_refused_batch_has_in_common_is_there_for_the_calls_one_by_one(
    ledger: Ledger,
) -> None:
    insert(ledger, row(1, model="m"))
    with ledger.transaction():
        with pytest.raises(Exception, match="UNIQUE"):
            ledger.rows.insert([row(2, model="n"), row(1, model="o")])
        assert ledger.rows.insert_new(row(2, model="n"))
        assert not ledger.rows.insert_new(row(1, model="o"))
    assert models(ledger) == [(1, "m"), (2, "n")]


def test_of_two_records_of_a_call_that_know_as_much_the_first_stays(ledger: Ledger) -> None:
    changes = []
    for said in ({"model": "m"}, {"model": "n"}, {"model": "o", "tags": "[]"}):
        with ledger.transaction():
            changes.append(ledger._insert([row(1, **said)]))
    assert [len(changed) for changed, _ in changes] == [1, 0, 1]
    assert models(ledger) == [(1, "o")]


def test_the_rows_of_an_era_go_with_its_last_call_a_few_at_once(ledger: Ledger) -> None:
    calls = [row(n, model=f"m{n}") for n in range(3)]
    insert(ledger, *calls, row(ERA_US, model="later"))

    def drop() -> int:
        with ledger.transaction():
            return ledger.rows.drop_common(2)

    assert drop() == 0
    with ledger.transaction():
        for call in calls:
            ledger.rows.delete(call)
    assert (drop(), drop(), drop()) == (2, 1, 0)
    assert eras(ledger) == [1]


def test_without_any_call_nothing_is_left(ledger: Ledger) -> None:
    insert(ledger, row(ERA_US))
    with ledger.transaction():
        ledger.rows.delete(row(ERA_US))
        assert ledger.rows.drop_common(9) == 1
    assert eras(ledger) == []


@pytest.mark.parametrize("is_same_program", [True, False])
def test_a_late_call_of_an_era_that_was_dropped_is_whole(
    ledger: Ledger, *, is_same_program: bool
) -> None:
    insert(ledger, row(1, model="m"))
    other = ledger if is_same_program else Ledger(ledger.path)
    if not is_same_program:
        other.__enter__()
    with other.transaction():
        other.rows.delete(row(1))
        assert other.rows.drop_common(9) == 1
    if not is_same_program:
        other.__exit__()
    insert(ledger, row(2, model="m"))
    assert models(ledger) == [(2, "m")]
