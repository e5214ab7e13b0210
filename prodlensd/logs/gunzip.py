"""A gzip file's content, read forward in bounded memory, each member checked by its trailer."""

from __future__ import annotations

import os
import zlib
from typing import Any, Final

from prodlensd.logs.content import Mark, Plain, proof_of

MAGIC: Final = b"\x1f\x8b"
_INPUT_BYTES: Final = 256 << 10
_GZIP_FORMAT: Final = 31
#: In smaller steps zlib's buffers would be copied more often than they are read.
_INFLATED_BYTES: Final = 1 << 20
_PROVEN_BYTES: Final = 64


def is_gzip(file: int) -> bool:
    """Whether an open file begins as gzip files do; a read may give less than was asked for."""
    magic = os.pread(file, len(MAGIC), 0)
    if len(magic) == 1:
        magic += os.pread(file, 1, 1)
    return magic == MAGIC


def gzip_proof(file: int) -> bytes:
    """The digest of a whole gzip file: of its size and its last bytes, which are checksums."""
    size_bytes = os.fstat(file).st_size
    tail = os.pread(file, _PROVEN_BYTES, max(0, size_bytes - _PROVEN_BYTES))
    return proof_of(b"gzip %d " % size_bytes + tail)


class Unzipped:
    """A gzip file's content by offset; `proof` is of the file as it was at the start.

    To be read only when `verify` has found all of it whole. The mutable state: the stream, and a
    window of inflated bytes that begins at `_start`.
    """

    def __init__(self, file: int) -> None:
        self.proof = gzip_proof(file)
        self.size_bytes: int | None = None
        self._file = file
        self._stream = Gunzip(file)
        self._start = 0
        self._window = b""
        self._verified_bytes = 0

    def verify(self, block_bytes: int, blocks: int) -> bool:
        """Verifies some more blocks; True when all are verified, and `size_bytes` is known.

        Raises EOFError when the file is not complete, ValueError when it is damaged.
        """
        for _ in range(blocks if self.size_bytes is None else 0):
            block = self._stream.read(block_bytes)
            if not block:
                self.size_bytes = self._verified_bytes
                self._stream = Gunzip(self._file)
                break
            self._verified_bytes += len(block)
        return self.size_bytes is not None

    def pread(self, count: int, offset: int) -> bytes:
        """As os.pread; cheap when `offset` never goes back. Raises as `verify` does."""
        if offset < self._start:
            self._stream, self._start, self._window = Gunzip(self._file), 0, b""
        while self.pass_over(offset, offset + count):
            pass
        return self._window[:count]

    def data_at(self, offset: int) -> int:
        """`offset`: in what is inflated no hole is known."""
        return offset

    def mark(self, end: int, _record_bytes: int, _record_digest: bytes) -> Mark:
        """The mark of a gzip file: see Checkpoint."""
        size_bytes = self.size_bytes or 0
        return size_bytes, 0, self.proof if end == size_bytes else b"", 0

    def pass_over(self, offset: int, end: int) -> bool:
        """Inflates one more block and forgets what is before `offset`.

        False when the window reaches to `end`, or the file ends before it.
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


#: The bytes of a log by offset.
Content = Plain | Unzipped


class Gunzip:
    """An open gzip file, inflated forward.

    The mutable state: the place in the file, input that is not inflated yet, the member it is in.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._offset = 0
        self._input = b""
        self._member: Any = None

    def read(self, max_bytes: int) -> bytes:
        """The next bytes; empty at the end of the last member.

        Raises EOFError when the file ends too early (it may still be written), and ValueError when
        it is damaged: then what was read before may be wrong as well.
        """
        while self._member is not None or self._begin_member():
            try:
                content: bytes = self._member.decompress(self._input, max_bytes)
            except zlib.error as error:
                raise ValueError(str(error)) from error
            self._input = self._member.unconsumed_tail
            if self._member.eof:
                self._input, self._member = self._member.unused_data, None
            elif not content and not self._input and not self._fill():
                raise EOFError("it ends within a member")
            if content:
                return content
        return b""

    def _begin_member(self) -> bool:
        """Whether another member follows. Zeros may: tapes and some rotators pad with them."""
        while not self._input.lstrip(b"\0"):
            if not self._fill():
                return False
        if len(self._input) < len(MAGIC):
            self._fill()
        if self._input == MAGIC[:1]:
            raise EOFError("it ends within a member")
        if not self._input.startswith(MAGIC):
            raise ValueError("something follows that is not a gzip member")
        self._member = zlib.decompressobj(wbits=_GZIP_FORMAT)
        return True

    def _fill(self) -> bool:
        block = os.pread(self._file, _INPUT_BYTES, self._offset)
        self._offset += len(block)
        kept = self._input.lstrip(b"\0") if self._member is None else self._input
        self._input = kept + block
        return bool(block)
