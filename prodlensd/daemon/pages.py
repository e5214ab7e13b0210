"""Pages that a process of its own makes, asked through a pipe: what draws them is large.

It is started when somebody looks, stays warm while somebody does, and is ended a few minutes after.
When the daemon dies its input ends, and with it the process.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http import HTTPStatus
from queue import SimpleQueue
from typing import IO, BinaryIO, Final, NamedTuple, NoReturn

from prodlensd.daemon.http import Answer

_NICENESS: Final = 10
_IDLE_S: Final = 180.0
#: A page that takes longer is not worth the wait.
_PATIENCE_S: Final = 60.0
_GRACE_S: Final = 2.0
#: What draws them keeps some memory of each.
_MOST_PAGES: Final = 1000
#: Who asks while so many wait already is told to come again: the others' places are for monitors.
_MOST_WAITING: Final = 4
_BUSY: Final = Answer(
    b"others are waiting for a page: try again in a moment\n",
    status=HTTPStatus.SERVICE_UNAVAILABLE,
    headers=(("Retry-After", "5"),),
)


class _Made(NamedTuple):
    """A page, what it was asked for, and when the work on it began."""

    query: str
    began_s: float
    answer: Answer


class Pages:
    """Asks the process for one page at a time; who asks the same meanwhile gets the same page.

    `start` starts the process, which calls `answer_each`, with pipes to its input and from its
    output. The mutable state: the process, and how many pages it has made, under a lock; how many
    wait; the last page, while somebody may still want it; whether all is over.
    """

    def __init__(
        self,
        start: Callable[[], subprocess.Popen[bytes]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._start = start
        self._clock = clock
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(_MOST_WAITING)
        self._child: subprocess.Popen[bytes] | None = None
        self._count = 0
        self._asked_at_s = clock()
        self._last: _Made | None = None
        self._is_closed = False

    def page(self, query: str) -> Answer:
        """The page of this address. Raises OSError when the process cannot make it."""
        asked_at_s = self._clock()
        if not self._places.acquire(blocking=False):
            return _BUSY
        try:
            with self._lock:
                last = self._last
                if last is None or last.query != query or last.began_s < asked_at_s:
                    last = _Made(query, self._clock(), self._made(query))
                    self._last = last
                return last.answer
        finally:
            self._places.release()

    def _made(self, query: str) -> Answer:
        self._asked_at_s = self._clock()
        child = self._child
        if child is not None and (child.poll() is not None or self._count == _MOST_PAGES):
            self._end()
        try:
            return self._ask(query)
        except (OSError, ValueError):
            self._end()
            raise
        finally:
            self._count += 1

    def _ask(self, query: str) -> Answer:
        """Raises OSError, and TimeoutError where nothing came for too long."""
        if self._is_closed:
            raise OSError("the daemon stops")
        child = self._child
        if child is None:
            child = self._child = self._start()
            with suppress(OSError):  # a service manager may forbid it
                os.setpriority(os.PRIO_PROCESS, child.pid, _NICENESS)
        assert child.stdin and child.stdout  # noqa: S101, PT018 - see `start`
        child.stdin.write(json.dumps(query).encode() + b"\n")
        child.stdin.flush()
        deadline_s = self._clock() + _PATIENCE_S
        head = b""
        while not head.endswith(b"\n"):
            head += self._read(child.stdout, 1, deadline_s)
        size, content_type, status, headers = json.loads(head)
        body = bytearray()
        while len(body) < size:
            body += self._read(child.stdout, size - len(body), deadline_s)
        named = tuple((name, value) for name, value in headers)
        return Answer(bytes(body), content_type, HTTPStatus(status), named)

    def _read(self, pipe: IO[bytes], most_bytes: int, deadline_s: float) -> bytes:
        """What comes next. Raises OSError at the end, and TimeoutError."""
        ready, _, _ = select.select([pipe], [], [], max(0.0, deadline_s - self._clock()))
        if not ready:
            raise TimeoutError(f"no page within {_PATIENCE_S:.0f} s")
        if not (read := os.read(pipe.fileno(), most_bytes)):
            raise OSError("the process that makes pages has ended")
        return read

    def rest(self) -> None:
        """Ends the process when nobody has looked for a few minutes; never waits for a page."""
        if self._child is None and self._last is None:
            return
        if self._lock.acquire(blocking=False):
            try:
                if self._clock() - self._asked_at_s > _IDLE_S:
                    self._end()
            finally:
                self._lock.release()

    def close(self) -> None:
        """Ends the process for good; a page that is being made comes to nothing."""
        self._is_closed = True
        if (child := self._child) is not None:
            with suppress(OSError):
                child.terminate()
        with self._lock:
            self._end()

    def _end(self) -> None:
        self._last = None
        if (child := self._child) is None:
            return
        self._child, self._count = None, 0
        assert child.stdin and child.stdout  # noqa: S101, PT018 - see `start`
        with suppress(OSError):
            child.stdin.close()
        with suppress(OSError):
            child.terminate()
        try:
            child.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()


def answer_each(make: Callable[[str], Answer]) -> None:
    """The process's side: answers each question that comes, until there can come no more.

    Once its input has ended nobody waits for the page that it is making: that is broken off. Raises
    SystemExit then, and on SIGTERM.
    """
    signal.signal(signal.SIGTERM, _leave)
    for query in _questions(sys.stdin.buffer):
        answer = make(query)
        head = json.dumps([len(answer.body), *answer[1:]])
        sys.stdout.buffer.write(head.encode() + b"\n" + answer.body)
        sys.stdout.buffer.flush()


def _leave(*_: object) -> NoReturn:
    sys.exit(0)


def _questions(pipe: BinaryIO) -> Iterator[str]:
    """Each as it comes, read by a thread, which sees the end at once."""
    questions: SimpleQueue[str | None] = SimpleQueue()

    def read() -> None:
        for line in pipe:
            questions.put(json.loads(line))
        questions.put(None)
        signal.raise_signal(signal.SIGTERM)

    threading.Thread(target=read, name="questions", daemon=True).start()
    while (query := questions.get()) is not None:
        yield query
