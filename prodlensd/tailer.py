"""Finds log files, follows each as a source, reads complete lines. Knows nothing of their content.

One file is told from another by device and inode, which is a guess and only a guess: before reading
on, the last committed record must still stand before the offset, byte for byte. Where it does not
(the file was truncated, rewritten, replaced, or its inode given to another), the answer is a
`Doubt`, and the file is read again from 0 as a new source. Reading too often is harmless; the keys
make it so.

The mutable state: `_followed` (the sources with their committed checkpoints) and `_long` (how far
an endless line was read through).
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import translate
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import Final

from prodlensd.model import DIGEST_BYTES, Checkpoint, Chunk, Doubt, LongLine, Sighting

READ_BYTES: Final = 4 << 20
#: A change of the same size within the clock tick of our look would go unseen; look again until
# then.
_RACY_NS: Final = 2_000_000_000
_HEAD_BYTES: Final = 64 << 10
_PROOF_BYTES: Final = 1 << 20
_GZIP_MAGIC: Final = b"\x1f\x8b"

_FileKey = tuple[int, int]


@dataclass(slots=True)
class _Followed:
    checkpoint: Checkpoint
    sighting: Sighting | None = None
    read_sighting: Sighting | None = None  # as it was when last read to its end
    unseen_scans: int = 0


class _LongRead:
    """A line over the limit: read through block by block, and never held."""

    def __init__(self, offset: int) -> None:
        self._offset = offset
        self._length = 0
        self._head = b""
        self._digest = blake2b(digest_size=DIGEST_BYTES)

    def read_on(self, file: int) -> LongLine | None:
        """Reads to the line's end; None when it is still being written."""
        while block := os.pread(file, READ_BYTES, self._offset + self._length):
            content, newline, _ = block.partition(b"\n")
            self._head += content[: _HEAD_BYTES - len(self._head)]
            self._digest.update(content)
            self._length += len(content)
            if newline:
                return LongLine(self._head, self._length, self._digest.digest())
        return None


