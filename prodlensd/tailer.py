"""Finds log files, follows each as a source, reads complete lines. Knows nothing of their content.

One file is told from another by device and inode, which is a guess and only a guess: before reading
on, the last committed record must still stand before the offset, byte for byte. Where it does not
(the file was truncated, rewritten, replaced, or its inode given to another), the answer is a
`Doubt`, and the file is read again from 0 as a new source. Reading too often is harmless; the keys
make it so.

A file that loses its name, or moves out of the folders, is read to its end through the descriptor
that is still open, and let go when nobody can write to it any more.

The mutable state: `_followed` (the sources, their committed checkpoints, their open files).
"""

from __future__ import annotations

import errno
import os
import re
import resource
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import translate
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Final, TypeVar

from prodlensd.content import (
    LongRead,
    Pread,
    Unzipped,
    data_at,
    foreign_compression,
    gzip_proof,
    has_writer,
    proof_at,
    proof_of,
    read_lines,
    zeros_at,
)
from prodlensd.gunzip import MAGIC as GZIP_MAGIC
from prodlensd.model import Checkpoint, Chunk, Doubt, Gap, Sighting

READ_BYTES: Final = 4 << 20
#: A change of the same size within the clock tick of our look would go unseen: look again so long.
_RACY_NS: Final = 2_000_000_000
#: How long a file that left the folders, or that may have a writer, is waited for.
_GRACE_NS: Final = 60_000_000_000
#: A gzip file may be incomplete for so long before it is called damaged.
_INCOMPLETE_NS: Final = 600_000_000_000
_VERIFY_BLOCKS: Final = 16
_MAX_OPEN: Final = 128

_FileKey = tuple[int, int]
_T = TypeVar("_T")


class Busy:
    """There is more to do with a source, and nothing to show yet."""


@dataclass(slots=True)
class _Followed:
    checkpoint: Checkpoint
    sighting: Sighting | None = None  # as of the last scan; None when not seen
    read_sighting: Sighting | None = None  # as it was when last read to its end
    seen_bytes: int = 0  # its size in the scan before
    unseen_scans: int = 0
    quiet_since_ns: int = 0  # when it last changed, or was first not seen; monotonic
    file: int | None = None
    long_read: LongRead | None = None
    unzipped: Unzipped | None = None
    unzipped_sighting: Sighting | None = None
    unreadable: str = ""  # why nothing of it can be read, as long as `unzipped_sighting` holds
    unreadable_at_ns: int = 0  # when to say so

    def close(self) -> None:
        if self.file is not None:
            os.close(self.file)
            self.file = None
        self.unzipped = None


@dataclass(frozen=True, slots=True)
class Survey:
    """What a scan found: files without a source, sources that moved, sources whose file is gone.

    `faults` are folders that could not be listed; nothing is concluded about the files in them.
    `refused` are files that cannot be followed, with the reason.
    """

    new: list[Sighting]
    moved: list[Checkpoint]  # with the place where they are now
    gone: list[tuple[int, int]]  # source id, bytes known and never read
    faults: list[str]
    refused: list[str]


