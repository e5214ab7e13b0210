"""A command in this process, on standard streams like those of a process that has just begun."""

from __future__ import annotations

import gc
import io
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from prodlensd.cli import main

#: What may be wrong with a stream: its number, and what it is then.
FAULTS = {
    "stdin closed": (0, None),
    "stdout closed": (1, None),
    "stdout full": (1, "/dev/full"),
    "stdout unread": (1, "a pipe"),
    "stderr closed": (2, None),
    "stderr full": (2, "/dev/full"),
    "stderr unread": (2, "a pipe"),
}


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: bytes
    err: bytes


def run(
    arguments: list[str], environment: dict[str, str], *, encoding: str = "utf-8", fault: str = ""
) -> Done:
    """Runs the command; `fault` is one of FAULTS. What Python would say of an error is an error."""
    with ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
        stack.enter_context(_restored())
        stack.callback(time.tzset)
        for name, value in environment.items():
            stack.enter_context(_patched(os.environ, name, value))
        time.tzset()
        broken, kind = FAULTS.get(fault, (None, None))
        with (
            _descriptors([file.fileno() for file in files], broken, kind),
            _python_streams(encoding, broken if kind is None else None),
            pytest.raises(SystemExit) as ended,
        ):
            main(arguments)
        for file in files:
            file.seek(0)
        return Done(int(ended.value.code or 0), files[1].read(), files[2].read())


@contextmanager
def _restored() -> Iterator[None]:
    """What commands change of their process, and never put back."""
    umask = os.umask(0o077)
    interrupt = signal.getsignal(signal.SIGINT)
    handlers = list(logging.getLogger().handlers)
    thresholds = gc.get_threshold()
    try:
        yield
    finally:
        os.umask(umask)
        signal.signal(signal.SIGINT, interrupt)
        logging.getLogger().handlers[:] = handlers
        gc.set_threshold(*thresholds)
        gc.enable()


@contextmanager
def _patched(there: Any, name: str, value: Any) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if value is None:
            patch.delitem(there, name, raising=False)
        else:
            patch.setitem(there, name, value)
        yield


@contextmanager
def _descriptors(files: list[int], broken: int | None, kind: str | None) -> Iterator[None]:
    kept = [os.dup(number) for number in range(3)]
    try:
        for number, file in enumerate(files):
            os.dup2(file, number)
        if broken is not None:
            _break(broken, kind)
        yield
    finally:
        for number, file in enumerate(kept):
            os.dup2(file, number)
            os.close(file)


def _break(number: int, kind: str | None) -> None:
    if kind is None:
        os.close(number)
        return
    if kind == "a pipe":
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open(kind, os.O_WRONLY)
    os.dup2(writer, number)
    os.close(writer)


@contextmanager
def _python_streams(encoding: str, closed: int | None) -> Iterator[None]:
    """sys.stdin, sys.stdout and sys.stderr as Python makes them at its start."""
    with pytest.MonkeyPatch.context() as patch:
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            mode = "wb" if number else "rb"
            file: Any = io.FileIO(number, mode, closefd=False) if number != closed else None
            text = file and io.TextIOWrapper(file, encoding, errors="strict", write_through=True)
            patch.setattr(sys, name, text)
            patch.setattr(sys, f"__{name}__", text)
        yield


def home_of(folder: Path) -> dict[str, str]:
    """The environment of commands that are to work there."""
    return {"PRODLENSD_HOME": str(folder), "PRODLENSD_CONFIG": str(folder / "config.toml")}
