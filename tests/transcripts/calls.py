"""The calls that were truly made, which every corpus of transcripts is written from: the oracle.

It knows nothing of how the program reads. What an agent wrote of a call, and how often, is in the
writers beside it; what a call used is only here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

#: In every text that stands for something said, shown or answered. It must be found nowhere else.
SAID: Final = "hush-7f3a9c"

DAY_US: Final = 86_400_000_000


class Usage(NamedTuple):
    """Tokens in the ledger's words: cached ones are part of the input, reasoning of the output."""

    tokens_in: int = 0
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0
    tokens_out: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        return self.tokens_in + self.tokens_out


class Call(NamedTuple):
    """A call: when its first line was written, by which session, and what it used in the end."""

    id: str
    first_us: int
    session_id: str
    model: str | None
    usage: Usage
    branch: str = "main"
    searches: int = 0
    is_sidechain: bool = False

    @property
    def day(self) -> int:
        return self.first_us // DAY_US


class Totals(NamedTuple):
    """What a way of counting comes to."""

    calls: int
    tokens_in: int
    tokens_out: int

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out


def totals(calls: Iterable[Call]) -> Totals:
    listed = [*calls]
    return Totals(
        len(listed),
        sum(call.usage.tokens_in for call in listed),
        sum(call.usage.tokens_out for call in listed),
    )


def grouped(calls: Iterable[Call], by: str) -> dict[Any, tuple[int, ...]]:
    """Calls and each count of tokens, for each session, model or day."""
    sums: dict[Any, Counter[str]] = {}
    for call in calls:
        group = sums.setdefault(getattr(call, by), Counter())
        group.update(calls=1, **call.usage._asdict())
    return {key: (group["calls"], *of(group)) for key, group in sums.items()}


def of(group: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(group[name] for name in Usage._fields)


def iso(at_us: int) -> str:
    """As both agents write a time: UTC, with milliseconds."""
    at = datetime.fromtimestamp(at_us / 1_000_000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"
