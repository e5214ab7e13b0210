"""`prodlensd completion`."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import get_completion_class

from prodlensd.cli import config_option
from prodlensd.cli.typed import Choice

_SHELLS: Final = ("bash", "zsh", "fish")
_PROGRAM: Final = "prodlensd"
#: The variable that click looks at: the name follows from the program's.
_VARIABLE: Final = "_PRODLENSD_COMPLETE"


@click.command()
@config_option
@click.argument("shell", type=Choice(_SHELLS), metavar=f"[{'|'.join(_SHELLS)}]")
def command(config_path: object, shell: str) -> None:
    """Print what lets a shell complete commands, options and names with the Tab key.

    Names are developers, teams, repositories, sessions and models, as calls of late have them.

    \b
    bash  eval "$(prodlensd completion bash)"  in ~/.bashrc
    zsh   eval "$(prodlensd completion zsh)"   in ~/.zshrc, after compinit
    fish  prodlensd completion fish | source   in ~/.config/fish/config.fish

    Example: prodlensd completion bash

    Exit code: 0.
    """  # noqa: D301 - click reads the backspace: do not fill
    del config_path  # every command takes it; this one does not need it
    made = get_completion_class(shell)
    assert made is not None  # noqa: S101 - click has all of _SHELLS
    source = made(click.get_current_context().find_root().command, {}, _PROGRAM, _VARIABLE).source()
    # fish would cut a value at its comma.
    click.echo(source.replace('(string split ","', '(string split --max 1 ","'), nl=False)
