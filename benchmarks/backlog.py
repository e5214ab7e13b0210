"""A backlog of coding agents' transcripts: copies of the tests' corpora, each with ids of its own.

The tests' makers are slow, for they model what an agent did. So what they made once is copied, with
other ids of messages, sessions and threads, and in another month. Lines are as long as was reported
(charemma/ikno #52: 250 MB in 77,265 lines).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tests.transcripts.calls import totals
from tests.transcripts.claude_corpora import as_reported
from tests.transcripts.codex_corpora import again_as_reported, forks_as_reported
from tests.transcripts.corpus import Corpus, Maker, together

#: Makes lines of 3.2 kB on the average.
_CLAUDE_CHARACTERS: Final = 450
_CODEX_CHARACTERS: Final = 1_500
_CLAUDE_SHARE: Final = 0.05
#: Those that have all days of the corpora.
_MONTHS: Final = [
    b"%d-%02d" % (year, month) for year in (2024, 2025) for month in (1, *range(3, 13))
]
_OF_THE_CORPORA: Final = b"2026-11"
_MESSAGE: Final = b'"msg_01'


class Backlog(NamedTuple):
    """What is in a folder of transcripts."""

    size_bytes: int
    lines: int
    calls: int
    telling: int
    tokens_in: int
    tokens_out: int


def claude_code() -> Corpus:
    """Sessions with the reported numbers of lines to answers."""
    return as_reported(Maker(1, characters=_CLAUDE_CHARACTERS), _CLAUDE_SHARE)


def codex() -> Corpus:
    """Threads that repeat their counters, and forks that replay their parents."""
    again = again_as_reported(Maker(1, characters=_CODEX_CHARACTERS), threads=4)
    return together([again, forks_as_reported(Maker(2, characters=_CODEX_CHARACTERS), trees=1)])


def write(corpus: Corpus, folder: Path, size_bytes: int) -> Backlog:
    """Writes copies of the corpus until there is that much, at least one."""
    copies = written = 0
    while not copies or written < size_bytes:
        for name, content in _copy(corpus, copies):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            written += len(content)
        copies += 1
    lines = sum(content.count(b"\n") for content in corpus.files.values())
    true = totals(corpus.calls)
    each = (lines, true.calls, corpus.telling + corpus.repeated, true.tokens_in, true.tokens_out)
    return Backlog(written, *(copies * number for number in each))


def _copy(corpus: Corpus, number: int) -> Iterator[tuple[str, bytes]]:
    """The files, under names of their own."""
    ids = {call.session_id for call in corpus.calls}
    renames = {id_: f"{id_[:-6]}{number:06}" for id_ in ids}
    month = _MONTHS[number % len(_MONTHS)]
    for name, content in corpus.files.items():
        own_name = name
        own = content.replace(_MESSAGE, b'"msg_%06d' % number).replace(_OF_THE_CORPORA, month)
        for id_, renamed in renames.items():
            own_name = own_name.replace(id_, renamed)
            own = own.replace(id_.encode(), renamed.encode())
        yield f"{number}/{own_name}", own
