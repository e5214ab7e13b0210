"""The ledger of a configuration, opened to read, or to write beside a running daemon; its days."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from prodlensd import ledger  # whose names are loaded when they are asked for

if TYPE_CHECKING:  # else it is loaded, which the status line is not to wait for
    from prodlensd.config import Config


def reading(config: Config, *, in_one_thread: bool = False) -> ledger.Reader:
    """A reader. Raises LedgerError where there is no ledger yet."""
    return ledger.Reader(config.store.path, in_one_thread=in_one_thread)


@contextmanager
def reading_spent(path: Path) -> Iterator[ledger.SpentReader]:
    """What was spent, at one moment, and nothing else that a reader can be asked.

    Raises LedgerError where there is no ledger yet.
    """
    with ledger.ReadOnly(path) as opened, opened.one_moment():
        yield ledger.SpentReader(opened)


def writing(config: Config, *, durability: str | None = None) -> ledger.Ledger:
    """The ledger, to be opened before any reader: it migrates an older one.

    `durability` is that of the configuration, unless another one is given. Raises LedgerError where
    there is no ledger yet.
    """
    ledger.check_is_there(config.store.path)
    return ledger.Ledger(config.store.path, durability=durability or config.store.durability)


def snapshot_path(config: Config, day: ledger.Partition) -> Path:
    """Where the snapshot of a day is, or will be."""
    return day.place(config.parquet.directory)
