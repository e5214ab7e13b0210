"""`prodlensd run`."""

from prodlensd.app.daemon import command

__all__ = ["command"]
