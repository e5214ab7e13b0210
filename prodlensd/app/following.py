"""The logs of a configuration, and how they are followed. `status` loads this: it stays light."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from prodlensd.config import Config
from prodlensd.logs import ZEROS_WAIT_NS, Tailer
from prodlensd.model import Checkpoint, Folder
from prodlensd.process import import_lock_path, lock_path


def own_files(config: Config) -> list[Path]:
    """The program's own files and folders, which are no logs wherever they are."""
    ledger = config.store.path
    beside = [ledger.with_name(f"{ledger.name}{suffix}") for suffix in ("", "-wal", "-shm", ".new")]
    return [*beside, lock_path(ledger), import_lock_path(ledger), config.parquet.directory]


def transcript_folders(config: Config) -> list[Folder]:
    """The folders of transcripts that are to be read."""
    wanted = config.transcripts
    if not (wanted.claude_code or wanted.codex):
        return []
    from prodlensd.transcripts import folders  # noqa: PLC0415

    return folders(os.environ, claude_code=wanted.claude_code, codex=wanted.codex)


def follow(
    config: Config,
    checkpoints: Iterable[Checkpoint] = (),
    *,
    zeros_wait_ns: int = ZEROS_WAIT_NS,
) -> Tailer:
    """A tailer of the configuration's logs and transcripts that begins at these checkpoints."""
    return Tailer(
        config.logs.directories,
        include=config.logs.include,
        recursive=config.logs.recursive,
        max_line_bytes=config.logs.max_line_bytes,
        own=own_files(config),
        transcripts=transcript_folders(config),
        zeros_wait_ns=zeros_wait_ns,
        checkpoints=checkpoints,
    )
