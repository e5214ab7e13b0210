"""Reads files that somebody named into the ledger: history, once.

A file goes the way of a log, as a source that nobody follows: its lines in chunks, or all of a
document as one line of many records. It can be killed at any moment and repeated: what is known is
known by its keys. What cannot be read becomes a dead letter without its bytes: the file has them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import compress
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from msgspec import Struct, field
from msgspec.structs import replace

from prodlensd.formats import Parts, is_document, transcript_of
from prodlensd.ledger import Added, Counts, Ledger, Reader, place_of
from prodlensd.logs import NamedFile, UnreadableError
from prodlensd.model import LOG, BadLine, Checkpoint, Outcome, Sighting, Trace, digest_of
from prodlensd.pipeline import Owner, build, read_line
from prodlensd.pricing import Pricer

#: The most of a document, which is held in memory.
MAX_DOCUMENT_BYTES: Final = 256 << 20
#: How many places of what cannot be read are named of each file.
MAX_PLACES: Final = 10


class Place(NamedTuple):
    """Where something that cannot be read stands in a file, and why it cannot be."""

    offset: int
    length: int
    reason: str
    detail: str


class Imported(Struct):
    """What became of one file: of each of its records, and what the new ones add.

    `refusal` says why nothing of it was taken, or not all of it; None when all was.
    """

    path: Path
    refusal: str | None = None
    new: int = 0
    known: int = 0
    passed_over: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    places: list[Place] = field(default_factory=list)
    added: Added = field(default_factory=Added)

    def add(self, outcome: Outcome, counts: Counts) -> None:
        """Adds what became of some records; what cannot be read is named, known or not."""
        self.new += counts.traces
        self.passed_over += counts.passed_over
        self.known += len(outcome.rows) + outcome.repeated - counts.traces
        self.refused.update(letter.reason for letter in outcome.dead_letters)
        for letter in outcome.dead_letters[: MAX_PLACES - len(self.places)]:
            place = (letter.source_offset, letter.length, letter.reason, letter.detail)
            self.places.append(Place(*place))


class Writing(Protocol):
    """Where an import is written to: the ledger, or in a dry run what stands in for it."""

    def register(self, sighting: Sighting) -> Checkpoint:
        """A source for this file, which nobody follows."""

    def commit(self, outcome: Outcome) -> Counts:
        """Writes what became of some records."""

    def added(self, source_id: int, from_us: int, until_us: int) -> Added:
        """What the source added, of this time."""


class ToLedger:
    """Writes to the ledger."""

    def __init__(self, ledger: Ledger, now_us: Callable[[], int]) -> None:
        self._ledger = ledger
        self._now_us = now_us

    def register(self, sighting: Sighting) -> Checkpoint:
        """See `Writing`."""
        return self._ledger.sources.register_import(sighting, self._now_us())

    def commit(self, outcome: Outcome) -> Counts:
        """See `Writing`. What cannot be read is kept without its bytes."""
        letters = [
            letter._replace(raw=b"", digest=letter.digest or digest_of(letter.raw))
            for letter in outcome.dead_letters
        ]
        return self._ledger.commit([replace(outcome, dead_letters=letters)], self._now_us())

    def added(self, source_id: int, from_us: int, until_us: int) -> Added:
        """See `Writing`."""
        return self._ledger.sources.added(source_id, from_us, until_us)


class DryRun(ToLedger):
    """Writes what `reader` does not know to an empty ledger: nothing changes, and all is counted.

    `reader` is None where there is no ledger yet.
    """

    def __init__(self, scratch: Ledger, reader: Reader | None, now_us: Callable[[], int]) -> None:
        super().__init__(scratch, now_us)
        self._reader = reader

    def commit(self, outcome: Outcome) -> Counts:
        """See `Writing`."""
        if self._reader is not None and outcome.rows:
            new = [not is_known for is_known in self._reader.calls.known(outcome.rows)]
            rows, chains = list(compress(outcome.rows, new)), list(compress(outcome.chains, new))
            outcome = replace(outcome, rows=rows, chains=chains, lines=0, blanks=0)
        return super().commit(outcome)


def import_file(
    path: Path,
    writing: Writing,
    *,
    pricer: Pricer,
    owner: Owner,
    max_line_bytes: int,
    turn: AbstractContextManager[object],
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Imported:
    """Imports one file; `progress` gets the bytes read and in all.

    `turn` is entered for each transaction, so that other programs can write in between. Raises
    LedgerError, or OSError when a price cannot be asked; what was written before is done.
    """
    done = Imported(path)
    try:
        with NamedFile(path, max_line_bytes) as file:
            progress(0, file.size_bytes)
            head = file.head()
            format_ = transcript_of(head)
            is_whole = format_ == LOG and _is_whole(file, head, path)
            with turn:
                start = writing.register(replace(file.sighting, format=format_))
            span = _Span()
            for outcome in _outcomes(file, start, pricer, owner, is_whole=is_whole):
                with turn:
                    done.add(outcome, writing.commit(outcome))
                span.add(outcome)
                progress(max(span.offset, outcome.end.offset), file.size_bytes)
            done.added = writing.added(start.source_id, span.from_us, span.until_us)
    except UnreadableError as error:
        done.refusal = str(error)
    return done


class _Span:
    """Of which time the calls so far are, and where the last of them stands."""

    def __init__(self) -> None:
        self.from_us, self.until_us, self.offset = 1 << 62, 0, 0

    def add(self, outcome: Outcome) -> None:
        """Adds the calls of some records."""
        if outcome.rows:
            starts_us: list[Any] = [row[0] for row in outcome.rows]
            self.from_us = min(self.from_us, *starts_us)
            self.until_us = max(self.until_us, *starts_us)
            self.offset = place_of(outcome.rows[-1])[1]


def _outcomes(
    file: NamedFile, start: Checkpoint, pricer: Pricer, owner: Owner, *, is_whole: bool
) -> Iterator[Outcome]:
    """What becomes of the file's records, piece by piece; each is committed before the next."""
    if is_whole:
        yield from build(file.whole(start), pricer)
        return
    for chunk in file.chunks(start):
        for outcome in build(chunk, pricer, owner):
            yield outcome
            file.advance(outcome.end)


