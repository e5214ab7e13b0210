"""Runs commands in processes of their own, forked from one that has imported all of the program.

Left out of `python -m prodlensd` are the interpreter's start with its imports, a third of a second,
and its tearing down; of the processes that a command starts itself, a price book or a job, the
same. What these do and load is the matter of tests that start an interpreter.
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
from subprocess import DEVNULL, PIPE, CompletedProcess, TimeoutExpired
from tempfile import TemporaryFile
from typing import IO, Any, NoReturn

from prodlensd import child
from prodlensd.__main__ import _NotInstalled

_TIMEOUT_S = 100


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
    with TemporaryFile() as stdout, TemporaryFile() as stderr:
        process = Forked(*arguments, stdout=stdout, stderr=stderr, env=env, cwd=cwd, first=first)
        try:
            code = process.wait(_TIMEOUT_S)
        except TimeoutExpired:
            process.kill()
            raise
        for file in (stdout, stderr):
            file.seek(0)
        return CompletedProcess(["prodlensd", *arguments], code, stdout.read(), stderr.read())


def umask() -> int:
    """That of this process, which can only be read by setting it."""
    before = os.umask(0o022)
    os.umask(before)
    return before


class Forked:
    """`python -m module arguments` after the Python code `first`, to be used as a `Popen`."""

    def __init__(
        self,
        *arguments: str,
        module: str = "prodlensd",
        stdin: int = DEVNULL,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        first: str = "",
        is_own_session: bool = False,
    ) -> None:
        begin = {
            "module": module,
            "arguments": arguments,
            "environment": dict(os.environ if env is None else env),
            "folder": str(cwd or Path.cwd()),
            "umask": umask() if _BEGUN is None else _BEGUN["umask"],  # never set beside threads
            "first": first,
            "is_own_session": is_own_session,
        }
        self.stdin: IO[bytes] | None = None
        self.stdout: IO[bytes] | None = None
        if stdin == PIPE:
            given_in, ours = os.pipe()
            self.stdin = os.fdopen(ours, "wb")
        else:
            given_in = os.open(os.devnull, os.O_RDONLY)
        if stdout == PIPE:
            ours, given_out = os.pipe()
            self.stdout = os.fdopen(ours, "rb")
        else:
            given_out = _dup(stdout, 1)
        answer, answering = os.pipe()
        self._answers = os.fdopen(answer, "rb", buffering=0)
        given = [given_in, given_out, _dup(stderr, 2), answering]
        try:
            with TemporaryFile() as request, _STARTING:
                request.write(json.dumps(begin).encode())
                request.seek(0)
                server = _server()
                socket.send_fds(server, [b"?"], [request.fileno(), *given, server.fileno()])
        finally:
            for descriptor in given:
                os.close(descriptor)
        self.pid = int(self._answers.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, or minus the signal that killed it; None while it runs."""
        with suppress(TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The same, once it has ended. Raises TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._answers], [], [], timeout)[0]:
                raise TimeoutExpired("prodlensd", timeout or 0)
            self.returncode = int(self._answers.readline())
            self._answers.close()
        return self.returncode

    def communicate(self) -> None:
        """Closes its pipes, and waits for its end."""
        for pipe in filter(None, (self.stdin, self.stdout)):
            with suppress(BrokenPipeError):
                pipe.close()
        self.wait()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _dup(output: int | IO[bytes] | None, own: int) -> int:
    if output == DEVNULL:
        return os.open(os.devnull, os.O_WRONLY)
    return os.dup(own if output is None else output if isinstance(output, int) else output.fileno())


_STARTING = threading.Lock()
#: Without what any test has set.
_ENVIRONMENT = dict(os.environ)
#: In a forked process: as what it began.
_BEGUN: dict[str, Any] | None = None


@functools.cache
def _server() -> socket.socket:
    """How to ask the process that commands are forked from, which ends when we do."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(theirs.fileno())],
            stdin=DEVNULL,
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
    """Forks a process for each request, and says its number and how it ended.

    Ends are seen by pidfds: a SIGCHLD just before the wait would be heard at the next request only.
    """
    answers: dict[int, tuple[int, int]] = {}
    gc.freeze()  # what is shared stays so
    while True:
        waited_for: list[Any] = [asked, *answers]
        ready = select.select(waited_for, [], [])[0]
        for ended in answers.keys() & set(ready):
            pid, answering = answers.pop(ended)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            with suppress(BrokenPipeError):  # whoever asked waits no more
                os.write(answering, b"%d\n" % code)
            os.close(answering)
            os.close(ended)
        if asked not in ready:
            continue
        descriptors = socket.recv_fds(asked, 1, 6)[1]
        if not descriptors:
            return
        *given, answering, asking = descriptors
        if (pid := os.fork()) == 0:
            asked.close()
            for descriptor in (answering, *answers, *(to for _, to in answers.values())):
                os.close(descriptor)
            _become_command(socket.socket(fileno=asking), *given)
        answers[os.pidfd_open(pid)] = pid, answering
        with suppress(BrokenPipeError):
            os.write(answering, b"%d\n" % pid)
        for descriptor in (*given, asking):
            os.close(descriptor)


def _become_command(server: socket.socket, request: int, *standard: int) -> NoReturn:
    global _BEGUN, _server
    begin: dict[str, Any] = json.loads(os.read(request, os.fstat(request).st_size))
    os.close(request)
    for number, descriptor in enumerate(standard):
        os.dup2(descriptor, number)
        os.close(descriptor)
    _BEGUN, _server = begin, functools.cache(lambda: server)
    child.start = Forked  # type: ignore[assignment]
    if begin["is_own_session"]:
        os.setsid()
    os.environ.clear()
    os.environ.update(begin["environment"])
    time.tzset()
    os.chdir(begin["folder"])
    os.umask(begin["umask"])
    # Those it has are from where nothing of the request was known: it is loaded anew.
    sys.modules.pop("prodlensd.__main__", None)
    sys.modules.pop(begin["module"], None)
    sys.argv[1:] = begin["arguments"]
    code: Any = 0
    try:
        exec(begin["first"], {})  # noqa: S102 - a test's own code
        runpy.run_module(begin["module"], run_name="__main__", alter_sys=True)
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
    from prodlensd.pricing import Question, builtin

    for name in COMMANDS:
        import_module(module_of(name))
    for name in ("prodlensd.answers.report", "prodlensd.answers.verify", "duckdb"):
        import_module(name)
    for name in ("snapshots.files", "snapshots.published", "daemon.http_server", "answers.metrics"):
        import_module(f"prodlensd.{name}")  # of the heavy ones, each job would load some anew
    builtin.BuiltinBook().quote(Question("anthropic", "claude-sonnet-4-5", 0))


if __name__ == "__main__":
    sys.meta_path.insert(0, _NotInstalled("numpy", "pandas"))
    _import_all()
    _serve(socket.socket(fileno=int(sys.argv[1])))
