"""What does not hold, named up to a number."""

from __future__ import annotations

from typing import Final

from msgspec import Struct, field

#: This many differences are named, the others are only counted.
MAX_NAMED: Final = 20
#: What is found in place of what was expected.
NOTHING: Final = "nothing"


class Difference(Struct, frozen=True):
    """One thing that does not hold: in which file, at which byte of it (None: not at one)."""

    path: str
    offset: int | None
    what: str
    expected: str
    found: str


class Differences(Struct):
    """The first MAX_NAMED differences, and the number of all."""

    named: list[Difference] = field(default_factory=list)
    count: int = 0

    def add(self, difference: Difference) -> None:
        """Adds one."""
        self.count += 1
        if len(self.named) < MAX_NAMED:
            self.named.append(difference)

    def expect(self, path: str, what: str, expected: object, found: object) -> None:
        """Adds one when the two are not equal."""
        if expected != found:
            self.add(Difference(path, None, what, _text(expected), _text(found)))

    def take(self, others: Differences) -> None:
        """Adds all of these."""
        self.named += others.named[: MAX_NAMED - len(self.named)]
        self.count += others.count


def _text(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
