"""The commands by name, with what their files share: options, errors and exit codes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from importlib import import_module
from keyword import iskeyword
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from prodlensd import __version__
from prodlensd.cli.at_once import VERSION
from prodlensd.cli.options import config_option, from_option
from prodlensd.cli.streams import standard_streams
from prodlensd.cli.typed import Group
from prodlensd.config import Config, ConfigError, load
from prodlensd.model import OperationalError, TemporaryError
from prodlensd.text import printable

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

EXIT_FAILURE: Final = 1
#: As sysexits.h has them. To try later: what is in the way passes, such as a lock or no network.
EXIT_TRY_LATER: Final = os.EX_TEMPFAIL
EXIT_CONFIG: Final = os.EX_CONFIG

#: What a command is for → its name → its line in `prodlensd --help`, where it has 58
#: characters; the everyday ones first. Its module: see `module_of`.
GROUPS: Final = {
    "See": {
        "report": "Usage, cost, errors, latency, by day, developer, model …",
        "show": "The calls of a session, or all that is known of one call.",
        "watch": "The overview and the last calls, as they come; q leaves.",
        "status": "Whether the daemon and its ledger are healthy; what to do.",
        "doctor": "Whether everything is wired, and what to do if not.",
        "statusline": "One line for Claude Code or tmux: session, today, cached.",
        "sql": "Ask with SQL: one table, calls, of all calls there are.",
    },
    "Money": {
        "budget": "What is spent of each budget, and what it will be.",
        "notify": "Tell notify.webhook what has changed; --test tries it.",
        "prices": "Which price a model has and why; which models have none.",
        "reconcile": "Compare a provider's bill with the ledger, day by day.",
        "reprice": "Price calls again, by default those without a price.",
    },
    "Run": {
        "init": "Write a configuration or, with --proxy, one for LiteLLM.",
        "run": "Run the daemon in the foreground.",
        "import": "Read history into the ledger: LiteLLM's spend logs, OTLP …",
        "service": "Install, remove or show the service that runs the daemon.",
        "compact": "Bring the Parquet snapshots up to date; apply [retention].",
        "publish": "Copy the snapshots to the team's folder or bucket.",
        "litellm-callback": "Print or install the LiteLLM callback as one file.",
        "demo": "What there is to see, on made-up calls.",
        "completion": "Let bash, zsh or fish complete commands and names.",
        "help": "Say what a command does, as its --help.",
    },
    "Repair": {
        "verify": "Read the logs again and prove that the ledger holds them.",
        "dead-letters": "The lines that could not be read: show, retry, dismiss …",
    },
}
COMMANDS: Final = {name: line for lines in GROUPS.values() for name, line in lines.items()}
#: What only the daemon calls.
_INTERNAL: Final = ("page",)


def module_of(name: str) -> str:
    """The module of a command; a name that is a word of Python has an underscore behind it."""
    return f"prodlensd.cli.{name.replace('-', '_')}{'_' * iskeyword(name)}"


class _Commands(Group):
    """Imports a command's module only when it is called: `status` loads no other."""

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as click has it
        with standard_streams():
            return super().main(*args, **kwargs)

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS and cmd_name not in _INTERNAL:
            return None
        command = import_module(module_of(cmd_name)).command
        return command if isinstance(command, click.Command) else None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """As click has it, without loading all commands."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - at the Tab key alone

        lines = COMMANDS.items()
        found = [CompletionItem(name, help=line) for name, line in lines]
        begun = [item for item in found if item.value.startswith(incomplete)]
        return [*begun, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands, which most look for, and then the options."""
        longest = max(map(len, COMMANDS))
        for title, lines in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(longest), line) for name, line in lines.items()])
        click.Command.format_options(self, ctx, formatter)


def say_behind(behind: Mapping[str, date]) -> None:
    """Names the hosts that are behind others, which have published later days."""
    for host, day in behind.items():
        click.echo(f"{printable(host)} is behind: its last day here is {day}", err=True)


_SETTINGS: Final = {
    "help_option_names": ["-h", "--help"],
    "color": False if os.environ.get("NO_COLOR") else None,  # None: click looks for a terminal
}


@click.group(cls=_Commands, context_settings=_SETTINGS, invoke_without_command=True)
@config_option
@click.version_option(__version__, "-V", "--version", message=VERSION)
@from_option
@click.pass_context
def main(context: click.Context, config_path: Path | None, url: str | None) -> None:
    """An exactly-once ledger of LLM calls, read from a LiteLLM proxy's traces.

    Without a command: an overview of what they cost.
    """
    if context.invoked_subcommand is None:
        from prodlensd.cli.overview import show  # noqa: PLC0415 - loads DuckDB

        show(config_path, url)


class _Failure(click.ClickException):
    def __init__(self, message: str, exit_code: int) -> None:
        # What it quotes (paths, system errors) comes from outside.
        super().__init__(printable(message))
        self.exit_code = exit_code  # type: ignore[misc] # click's own way, on an instance


def load_config(path: Path | None, *, exit_code: int = EXIT_CONFIG) -> Config:
    """The configuration; a bad one ends the command with its message and this exit code."""
    try:
        return load(path)
    except ConfigError as error:
        raise fail(str(error), exit_code) from error


def fail(message: str, exit_code: int = EXIT_FAILURE) -> click.ClickException:
    """An error that, when raised, ends the command with this message on stderr and exit code."""
    return _Failure(message, exit_code)


@contextmanager
def errors_end_it(*, temporary: int = EXIT_FAILURE) -> Iterator[None]:
    """Ends the command with the message of whatever kept it from its work.

    Its exit code is 1, or `temporary` for what passes by itself.
    """
    try:
        yield
    except TemporaryError as error:
        raise fail(str(error), temporary) from error
    except (OperationalError, OSError) as error:
        raise fail(_named(error)) from error


def _named(error: Exception) -> str:
    """What the system says of a file, without a number and quotes."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)


def as_json(command: str, content: dict[str, Any]) -> str:
    """A command's answer for programs; in ASCII: safe on any terminal, whatever it holds."""
    import json  # noqa: PLC0415 - only where JSON is asked for

    return json.dumps({"schema": f"prodlensd.{command}/1", **content}, indent=2)
