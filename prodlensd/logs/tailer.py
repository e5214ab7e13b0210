"""Follows each log file as a source, and reads complete lines. Knows nothing of their content.

One file is told from another by device and inode, which is a guess and only a guess: before reading
on, the last committed record must still stand before the offset, byte for byte. Where it does not
(the file was truncated, rewritten, replaced, or its inode given to another), the answer is a
`Mismatch`, and the file is read again from 0 as a new source. Reading too often is harmless; the
keys make it so.

A file that loses its name, or moves out of the folders, is read to its end through the descriptor
that is still open, and let go when nobody can write to it any more.

Zeros are where nothing has been written yet: a file may be as large as it is to become before its
bytes come, and they may come out of order. So zeros at the end of a file are not read, and those
before other bytes are given some time to become these.

The mutable state: `_followed` (the sources, their committed checkpoints, their open files), and
which of them have changed.
"""

from __future__ import annotations

import errno
import os
import resource
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Final, TypeVar

from prodlensd.logs.content import (
    LongRead,
    Pread,
    Unzipped,
    after_zeros,
    data_at,
    foreign_compression,
    gzip_proof,
    has_writer,
    proof_at,
    proof_of,
    proof_of_zeros,
    read_lines,
)
from prodlensd.logs.folders import FileId, Folders, PassedOver, sighting_of
from prodlensd.logs.gunzip import is_gzip
from prodlensd.model import Checkpoint, Chunk, Fault, Gap, Mismatch, Sighting, file_id

READ_BYTES: Final = 4 << 20
_BEFORE_ZEROS_BYTES: Final = 64 << 10
#: A change of the same size within the clock tick of our look goes unseen: look again after it.
_RACY_NS: Final = 2_000_000_000
#: How long zeros are given to become other bytes, from when they are seen.
ZEROS_WAIT_NS: Final = 2_000_000_000
#: How long the end of a run of zeros is believed, before all of it is looked at again.
_ZEROS_KNOWN_NS: Final = 1_000_000_000
#: How long a file that left the folders, or that may have a writer, is waited for.
_GRACE_NS: Final = 60_000_000_000
#: A file that is read to its end and quiet for this long is closed: it may be on a disk to unmount.
_QUIET_NS: Final = 300_000_000_000
#: A gzip file may be incomplete for this long before it is called damaged.
_INCOMPLETE_NS: Final = 600_000_000_000
_VERIFY_BLOCKS: Final = 16
_MAX_OPEN: Final = 128

_T = TypeVar("_T")


class Busy:
    """There is more to do with a source, and nothing to show yet."""


@dataclass(slots=True)
class _Zeros:
    """What is known of zeros at or after a source's offset.

    begin, end   between these the last look saw nothing else, at `seen_ns`
    is_open  there may be more of them after `end`, in the same look
    ripe     before this place they have had their time
    ripening up to here they are given it since `since_ns`; 0: none are
    is_old   the file was last written to before that time: nothing is on its way
    """

    begin: int = 0
    end: int = 0
    seen_ns: int = 0
    is_open: bool = False
    ripe: int = 0
    ripening: int = 0
    since_ns: int = 0
    is_old: bool = False


@dataclass(slots=True)
class _Followed:
    checkpoint: Checkpoint
    sighting: Sighting | None = None  # as of the last look; None when not seen
    read_sighting: Sighting | None = None  # as it was when last read to its end
    seen_bytes: int = 0  # its size at the look before
    unseen_scans: int = 0
    changed_ns: int = 0  # when it last changed, or was first not seen; monotonic
    file: int | None = None
    long_read: LongRead | None = None
    zeros: _Zeros = field(default_factory=_Zeros)
    unzipped: Unzipped | None = None
    unzipped_sighting: Sighting | None = None
    unreadable: str = ""  # why nothing of it can be read, as long as `unzipped_sighting` holds
    unreadable_at_ns: int = 0  # when to say so
    fault: str = ""  # why it could not be read at the last attempt

    def close(self) -> None:
        if self.file is not None:
            os.close(self.file)
            self.file = None
        self.unzipped = None

    @property
    def unread_bytes(self) -> int:
        """How many bytes were seen and not read; zeros at the end are none."""
        ends_in_zeros = self.zeros.end >= self.seen_bytes
        end = self.zeros.begin if ends_in_zeros else self.seen_bytes
        return max(0, end - self.checkpoint.offset)


