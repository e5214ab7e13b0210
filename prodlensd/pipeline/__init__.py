"""Chunk → Outcomes: what becomes of each line. Pure, but for what it asks of prices and folders."""

from __future__ import annotations

from collections.abc import Iterator

from prodlensd.model import Chunk, Outcome
from prodlensd.pipeline import lines, transcripts
from prodlensd.pipeline.lines import read_again, read_line, row
from prodlensd.pipeline.transcripts import NOBODY, Owner, read_transcript_again
from prodlensd.pricing import Pricer


def build(chunk: Chunk, pricer: Pricer, owner: Owner = NOBODY) -> Iterator[Outcome]:
    """The outcome of every line of the chunk: the last one has the checkpoint after them.

    More than one there is only where a line holds many records. `owner` is whose transcripts these
    are. Raises OSError when a price book cannot be asked just now.
    """
    if chunk.start.is_transcript:
        return transcripts.build(chunk, pricer, owner)
    return lines.build(chunk, pricer)


__all__ = ["NOBODY", "Owner", "build", "read_again", "read_line", "read_transcript_again", "row"]
