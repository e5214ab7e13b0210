"""What the daemon does now and then, each job in a process of its own.

The daemon stays small by it, and a crash there harms nothing.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

from structlog.typing import FilteringBoundLogger

from prodlensd.daemon.faults import named
from prodlensd.process import back_off_s

_NICENESS: Final = 19
_FIRST_WAIT_S: Final = 10.0
#: After failures the wait doubles up to an hour, or `interval_s` if that is longer.
_LONGEST_WAIT_S: Final = 3600.0


class Job(NamedTuple):
    """What is done, how its process is started, and whether there is anything to do just now.

    `interval_s` is the time between two of them, where it is another than that of other jobs.
    Exit code `os.EX_TEMPFAIL` means that the job could not be done now, and is not a failure.
    """

    name: str
    start: Callable[[], subprocess.Popen[bytes]]
    has_work: Callable[[], bool]
    interval_s: float | None = None


class ScheduledJob:
    """A job, done every `interval_s` if there is anything to do, and never twice at a time.

    Its process may be killed at any moment and started again. The mutable state: that process, when
    the next is due, the failures in a row, and `fault`: why it could not be started.
    """

    def __init__(
        self,
        job: Job,
        interval_s: float,
        log: FilteringBoundLogger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._job = job
        self._interval_s = interval_s
        self._log = log
        self._clock = clock
        self._next_s = clock() + min(interval_s, _FIRST_WAIT_S)
        self._child: subprocess.Popen[bytes] | None = None
        self._failures = 0
        self.fault = ""

    def step(self) -> bool:
        """Starts the job when it is due, and takes note of its end; True while it runs."""
        if self._child is not None:
            code = self._child.poll()
            if code is None:
                return True
            self._child = None
            self._note_end(code)
        if self._clock() < self._next_s:
            return False
        self._next_s = self._clock() + self._interval_s
        return self._job.has_work() and self._start()

    def _note_end(self, code: int) -> None:
        if code in (0, os.EX_TEMPFAIL):
            self._failures = 0
        else:
            self._log.warning(f"{self._job.name} failed; it will be tried again", exit_code=code)
            self._put_off()

    def _start(self) -> bool:
        what = self._job.name
        try:
            child = self._job.start()
        except (OSError, MemoryError) as error:
            # No process, descriptor or memory is left, or our interpreter is gone. That holds up
            # this job and nothing else.
            if not self.fault:
                self._log.warning(
                    f"{what} cannot be started; it will be tried again", fault=named(error)
                )
            self.fault = f"{what} cannot be started: {named(error)}"
            self._put_off()
            return False
        self.fault, self._child = "", child
        # Ingesting goes first. A nice process also has a low priority at the disk: without one of
        # its own it follows from the niceness (ioprio_set(2)). A service manager may forbid this,
        # and the child may have ended already.
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, child.pid, _NICENESS)
        return True

    def _put_off(self) -> None:
        self._failures += 1
        wait_s = back_off_s(self._failures, first_s=self._interval_s, longest_s=_LONGEST_WAIT_S)
        self._next_s = max(self._next_s, self._clock() + max(wait_s, self._interval_s))

    def end(self) -> None:
        """Ends the job's process, if it runs, and waits for that."""
        if self._child is not None:
            self._child.terminate()
            self._child.wait()