class Tailer:
    """Follows the files in `directories` whose names match one of the `include` patterns.

    Symbolic links are not followed, and nothing but regular files is ever opened.
    """

    def __init__(
        self,
        directories: Sequence[Path],
        *,
        include: Sequence[str],
        recursive: bool,
        max_line_bytes: int,
        checkpoints: Iterable[Checkpoint] = (),
    ) -> None:
        self._directories = directories
        self._included = re.compile("|".join(map(translate, include)))
        self._recursive = recursive
        self._max_line_bytes = max_line_bytes
        self._followed: dict[int, _Followed] = {}
        self._open: OrderedDict[int, _Followed] = OrderedDict()  # least recently used first
        for checkpoint in checkpoints:
            self.adopt(checkpoint)

    def adopt(self, checkpoint: Checkpoint, sighting: Sighting | None = None) -> None:
        """Follows a source from its committed checkpoint on; later calls move it forward.

        With its `sighting` it can be read at once, otherwise after the next scan.
        """
        known = self._followed.get(checkpoint.source_id)
        if known is None:
            known = self._followed[checkpoint.source_id] = _Followed(checkpoint)
        known.checkpoint = checkpoint
        known.seen_bytes = max(known.seen_bytes, checkpoint.size_bytes)
        known.sighting = sighting or known.sighting

    def drop(self, source_id: int) -> None:
        """No longer follows a source."""
        self._open.pop(source_id, None)
        if followed := self._followed.pop(source_id, None):
            followed.close()

    def close(self) -> None:
        """Closes every file."""
        self._close_all_but(0, nameless=True)

    def has_read(self, gap: Gap) -> bool:
        """Whether a source that is followed holds the bytes of this gap, and has read past them."""
        for followed in self._followed.values():
            sighting = followed.sighting
            if sighting is None or followed.checkpoint.offset < gap.offset + gap.known_bytes:
                continue
            try:
                file = self._file_of(followed, sighting)
            except OSError:
                continue
            if file is not None and _holds(file, gap):
                return True
        return False

    # Finding files

    def scan(self, now_ns: int) -> Survey:
        """Looks at every file in the folders, and matches it with the sources followed.

        `now_ns` is of a clock that never jumps.
        """
        survey = Survey([], [], [], [], [])
        sightings = self._sightings(survey.faults, survey.refused)
        by_file = {(f.checkpoint.dev, f.checkpoint.inode): f for f in self._followed.values()}
        by_place = {(f.checkpoint.path, f.checkpoint.inode): f for f in self._followed.values()}
        seen: set[int] = set()
        for file, sighting in sightings.items():
            # A device's number may change with a reboot; then the path vouches for the inode.
            followed = by_file.get(file) or by_place.get((sighting.path, sighting.inode))
            if followed is None or followed.checkpoint.source_id in seen:
                survey.new.append(sighting)
                continue
            checkpoint = followed.checkpoint
            seen.add(checkpoint.source_id)
            if followed.sighting is not None:
                followed.seen_bytes = followed.sighting.size_bytes
            followed.sighting = sighting
            followed.unseen_scans = 0
            if (checkpoint.path, checkpoint.dev) != (sighting.path, sighting.dev):
                survey.moved.append(replace(checkpoint, path=sighting.path, dev=sighting.dev))
        for source_id, followed in self._followed.items():
            if source_id not in seen and self._is_gone(
                followed, now_ns, all_listed=not survey.faults
            ):
                known_bytes = max(0, followed.seen_bytes - followed.checkpoint.offset)
                survey.gone.append((source_id, known_bytes))
        survey.new.sort(key=lambda sighting: sighting.mtime_ns)
        return survey

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
        now = _sighting(path, status)
        if now != followed.sighting or followed.unseen_scans == 1:
            followed.quiet_since_ns = now_ns
        followed.sighting = now
        followed.seen_bytes = status.st_size
        looked_at = followed.unzipped_sighting if followed.unreadable else followed.read_sighting
        if now != looked_at or followed.unseen_scans <= 1:
            return False
        if status.st_nlink == 0 and has_writer(followed.file) is False:
            return True
        # On a clock that never jumps, and not by the file's own times, which may.
        return all_listed and now_ns - followed.quiet_since_ns > _GRACE_NS

    def _sightings(self, faults: list[str], refused: list[str]) -> dict[_FileKey, Sighting]:
        found: dict[_FileKey, Sighting] = {}
        folders = [os.fspath(directory) for directory in self._directories]
        while folders:
            folder = folders.pop()
            try:
                with self._sparing(partial(os.scandir, folder)) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            if self._recursive:
                                folders.append(entry.path)
                        elif self._included.match(entry.name) and entry.is_file(
                            follow_symlinks=False
                        ):
                            if not _is_text(entry.path):
                                refused.append(f"{entry.path!a}: its name is not UTF-8; rename it")
                            else:
                                _sight(entry, found)
            except OSError as error:
                named = folder if _is_text(folder) else ascii(folder)
                faults.append(f"{named}: {error.strerror}")
        return found

    # Reading

    def read(self, now_ns: int) -> Iterator[Chunk | Doubt | Busy | str]:
        """One chunk, at most, of every source that has changed since it was last read to its end.

        Yields a Doubt for a source that must begin again, and a sentence for a file that cannot be
        read.
        """
        for followed in list(self._followed.values()):
            sighting = followed.sighting
            if sighting is None or sighting == followed.read_sighting:
                continue
            if followed.unreadable and followed.unzipped_sighting == sighting:
                if now_ns > followed.unreadable_at_ns:
                    yield f"{sighting.path}: {followed.unreadable}"
                continue
            followed.unreadable = ""
            try:
                file = self._file_of(followed, sighting)
                outcome = None if file is None else self._read(followed, sighting, file)
            except OSError as error:
                yield f"{sighting.path}: {error.strerror}"
                continue
            if outcome is not None:
                yield outcome
            elif now_ns - sighting.mtime_ns > _RACY_NS or followed.unseen_scans:
                followed.read_sighting = sighting

    def _file_of(self, followed: _Followed, sighting: Sighting) -> int | None:
        """The source's file, opened if need be; None when another stands there now.

        Opening neither follows a link nor waits on a FIFO that took the file's place.
        """
        source_id = followed.checkpoint.source_id
        if followed.file is not None:
            self._open.move_to_end(source_id)
            return followed.file
        self._close_all_but(_most_open() - 1)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        try:
            file = self._sparing(partial(os.open, sighting.path, flags))
        except FileNotFoundError:
            return None
        status = os.fstat(file)
        same = (status.st_dev, status.st_ino) == (sighting.dev, sighting.inode)
        if not same or not stat.S_ISREG(status.st_mode):
            os.close(file)
            return None
        followed.file = file
        self._open[source_id] = followed
        return file

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
    ) -> Chunk | Doubt | Busy | None:
        if os.pread(file, len(GZIP_MAGIC), 0) == GZIP_MAGIC:
            return self._read_gzip(followed, sighting, file)
        start = followed.checkpoint
        if not start.offset and (compression := foreign_compression(file)):
            followed.unzipped_sighting, followed.unreadable_at_ns = sighting, 0
            followed.unreadable = f"compressed with {compression}; only gzip is read"
            return Busy()  # to be said

        pread = partial(_pread, file)
        writerless = followed.unseen_scans > 0 and _is_final(file)
        chunk = self._next_chunk(followed, pread, final=writerless, data_at=partial(data_at, file))
        status = os.fstat(file)
        size_bytes = status.st_size
        # Asked after the read: what was read while the file changed under us is found out here.
        proof = proof_at(pread, start.offset - start.record_bytes, start.record_bytes)
        if proof != start.record_digest:
            followed.long_read = None
            reason = "truncated" if size_bytes < start.offset else "rewritten"
            return Doubt(
                start.source_id, sighting, reason, max(0, followed.seen_bytes - start.offset)
            )
        if chunk is None:
            return None
        if not chunk.record_digest:
            record = proof_at(pread, start.offset, chunk.record_bytes)
            chunk = replace(chunk, record_digest=record)
        return replace(chunk, size_bytes=size_bytes, appended_ns=status.st_mtime_ns)

    def _read_gzip(
        self, followed: _Followed, sighting: Sighting, file: int
    ) -> Chunk | Doubt | Busy | None:
        """A gzip file is read when it is whole. Half-read ones begin again after a restart."""
        start = followed.checkpoint
        proof = gzip_proof(file)
        if start.record_digest == proof and not start.record_bytes:
            return None
        if followed.unzipped is None or followed.unzipped_sighting != sighting:
            if start.offset:
                return Doubt(start.source_id, sighting, "rewritten", 0)
            followed.unzipped, followed.unzipped_sighting = Unzipped(file), sighting
        unzipped = followed.unzipped
        try:
            if unzipped.size_bytes is None and not unzipped.verify(READ_BYTES, _VERIFY_BLOCKS):
                return Busy()
            chunk = self._next_chunk(followed, unzipped.pread, final=True)
        except (EOFError, ValueError) as error:
            followed.unzipped = None
            followed.unreadable = f"not a complete gzip file: {error}"
            followed.unreadable_at_ns = sighting.mtime_ns + _INCOMPLETE_NS
            return Busy()  # to be looked at again: it may still be written
        if chunk is None:
            return None
        whole = chunk.end == unzipped.size_bytes
        return replace(
            chunk,
            size_bytes=unzipped.size_bytes or 0,
            record_bytes=0,
            record_digest=proof if whole else b"",
        )

    def _next_chunk(
        self,
        followed: _Followed,
        pread: Pread,
        *,
        final: bool,
        data_at: Callable[[int], int] = int,
    ) -> Chunk | None:
        """The next lines, up to the first that is over the limit, or that line, or a hole, or None.

        With `final` nothing more will be written: what stands there without a newline is a line.
        """
        start = followed.checkpoint
        if followed.long_read is None and pread(1, start.offset) == b"\0":
            zeros = zeros_at(pread, start.offset, data_at)
            return Chunk(start, [], start.offset + zeros, 0, zeros, b"", zeros=zeros)
        if followed.long_read is None:
            data = read_lines(pread, start.offset, READ_BYTES, self._max_line_bytes)
            # As data.split(b"\n"), but five times as fast on long lines: CPython's split looks at
            # every byte by itself. What follows the last newline is a line still being written.
            whole = data.rfind(b"\n") + 1
            lines = [line[:-1] for line in BytesIO(data[:whole])]
            if len(data) > self._max_line_bytes:
                over = (i for i, line in enumerate(lines) if len(line) > self._max_line_bytes)
                del lines[next(over, len(lines)) :]
                if not lines:
                    followed.long_read = LongRead(start.offset, start.chain)
            if lines:
                end = start.offset + sum(map(len, lines)) + len(lines)
                record = lines[-1] + b"\n"
                return Chunk(start, lines, end, 0, len(record), proof_of(record))
            if final and data and followed.long_read is None:
                end = start.offset + len(data)
                return Chunk(start, [data], end, 0, len(data), proof_of(data), unterminated=True)
        if followed.long_read is None:
            return None
        long_line = followed.long_read.read_on(pread, READ_BYTES)
        if long_line is None:
            return None
        followed.long_read = None
        length = long_line.length + 1
        return Chunk(start, [], start.offset + length, 0, length, b"", long_line=long_line)


