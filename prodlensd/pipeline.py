"""Chunk → Outcome: parses, prices, sets bad lines aside, and gives every line its key. Pure.

The key of a line. A trace that carries both of LiteLLM's ids identifies itself, wherever it stands.
Any other line (a trace without ids, a dead letter) is identified by what it is and where in the
story of its file it stands: the chain digest

    c = H(c of the line before ‖ line)

So two byte-identical lines without ids are two traces, while re-reading the same bytes (after a
rename, a copy, a restore, a lost checkpoint) finds the same keys again and adds nothing. Lines that
identify themselves are links of the chain as well: whether a line can be read, which an upgrade may
change, must not change the key of any other. Blank lines are not links.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Final

from prodlensd.formats import parse
from prodlensd.model import BadLine, Chunk, DeadLetter, Outcome, Price, Trace, link
from prodlensd.pricing import Pricer

#: May begin a file; not part of its first line.
_BOM: Final = b"\xef\xbb\xbf"
_BLANK: Final = b" \t\r"
#: How many lines are read before the first of them is priced: few enough to hold twice.
_LINES_AHEAD: Final = 1000


def build(chunk: Chunk, pricer: Pricer) -> Outcome:
    """The outcome of every line of the chunk, and the checkpoint after them.

    Raises OSError when a price book cannot be asked just now.
    """
    start = chunk.start
    source_id, offset, chain = start.source_id, start.offset, start.chain
    rows: list[tuple[object, ...]] = []
    chains: list[bytes] = []
    dead_letters: list[DeadLetter] = []
    blanks = 0
    price = pricer.price
    for line, content, trace in _read(chunk, pricer):
        begin = offset + len(line) - len(content)
        if type(trace) is Trace:
            chain = link(chain, content).digest()
            rows.append(row(trace, chain, price(trace), source_id, begin))
            chains.append(chain)
        elif isinstance(trace, BadLine):
            chain = link(chain, content).digest()
            reason = "unterminated" if chunk.unterminated else trace.reason
            place = (chain, source_id, begin, len(content))
            dead_letters.append(DeadLetter(*place, reason, trace.detail, content))
        else:
            blanks += 1
        offset += len(line) + 1
    if (long := chunk.long_line) is not None:
        chain = long.chain
        place = (chain, source_id, offset, long.length)
        dead_letters.append(DeadLetter(*place, "too_long", "", long.head))
        offset += long.length + 1
    offset += chunk.zeros - chunk.unterminated
    if offset != chunk.end:
        # Escaped: the traceback goes to a terminal or a journal, and the path may be anything.
        raise AssertionError(
            f"{start.path!a}: lines end at byte {offset}, the chunk at {chunk.end}"
        )
    end = replace(
        start,
        offset=offset,
        size_bytes=chunk.size_bytes,
        chain=chain,
        record_bytes=chunk.record_bytes,
        record_digest=chunk.record_digest,
    )
    return Outcome(start, end, rows, chains, dead_letters, blanks)


def _read(chunk: Chunk, pricer: Pricer) -> Iterator[tuple[bytes, bytes, Trace | BadLine | None]]:
    """Each line, the same without leading zeros, and what it holds (see `read_line`)."""
    is_first = chunk.start.offset == 0
    lines = iter(chunk.lines)
    while some := list(islice(lines, _LINES_AHEAD)):
        read = []
        for line in some:
            # Zeros before a line are a hole and not part of it, however they happened to be read.
            content = line.lstrip(b"\0") if line[:1] == b"\0" else line
            read.append((line, content, read_line(content, is_first=is_first)))
            is_first = False
        pricer.expect([trace for *_, trace in read if type(trace) is Trace])
        yield from read


def read_line(content: bytes, *, is_first: bool) -> Trace | BadLine | None:
    """The trace on a line, or why it holds none; None when it is blank.

    `is_first`: at the start of a file, where a byte order mark may stand.
    """
    if is_first:
        content = content.removeprefix(_BOM)
    try:
        return parse(content)
    except BadLine as bad:
        return bad if content.strip(_BLANK) else None


def row(
    trace: Trace, chain: bytes, price: Price, source_id: int, source_offset: int
) -> tuple[object, ...]:
    """The trace as the ledger's columns; `chain` is its key where it has none of its own."""
    facts = trace[:-2] if trace.key else (trace.started_us, chain, *trace[2:-2])
    anomalies = ",".join(trace.anomalies) if trace.anomalies else None
    about = (anomalies, source_id, source_offset, trace.bill, price.reason)
    return facts + price[:-1] + about  # twice as fast as unpacking
