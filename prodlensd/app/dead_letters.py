"""The dead letters of a configuration's ledger: one found, some read again, some accepted."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Final

from prodlensd.app.books import Books
from prodlensd.app.ledger import reading, writing
from prodlensd.app.owner import owner_of
from prodlensd.config import Config
from prodlensd.jobs import retrying
from prodlensd.jobs.retrying import Retried
from prodlensd.ledger import (
    BEFORE,
    LETTER_STATES,
    Accepted,
    Ledger,
    Letters,
    Partitions,
    Prices,
    Reader,
    Redeemed,
    Refused,
    Turns,
)
from prodlensd.model import DIGEST_BYTES, OperationalError
from prodlensd.moments import now_us
from prodlensd.pricing import Pricer

__all__ = ["LETTER_STATES", "Accepted", "Refused", "Retried", "accept", "find", "free", "retry"]

_ID_DIGITS: Final = 2 * DIGEST_BYTES
_PAGES_AT_ONCE: Final = 128


def find(reader: Reader, id_: str) -> Refused:
    """The one dead letter whose id begins so. Raises OperationalError unless there is just one."""
    if not re.fullmatch(rf"[0-9A-Fa-f]{{1,{_ID_DIGITS}}}", id_):
        raise OperationalError(f"{id_!a} is not an id: ids are hexadecimal, as `list` shows them")
    first, last = (bytes.fromhex(id_.ljust(_ID_DIGITS, digit)) for digit in "0f")
    found = reader.letters.between(first, last)
    if not found:
        raise OperationalError(f"no dead letter has an id that begins with {id_}")
    if len(found) > 1:
        raise OperationalError(
            f"more than one dead letter has an id that begins with {id_}: give more digits of it"
        )
    return found[0]


def retry(config: Config, reason: str | None, *, dry_run: bool) -> Iterator[Retried]:
    """Reads dead letters again; what becomes of them, batch by batch.

    Raises LedgerError or OSError; the batches before that are done.
    """
    with ExitStack() as stack:
        pricer = Pricer()
        redeem: Callable[[list[retrying.Read]], Redeemed] = _move_nothing
        if not dry_run:
            ledger = stack.enter_context(writing(config))
            books = stack.enter_context(Books(config.pricing, Prices(ledger, now_us)))
            pricer, redeem = books.pricer, partial(_move, ledger)
        reader = stack.enter_context(reading(config))
        yield from retrying.retry(
            reader.letters.with_bytes(reason),
            pricer=pricer,
            redeem=redeem,
            max_line_bytes=config.logs.max_line_bytes,
            owner=owner_of(config),
        )


def _move(ledger: Ledger, letters: list[retrying.Read]) -> Redeemed:
    return ledger.redeem(letters, now_us())


def _move_nothing(letters: list[retrying.Read]) -> Redeemed:
    return Redeemed([key for key, _ in letters], 0)


def accept(
    config: Config, state: str, ids: Iterable[str], reason: str | None, *, dry_run: bool
) -> Iterator[Accepted]:
    """Moves dead letters to `state`, dismissed or purged; what was moved, batch by batch.

    Those with these ids, or without ids all of this reason, or without a reason all. Raises
    OperationalError; the batches before that are done.
    """
    with ExitStack() as stack:
        write = partial(_count, state)
        if not dry_run:
            write = partial(_write, Letters(stack.enter_context(writing(config))), state)
        reader = stack.enter_context(reading(config))
        by_key = {letter.key: letter for letter in (find(reader, id_) for id_ in ids)}
        letters: Iterable[Refused] = by_key.values()
        if not by_key:
            letters = reader.letters.in_pages(reason, BEFORE[state], retrying.BATCH_MAX_LINES)
        yield from retrying.accept(letters, write, _turns().give)


def free(config: Config) -> bool:
    """Gives free pages back to the system, and empties the write-ahead log of what was in them.

    False when another program uses the ledger, so that the log stays. Raises LedgerError.
    """
    turns = _turns()
    with writing(config) as ledger:
        partitions = Partitions(ledger)
        while partitions.give_back(_PAGES_AT_ONCE):
            turns.give()
        return Letters(ledger).empty_log()


def _turns() -> Turns:
    return Turns(time.monotonic, threading.Event().wait)


def _write(letters: Letters, state: str, batch: list[Refused]) -> Accepted:
    return letters.accept(state, (letter.key for letter in batch))


def _count(state: str, batch: list[Refused]) -> Accepted:
    due = [letter for letter in batch if letter.state in BEFORE[state]]
    reasons = Counter(letter.reason for letter in due)
    return Accepted(reasons, sum(letter.kept_bytes for letter in due))
