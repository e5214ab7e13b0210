"""A gzip file's content, read forward in bounded memory, each member checked by its trailer."""

from __future__ import annotations

import os
import zlib
from typing import Any, Final

MAGIC: Final = b"\x1f\x8b"
_INPUT_BYTES: Final = 256 << 10
_GZIP_FORMAT: Final = 31


def is_gzip(file: int) -> bool:
    """Whether an open file begins as gzip files do; a read may give less than was asked for."""
    magic = os.pread(file, len(MAGIC), 0)
    if len(magic) == 1:
        magic += os.pread(file, 1, 1)
    return magic == MAGIC


class Gunzip:
    """Reads an open file. Its state: the place in it, input not inflated yet, this member."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._offset = 0
        self._input = b""
        self._member: Any = None

    def read(self, max_bytes: int) -> bytes:
        """The next bytes, empty at the end of the last member.

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
            raise ValueError("something follows that is no gzip member")
        self._member = zlib.decompressobj(wbits=_GZIP_FORMAT)
        return True

    def _fill(self) -> bool:
        block = os.pread(self._file, _INPUT_BYTES, self._offset)
        self._offset += len(block)
        kept = self._input.lstrip(b"\0") if self._member is None else self._input
        self._input = kept + block
        return bool(block)
