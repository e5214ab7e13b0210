"""Tells notify.webhook when a budget crosses a line or the health changes, once each.

What was told is noted after it was taken. Killed in between, it is told once more: at least once is
what can be promised, and missing one would be worse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from prodlensd.ledger import FailedAttempts, Telling
from prodlensd.model import TemporaryError
from prodlensd.text import printable

#: The lines that a budget crosses, the lowest first.
LINES: Final = ("under", "warning", "over")
HEALTH: Final = "health"
_WELL: Final = "ok"


class NotifyError(TemporaryError):
    """The message was not taken."""


class Stand(NamedTuple):
    """A budget: its name, the period that runs, the last of LINES that it has crossed there.

    `text` says it, and `fields` are for programs.
    """

    name: str
    period: str
    line: str
    text: str
    fields: Mapping[str, Any]


class Message(NamedTuple):
    """What is to be told of a subject; without `content` it is only noted: it is no news."""

    subject: str
    state: str
    content: Mapping[str, Any]


def of_budgets(told: Mapping[str, str], budgets: Iterable[Stand]) -> Iterator[Message]:
    """A message for each budget that has crossed a line upwards since it was last told of.

    A new period begins below all lines, and a repricing may lead back below one: no news.
    """
    for stand in budgets:
        subject, state = f"budget {stand.name}", f"{stand.period} {stand.line}"
        before = told.get(subject, "")
        period, _, line = before.rpartition(" ")
        known = line if period == stand.period else LINES[0]
        if LINES.index(stand.line) > LINES.index(known):
            content = {"kind": "budget", "text": stand.text, "budget": stand.fields}
            yield Message(subject, state, content)
        elif before != state and stand.line != known:
            yield Message(subject, state, {})


def of_health(told: Mapping[str, str], state: str, bad: Mapping[str, str]) -> Iterator[Message]:
    """A message when the health is another one than was last told; at first it is taken for ok.

    `bad` are the checks that are not ok, with their state. What they found stays here: it may quote
    what somebody else wrote.
    """
    before = told.get(HEALTH, _WELL)
    if before != state:
        named = ", ".join(bad)
        text = f"health {state}, was {before}" + (f": {named}; see prodlensd status" if bad else "")
        content = {"kind": HEALTH, "text": text, "state": state, "before": before, "checks": bad}
        yield Message(HEALTH, state, content)


def escaped(text: str) -> str:
    """A text from outside for a chat: it steers no terminal, and mentions and links nothing."""
    return printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def tell(
    messages: Sequence[Message],
    telling: Telling,
    failed: FailedAttempts | None,
    *,
    post: Callable[[Mapping[str, Any]], None],
    now: Callable[[], int],
) -> Iterator[Message]:
    """Posts each message and notes it; yields those that were taken.

    Raises NotifyError when one is not taken; the ledger then has when to try again.
    """
    try:
        for message in messages:
            if message.content:
                post(message.content)
            telling.note(message.subject, message.state, now())
            if message.content:
                yield message
    except OSError as error:
        telling.note_failed(FailedAttempts.one_more(failed, str(error), now()))
        raise NotifyError(str(error)) from error
    if failed is not None:
        telling.note_failed(None)
