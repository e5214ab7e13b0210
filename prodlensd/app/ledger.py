"""The ledger of a configuration, opened to read, or to write beside a running daemon; its days."""

from __future__ import annotations

from pathlib import Path

from prodlensd.config import Config
from prodlensd.ledger import Ledger, Partition, Reader, check_is_there


def reading(config: Config) -> Reader:
    """A reader. Raises LedgerError where there is no ledger yet."""
    return Reader(config.store.path)


def writing(config: Config, *, durability: str | None = None) -> Ledger:
    """The ledger, to be opened before any reader: it migrates an older one.

    `durability` is that of the configuration, unless another one is given. Raises LedgerError where
    there is no ledger yet.
    """
    check_is_there(config.store.path)
    return Ledger(config.store.path, durability=durability or config.store.durability)


def snapshot_path(config: Config, day: Partition) -> Path:
    """Where the snapshot of a day is, or will be."""
    return day.place(config.parquet.directory)
