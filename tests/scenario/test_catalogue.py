"""Every story is told by a test, or it says why not; and no test tells one that nobody knows.

The marks are read from the source, so that it does not matter which tests this run is of.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

import pytest

from tests.scenario.catalogue import NOT_HERE, STORIES

_ENOUGH = 70


def marks(source: str) -> Iterator[int]:
    """The numbers in every `pytest.mark.scenario(...)` of a module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.scenario":
            yield from map(ast.literal_eval, node.args)


@pytest.fixture(scope="module")
def told(pytestconfig: pytest.Config) -> dict[int, list[str]]:
    """Which test files tell a story."""
    tests = pytestconfig.rootpath / "tests"
    found: dict[int, list[str]] = defaultdict(list)
    for path in sorted(tests.rglob("test_*.py")):
        for number in marks(path.read_text()):
            found[number].append(str(path.relative_to(tests)))
    return found


def test_marks_are_seen_wherever_they_stand() -> None:
    source = """
import pytest
@pytest.mark.slow
@pytest.mark.scenario(1, 2)
def test_one(): ...
class TestMore:
    @pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.scenario(3)), 2])
    def test_two(self, x): ...
@pytest.mark.parametrize("scenario", [4])
def test_three(scenario): ...
"""
    assert sorted(marks(source)) == [1, 2, 3]


def test_every_story_that_is_told_is_in_the_catalogue(told: dict[int, list[str]]) -> None:
    assert {number: where for number, where in told.items() if number not in STORIES} == {}


def test_every_story_is_told_or_says_why_not(told: dict[int, list[str]]) -> None:
    untold = STORIES.keys() - told.keys() - NOT_HERE.keys()
    assert {number: STORIES[number] for number in sorted(untold)} == {}


def test_no_story_that_is_told_claims_that_it_cannot_be(told: dict[int, list[str]]) -> None:
    assert {number: where for number, where in told.items() if number in NOT_HERE} == {}
    assert set(NOT_HERE) <= set(STORIES)


def test_most_stories_are_told(told: dict[int, list[str]]) -> None:
    assert len(told) >= _ENOUGH
    assert list(STORIES) == list(range(1, len(STORIES) + 1))
