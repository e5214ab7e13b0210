"""prodlensd as a service of this machine: a systemd unit, or a launchd agent on macOS.

Both are installed, shown and removed in the same steps (`Manager`); what they change on the machine
goes through a `Runner`.
"""

from __future__ import annotations

import plistlib
import pwd
import re
import shlex
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Final

from msgspec import Struct

from prodlensd.service.runner import Runner, ServiceError, ask, wait_until

UNIT: Final = "prodlensd.service"
LABEL: Final = "prodlensd"
#: The user of the system's service, unless another is named.
SYSTEM_USER: Final = "prodlensd"
_PATIENCE_S: Final = 60.0
_UNLOAD_S: Final = 20
_BOOTED: Final = Path("/run/systemd/system")  # as sd_booted(3) asks
_RUNTIME: Final = Path("/run/user")


class State(Struct, frozen=True):
    """How the service is: a word of its manager's, and details from it.

    `is_enabled`: whether it starts by itself.
    """

    word: str
    is_up: bool = False
    has_failed: bool = False
    detail: str = ""
    is_enabled: bool = False


class Program(Struct, frozen=True):
    """What the service runs: the command, and the variables of this environment that it needs."""

    command: tuple[str, ...]
    environment: Mapping[str, str]


class Manager(ABC):
    """The service manager of this machine, or of this user."""

    path: Path
    env: Mapping[str, str]
    #: How long `state` waits for an answer; None: as long as for anything else.
    timeout_s: float | None = None
    #: The commands that start and stop the service, and the one that shows its log.
    start_hint: str
    stop_hint: str
    log_hint: str

    @abstractmethod
    def text(self, program: Program) -> str:
        """The unit that runs this program."""

    @abstractmethod
    def check(self) -> None:
        """Raises ServiceError when this manager does not run here."""

    @abstractmethod
    def install(self, text: str, runner: Runner) -> None:
        """Puts the unit in place and starts it, again if it runs. Raises ServiceError."""

    @abstractmethod
    def uninstall(self, runner: Runner) -> None:
        """Stops and removes the unit, if there is one. Raises ServiceError."""

    @abstractmethod
    def state(self) -> State:
        """How the service is now."""

    def settled(self) -> State:
        """How the service is when it runs or has failed, or else after a minute."""
        wait_until(lambda: (state := self.state()).is_up or state.has_failed, _PATIENCE_S)
        return self.state()


class Systemd(Manager):
    """systemd: the system's service manager, or the one of this user."""

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
        own = "--user " if user else ""
        self.start_hint, self.stop_hint = (
            f"systemctl {own}{verb} prodlensd" for verb in ("start", "stop")
        )
        self.log_hint = f"journalctl {own}-u prodlensd"

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
        """Raises ServiceError unless systemd runs here, and for this user."""
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

    def install(self, text: str, runner: Runner) -> None:
        """Enables and restarts the unit; one that cannot be enabled does not stay."""
        if not self._user:
            self._make_user(runner)
        before = self.path.read_text(encoding="utf-8") if self.path.exists() else None
        runner.write(self.path, text)
        try:
            self._systemctl(runner, "daemon-reload")
            self._systemctl(runner, "enable", UNIT)
        except ServiceError:
            if before is None:
                runner.remove(self.path)
            else:
                runner.write(self.path, before)
            raise
        self._systemctl(runner, "reset-failed", UNIT, may_fail=True)
        self._systemctl(runner, "restart", "--no-block", UNIT)

    def uninstall(self, runner: Runner) -> None:
        """Stops, disables and removes the unit."""
        if self.state().word != "not installed":
            self._systemctl(runner, "disable", "--now", UNIT)
        runner.remove(self.path)
        self._systemctl(runner, "daemon-reload")
        self._systemctl(runner, "reset-failed", UNIT, may_fail=True)

    def state(self) -> State:
        """The state by `systemctl show`."""
        names = (
            *("LoadState", "UnitFileState", "ActiveState", "SubState", "StatusText"),
            *("MainPID", "Result"),
        )
        command = ("systemctl", *self._scope, "show", "--property", ",".join(names), UNIT)
        done = ask(self.env, *command, timeout_s=self.timeout_s)
        if done.returncode != 0:
            raise ServiceError(f"{shlex.join(command)}: {done.stderr.strip()}")
        shown = dict.fromkeys(names, "")
        shown |= dict(line.partition("=")[::2] for line in done.stdout.splitlines())
        if shown["LoadState"] == "not-found":
            return State("not installed")
        word = shown["ActiveState"] or "unknown"
        pid = "" if shown["MainPID"] in ("", "0") else f"pid {shown['MainPID']}"
        detail = [text for text in (pid, shown["StatusText"]) if text]
        # "activating (auto-restart)" is a failure that is tried again.
        has_failed = word == "failed" or shown["SubState"] == "auto-restart"
        if has_failed:
            detail = [shown["Result"]]
        return State(
            word,
            is_up=word in ("active", "reloading"),
            has_failed=has_failed,
            detail=", ".join(detail),
            is_enabled=shown["UnitFileState"].startswith("enabled"),
        )

    def _make_user(self, runner: Runner) -> None:
        try:
            pwd.getpwnam(self._run_as)
        except KeyError:
            if self._run_as != SYSTEM_USER:
                raise ServiceError(f"there is no user {self._run_as}") from None
            line = f'u {SYSTEM_USER} - "prodlensd" /var/lib/prodlensd'
            runner.run("systemd-sysusers", "--inline", line)

    def _systemctl(self, runner: Runner, *arguments: str, may_fail: bool = False) -> None:
        runner.run("systemctl", *self._scope, *arguments, may_fail=may_fail)


