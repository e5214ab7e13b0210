"""The bytes of an open log file, by offset; and proofs that they are the same."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from hashlib import blake2b
from io import BytesIO
from typing import Final

from prodlensd.model import DIGEST_BYTES, LongLine, link

#: (count, offset) → up to `count` bytes from `offset` on; empty at the end of the file.
Pread = Callable[[int, int], bytes]

_HEAD_BYTES: Final = 64 << 10
_PROOF_BYTES: Final = 1 << 20
#: How files begin that other programs than gzip have compressed.
_FOREIGN_MAGIC: Final = re.compile(
    rb"(?P<zstd>\x28\xb5\x2f\xfd)|(?P<bzip2>BZh[1-9]1AY&SY)|(?P<xz>\xfd7zXZ\0)|(?P<lz4>\x04\x22M\x18)"
)


#: Of a file with an offset in it, as in a Chunk: size, bytes and digest of the record, last write.
Mark = tuple[int, int, bytes, int]


class Plain:
    """The bytes of an open file, as they stand there now."""

    def __init__(self, file: int) -> None:
        self._file = file

    def pread(self, count: int, offset: int) -> bytes:
        """See `Pread`.

        Asked for more than there is, Python would get new memory from the system each time.
        """
        there_bytes = os.fstat(self._file).st_size - offset
        return os.pread(self._file, min(count, max(1, there_bytes)), offset)

    def data_at(self, offset: int) -> int:
        """Where the first byte outside a hole stands, at `offset` or after it, or the file ends.

        `offset` itself where the system does not say.
        """
        size_bytes = os.fstat(self._file).st_size
        try:
            return os.lseek(self._file, offset, os.SEEK_DATA)
        except OSError as error:
            return max(offset, size_bytes) if error.errno == errno.ENXIO else offset

    def mark(self, end: int, record_bytes: int, record_digest: bytes) -> Mark:
        """The mark at `end`, where a record of this digest ends. Raises OSError.

        The size is `end` when zeros follow: no more is written yet.
        """
        status = os.fstat(self._file)
        size_bytes = status.st_size
        if end < size_bytes and self.pread(1, end) == b"\0":
            size_bytes = end
        return size_bytes, record_bytes, record_digest, status.st_mtime_ns


class LongRead:
    """A line over the limit: read through block by block, and never held but for its ends."""

    def __init__(self, offset: int, chain: bytes) -> None:
        self._offset = offset
        self._length = 0
        self._first = b""
        self._last = b""
        self._link = link(chain)

    def read_on(self, pread: Pread, block_bytes: int) -> LongLine | None:
        """Reads to the line's end; None when that is not written yet."""
        while block := pread(block_bytes, self._offset + self._length):
            content, newline, _ = block.partition(b"\n")
            self._first += content[: 2 * _PROOF_BYTES - len(self._first)]
            self._last = (self._last + content)[-_PROOF_BYTES:]
            self._link.update(content)
            self._length += len(content)
            if newline:
                head, chain = self._first[:_HEAD_BYTES], self._link.digest()
                return LongLine(head, self._length, chain, self._proof())
        return None

    def _proof(self) -> bytes:
        """The digest of the bytes that were read: the file may hold others by now."""
        if self._length < 2 * _PROOF_BYTES:
            return proof_of(self._first + b"\n")
        return proof_of(self._first[:_PROOF_BYTES] + (self._last + b"\n")[-_PROOF_BYTES:])


def read_line(
    pread: Pread, offset: int, block_bytes: int, max_line_bytes: int
) -> tuple[bytes, bool]:
    """The long line at `offset`, without its newline; False: it has none yet, or is over the limit.

    Its end is found first, and then it is read in one piece: memory holds it once.
    """
    length, newline = 0, -1
    while length <= max_line_bytes and (block := pread(block_bytes, offset + length)):
        newline = block.find(b"\n")
        if newline >= 0:
            length += newline
            break
        length += len(block)
    line = pread(length, offset)
    # The file may have changed meanwhile.
    return line, newline >= 0 and len(line) == length and b"\n" not in line


def lines_of(data: bytes, max_line_bytes: int) -> list[bytes]:
    """The lines that end in `data`, without their newlines, up to the first over the limit."""
    # As data.split(b"\n"), but five times as fast on long lines: CPython's split looks at every
    # byte by itself.
    lines = [line[:-1] for line in BytesIO(data[: data.rfind(b"\n") + 1])]
    if len(data) > max_line_bytes:
        over = (i for i, line in enumerate(lines) if len(line) > max_line_bytes)
        del lines[next(over, len(lines)) :]
    return lines


def proof_of(record: bytes) -> bytes:
    """The digest of a record; empty for an empty one.

    Only its first and last MiB count when it is longer than two.
    """
    if not record:
        return b""
    if len(record) > 2 * _PROOF_BYTES:
        record = record[:_PROOF_BYTES] + record[-_PROOF_BYTES:]
    return blake2b(record, digest_size=DIGEST_BYTES).digest()


def proof_of_line(line: bytes) -> bytes:
    """The digest of a line as a record, with its newline. A long line is not copied for it."""
    if len(line) >= 2 * _PROOF_BYTES:
        line = line[:_PROOF_BYTES] + line[1 - _PROOF_BYTES :]
    return proof_of(line + b"\n")


def proof_of_zeros(count: int) -> bytes:
    """The digest of a record of zeros."""
    return proof_of(bytes(min(count, 2 * _PROOF_BYTES)))


def proof_at(pread: Pread, offset: int, record_bytes: int) -> bytes:
    """The digest of a record as it stands in the file now; empty before the first record."""
    if record_bytes <= 2 * _PROOF_BYTES:
        return proof_of(pread(record_bytes, offset) if record_bytes else b"")
    tail_offset = offset + record_bytes - _PROOF_BYTES
    return proof_of(pread(_PROOF_BYTES, offset) + pread(_PROOF_BYTES, tail_offset))


def foreign_compression(file: int) -> str | None:
    """The program that compressed an open file, when its format is known but not read here."""
    magic = _FOREIGN_MAGIC.match(os.pread(file, 10, 0))
    return magic and magic.lastgroup
