"""The commands, one file each, loaded when called: options, texts and exit codes, no work."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import click

from prodlensd import __version__, config
from prodlensd.cli.streams import standard_streams
from prodlensd.model import OperationalError, TemporaryError
from prodlensd.text import printable

EXIT_FAILURE: Final = 1
#: As sysexits.h has them. To try later: what is in the way passes, such as a lock or no network.
EXIT_TRY_LATER: Final = os.EX_TEMPFAIL
EXIT_CONFIG: Final = os.EX_CONFIG

#: The command's name → its one line in `prodlensd --help`. Its module is prodlensd.cli.<name>.
COMMANDS: Final = {
    "run": "Run the daemon in the foreground.",
    "status": "Show whether the daemon and its ledger are healthy, and what to do if not.",
    "compact": "Bring the Parquet snapshots up to date now, and apply [retention].",
    "publish": "Copy the snapshots to the team's folder or bucket now.",
    "verify": "Read the logs again and prove that each line is in the ledger once.",
    "report": "Usage, cost, errors and latency, by day, developer, model …",
    "show": "Show the calls of a session, or all that is known of one call.",
    "sql": "Ask with SQL: one read-only table, calls, of ledger and snapshots as one.",
    "reprice": "Price calls again, by default those without a price.",
    "prices": "Show which price a model has and why; check which have none.",
    "dead-letters": "List, show, export, retry, dismiss and purge lines that could not be read.",
    "init": "Write a configuration file, and with --proxy one for LiteLLM.",
    "service": "Install, remove or show the service that runs the daemon.",
    "litellm-callback": "Print or install the LiteLLM callback as one file.",
    "demo": "Ingest three sample calls in a scratch folder and show them.",
}


class _Commands(click.Group):
    """Imports a command's module only when it is called: `status` loads no other."""

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as click has it
        with standard_streams():
            return super().main(*args, **kwargs)

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"prodlensd.cli.{cmd_name.replace('-', '_')}").command
        return command if isinstance(command, click.Command) else None

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


config_option: Final = click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Configuration file (default: $PRODLENSD_CONFIG, the user's, /etc/prodlensd/config.toml).",
)


def _address(_context: click.Context, _option: click.Parameter, url: str | None) -> str | None:
    if url is not None:
        try:
            config.check_address(url)
        except ValueError as error:
            raise click.UsageError(f"--from: {error}") from error
    return url


from_option: Final = click.option(
    "--from",
    "url",
    metavar="URL",
    callback=_address,
    help="A published folder or bucket, of many hosts.",
)


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
@click.version_option(__version__, "-V", "--version", message="prodlensd %(version)s")
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


def load_config(path: Path | None, *, exit_code: int = EXIT_CONFIG) -> config.Config:
    """The configuration; a bad one ends the command with its message and this exit code."""
    try:
        return config.load(path)
    except config.ConfigError as error:
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
        raise fail(str(error)) from error


def as_json(command: str, content: dict[str, Any]) -> str:
    """A command's answer for programs; in ASCII: safe on any terminal, whatever it holds."""
    import json  # noqa: PLC0415 - only where JSON is asked for

    return json.dumps({"schema": f"prodlensd.{command}/1", **content}, indent=2)
