"""Transcripts of coding agents: where they lie, and what a folder that they name says of a call."""

from prodlensd.transcripts.agents import Folder, folders
from prodlensd.transcripts.checkouts import Checkout, Checkouts

__all__ = ["Checkout", "Checkouts", "Folder", "folders"]
