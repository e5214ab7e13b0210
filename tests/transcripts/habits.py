"""All corpora by name, and all of an agent's at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.transcripts import claude_corpora, codex_corpora
from tests.transcripts.corpus import Corpus, Maker, together

#: Whose calls are known exactly: each is one habit.
CORPORA: Final[dict[str, Callable[[Maker], Corpus]]] = {
    **claude_corpora.CORPORA,
    **{f"codex_{name}": make for name, make in codex_corpora.CORPORA.items()},
}
AGENTS: Final = ("claude_code", "codex")
#: Those with copies of each other's lines.
_SHARED: Final = {"claude_code": ("forks", "resumes"), "codex": ("codex_forks", "codex_restarts")}


def everything(agent: str) -> Corpus:
    """All habits of an agent at once."""
    return _together([name for name in CORPORA if name.startswith("codex_") is (agent == "codex")])


def shared(agent: str) -> Corpus:
    """A few files that hold copies of each other's lines."""
    return _together(_SHARED[agent])


def _together(names: list[str] | tuple[str, ...]) -> Corpus:
    return together(CORPORA[name](Maker(seed)) for seed, name in enumerate(names))
