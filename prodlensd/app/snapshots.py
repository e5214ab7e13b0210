"""The snapshots of a configuration, for commands that may never need them: pyarrow loads late."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from prodlensd.config import Config
from prodlensd.ledger import Partition


def snapshot_path(config: Config, partition: Partition) -> Path:
    """Where the snapshot of a day is."""
    return partition.place(config.parquet.directory)


def read_snapshot(
    config: Config, partition: Partition, columns: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    """These of the ledger's columns, of each row of a snapshot. Raises OSError or ValueError."""
    from prodlensd import snapshots  # noqa: PLC0415

    return snapshots.ledger_rows(snapshot_path(config, partition), columns)
