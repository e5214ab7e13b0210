"""Looks for the bytes of open gaps in what is read: a copy, or a compressed one, may hold them.

Each gap is searched for once in each source, as soon as the source is read past its bytes, and a
little at a time: a compressed source has to be inflated up to them.

The mutable state: the gaps, and which of them are still to be searched for in which source.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from prodlensd.logs.tailer import Tailer
from prodlensd.model import Checkpoint, Gap


class GapSearch:
    """The search for one ledger's gaps among the sources that `tailer` follows."""

    def __init__(self, tailer: Tailer, clock: Callable[[], float] = time.monotonic) -> None:
        self._tailer = tailer
        self._clock = clock
        self._gaps: dict[int, Gap] = {}
        self._to_search: deque[tuple[int, int]] = deque()  # gap and source
        self._going: tuple[Gap, Iterator[bool | None]] | None = None

    def watch(self, gaps: Iterable[Gap]) -> None:
        """Looks for these gaps, which are all that are open, from now on."""
        known = self._gaps
        self._gaps = {gap.gap_id: gap for gap in gaps}
        for gap in self._gaps.values():
            if gap.gap_id not in known:
                self._to_search += ((gap.gap_id, source) for source in self._tailer.past(gap))

    def read_on(self, before: Checkpoint, after: Checkpoint) -> None:
        """Notes that a source was read from one place to another."""
        for gap in self._gaps.values():
            if before.offset < gap.end <= after.offset:
                self._to_search.append((gap.gap_id, after.source_id))

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to be done before something is read."""
        return not self._to_search and self._going is None

    def work(self, for_s: float) -> Iterator[Gap]:
        """Searches for about this long; yields the gaps whose bytes were found."""
        deadline_s = self._clock() + for_s
        while not self.is_over:
            if (gap := self._search_on()) is not None:
                del self._gaps[gap.gap_id]
                yield gap
            if self._clock() > deadline_s:
                return

    def _search_on(self) -> Gap | None:
        """Takes one step; the gap that it found."""
        if self._going is None:
            gap_id, source_id = self._to_search.popleft()
            gap = self._gaps.get(gap_id)
            if gap is not None:
                self._going = gap, self._tailer.search(source_id, gap)
            return None
        gap, steps = self._going
        outcome = next(steps, False)
        if outcome is None:
            return None
        self._going = None
        return gap if outcome else None
