"""What may have been meant by a name that is not known."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from typing import Final

from prodlensd.text.plain import printable

_MOST: Final = 3
#: A shorter word begins, or lies within, too many names to mean one of them.
_LEAST_CHARS: Final = 2
#: How much alike two names have to be, of 1: "reprt" and "reprice" are, "colour" and "hour" not.
_LEAST_RATIO: Final = 0.65
#: And the word of a name, of which there are many.
_LEAST_WORD_RATIO: Final = 0.75
_WORD: Final = re.compile(r"[^\W_]{3,}")


def alike(said: str, known: Iterable[str], *, most: int = _MOST) -> list[str]:
    """The known names that may be meant, the likeliest first.

    Those that are it, but for case or for what stands before their last slash. Or else those that
    begin with it, then those that have it as the beginning of a word, short ones first; then those
    that are spelled much like it. Or else those of which one word is.
    """
    word = said.lower()
    names = sorted(dict.fromkeys(known), key=lambda name: (len(name), name))
    if same := [name for name in names if word in (name.lower(), _last_part(name))]:
        return same[:most]
    found: list[str] = []
    if len(word) >= _LEAST_CHARS:
        within = re.compile(rf"(?<![^\W_]){re.escape(word)}")
        found += (name for name in names if name.lower().startswith(word))
        found += (name for name in names if within.search(name.lower()))
    spelled: dict[str, str] = {}
    for name in names:
        spelled.setdefault(name.lower(), name)
        spelled.setdefault(_last_part(name), name)
    found += (spelled[key] for key in _close(word, spelled, most, _LEAST_RATIO))
    return list(dict.fromkeys(found or _alike_in_a_word(word, names)))[:most]


def _alike_in_a_word(word: str, names: Iterable[str]) -> list[str]:
    """The names that have a word like this one, if it is a single word."""
    if not _WORD.fullmatch(word):
        return []
    by_word: dict[str, list[str]] = {}
    for name in names:
        for part in _WORD.findall(name.lower()):
            by_word.setdefault(part, []).append(name)
    close = _close(word, by_word, _MOST, _LEAST_WORD_RATIO)
    return [name for part in close for name in by_word[part]]


def _close(word: str, known: Iterable[str], most: int, least_ratio: float) -> list[str]:
    """The words that are spelled much like this one."""
    import difflib  # noqa: PLC0415 - mostly nobody has mistyped a name

    return difflib.get_close_matches(word, known, most, least_ratio)


def _last_part(name: str) -> str:
    return name.lower().rpartition("/")[2]


def did_you_mean(
    said: str,
    known: Iterable[str],
    *,
    most: int = _MOST,
    shown: Callable[[str], str] = printable,
) -> str:
    """The end of a sentence about a name that is not known: "; did you mean report, reprice?".

    Nothing where no known name is like it.
    """
    meant = ", ".join(map(shown, alike(said, known, most=most)))
    return f"; did you mean {meant}?" if meant else ""


def none_of(said: str, known: Collection[str]) -> str:
    """That a word is none of those known: which was meant or, if none is like it, all of them."""
    if meant := did_you_mean(said, known):
        return f"there is no {said!r}{meant}"
    return f"there is no {said!r}; expected one of {', '.join(known)}"
