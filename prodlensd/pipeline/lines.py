"""Lines of a log: parses, prices, sets bad records aside, and gives each its key. Pure.

Most lines are one record; some hold many (see `formats.parts`), and some none that is a call.

The key of a record. A trace that carries both of LiteLLM's ids identifies itself, wherever it
stands. Any other record (a trace without ids, a dead letter) is identified by what it is and where
in the story of its file it stands: the chain digest

    c = H(c of the line before ‖ line)      and of the records of a line that holds many
    r = H(c ‖ number of the record)

So two byte-identical lines without ids are two traces, while re-reading the same bytes (after a
rename, a copy, a restore, a lost checkpoint) finds the same keys again and adds nothing. Lines that
identify themselves are links of the chain as well: whether a line can be read, which an upgrade may
change, must not change the key of any other. Blank lines are not links.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from msgspec.structs import replace

from prodlensd.formats import Parts, parse_line
from prodlensd.model import (
    BadLine,
    Checkpoint,
    Chunk,
    DeadLetter,
    Outcome,
    Part,
    Price,
    Trace,
    digest_of,
    link,
)
from prodlensd.pricing import Pricer

#: May begin a file; not part of its first line.
_BOM: Final = b"\xef\xbb\xbf"
#: What a line may hold and still be blank.
BLANK: Final = b" \t\r"
#: How many records are read before the first of them is priced: few enough to hold twice.
_AHEAD: Final = 1000
_NUMBER_BYTES: Final = 8


def build(chunk: Chunk, pricer: Pricer) -> Iterator[Outcome]:
    """The outcome of every line of a log's chunk: the last one has the checkpoint after them.

    More than one there is only where a line holds many records. Memory then holds one of them.
    Raises OSError when a price book cannot be asked just now.
    """
    start = chunk.start
    source_id, offset, chain = start.source_id, start.offset, start.chain
    made = Outcome(start, start, [], [], [], [], 0)
    rows, chains = made.rows, made.chains
    lines = blanks = 0
    price = pricer.price
    for line, content, found in _read(chunk, pricer):
        begin = offset + len(line) - len(content)
        offset += len(line) + 1
        if isinstance(found, Trace):
            chain = link(chain, content).digest()
            rows.append(row(found, chain, price(found), source_id, begin))
            chains.append(chain)
        elif found is None:
            blanks += 1
        elif isinstance(found, BadLine):
            chain = link(chain, content).digest()
            reason = "unterminated" if chunk.unterminated else found.reason
            place = (chain, source_id, begin, len(content))
            made.dead_letters.append(DeadLetter(*place, reason, found.detail, content))
        else:
            chain = link(chain, content).digest()
            if lines:
                yield replace(made, lines=lines, blanks=blanks)
                made = Outcome(start, start, [], [], [], [], 0)
                rows, chains = made.rows, made.chains
                lines = blanks = 0
            yield from _of_line(found, chain, _begin(content, begin), start, pricer)
            continue
        lines += 1
    if (long := chunk.long_line) is not None:
        chain = long.chain
        place = (chain, source_id, offset, long.length)
        made.dead_letters.append(DeadLetter(*place, "too_long", "", long.head))
        offset += long.length + 1
        lines += 1
    yield replace(made, end=end_of(chunk, offset, chain), lines=lines, blanks=blanks)


def end_of(chunk: Chunk, offset: int, chain: bytes, memory: str = "") -> Checkpoint:
    """The checkpoint after the chunk, whose lines end at `offset`. Raises AssertionError."""
    start = chunk.start
    offset += chunk.zeros - chunk.unterminated
    if offset != chunk.end:
        # Escaped: the traceback goes to a terminal or a journal, and the path may be anything.
        raise AssertionError(
            f"{start.path!a}: lines end at byte {offset}, the chunk at {chunk.end}"
        )
    return replace(
        start,
        offset=offset,
        size_bytes=chunk.size_bytes,
        chain=chain,
        record_bytes=chunk.record_bytes,
        record_digest=chunk.record_digest,
        memory=memory,
    )


def _read(
    chunk: Chunk, pricer: Pricer
) -> Iterator[tuple[bytes, bytes, Trace | Parts | BadLine | None]]:
    """Each line, the same without leading zeros, and what it holds (see `read_line`)."""
    is_first = chunk.start.offset == 0
    for begin in range(0, len(chunk.lines), _AHEAD):
        lines = chunk.lines[begin : begin + _AHEAD]
        contents = [content_of(line) for line in lines]
        found = [read_line(content, is_first=is_first) for content in contents[:1]]
        found += [read_line(content, is_first=False) for content in contents[1:]]
        is_first = False
        pricer.expect([trace for trace in found if type(trace) is Trace])
        yield from zip(lines, contents, found, strict=True)


def content_of(line: bytes) -> bytes:
    """The line without zeros before it: they are a hole, however they happened to be read."""
    return line.lstrip(b"\0") if line[:1] == b"\0" else line


def read_line(content: bytes, *, is_first: bool) -> Trace | Parts | BadLine | None:
    """The trace on a line, its parts, or why it holds none; None when it is blank.

    `is_first`: at the start of a file, where a byte order mark may stand.
    """
    if is_first:
        content = content.removeprefix(_BOM)
    try:
        return parse_line(content)
    except BadLine as bad:
        return bad if content.strip(BLANK) else None


def _of_line(
    parts: Parts, chain: bytes, begin: int, start: Checkpoint, pricer: Pricer
) -> Iterator[Outcome]:
    """The pieces of a line that does not hold one record; their start does not move."""
    numbered = enumerate(parts)
    some = list(islice(numbered, _AHEAD))
    made = Outcome(start, start, [], [], [], [], 1, line=chain)
    if not some:
        made.passed_over.append((chain, begin))
        yield made
    while some:
        pricer.expect([part.found for _, part in some if type(part.found) is Trace])
        for number, part in some:
            key = link(chain, number.to_bytes(_NUMBER_BYTES, "big")).digest()
            _add(made, key, begin + part.begin, part, parts, pricer)
        yield made
        some = list(islice(numbered, _AHEAD))
        made = Outcome(start, start, [], [], [], [], 0, line=chain)


def _begin(content: bytes, begin: int) -> int:
    """Where the parts are counted from: behind a byte order mark."""
    return begin + len(_BOM) * (content.startswith(_BOM) and begin == 0)


def _add(made: Outcome, key: bytes, begin: int, part: Part, parts: Parts, pricer: Pricer) -> None:
    """Adds one record of such a line."""
    source_id, found = made.start.source_id, part.found
    if type(found) is Trace:
        made.rows.append(row(found, key, pricer.price(found), source_id, begin))
        made.chains.append(key)
    elif isinstance(found, BadLine):
        digest = digest_of(parts.bytes_of(part))
        place = (key, source_id, begin, part.length)
        made.dead_letters.append(DeadLetter(*place, found.reason, found.detail, b"", digest))
    else:
        made.passed_over.append((key, begin))


def read_again(content: bytes, key: bytes, start: Checkpoint, pricer: Pricer) -> Iterator[Outcome]:
    """What becomes of a line today that was refused at this place, under this key.

    Nothing when it still is. Raises OSError as `build` does.
    """
    found = read_line(content, is_first=start.offset == 0)
    if type(found) is Trace:
        made = Outcome(start, start, [], [key], [], [], 1)
        made.rows.append(row(found, key, pricer.price(found), start.source_id, start.offset))
        yield made
    elif isinstance(found, Parts):
        yield from _of_line(found, key, _begin(content, start.offset), start, pricer)


def row(
    trace: Trace, chain: bytes, price: Price, source_id: int, source_offset: int
) -> tuple[object, ...]:
    """The trace as the ledger's columns; `chain` is its key where it has none of its own."""
    facts = trace[:-2] if trace.key else (trace.started_us, chain, *trace[2:-2])
    anomalies = ",".join(trace.anomalies) if trace.anomalies else None
    about = (anomalies, source_id, source_offset, trace.bill, price.reason)
    return facts + price[:-1] + about  # twice as fast as unpacking
