"""What a shell is told when it asks how a value may go on. Whatever goes wrong, that is nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final
from zoneinfo import available_timezones

import click

from prodlensd.answers.periods import TIMES
from prodlensd.app import names

#: What an option is given to complete its value: see click.
Complete = Callable[[click.Context, click.Parameter, str], list[Any]]
#: The names that an option filters by → the column that has them.
_COLUMNS: Final = {
    "developer": "developer_id",
    "team": "team",
    "provider": "provider",
    "repo": "repo_slug",
    "session": "session_id",
}
_SOURCES: Final = ("proxy", "claude_code", "codex")
#: From so many characters on, the models of the price list are offered too: it has thousands.
_LEAST_CHARS: Final = 2


def comma_list(known: Iterable[str], *, plus: bool = False) -> Complete:
    """Completes the last of some names with commas; `plus`: one may stand before the first."""

    def complete(_ctx: click.Context, _param: click.Parameter, said: str) -> list[Any]:
        before, comma, last = said.rpartition(",")
        sign = "+" if plus and last.startswith("+") else ""
        used = {name.removeprefix("+") for name in before.split(",")}
        begun = f"{before}{comma}{sign}"
        word = last.removeprefix(sign)
        return [f"{begun}{name}" for name in known if name.startswith(word) and name not in used]

    return complete


def names_of(kind: str) -> Complete | None:
    """Completes the names of calls by which a report is filtered; None where they are not known."""
    if kind == "model":
        return models
    if kind == "source":
        return lambda _ctx, _param, said: _beginning_with(said, _SOURCES)
    if (column := _COLUMNS.get(kind)) is None:
        return None

    def complete(ctx: click.Context, _param: click.Parameter, said: str) -> list[Any]:
        return _beginning_with(said, names.recent_names(ctx.params.get("config_path"), column))

    return complete


def models(ctx: click.Context, _param: click.Parameter, said: str) -> list[Any]:
    """Completes models: those of late, and those of the price list once a name has begun."""
    known = names.recent_names(ctx.params.get("config_path"), "model")
    listed = names.listed_models() if len(said) >= _LEAST_CHARS else ()
    return _beginning_with(said, dict.fromkeys([*known, *sorted(listed)]))


def zones(_ctx: click.Context, _param: click.Parameter, said: str) -> list[Any]:
    """Completes time zones."""
    return _beginning_with(said, sorted(available_timezones()))


def times(_ctx: click.Context, _param: click.Parameter, said: str) -> list[Any]:
    """Completes days, weeks and months that have names."""
    return _beginning_with(said, TIMES)


def _beginning_with(said: str, known: Iterable[str]) -> list[Any]:
    return [name for name in known if name.startswith(said)]
