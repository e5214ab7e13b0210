"""Whose the transcripts are that a configuration has read."""

from __future__ import annotations

import os

from prodlensd.config import Config
from prodlensd.pipeline import Owner
from prodlensd.transcripts import Checkouts


def owner_of(config: Config) -> Owner:
    """The user of this machine, and who pays for the calls."""
    wanted = config.transcripts
    return Owner(
        developer=wanted.developer or None,
        is_on_plan=wanted.billing == "plan",
        checkout_of=Checkouts(os.environ).of,
    )
