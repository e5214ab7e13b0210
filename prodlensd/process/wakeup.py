"""What ends a wait: a pipe, rung from any thread or signal handler, without a lock.

A lock in a signal handler can wait for the very code that the signal interrupted. A write to this
pipe never waits, and a ring stays in the pipe until a wait has ended by it.
"""

from __future__ import annotations

import os
import select
import weakref
from contextlib import suppress
from typing import Final

#: What a pipe holds at most.
_PIPE_BYTES: Final = 1 << 16


class Wakeup:
    """Rings that are kept until `clear`. Raises OSError when there is no pipe to be had."""

    def __init__(self) -> None:
        self._read, self.write_end = os.pipe()
        for end in (self._read, self.write_end):
            os.set_blocking(end, False)
            weakref.finalize(self, os.close, end)

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._read

    def ring(self) -> None:
        """Ends the wait; the next one, when none is under way."""
        with suppress(BlockingIOError):  # full of rings
            os.write(self.write_end, b"\0")

    def clear(self) -> None:
        """Forgets the rings so far. To be called before looking for what they announce."""
        with suppress(BlockingIOError):
            os.read(self._read, _PIPE_BYTES)


def wait(timeout_s: float, *wakeups: Wakeup) -> bool:
    """Waits until one of them has rung, and clears them; False after the timeout."""
    poll = select.poll()
    for wakeup in wakeups:
        poll.register(wakeup, select.POLLIN)
    ready = bool(poll.poll(max(0.0, timeout_s) * 1000))
    if ready:
        for wakeup in wakeups:
            wakeup.clear()
    return ready
