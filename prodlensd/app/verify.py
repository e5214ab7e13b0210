"""The proof of a configuration's ledger: from its logs, and from its snapshots."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from prodlensd.answers import verify as answers
from prodlensd.answers.verify import Verdict
from prodlensd.app.following import follow
from prodlensd.app.ledger import snapshot_path, writing
from prodlensd.config import Config


def verify(config: Config, progress: Callable[[int, int], None]) -> Verdict:
    """Reads the logs again and compares; `progress` gets bytes done and in all. Raises LedgerError.

    Nothing is on its way: what a log ends with is taken as it stands.
    """
    return answers.verify(
        config.store.path,
        follow=partial(follow, config, zeros_wait_ns=0),
        snapshot_path=partial(snapshot_path, config) if config.parquet.enabled else None,
        progress=progress,
    )


def acknowledge_gaps(config: Config) -> int:
    """Accepts the open gaps as lost; how many there were. Raises LedgerError."""
    with writing(config) as ledger:
        return ledger.sources.acknowledge_gaps()
