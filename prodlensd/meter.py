"""What the daemon measures of itself: how much it reads, and how fast.

Counts since its start, in the shape that Prometheus gives histograms; the heartbeat carries them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import Any, Final

#: Upper bounds in seconds; what is over the last one is counted after it.
BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_RATE_S: Final = 60.0


@dataclass(slots=True)
class Histogram:
    """How many durations fell into each bucket, and their sum in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    sum_s: float = 0.0

    def observe(self, duration_s: float) -> None:
        """Counts one duration."""
        self.counts[bisect_left(BUCKETS_S, duration_s)] += 1
        self.sum_s += duration_s

    @property
    def count(self) -> int:
        """How many were counted."""
        return sum(self.counts)

    def percentile_s(self, share: float) -> float | None:
        """The bound under which so many are, that is a little too long; None when there are none.

        Over the last bound nothing is known, and that bound is given.
        """
        wanted = share * self.count
        below = 0
        for bound, count in zip((*BUCKETS_S, BUCKETS_S[-1]), self.counts, strict=True):
            below += count
            if count and below >= wanted:
                return bound
        return None


@dataclass(slots=True)
class Measures:
    """Since the daemon's start, but for `lines_per_s`, which is of the last minute.

    batches             transactions that committed lines
    batch_seconds       from the first byte read to the commit, for each of them
    commit_seconds      the commit alone
    delay_seconds       from the append to the log until its lines were visible in the ledger, for
                        each read to the end of a file that was written to since the start
    """

    lines: int = 0
    batches: int = 0
    lines_per_s: float = 0.0
    batch_seconds: Histogram = field(default_factory=Histogram)
    commit_seconds: Histogram = field(default_factory=Histogram)
    delay_seconds: Histogram = field(default_factory=Histogram)

    def as_dict(self) -> dict[str, Any]:
        """As it becomes JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, told: dict[str, Any]) -> Measures:
        """As it was before it became JSON."""
        histograms = {
            name: Histogram(**told[name])
            for name in ("batch_seconds", "commit_seconds", "delay_seconds")
        }
        return cls(**told | histograms)


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
