"""Looks for the bytes of open gaps in what is read: a copy, or a compressed one, may hold them.

Each gap is searched for once in each source, as soon as the source is read past its bytes, and a
little at a time: a compressed source has to be inflated up to them.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from prodlensd.logs.content import Plain, proof_at
from prodlensd.logs.gunzip import Content, Unzipped, is_gzip
from prodlensd.logs.tailer import Tailer
from prodlensd.model import Checkpoint, Gap


class GapSearch:
    """The search for one ledger's gaps among the sources that `tailer` follows.

    The mutable state: the gaps, and which of them are still to be searched for in which source.
    """

    def __init__(self, tailer: Tailer, clock: Callable[[], float] = time.monotonic) -> None:
        self._tailer = tailer
        self._clock = clock
        self._gaps: dict[int, Gap] = {}
        self._to_search: deque[tuple[int, int]] = deque()  # gap and source
        self._going: tuple[Gap, Iterator[bool | None]] | None = None

    def watch(self, gaps: Iterable[Gap]) -> None:
        """Looks for these gaps from now on, and for no others."""
        known = self._gaps
        self._gaps = {gap.gap_id: gap for gap in gaps}
        for gap in self._gaps.values():
            if gap.gap_id not in known:
                past = self._tailer.past(gap.end)
                self._to_search += ((gap.gap_id, source_id) for source_id in past)

    def read_on(self, before: Checkpoint, after: Checkpoint) -> None:
        """Takes in that a source was read from `before` to `after`."""
        for gap in self._gaps.values():
            if before.offset < gap.end <= after.offset:
                self._to_search.append((gap.gap_id, after.source_id))

    @property
    def is_over(self) -> bool:
        """Whether all is searched that has been read so far."""
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
        """Takes one step; the gap whose bytes it found."""
        if self._going is None:
            gap_id, source_id = self._to_search.popleft()
            gap = self._gaps.get(gap_id)
            if gap is not None:
                self._going = gap, self._search(source_id, gap)
            return None
        gap, steps = self._going
        is_found = next(steps, False)
        if is_found is None:
            return None
        self._going = None
        return gap if is_found else None

    def _search(self, source_id: int, gap: Gap) -> Iterator[bool | None]:
        """Whether this source, read past the gap, holds its bytes: the last thing yielded.

        None before it is a pause, for others to go on.
        """
        source = self._tailer.source(source_id)
        if source is None or source.sighting is None or source_id == gap.source_id:
            return
        if not gap.record_bytes:
            # Nothing of it was read that could be compared: what was compressed bears its name.
            yield source_id > gap.source_id and source.sighting.path == f"{gap.path}.gz"
            return
        with suppress(OSError, EOFError, ValueError):
            if not self._tailer.open(source) or source.file is None:
                return
            file = os.dup(source.file)  # the tailer may close its own meanwhile
            try:
                yield from _holds(file, gap)
            finally:
                os.close(file)


def _holds(file: int, gap: Gap) -> Iterator[bool | None]:
    """Whether the record that stood before the gap stands at its place in this open file.

    Yields as `_search`. Raises OSError, and EOFError or ValueError for a gzip file that ends before
    that place or is damaged.
    """
    content: Content = Plain(file)
    begin = gap.offset - gap.record_bytes
    if is_gzip(file):
        unzipped = Unzipped(file)
        while unzipped.pass_over(begin, begin + 1):
            yield None
        content = unzipped
    yield proof_at(content.pread, begin, gap.record_bytes) == gap.record_digest
