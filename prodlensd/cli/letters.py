"""What the commands for dead letters share."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

from prodlensd.cli import fail
from prodlensd.config import Config
from prodlensd.ledger import LedgerError, LedgerLockedError, Reader, Refused
from prodlensd.model import DIGEST_BYTES, REASONS
from prodlensd.pricing import BookUnavailableError

_ID_DIGITS: Final = 2 * DIGEST_BYTES

reason_option: Final = click.option(
    "--reason", type=click.Choice(REASONS), help="Only the lines refused for this reason."
)


@contextmanager
def open_reader(config: Config) -> Iterator[Reader]:
    """The ledger, read-only; what is wrong with it ends the command."""
    with told_errors(), Reader(config.store.path) as reader:
        yield reader


@contextmanager
def told_errors() -> Iterator[None]:
    """Ends the command with what is wrong with the ledger or the price book."""
    try:
        yield
    except LedgerLockedError as error:
        raise fail(str(error), os.EX_TEMPFAIL) from error
    except (LedgerError, BookUnavailableError) as error:
        raise fail(str(error)) from error


def find(reader: Reader, id_: str) -> Refused:
    """The one dead letter whose id begins so."""
    if not re.fullmatch(rf"[0-9A-Fa-f]{{1,{_ID_DIGITS}}}", id_):
        raise fail(f"{id_!a} is no id: those are hexadecimal digits, as `list` shows them")
    first, last = (bytes.fromhex(id_.ljust(_ID_DIGITS, digit)) for digit in "0f")
    found = reader.letters.between(first, last)
    if not found:
        raise fail(f"no dead letter has an id that begins with {id_}")
    if len(found) > 1:
        raise fail(f"more than one dead letter has an id that begins with {id_}: give more of it")
    return found[0]
