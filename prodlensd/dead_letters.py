"""Reads refused lines once more, with the formats, the prices and the limit of today.

Who retries may be killed at any moment and run again: a batch is moved whole or not at all, and
what was moved is no dead letter any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from prodlensd.model import BadLine, Price, Trace
from prodlensd.pipeline import BOM, row
from prodlensd.store import Reader, Redeemed, Refused

BATCH_MAX_LINES: Final = 1000

#: A dead letter's key, and the row that it now is.
Read = tuple[bytes, tuple[Any, ...]]


class Retried(NamedTuple):
    """What became of some dead letters, by reason; of the moved, `duplicates` were known calls."""

    moved: Counter[str]
    duplicates: int
    stayed: Counter[str]


def retry(
    reader: Reader,
    *,
    reason: str | None,
    parse: Callable[[bytes], Trace],
    price: Callable[[Trace], Price],
    redeem: Callable[[list[Read]], Redeemed],
    max_line_bytes: int,
) -> Iterator[Retried]:
    """Hands those that now are traces to `redeem`, a batch at a time, and says what became of each.

    Raises StoreError, or OSError when a price cannot be asked; batches told of are done.
    """
    moving: list[Read] = []
    reason_of: dict[bytes, str] = {}
    stayed: Counter[str] = Counter()

    def move() -> Retried:
        done = redeem(moving) if moving else Redeemed([], 0)
        return Retried(Counter(reason_of[key] for key in done.keys), done.duplicates, stayed)

    for letter, raw in reader.refused_lines(reason):
        trace = _read_again(letter, raw, parse, max_line_bytes)
        if trace is None:
            stayed[letter.reason] += 1
            continue
        place = (letter.source_id, letter.source_offset)
        moving.append((letter.key, row(trace, letter.key, price(trace), *place)))
        reason_of[letter.key] = letter.reason
        if len(moving) == BATCH_MAX_LINES:
            yield move()
            moving, reason_of, stayed = [], {}, Counter()
    yield move()


def _read_again(
    letter: Refused, raw: bytes, parse: Callable[[bytes], Trace], max_line_bytes: int
) -> Trace | None:
    """The trace, or None for what still is none, or is over the limit, or is not all there."""
    if letter.length > min(len(raw), max_line_bytes):
        return None
    try:
        return parse(raw.removeprefix(BOM) if letter.source_offset == 0 else raw)
    except BadLine:
        return None
