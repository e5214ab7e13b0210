"""A file that somebody named: read once, from its start to its end, and not followed after that."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

from prodlensd.logs.content import Plain, foreign_compression, proof_of
from prodlensd.logs.folders import is_text, sighting_of
from prodlensd.logs.gunzip import Content, Unzipped, is_gzip
from prodlensd.logs.source import READ_BYTES, Source
from prodlensd.logs.zeros import Zeros
from prodlensd.model import Checkpoint, Chunk, Mismatch, OperationalError

_VERIFY_BLOCKS: Final = 16
#: A time at which no file is young any more: nothing is waited for that may still be written.
_LATER_NS: Final = 1 << 62


class UnreadableError(OperationalError):
    """A file that cannot be read, or not to its end."""


def bytes_at(path: str, offset: int, length: int) -> bytes:
    """The bytes that stand there in a file now; fewer, or none, where it has no more of them."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | os.O_NOFOLLOW
    try:
        file = os.open(path, flags)
    except OSError:
        return b""
    try:
        return os.pread(file, length, offset)
    except OSError:
        return b""
    finally:
        os.close(file)


class NamedFile:
    """The file at a path, or that a link there leads to; a context manager while it is open.

    What it does raises UnreadableError. The mutable state: the open file, and how far its lines are
    committed.
    """

    def __init__(self, path: Path, max_line_bytes: int) -> None:
        self._named = path
        self._max_line_bytes = max_line_bytes
        self._file = -1
        self._content: Content
        self._source: Source
        self.size_bytes = 0

    def __enter__(self) -> Self:
        """Opens it."""
        path = os.path.realpath(self._named)
        if not is_text(path):
            raise UnreadableError(f"{path!a}: its name is not UTF-8; rename it")
        with self._reading():
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
            self._file = os.open(path, flags)
            try:
                self.sighting = sighting_of(path, os.fstat(self._file))
                self._open_content()
            except BaseException:
                os.close(self._file)
                raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UnreadableError(f"{self._named}: {error.strerror or error}") from error
        except (EOFError, ValueError) as error:
            raise UnreadableError(
                f"{self._named}: not a complete gzip file: {error}; fetch it again"
            ) from error

    def _open_content(self) -> None:
        if not stat.S_ISREG(os.fstat(self._file).st_mode):
            raise UnreadableError(
                f"{self._named}: not a file, nor a folder with *.jsonl files in it"
            )
        if program := foreign_compression(self._file):
            raise UnreadableError(f"{self._named}: compressed with {program}; only gzip is read")
        if is_gzip(self._file):
            self._content = unzipped = Unzipped(self._file)
            while not unzipped.verify(READ_BYTES, _VERIFY_BLOCKS):
                pass
            self.size_bytes = unzipped.size_bytes or 0
        else:
            self._content = Plain(self._file)
            self.size_bytes = self.sighting.size_bytes

    def head(self) -> bytes:
        """Its first bytes, or all of it when it is small."""
        with self._reading():
            return self._content.pread(READ_BYTES, 0)

    def whole(self, start: Checkpoint) -> Chunk:
        """All of it as one line, but for a last newline: held in memory once."""
        # A plain file is read at once but for its last byte, which then need not be cut off.
        most = self.size_bytes - 1 if isinstance(self._content, Plain) else READ_BYTES
        blocks, end = [], 0
        with self._reading():
            while block := self._content.pread(max(most - end, READ_BYTES), end):
                blocks.append(block)
                end += len(block)
            has_newline = bool(blocks) and blocks[-1].endswith(b"\n")
            if has_newline:
                blocks[-1] = blocks[-1][:-1]
            line = b"".join(filter(None, blocks))
            mark = self._content.mark(end, len(line), proof_of(line))
        return Chunk(start, [line], end, *mark, unterminated=not has_newline)

    def chunks(self, start: Checkpoint) -> Iterator[Chunk]:
        """Its lines, the last with or without a newline, in chunks that follow on from `start`.

        Before the next, `advance` is to be called with what was committed.
        """
        self._source = Source(start, self._max_line_bytes, Zeros(0), 0, is_complete=True)
        self._source.file = self._file
        self._source.see(self.sighting, 0)
        while self._source.is_unread:
            with self._reading():
                found = self._source.read(_LATER_NS, 0)
            if isinstance(found, Chunk):
                yield found
            elif isinstance(found, Mismatch):
                raise UnreadableError(f"{self._named}: changed while it was read; import it again")

    def advance(self, checkpoint: Checkpoint) -> None:
        """Notes how far its lines are committed."""
        self._source.advance(checkpoint)
