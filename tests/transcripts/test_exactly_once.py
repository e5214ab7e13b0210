"""Each call that was made is in the ledger once, whatever its lines went through."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from random import Random

import pytest

from tests.transcripts import claude_corpora as claude
from tests.transcripts import codex_corpora as codex
from tests.transcripts.corpus import Corpus, Maker
from tests.transcripts.habits import AGENTS, CORPORA, everything
from tests.transcripts.laptop import Laptop


@pytest.mark.parametrize("name", CORPORA)
def test_each_call_is_there_once_with_all_it_used(laptop: Laptop, name: str) -> None:
    corpus = CORPORA[name](Maker(1))
    laptop.take(corpus)
    laptop.ingest()
    laptop.assert_right(corpus)


@pytest.mark.long
@pytest.mark.parametrize(
    "make", [claude.as_reported, codex.again_as_reported, codex.forks_as_reported]
)
def test_as_many_as_were_reported_are_there_once(
    laptop: Laptop, make: Callable[[Maker], Corpus]
) -> None:
    corpus = make(Maker(1))
    laptop.take(corpus)
    laptop.ingest()
    laptop.assert_right(corpus)


@pytest.mark.sampled(8)
@pytest.mark.parametrize("seed", range(24))
@pytest.mark.parametrize("agent", AGENTS)
def test_every_order_of_reading_the_files_gives_the_same_calls(
    laptop: Laptop, agent: str, seed: int
) -> None:
    corpus = everything(agent)
    order = [*range(len(corpus.files))]
    Random(seed).shuffle(order)  # noqa: S311 - a test is no secret
    laptop.take(corpus, order)
    laptop.ingest()
    laptop.assert_right(corpus)


@pytest.mark.long
@pytest.mark.parametrize("name", ["forks", "resumes", "subagents", "codex_forks", "codex_restarts"])
def test_files_that_come_one_after_the_other_in_any_order_give_the_same_rows(
    another: Callable[[], Laptop], name: str
) -> None:
    corpus = CORPORA[name](Maker(1))
    rows = None
    for order in permutations(range(len(corpus.files))):
        laptop = another()
        for number in order:
            path = [*corpus.files][number]
            laptop.take(corpus._replace(files={path: corpus.files[path]}))
            laptop.ingest()
        laptop.assert_right(corpus)
        rows = rows or laptop.rows()
        assert laptop.rows() == rows
