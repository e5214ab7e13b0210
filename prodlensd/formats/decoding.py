"""JSON bytes → a dict, for lines that people and gateways really write.

Strict JSON goes through orjson. What LiteLLM writes beside it (`NaN`, numbers beyond a double, lone
surrogates: LiteLLM copies a client's metadata as it came) goes through the standard library, slower
and more forgiving, and only the values that cannot be used are lost.
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
    """As JSON with NaN and Infinity; raises BadLine when it is not even that."""
    check_utf8(line)
    try:
        return json.loads(line.decode("utf-8-sig"))
    except RecursionError:
        raise BadLine("invalid_json", "nested too deep") from None
    except json.JSONDecodeError as error:
        raise BadLine("invalid_json", f"{error.msg} at character {error.pos}") from None
    except ValueError:
        raise BadLine("invalid_json", "a number of too many digits") from None


def check_utf8(line: bytes) -> None:
    """Raises BadLine for bytes that are no UTF-8."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        raise BadLine("invalid_utf8", f"byte {error.start}") from None


def why_unread(line: bytes) -> BadLine:
    """The reason why no format took this line."""
    try:
        decode(line)
    except BadLine as bad:
        return bad
    return BadLine("unknown_format", "neither a trace line, nor a LiteLLM payload, nor a span")