@dataclass(frozen=True, slots=True)
class Survey:
    """What a scan found: files without a source, sources that moved, sources whose file is gone.

    `faults` are folders that could not be listed; nothing is concluded about the files in them.
    """

    new: list[Sighting]
    moved: list[tuple[int, Sighting]]
    gone: list[Checkpoint]
    faults: list[str]


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
        self._long: dict[int, _LongRead] = {}
        for checkpoint in checkpoints:
            self.adopt(checkpoint)

    def adopt(self, checkpoint: Checkpoint) -> None:
        """Follows a source from its committed checkpoint on; later calls move it forward."""
        known = self._followed.get(checkpoint.source_id)
        if known is None:
            self._followed[checkpoint.source_id] = _Followed(checkpoint)
        else:
            known.checkpoint = checkpoint

    def drop(self, source_id: int) -> None:
        """No longer follows a source."""
        self._followed.pop(source_id, None)
        self._long.pop(source_id, None)

    # Finding files

    def scan(self) -> Survey:
        """Looks at every file in the folders, and matches it with the sources followed."""
        survey = Survey([], [], [], [])
        sightings = self._sightings(survey.faults)
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
            followed.sighting = sighting
            followed.unseen_scans = 0
            if (checkpoint.path, checkpoint.dev) != (sighting.path, sighting.dev):
                survey.moved.append((checkpoint.source_id, sighting))
        if not survey.faults:
            survey.gone.extend(self._gone(seen))
        survey.new.sort(key=lambda sighting: sighting.mtime_ns)
        return survey

    def _gone(self, seen: set[int]) -> Iterator[Checkpoint]:
        """Sources unseen in two scans running: one may fall between two steps of a rotation."""
        for source_id, followed in self._followed.items():
            if source_id not in seen:
                followed.sighting = None
                followed.unseen_scans += 1
                if followed.unseen_scans > 1:
                    yield followed.checkpoint

    def _sightings(self, faults: list[str]) -> dict[_FileKey, Sighting]:
        found: dict[_FileKey, Sighting] = {}
        folders = [os.fspath(directory) for directory in self._directories]
        while folders:
            folder = folders.pop()
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            if self._recursive:
                                folders.append(entry.path)
                        elif self._included.match(entry.name) and entry.is_file(
                            follow_symlinks=False
                        ):
                            self._sight(entry, found)
            except OSError as error:
                faults.append(f"{folder}: {error.strerror}")
        return found

    def _sight(self, entry: os.DirEntry[str], found: dict[_FileKey, Sighting]) -> None:
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return
        file = (status.st_dev, status.st_ino)
        # Of a file's several names (hard links) the first in order stands for it.
        if file not in found or entry.path < found[file].path:
            found[file] = Sighting(
                entry.path, *file, status.st_size, status.st_mtime_ns, status.st_ctime_ns
            )

    # Reading

    def read(self, now_ns: int) -> Iterator[Chunk | Doubt | str]:
        """One chunk, at most, of every source that has changed since it was last read to its end.

        Yields a Doubt for a source that must begin again, and a sentence for a file that cannot be
        read.
        """
        for followed in list(self._followed.values()):
            sighting = followed.sighting
            if sighting is None or sighting == followed.read_sighting:
                continue
            try:
                outcome = self._read_source(followed, sighting)
            except OSError as error:
                yield f"{sighting.path}: {error.strerror}"
                continue
            if outcome is not None:
                yield outcome
            elif now_ns - sighting.mtime_ns > _RACY_NS:
                followed.read_sighting = sighting

    def _read_source(self, followed: _Followed, sighting: Sighting) -> Chunk | Doubt | str | None:
        start = followed.checkpoint
        with _opened(sighting) as file:
            if file is None:
                return None
            reading = self._long.get(start.source_id)
            data = b"" if reading else self._read_lines(file, start.offset)
            if reading is None and len(data) > self._max_line_bytes and b"\n" not in data:
                reading = self._long[start.source_id] = _LongRead(start.offset)
            long_line = None if reading is None else reading.read_on(file)
            size_bytes = os.fstat(file).st_size
            # Asked after the read: what was read while the file changed under us is found out here.
            if (
                _proof(file, start.offset - start.record_bytes, start.record_bytes)
                != start.record_digest
            ):
                self._long.pop(start.source_id, None)
                reason = "truncated" if size_bytes < start.offset else "rewritten"
                known_bytes = max(0, start.size_bytes - start.offset)
                return Doubt(start.source_id, sighting, reason, known_bytes)
            if start.offset == 0 and data.startswith(_GZIP_MAGIC):
                return f"{sighting.path}: compressed files are not read yet"
            if long_line is not None:
                del self._long[start.source_id]
                end = start.offset + long_line.length + 1
                record = _proof(file, start.offset, long_line.length + 1)
                return Chunk(start, [], end, size_bytes, long_line.length + 1, record, long_line)
            return self._chunk(start, data, size_bytes)

    def _read_lines(self, file: int, offset: int) -> bytes:
        """Bytes from `offset` on: with a newline among them, or to the end, or over the limit."""
        data = os.pread(file, READ_BYTES, offset)
        while b"\n" not in data and 0 < len(data) <= self._max_line_bytes:
            more = os.pread(file, READ_BYTES, offset + len(data))
            if not more:
                break
            data += more
        return data

    def _chunk(self, start: Checkpoint, data: bytes, size_bytes: int) -> Chunk | None:
        """The complete lines of `data`, up to the first that is over the limit."""
        # As data.split(b"\n"), but five times as fast on long lines: CPython's split looks at every
        # byte by itself. What follows the last newline is a line still being written.
        lines = [line[:-1] for line in BytesIO(data[: data.rfind(b"\n") + 1])]
        if len(data) > self._max_line_bytes:
            over = (index for index, line in enumerate(lines) if len(line) > self._max_line_bytes)
            del lines[next(over, len(lines)) :]
            if not lines and b"\n" in data:
                self._long[start.source_id] = _LongRead(start.offset)
        if not lines:
            return None
        end = start.offset + sum(map(len, lines)) + len(lines)
        record = lines[-1] + b"\n"
        return Chunk(start, lines, end, size_bytes, len(record), _digest_of_record(record))


@contextmanager
def _opened(sighting: Sighting) -> Iterator[int | None]:
    """A descriptor of the file that was sighted; None when another stands there now.

    Opening neither follows a link nor waits on a FIFO that took the file's place.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        file = os.open(sighting.path, flags)
    except FileNotFoundError:
        yield None
        return
    try:
        status = os.fstat(file)
        same = (status.st_dev, status.st_ino) == (sighting.dev, sighting.inode)
        yield file if same and stat.S_ISREG(status.st_mode) else None
    finally:
        os.close(file)


def _proof(file: int, offset: int, record_bytes: int) -> bytes:
    """The digest of a record as it stands in the file now; empty before the first record."""
    if record_bytes <= 2 * _PROOF_BYTES:
        return _digest_of_record(os.pread(file, record_bytes, offset))
    tail_offset = offset + record_bytes - _PROOF_BYTES
    return _digest_of_record(
        os.pread(file, _PROOF_BYTES, offset) + os.pread(file, _PROOF_BYTES, tail_offset)
    )


def _digest_of_record(record: bytes) -> bytes:
    """Of a record of more than two MiB only the first and the last MiB count."""
    if not record:
        return b""
    if len(record) > 2 * _PROOF_BYTES:
        record = record[:_PROOF_BYTES] + record[-_PROOF_BYTES:]
    return blake2b(record, digest_size=DIGEST_BYTES).digest()
