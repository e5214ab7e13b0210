"""What `verify` says of a world, between its steps."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from prodlensd.answers.verify import Verdict, verify
from prodlensd.config import Logs
from prodlensd.ledger.days import Partition
from prodlensd.logs.tailer import Tailer
from prodlensd.model import Checkpoint

PROVEN: tuple[str, list[str]] = ("complete", [])


def follow(world: Any, checkpoints: Iterable[Checkpoint]) -> Tailer:
    """A tailer on the world's logs that begins there."""
    return Tailer(
        [world.logs],
        include=Logs(directories=()).include,
        recursive=False,
        max_line_bytes=world.max_line_bytes,
        zeros_wait_ns=0,
        checkpoints=checkpoints,
    )


def proof(world: Any, parquet: Path | None = None, **more: Any) -> Verdict:
    """All that verify has to say, of the snapshots in this folder too."""

    def snapshot_path(partition: Partition) -> Path:
        assert parquet is not None
        return partition.place(parquet)

    return verify(
        world.ledger,
        follow=partial(follow, world),
        snapshot_path=snapshot_path if parquet else None,
        **more,
    )


def verdict(world: Any) -> tuple[str, list[str]]:
    """Whether the ledger is "complete", has "gaps" or is "broken"; and what differs."""
    found = proof(world)
    return found.state, [str(difference) for difference in found.differences]
