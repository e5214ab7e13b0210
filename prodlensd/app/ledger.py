"""The ledger of a configuration, opened to read, or to write beside a running daemon; its days."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prodlensd.config import Config
from prodlensd.ledger import Ledger, Partition, Reader, check_is_there


def reading(config: Config) -> Reader:
    """A reader. Raises LedgerError where there is no ledger yet."""
    return Reader(config.store.path)


@contextmanager
def writing(config: Config, *, durability: str | None = None) -> Iterator[tuple[Ledger, Reader]]:
    """The ledger, and a reader beside it. Raises LedgerError where there is none yet.

    `durability` is that of the configuration, unless another one is given.
    """
    path = config.store.path
    check_is_there(path)
    with (
        Ledger(path, durability=durability or config.store.durability) as ledger,
        Reader(path) as reader,
    ):
        yield ledger, reader


def snapshot_path(config: Config, day: Partition) -> Path:
    """Where the snapshot of a day is, or will be."""
    return day.place(config.parquet.directory)