@dataclass(frozen=True, slots=True)
class Survey:
    """What a look found: files without a source, sources that moved, sources whose file is gone."""

    new: list[Sighting]
    moved: list[Checkpoint]  # with the place where they are now
    gone: list[tuple[int, int]]  # source id, bytes known and never read


class Tailer:
    """Follows the files in `directories` whose names match one of the `include` patterns.

    `own` are the program's own files, which are no logs; for `zeros_wait_ns`, zeros may still
    become other bytes.
    """

    def __init__(
        self,
        directories: Sequence[Path],
        *,
        include: Sequence[str],
        recursive: bool,
        max_line_bytes: int,
        own: Iterable[Path] = (),
        zeros_wait_ns: int = ZEROS_WAIT_NS,
        checkpoints: Iterable[Checkpoint] = (),
    ) -> None:
        self._zeros_wait_ns = zeros_wait_ns
        self._folders = Folders(directories, include=include, recursive=recursive, own=own)
        self._max_line_bytes = max_line_bytes
        self._followed: dict[int, _Followed] = {}
        self._by_file: dict[FileId, int] = {}
        self._changed: dict[int, _Followed] = {}  # those to read, in the order of their changes
        self._open: OrderedDict[int, _Followed] = OrderedDict()  # least recently used first
        self._new_files: dict[FileId, int] = {}  # open files that have no source yet
        self._faulty: set[int] = set()
        self._folder_faults: list[Fault] = []
        self._now_ns = 0  # of the last look; monotonic
        self.passed_over: dict[str, PassedOver] = {}
        for checkpoint in checkpoints:
            self.adopt(checkpoint)

    def adopt(self, checkpoint: Checkpoint, sighting: Sighting | None = None) -> None:
        """Follows a source from its committed checkpoint on; later calls move it forward.

        With its `sighting` it can be read at once, otherwise after the next look.
        """
        source_id = checkpoint.source_id
        known = self._followed.get(source_id)
        if known is None:
            known = self._followed[source_id] = _Followed(checkpoint, changed_ns=self._now_ns)
        self._forget_file(known)
        known.checkpoint = checkpoint
        known.seen_bytes = max(known.seen_bytes, checkpoint.size_bytes)
        known.sighting = sighting or known.sighting
        file = (checkpoint.dev, checkpoint.inode)
        self._by_file[file] = source_id
        self._changed[source_id] = known
        if (opened := self._new_files.pop(file, None)) is not None:
            known.file = opened
            self._open[source_id] = known

    def drop(self, source_id: int) -> None:
        """No longer follows a source."""
        for of in (self._open, self._changed):
            of.pop(source_id, None)
        self._faulty.discard(source_id)
        if followed := self._followed.pop(source_id, None):
            self._forget_file(followed)
            followed.close()

    def _forget_file(self, followed: _Followed) -> None:
        checkpoint = followed.checkpoint
        file = (checkpoint.dev, checkpoint.inode)
        if self._by_file.get(file) == checkpoint.source_id:
            del self._by_file[file]

    def close(self) -> None:
        """Closes every file."""
        self._close_all_but(0, nameless=True)
        while self._new_files:
            os.close(self._new_files.popitem()[1])

    def close_quiet(self, now_ns: int) -> None:
        """Closes the files that are read to their end and have been quiet for minutes.

        They are opened again when they change. Those without a name stay: nobody could open them.
        """
        for source_id, followed in list(self._open.items()):
            is_read = followed.sighting == followed.read_sighting
            if is_read and not followed.unseen_scans and now_ns - followed.changed_ns > _QUIET_NS:
                followed.close()
                del self._open[source_id]

    def faults(self, now_ns: int) -> list[Fault]:
        """What could not be read when it was last tried. `now_ns` is since 1970."""
        faults = list(self._folder_faults)
        for source_id in sorted(self._faulty):
            followed = self._followed[source_id]
            reason = followed.fault
            if followed.unreadable and now_ns > followed.unreadable_at_ns:
                reason = followed.unreadable
            if reason:
                faults.append(Fault(followed.checkpoint.path, reason))
        return faults

    # Finding files

    def scan(self, now_ns: int) -> Survey:
        """Looks at every file in the folders, and matches it with the sources followed.

        `now_ns` is of a clock that never jumps.
        """
        self._now_ns = now_ns
        found = self._folders.look(lambda folder: self._sparing(partial(os.scandir, folder)))
        self._folder_faults = [*found.faults, *found.refused]
        self.passed_over = found.passed_over
        survey = Survey([], [], [])
        by_place: dict[tuple[str, int], int] = {}
        seen: set[int] = set()
        for file, sighting in found.files.items():
            source_id = self._by_file.get(file)
            if source_id is None:
                # A device's number may change with a reboot; then the path vouches for the inode.
                by_place = by_place or self._by_place()
                source_id = by_place.get((sighting.path, sighting.inode))
            if source_id is None or source_id in seen:
                survey.new.append(sighting)
            else:
                seen.add(source_id)
                self._see(self._followed[source_id], sighting, survey)
        for source_id, followed in self._followed.items():
            if source_id not in seen and self._is_gone(
                followed, now_ns, all_listed=not found.faults
            ):
                survey.gone.append((source_id, followed.unread_bytes))
        survey.new.sort(key=lambda sighting: sighting.mtime_ns)
        return survey

    def _by_place(self) -> dict[tuple[str, int], int]:
        return {(f.checkpoint.path, f.checkpoint.inode): s for s, f in self._followed.items()}

    def glance(self, paths: Iterable[str], now_ns: int) -> Survey:
        """Looks at these files only. That others are gone or moved, only `scan` finds out."""
        self._now_ns = now_ns
        survey = Survey([], [], [])
        for path in paths:
            sighting = self._folders.sight(path)
            if sighting is None:
                continue
            source_id = self._by_file.get((sighting.dev, sighting.inode))
            if source_id is None:
                survey.new.append(sighting)
                continue
            followed = self._followed[source_id]
            known = followed.checkpoint.path
            if path != known and (other := self._folders.sight(known)) is not None:
                # One file of two names keeps the one that it is known by.
                sighting = replace(sighting, path=known) if _same(other, sighting) else sighting
            self._see(followed, sighting, survey)
            # Within a clock tick a change may leave no other trace than the event.
            self._changed[source_id] = followed
            followed.read_sighting = None
        survey.new.sort(key=lambda sighting: sighting.mtime_ns)
        return survey

    # Searching for lost bytes

    def past(self, gap: Gap) -> list[int]:
        """The sources that are read past the bytes of this gap."""
        return [
            source_id
            for source_id, followed in self._followed.items()
            if followed.checkpoint.offset >= gap.end
        ]

    def search(self, source_id: int, gap: Gap) -> Iterator[bool | None]:
        """Whether this source, read past the gap, holds its bytes: the last thing that is yielded.

        None before it is a pause, for others to go on.
        """
        followed = self._followed.get(source_id)
        if followed is None or source_id == gap.source_id:
            return
        sighting = followed.sighting
        if sighting is None:
            return
        if not gap.record_bytes:
            # Nothing of it was read that could be compared: what was compressed bears its name.
            yield source_id > gap.source_id and sighting.path == f"{gap.path}.gz"
            return
        with suppress(OSError, EOFError, ValueError):
            file = self._file_of(followed, sighting)
            if file is None:
                return
            own = os.dup(file)  # which nobody closes meanwhile
            try:
                yield from holds(own, gap)
            finally:
                os.close(own)

    def sight(self, path: str) -> Sighting | None:
        """The log that stands at this path now; None when there is none."""
        return self._folders.sight(path)

    def _see(self, followed: _Followed, sighting: Sighting, survey: Survey) -> None:
        checkpoint = followed.checkpoint
        if followed.sighting is not None:
            followed.seen_bytes = followed.sighting.size_bytes
        if sighting != followed.sighting:
            followed.changed_ns = self._now_ns
        followed.sighting = sighting
        followed.unseen_scans = 0
        if sighting != followed.read_sighting:
            self._changed[checkpoint.source_id] = followed
        if (checkpoint.path, checkpoint.dev) != (sighting.path, sighting.dev):
            survey.moved.append(replace(checkpoint, path=sighting.path, dev=sighting.dev))

    def open_new(self, sightings: Iterable[Sighting]) -> list[Sighting]:
        """Opens files that have no source yet, as many as may be; returns those that are there.

        What is open can be read to its end, however soon its name goes: some rotators make a copy
        only to compress it. The others are opened when they are read.
        """
        sightings = list(sightings)
        wanted = {(sighting.dev, sighting.inode) for sighting in sightings}
        for file_of_none in self._new_files.keys() - wanted:
            os.close(self._new_files.pop(file_of_none))
        there = []
        for sighting in sightings:
            is_open = (sighting.dev, sighting.inode) in self._new_files
            if not is_open and len(self._new_files) < _most_open() // 2:
                try:
                    file = self._open_file(sighting)
                except OSError:
                    pass  # to be said when it is read
                else:
                    if file is None:
                        continue
                    self._new_files[sighting.dev, sighting.inode] = file
            there.append(sighting)
        return there

    def _is_gone(self, followed: _Followed, now_ns: int, *, all_listed: bool) -> bool:
        """Whether to give up a source whose file the scan did not find.

        Not after one scan, which may fall between two steps of a rotation. And not while its open
        file has unread bytes, or somebody who may write more. Where not all folders could be listed
        it may be in one of those, unless its open file says that it has no name.
        """
        if followed.file is None and not all_listed:
            return False
        followed.unseen_scans += 1
        if followed.file is None:
            if followed.sighting is not None:
                followed.seen_bytes = max(followed.seen_bytes, followed.sighting.size_bytes)
            followed.sighting = None
            return followed.unseen_scans > 1
        status = os.fstat(followed.file)
        path = followed.checkpoint.path
        now = sighting_of(path, status)
        if now != followed.sighting or followed.unseen_scans == 1:
            followed.changed_ns = now_ns
        followed.sighting = now
        followed.seen_bytes = status.st_size
        looked_at = followed.unzipped_sighting if followed.unreadable else followed.read_sighting
        if now != looked_at:
            self._changed[followed.checkpoint.source_id] = followed
        if now != looked_at or followed.unseen_scans <= 1:
            return False
        if status.st_nlink == 0 and has_writer(followed.file) is False:
            return True
        # On a clock that never jumps, and not by the file's own times, which may.
        return all_listed and now_ns - followed.changed_ns > _GRACE_NS

    # Reading

    def read(self, now_ns: int) -> Iterator[Chunk | Mismatch | Busy]:
        """One chunk, at most, of every source that has changed since it was last read to its end.

        Yields a Mismatch for a source that must begin again. What cannot be read is among `faults`,
        and tried again after the next scan. `now_ns` is since 1970.
        """
        for source_id, followed in list(self._changed.items()):
            outcome = self._read_changed(followed, now_ns)
            if outcome is None:
                self._changed.pop(source_id, None)
            else:
                yield outcome

    def _read_changed(self, followed: _Followed, now_ns: int) -> Chunk | Mismatch | Busy | None:
        sighting, source_id = followed.sighting, followed.checkpoint.source_id
        if sighting is None or sighting == followed.read_sighting:
            return None
        if followed.unreadable and followed.unzipped_sighting == sighting:
            return None
        followed.unreadable = followed.fault = ""
        followed.zeros.is_old = now_ns - sighting.mtime_ns > _RACY_NS
        self._faulty.discard(source_id)
        try:
            file = self._file_of(followed, sighting)
            outcome = None if file is None else self._read(followed, sighting, file)
        except OSError as error:
            followed.fault = error.strerror or str(error)
            self._faulty.add(source_id)
            return None
        # What changed just now may change again without a trace: the next scan has it read.
        is_racy = now_ns - sighting.mtime_ns <= _RACY_NS and not followed.unseen_scans
        is_ripening = followed.zeros.ripening > followed.checkpoint.offset
        if outcome is None and not (is_racy or is_ripening or followed.unreadable):
            followed.read_sighting = sighting
        return outcome

    def _file_of(self, followed: _Followed, sighting: Sighting) -> int | None:
        """The source's file, opened if need be; None when another stands there now."""
        source_id = followed.checkpoint.source_id
        if followed.file is not None:
            self._open.move_to_end(source_id)
            return followed.file
        self._close_all_but(_most_open() - 1)
        file = self._open_file(sighting)
        if file is not None:
            followed.file = file
            self._open[source_id] = followed
        return file

    def _open_file(self, sighting: Sighting) -> int | None:
        """The file that was seen; None when another stands there now, or none.

        Opening neither follows a link nor waits on a FIFO that took the file's place.
        """
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        try:
            file = self._sparing(partial(os.open, sighting.path, flags))
        except FileNotFoundError:
            return None
        try:
            status = os.fstat(file)
        except OSError:
            os.close(file)
            raise
        if file_id(status) == (sighting.dev, sighting.inode) and stat.S_ISREG(status.st_mode):
            return file
        os.close(file)
        return None

    def _sparing(self, opener: Callable[[], _T]) -> _T:
        """What `opener` opens; when descriptors have run out, ours are closed first."""
        try:
            return opener()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self._close_all_but(0)
            return opener()

    def _close_all_but(self, count: int, *, nameless: bool = False) -> None:
        """Closes files, least recently used first; those without a name only when told to."""
        for source_id, followed in list(self._open.items()):
            if len(self._open) <= count:
                return
            if nameless or not followed.unseen_scans:
                followed.close()
                del self._open[source_id]

    def _read(
        self, followed: _Followed, sighting: Sighting, file: int
    ) -> Chunk | Mismatch | Busy | None:
        if is_gzip(file):
            return self._read_gzip(followed, sighting, file)
        start = followed.checkpoint
        if not start.offset and (compression := foreign_compression(file)):
            self._set_aside(followed, sighting, f"compressed with {compression}; only gzip is read")
            return None

        pread = partial(_pread, file)
        writerless = followed.unseen_scans > 0 and _is_final(file)
        outcome = self._next_chunk(
            followed, pread, final=writerless, data_at=partial(data_at, file)
        )
        status = os.fstat(file)
        size_bytes = status.st_size
        # Asked after the read: what was read while the file changed under us is found out here.
        proof = proof_at(pread, start.offset - start.record_bytes, start.record_bytes)
        if proof != start.record_digest:
            followed.long_read, followed.zeros = None, _Zeros()
            reason = "truncated" if size_bytes < start.offset else "rewritten"
            return Mismatch(start.source_id, sighting, reason, followed.unread_bytes)
        if not isinstance(outcome, Chunk):
            return outcome
        if outcome.end < size_bytes and pread(1, outcome.end) == b"\0":
            size_bytes = outcome.end  # nothing has been written there yet
        return replace(outcome, size_bytes=size_bytes, appended_ns=status.st_mtime_ns)

    def _read_gzip(
        self, followed: _Followed, sighting: Sighting, file: int
    ) -> Chunk | Mismatch | Busy | None:
        """A gzip file is read when it is whole. Half-read ones begin again after a restart."""
        start = followed.checkpoint
        proof = gzip_proof(file)
        if start.record_digest == proof and not start.record_bytes:
            return None
        if followed.unzipped is None or followed.unzipped_sighting != sighting:
            if start.offset:
                return Mismatch(start.source_id, sighting, "rewritten", 0)
            followed.unzipped, followed.unzipped_sighting = Unzipped(file), sighting
        unzipped = followed.unzipped
        try:
            if unzipped.size_bytes is None and not unzipped.verify(READ_BYTES, _VERIFY_BLOCKS):
                return Busy()
            outcome = self._next_chunk(followed, unzipped.pread, final=True)
        except (EOFError, ValueError) as error:
            followed.unzipped = None
            self._set_aside(
                followed,
                sighting,
                f"not a complete gzip file: {error}",
                sighting.mtime_ns + _INCOMPLETE_NS,  # it may still be written
            )
            return None
        if not isinstance(outcome, Chunk):
            return outcome
        whole = outcome.end == unzipped.size_bytes
        return replace(
            outcome,
            size_bytes=unzipped.size_bytes or 0,
            record_bytes=0,
            record_digest=proof if whole else b"",
        )

    def _set_aside(
        self, followed: _Followed, sighting: Sighting, reason: str, say_at_ns: int = 0
    ) -> None:
        """Reads nothing of this file before it changes."""
        followed.unreadable, followed.unreadable_at_ns = reason, say_at_ns
        followed.unzipped_sighting = sighting
        self._faulty.add(followed.checkpoint.source_id)

    def _next_chunk(
        self,
        followed: _Followed,
        pread: Pread,
        *,
        final: bool,
        data_at: Callable[[int], int] = int,
    ) -> Chunk | Busy | None:
        """The next lines, up to the first that is over the limit, or that line, or a hole, or None.

        With `final` nothing more will be written: what stands there without a newline is a line.
        """
        start = followed.checkpoint
        settled = pread if final else self._settled(followed, pread, data_at)
        if followed.long_read is not None:
            return _next_long_line(followed, settled)
        if pread(1, start.offset) == b"\0":
            return self._next_hole(followed, pread, data_at, final=final)
        # Where zeros are known to follow, little is read: most of it would be these.
        knows_zeros = followed.zeros.end > start.offset
        block_bytes = _BEFORE_ZEROS_BYTES if knows_zeros else READ_BYTES
        data = read_lines(settled, start.offset, block_bytes, self._max_line_bytes)
        # As data.split(b"\n"), but five times as fast on long lines: CPython's split looks at
        # every byte by itself. What follows the last newline is a line still being written.
        lines = [line[:-1] for line in BytesIO(data[: data.rfind(b"\n") + 1])]
        if len(data) > self._max_line_bytes:
            over = (i for i, line in enumerate(lines) if len(line) > self._max_line_bytes)
            del lines[next(over, len(lines)) :]
            if not lines:
                followed.long_read = LongRead(start.offset, start.chain)
                return _next_long_line(followed, settled)
        if lines:
            end = start.offset + sum(map(len, lines)) + len(lines)
            record = lines[-1] + b"\n"
            return Chunk(start, lines, end, 0, len(record), proof_of(record))
        if final and data:
            end = start.offset + len(data)
            return Chunk(start, [data], end, 0, len(data), proof_of(data), unterminated=True)
        return None

    def _next_hole(
        self, followed: _Followed, pread: Pread, data_at: Callable[[int], int], *, final: bool
    ) -> Chunk | Busy | None:
        """The zeros at the offset, when other bytes follow them; None while none do.

        Where a program writes on at its old place in a truncated file it leaves such a hole behind.
        Where a file is given its size before its bytes, these are still to come. All of a run of
        zeros is passed in one chunk, so that none of it is behind us before its end is known.
        """
        start, zeros = followed.checkpoint, followed.zeros
        end, is_followed = self._end_of_zeros(zeros, pread, start.offset, data_at)
        if zeros.is_open:
            return Busy()
        if not final and not (is_followed and self._is_ripe(zeros, start.offset, end)):
            return None
        count = end - start.offset
        return Chunk(start, [], end, 0, count, proof_of_zeros(count), zeros=count)

    def _end_of_zeros(
        self, zeros: _Zeros, pread: Pread, place: int, data_at: Callable[[int], int]
    ) -> tuple[int, bool]:
        """Where the zeros at this place end, and whether anything is known to follow.

        What the last look passed over from there is not looked at again for a moment.
        """
        is_known = zeros.is_open or self._now_ns - zeros.seen_ns < _ZEROS_KNOWN_NS
        begin = zeros.end if is_known and zeros.begin <= place <= zeros.end else place
        end, is_followed = after_zeros(pread, begin, data_at)
        if begin == place:
            zeros.seen_ns = self._now_ns
        zeros.begin, zeros.end, zeros.is_open = place, end, is_followed is None
        return end, bool(is_followed)

    def _settled(self, followed: _Followed, pread: Pread, data_at: Callable[[int], int]) -> Pread:
        """As `pread`, but the file ends where zeros begin that may still become other bytes."""
        zeros = followed.zeros

        def read(count: int, offset: int) -> bytes:
            block = pread(count, offset)
            while (zero := block.find(b"\0", max(0, zeros.ripe - offset))) >= 0:
                place, followed_to = offset + zero, offset + len(block.rstrip(b"\0"))
                if place >= followed_to:
                    followed_to, is_followed = self._end_of_zeros(zeros, pread, place, data_at)
                    if not is_followed:
                        return block[:zero]
                if not self._is_ripe(zeros, place, followed_to):
                    return block[:zero]
            return block

        return read

    def _is_ripe(self, zeros: _Zeros, place: int, end: int) -> bool:
        """Whether zeros at this place have had their time; all up to `end` have it together."""
        if place >= max(zeros.ripe, zeros.ripening):
            zeros.ripening, zeros.since_ns = end, self._now_ns
        is_over = self._now_ns - zeros.since_ns >= self._zeros_wait_ns
        if zeros.ripening and (is_over or zeros.is_old):
            zeros.ripe, zeros.ripening = zeros.ripening, 0
        return place < zeros.ripe


