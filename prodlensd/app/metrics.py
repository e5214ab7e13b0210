"""The metrics of a configuration's ledger: as text, and in a file.

The Prometheus library is loaded only when there are metrics to make.
"""

from __future__ import annotations

from pathlib import Path

from prodlensd.app.budgets import budgets
from prodlensd.config import Config
from prodlensd.durable import replacing
from prodlensd.moments import now_us


def exposition(config: Config) -> bytes:
    """All metrics in Prometheus' text format."""
    from prodlensd.answers import metrics  # noqa: PLC0415 - loads prometheus_client

    return metrics.exposition(
        config.store.path,
        now_us=now_us(),
        stalled_s=config.status.heartbeat_critical_s,
        budgets=budgets(config),
    )


def write_textfile(path: Path, text: bytes) -> None:
    """Writes the file whole or not at all, for all to read: node_exporter is another user.

    Raises OSError. Until it has its name it has one that node_exporter does not read.
    """
    with replacing(path, 0o644) as file:
        file.write(text)
