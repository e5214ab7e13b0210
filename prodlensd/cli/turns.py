"""How a command that writes much leaves room for others who write."""

from __future__ import annotations

import threading
import time
from typing import Final

#: Others wait for our transactions no longer than this in a row.
_LONGEST_PAUSE_S: Final = 0.1


class Turns:
    """Leaves others as much time between transactions as these took. The state: since when."""

    def __init__(self) -> None:
        self._since_s = time.monotonic()

    def give(self) -> None:
        """To be called after each transaction."""
        took_s = time.monotonic() - self._since_s
        threading.Event().wait(min(took_s, _LONGEST_PAUSE_S))
        self._since_s = time.monotonic()