def _next_long_line(followed: _Followed, pread: Pread) -> Chunk | None:
    """The line over the limit that has begun at the offset; None before it has ended."""
    assert followed.long_read is not None  # noqa: S101 - for the type checker
    start = followed.checkpoint
    long_line = followed.long_read.read_on(pread, READ_BYTES)
    if long_line is None:
        return None
    followed.long_read = None
    length = long_line.length + 1
    end, proof = start.offset + length, long_line.record_digest
    return Chunk(start, [], end, 0, length, proof, long_line=long_line)


def holds(file: int, gap: Gap) -> Iterator[bool | None]:
    """Whether the record that stood before the gap stands at its place in this open file.

    The last thing that is yielded; None before it is a pause, for others to go on. Raises OSError,
    and EOFError or ValueError for a gzip file that ends before it, or is damaged.
    """
    pread: Pread = partial(_pread, file)
    begin = gap.offset - gap.record_bytes
    if is_gzip(file):
        unzipped = Unzipped(file)
        while unzipped.pass_over(begin, begin + 1):
            yield None
        pread = unzipped.pread
    yield proof_at(pread, begin, gap.record_bytes) == gap.record_digest


def _most_open() -> int:
    """How many files to keep open: the process has other uses for descriptors, too."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MAX_OPEN if soft == resource.RLIM_INFINITY else max(1, min(_MAX_OPEN, soft // 4))


def _pread(file: int, count: int, offset: int) -> bytes:
    return os.pread(file, count, offset)


def _is_final(file: int) -> bool:
    """Whether nobody can write to the file any more: it has no name, and no writer has it open."""
    return os.fstat(file).st_nlink == 0 and has_writer(file) is False


def _same(one: Sighting, other: Sighting) -> bool:
    return (one.dev, one.inode) == (other.dev, other.inode)
