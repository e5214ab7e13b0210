"""`prodlensd publish`."""

from prodlensd.app.publication import command

__all__ = ["command"]
