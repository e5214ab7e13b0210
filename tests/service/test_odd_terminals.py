"""Every command on whatever it may be started with: encodings, broken streams, time zones.

Never a traceback, never an exit code that nobody has written down, and JSON is always JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from prodlensd.cli import COMMANDS
from tests.security.hostile import payload, trace_line, written
from tests.service.streams import FAULTS, Done, home_of, run

pytestmark = pytest.mark.long  # hundreds of commands

NAMES = ("日本 → ≥ 日本", "🎉 …", "\x1b[31mred\x1b[0m", "é×–", "plain")  # noqa: RUF001 - meant
SHELL = "/bin/sh"
ENCODINGS = ("iso8859-1", "euc_jp", "ascii", "utf-8")

#: NEW is a path where nothing is yet; LETTER a dead letter's id.
ARGUMENTS = [
    "--version",
    "--help",
    *(f"{name} --help" for name in COMMANDS),
    *(f"dead-letters {name} --help" for name in ("list", "show", "export", "retry")),
    *(f"prices {name} --help" for name in ("show", "check")),
    *(f"service {name} --help" for name in ("install", "uninstall", "show")),
    "no-such-command",
    "status -c NEW",
    "run --once",
    "status",
    "status --json",
    "status --line",
    "status -q",
    "status --exit docker",
    "status --textfile NEW",
    "doctor",
    "doctor --json",
    *(f"report --by day --since always --format {form}" for form in ("table", "json", "csv", "md")),
    *(f"report --by developer,model --since always --format {form}" for form in ("table", "md")),
    "report --timezone Nonsense/Zone",
    "verify",
    "verify --json",
    "compact",
    "publish",
    "reprice --dry-run",
    "prices show 日本",
    "prices show claude-sonnet-4-5 --provider anthropic --json",
    "prices check",
    "dead-letters list",
    "dead-letters list --json",
    "dead-letters show LETTER",
    "dead-letters show --raw LETTER",
    "dead-letters export",
    "dead-letters retry",
    "dead-letters retry --dry-run",
    "init -c NEW",
    "init --proxy NEW",
    "service show",
    "service install --dry-run --user",
    "litellm-callback --print",
    "litellm-callback --install NEW",
]
IS_JSON = [arguments for arguments in ARGUMENTS if "json" in arguments]


class Place:
    """A ledger of few lines, all of odd names."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "日本 🎉"
        self.published = folder / "é published"
        self.published.mkdir()
        (self.home / "logs").mkdir(parents=True)
        url = f"file://{self.published}".replace(" ", "%20")
        (self.home / "config.toml").write_text(f'[publish]\nurl = "{url}"\n', "utf-8")
        self.environment = home_of(self.home) | {"TZ": "UTC"}
        log = self.home / "logs" / "日本 🎉.jsonl"
        with log.open("wb") as file:
            for number, name in enumerate(NAMES):
                file.write(written(trace_line(number, name)) + written(payload(number, name)))
                file.write(name.encode() + b" is no JSON\n")
        self._new = 0
        for command in ("run --once", "compact", "publish"):
            assert self.run(command).code == 0
        assert self.run("verify").code == 0
        letters = json.loads(self.run("dead-letters list --json").out)["dead_letters"]
        self.letter = letters[0]["id"]
        self.normally: Callable[[str], Done] = cache(self.run)

    def run(self, arguments: str, **options: Any) -> Done:
        self._new += 1
        new = str(self.home / f"new-é-{self._new}")
        given = [
            {"NEW": new, "LETTER": getattr(self, "letter", "")}.get(part, part)
            for part in arguments.split()
        ]
        environment = self.environment | options.pop("environment", {})
        done = run(given, environment, **options)
        assert b"Traceback" not in done.err, done.err.decode("utf-8", "replace")
        return done


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("odd"))


