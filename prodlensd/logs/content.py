"""The bytes of an open log file, plain or gzip, by offset; and proofs that they are the same."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from typing import Final

from prodlensd.logs.gunzip import Gunzip
from prodlensd.model import DIGEST_BYTES, LongLine

#: (how many, from where) → so many bytes at most; none at the end.
Pread = Callable[[int, int], bytes]

_HEAD_BYTES: Final = 64 << 10
_PROOF_BYTES: Final = 1 << 20
_ZEROS_AT_ONCE_BYTES: Final = 1 << 20
#: In smaller steps zlib's buffers would be copied more often than they are read.
_INFLATED_BYTES: Final = 1 << 20
#: So many blocks of zeros are one step: a heartbeat, the other files and a signal come in between.
_ZERO_BLOCKS: Final = 64
#: How files begin that other programs than gzip have compressed.
_FOREIGN_MAGIC: Final = re.compile(
    rb"(?P<zstd>\x28\xb5\x2f\xfd)|(?P<bzip2>BZh[1-9]1AY&SY)|(?P<xz>\xfd7zXZ\0)|(?P<lz4>\x04\x22M\x18)"
)


class Unzipped:
    """A gzip file's content. None of it is given before all of it is verified.

    The mutable state: the stream, and a window of inflated bytes that begins at `_start`.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._stream = Gunzip(file)
        self._start = 0
        self._window = b""
        self._verified_bytes = 0
        self.size_bytes: int | None = None

    def verify(self, block_bytes: int, blocks: int) -> bool:
        """Verifies some blocks more; True when there are none left, and `size_bytes` is known.

        Raises EOFError when the file is not complete, ValueError when it is damaged.
        """
        for _ in range(blocks):
            block = self._stream.read(block_bytes)
            if not block:
                self.size_bytes = self._verified_bytes
                self._stream = Gunzip(self._file)
                return True
            self._verified_bytes += len(block)
        return False

    def pread(self, count: int, offset: int) -> bytes:
        """As os.pread, cheap when `offset` never goes back."""
        if offset < self._start:
            self._stream, self._start, self._window = Gunzip(self._file), 0, b""
        while self.pass_over(offset, offset + count):
            pass
        return self._window[:count]

    def pass_over(self, offset: int, end: int) -> bool:
        """Inflates a block more, and forgets what is before `offset`; False when `end` is there.

        Also when the file ends before it.
        """
        block = b""
        if self._start + len(self._window) < end:
            block = self._stream.read(max(_INFLATED_BYTES, end - offset))
        self._drop_before(offset)
        self._window += block
        self._drop_before(offset)
        return bool(block)

    def _drop_before(self, offset: int) -> None:
        dropped = min(len(self._window), offset - self._start)
        self._window = self._window[dropped:]
        self._start += dropped


class LongRead:
    """A line over the limit: read through block by block, and never held but for its ends."""

    def __init__(self, offset: int, chain: bytes) -> None:
        self._offset = offset
        self._length = 0
        self._first = b""
        self._last = b""
        self._chain = blake2b(chain, digest_size=DIGEST_BYTES)

    def read_on(self, pread: Pread, block_bytes: int) -> LongLine | None:
        """Reads to the line's end; None when it is still being written."""
        while block := pread(block_bytes, self._offset + self._length):
            content, newline, _ = block.partition(b"\n")
            self._first += content[: 2 * _PROOF_BYTES - len(self._first)]
            self._last = (self._last + content)[-_PROOF_BYTES:]
            self._chain.update(content)
            self._length += len(content)
            if newline:
                return LongLine(
                    self._first[:_HEAD_BYTES], self._length, self._chain.digest(), self._proof()
                )
        return None

    def _proof(self) -> bytes:
        """Of the bytes that were read: what the file holds by now may be others."""
        if self._length < 2 * _PROOF_BYTES:
            return proof_of(self._first + b"\n")
        return proof_of(self._first[:_PROOF_BYTES] + (self._last + b"\n")[-_PROOF_BYTES:])


