"""The status line: what was spent in the session that we are handed, and today."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from prodlensd.answers.statusline import line
from prodlensd.app.ledger import reading_spent
from prodlensd.app.zone import local_clock
from prodlensd.config import ledger_path
from prodlensd.moments import now_us


def said(handed: bytes, config_path: Path | None) -> str:
    """The line and its end, or nothing; `handed` is what Claude Code writes on stdin.

    Raises ConfigError and LedgerError.
    """
    with reading_spent(ledger_path(config_path)) as spent:
        text = line(spent, _session(handed), now_us(), local_clock())
    return f"{text}\n" if text else ""


def _session(handed: bytes) -> str | None:
    """The session that a JSON object names."""
    with suppress(ValueError, RecursionError):
        found = json.loads(handed)
        session = found.get("session_id") if isinstance(found, dict) else None
        return session if isinstance(session, str) else None
    return None
