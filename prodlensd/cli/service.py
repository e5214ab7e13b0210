"""`prodlensd service`: as a service of this machine, which starts with it and is looked after."""

from __future__ import annotations

import os
import pwd
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import click

from prodlensd.cli import EXIT_FAILURE, config_option, fail, load_config
from prodlensd.config import SYSTEM_FILE
from prodlensd.service import (
    SYSTEM_USER,
    DryHands,
    Hands,
    Launchd,
    Manager,
    Program,
    ServiceError,
    State,
    Systemd,
)
from prodlensd.text import printable

_PATIENCE_S: Final = 60.0
_POLL_S: Final = 0.2
_LINGER: Final = Path("/var/lib/systemd/linger")
#: What the system's service has, where nothing else is configured.
_SYSTEM_CONFIG: Final = """\
# Written by `prodlensd service install --system`; yours to change. All that there is:
# prodlensd init --config FILE
[logs]
directories = ["/var/log/prodlensd"]
[store]
path = "/var/lib/prodlensd/prodlens.db"
[parquet]
directory = "/var/lib/prodlensd/parquet"
"""
_F = TypeVar("_F", bound=Callable[..., None])


def _scope(function: _F) -> _F:
    user = click.option("--user", "scope", flag_value="user", help="For you (default).")
    system = click.option(
        "--system", "scope", flag_value="system", help="For the machine (default for root)."
    )
    return config_option(user(system(function)))


_dry_run: Final = click.option("--dry-run", is_flag=True, help="Only say what would be done.")
_run_as: Final = click.option(
    "--run-as", metavar="USER", help=f"The user of a system service (default: {SYSTEM_USER})."
)


@click.group()
def command() -> None:
    """Install, remove or show the service: a systemd unit, or a launchd agent on macOS.

    Exit code: 0, 1 when it failed.
    """


@command.command()
@_scope
@_run_as
@_dry_run
def install(config_path: Path | None, scope: str | None, run_as: str | None, dry_run: bool) -> None:
    """Put the service in place, start it, and see that it runs. It may be repeated.

    Example: prodlensd service install --dry-run
    """
    manager = _manager(scope, run_as)
    hands = _hands(manager, dry_run=dry_run)
    try:
        if not dry_run:
            _check_may_change(manager)
            manager.check()
        program = _program(config_path, manager, hands)
        manager.install(manager.text(program), hands)
        if not dry_run:
            _report(manager, _settled(manager))
    except ServiceError as error:
        raise fail(str(error)) from error


@command.command()
@_scope
@_dry_run
def uninstall(config_path: Path | None, scope: str | None, dry_run: bool) -> None:
    """Stop the service and remove it. The ledger and the logs stay.

    Example: prodlensd service uninstall
    """
    manager = _manager(scope, None)
    hands = _hands(manager, dry_run=dry_run)
    try:
        _check_may_change(manager)
        manager.check()
        manager.uninstall(hands)
        if _is_system(manager) and _is_ours(SYSTEM_FILE):
            hands.remove(SYSTEM_FILE)
    except ServiceError as error:
        raise fail(str(error)) from error
    if not dry_run:
        config = (
            load_config(config_path, exit_code=EXIT_FAILURE) if not _is_system(manager) else None
        )
        kept = (
            f"{config.store.path}, {', '.join(map(str, config.logs.directories))}"
            if config
            else f"/var/lib/prodlensd, /var/log/prodlensd and the user {SYSTEM_USER}"
        )
        click.echo(f"the service is gone; the ledger and the logs stay where they are: {kept}")


@command.command()
@_scope
@_run_as
def show(config_path: Path | None, scope: str | None, run_as: str | None) -> None:
    """Print the unit that is installed, or would be; the state of the service goes to stderr.

    Example: prodlensd service show
    """
    manager = _manager(scope, run_as)
    try:
        if manager.path.exists():
            text, what = manager.path.read_text(encoding="utf-8"), "installed"
        else:
            program = _program(config_path, manager, DryHands(lambda _: None))
            text, what = manager.text(program), "would be installed"
    except (OSError, ServiceError) as error:
        raise fail(str(error)) from error
    click.echo(text, nl=False)
    try:
        manager.check()
        state = manager.state()
    except ServiceError as error:
        click.echo(f"{manager.path}: {what}; {error}", err=True)
        return
    click.echo(f"{manager.path}: {what}; {_words(state)}", err=True)


