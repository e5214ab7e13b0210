"""Chunk → Part: parses, prices, sets bad lines aside, and gives every line its key. Pure.

The key of a line. A trace that carries the gateway's two ids identifies itself, wherever it stands.
Any other line (a trace without ids, a dead letter) is known by what it is and where in the story of
its file it stands: the chain digest

    c = H(c of the chained line before ‖ key of the last self-identifying line before ‖ H(line))

So two byte-identical lines without ids are two traces, while re-reading the same bytes (after a
rename, a copy, a restore, a lost checkpoint) finds the same keys again and adds nothing. Blank
lines do not enter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from typing import Final

from prodlensd.model import (
    DIGEST_BYTES,
    NANOUSD_PER_USD,
    BadLine,
    Chunk,
    DeadLetter,
    Part,
    Price,
    Trace,
)

#: May begin a file, and is no part of its first line.
BOM: Final = b"\xef\xbb\xbf"
_BLANK = b" \t\r"
#: So many fields of a Trace are columns as they are.
_FACTS = Trace._fields.index("cost_gateway_usd")


def line_digest(line: bytes) -> bytes:
    """What a line is, in DIGEST_BYTES bytes."""
    return blake2b(line, digest_size=DIGEST_BYTES).digest()


def build(
    chunk: Chunk, *, parse: Callable[[bytes], Trace], price: Callable[[Trace], Price]
) -> Part:
    """The outcome of every line of the chunk, and the checkpoint after them."""
    start = chunk.start
    source_id, offset = start.source_id, start.offset
    story = _Story(start.chain, start.last_key)
    rows: list[tuple[object, ...]] = []
    dead_letters: list[DeadLetter] = []
    blanks = 0
    for line in chunk.lines:
        told = line.lstrip(b"\0") if line[:1] == b"\0" else line
        content = told.removeprefix(BOM) if offset == 0 else told
        try:
            trace = parse(content)
        except BadLine as bad:
            if content.strip(_BLANK):
                place = (story.link(line_digest(told)), source_id, offset, len(line))
                reason = "unterminated" if chunk.unterminated else bad.reason
                dead_letters.append(DeadLetter(*place, reason, bad.detail, line))
            else:
                blanks += 1
        else:
            if trace.key is not None:
                story.identified = trace
                rows.append(row(trace, None, price(trace), source_id, offset))
            else:
                chain = story.link(line_digest(told))
                rows.append(row(trace, chain, price(trace), source_id, offset))
        offset += len(line) + 1
    if (long := chunk.long_line) is not None:
        place = (story.link(long.digest), source_id, offset, long.length)
        dead_letters.append(DeadLetter(*place, "too_long", "", long.head))
        offset += long.length + 1
    offset += chunk.zeros - chunk.unterminated
    if offset != chunk.end:
        raise AssertionError(f"{start.path}: lines end at byte {offset}, the chunk at {chunk.end}")
    end = replace(
        start,
        offset=offset,
        size_bytes=chunk.size_bytes,
        chain=story.chain,
        last_key=story.last_key,
        record_bytes=chunk.record_bytes,
        record_digest=chunk.record_digest,
    )
    return Part(start, end, rows, dead_letters, blanks)


class _Story:
    """What the next chained line is chained to: the chain so far, and the last identified line."""

    def __init__(self, chain: bytes, last_key: str) -> None:
        self.chain = chain
        self._last_key = last_key
        self.identified: Trace | None = None

    @property
    def last_key(self) -> str:
        """The key of the last self-identifying line, in words only when they are asked for."""
        if self.identified is not None:
            self._last_key = f"{self.identified.started_us} {self.identified.key!s}"
            self.identified = None
        return self._last_key

    def link(self, digest: bytes) -> bytes:
        """The chain digest of a line of this digest, to which the next one will be chained."""
        told = self.chain + digest + self.last_key.encode()
        self.chain = blake2b(told, digest_size=DIGEST_BYTES).digest()
        return self.chain


def row(
    trace: Trace, chain: bytes | None, price: Price, source_id: int, source_offset: int
) -> tuple[object, ...]:
    """The trace as the store's columns; `chain` is its key where it has none of its own."""
    gateway_usd = trace.cost_gateway_usd
    anomalies = trace.anomalies
    facts = trace[:_FACTS] if chain is None else (trace.started_us, chain, *trace[2:_FACTS])
    return facts + (  # noqa: RUF005 - twice as fast as unpacking
        None if gateway_usd is None else round(gateway_usd * NANOUSD_PER_USD),
        price.nanousd,
        price.source,
        ",".join(anomalies) if anomalies else None,
        source_id,
        source_offset,
    )
