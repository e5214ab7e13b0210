"""prodlensd as a service of this machine: a systemd unit, or a launchd agent on macOS.

Both are installed, shown and removed in the same four steps (`Manager`); what they do to the
machine goes through `Hands`, which can also only say what they would do.
"""

from __future__ import annotations

import plistlib
import pwd
import re
import shlex
import shutil
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from prodlensd.durable import replacing

UNIT: Final = "prodlensd.service"
LABEL: Final = "prodlensd"
#: The user of the system's service, unless another is named.
SYSTEM_USER: Final = "prodlensd"
#: systemctl waits for a stop, which takes ten seconds at most.
_TIMEOUT_S: Final = 60
_SETTLE_S: Final = 20
_POLL_S: Final = 0.2
_BOOTED: Final = Path("/run/systemd/system")  # as sd_booted(3) asks
_RUNTIME: Final = Path("/run/user")


class ServiceError(Exception):
    """The service cannot be installed, removed or asked; the message says what to do."""


class Hands:
    """What is done to the machine."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = dict(env)

    def write(self, path: Path, text: str) -> None:
        """The file with this text, whole or not at all."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path, 0o644) as file:
                file.write(text.encode())
        except OSError as error:
            raise ServiceError(f"cannot write {path}: {error.strerror}") from error

    def remove(self, path: Path) -> None:
        """No such file any more, nor its folder if nothing else is in it and it is ours."""
        try:
            path.unlink(missing_ok=True)
            if path.parent.name == "prodlensd" and not any(path.parent.iterdir()):
                path.parent.rmdir()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise ServiceError(f"cannot remove {path}: {error.strerror}") from error

    def run(self, *command: str, may_fail: bool = False) -> bool:
        """Whether the command succeeded; raises ServiceError when it had to."""
        done = ask(self._env, *command)
        if done.returncode != 0 and not may_fail:
            said = (done.stderr or done.stdout).strip()
            raise ServiceError(f"{shlex.join(command)}: {said or f'exit code {done.returncode}'}")
        return done.returncode == 0

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Waits until the condition holds; raises ServiceError after too long."""
        deadline = time.monotonic() + _SETTLE_S
        pause = threading.Event()
        while not condition():
            if time.monotonic() > deadline:
                raise ServiceError(f"waited {_SETTLE_S} seconds in vain for {what}")
            pause.wait(_POLL_S)


class DryHands(Hands):
    """Says what would be done, and does nothing."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__({})
        self._say = say

    def write(self, path: Path, text: str) -> None:
        """Says what would be written, and where."""
        self._say(f"would write {path}:\n\n{text}")

    def remove(self, path: Path) -> None:
        """Says what would be removed."""
        if path.exists():
            self._say(f"would remove {path}")

    def run(self, *command: str, may_fail: bool = False) -> bool:
        """Says what would be run."""
        del may_fail
        self._say(f"would run {shlex.join(command)}")
        return True

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """There is nothing to wait for."""


