"""Faults of the environment: logged once, shown while they last, waited out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from structlog.typing import FilteringBoundLogger

from prodlensd.ledger import LedgerError
from prodlensd.model import Fault
from prodlensd.process import back_off_s

#: What the environment may do to any step. MemoryError: another time there may be enough.
PASSING: Final = (LedgerError, OSError, MemoryError)
MAX_FAULT_CHARS: Final = 400
#: How many kinds of faults are shown, each with one example.
_MAX_KINDS: Final = 5
_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 30.0


class Faults:
    """The faults of just now. The mutable state.

    unreadable  the files and folders that cannot be read
    trouble     why the last step failed; "" when it did not
    """

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self.unreadable: frozenset[Fault] = frozenset()
        self.trouble = ""
        self._failures = 0

    def update(self, unreadable: Iterable[Fault]) -> bool:
        """Takes note of what cannot be read now, and logs what changed; whether anything did."""
        before, self.unreadable = self.unreadable, frozenset(unreadable)
        for fault in _summary(self.unreadable - before):
            self._log.warning("cannot read; will keep trying", fault=fault)
        for fault in _summary(before - self.unreadable):
            self._log.info("healed", fault=fault)
        return self.unreadable != before

    def fail(self, error: Exception) -> float:
        """Takes note of a step that failed, and logs the first of several; the wait in seconds."""
        self.trouble = named(error)
        if self._failures == 0:
            self._log.error("cannot go on just now; will keep trying", fault=self.trouble)
        self._failures += 1
        return back_off_s(self._failures - 1, first_s=_FIRST_WAIT_S, longest_s=_LONGEST_WAIT_S)

    def succeed(self) -> None:
        """Takes note of a step that did not fail."""
        self.trouble, self._failures = "", 0

    def text(self, *others: str) -> str:
        """All faults, and those of `others` that are not "", in a text of bounded length."""
        return "; ".join([*filter(None, (self.trouble, *others)), *_summary(self.unreadable)])


def named(error: Exception) -> str:
    """The text of an error, of bounded length."""
    text = str(error) or "not enough memory"
    return text if len(text) <= MAX_FAULT_CHARS else f"{text[: MAX_FAULT_CHARS - 1]}…"


def _summary(faults: Iterable[Fault]) -> list[str]:
    """A few lines of bounded length: faults with one reason are counted, and one is named."""
    paths_of: defaultdict[str, list[str]] = defaultdict(list)
    for path, reason in sorted(faults):
        paths_of[reason[:MAX_FAULT_CHARS]].append(path)
    lines = []
    for reason, paths in list(paths_of.items())[:_MAX_KINDS]:
        more = f" (and {len(paths) - 1:,} more)" if len(paths) > 1 else ""
        lines.append(f"{paths[0]}: {reason}{more}")
    if (rest := len(paths_of) - _MAX_KINDS) > 0:
        lines.append(f"and {rest:,} more faults of other kinds")
    return lines
