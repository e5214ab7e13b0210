"""The commands and their help, for the pages that are written from them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Final, cast

import click

from prodlensd.cli import COMMANDS, main

#: Begins the paragraph of a command's help that is a command line.
EXAMPLE: Final = "Example: "


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Each command by its words, as ("prices", "show"); a group comes before what is in it."""
    for name in COMMANDS:
        command = cast("click.Command", main.get_command(click.Context(main), name))
        yield (name,), command
        if isinstance(command, click.Group):
            yield from (((name, within), command.commands[within]) for within in command.commands)


def paragraphs(command: click.Command) -> list[str]:
    """The paragraphs of its help; one that begins with a backspace is not to be filled."""
    return re.split(r"\n\s*\n", inspect.cleandoc(command.help or ""))


def own_options(command: click.Command) -> list[click.Option]:
    """Its options but for those that all have."""
    options = [each for each in command.params if isinstance(each, click.Option)]
    return [option for option in options if option.name != "config_path"]