class Launchd(Manager):
    """launchd: the manager of the agents of a user who is logged in on a Mac."""

    def __init__(self, env: Mapping[str, str], *, uid: int) -> None:
        home = Path(env.get("HOME") or pwd.getpwuid(uid).pw_dir)
        self.env = dict(env)
        self._domain = f"gui/{uid}"
        self._target = f"gui/{uid}/{LABEL}"
        self._log = home / "Library/Logs/prodlensd.log"
        self.path = home / f"Library/LaunchAgents/{LABEL}.plist"
        self.start_hint = f"launchctl kickstart {self._target}"
        self.stop_hint = f"launchctl kill TERM {self._target}"
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
            "Umask": 0o077,  # the ledger and the log are for this user alone
            "StandardOutPath": str(self._log),
            "StandardErrorPath": str(self._log),
        }
        if program.environment:
            agent["EnvironmentVariables"] = dict(program.environment)
        return plistlib.dumps(agent, sort_keys=False).decode()

    def check(self) -> None:
        """Raises ServiceError unless the user has a session at the screen."""
        if ask(self.env, "launchctl", "print", self._domain).returncode != 0:
            raise ServiceError(
                f"launchd has no session {self._domain}: log in at the Mac's own screen first"
            )

    def install(self, text: str, runner: Runner) -> None:
        """Loads the agent, after unloading one that was there."""
        self._bootout(runner)
        runner.write(self.path, text)
        # One that was switched off in the past would not start.
        runner.run("launchctl", "enable", self._target, may_fail=True)
        runner.run("launchctl", "bootstrap", self._domain, str(self.path))

    def uninstall(self, runner: Runner) -> None:
        """Unloads and removes the agent."""
        self._bootout(runner)
        runner.remove(self.path)

    def state(self) -> State:
        """The state by `launchctl print`."""
        done = ask(self.env, "launchctl", "print", self._target, timeout_s=self.timeout_s)
        if done.returncode != 0:
            return State("not installed")
        shown = dict(re.findall(r"(?m)^\t(state|pid|last exit code) = (.*)$", done.stdout))
        is_up = shown.get("state") == "running"
        if is_up:
            detail = f"pid {shown.get('pid', '?')}"
            return State("running", is_up=True, detail=detail, is_enabled=True)
        code = shown.get("last exit code", "")
        has_failed = code.isdecimal() and code != "0"
        detail = f"last exit code {code}" if code else ""
        word = shown.get("state", "unknown")
        return State(word, has_failed=has_failed, detail=detail, is_enabled=True)

    def _bootout(self, runner: Runner) -> None:
        if self.state().word != "not installed":
            # It may return before the agent has ended; loading it again would then fail.
            runner.run("launchctl", "bootout", self._target, may_fail=True)
            is_gone = runner.is_dry or wait_until(
                lambda: self.state().word == "not installed", _UNLOAD_S
            )
            if not is_gone:
                raise ServiceError(f"launchd has not unloaded the agent within {_UNLOAD_S} seconds")


def _quoted(word: str, *, dollar: str = "$$") -> str:
    """The word as a unit spells it. Raises ServiceError when a unit cannot hold it."""
    if not word.isprintable():
        raise ServiceError(f"{word!r} has characters that a unit cannot hold; rename it")
    word = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", dollar)
    return f'"{word}"' if re.search(r"[^\w/.,:=%+@-]", word) else word


def _replaced(text: str, pattern: str, line: str) -> str:
    text, count = re.subn(f"(?m)^{pattern}$", lambda _: line, text)
    if count != 1:
        raise ServiceError(f"the unit of this package was changed: it has no line {pattern}")
    return text
