"""Sums that do not fit SQLite's 64 bits: a log may say anything, and no line is to end an answer.

`sum` raises "integer overflow". Two sums of half the bits each cannot overflow before there are 2³¹
rows, and Python puts them together exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


def exact_sums(columns: Iterable[str]) -> str:
    """SQL for the sums of these columns of whole numbers from 0 on: two values each."""
    return ", ".join(f"sum(({of}) >> 32), sum(({of}) & 4294967295)" for of in columns)


def joined(values: Sequence[int | None]) -> Iterator[int | None]:
    """What `exact_sums` gave as one value each; None for the sum of no value."""
    for high, low in zip(values[::2], values[1::2], strict=True):
        yield None if high is None or low is None else (high << 32) + low
