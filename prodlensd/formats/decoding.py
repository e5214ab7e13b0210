"""JSON bytes → a dict, for lines that people and LiteLLM really write.

Strict JSON goes through orjson. LiteLLM copies a client's metadata as it came, and so also writes
`NaN`, numbers beyond a double and lone surrogates. Such lines go through the standard library,
which is slower and more forgiving, and only the unusable values are lost.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from prodlensd.model import BadLine


def decode(line: bytes) -> dict[str, Any]:
    """The object on this line; raises BadLine when it is not one JSON object in UTF-8."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        record = decode_forgiving(line)
    if type(record) is not dict:
        raise BadLine("not_an_object", f"a JSON {type(record).__name__}")
    return record


def decode_forgiving(line: bytes) -> object:
    """The value of JSON that may hold NaN and Infinity; raises BadLine for any other text."""
    check_utf8(line)
    try:
        return json.loads(line.decode("utf-8-sig"))
    except RecursionError:
        raise BadLine("invalid_json", "nested too deep") from None
    except json.JSONDecodeError as error:
        raise BadLine("invalid_json", _fault(error)) from None
    except ValueError:
        raise BadLine("invalid_json", "a number of too many digits") from None


def _fault(error: json.JSONDecodeError) -> str:
    """The first mistake, and where it is. Python's words for some of them end in "at"."""
    if error.msg == "Expecting value":
        return f"not JSON (character {error.pos})"
    what = error.msg.removesuffix(" at").removesuffix(" starting")
    return f"{what[0].lower()}{what[1:]} at character {error.pos}"


def check_utf8(line: bytes) -> None:
    """Raises BadLine for bytes that are not UTF-8."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        raise BadLine("invalid_utf8", f"byte {error.start}") from None
