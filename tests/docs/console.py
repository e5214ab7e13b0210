"""Runs the `console` blocks of a page and compares what they print.

In such a block a line that begins with `$ ` is a command for bash, and `> ` before the next lines
continues it. What follows, up to the next command, is what it prints on a terminal without colours.
`…` alone on a line stands for any lines, at the end of a line for the rest of it.

The blocks of a page run in order, in one home folder, which is empty at first and printed as
/home/you. The comment `<!-- sample: NAME -->` above a block has the function NAME of samples.py
prepare the default $PRODLENSD_HOME in it first. What differs from run to run (times, process ids,
sizes, versions) is not compared: see `_VARYING`.

A command that fails has to show how its output ends; where a page shows nothing, or leaves the end
out, it has to succeed.
"""

from __future__ import annotations

import difflib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple, Self

import prodlensd

_COLUMNS: Final = 100
_PATIENCE_S: Final = 100
_NOT_FOUND: Final = 127
#: Of programs that do not know $NO_COLOR.
_COLOUR: Final = re.compile(r"\x1b\[[\d;]*m")

#: What no test can run, or must not.
_FOREIGN: Final = re.compile(
    r"(?:^|[;&|(]\s*)(?:\S*/)?"
    r"(make|pip|pip3|pipx|sudo|systemctl|loginctl|apt|apt-get|git|curl|docker|litellm)(?=\s|$)"
)
_MOMENT: Final = r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z?)?"
#: What is another with every run → what stands for it, on both sides.
_VARYING: Final = [
    (re.compile(pattern), stand_in)
    for pattern, stand_in in (
        (r"\bpid([ =]|\":)\d+", r"pid\1<pid>"),
        (r"/tmp/prodlensd-demo-\w+", "/tmp/prodlensd-demo-<scratch>"),  # noqa: S108 - of the demo
        (r"\b[\d,.]+ (?:ms|s|min|h|d)\b", "<duration>"),
        (r"\b[\d,.]+ (?:B|kB|MB|GB|TB|bytes)(?!\w)", "<size>"),
        (r"\b[\d,.]+ lines/s", "<number> lines/s"),
        (r"(\"\w+(?:_s|_bytes)\": )[\d.]+", r"\1<number>"),
        (r"(='?|'=)[\d.]+([sB];)", r"\1<number>\2"),
        (r"('lines_per_s'=)[\d.]+", r"\1<number>"),
        (r"(?<![\d.])\d+\.\d+\.\d+(?![\d.])", "<version>"),
        (r"/[^/\s]+\.parquet\b", "/<host>.parquet"),
        (r" {3,}", "  "),  # a column is as wide as the widest path in it
    )
]


class Command(NamedTuple):
    """A command of a page, with the number of its line, and what it prints as the page has it."""

    line: int
    text: str
    printed: list[str]


class Block(NamedTuple):
    """The commands of a `console` block, and the name of the sample that it wants first."""

    sample: str | None
    commands: list[Command]


def blocks(text: str) -> Iterator[Block]:
    """The console blocks of a page. Raises ValueError where it does not keep to the convention."""
    found = list(re.finditer(r"(?ms)^(?:<!-- sample: (\w+) -->\s+)?```console\n(.*?)^```$", text))
    if len(re.findall("(?m)^<!-- sample:", text)) != sum(match[1] is not None for match in found):
        raise ValueError("a sample is named that does not stand directly above a console block")
    for match in found:
        first_line = text.count("\n", 0, match.start(2)) + 1
        yield Block(match[1], list(_commands(match[2].splitlines(), first_line)))


def _commands(lines: list[str], first_line: int) -> Iterator[Command]:
    command: Command | None = None
    for number, line in enumerate(lines, start=first_line):
        if command is not None and not command.printed and line.startswith("> "):
            command = command._replace(text=f"{command.text}\n{line.removeprefix('> ')}")
        elif line.startswith("$ "):
            if command is not None:
                yield command
            command = Command(number, line.removeprefix("$ "), [])
        elif command is None:
            raise ValueError(f"line {number}: a console block begins with `$ ` and a command")
        else:
            command.printed.append(line)
    if command is None:
        raise ValueError(f"line {first_line}: a console block without a command")
    yield command


def faults(page: str, scratch: Path, samples: Mapping[str, object]) -> list[str]:
    """Runs the blocks of a page in order; says what is not as the page has it."""
    found: list[str] = []
    with Shell(scratch) as shell:
        for sample, commands in blocks(page):
            if sample is not None:
                prepare = samples.get(sample)
                if not callable(prepare):
                    raise ValueError(f"samples.py has no function {sample}")
                prepare(shell.ledger_home)
            found += filter(None, [_fault(command, shell) for command in commands])
    return found


