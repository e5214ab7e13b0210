"""The values that flow through the program, all immutable; nothing here reads or writes anything.

A line's way: `Chunk` (complete lines of one source) → `Trace` (one normalised call) → `Price` →
`Outcome` (of a chunk: rows, dead letters and the checkpoint after them) → one transaction. Traces
are named tuples rather than dataclasses because their fields are bound to SQL as they stand.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, NamedTuple

NANOUSD_PER_USD: Final = 1_000_000_000
US_PER_S: Final = 1_000_000
US_PER_DAY: Final = 86_400 * US_PER_S

#: Bytes of every digest that the ledger keeps (blake2b).
DIGEST_BYTES: Final = 16
#: The chain digest before a source's first line (see `pipeline`).
CHAIN_ROOT: Final = bytes(DIGEST_BYTES)


def link(chain: bytes, line: bytes = b"") -> blake2b:
    """The hash whose digest is the line's chain digest; `update` adds the rest of a longer line."""
    return blake2b(chain + line, digest_size=DIGEST_BYTES)


def digest_of(content: bytes) -> bytes:
    """What tells these bytes from others."""
    return blake2b(content, digest_size=DIGEST_BYTES).digest()


#: Why a record was refused: the whole vocabulary. A new reason is a new word here.
REASONS: Final = (
    "invalid_utf8",  # bytes that are not text
    "invalid_json",  # text that is not JSON, or nested too deep, or with numbers too long to read
    "not_an_object",  # JSON, but a list, a string or a number
    "unknown_format",  # an object that no format knows
    "bad_timestamp",  # a call without a time
    "too_long",  # over the configured limit; of a very long line only the head is kept
    "unterminated",  # unreadable, and the end of a finished file that has no last newline
)


#: Why a call has no price: the whole vocabulary. Most are followed by a colon and a name.
UNPRICED_REASONS: Final = (
    "usage_missing",  # nobody counted its tokens
    "usage_mismatch",  # a part of the tokens is larger than the whole
    "usage_unknown",  # :key of something in the usage that is not understood and may cost money
    "model_missing",  # it names no model
    "provider_unknown",  # :provider that no price book has
    "model_unknown",  # :model that no price book has of this provider
    "price_unknown",  # :model whose price at that time no book has
    "modifier_unknown",  # :name=value under which the price of the model is not known
    "unit_without_rate",  # :unit that was used and for which the book has no rate
    "cost_too_large",  # more than a million dollars: the log says nonsense
)


class OperationalError(Exception):
    """The work cannot be done as things are; no bug. The message, for people, says what to do."""


class TemporaryError(OperationalError):
    """What is in the way passes by itself, such as another program's lock: try again later."""


class BadLine(Exception):
    """A line that is not a trace. `detail` never quotes the line: it may hold a prompt."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class NotACall(Exception):
    """A record that is known, and no call: it is counted as passed over, and kept nowhere."""


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


class Bill(NamedTuple):
    """What the price of a call depends on beside the columns of its tokens. Empty for most calls.

    units       what is billed by itself, by name: a part of the tokens (`image_out_tokens`), or
                what is paid by use (`web_search_requests`)
    modifiers   what chooses between the prices of a model, such as `speed`, where it is not the
                standard; the service tier is a column
    iterations  what the provider did within this call and bills each at its own model: `model`,
                and counts by the names of `Usage`. The counts of the call are then not billed
    unknown     the names of what the usage holds and nobody here understands
    provider_nanousd
                what the provider says it charged
    """

    units: Mapping[str, float] = {}
    modifiers: Mapping[str, str] = {}
    iterations: tuple[Mapping[str, Any], ...] = ()
    unknown: tuple[str, ...] = ()
    provider_nanousd: int | None = None


NO_BILL: Final = Bill()


def bill_json(bill: Bill) -> str | None:
    """The bill as a JSON object of its parts that are not empty; None when all are."""
    parts = zip(bill._fields, bill, strict=True)
    held = {name: dict(part) if isinstance(part, Mapping) else part for name, part in parts if part}
    return json.dumps(held, sort_keys=True, separators=(",", ":")) if held else None


@lru_cache(maxsize=256)
def bill_of(text: str | None) -> Bill:
    """The bill that `bill_json` wrote."""
    if text is None:
        return NO_BILL
    held = json.loads(text)
    lists = {name: tuple(held[name]) for name in ("iterations", "unknown") if name in held}
    return Bill(**{**held, **lists})


class Trace(NamedTuple):
    """One LLM call, normalised. The fields up to the bill are in the order of the ledger's columns.

    started_us        start of the call, microseconds since 1970 UTC
    key               tells it from other calls of the same start: the proxy's two ids when the line
                      has both, else None; then the pipeline takes the line's chain digest
    session_via, developer_via
                      where the value was found, so that a claim is not taken for a verified name
    gateway_nanousd   the cost as the proxy reported it, 0 included; None when it did not
    tags              a JSON array, or None
    details           a JSON object of facts that are rarely asked for, or None
    bill              a Bill as JSON, or None
    anomalies         what looked wrong and was left NULL rather than guessed, e.g. "repo_slug"
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
    gateway_nanousd: int | None
    bill: str | None
    anomalies: tuple[str, ...]


