"""A folder of made-up transcripts, and what is true of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

from tests.transcripts.calls import Call, Usage
from tests.transcripts.texts import Texts

#: 2026-11-01T09:00:00Z.
BEGIN_US: Final = 1_793_523_600_000_000
MINUTE_US: Final = 60_000_000
CLAUDE_MODELS: Final = ("claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5")
CODEX_MODELS: Final = ("gpt-5-codex", "gpt-5", "gpt-5-mini")


class Corpus(NamedTuple):
    """Files by their names in an agent's folder, and the calls that they tell of.

    telling      the lines that tell of a call, for the first time or again
    repeated     the lines that repeat a counter which has not grown
    refused      lines that cannot be read, equal ones counted once
    """

    agent: str
    files: dict[str, bytes]
    calls: list[Call]
    telling: int
    repeated: int = 0
    refused: int = 0

    @property
    def duplicates(self) -> int:
        return self.telling - len(self.calls) + self.repeated

    def write(self, folder: Path) -> list[Path]:
        """Writes the files into this folder; returns where they are."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return [folder / name for name in self.files]


def together(corpora: Iterable[Corpus]) -> Corpus:
    """The files of all of them, in one folder. They are of one agent, and share no file."""
    listed = [*corpora]
    [agent] = {corpus.agent for corpus in listed}
    files = {name: content for corpus in listed for name, content in corpus.files.items()}
    assert len(files) == sum(len(corpus.files) for corpus in listed)
    calls = [call for corpus in listed for call in corpus.calls]
    counted = ([getattr(each, name) for each in listed] for name in Corpus._fields[3:])
    return Corpus(agent, files, calls, *map(sum, counted))


class Maker:
    """Makes ids, calls and texts up, the same ones for the same seed. Its state: the calls made."""

    def __init__(self, seed: int, *, characters: int = 60) -> None:
        self.random = Random(seed)  # noqa: S311 - what is made up is no secret
        self.texts = Texts(self.random, characters)
        self.calls: list[Call] = []

    def uuid(self) -> str:
        digits = f"{self.random.getrandbits(128):032x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def claude_call(self, session_id: str, at_us: int, **told: Any) -> Call:
        written = self.random.randrange(100, 4000)
        usage = Usage(
            tokens_in=self.random.randrange(1, 9) + written + (read := self._context()),
            cache_read=read,
            cache_write=written,
            cache_write_1h=self.random.choice((0, written)),
            tokens_out=self.random.randrange(20, 900),
        )
        model = self.random.choice(CLAUDE_MODELS)
        return self._made(Call(f"msg_01{self.uuid()[:22]}", at_us, session_id, model, usage), told)

    def codex_call(self, session_id: str, at_us: int, model: str | None, **told: Any) -> Call:
        reasoning = self.random.randrange(0, 500)
        usage = Usage(
            tokens_in=self.random.randrange(50, 3000) + (read := self._context()),
            cache_read=read,
            tokens_out=reasoning + self.random.randrange(20, 700),
            reasoning=reasoning,
        )
        return self._made(Call(self.uuid(), at_us, session_id, model, usage), told)

    def _context(self) -> int:
        return self.random.randrange(0, 90_000)

    def _made(self, call: Call, told: dict[str, Any]) -> Call:
        call = call._replace(**told)
        self.calls.append(call)
        return call