def _is_whole(file: NamedFile, head: bytes, path: Path) -> bool:
    """Whether the file is one document. Raises UnreadableError for one of none of the kinds."""
    is_whole = is_document(head)
    if is_whole and file.size_bytes > MAX_DOCUMENT_BYTES:
        raise UnreadableError(
            f"{path}: one document of more than {MAX_DOCUMENT_BYTES >> 20} MiB, which is not held "
            "in memory; make lines of it: jq -c '.[]' FILE > lines.jsonl"
        )
    lines = file.whole(_NOWHERE).lines if is_whole else head.split(b"\n")
    if not is_whole and len(head) < file.size_bytes:
        lines.pop()  # the head may end within it
    first_bad: BadLine | None = None
    for number, line in enumerate(lines):
        found = read_line(line, is_first=number == 0)
        if not isinstance(found, BadLine) and found is not None and _is_known(found):
            return is_whole
        first_bad = first_bad or (found if isinstance(found, BadLine) else None)
    if not any(map(bytes.strip, lines)):
        return is_whole  # it is empty
    raise UnreadableError(
        f"{path}: holds nothing that is known ({first_bad or 'unknown_format'}): expected rows of "
        "LiteLLM's spend logs (JSON or CSV), its payloads, trace lines, OpenTelemetry's spans and "
        "events, or transcripts of Claude Code and Codex"
    )


_NOWHERE: Final = Checkpoint(0, "", 0, 0)


def _is_known(found: Trace | Parts) -> bool:
    """Whether there is a record among these that can be read, or is known to be no call."""
    if isinstance(found, Trace):
        return True
    is_empty = True
    for part in found:
        if not isinstance(part.found, BadLine):
            return True
        is_empty = False
    return is_empty