def provider_in(model: str | None) -> str:
    """The prefix of a model's name, which stands for its provider; "" when it has none."""
    prefix, slash, _ = (model or "").partition("/")
    return prefix if slash else ""


class Price(NamedTuple):
    """What a call costs and why. `nanousd` is None exactly when `source` is "unpriced".

    table_nanousd   its cost by the price table, whichever cost counts; None: in no table
    price_id        the pinned price behind `nanousd`, or else behind `table_nanousd`
    reason          why it is unpriced: one of UNPRICED_REASONS, for some with a name behind a colon
    """

    nanousd: int | None
    source: str
    table_nanousd: int | None = None
    price_id: int | None = None
    reason: str | None = None


class Part(NamedTuple):
    """A record of a line that holds many: where it stands in the line, and what it is.

    `found` is None for a record that is no call.
    """

    begin: int
    length: int
    found: Trace | BadLine | None


class PinnedPrice(NamedTuple):
    """Rates that calls were priced at, as they were when first used; the ledger keeps them.

    price_id                a digest of all the rest
    source                  the `cost_source` of those calls
    provider, model, tier   of the first of them, as logged
    book, entry, match      where the rates stand, and how the entry was found to be the model meant
    from_us, until_us       the time for which the book has them
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

    Only a cache: one that is lost or does not match costs reading from 0 again, never a row.

    offset    the first byte not committed, always the start of a line
    chain     the chain digest of the last line before it
    record_bytes, record_digest
              the proof: the last record before the offset, newline included. Of a gzip file they
              are 0 and, once all of it is committed, a digest of the whole file
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

    @property
    def is_gzip(self) -> bool:
        """Whether it is of a gzip file, `offset` and `size_bytes` of its content; False at 0."""
        return self.offset > 0 and self.record_bytes == 0


@dataclass(frozen=True, slots=True)
class LongLine:
    """A line over the limit, read through but not held: its head, and its chain digest.

    `record_digest` is of the line with its newline.
    """

    head: bytes
    length: int
    chain: bytes
    record_digest: bytes


@dataclass(frozen=True, slots=True)
class Chunk:
    """Complete lines of one source, without their newlines, following on from `start`.

    `size_bytes` and the record are for the checkpoint at `end`. The file was last written to at
    `appended_ns` (since 1970; 0: not known). In chunks of their own come a line over the limit, the
    last line of a finished file without a newline (`unterminated`), and a hole of `zeros` bytes.
    """

    start: Checkpoint
    lines: list[bytes]
    end: int
    size_bytes: int
    record_bytes: int
    record_digest: bytes
    appended_ns: int = 0
    long_line: LongLine | None = None
    unterminated: bool = False
    zeros: int = 0


class DeadLetter(NamedTuple):
    """A refused record, kept. `raw` is the whole of it, or the head of a line over the limit.

    Of a record that shares its line with others nothing is kept but a `digest` of its bytes: such
    lines are whole batches of what was said, and the log has them.
    """

    key: bytes
    source_id: int
    source_offset: int
    length: int
    reason: str
    detail: str
    raw: bytes
    digest: bytes | None = None


#: The key that a dead letter of the record has or would have, and where the record begins.
PassedOver = tuple[bytes, int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a chunk, or of a piece of it: its records are rows, dead letters or no calls.

    Only the ledger knows which rows are new. `chains` has for each row the key that a dead letter
    of it would have, by which a record that an older version refused is recognised; `passed_over`
    are those that are known and no calls. `lines` end in this piece, and `blanks` of them are
    blank. A line that holds many records is a piece or several, without any other; `line` is then
    the key that a dead letter of the whole line would have. Of the pieces of a chunk the last one
    moves the checkpoint: all of them belong in one transaction.
    """

    start: Checkpoint
    end: Checkpoint
    rows: list[tuple[object, ...]]
    chains: list[bytes]
    dead_letters: list[DeadLetter]
    passed_over: list[PassedOver]
    lines: int
    blanks: int = 0
    line: bytes | None = None

    @property
    def records(self) -> int:
        """How many records it has."""
        return len(self.rows) + len(self.dead_letters) + len(self.passed_over)


def file_id(status: os.stat_result) -> tuple[int, int]:
    """Device and inode, which tell a file from all others of the time, as SQLite can store them.

    Both are unsigned numbers of 64 bits, and some file systems use all of the bits.
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
    """Bytes of a source that were seen, and destroyed before they were read.

    They began at `offset`, after a record of this digest, and were at least `known_bytes`. When
    `record_bytes` is 0, nothing of the file at `path` was ever read.
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
        """Where the known bytes end."""
        return self.offset + self.known_bytes


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A source whose bytes are not those that were committed: it must be read again from 0.

    `known_bytes` were seen and not yet read; they are gone unless a copy is found.
    """

    source_id: int
    sighting: Sighting
    reason: str
    known_bytes: int
