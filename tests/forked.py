"""Runs commands in processes of their own, forked from one that has imported all of the program.

Left out of `python -m prodlensd` are the interpreter's start with its imports, a third of a second,
and its tearing down. What these do and load is the matter of tests that start an interpreter.
"""

from __future__ import annotations

import atexit
import functools
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from subprocess import CompletedProcess, TimeoutExpired
from tempfile import TemporaryFile
from typing import Any, NoReturn

from prodlensd.__main__ import _NotInstalled

_TIMEOUT_S = 100
#: `run --once` waits for its jobs one after the other: run before it, this has them run within it.
JOBS_WITHIN = """
from prodlensd.app import daemon
from prodlensd.cli import main

class Job:
    def __init__(self, command):
        self._command = command

    def wait(self):
        return main([self._command, "--quiet"], standalone_mode=False) or 0

daemon._start = lambda config_path, command: Job(command)
"""


def forked(
    *arguments: str, env: Mapping[str, str] | None = None, first: str = ""
) -> CompletedProcess[str]:
    """Runs `python -m prodlensd arguments` to its end, after the Python code `first`.

    What makes an interpreter start otherwise, such as $PYTHONIOENCODING, has no effect.
    """
    done = forked_raw(*arguments, env=env, first=first)
    outputs = (of.decode().replace("\r\n", "\n") for of in (done.stdout, done.stderr))
    return CompletedProcess(done.args, done.returncode, *outputs)


def forked_raw(
    *arguments: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    first: str = "",
) -> CompletedProcess[bytes]:
    """The same, with the very bytes of its output."""
    begin = {
        "arguments": arguments,
        "environment": dict(env or os.environ),
        "folder": str(cwd or Path.cwd()),
        "umask": umask(),
        "first": first,
    }
    with TemporaryFile() as request, TemporaryFile() as stdout, TemporaryFile() as stderr:
        request.write(json.dumps(begin).encode())
        request.seek(0)
        code = _ask(request.fileno(), stdout.fileno(), stderr.fileno())
        for file in (stdout, stderr):
            file.seek(0)
        return CompletedProcess(["prodlensd", *arguments], code, stdout.read(), stderr.read())


def umask() -> int:
    """That of this process, which can only be read by setting it."""
    before = os.umask(0o022)
    os.umask(before)
    return before


def _ask(*descriptors: int) -> int:
    """The exit code of the process, or minus the signal that killed it."""
    answer, answering = os.pipe()
    with os.fdopen(answer, "rb", buffering=0) as answered:
        try:
            with _STARTING:
                server = _server()
            socket.send_fds(server, [b"?"], [*descriptors, answering])
        finally:
            os.close(answering)
        pid = int(answered.readline())
        if not select.select([answered], [], [], _TIMEOUT_S)[0]:
            os.kill(pid, signal.SIGKILL)
            raise TimeoutExpired("prodlensd", _TIMEOUT_S)
        return int(answered.readline())


_STARTING = threading.Lock()
#: Without what any test has set.
_ENVIRONMENT = dict(os.environ)


@functools.cache
def _server() -> socket.socket:
    """How to ask the process that commands are forked from, which ends when we do."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            env=_ENVIRONMENT,
            pass_fds=[theirs.fileno()],
            cwd=Path(__file__).parents[1],
        )

    def close() -> None:
        ours.close()
        process.wait(_TIMEOUT_S)

    atexit.register(close)
    return ours


# The process that commands are forked from --------------------------------------------------------


def _serve(asked: socket.socket) -> None:
    """Forks a process for each request, and says its number and how it ended."""
    answers: dict[int, int] = {}

    def answer(*_: object) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                with suppress(BrokenPipeError):  # whoever asked waits no more
                    os.write(answers[ended[0]], b"%d\n" % os.waitstatus_to_exitcode(ended[1]))
                os.close(answers.pop(ended[0]))

    signal.signal(signal.SIGCHLD, answer)
    gc.freeze()  # what is shared stays so
    while descriptors := socket.recv_fds(asked, 1, 4)[1]:
        *given, answering = descriptors
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        if (pid := os.fork()) == 0:
            asked.close()
            for descriptor in (answering, *answers.values()):
                os.close(descriptor)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
            _become_command(*given)
        answers[pid] = answering
        with suppress(BrokenPipeError):
            os.write(answering, b"%d\n" % pid)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        for descriptor in given:
            os.close(descriptor)


def _become_command(request: int, stdout: int, stderr: int) -> NoReturn:
    begin: dict[str, Any] = json.loads(os.read(request, os.fstat(request).st_size))
    os.close(request)
    for descriptor, number in ((os.open(os.devnull, os.O_RDONLY), 0), (stdout, 1), (stderr, 2)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(begin["environment"])
    time.tzset()
    os.chdir(begin["folder"])
    os.umask(begin["umask"])
    del sys.modules["prodlensd.__main__"]  # where the finder is from: it is loaded anew
    sys.argv[1:] = begin["arguments"]
    code: Any = 0
    try:
        exec(begin["first"], {})  # noqa: S102 - a test's own code
        runpy.run_module("prodlensd", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - as the interpreter does
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)  # to tear down all that was imported takes longer than most commands


def _import_all() -> None:
    from prodlensd.cli import COMMANDS, module_of

    for name in COMMANDS:
        import_module(module_of(name))
    for name in ("prodlensd.answers.report", "prodlensd.answers.verify", "duckdb", "genai_prices"):
        import_module(name)


if __name__ == "__main__":
    sys.meta_path.insert(0, _NotInstalled())
    _import_all()
    _serve(socket.socket(fileno=int(sys.argv[1])))
