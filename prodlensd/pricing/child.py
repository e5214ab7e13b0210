"""A price book in a child process, so that its imports never weigh on the daemon.

Starting it takes a quarter of a second, so a daemon starts it beforehand and lets it go only when
nothing has been asked for a while; what it answered is remembered (see `pricer`). If the daemon
dies, the child's input ends and it goes as well.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from prodlensd.pricing.rates import Origin, PriceBook, Quote, from_list

#: Less than the five seconds in which a daemon has to stop.
_PATIENCE_S: Final = 4.0
_IDLE_S: Final = 60.0


def own_path() -> str:
    """A $PYTHONPATH with which a child finds what we find, but for the current folder.

    Who runs `python -m` has it first in the path, with whatever may come to lie there. Only where
    this package itself lies there it stays, and comes last.
    """
    entries = (entry for entry in sys.path if entry and not _is_current(entry))
    return os.pathsep.join(dict.fromkeys((*entries, str(Path(__file__).parents[2]))))


def _is_current(folder: str) -> bool:
    try:
        return Path(folder).samefile(os.curdir)
    except OSError:
        return False


class BookUnavailableError(OSError):
    """The price book could not be asked: this machine's fault, not the call's. Try again later."""


class ChildBook:
    """The PriceBook that this module serves (see `serve`), asked through a pipe."""

    def __init__(self, module: str = "prodlensd.pricing.genai", *arguments: str) -> None:
        # -P and our own path: it imports what we would, never what lies in the current folder
        self._command = (sys.executable, "-P", "-m", module, *arguments)
        self._child: subprocess.Popen[bytes] | None = None
        self._asked_at_s = 0.0

    def quote(self, provider: str, model: str, at_us: int, tier: str | None) -> Quote:
        """Return the child's quote. Raises BookUnavailableError when there is none to be had."""
        child = self._child or self.start()
        self._asked_at_s = time.monotonic()
        assert child.stdin and child.stdout  # noqa: S101, PT018 - PIPE below
        try:
            with suppress(BrokenPipeError):  # it may have gone with a word why
                child.stdin.write(json.dumps((provider, model, at_us, tier)).encode() + b"\n")
                child.stdin.flush()
            ready, _, _ = select.select([child.stdout], [], [], _PATIENCE_S)
            answer = json.loads(child.stdout.readline() if ready else b"")
        except (OSError, ValueError) as error:
            self.close()
            raise BookUnavailableError(f"the price book gave no answer: {error}") from error
        if isinstance(answer, str):
            self.close()
            raise BookUnavailableError(answer)
        rates, from_us, until_us, origin = answer
        return Quote(from_list(rates) if rates else None, from_us, until_us, Origin(*origin))

    def close(self) -> None:
        """End the child and give its memory back; the next question starts another."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def warm_up(self) -> None:
        """Wait until the child can answer at once; that it cannot is said when it is needed."""
        with suppress(BookUnavailableError):
            self.quote("anthropic", "claude-sonnet-4-5", time.time_ns() // 1000, None)

    def rest(self) -> None:
        """Close the book if it has not been asked for a minute."""
        if time.monotonic() - self._asked_at_s > _IDLE_S:
            self.close()

    def start(self) -> subprocess.Popen[bytes]:
        """Start the child, without waiting until it can answer."""
        self._asked_at_s = time.monotonic()
        self._child = subprocess.Popen(  # noqa: S603 - our own interpreter, our own module
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": own_path()},
            start_new_session=True,  # a Ctrl-C in the terminal is ours to handle
        )
        return self._child


def serve(open_book: Callable[[], PriceBook]) -> None:
    """Answer one JSON line per question, [provider, model, at_us, tier], until the input ends.

    An answer is a quote as a list, or a text that says why the book cannot be read.
    """
    try:
        book = open_book()
    except (OSError, ValueError) as error:
        print(json.dumps(str(error)), flush=True)  # noqa: T201 - the answer is the child's output
        return
    for line in sys.stdin:
        print(json.dumps(book.quote(*json.loads(line))), flush=True)  # noqa: T201
