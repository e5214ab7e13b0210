"""What is typed at a command line: commands and choices that say what may have been meant."""

from __future__ import annotations

from typing import Any, Final

import click

from prodlensd.text import did_you_mean, none_of

#: What people type who know other programs → what it is here.
MEANT: Final = {
    **dict.fromkeys(("start", "up"), "prodlensd run, or as a service: prodlensd service install"),
    **dict.fromkeys(("serve", "daemon"), "prodlensd run"),
    **dict.fromkeys(("stop", "restart", "log", "logs"), "prodlensd service show says how"),
    **dict.fromkeys(("install", "uninstall"), "prodlensd service install, or uninstall"),
    **dict.fromkeys(("config", "setup"), "prodlensd init"),
    **dict.fromkeys(("cost", "costs", "usage", "stats"), "prodlensd, or prodlensd report"),
    "daily": "prodlensd report --by day",
    "weekly": "prodlensd report --by week",
    "monthly": "prodlensd report --by month",
    **dict.fromkeys(("session", "sessions"), "prodlensd report --by session"),
    "query": "prodlensd sql",
    "version": "prodlensd --version",
    **dict.fromkeys(("service start", "service restart"), "prodlensd service install"),
    **dict.fromkeys(
        ("service status", "service stop", "service log", "service logs"),
        "prodlensd service show",
    ),
}


class Group(click.Group):
    """Commands, of which one that is not there is answered with what may have been meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of this name. Raises UsageError."""
        name = args[0]
        is_option = name.startswith("-")
        if not (is_option or ctx.resilient_parsing or self.get_command(ctx, name)):
            raise click.UsageError(self._no_such(ctx, name), ctx)
        return super().resolve_command(ctx, args)

    def _no_such(self, ctx: click.Context, name: str) -> str:
        path = " ".join([*_words(ctx), name])
        if path in MEANT:
            return f"No such command {name!r} → {MEANT[path]}"
        return f"No such command {name!r}{did_you_mean(name, self.list_commands(ctx))}"


def _words(ctx: click.Context) -> list[str]:
    """The words that lead to a command, without the program's name."""
    return [*_words(ctx.parent), ctx.info_name or ""] if ctx.parent else []


class Choice(click.Choice):  # type: ignore[type-arg] # click 8.1 takes none
    """One of some words."""

    def convert(
        self,
        value: Any,  # noqa: ANN401 - as click has it
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str:
        """The word. Raises BadParameter for any that is none of them."""
        try:
            return str(super().convert(value, param, ctx))
        except click.BadParameter:
            self.fail(none_of(str(value), self.choices), param, ctx)
