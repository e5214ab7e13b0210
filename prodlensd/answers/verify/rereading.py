"""The logs against the ledger: each source read again from its start, line by line."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from prodlensd.answers.facts import Follow
from prodlensd.answers.verify.differences import NOTHING, Difference, Differences
from prodlensd.ledger import Counts, Place, Reader, Source, place_of
from prodlensd.logs import PassedOver, Tailer
from prodlensd.model import CHAIN_ROOT, Checkpoint, Chunk, Fault, Mismatch, Outcome, Sighting
from prodlensd.moments import short_time
from prodlensd.pipeline import build
from prodlensd.pricing import Pricer

# Each of them that is compressed holds a window of unpacked bytes in memory.
SOURCES_AT_ONCE: Final = 16
#: A time at which no file is young any more: the tailer waits for nothing that may still change.
_LATER_NS: Final = 1 << 62
#: The reason for a source whose file was not found.
_GONE: Final = "gone"
#: And for one that is there, or may be.
_UNREADABLE: Final = "unreadable"

#: Where the file of a source is now; None when it was not found.
Find = Callable[[Checkpoint], Sighting | None]


class Unread(Struct, frozen=True):
    """A source that was not read again, and why not."""

    source_id: int
    path: str
    reason: str
    fault: str = ""  # of one that is unreadable, in the system's words


class Places:
    """The files in the log folders, as one look found them. The mutable state: that look."""

    def __init__(self, follow: Follow) -> None:
        self._follow = follow
        self.faults: list[Fault] = []
        self.passed_over: dict[str, PassedOver] = {}
        self._found: dict[tuple[int | str, int], Sighting] = {}

    def look(self) -> None:
        """Looks at all folders."""
        tailer = self._follow(())
        survey = tailer.scan(0)
        self.faults, self.passed_over = tailer.faults(0), tailer.passed_over
        # A device's number may change with a reboot; then the path vouches for the inode.
        self._found = {}
        for seen in survey.new:
            self._found[seen.path, seen.inode] = self._found[seen.dev, seen.inode] = seen

    def find(self, checkpoint: Checkpoint) -> Sighting | None:
        """Where the file of a source was."""
        dev, path, inode = checkpoint.dev, checkpoint.path, checkpoint.inode
        return self._found.get((dev, inode)) or self._found.get((path, inode))

    def explained(self, unread: Unread) -> Unread:
        """The same; what stands in a folder that cannot be listed may be there all the same."""
        if unread.reason == _GONE:
            for folder, fault in self.unreadable_folders():
                if Path(unread.path).is_relative_to(folder):
                    return replace(unread, reason=_UNREADABLE, fault=fault)
        return unread

    def unreadable_folders(self) -> Iterator[Fault]:
        """The folders that cannot be listed, although they are there."""
        for fault in self.faults:
            with suppress(FileNotFoundError, NotADirectoryError):
                with suppress(PermissionError):  # one above it is closed to us
                    Path(fault.path).stat()
                yield fault


def reread(
    sources: list[Source],
    rereader: Rereader,
    look_again: Callable[[], None],
    differences: Differences,
    progress: Callable[[int, int], None],
) -> list[Unread]:
    """Reads all live sources again, SOURCES_AT_ONCE at a time; gives those that were not read."""
    unread = [
        Unread(source.checkpoint.source_id, source.checkpoint.path, source.state)
        for source in sources
        if source.state != "live"
    ]
    live = [source for source in sources if source.state == "live"]
    total = sum(source.checkpoint.offset for source in live)
    done = 0

    def advance(size_bytes: int) -> None:
        nonlocal done
        done += size_bytes
        progress(done, total)

    def compare(some: list[Source]) -> Iterator[Unread]:
        left = iter(some)
        while group := list(islice(left, SOURCES_AT_ONCE)):
            yield from rereader.compare([Replay(source) for source in group], differences, advance)

    advance(0)
    first = list(compare(live))
    gone = {one.source_id for one in first if one.reason == _GONE}
    if gone:
        # What is not there any more may have been renamed since the look.
        look_again()
    again = compare([source for source in live if source.checkpoint.source_id in gone])
    return [*unread, *(one for one in first if one.reason != _GONE), *again]


class Replay:
    """One source read again from 0. The mutable state: how far, and what was counted so far."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.goal = source.checkpoint
        self.cursor = replace(
            self.goal, offset=0, chain=CHAIN_ROOT, record_bytes=0, record_digest=b"", memory=""
        )
        self.path = self.goal.path  # where the file is now
        self.lines = self.traces = self.duplicates = self.dead_letters = self.blanks = 0
        self.records = self.passed_over = 0
        self._refused_line: bytes | None = None  # of many records, which an older version refused
        self.differences = Differences()
        self._unnoted: list[tuple[int, str, str, str]] = []
        self.first_different = self.goal.offset  # where the first line that differs begins

    @property
    def finished(self) -> bool:
        """Whether all that was committed has been read."""
        return self.cursor.offset == self.goal.offset

    def take(self, outcome: Outcome, reader: Reader) -> None:
        """Counts the records of one outcome, and looks each of them up in the ledger."""
        self.lines += outcome.lines
        self.blanks += outcome.blanks
        self.cursor = outcome.end
        if not self._is_refused_line(outcome, reader):
            self._take_records(outcome, reader)
        self._note()

    def _is_refused_line(self, outcome: Outcome, reader: Reader) -> bool:
        """Whether it is of a line of many records that is one dead letter; counts that once.

        An older version did not read lines of many records.
        """
        if outcome.line is None or outcome.line == self._refused_line:
            return outcome.line is not None
        if not outcome.lines or (place := reader.letters.place(outcome.line)) is None:
            return False
        self._refused_line = outcome.line
        is_here = place[0] == self.goal.source_id
        self.records += 1
        self.dead_letters += is_here
        self.duplicates += not is_here
        return True

    def _take_records(self, outcome: Outcome, reader: Reader) -> None:
        places = reader.calls.places(row[:2] for row in outcome.rows)
        for row, chain, place in zip(outcome.rows, outcome.chains, places, strict=True):
            self._take_trace(row, chain, place, reader)
        for letter in outcome.dead_letters:
            place = reader.letters.place(letter.key)
            here = self._is_here(place, letter.source_offset)
            self.dead_letters += here
            self.duplicates += place is not None and not here
            if place is None:
                name = f"dead letter {letter.key.hex()}"
                self._differs(letter.source_offset, "line", name, NOTHING)
        for key, offset in outcome.passed_over:
            # An older version refused what is known to be no call.
            place = reader.letters.place(key)
            here = self._is_here(place, offset)
            self.dead_letters += here
            self.duplicates += place is not None and not here
            self.passed_over += place is None
        self.passed_over += outcome.skipped
        self.duplicates += outcome.repeated
        self.records += outcome.records

    def _take_trace(
        self, row: tuple[Any, ...], chain: bytes, place: Place | None, reader: Reader
    ) -> None:
        started_us, key = row[:2]
        _, offset = place_of(row)
        if here := self._is_here(place, offset):
            self.traces += 1
        # What an older version refused, and this one can read, is in the queue under its chain.
        refused = None if here and key != chain else reader.letters.place(chain)
        if place is not None and refused is not None and key == chain:
            self._differs(offset, "line", "in the ledger once", "a trace and a dead letter")
        elif place is refused is None:
            name = chain.hex() if key == chain else key
            self._differs(offset, "line", f"trace {name} of {short_time(started_us)}", NOTHING)
        elif not here:
            refused_here = self._is_here(refused, offset)
            self.dead_letters += refused_here
            self.duplicates += not refused_here

    def _is_here(self, place: Place | None, offset: int) -> bool:
        """Whether the line at this offset is the one that was first read at this place."""
        return place == (self.goal.source_id, offset)

    def overrun(self) -> None:
        """Notes that the next line goes on where the ledger has read to."""
        expected = f"an end at byte {self.goal.offset} or before"
        self._differs(self.cursor.offset, "line", expected, "an end after it")
        self._note()

    def _differs(self, offset: int, what: str, expected: str, found: str) -> None:
        self._unnoted.append((offset, what, expected, found))

    def _note(self) -> None:
        """Notes the differences of one chunk in the order of its lines."""
        for offset, what, expected, found in sorted(self._unnoted):
            self.first_different = min(self.first_different, offset)
            self.differences.add(Difference(self.path, offset, what, expected, found))
        self._unnoted.clear()

    def compare(self, *, edited: bool) -> None:
        """Compares the source's counters and its cursor with what was read.

        `edited`: the last record is not the one that was committed.
        """
        if edited:
            last = self.goal.offset - self.goal.record_bytes
            self._differs(last, "last record", "the bytes committed", "others")
            self._note()
        if not self.finished:
            return
        read = Counts(**{name: getattr(self, name) for name in Counts._fields})
        expect = partial(self.differences.expect, self.path)
        for name, count, counter in zip(Counts._fields, read, self.source.counts, strict=True):
            expect(f"the source's count of {name.replace('_', ' ')}", count, counter)
        expect("chain digest", self.cursor.chain, self.goal.chain)

    @property
    def only_its_last_record_was_edited(self) -> bool:
        """Whether the file is the one that was committed but for the bytes of the last record.

        Then that record was edited in place, while in a file that was rewritten or replaced other
        lines differ too.
        """
        last = self.goal.offset - self.goal.record_bytes
        return self.finished and 0 < last <= self.first_different and last < self.goal.offset


