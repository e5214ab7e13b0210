"""Zeros in a log, where nothing has been written yet. Knows nothing of lines.

A file may be as large as it is to become before its bytes come, and they may come out of order. So
zeros at the end of a file are not read, and those before other bytes get some time to be
overwritten. After that they are a hole: a program that writes on at its old place in a truncated
file leaves one behind.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from prodlensd.logs.content import Pread
from prodlensd.logs.gunzip import Content

#: How long zeros may still be overwritten, from when they are first seen.
ZEROS_WAIT_NS: Final = 2_000_000_000
#: How long the end of a run of zeros is believed, before all of it is looked at again.
_KNOWN_NS: Final = 1_000_000_000
_BLOCK_BYTES: Final = 1 << 20
#: Blocks of zeros in one step: a heartbeat, other files and signals come between two steps.
_BLOCKS_AT_ONCE: Final = 64


class Zeros(Struct):
    """The zeros at or after a source's offset. They may be overwritten for `wait_ns`.

    The mutable state:

    begin, end      all bytes between these were zeros at the last look, at `_seen_ns`
    _is_open        that look broke off at `end`: more zeros may follow
    broke_off       and it did so in this read
    _waited_to      zeros before this place have had their time
    _waiting_to     zeros before this place are given it since `_since_ns`; 0: none are
    _now_ns         the time of this read, by a clock that never jumps
    _is_old         the file was last written to so long ago that nothing is on its way
    """

    wait_ns: int
    begin: int = 0
    end: int = 0
    broke_off: bool = False
    _is_open: bool = False
    _seen_ns: int = 0
    _waited_to: int = 0
    _waiting_to: int = 0
    _since_ns: int = 0
    _now_ns: int = 0
    _is_old: bool = False

    def begin_read(self, now_ns: int, *, is_old: bool) -> None:
        """Sets the time of a read, by a clock that never jumps."""
        self._now_ns, self._is_old, self.broke_off = now_ns, is_old, False

    def written_bytes(self, size_bytes: int) -> int:
        """How far a file of this size is written: zeros at its end do not count."""
        return self.begin if self.end >= size_bytes else size_bytes

    def are_waiting(self, offset: int) -> bool:
        """Whether zeros after this offset are being given time."""
        return self._waiting_to > offset

    def find_end(self, content: Content, place: int) -> bool:
        """Sets `begin` to this place and `end` to where the zeros there end.

        Whether another byte is known to follow them. What the last look passed over from there is
        believed for a moment.
        """
        is_known = self._is_open or self._now_ns - self._seen_ns < _KNOWN_NS
        start = self.end if is_known and self.begin <= place <= self.end else place
        end, is_followed = after_zeros(content, start)
        if start == place:
            self._seen_ns = self._now_ns
        self.begin, self.end = place, end
        self._is_open = self.broke_off = is_followed is None
        return bool(is_followed)

    def have_waited(self, place: int, end: int) -> bool:
        """Whether the zeros at this place have had their time; all up to `end` get it together."""
        if place >= max(self._waited_to, self._waiting_to):
            self._waiting_to, self._since_ns = end, self._now_ns
        is_over = self._now_ns - self._since_ns >= self.wait_ns
        if self._waiting_to and (is_over or self._is_old):
            self._waited_to, self._waiting_to = self._waiting_to, 0
        return place < self._waited_to

    def settled(self, content: Content) -> Pread:
        """As `content.pread`, but the file ends where zeros begin that may be overwritten."""

        def pread(count: int, offset: int) -> bytes:
            block = content.pread(count, offset)
            while (zero := block.find(b"\0", max(0, self._waited_to - offset))) >= 0:
                place, end = offset + zero, offset + len(block.rstrip(b"\0"))
                if place >= end:
                    if not self.find_end(content, place):
                        return block[:zero]
                    end = self.end
                if not self.have_waited(place, end):
                    return block[:zero]
            return block

        return pread


def after_zeros(content: Content, offset: int) -> tuple[int, bool | None]:
    """Where the zeros from `offset` on end, and whether another byte stands there.

    False: the file ends there. None: more zeros may follow, and this was enough for one step.
    """
    end = offset
    for _ in range(_BLOCKS_AT_ONCE):
        end = content.data_at(end)
        block = content.pread(_BLOCK_BYTES, end)
        rest = block.lstrip(b"\0")
        end += len(block) - len(rest)
        if rest or not block:
            return end, bool(rest)
    return end, None
