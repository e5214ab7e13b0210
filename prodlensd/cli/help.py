"""`prodlensd help`."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from prodlensd.cli import config_option
from prodlensd.cli.typed import Group


def _complete(context: click.Context, _param: click.Parameter, begun: str) -> list[CompletionItem]:
    within = _within(context, context.params.get("words") or ())
    return within.command.shell_complete(within, begun)


def _within(context: click.Context, words: tuple[str, ...]) -> click.Context:
    """The context of the command that the words lead to. Raises UsageError where none is."""
    within = context.find_root()
    for word in words:
        if not isinstance(within.command, Group):
            break
        name, found, _ = within.command.resolve_command(within, [word])
        if found is not None:
            within = click.Context(found, within, info_name=name)
    return within


@click.command()
@config_option
@click.argument("words", nargs=-1, metavar="[COMMAND]...", shell_complete=_complete)
@click.pass_context
def command(context: click.Context, config_path: object, words: tuple[str, ...]) -> None:
    """Say what a command does, as its --help; without COMMAND, which there are.

    Example: prodlensd help report

    Exit code: 0, 2 when there is no such command.
    """
    del config_path  # every command takes it; this one does not need it
    click.echo(_within(context, words).get_help())
