"""What installing a service does to this machine, or in a dry run would do."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from prodlensd.durable import replacing
from prodlensd.model import OperationalError

#: Longer than `systemctl stop`, which gives the daemon ten seconds.
_TIMEOUT_S: Final = 60.0
_POLL_S: Final = 0.2


class ServiceError(OperationalError):
    """The service cannot be installed, removed or asked."""


class Runner:
    """Writes and removes files, and runs the system's programs in the environment `env`.

    With `echo` it is a dry run: it only prints what it would do.
    """

    def __init__(self, env: Mapping[str, str], echo: Callable[[str], None] | None = None) -> None:
        self._env = dict(env)
        self._echo = echo

    @property
    def is_dry(self) -> bool:
        """Whether it does nothing."""
        return self._echo is not None

    def write(self, path: Path, text: str) -> None:
        """Puts a file with this text there, whole or not at all. Raises ServiceError."""
        if self._echo is not None:
            self._echo(f"would write {path}:\n\n{text}")
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path, 0o644) as file:
                file.write(text.encode())
        except OSError as error:
            raise ServiceError(f"cannot write {path}: {error.strerror}") from error

    def remove(self, path: Path) -> None:
        """Removes the file if it is there, and its folder if that is named for us and empty now.

        Raises ServiceError.
        """
        if not (path.exists() or path.is_symlink()):
            return
        if self._echo is not None:
            self._echo(f"would remove {path}")
            return
        try:
            path.unlink()
            if path.parent.name == "prodlensd" and not any(path.parent.iterdir()):
                path.parent.rmdir()
        except OSError as error:
            raise ServiceError(f"cannot remove {path}: {error.strerror}") from error

    def run(self, *command: str, may_fail: bool = False) -> None:
        """Runs a program. Raises ServiceError when it fails, unless it may."""
        if self._echo is not None:
            self._echo(f"would run {shlex.join(command)}")
            return
        done = ask(self._env, *command)
        if done.returncode != 0 and not may_fail:
            output = (done.stderr or done.stdout).strip()
            code = f"exit code {done.returncode}"
            raise ServiceError(f"{shlex.join(command)}: {output or code}")


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Waits until the condition holds; False when it does not within the time."""
    deadline = time.monotonic() + timeout_s
    pause = threading.Event()
    while not (holds := condition()) and time.monotonic() < deadline:
        pause.wait(_POLL_S)
    return holds


def ask(
    env: Mapping[str, str], *command: str, timeout_s: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a program of the system and takes its output. Raises ServiceError without an answer.

    Without a time of its own it may take as long as stopping the daemon does.
    """
    patience_s = timeout_s or _TIMEOUT_S
    program = shutil.which(command[0], path=env.get("PATH"))
    if program is None:
        raise ServiceError(f"there is no {command[0]} on this machine")
    try:
        return subprocess.run(  # noqa: S603 - a fixed program of the system
            [program, *command[1:]],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=patience_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ServiceError(
            f"{shlex.join(command)}: no answer within {patience_s:g} seconds"
        ) from error
    except OSError as error:
        raise ServiceError(f"{program}: {error.strerror}") from error
