"""What is said in a made-up transcript: long, and in every place where an agent keeps it."""

from __future__ import annotations

import json
from random import Random
from typing import Any, Final

import orjson

from tests.transcripts.calls import SAID

_WORDS: Final = (
    "the usage of input tokens in a file which tells why it is read and who wrote".split()
)
_ODD: Final = (
    *(
        "\n",
        "\n    ",
        '"usage"',
        '"token_count"',
        "\\",
        "\t",
        "é",
        "日本",
        "🙂",
        "{",
        "}",
        "[",
        "]",
    ),
)
_OUTPUT_TIMES: Final = 10
#: As often as lines end in code.
_WEIGHTS: Final = (*([10] * len(_WORDS)), *([1] * len(_ODD)))


class Texts:
    """Texts that are so long on the average, each with the mark: what tools give back is longer."""

    def __init__(self, random: Random, characters: int) -> None:
        self._random = random
        self._characters = characters
        words = random.choices((*_WORDS, *_ODD), _WEIGHTS, k=max(1 << 12, characters))
        self._pool = " ".join(words)

    def text(self) -> str:
        """Something said."""
        return self._of_about(self._characters)

    def output(self) -> str:
        """What a tool gave back."""
        return self._of_about(self._characters * _OUTPUT_TIMES)

    def _of_about(self, characters: int) -> str:
        """Many texts are short, few are long."""
        length = int(self._random.expovariate(1 / characters))
        begin = self._random.randrange(max(1, len(self._pool) - length))
        return f"{SAID} {self._pool[begin : begin + length]}"

    def quoting(self) -> str:
        """A text that holds a line of a transcript: what an agent sees when it reads one."""
        usage = {"input_tokens": 9_000_000, "output_tokens": 9_000_000}
        return json.dumps(
            {"type": "assistant", "message": {"id": "msg_quoted", "usage": usage}, "said": SAID}
        )


def line(record: dict[str, Any]) -> bytes:
    """As both agents write a record: no spaces, and every character as it is."""
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
