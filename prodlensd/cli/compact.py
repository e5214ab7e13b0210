"""`prodlensd compact`."""

from prodlensd.app.compaction import command

__all__ = ["command"]
