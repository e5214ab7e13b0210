"""One source: a log that is followed from its checkpoint on. Knows nothing of what its lines say.

A file is recognised by device and inode, which is only a guess: before reading on, the last
committed record must still stand before the offset, byte for byte. Where it does not (the file was
truncated, rewritten, replaced, or its inode given to another), the answer is a `Mismatch`, and the
file is read again from 0 as a new source. Reading too often is harmless; the keys make it so.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

from prodlensd.access import refusal
from prodlensd.logs.content import (
    LongRead,
    Plain,
    Pread,
    foreign_compression,
    lines_of,
    proof_at,
    proof_of,
    proof_of_line,
    proof_of_zeros,
    read_line,
)
from prodlensd.logs.folders import sighting_of
from prodlensd.logs.gunzip import Content, Unzipped, gzip_proof, is_gzip
from prodlensd.logs.writers import has_writer
from prodlensd.logs.zeros import Zeros
from prodlensd.model import Checkpoint, Chunk, Fault, Mismatch, Sighting

READ_BYTES: Final = 4 << 20
_BEFORE_ZEROS_BYTES: Final = 64 << 10
#: A change of the same size within the clock tick of our look goes unseen: look again after it.
_RACY_NS: Final = 2_000_000_000
#: How long a file that left the folders, or that may have a writer, is waited for.
_GRACE_NS: Final = 60_000_000_000
#: A file that is read to its end and quiet for this long is closed: it may be on a disk to unmount.
_QUIET_NS: Final = 300_000_000_000
#: A gzip file may be incomplete for this long before it is called damaged.
_INCOMPLETE_NS: Final = 600_000_000_000
_VERIFY_BLOCKS: Final = 16


class Pause:
    """In place of a chunk: the read broke off, for others to go on; the next goes on from there."""


class _Refusal(NamedTuple):
    """Why nothing of a file is read before it changes; a fault from `since_ns` on (since 1970)."""

    reason: str
    since_ns: int


class Source:
    """One source.

    The mutable state:

    checkpoint       how far it is committed
    sighting         its file as of the last look; None when it was not found and is not open
    unseen_scans     how many scans in a row found no name of it
    file             its open file, which the tailer gives it
    _size_before     the size of the file at the look before: what is lost when it is truncated
    _changed_ns      when it last changed or was first not found, by a clock that never jumps
    _long_line       the line over the limit that has begun at the offset
    _zeros           what is known of the zeros there
    _error           why the last attempt to read it failed

    and for as long as `sighting` stays the same:

    _is_read         it was read to its end
    _refusal         it is not to be read
    _unzipped        its content, when it is a gzip file
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        max_line_bytes: int,
        zeros: Zeros,
        now_ns: int,
        *,
        is_complete: bool = False,
    ) -> None:
        """`is_complete`: nothing more will be written to its file, whoever may have it open."""
        self.checkpoint = checkpoint
        self.sighting: Sighting | None = None
        self.unseen_scans = 0
        self.file: int | None = None
        self._max_line_bytes = max_line_bytes
        self._is_complete = is_complete
        self._size_before = checkpoint.size_bytes
        self._changed_ns = now_ns
        self._long_line: LongRead | None = None
        self._zeros = zeros
        self._error = ""
        self._is_read = False
        self._refusal: _Refusal | None = None
        self._unzipped: Unzipped | None = None

    @property
    def source_id(self) -> int:
        """Its number in the ledger."""
        return self.checkpoint.source_id

    def advance(self, checkpoint: Checkpoint) -> None:
        """Takes over what has been committed."""
        self.checkpoint = checkpoint
        self._size_before = max(self._size_before, checkpoint.size_bytes)

    def close(self) -> None:
        """Closes its file."""
        if self.file is not None:
            os.close(self.file)
            self.file = self._unzipped = None

    # What looks found

    def see(self, sighting: Sighting, now_ns: int) -> None:
        """Takes in that a look found its file. `now_ns` is by a clock that never jumps."""
        if self.sighting is not None:
            self._size_before = self.sighting.size_bytes
        if sighting != self.sighting:
            self._changed_ns = now_ns
            self._set_sighting(sighting)
        self.unseen_scans = 0

    def miss(self, now_ns: int, *, all_listed: bool) -> bool:
        """Takes in that a scan did not find its file; True when it is to be given up.

        Not after one scan, which may fall between two steps of a rotation. And not while the open
        file has unread bytes, or a writer. Where not all folders could be listed (`all_listed`) it
        may be in one of those, unless the open file has no name any more.
        """
        if self.file is None and not all_listed:
            return False
        self.unseen_scans += 1
        if self.file is None:
            if self.sighting is not None:
                self._size_before = max(self._size_before, self.sighting.size_bytes)
            self._set_sighting(None)
            return self.unseen_scans > 1
        status = os.fstat(self.file)
        now = sighting_of(self.checkpoint.path, status, self.checkpoint.format)
        if now != self.sighting or self.unseen_scans == 1:
            self._changed_ns = now_ns
        if now != self.sighting:
            self._set_sighting(now)
        self._size_before = now.size_bytes
        if self.is_unread or self.unseen_scans == 1:
            return False
        # By a clock that never jumps, and not by the file's own times, which may.
        return self._is_final(self.file) or (all_listed and now_ns - self._changed_ns > _GRACE_NS)

    def _set_sighting(self, sighting: Sighting | None) -> None:
        self.sighting = sighting
        self._is_read, self._refusal, self._unzipped = False, None, None

    def read_again(self) -> None:
        """Has it read although it looks as before."""
        self._is_read = False

    @property
    def is_unread(self) -> bool:
        """Whether it is to be read: it was found, and is neither read to its end nor refused."""
        return self.sighting is not None and not self._is_read and self._refusal is None

    def is_quiet(self, now_ns: int) -> bool:
        """Whether its file can be closed, to be opened again when it changes.

        It is read to its end, has not changed for minutes, and has a name to be opened by.
        """
        is_long_ago = now_ns - self._changed_ns > _QUIET_NS
        return self._is_read and not self.unseen_scans and is_long_ago

    @property
    def unread_bytes(self) -> int:
        """How many bytes were seen and not read; zeros at the end are none."""
        return max(0, self._zeros.written_bytes(self._size_before) - self.checkpoint.offset)

    def _is_final(self, file: int) -> bool:
        """Whether nothing more will be written to its open file: without a name and a writer."""
        is_nameless = self.unseen_scans > 0 and os.fstat(file).st_nlink == 0
        return self._is_complete or (is_nameless and has_writer(file) is False)

    # What cannot be read

    def fail(self, error: OSError) -> None:
        """Notes why it could not be opened or read."""
        self._error = refusal(Path(self.checkpoint.path), error)

    @property
    def is_faulty(self) -> bool:
        """Whether it is, or will be, among the faults."""
        return bool(self._error) or self._refusal is not None

    def fault(self, now_ns: int) -> Fault | None:
        """Why it could not be read at the last attempt. `now_ns` is since 1970."""
        reason = self._error
        if self._refusal is not None and now_ns > self._refusal.since_ns:
            reason = self._refusal.reason
        return Fault(self.checkpoint.path, reason) if reason else None

    # Reading

    def read(self, now_ns: int, steady_ns: int) -> Chunk | Mismatch | Pause | None:
        """What comes next in its open file; None when that is nothing before the next look.

        `now_ns` is since 1970, `steady_ns` by a clock that never jumps. Raises OSError.
        """
        self._error = ""
        sighting, file = self.sighting, self.file
        if sighting is None or file is None:
            return None
        is_recent = now_ns - sighting.mtime_ns <= _RACY_NS
        self._zeros.begin_read(steady_ns, is_old=not is_recent)
        read = self._read_gzip if is_gzip(file) else self._read_plain
        found = read(file, sighting)
        if found is None and self._zeros.broke_off:
            return Pause()
        # What changed just now may change again without a trace: the next scan has it read.
        may_change = is_recent and not self.unseen_scans
        is_waiting = self._zeros.are_waiting(self.checkpoint.offset)
        self._is_read = found is None and self._refusal is None and not (may_change or is_waiting)
        return found

    def _read_plain(self, file: int, sighting: Sighting) -> Chunk | Mismatch | None:
        start = self.checkpoint
        if not start.offset and (program := foreign_compression(file)):
            self._refusal = _Refusal(f"compressed with {program}; only gzip is read", 0)
            return None
        content = Plain(file)
        found = self._next_chunk(content, final=self._is_final(file))
        # Asked after the read: what was read while the file changed under us is found out here.
        proof = proof_at(content.pread, start.offset - start.record_bytes, start.record_bytes)
        if proof == start.record_digest:
            return found
        self._long_line, self._zeros = None, Zeros(self._zeros.wait_ns)
        reason = "truncated" if os.fstat(file).st_size < start.offset else "rewritten"
        return Mismatch(start.source_id, sighting, reason, self.unread_bytes)

    def _read_gzip(self, file: int, sighting: Sighting) -> Chunk | Mismatch | Pause | None:
        """A gzip file is read when it is whole. Half-read ones begin again after a restart."""
        start = self.checkpoint
        if start.is_gzip and start.record_digest == gzip_proof(file):
            return None
        if self._unzipped is None:
            if start.offset:
                return Mismatch(start.source_id, sighting, "rewritten", 0)
            self._unzipped = Unzipped(file)
        try:
            if not self._unzipped.verify(READ_BYTES, _VERIFY_BLOCKS):
                return Pause()
            return self._next_chunk(self._unzipped, final=True)
        except (EOFError, ValueError) as error:
            self._unzipped = None
            since_ns = sighting.mtime_ns + _INCOMPLETE_NS  # it may still be written
            self._refusal = _Refusal(f"not a complete gzip file: {error}", since_ns)
            return None

    def _next_chunk(self, content: Content, *, final: bool) -> Chunk | None:
        """The next lines, up to the first that is over the limit, or that line, or a hole, or None.

        With `final` nothing more will be written: what stands there without a newline is a line.
        """
        start, offset = self.checkpoint, self.checkpoint.offset
        settled = content.pread if final else self._zeros.settled(content)
        if self._long_line is not None:
            return self._next_long_line(content, settled)
        if content.pread(1, offset) == b"\0":
            return self._next_hole(content, final=final)
        # Where zeros are known to follow, little is read: most of it would be these.
        block_bytes = _BEFORE_ZEROS_BYTES if self._zeros.end > offset else READ_BYTES
        data = settled(block_bytes, offset)
        if b"\n" in data:
            lines = lines_of(data, self._max_line_bytes)
        else:
            data, is_whole = read_line(settled, offset, block_bytes, self._max_line_bytes)
            lines = [data] if is_whole and len(data) <= self._max_line_bytes else []
        if lines:
            end = offset + sum(map(len, lines)) + len(lines)
            last = lines[-1]
            return Chunk(start, lines, end, *content.mark(end, len(last) + 1, proof_of_line(last)))
        if len(data) > self._max_line_bytes:
            return self._next_long_line(content, settled)
        if final and data:
            end = offset + len(data)
            mark = content.mark(end, len(data), proof_of(data))
            return Chunk(start, [data], end, *mark, unterminated=True)
        return None

    def _next_long_line(self, content: Content, pread: Pread) -> Chunk | None:
        """The line over the limit at the offset; None before its end is written."""
        start = self.checkpoint
        self._long_line = self._long_line or LongRead(start.offset, start.chain)
        line = self._long_line.read_on(pread, READ_BYTES)
        if line is None:
            return None
        self._long_line = None
        end = start.offset + line.length + 1
        mark = content.mark(end, line.length + 1, line.record_digest)
        return Chunk(start, [], end, *mark, long_line=line)

    def _next_hole(self, content: Content, *, final: bool) -> Chunk | None:
        """The zeros at the offset, when other bytes follow them; None while none do.

        All of a run of zeros is passed in one chunk, so that none of it is behind us before its end
        is known.
        """
        start, offset = self.checkpoint, self.checkpoint.offset
        is_followed = self._zeros.find_end(content, offset)
        end = self._zeros.end
        has_ended = final and not self._zeros.broke_off
        if not has_ended and not (is_followed and self._zeros.have_waited(offset, end)):
            return None
        zeros = end - offset
        mark = content.mark(end, zeros, proof_of_zeros(zeros))
        return Chunk(start, [], end, *mark, zeros=zeros)
