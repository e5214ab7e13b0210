"""Lines of a source, what stands in them, and what became of them."""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import Struct

from prodlensd.model.calls import Trace

#: Bytes of every digest that the ledger keeps (blake2b).
DIGEST_BYTES: Final = 16
#: The chain digest before a source's first line (see `pipeline`).
CHAIN_ROOT: Final = bytes(DIGEST_BYTES)


def link(chain: bytes, line: bytes = b"") -> blake2b:
    """The hash whose digest is the line's chain digest; `update` adds the rest of a longer line."""
    linked = blake2b(chain, digest_size=DIGEST_BYTES)
    linked.update(line)
    return linked


def digest_of(content: bytes) -> bytes:
    """What tells these bytes from others."""
    return blake2b(content, digest_size=DIGEST_BYTES).digest()


#: The format of a source that is a log: each of its lines says for itself what it is. Any other
#: source is a transcript, all of whose lines are in the one format that it names.
LOG: Final = "log"

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


class BadLine(Exception):
    """A line that is not a trace. `detail` never quotes the line: it may hold a prompt."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class NotACall(Exception):
    """A record that is known, and no call: it is counted as passed over, and kept nowhere."""


class Part(NamedTuple):
    """A record of a line that holds many: where it stands in the line, and what it is.

    `found` is None for a record that is no call.
    """

    begin: int
    length: int
    found: Trace | BadLine | None


class Checkpoint(Struct, frozen=True):
    """How far a source is committed, and what to find there before reading on.

    Only a cache: one that is lost or does not match costs reading from 0 again, never a row.

    offset    the first byte not committed, always the start of a line
    chain     the chain digest of the last line before it
    record_bytes, record_digest
              the proof: the last record before the offset, newline included. Of a gzip file they
              are 0 and, once all of it is committed, a digest of the whole file
    format    LOG, or the format of a transcript
    memory    what a transcript's lines before it say of those after it: see its format
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
    format: str = LOG
    memory: str = ""

    @property
    def is_transcript(self) -> bool:
        """Whether its lines are those of a transcript."""
        return self.format != LOG

    @property
    def is_gzip(self) -> bool:
        """Whether it is of a gzip file, `offset` and `size_bytes` of its content; False at 0."""
        return self.offset > 0 and self.record_bytes == 0


class LongLine(Struct, frozen=True):
    """A line over the limit, read through but not held: its head, and its chain digest.

    `record_digest` is of the line with its newline.
    """

    head: bytes
    length: int
    chain: bytes
    record_digest: bytes


class Chunk(Struct, frozen=True):
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

    Of a record that shares its line with others, and of a line of a transcript, nothing is kept but
    a `digest` of its bytes: they hold what was said, and the file has them.
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


class Outcome(Struct, frozen=True):
    """What became of a chunk, or of a piece of it: its records are rows, dead letters or no calls.

    Only the ledger knows which rows are new. `chains` has for each row the key that a dead letter
    of it would have, by which a record that an older version refused is recognised; `passed_over`
    are those that are known and no calls. `lines` end in this piece, and `blanks` of them are
    blank. A line that holds many records is a piece or several, without any other; `line` is then
    the key that a dead letter of the whole line would have. Of the pieces of a chunk the last one
    moves the checkpoint: all of them belong in one transaction.

    Of a transcript, whose lines mostly are no calls, these are only counted: `skipped`. And so are
    those that say again what a row of the same piece says: `repeated`.
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
    skipped: int = 0
    repeated: int = 0

    @property
    def no_calls(self) -> int:
        """How many of its records are known, and no calls."""
        return len(self.passed_over) + self.skipped

    @property
    def records(self) -> int:
        """How many records it has."""
        return len(self.rows) + self.repeated + len(self.dead_letters) + self.no_calls


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


class Sighting(Struct, frozen=True):
    """A file in a folder, as the last scan saw it. `dev` and `inode` are those of `file_id`.

    The folder tells the format of its lines: LOG, or that of a transcript.
    """

    path: str
    dev: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    format: str = LOG


class Folder(NamedTuple):
    """A folder of files of one format, and which names are read in it and, if asked, below it."""

    format: str
    path: Path
    include: tuple[str, ...]
    recursive: bool = True


class Gap(Struct, frozen=True):
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


class Mismatch(Struct, frozen=True):
    """A source whose bytes are not those that were committed: it must be read again from 0.

    `known_bytes` were seen and not yet read; they are gone unless a copy is found.
    """

    source_id: int
    sighting: Sighting
    reason: str
    known_bytes: int
