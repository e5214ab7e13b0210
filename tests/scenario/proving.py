"""What `verify` says of a world, between its steps."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from prodlensd import formats
from prodlensd.model import Checkpoint, Price, Trace
from prodlensd.pipeline import build
from prodlensd.tailer import Tailer
from prodlensd.verify import verify


def verdict(world: Any) -> tuple[str, list[str]]:
    """Whether the ledger is "complete", has "gaps" or "differs"; and what differs."""

    def follow(checkpoints: Iterable[Checkpoint]) -> Tailer:
        return Tailer(
            [world.logs],
            include=["*.jsonl", "*.jsonl.*"],
            recursive=False,
            max_line_bytes=world.max_line_bytes,
            checkpoints=checkpoints,
        )

    def unpriced(_trace: Trace) -> Price:
        return Price(None, "unpriced")

    found = verify(
        world.ledger,
        follow=follow,
        build=partial(build, parse=formats.parse, price=unpriced),
        snapshot_path=None,
    )
    return found.state, [str(difference) for difference in found.differences]


PROVEN: tuple[str, list[str]] = ("complete", [])