def test_all_of_these_commands_do_something_ordinarily(place: Place) -> None:
    codes = {arguments: place.normally(arguments).code for arguments in ARGUMENTS}
    assert {
        "no-such-command": 2,
        "status -c NEW": 3,
        "doctor": 1,
        "doctor --json": 1,
        "report --timezone Nonsense/Zone": 2,
        "prices show 日本": 1,
        "prices check": 1,
    } == {
        arguments: code
        for arguments, code in codes.items()
        if code and not arguments.startswith(("status", "service"))
    } | {"status -c NEW": codes["status -c NEW"]}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("arguments", ARGUMENTS)
def test_every_command_prints_in_every_encoding(
    place: Place, arguments: str, encoding: str
) -> None:
    done = place.run(arguments, encoding=encoding)
    assert done.code == place.normally(arguments).code, done.err
    printed = done.err.decode("utf-8" if arguments == "run --once" else encoding)
    if "--raw" not in arguments:
        printed += done.out.decode(encoding)
        assert "\x1b" not in printed
    if arguments in IS_JSON:
        assert json.loads(done.out.decode(encoding))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("arguments", [one for one in ARGUMENTS if " --help" not in one])
def test_no_command_falls_over_a_broken_stream(place: Place, arguments: str, fault: str) -> None:
    normally, done = place.normally(arguments), place.run(arguments, fault=fault)
    if fault.startswith("stdout") and normally.out:
        unsaid = 1 if "docker" in arguments or not arguments.startswith("status") else 3
        assert unsaid == done.code
        assert (fault == "stdout unread") == (b"cannot write to stdout" not in done.err)
    else:
        assert normally.code == done.code
        assert fault.startswith("stdout") or bool(normally.out) == bool(done.out)


@pytest.mark.parametrize(
    ("zone", "name"),
    [
        (None, None),
        ("", "UTC"),
        ("UTC", "UTC"),
        (":/etc/localtime", None),
        ("Europe/Berlin", "Europe/Berlin"),
        (":Europe/Berlin", "Europe/Berlin"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", "CET-1CEST,M3.5.0,M10.5.0/3"),
        ("EST5EDT", "EST5EDT"),
        ("Nonsense/Zone", "UTC"),
        ("\x1b[31m", "UTC"),
        ("../../etc/passwd", "UTC"),
    ],
)
def test_report_and_status_take_the_zone_as_the_system_does(
    place: Place, zone: str | None, name: str | None
) -> None:
    environment: Any = {"TZ": zone}
    report = "report --by day --since always --format"
    found = json.loads(place.run(f"{report} json", environment=environment).out)
    if name is not None:
        assert name == found["timezone"]
    for arguments in (f"{report} table", "status"):
        done = place.run(arguments, environment=environment)
        assert b"\x1b" not in done.out
        assert done.code == place.normally(arguments).code


@pytest.mark.parametrize(
    ("closed", "code", "said"),
    [
        ("2>&-", 0, b"; see prodlensd report\n"),
        # What it says at its end has nowhere to go.
        ("<&- >&- 2>&-", 1, b""),
        (">/dev/full 2>/dev/full", 1, b""),
    ],
)
def test_a_real_shell_may_close_them_too(place: Place, closed: str, code: int, said: bytes) -> None:
    script = f'exec "$@" {closed}'
    command = [sys.executable, "-m", "prodlensd", "run", "--once"]
    done = subprocess.run(
        [SHELL, "-c", script, "sh", *command],
        env=os.environ | place.environment,
        capture_output=True,
        check=False,
        timeout=100,
    )
    assert (code, said) == (done.returncode, done.stdout[-len(said) :] if said else done.stdout)


@pytest.mark.parametrize(("encoding", "closed"), [("ascii", ""), ("utf-8", ">/dev/full")])
def test_the_demo_is_no_exception(place: Place, encoding: str, closed: str) -> None:
    done = subprocess.run(
        [SHELL, "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "prodlensd", "demo"],
        env=os.environ | place.environment | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
        timeout=100,
    )
    assert (1 if closed else 0) == done.returncode
    assert b"Traceback" not in done.stderr
    done.stdout.decode(encoding)
