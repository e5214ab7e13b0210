"""The values that flow through the program, all immutable, none knowing where it came from.

A line's way: `Chunk` (complete lines of one source) → `Trace` (one normalised call) → `Price` →
`Outcome` (of a chunk: rows, dead letters and the checkpoint after them) → one transaction.
Traces are named tuples rather than dataclasses because their fields are bound to SQL as they stand.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final, NamedTuple

NANOUSD_PER_USD: Final = 1_000_000_000
US_PER_S: Final = 1_000_000
US_PER_DAY: Final = 86_400 * US_PER_S

#: Bytes of every digest that the ledger keeps (blake2b).
DIGEST_BYTES: Final = 16
#: The chain digest before a source's first line (see `pipeline`).
CHAIN_ROOT: Final = bytes(DIGEST_BYTES)


#: Why a line was refused: the whole vocabulary. A new reason is a new word here.
REASONS: Final = (
    "invalid_utf8",  # bytes that are no text
    "invalid_json",  # text that is no JSON, or nested too deep, or with numbers too long to read
    "not_an_object",  # JSON, but a list, a text or a number
    "unknown_format",  # an object that no format knows
    "bad_timestamp",  # a call that does not say when it was
    "too_long",  # over the limit of the configuration; of a very long one only the head is kept
    "unterminated",  # unreadable, and the end of a finished file that has no last newline
)


class BadLine(Exception):
    """A line that is not a trace: a `reason` out of REASONS, a `detail` for people.

    `detail` never quotes the line: it may hold a prompt.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class Usage(NamedTuple):
    """Tokens of one call. None means "not logged", never zero.

    `tokens_in` counts every input token, those read from and written to the provider's cache
    included; `cache_write_tokens` counts every cache write, the one-hour ones
    (`cache_write_1h_tokens`) included; `tokens_out` includes `reasoning_tokens`. Audio tokens are
    parts of the input and of the output.
    """

    tokens_in: int | None = None
    tokens_out: int | None = None
    total_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_in_tokens: int | None = None
    audio_out_tokens: int | None = None


class Trace(NamedTuple):
    """One LLM call, normalised. The order of the fields is the order of the ledger's columns.

    started_us      start of the call, microseconds since 1970 UTC
    key             what tells it from another call of the same start: the gateway's two ids when
    the
                    line carries both, else None, and the pipeline puts the line's chain digest
                    there
    session_via, developer_via
                    where the value was found, so that a claim is never mistaken for a verified name
    cost_gateway_usd  as the gateway reported it, 0.0 included; None when it said nothing
    tags            JSON array, or None;  details: JSON object of rarely asked facts, or None
    anomalies       what looked wrong and was left NULL rather than guessed, e.g. "repo_slug"
    """

    started_us: int
    key: str | bytes | None
    call_id: str | None
    session_id: str | None
    session_via: str | None
    developer_id: str | None
    developer_via: str | None
    repo_slug: str | None
    model: str | None
    provider: str | None
    call_type: str | None
    tokens_in: int | None
    tokens_out: int | None
    total_tokens: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    cache_write_1h_tokens: int | None
    reasoning_tokens: int | None
    audio_in_tokens: int | None
    audio_out_tokens: int | None
    latency_ms: float | None
    ttft_ms: float | None
    status: str
    status_code: int | None
    cache_hit: bool
    service_tier: str | None
    end_user: str | None
    tags: str | None
    accepted: bool | None
    diff_ratio: float | None
    accepted_lines: int | None
    details: str | None
    cost_gateway_usd: float | None
    anomalies: tuple[str, ...]


class Price(NamedTuple):
    """What a call costs and why. `nanousd` is None exactly when `source` is "unpriced".

    table_nanousd   what a price table asks for it, whoever's cost counts; None: no table knows
    price_id        the pinned price behind `nanousd`, or else behind `table_nanousd`
    """

    nanousd: int | None
    source: str
    table_nanousd: int | None = None
    price_id: int | None = None


