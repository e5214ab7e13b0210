"""Sums that may not fit SQLite's 64 bits: a log may hold any number, and no line may end an answer.

SQLite's `sum` raises "integer overflow". Two sums of half the bits each cannot overflow before 2³¹
rows, and Python joins them exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


def exact_sums(columns: Iterable[str]) -> str:
    """SQL for the sums of these columns of whole numbers, 0 or more: two values for each."""
    return ", ".join(f"sum(({of}) >> 32), sum(({of}) & 4294967295)" for of in columns)


def joined(values: Sequence[int | None]) -> Iterator[int | None]:
    """The values of `exact_sums` as one for each column; None for the sum of no value."""
    for high, low in zip(values[::2], values[1::2], strict=True):
        yield None if high is None or low is None else (high << 32) + low
