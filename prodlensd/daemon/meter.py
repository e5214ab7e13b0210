"""Adds up what the daemon measures of itself."""

from __future__ import annotations

from collections import deque
from typing import Final

from prodlensd.ledger import Measures

_RATE_S: Final = 60.0


class Meter:
    """Adds up the measures of one run. The mutable state: they, and the last minute's lines."""

    def __init__(self) -> None:
        self._measures = Measures()
        self._recent: deque[tuple[float, int]] = deque()  # when, and how many lines by then

    def committed(self, lines: int, batch_s: float, commit_s: float) -> None:
        """Notes one batch."""
        self._measures.lines += lines
        self._measures.batches += 1
        self._measures.batch_seconds.observe(batch_s)
        self._measures.commit_seconds.observe(commit_s)

    def visible_after(self, delay_s: float) -> None:
        """Notes how long an append took to be seen in the ledger."""
        self._measures.delay_seconds.observe(max(0.0, delay_s))

    def read(self, now_s: float) -> Measures:
        """The measures so far; `now_s` is of a clock that never jumps. To be asked regularly."""
        recent, lines = self._recent, self._measures.lines
        recent.append((now_s, lines))
        while len(recent) > 2 and recent[1][0] <= now_s - _RATE_S:  # noqa: PLR2004
            recent.popleft()
        since_s, before = recent[0]
        elapsed_s = now_s - since_s
        self._measures.lines_per_s = (lines - before) / elapsed_s if elapsed_s > 0 else 0.0
        return self._measures
