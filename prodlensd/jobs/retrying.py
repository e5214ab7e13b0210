"""What becomes of dead letters later: they are read again, or accepted as they are.

They are read with the formats, the prices and the limit of today. Both can be killed at any moment
and run again: a batch is moved or accepted whole or not at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from prodlensd.ledger import Accepted, Redeemed, Refused
from prodlensd.model import Trace
from prodlensd.pipeline import read_line, row
from prodlensd.pricing import Pricer

BATCH_MAX_LINES: Final = 1000
#: The bytes of the letters of a batch: accepting writes about as many, in some milliseconds.
BATCH_MAX_BYTES: Final = 2 << 20

#: A dead letter's key, and the row that it now is.
Read = tuple[bytes, tuple[Any, ...]]


class Retried(NamedTuple):
    """How many dead letters of each reason moved and stayed; `duplicates` of the moved were known.

    A duplicate's call is in the ledger already: the letter goes, and no call is added.
    """

    moved: Counter[str]
    duplicates: int
    stayed: Counter[str]


def accept(
    letters: Iterable[Refused],
    write: Callable[[list[Refused]], Accepted],
    pause: Callable[[], None],
) -> Iterator[Accepted]:
    """Accepts the letters with `write`, a batch at a time; yields what was accepted of each.

    `pause` is called after each batch, so that other programs can write. A batch that was yielded
    is done.
    """
    batch: list[Refused] = []
    kept_bytes = 0
    for letter in letters:
        full = len(batch) == BATCH_MAX_LINES or kept_bytes + letter.kept_bytes > BATCH_MAX_BYTES
        if batch and full:
            yield write(batch)
            pause()
            batch, kept_bytes = [], 0
        batch.append(letter)
        kept_bytes += letter.kept_bytes
    if batch:
        yield write(batch)
        pause()


def retry(
    letters: Iterable[tuple[Refused, bytes]],
    *,
    pricer: Pricer,
    redeem: Callable[[list[Read]], Redeemed],
    max_line_bytes: int,
) -> Iterator[Retried]:
    """Reads the letters again; yields what became of them, batch by batch.

    Those that now are traces are moved by `redeem`. Raises LedgerError, or OSError when a price
    cannot be asked; what was yielded before is done.
    """
    moving: list[Read] = []
    reason_of: dict[bytes, str] = {}
    stayed: Counter[str] = Counter()

    def move() -> Retried:
        done = redeem(moving) if moving else Redeemed([], 0)
        return Retried(Counter(reason_of[key] for key in done.keys), done.duplicates, stayed)

    for letter, raw in letters:
        trace = _read_again(letter, raw, max_line_bytes)
        if trace is None:
            stayed[letter.reason] += 1
            continue
        place = (letter.source_id, letter.source_offset)
        moving.append((letter.key, row(trace, letter.key, pricer.price(trace), *place)))
        reason_of[letter.key] = letter.reason
        if len(moving) == BATCH_MAX_LINES:
            yield move()
            moving, reason_of, stayed = [], {}, Counter()
    yield move()


def _read_again(letter: Refused, raw: bytes, max_line_bytes: int) -> Trace | None:
    """The trace; None when the line still is not one, or is over the limit, or is not all kept."""
    if letter.length > min(len(raw), max_line_bytes):
        return None
    found = read_line(raw, is_first=letter.source_offset == 0)
    return found if isinstance(found, Trace) else None
