"""What the daemon measures of itself: how much it reads, and how fast.

Counts since its start, with histograms as Prometheus has them. They are part of the heartbeat.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Final

from msgspec import Struct, field, to_builtins

#: Upper bounds in seconds; one more bucket counts what is above the last.
BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Histogram(Struct):
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
        """The bound of the bucket in which this share of the durations is reached; None for none.

        That is a little too long. Above the last bound it is too short: then it is that bound.
        """
        wanted = share * self.count
        below = 0
        for bound, count in zip((*BUCKETS_S, BUCKETS_S[-1]), self.counts, strict=True):
            below += count
            if count and below >= wanted:
                return bound
        return None


class Measures(Struct):
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
        """Ready to become JSON."""
        content: dict[str, Any] = to_builtins(self)
        return content

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Measures:
        """Read back from JSON. Raises TypeError or KeyError for other content."""
        histograms = {
            name: Histogram(**content[name])
            for name in ("batch_seconds", "commit_seconds", "delay_seconds")
        }
        return cls(**content | histograms)
