"""A price book in a child process, which keeps its imports out of the daemon's memory.

Starting it takes a quarter of a second, so the daemon starts it beforehand and ends it only when it
has not been asked for a while; its answers are remembered (see `pricer`). When the daemon dies, the
child's input ends, and with it the child.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import IO, Any, Final

from prodlensd import child
from prodlensd.pricing.rates import Origin, PriceBook, Question, Quote, from_list

#: A child that has not answered for so long will not. On a busy machine it may well take half of
#: it to start, and one that is ended whenever it is late never would.
HUNG_S: Final = 60.0
_IDLE_S: Final = 60.0
#: Far fewer than can be answered while we are patient.
_QUESTIONS_AT_ONCE: Final = 500


class BookUnavailableError(OSError):
    """The price book could not be asked, for a reason on this machine. To be tried again later."""


class ChildBook(PriceBook):
    """The price book that a module serves (see `serve`), asked through a pipe.

    `now_s` is a clock in seconds that never goes back. An answer that takes longer than
    `patience_s` can be had by asking again. The mutable state: the child, the answers that were
    asked for ahead, when it was last asked, and whether it has yet to answer.
    """

    def __init__(
        self,
        module: str = "prodlensd.pricing.builtin",
        *arguments: str,
        now_s: Callable[[], float],
        patience_s: float = HUNG_S,
    ) -> None:
        self._module, self._arguments = module, arguments
        self._child: subprocess.Popen[bytes] | None = None
        self._now_s = now_s
        self._patience_s = patience_s
        self._expected: dict[Question, Quote] = {}
        self._asked_at_s = now_s()
        self._is_late = False

    def quote(self, question: Question) -> Quote:
        """The child's quote. Raises BookUnavailableError."""
        quote = self._expected.pop(question, None)
        return quote or next(iter(self._ask([question])))

    def expect(self, questions: Collection[Question]) -> None:
        """Asks for these quotes at once: the way to the child takes longer than its answer.

        `quote` then has each of them, once and until the next call. Raises BookUnavailableError.
        """
        self._expected = {}
        left = iter(questions)
        while some := list(islice(left, _QUESTIONS_AT_ONCE)):
            self._expected.update(zip(some, self._ask(some), strict=True))

    def _ask(self, questions: Sequence[Question]) -> Iterator[Quote]:
        process = self._child or self.start()
        assert process.stdin and process.stdout  # noqa: S101, PT018 - PIPE below
        try:
            if self._is_late:
                self._answer(process.stdout)  # to what was asked before
            self._asked_at_s = self._now_s()
            with suppress(BrokenPipeError):  # it may have ended, and its last line says why
                process.stdin.write(json.dumps(questions).encode() + b"\n")
                process.stdin.flush()
            answers = json.loads(self._answer(process.stdout))
        except (OSError, ValueError) as error:
            if not self._is_late or self._now_s() - self._asked_at_s > HUNG_S:
                self.close()
            raise BookUnavailableError(f"the price book gave no answer: {error}") from error
        if isinstance(answers, str):
            self.close()
            raise BookUnavailableError(answers)
        return map(_quote, answers)

    def _answer(self, answers: IO[bytes]) -> bytes:
        """The next answer. Raises TimeoutError while there is none."""
        ready, _, _ = select.select([answers], [], [], self._patience_s)
        self._is_late = not ready
        if not ready:
            raise TimeoutError(f"not within {self._patience_s:.0f} s")
        return answers.readline()

    def close(self) -> None:
        """Ends the child and frees its memory; the next question starts another."""
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None
        self._is_late = False

    def warm_up(self) -> None:
        """Waits until the child can answer. That it cannot is an error only when it is needed."""
        with suppress(BookUnavailableError):
            self.quote(Question("anthropic", "claude-sonnet-4-5", 0))

    def rest(self) -> None:
        """Ends the child if it has not been asked for a minute."""
        if self._now_s() - self._asked_at_s > _IDLE_S:
            self.close()

    def start(self) -> subprocess.Popen[bytes]:
        """Starts the child, without waiting until it can answer. Raises BookUnavailableError."""
        self._asked_at_s = self._now_s()
        try:
            self._child = child.start(
                *self._arguments,
                module=self._module,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                is_own_session=True,  # a Ctrl-C in the terminal is ours to handle
            )
        except OSError as error:
            raise BookUnavailableError(f"the price book cannot be started: {error}") from error
        return self._child


def _quote(answer: list[Any]) -> Quote:
    rates, from_us, until_us, origin, reason = answer
    return Quote(from_list(rates) if rates else None, from_us, until_us, Origin(*origin), reason)


def _question(asked: list[Any]) -> Question:
    provider, model, at_us, modifiers = asked
    return Question(provider, model, at_us, tuple((name, value) for name, value in modifiers))


def serve(open_book: Callable[[], PriceBook]) -> None:
    """Answers each line of standard input, a list of questions, with a line of their quotes.

    All in JSON, each as the list of its fields. When the book cannot be read, the
    only answer is a text with the reason.
    """
    try:
        book = open_book()
    except (OSError, ValueError) as error:
        print(json.dumps(str(error)), flush=True)  # noqa: T201 - the answer is the child's output
        return
    for line in sys.stdin:
        quotes = [book.quote(_question(asked)) for asked in json.loads(line)]
        print(json.dumps(quotes), flush=True)  # noqa: T201
