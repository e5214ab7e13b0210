"""Where the parts of a JSON text stand in its bytes, found without decoding it.

For texts that may be many megabytes: a part is decoded when its turn comes, and memory holds one at
a time. What is between brackets is not looked at: whether a part is JSON, its decoder tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from prodlensd.model import BadLine

# Possessive: nothing is tried a second time, whatever the bytes.
_SPACE: Final = re.compile(rb"[ \t\r\n]*+")
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SCALAR: Final = re.compile(rb'[^\[\]{}",: \t\r\n]++')
#: To the next bracket that stands in no string.
_TO_BRACKET: Final = re.compile(
    rb'[^"\[\]{}]*+(?:"[^"\\]*+(?:\\.[^"\\]*+)*+"[^"\[\]{}]*+)*+[\[\]{}]', re.DOTALL
)
_OPEN: Final = frozenset(b"[{")
#: As deep as decoders go.
_MAX_DEPTH: Final = 1024


def elements(text: bytes, begin: int) -> Iterator[tuple[int, int]]:
    """The span of each element of the array that begins there.

    Raises BadLine where the text is no array, once the elements before that place were given.
    """
    at = _expect(text, begin, b"[")
    if text[at : at + 1] == b"]":
        return
    while True:
        end = value_end(text, at)
        yield at, end
        at = _skip(text, end)
        if text[at : at + 1] == b"]":
            return
        at = _expect(text, at, b",")


def members(text: bytes, begin: int) -> Iterator[tuple[bytes, int, int]]:
    """The name, as it stands there, and the span of the value of each member of an object.

    Raises BadLine where the text is no object, once the members before that place were given.
    """
    at = _expect(text, begin, b"{")
    if text[at : at + 1] == b"}":
        return
    while True:
        name = _STRING.match(text, at)
        if name is None:
            raise _broken(at)
        at = _expect(text, _skip(text, name.end()), b":")
        end = value_end(text, at)
        yield name[0][1:-1], at, end
        at = _skip(text, end)
        if text[at : at + 1] == b"}":
            return
        at = _expect(text, at, b",")


def value_end(text: bytes, begin: int) -> int:
    """Where the value that begins there ends. Raises BadLine when it does not."""
    if text[begin : begin + 1] not in (b"[", b"{"):
        simple = _STRING.match(text, begin) or _SCALAR.match(text, begin)
        if simple is None:
            raise _broken(begin)
        return simple.end()
    depth, at = 1, begin + 1
    while depth:
        bracket = _TO_BRACKET.match(text, at)
        if depth > _MAX_DEPTH:
            raise BadLine("invalid_json", "nested too deep")
        if bracket is None:
            raise BadLine("invalid_json", f"no end of what begins at byte {begin}")
        at = bracket.end()
        depth += 1 if text[at - 1] in _OPEN else -1
    return at


def is_all(text: bytes, end: int) -> bool:
    """Whether nothing but white space follows."""
    return _skip(text, end) == len(text)


def _expect(text: bytes, at: int, sign: bytes) -> int:
    """The place of what follows this sign."""
    if text[at : at + 1] != sign:
        raise _broken(at)
    return _skip(text, at + 1)


def _skip(text: bytes, at: int) -> int:
    space = _SPACE.match(text, at)
    return at if space is None else space.end()


def _broken(at: int) -> BadLine:
    return BadLine("invalid_json", f"not JSON (byte {at})")
