"""Sums of what a log may say are exact, whatever it says."""

from __future__ import annotations

from typing import Any

import apsw
from hypothesis import example, given
from hypothesis import strategies as st

from prodlensd.ledger.sums import exact_sums, joined
from prodlensd.ledger.views import _sum

INT64_MAX = 2**63 - 1
NUMBERS = st.lists(st.none() | st.integers(0, INT64_MAX) | st.integers(0, 10**15), max_size=20)


def table(numbers: list[int | None]) -> apsw.Connection:
    db = apsw.Connection(":memory:")
    db.execute("CREATE TABLE call (tokens INTEGER) STRICT")
    db.executemany("INSERT INTO call VALUES (?)", ((number,) for number in numbers))
    return db


def expected(numbers: list[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if known else None


@given(NUMBERS)
@example([INT64_MAX] * 3)
@example([None])
def test_sums_that_python_joins_are_those_of_python(numbers: list[int | None]) -> None:
    sql = f"SELECT {exact_sums(['tokens', 'tokens'])} FROM call"
    row: Any = table(numbers).execute(sql).fetchone()
    assert [expected(numbers)] * 2 == list(joined(row))


@given(NUMBERS)
@example([2**53, 1])
@example([INT64_MAX - 5, 5])
@example([INT64_MAX, 1])
@example([10**12 - 1] * 9301)
def test_sums_of_the_views_are_exact_in_64_bits_and_a_real_beyond(
    numbers: list[int | None],
) -> None:
    found = table(numbers).execute(f"SELECT {_sum('tokens')} FROM call").get
    exactly = expected(numbers)
    if exactly is None or exactly <= INT64_MAX:
        assert (exactly, type(exactly)) == (found, type(found))
    else:
        assert type(found) is float
        assert abs(found - exactly) <= exactly * 2**-50
