"""Lines of a transcript: finds the calls, prices them, and says whose they are.

A call is known by its own key, wherever its lines stand, so no line needs its place in the story of
its file. A refused line is known by its bytes, and these are not kept: it holds what was said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from prodlensd.formats import AGAIN, TRANSCRIPTS, Caller
from prodlensd.model import (
    BadLine,
    Checkout,
    Checkpoint,
    Chunk,
    DeadLetter,
    Outcome,
    Trace,
    digest_of,
)
from prodlensd.pipeline.lines import BLANK, content_of, end_of, row
from prodlensd.pricing import Pricer


class Owner(Struct, frozen=True):
    """Whose transcripts these are.

    developer    the name of this machine's user; None: as the configuration of git has it
    is_on_plan   whether no call is billed by itself
    checkout_of  what git's configuration says of a folder, by its path
    """

    developer: str | None = None
    is_on_plan: bool = False
    checkout_of: Callable[[str], Checkout] = lambda _: Checkout()

    def caller_in(self, folder: str | None) -> Caller:
        """Who calls from this folder, and in which repository."""
        checkout = self.checkout_of(folder) if folder else Checkout()
        if self.developer:
            named: tuple[str | None, str | None] = self.developer, "configuration"
        else:
            named = checkout.developer_id, "git" if checkout.developer_id else None
        return Caller(*named, checkout.repo_slug, self.is_on_plan)


NOBODY: Final = Owner()


def build(chunk: Chunk, pricer: Pricer, owner: Owner) -> Iterator[Outcome]:
    """The outcome of every line of the chunk, with the checkpoint after them.

    Raises OSError when a price book cannot be asked just now.
    """
    start = chunk.start
    transcript = TRANSCRIPTS[start.format](start.memory, owner.caller_in)
    made = Outcome(start, start, [], [], [], [], len(chunk.lines))
    calls: list[Trace] = []
    offsets: list[int] = []
    offset = start.offset
    blanks = skipped = repeated = 0
    for line in chunk.lines:
        content = content_of(line)
        begin = offset + len(line) - len(content)
        offset += len(line) + 1
        try:
            found = transcript.read(content)
        except BadLine as bad:
            reason = "unterminated" if chunk.unterminated else bad.reason
            digest = digest_of(content)
            place = (digest, start.source_id, begin, len(content))
            made.dead_letters.append(DeadLetter(*place, reason, bad.detail, b"", digest))
            continue
        if isinstance(found, Trace):
            calls.append(found)
            offsets.append(begin)
        elif found is AGAIN:
            repeated += 1
        elif content.strip(BLANK):
            skipped += 1
        else:
            blanks += 1
    if (long := chunk.long_line) is not None:
        place = (long.record_digest, start.source_id, offset, long.length)
        made.dead_letters.append(DeadLetter(*place, "too_long", "", b"", long.record_digest))
        offset += long.length + 1
    pricer.expect(calls)
    for trace, begin in zip(calls, offsets, strict=True):
        made.rows.append(row(trace, b"", pricer.price(trace), start.source_id, begin))
        made.chains.append(b"")
    yield replace(
        made,
        end=end_of(chunk, offset, start.chain, transcript.memory()),
        lines=made.lines + (chunk.long_line is not None),
        blanks=blanks,
        skipped=skipped,
        repeated=repeated,
    )


def read_transcript_again(
    content: bytes, start: Checkpoint, pricer: Pricer, owner: Owner
) -> Iterator[Outcome]:
    """What becomes of a line today that was refused at this place.

    Nothing when it still is; and of a format with a memory, which is of that time, no call.
    """
    try:
        found = TRANSCRIPTS[start.format]("", owner.caller_in).read(content)
    except BadLine:
        return
    made = Outcome(start, start, [], [], [], [], 1)
    if not isinstance(found, Trace):
        yield replace(made, skipped=1)
        return
    made.rows.append(row(found, b"", pricer.price(found), start.source_id, start.offset))
    made.chains.append(b"")
    yield made
