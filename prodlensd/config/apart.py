"""Folders that must lie apart: a file is a log, a transcript of one agent, or ours, never two."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from prodlensd.config.settings import Settings
from prodlensd.transcripts import folders


def overlap(settings: Settings, env: Mapping[str, str]) -> tuple[str, str] | None:
    """The key of a folder of transcripts that lies in another, or around it, and why it may not."""
    wanted = settings.transcripts
    taken = [(key, path, _real(path)) for key, path in _others(settings)]
    for format_, path, *_ in folders(env, claude_code=wanted.claude_code, codex=wanted.codex):
        own, real = f"transcripts.{format_}", _real(path)
        for key, other, real_other in taken:
            if key != own and (real.is_relative_to(real_other) or real_other.is_relative_to(real)):
                return own, f"{path} overlaps with {key}, {other}: expected folders that are apart"
        taken.append((own, path, real))
    return None


def _others(settings: Settings) -> Iterator[tuple[str, Path]]:
    yield from (("logs.directories", folder) for folder in settings.logs.directories)
    yield "parquet.directory", settings.parquet.directory
    yield "store.path", settings.store.path


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