def read_lines(pread: Pread, offset: int, block_bytes: int, max_line_bytes: int) -> bytes:
    """Bytes from `offset` on: with a newline among them, or to the end, or over the limit."""
    data = pread(block_bytes, offset)
    while b"\n" not in data and 0 < len(data) <= max_line_bytes:
        more = pread(block_bytes, offset + len(data))
        if not more:
            break
        data += more
    return data


def data_at(file: int, offset: int) -> int:
    """Where the first byte that is no hole stands, from `offset` on, or the file ends.

    `offset` itself where the system does not tell.
    """
    size_bytes = os.fstat(file).st_size
    try:
        return os.lseek(file, offset, os.SEEK_DATA)
    except OSError as error:
        return max(offset, size_bytes) if error.errno == errno.ENXIO else offset


def after_zeros(
    pread: Pread, offset: int, data_at: Callable[[int], int] = int
) -> tuple[int, bool | None]:
    """Where the zeros end that stand from `offset` on, and whether another byte stands there.

    False: the file ends. None: there may be more zeros, and this was enough for one step. `data_at`
    says from where on there can be anything else.
    """
    end = offset
    for _ in range(_ZERO_BLOCKS):
        end = data_at(end)
        block = pread(_ZEROS_AT_ONCE_BYTES, end)
        rest = block.lstrip(b"\0")
        end += len(block) - len(rest)
        if rest or not block:
            return end, bool(rest)
    return end, None


def proof_of_zeros(count: int) -> bytes:
    """The digest of a record of zeros."""
    return proof_of(bytes(min(count, 2 * _PROOF_BYTES)))


def proof_at(pread: Pread, offset: int, record_bytes: int) -> bytes:
    """The digest of a record as it stands in the file now; empty before the first record."""
    if record_bytes <= 2 * _PROOF_BYTES:
        return proof_of(pread(record_bytes, offset) if record_bytes else b"")
    tail_offset = offset + record_bytes - _PROOF_BYTES
    return proof_of(pread(_PROOF_BYTES, offset) + pread(_PROOF_BYTES, tail_offset))


def proof_of(record: bytes) -> bytes:
    """Of a record of more than two MiB only the first and the last MiB count."""
    if not record:
        return b""
    if len(record) > 2 * _PROOF_BYTES:
        record = record[:_PROOF_BYTES] + record[-_PROOF_BYTES:]
    return blake2b(record, digest_size=DIGEST_BYTES).digest()


def gzip_proof(file: int) -> bytes:
    """What stands for a whole gzip file: its size and its last bytes, which are checksums."""
    size_bytes = os.fstat(file).st_size
    tail = os.pread(file, 64, max(0, size_bytes - 64))
    return proof_of(b"gzip %d " % size_bytes + tail)


def foreign_compression(file: int) -> str | None:
    """What a file was compressed with, if with something that we do not read."""
    magic = _FOREIGN_MAGIC.match(os.pread(file, 10, 0))
    return magic and magic.lastgroup


def has_writer(file: int) -> bool | None:
    """Whether anybody has this file open for writing; None where the system does not tell.

    Linux grants a read lease only on a file that nobody writes. Ask only of a file without a name:
    an open by somebody else would break the lease with a signal that we do not expect.
    """
    is_leased = _lease(file)
    if is_leased:
        _end_lease(file)
    return None if is_leased is None else not is_leased


@contextmanager
def keeping_writers_out(file: int) -> Iterator[Callable[[], bool]]:
    """Makes those wait who open this file for writing; the callable tells whether there are any.

    It says so, too, where the system does not tell. Of the main thread only: the signal that tells
    of such an open is ignored meanwhile.
    """
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    try:
        if not _lease(file):
            yield lambda: True
            return
        try:
            # A lease that is being broken is no longer the one that was taken.
            yield lambda: fcntl.fcntl(file, fcntl.F_GETLEASE) != fcntl.F_RDLCK
        finally:
            _end_lease(file)
    finally:
        signal.signal(signal.SIGIO, before)


def _lease(file: int) -> bool | None:
    """Takes a read lease; False when somebody writes, None where there are no leases for us."""
    if not hasattr(fcntl, "F_SETLEASE"):
        return None
    try:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return False if error.errno == errno.EAGAIN else None
    return True


def _end_lease(file: int) -> None:
    fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