def _manager(scope: str | None, run_as: str | None) -> Manager:
    uid = os.geteuid()
    if sys.platform == "darwin":
        if scope == "system" or run_as:
            raise fail("on macOS the service is an agent of yours: leave --system and --run-as out")
        return Launchd(os.environ, uid=uid)
    is_user = scope == "user" or (scope is None and uid != 0)
    if is_user and run_as:
        raise fail("--run-as goes with --system")
    return Systemd(os.environ, user=is_user, run_as=run_as or SYSTEM_USER, uid=uid)


def _hands(manager: Manager, *, dry_run: bool) -> Hands:
    return DryHands(click.echo) if dry_run else Hands(getattr(manager, "env", os.environ))


def _is_system(manager: Manager) -> bool:
    return manager.path.is_relative_to("/etc")


def _check_may_change(manager: Manager) -> None:
    if _is_system(manager) and os.geteuid() != 0:
        raise ServiceError("only root may change the system's services: sudo, or --user")


def _program(config_path: Path | None, manager: Manager, hands: Hands) -> Program:
    """What the service is to run: this installation, on the configuration that is in force here."""
    executable = Path(sys.executable).with_name("prodlensd")
    command = [str(executable)] if executable.exists() else [sys.executable, "-m", "prodlensd"]
    command.append("run")
    environment: dict[str, str] = {}
    if _is_system(manager):
        _check_reachable(Path(command[0]))
        if config_path is None:
            config_path = SYSTEM_FILE
            if not SYSTEM_FILE.exists():
                hands.write(SYSTEM_FILE, _SYSTEM_CONFIG)
    else:
        config_path = load_config(config_path, exit_code=EXIT_FAILURE).path
        if home := os.environ.get("PRODLENSD_HOME"):
            environment["PRODLENSD_HOME"] = str(Path(home).absolute())
    if config_path is not None:
        if config_path.exists():
            load_config(config_path, exit_code=EXIT_FAILURE)
        command += ["--config", str(config_path.absolute())]
    return Program(tuple(command), environment)


def _check_reachable(executable: Path) -> None:
    """A system service sees no home folders."""
    homes = [Path("/home"), Path("/root"), Path("/run/user")]
    real = [executable, executable.resolve()]
    if any(path.is_relative_to(home) for path in real for home in homes):
        raise ServiceError(
            f"{executable} lies in a home folder, which a system service does not see; install "
            "prodlensd elsewhere: python3 -m venv /opt/prodlensd, then its pip"
        )


def _is_ours(config: Path) -> bool:
    try:
        return config.read_text(encoding="utf-8") == _SYSTEM_CONFIG
    except (OSError, ValueError):
        return False


def _settled(manager: Manager) -> State:
    """How the service is, once it runs or has failed, or our patience is at its end."""
    deadline = time.monotonic() + _PATIENCE_S
    pause = threading.Event()
    while not ((state := manager.state()).is_up or state.has_failed):
        if time.monotonic() > deadline:
            break
        pause.wait(_POLL_S)
    return state


def _report(manager: Manager, state: State) -> None:
    if state.has_failed or not (state.is_up or state.word == "activating"):
        raise ServiceError(
            f"the service is installed, but does not run: {_words(state)}; "
            f"what it said: {manager.log_hint}"
        )
    click.echo(f"installed {manager.path}\nprodlensd is {_words(state)}")
    if not state.is_up:
        click.echo("It is still on its way, which many unread logs explain: prodlensd status")
    if isinstance(manager, Systemd) and not _is_system(manager):
        name = pwd.getpwuid(os.geteuid()).pw_name
        if not (_LINGER / name).exists():
            click.echo(
                "It runs while you are logged in. To let it run always: "
                f"loginctl enable-linger {name}"
            )


def _words(state: State) -> str:
    detail = f" ({state.detail})" if state.detail else ""
    return printable(f"{state.word}{detail}")