def _fault(command: Command, shell: Shell) -> str | None:
    where = f"line {command.line}: $ {command.text}\n"
    if foreign := _FOREIGN.search(command.text):
        return f"{where}{foreign[1]}: use an `sh` block for what a test cannot run"
    code, printed = shell.run(command.text)
    expected = "\n".join(command.printed).rstrip()
    if not _is_as(expected, printed):
        sides = (_settled(expected).splitlines(), _settled(printed).splitlines())
        diff = "\n".join(difflib.unified_diff(*sides, "the page", "printed", lineterm=""))
        return f"{where}exit code {code}\n{diff}\nin full:\n{printed}"
    is_shown = expected and not expected.endswith("…")
    if code and not (is_shown and 0 < code < _NOT_FOUND):
        return f"{where}exit code {code}, and the page does not show why:\n{printed}"
    return None


def _is_as(expected: str, printed: str) -> bool:
    """Whether the program printed what the page says."""
    pattern = ""
    for line in _settled(expected).splitlines():
        start = line.removesuffix("…")
        end = "\n" if start == line else ".*\n"
        pattern += r"(?:.*\n)*?" if line == "…" else _pattern(start) + end
    lines = [line.rstrip() for line in _settled(_without_now(printed)).splitlines()]
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in lines)) is not None


def _pattern(text: str) -> str:
    """Each moment on the page may be one of these days when it is printed."""
    parts = re.split(f"({_MOMENT})", text)
    parts[::2] = map(re.escape, parts[::2])
    parts[1::2] = [f"(?:{re.escape(moment)}|<now>)" for moment in parts[1::2]]
    return "".join(parts)


def _settled(text: str) -> str:
    for varying, stand_in in _VARYING:
        text = varying.sub(stand_in, text)
    return text.rstrip()


def _without_now(printed: str) -> str:
    """With <now> for moments of these days; older ones come from the sample, and are compared."""
    today = datetime.now(UTC).date()
    near = {f"{today + timedelta(days=offset):%Y-%m-%d}" for offset in (-1, 0, 1)}
    return re.sub(_MOMENT, lambda found: "<now>" if found[0][:10] in near else found[0], printed)


class Shell:
    """Runs commands on a terminal, in a home folder of their own. A context manager.

    `prodlensd` is the package under test, `python3` what runs the tests. What still runs at the end
    is ended.
    """

    def __init__(self, scratch: Path) -> None:
        self.home = scratch / "home"
        self.ledger_home = self.home / ".local" / "share" / "prodlensd"
        self._programs = scratch / "bin"
        self._started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True)
        self._programs.mkdir()
        tree = Path(prodlensd.__file__).parents[1]
        for name, program in (
            ("prodlensd", f'PYTHONPATH="{tree}" exec "{sys.executable}" -P -m prodlensd'),
            ("python3", f'exec "{sys.executable}"'),
        ):
            wrapper = self._programs / name
            wrapper.write_text(f'#!/bin/sh\n{program} "$@"\n')
            wrapper.chmod(0o755)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def run(self, command: str) -> tuple[int, str]:
        """The exit code of a command and what it printed, its scratch folder as /home/you."""
        terminal, end = pty.openpty()
        try:
            fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, _COLUMNS, 0, 0))
            process = subprocess.Popen(
                ["/bin/bash", "-c", command],
                cwd=self.home,
                env={
                    "HOME": str(self.home),
                    "PATH": f"{self._programs}:{os.environ['PATH']}",
                    "LANG": "C.UTF-8",
                    "TZ": "UTC",
                    "TERM": "dumb",
                    "NO_COLOR": "1",
                },
                stdin=subprocess.DEVNULL,
                stdout=end,
                stderr=end,
                start_new_session=True,
            )
            self._started.append(process)
            printed = _read(terminal, process)
        finally:
            os.close(end)
            os.close(terminal)
        text = _COLOUR.sub("", printed.decode(errors="backslashreplace").replace("\r\n", "\n"))
        text = text.replace(str(self.home), "/home/you").rstrip()
        return process.wait(timeout=_PATIENCE_S), text


def _read(terminal: int, process: subprocess.Popen[bytes]) -> bytes:
    """What comes until the command has ended; what it left running may write on, unread."""
    printed = b""
    deadline = time.monotonic() + _PATIENCE_S
    is_over = False
    while not is_over:
        is_over = process.poll() is not None
        while select.select([terminal], [], [], 0 if is_over else 0.02)[0]:
            printed += os.read(terminal, 1 << 16)
        if time.monotonic() > deadline:
            os.killpg(process.pid, signal.SIGKILL)
    return printed
