"""The service that runs the daemon of a configuration: of which manager, and with which command."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from prodlensd.config import SYSTEM_FILE, load
from prodlensd.service import (
    SYSTEM_USER,
    Launchd,
    Manager,
    Program,
    Runner,
    ServiceError,
    Systemd,
)

#: What the system's service has, where nothing else is configured.
_SYSTEM_CONFIG: Final = """\
# Written by `prodlensd service install --system`; yours to change. For all keys there are:
# prodlensd init --config FILE
[logs]
directories = ["/var/log/prodlensd"]
[store]
path = "/var/lib/prodlensd/prodlens.db"
[parquet]
directory = "/var/lib/prodlensd/parquet"
"""


def choose(scope: str | None, run_as: str | None) -> Manager:
    """The manager for "user" or "system"; without a scope "system" for root, else "user".

    Raises ServiceError for a combination that makes no sense.
    """
    uid = os.geteuid()
    if sys.platform == "darwin":
        if scope == "system" or run_as:
            raise ServiceError(
                "on macOS the service is an agent of yours: leave --system and --run-as out"
            )
        return Launchd(os.environ, uid=uid)
    is_user = scope == "user" or (scope is None and uid != 0)
    if is_user and run_as:
        raise ServiceError("--run-as goes with --system")
    return Systemd(os.environ, user=is_user, run_as=run_as or SYSTEM_USER, uid=uid)


def is_system(manager: Manager) -> bool:
    """Whether it is the machine's manager, and not a user's."""
    return manager.path.is_relative_to("/etc")


def install(manager: Manager, config_path: Path | None, runner: Runner) -> None:
    """Puts the service in place and starts it. Raises ServiceError or ConfigError.

    A dry run is refused as the real one would be.
    """
    _check_may_change(manager)
    manager.check()
    text = unit(manager, config_path)
    if is_system(manager) and config_path is None and not SYSTEM_FILE.exists():
        runner.write(SYSTEM_FILE, _SYSTEM_CONFIG)
    manager.install(text, runner)


def uninstall(manager: Manager, runner: Runner) -> None:
    """Stops the service and removes it, and our configuration of it. Raises ServiceError."""
    _check_may_change(manager)
    manager.check()
    manager.uninstall(runner)
    if is_system(manager) and _is_ours(SYSTEM_FILE):
        runner.remove(SYSTEM_FILE)


def unit(manager: Manager, config_path: Path | None) -> str:
    """The unit that runs this installation, on the configuration that is in force here.

    Raises ServiceError or ConfigError.
    """
    executable = Path(sys.executable).with_name("prodlensd")
    command = [str(executable)] if executable.exists() else [sys.executable, "-m", "prodlensd"]
    environment: dict[str, str] = {}
    if is_system(manager):
        _check_reachable(Path(command[0]))
        config_path = config_path or SYSTEM_FILE
    else:
        config_path = load(config_path).path
        if home := os.environ.get("PRODLENSD_HOME"):
            environment["PRODLENSD_HOME"] = str(Path(home).absolute())
        # Where the agents of this user write: the service would not know it.
        agents = ("CLAUDE_CONFIG_DIR", "CODEX_HOME")
        environment |= {name: os.environ[name] for name in agents if os.environ.get(name)}
    command.append("run")
    if config_path is not None:
        if config_path.exists():
            load(config_path)
        command += ["--config", str(config_path.absolute())]
    return manager.text(Program(tuple(command), environment))


def _check_may_change(manager: Manager) -> None:
    if is_system(manager) and os.geteuid() != 0:
        raise ServiceError("only root may change the system's services: sudo, or --user")


def _check_reachable(executable: Path) -> None:
    """Raises ServiceError for one in a home folder, which a system service does not see."""
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