def ask(env: Mapping[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    """What a program of the system answers. Raises ServiceError when it cannot be started."""
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
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ServiceError(
            f"{shlex.join(command)}: no answer within {_TIMEOUT_S} seconds"
        ) from error
    except OSError as error:
        raise ServiceError(f"{program}: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class State:
    """How the service is: a word of its manager's own, and what else it says."""

    word: str
    is_up: bool = False
    has_failed: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Program:
    """What the service runs: the command, and what of this environment it needs."""

    command: tuple[str, ...]
    environment: Mapping[str, str]


class Manager(ABC):
    """The service manager of this machine, or of this user."""

    path: Path
    #: How to see what the service says.
    log_hint: str

    @abstractmethod
    def text(self, program: Program) -> str:
        """The unit that runs this program."""

    @abstractmethod
    def check(self) -> None:
        """Raises ServiceError when there is no such manager to talk to."""

    @abstractmethod
    def install(self, text: str, hands: Hands) -> None:
        """Puts the unit in place and starts it, again if it runs; not waiting until it is up."""

    @abstractmethod
    def uninstall(self, hands: Hands) -> None:
        """Stops and removes it; harmless where there is none."""

    @abstractmethod
    def state(self) -> State:
        """How it is now."""


class Systemd(Manager):
    """systemd, as the system's service manager or as the one of this user."""

    def __init__(
        self, env: Mapping[str, str], *, user: bool, run_as: str = SYSTEM_USER, uid: int
    ) -> None:
        self._user, self._run_as, self._uid = user, run_as, uid
        self.env = dict(env) | {"LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
        self._scope = ("--user",) if user else ("--system",)
        folder = Path("/etc/systemd/system")
        if user:
            # A shell of `su` or `sudo -u` has no session, though the user's manager may run.
            self.env.setdefault("XDG_RUNTIME_DIR", str(_RUNTIME / str(uid)))
            home = Path(env.get("HOME") or pwd.getpwuid(uid).pw_dir)
            folder = Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "systemd/user"
        self.path = folder / UNIT
        self.log_hint = f"journalctl {'--user -u' if user else '-u'} prodlensd"

    def text(self, program: Program) -> str:
        """The package's unit with the paths of this installation."""
        name = "prodlensd-user.service" if self._user else UNIT
        text = files("prodlensd.service").joinpath(name).read_text(encoding="utf-8")
        lines = [f"ExecStart={' '.join(map(_quoted, program.command))}"]
        for key, value in program.environment.items():
            lines.append(f"Environment={_quoted(f'{key}={value}', dollar='$')}")
        text = _replaced(text, r"ExecStart=.*", "\n".join(lines))
        return text if self._user else _replaced(text, r"User=.*", f"User={self._run_as}")

    def check(self) -> None:
        """Whether systemd runs here, and for this user."""
        if shutil.which("systemctl", path=self.env.get("PATH")) is None:
            raise ServiceError(
                "there is no systemctl on this machine, so no systemd: let its own service "
                "manager start `prodlensd run`"
            )
        if not _BOOTED.is_dir():
            raise ServiceError(
                "systemd does not run on this machine (a container?): let whatever started it "
                "start `prodlensd run`"
            )
        if self._user and not Path(self.env["XDG_RUNTIME_DIR"], "systemd").is_dir():
            name = pwd.getpwuid(self._uid).pw_name
            raise ServiceError(
                f"no service manager runs for {name}, who is not logged in "
                f"({self.env['XDG_RUNTIME_DIR']} is not there); log in, or let it run always: "
                f"loginctl enable-linger {name}"
            )

    def install(self, text: str, hands: Hands) -> None:
        """Enables and restarts it; a unit that cannot be enabled does not stay."""
        if not self._user:
            self._make_user(hands)
        before = self.path.read_text(encoding="utf-8") if self.path.exists() else None
        hands.write(self.path, text)
        try:
            self._systemctl(hands, "daemon-reload")
            self._systemctl(hands, "enable", UNIT)
        except ServiceError:
            if before is None:
                hands.remove(self.path)
            else:
                hands.write(self.path, before)
            raise
        self._systemctl(hands, "reset-failed", UNIT, may_fail=True)
        self._systemctl(hands, "restart", "--no-block", UNIT)

    def uninstall(self, hands: Hands) -> None:
        """Stops, disables and removes it."""
        if self.state().word != "not installed":
            self._systemctl(hands, "disable", "--now", UNIT)
        hands.remove(self.path)
        self._systemctl(hands, "daemon-reload")
        self._systemctl(hands, "reset-failed", UNIT, may_fail=True)

    def state(self) -> State:
        """What `systemctl show` says."""
        names = ("LoadState", "ActiveState", "SubState", "StatusText", "MainPID", "Result")
        command = ("systemctl", *self._scope, "show", "--property", ",".join(names), UNIT)
        done = ask(self.env, *command)
        if done.returncode != 0:
            raise ServiceError(f"{shlex.join(command)}: {done.stderr.strip()}")
        told = dict(line.partition("=")[::2] for line in done.stdout.splitlines())
        if told.get("LoadState") == "not-found":
            return State("not installed")
        word = told.get("ActiveState", "unknown")
        detail = [f"pid {told['MainPID']}"] if told.get("MainPID", "0") != "0" else []
        detail += [told["StatusText"]] if told.get("StatusText") else []
        # "activating (auto-restart)" is a failure that is tried again.
        has_failed = word == "failed" or told.get("SubState") == "auto-restart"
        if has_failed:
            detail = [told.get("Result", "")]
        return State(
            word,
            is_up=word in ("active", "reloading"),
            has_failed=has_failed,
            detail=", ".join(detail),
        )

    def _make_user(self, hands: Hands) -> None:
        try:
            pwd.getpwnam(self._run_as)
        except KeyError:
            if self._run_as != SYSTEM_USER:
                raise ServiceError(f"there is no user {self._run_as}") from None
            line = f'u {SYSTEM_USER} - "prodlensd" /var/lib/prodlensd'
            hands.run("systemd-sysusers", "--inline", line)

    def _systemctl(self, hands: Hands, *arguments: str, may_fail: bool = False) -> bool:
        return hands.run("systemctl", *self._scope, *arguments, may_fail=may_fail)


class Launchd(Manager):
    """launchd, as the agents' manager of a user who is logged in on a Mac."""

    def __init__(self, env: Mapping[str, str], *, uid: int) -> None:
        home = Path(env.get("HOME") or pwd.getpwuid(uid).pw_dir)
        self.env = dict(env)
        self._domain = f"gui/{uid}"
        self._target = f"gui/{uid}/{LABEL}"
        self._log = home / "Library/Logs/prodlensd.log"
        self.path = home / f"Library/LaunchAgents/{LABEL}.plist"
        self.log_hint = f"tail {shlex.quote(str(self._log))}"

    def text(self, program: Program) -> str:
        """The property list of the agent."""
        agent: dict[str, object] = {
            "Label": LABEL,
            "ProgramArguments": list(program.command),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},  # only a failure is a reason to start it again
            "ThrottleInterval": 10,  # seconds between two starts
            "ExitTimeOut": 10,
            "ProcessType": "Background",
            "LowPriorityIO": True,
            "Umask": 0o077,  # who called what is nobody else's business
            "StandardOutPath": str(self._log),
            "StandardErrorPath": str(self._log),
        }
        if program.environment:
            agent["EnvironmentVariables"] = dict(program.environment)
        return plistlib.dumps(agent, sort_keys=False).decode()

    def check(self) -> None:
        """The user has a session at the screen."""
        if ask(self.env, "launchctl", "print", self._domain).returncode != 0:
            raise ServiceError(
                f"launchd has no session {self._domain}: log in at the Mac's own screen first"
            )

    def install(self, text: str, hands: Hands) -> None:
        """Loads it, after unloading what was there."""
        self._bootout(hands)
        hands.write(self.path, text)
        # One that was switched off in the past would not start.
        hands.run("launchctl", "enable", self._target, may_fail=True)
        hands.run("launchctl", "bootstrap", self._domain, str(self.path))

    def uninstall(self, hands: Hands) -> None:
        """Unloads and removes it."""
        self._bootout(hands)
        hands.remove(self.path)

    def state(self) -> State:
        """What `launchctl print` says."""
        done = ask(self.env, "launchctl", "print", self._target)
        if done.returncode != 0:
            return State("not installed")
        told = dict(re.findall(r"(?m)^\t(state|pid|last exit code) = (.*)$", done.stdout))
        is_up = told.get("state") == "running"
        if is_up:
            return State("running", is_up=True, detail=f"pid {told.get('pid', '?')}")
        code = told.get("last exit code", "")
        has_failed = code.isdecimal() and code != "0"
        detail = f"last exit code {code}" if code else ""
        return State(told.get("state", "unknown"), has_failed=has_failed, detail=detail)

    def _bootout(self, hands: Hands) -> None:
        if self.state().word != "not installed":
            # It may return before the agent has ended; loading it again would then fail.
            hands.run("launchctl", "bootout", self._target, may_fail=True)
            hands.wait(lambda: self.state().word == "not installed", "launchd to unload the agent")


def _quoted(word: str, *, dollar: str = "$$") -> str:
    """The word as systemd reads it back; raises ServiceError when it cannot be written."""
    if not word.isprintable():
        raise ServiceError(f"{word!r} has characters that a unit cannot hold; rename it")
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", dollar)
    return f'"{word}"' if re.search(r"[^\w/.,:=%+@-]", word) else word


def _replaced(text: str, pattern: str, line: str) -> str:
    text, count = re.subn(f"(?m)^{pattern}$", lambda _: line, text)
    if count != 1:
        raise ServiceError(f"the unit of this package is not as it should be: {pattern}")
    return text
