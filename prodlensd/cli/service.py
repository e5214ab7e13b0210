"""`prodlensd service`."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import click

from prodlensd.app import service
from prodlensd.cli import EXIT_FAILURE, config_option, errors_end_it, load_config
from prodlensd.cli.typed import Group
from prodlensd.service import (
    SYSTEM_USER,
    Manager,
    Runner,
    ServiceError,
    State,
    Systemd,
)
from prodlensd.text import printable

_LINGER: Final = Path("/var/lib/systemd/linger")
_F = TypeVar("_F", bound=Callable[..., None])


def _scope(function: _F) -> _F:
    user = click.option("--user", "scope", flag_value="user", help="For you (default).")
    system = click.option(
        "--system", "scope", flag_value="system", help="For the machine (default for root)."
    )
    return config_option(user(system(function)))


_dry_run: Final = click.option("--dry-run", is_flag=True, help="Only show what would be done.")
_run_as: Final = click.option(
    "--run-as", metavar="USER", help=f"The user of a system service (default: {SYSTEM_USER})."
)


@click.group(cls=Group)
def command() -> None:
    """Run prodlensd as a service, which starts with the machine and again after a failure.

    It is a systemd unit, or a launchd agent on macOS.

    Exit code: 0, 1 when it failed.
    """


@command.command()
@_scope
@_run_as
@_dry_run
def install(config_path: Path | None, scope: str | None, run_as: str | None, dry_run: bool) -> None:
    """Install the service, start it, and wait until it runs.

    When it is installed already, it is brought up to date and started again.

    Example: prodlensd service install --dry-run
    """
    with errors_end_it():
        manager = service.choose(scope, run_as)
        service.install(manager, config_path, _runner(manager, dry_run=dry_run))
        if not dry_run:
            _report(manager, manager.settled())


@command.command()
@_scope
@_dry_run
def uninstall(config_path: Path | None, scope: str | None, dry_run: bool) -> None:
    """Stop the service and remove it. The ledger and the logs stay.

    Example: prodlensd service uninstall
    """
    with errors_end_it():
        manager = service.choose(scope, None)
        service.uninstall(manager, _runner(manager, dry_run=dry_run))
    if dry_run:
        return
    kept = f"/var/lib/prodlensd, /var/log/prodlensd and the user {SYSTEM_USER}"
    if not service.is_system(manager):
        config = load_config(config_path, exit_code=EXIT_FAILURE)
        kept = f"{config.store.path}, {', '.join(map(str, config.logs.directories))}"
    click.echo(f"the service is gone; the ledger and the logs stay where they are: {kept}")


@command.command(short_help="Show whether it runs; how to start and stop it, and its log.")
@_scope
@_run_as
@click.option("--unit", is_flag=True, help="Print the unit instead, or the one there would be.")
def show(config_path: Path | None, scope: str | None, run_as: str | None, unit: bool) -> None:
    """Show whether the service runs; how to start it, stop it and see its log.

    Example: prodlensd service show
    """
    with errors_end_it():
        manager = service.choose(scope, run_as)
        is_there = manager.path.exists()
        if unit:
            there = manager.path.read_text(encoding="utf-8") if is_there else None
            click.echo(there or service.unit(manager, config_path), nl=False)
            return
    try:
        manager.check()
        _line("service", _words(manager.state()))
        if not is_there:
            _line("", "→ prodlensd service install")
    except ServiceError as error:
        _line("service", f"unknown: {error}")
    _line("unit", str(manager.path) if is_there else f"none; it would be {manager.path}")
    if is_there:
        _line("start", manager.start_hint)
        _line("stop", manager.stop_hint)
        _line("log", manager.log_hint)


def _line(name: str, value: str) -> None:
    click.echo(f"{name:10}{printable(value)}")


def _runner(manager: Manager, *, dry_run: bool) -> Runner:
    return Runner(manager.env, click.echo if dry_run else None)


def _report(manager: Manager, state: State) -> None:
    if state.has_failed or not (state.is_up or state.word == "activating"):
        raise ServiceError(
            f"the service is installed, but does not run: {_words(state)}; "
            f"for its log: {manager.log_hint}"
        )
    click.echo(f"installed {manager.path}\nprodlensd is {_words(state)}")
    if not state.is_up:
        click.echo("It is still starting; many unread logs take a while: prodlensd status")
    if isinstance(manager, Systemd) and not service.is_system(manager):
        name = pwd.getpwuid(os.geteuid()).pw_name
        if not (_LINGER / name).exists():
            click.echo(
                "It runs while you are logged in. To let it run always: "
                f"loginctl enable-linger {name}"
            )


def _words(state: State) -> str:
    detail = f" ({state.detail})" if state.detail else ""
    return printable(f"{state.word}{detail}")