def _most_open() -> int:
    """How many files to keep open: the process has other uses for descriptors, too."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MAX_OPEN if soft == resource.RLIM_INFINITY else max(1, min(_MAX_OPEN, soft // 4))


def _holds(file: int, gap: Gap) -> bool:
    """Whether the record that stood before the gap stands at its place in this file."""
    zipped = os.pread(file, len(GZIP_MAGIC), 0) == GZIP_MAGIC
    pread = Unzipped(file).pread if zipped else partial(_pread, file)
    return proof_at(pread, gap.offset - gap.record_bytes, gap.record_bytes) == gap.record_digest


def _pread(file: int, count: int, offset: int) -> bytes:
    return os.pread(file, count, offset)


def _is_final(file: int) -> bool:
    """Whether nobody can write to the file any more: it has no name, and no writer has it open."""
    return os.fstat(file).st_nlink == 0 and has_writer(file) is False


def _is_text(path: str) -> bool:
    """Whether the path can be stored: Python stands surrogates in for bytes that are no UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _sight(entry: os.DirEntry[str], found: dict[_FileKey, Sighting]) -> None:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    sighting = _sighting(entry.path, status)
    file = (sighting.dev, sighting.inode)
    # Of a file's several names (hard links) the first in order stands for it.
    if file not in found or sighting.path < found[file].path:
        found[file] = sighting


def _sighting(path: str, status: os.stat_result) -> Sighting:
    return Sighting(
        path,
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )
