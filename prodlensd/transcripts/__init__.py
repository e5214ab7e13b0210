"""Transcripts of coding agents: where they lie, and what a folder that they name says of a call."""

from prodlensd.transcripts.agents import folders
from prodlensd.transcripts.checkouts import Checkouts

__all__ = ["Checkouts", "folders"]
