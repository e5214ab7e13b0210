"""The names that a shell offers to complete: quickly, and in silence where there are none."""

from __future__ import annotations

import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from prodlensd.app.ledger import reading
from prodlensd.config import load
from prodlensd.model import OperationalError

#: Among so many of the newest calls.
_AMONG: Final = 20_000
#: What a shell takes as it stands. The names come from logs: no other is put into a command line.
_HARMLESS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:/+-]*")


def recent_names(config_path: Path | None, column: str) -> list[str]:
    """The names in this column of the calls of late; none without a ledger."""
    with suppress(OperationalError, OSError), reading(load(config_path)) as reader:
        names = reader.calls.recent_names(column, among=_AMONG)
        return [name for name in names if _HARMLESS.fullmatch(name)]
    return []


def listed_models() -> Collection[str]:
    """The models that the price list has."""
    from prodlensd.pricing import known_models  # noqa: PLC0415 - few commands need it

    with suppress(OSError, ValueError):
        return known_models("")
    return ()
