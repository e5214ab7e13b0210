"""The table of docs/transcripts.md: what is true of each corpus, and what other sums come to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from tests.transcripts import claude_corpora, codex_corpora, naive
from tests.transcripts.calls import Totals, totals
from tests.transcripts.corpus import Corpus, Maker

#: Ways of counting, by the heads of their columns.
WAYS: Final[dict[str, Callable[[Corpus], Totals]]] = {
    "all lines": naive.summed,
    "first seen": naive.first_seen,
    "last seen": naive.last_seen,
    "by request": naive.by_request,
    "each file alone": naive.by_file,
}
AS_REPORTED: Final[dict[str, Callable[[Maker], Corpus]]] = {
    "9,632 answers on 23,516 lines": claude_corpora.as_reported,
    "counters that are repeated": codex_corpora.again_as_reported,
    "sub-agents and forks that replay": codex_corpora.forks_as_reported,
}


def table() -> Iterator[str]:
    """One row a corpus, first those with the reported numbers."""
    heads = ["made up", "calls", "tokens", *WAYS]
    yield f"| {' | '.join(heads)} |"
    yield f"|:--|{'--:|' * (len(heads) - 1)}"
    for name, make in AS_REPORTED.items():
        yield _row(name, make(Maker(1)))
    for title, corpora in (
        ("Claude Code", claude_corpora.CORPORA),
        ("Codex", codex_corpora.CORPORA),
    ):
        for make in corpora.values():
            yield _row(f"{title}: {_sentence(make)}", make(Maker(1)))


def _row(name: str, corpus: Corpus) -> str:
    true = totals(corpus.calls)
    cells = [f"{_factor(way(corpus), true)}" for way in WAYS.values()]
    return f"| {name} | {true.calls:,} | {true.tokens:,} | {' | '.join(cells)} |"


def _factor(counted: Totals, true: Totals) -> str:
    """Times the true tokens; of the output alone, where that is what is wrong."""
    if (counted.tokens_in, counted.tokens_out) == (true.tokens_in, true.tokens_out):
        return "right"
    if counted.tokens_in == true.tokens_in:
        return f"{counted.tokens_out / true.tokens_out:.2f} \N{MULTIPLICATION SIGN} of the output"
    return f"{counted.tokens / true.tokens:.2f} \N{MULTIPLICATION SIGN}"


def _sentence(make: Callable[[Maker], Corpus]) -> str:
    first = (make.__doc__ or "").partition(".")[0]
    return first[0].lower() + first[1:]


if __name__ == "__main__":
    print("\n".join(table()))  # noqa: T201 - a development command