class Rereader:
    """Reads groups of sources again, with the daemon's own tailer and pipeline."""

    def __init__(self, reader: Reader, follow: Follow, find: Find) -> None:
        self._reader = reader
        self._follow = follow
        self._find = find
        self._pricer = Pricer()  # without price books: no key depends on a price

    def compare(
        self, replays: list[Replay], differences: Differences, advance: Callable[[int], None]
    ) -> Iterator[Unread]:
        """Compares these sources; yields those that could not be read again."""
        faults = self._read(replays, advance)
        # Asked after the reading, so that what changed under us counts as changed.
        mismatches = self._mismatches(replay for replay in replays if replay.goal.offset)
        for replay in replays:
            source_id, path = replay.goal.source_id, replay.path
            if source_id in mismatches and not replay.only_its_last_record_was_edited:
                yield Unread(source_id, path, mismatches[source_id])
            elif replay.finished or replay.differences.count:
                replay.compare(edited=source_id in mismatches)
                differences.take(replay.differences)
            elif path in faults:
                differences.add(Difference(path, None, "file", "readable", faults[path]))
                yield Unread(source_id, path, _UNREADABLE, faults[path])
            else:
                yield Unread(source_id, path, "changed" if replay.cursor.offset else _GONE)

    def _read(self, replays: list[Replay], advance: Callable[[int], None]) -> dict[str, str]:
        """Reads each up to its checkpoint; gives the paths of unreadable files, and why."""
        unfinished = {replay.goal.source_id: replay for replay in replays if not replay.finished}
        tailer = self._follow(())
        try:
            for replay in unfinished.values():
                if (sighting := self._find(replay.goal)) is not None:
                    replay.path = sighting.path
                    tailer.adopt(replace(replay.cursor, path=sighting.path), sighting)
            while self._read_on(tailer, unfinished, advance):
                pass
            return dict(tailer.faults(_LATER_NS))
        finally:
            tailer.close()

    def _read_on(
        self, tailer: Tailer, unfinished: dict[int, Replay], advance: Callable[[int], None]
    ) -> bool:
        """Reads at most one chunk of each; False when there was nothing more."""
        found_work = False
        for found in tailer.read(_LATER_NS):
            found_work = True
            if isinstance(found, Chunk):
                replay = unfinished[found.start.source_id]
                self._take(replay, found, tailer)
                advance(replay.cursor.offset - found.start.offset)
            elif isinstance(found, Mismatch):
                tailer.drop(found.source_id)
        return found_work

    def _take(self, replay: Replay, chunk: Chunk, tailer: Tailer) -> None:
        for outcome in build(_cut(chunk, replay.goal.offset), self._pricer):
            replay.take(outcome, self._reader)
        if replay.finished:
            tailer.drop(replay.goal.source_id)
        elif replay.cursor.offset > chunk.start.offset:
            tailer.adopt(replay.cursor)
        else:
            replay.overrun()
            tailer.drop(replay.goal.source_id)

    def _mismatches(self, replays: Iterable[Replay]) -> dict[int, str]:
        """Sources whose last committed record no longer stands before the offset, and why."""
        tailer = self._follow(())
        try:
            for replay in replays:
                now = tailer.sight(replay.path)
                if now is not None and now.inode == replay.goal.inode:
                    tailer.adopt(replace(replay.goal, path=now.path), now)
            found = tailer.read(_LATER_NS)
            return {one.source_id: one.reason for one in found if isinstance(one, Mismatch)}
        finally:
            tailer.close()


def _cut(chunk: Chunk, goal: int) -> Chunk:
    """The lines of the chunk that end at the offset `goal` or before; perhaps none."""
    if chunk.end <= goal:
        return chunk
    start = chunk.start.offset
    if chunk.zeros:
        return replace(chunk, end=goal, zeros=goal - start)
    ends = list(accumulate((len(line) + 1 for line in chunk.lines), initial=start))
    count = bisect_right(ends, goal) - 1
    # The digest of the chunk's last record is not that of its last line any more.
    return Chunk(chunk.start, chunk.lines[:count], ends[count], chunk.size_bytes, 0, b"")
