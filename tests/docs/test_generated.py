"""The pages that are written from the code are as the code is now."""

from __future__ import annotations

import shlex
from typing import cast

import click
import pytest

from prodlensd.cli import main
from tests.docs.commands import EXAMPLE, commands, paragraphs
from tests.docs.generate import DOCS, PAGES

LEAVES = {path: of for path, of in commands() if not isinstance(of, click.Group)}


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_the_generator_writes(name: str) -> None:
    assert PAGES[name]() == (DOCS / name).read_text(encoding="utf-8"), (
        "run python tests/docs/generate.py"
    )


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_the_help_of_a_command_gives_an_example_that_it_accepts(path: tuple[str, ...]) -> None:
    [example] = [text for text in paragraphs(LEAVES[path]) if text.startswith(EXAMPLE)]
    words = shlex.split(example.removeprefix(EXAMPLE))
    assert ["prodlensd", *path] == words[: len(path) + 1]
    LEAVES[path].make_context(words[0], words[len(path) + 1 :])


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_the_help_of_a_command_or_of_its_group_gives_the_exit_codes(path: tuple[str, ...]) -> None:
    group = cast("click.Command", main.get_command(click.Context(main), path[0]))
    said = [*paragraphs(group), *paragraphs(LEAVES[path])]
    assert any(text.startswith("Exit code: 0") for text in said)


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_option_says_what_it_does(path: tuple[str, ...]) -> None:
    options = [option for option in LEAVES[path].params if isinstance(option, click.Option)]
    assert [] == [option.name for option in options if not option.help]
