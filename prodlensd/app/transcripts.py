"""What coding agents have written on this machine that a configuration does not have read."""

from __future__ import annotations

import os

from prodlensd.answers.doctor import offers
from prodlensd.config import Config
from prodlensd.model import Folder
from prodlensd.transcripts import folders


def unread(config: Config) -> list[Folder]:
    """Where agents write that the configuration says nothing of, as far as it is there."""
    wanted = config.transcripts
    usual = folders(os.environ, claude_code=not wanted.claude_code, codex=not wanted.codex)
    return [folder for folder in usual if os.path.lexists(folder.path)]


def offered(config: Config) -> list[tuple[str, str]]:
    """For each agent that has written and is not read: what lies there, and the key to set."""
    return offers(unread(config))
