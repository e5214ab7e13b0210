"""What becomes of dead letters later: they are read again, or accepted as they are.

They are read with the formats, the prices and the limit of today. Both can be killed at any moment
and run again: a batch is moved or accepted whole or not at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from prodlensd.ledger import Accepted, Redeemed, Refused
from prodlensd.logs import bytes_at, proof_of_line
from prodlensd.model import Checkpoint, Outcome, digest_of
from prodlensd.pipeline import NOBODY, Owner, read_again, read_transcript_again
from prodlensd.pricing import Pricer

BATCH_MAX_LINES: Final = 1000
#: The bytes of the letters of a batch: accepting writes about as many, in some milliseconds.
BATCH_MAX_BYTES: Final = 2 << 20

#: A dead letter's key, and what its records now are.
Read = tuple[bytes, list[Outcome]]


class Retried(NamedTuple):
    """How many dead letters of each reason moved and stayed.

    Of what they now are, `duplicates` are calls that the ledger has already: the letter goes, and
    no call is added. `refused` are records of a line of many that still cannot be read.
    """

    moved: Counter[str]
    duplicates: int
    stayed: Counter[str]
    refused: int = 0


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
    owner: Owner = NOBODY,
) -> Iterator[Retried]:
    """Reads the letters again; yields what became of them, batch by batch.

    Those that now can be read are moved by `redeem`. Raises LedgerError, or OSError when a price
    cannot be asked; what was yielded before is done.
    """
    moving: list[Read] = []
    records = 0
    reason_of: dict[bytes, str] = {}
    stayed: Counter[str] = Counter()

    def move() -> Retried:
        done = redeem(moving) if moving else Redeemed([], 0)
        moved = Counter(reason_of[key] for key in done.keys)
        return Retried(moved, done.duplicates, stayed, done.refused)

    for letter, raw in letters:
        outcomes = _read_again(letter, raw, max_line_bytes, pricer, owner)
        if not outcomes:
            stayed[letter.reason] += 1
            continue
        moving.append((letter.key, outcomes))
        reason_of[letter.key] = letter.reason
        records += sum(outcome.records for outcome in outcomes)
        if records >= BATCH_MAX_LINES:
            yield move()
            moving, records, reason_of, stayed = [], 0, {}, Counter()
    yield move()


def _read_again(
    letter: Refused, kept: bytes, max_line_bytes: int, pricer: Pricer, owner: Owner
) -> list[Outcome]:
    """What it is now; nothing when it is still refused, or over the limit, or not all there."""
    raw = _bytes_of(letter, kept) if letter.length <= max_line_bytes else kept
    if letter.length > min(len(raw), max_line_bytes):
        return []
    place = (letter.source_id, letter.path, 0, 0, letter.source_offset)
    start = Checkpoint(*place, format=letter.format)
    if letter.is_of_transcript:
        return list(read_transcript_again(raw, start, pricer, owner))
    return list(read_again(raw, letter.key, start, pricer))


def _bytes_of(letter: Refused, kept: bytes) -> bytes:
    """The letter's bytes: those of a transcript are read in the file, while they stand there."""
    if not letter.is_of_transcript:
        return kept
    found = bytes_at(letter.path, letter.source_offset, letter.length)
    # A line over the limit was not held: its key is a digest that was made while it was read.
    return found if letter.key in (digest_of(found), proof_of_line(found)) else b""
