"""The corpora are what they say: as many lines, and as much too high or low, as was reported."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.transcripts import claude_corpora as claude
from tests.transcripts import codex_corpora as codex
from tests.transcripts import naive
from tests.transcripts.calls import SAID, totals
from tests.transcripts.corpus import Corpus, Maker
from tests.transcripts.table import table

CORPORA = {**claude.CORPORA, **{f"codex_{name}": make for name, make in codex.CORPORA.items()}}


def as_reported(share: float) -> Corpus:
    return claude.as_reported(Maker(1), share)


def records(corpus: Corpus) -> Iterator[dict[str, Any]]:
    for content in corpus.files.values():
        yield from map(json.loads, content.splitlines())


@pytest.mark.parametrize("share", [0.1, pytest.param(1.0, marks=pytest.mark.long)])
def test_answers_lines_and_files_are_as_many_as_was_reported(share: float) -> None:
    corpus = as_reported(share)
    assert len(corpus.calls) == round(claude.REPORTED_ANSWERS * share)
    assert corpus.telling == round(claude.REPORTED_LINES * share)
    lines = Counter((event.file, event.key) for event in naive.events(corpus))
    affected = {file for (file, _), times in lines.items() if times > 1}
    assert len(affected) / len(corpus.files) == pytest.approx(claude.REPORTED_AFFECTED, abs=0.01)


@pytest.mark.parametrize("share", [0.1, pytest.param(1.0, marks=pytest.mark.long)])
def test_other_sums_are_as_wrong_as_was_reported(share: float) -> None:
    corpus = as_reported(share)
    true = totals(corpus.calls)
    factor = naive.summed(corpus).tokens / true.tokens
    assert factor == pytest.approx(claude.REPORTED_FACTOR, rel=0.03)
    undercount = 1 - naive.first_seen(corpus).tokens_out / true.tokens_out
    assert undercount == pytest.approx(claude.REPORTED_UNDERCOUNT, abs=0.01)
    assert naive.last_seen(corpus) == true


def test_counts_only_grow_and_as_many_do_as_was_reported() -> None:
    written: dict[tuple[Any, ...], list[int]] = {}
    for event in naive.events(as_reported(0.1)):
        written.setdefault(event.key, []).append(event.used.tokens_out)
    assert all(counts == sorted(counts) for counts in written.values())
    changing = sum(len(set(counts)) > 1 for counts in written.values())
    assert changing == round(claude.REPORTED_CHANGING * 0.1)


def test_repeated_counters_are_as_much_too_high_as_was_reported() -> None:
    corpus = codex.again_as_reported(Maker(1), threads=8)
    least, most = codex.REPORTED_AGAIN
    assert least < naive.summed(corpus).tokens / totals(corpus.calls).tokens < most
    assert naive.by_file(corpus) == totals(corpus.calls)


def test_replayed_histories_are_as_much_too_high_as_was_reported() -> None:
    corpus = codex.forks_as_reported(Maker(1))
    least, most = codex.REPORTED_FORKS
    for count in (naive.summed, naive.first_seen, naive.last_seen, naive.by_file):
        assert least < count(corpus).tokens / totals(corpus.calls).tokens < most


@pytest.mark.parametrize("name", CORPORA)
def test_a_corpus_is_the_same_each_time_and_says_much_in_each_file(name: str) -> None:
    corpus = CORPORA[name](Maker(1))
    assert corpus == CORPORA[name](Maker(1))
    assert all(content.count(SAID.encode()) > 9 for content in corpus.files.values())
    assert all("\n" not in call.id for call in corpus.calls)
    assert len({call.id for call in corpus.calls}) == len(corpus.calls)


def test_each_habit_is_wrong_in_some_way_of_counting() -> None:
    ways = (naive.summed, naive.first_seen, naive.last_seen, naive.by_file)
    for name, make in CORPORA.items():
        corpus = make(Maker(1))
        assert any(way(corpus) != totals(corpus.calls) for way in ways), name


@pytest.mark.long
def test_the_table_of_the_documentation_is_what_the_corpora_come_to() -> None:
    page = Path(__file__).parents[2] / "docs" / "transcripts.md"
    assert "\n".join(table()) in page.read_text(), "run python -m tests.transcripts.table"