class PinnedPrice(NamedTuple):
    """Rates that calls were priced at, as they were when first used; the ledger keeps them.

    price_id                a digest of all the rest
    source                  which `cost_source` it gives
    provider, model, tier   the call it was asked for, as logged
    book, entry, match      where it stands, and how that was found to be the model meant
    from_us, until_us       when the book says that it holds
    rates                   JSON (see `pricing.rates`)
    """

    price_id: int
    source: str
    provider: str
    model: str
    tier: str
    book: str
    entry: str
    match: str
    from_us: int
    until_us: int
    rates: str


class SnapshotFile(NamedTuple):
    """The Parquet file of one day, as it was written."""

    rows: int
    size_bytes: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a source is committed, and what to find there before reading on.

    Only a cache: a checkpoint that is lost or doubted costs re-reading from 0, never a row.

    offset          the first byte not committed, always the start of a line
    chain           what the next line is chained to (see `pipeline`)
    record_bytes, record_digest   the last record before the offset, newline included
    """

    source_id: int
    path: str
    dev: int
    inode: int
    offset: int = 0
    size_bytes: int = 0
    chain: bytes = CHAIN_ROOT
    record_bytes: int = 0
    record_digest: bytes = b""


@dataclass(frozen=True, slots=True)
class LongLine:
    """A line over the limit, read through but not held: its head, and the chain digest after it.

    `record_digest` is of the line with its newline.
    """

    head: bytes
    length: int
    chain: bytes
    record_digest: bytes


@dataclass(frozen=True, slots=True)
class Chunk:
    """Complete lines of one source, without their newlines, following on from `start`.

    `start` is the committed checkpoint; the chunk ends at `end`, in a file of `size_bytes`. In
    chunks of their own come a line over the limit, the last line of a finished file that ends
    without a newline (`unterminated`), and the `zeros` of a hole, which are no line at all. The
    file was last written to at `appended_ns` (nanoseconds since 1970; 0: not known).
    """

    start: Checkpoint
    lines: list[bytes]
    end: int
    size_bytes: int
    record_bytes: int
    record_digest: bytes
    long_line: LongLine | None = None
    unterminated: bool = False
    zeros: int = 0
    appended_ns: int = 0


class DeadLetter(NamedTuple):
    """A refused line, kept. `raw` is the whole line, or the head of one over the limit."""

    key: bytes
    source_id: int
    source_offset: int
    length: int
    reason: str
    detail: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one chunk: every line up to `end` is a row, a dead letter or a blank.

    Which rows are new and which are duplicates, only the ledger can tell. `chains` has the chain
    digest of each row, by which a line that an older version refused is known again.
    """

    start: Checkpoint
    end: Checkpoint
    rows: list[tuple[object, ...]]
    chains: list[bytes]
    dead_letters: list[DeadLetter]
    blanks: int


def file_id(status: os.stat_result) -> tuple[int, int]:
    """What tells a file from others at a time: device and inode, as SQLite can store them.

    Both are numbers of 64 bits without a sign, and some file systems use all of these.
    """
    return _signed(status.st_dev), _signed(status.st_ino)


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


class Fault(NamedTuple):
    """Why a file or a folder cannot be read just now."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """A file in a log folder, as the last scan saw it. `dev` and `inode` are those of `file_id`."""

    path: str
    dev: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes of a source that were seen and destroyed before they were read.

    They began at `offset`, after a record of this digest, and were at least `known_bytes`. Without
    a record, nothing of the file at `path` was ever read.
    """

    gap_id: int
    source_id: int
    path: str
    offset: int
    known_bytes: int
    record_bytes: int
    record_digest: bytes

    @property
    def end(self) -> int:
        """Where the bytes that are known of end."""
        return self.offset + self.known_bytes


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A source whose bytes are no longer those that were committed: it must be read again from 0.

    `known_bytes` were seen and not yet read; they are gone unless a copy turns up.
    """

    source_id: int
    sighting: Sighting
    reason: str
    known_bytes: int
