"""A scratch $PRODLENSD_HOME: logs, a ledger, and the real program at work on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw

from benchmarks.figures import WrongResultError
from benchmarks.processes import PeakMemory, await_end, started

_LONGEST_WAIT_S: Final = 60.0
#: What would lead the program elsewhere, or make it compile its modules on every start.
_FOREIGN: Final = ("PRODLENSD_", "LITELLM_", "NOTIFY_SOCKET", "PYTHONDONTWRITEBYTECODE")


@dataclass(frozen=True, slots=True)
class Run:
    """What a process cost from its start to its end, and what it printed."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    peak_with_children_mb: float
    printed: bytes


class Timed(NamedTuple):
    """What something cost without the start of the interpreter that ran it."""

    wall_s: float
    cpu_s: float


class Home:
    """A home in this folder, made where it is missing."""

    def __init__(self, folder: Path, *, parquet: bool = False, config: str = "") -> None:
        self.logs = folder / "logs"
        self.ledger = folder / "prodlens.db"
        self._log = folder / "stderr.log"
        self._env = {
            name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)
        } | {"PRODLENSD_HOME": str(folder)}
        self.logs.mkdir(parents=True, exist_ok=True)
        if not parquet:
            (folder / "config.toml").write_text(f"[parquet]\nenabled = false\n{config}")

    def take(self, file: Path) -> None:
        """Puts a log that lies elsewhere into this home as well."""
        os.link(file, self.logs / file.name)

    def run(self, module: str, *arguments: str, exit_codes: Sequence[int] = (0,)) -> Run:
        """Runs a module of Python's to its end, timed."""
        os.sync()  # what was written to prepare it is not to be paid for by it
        began_s = time.perf_counter()
        command = [sys.executable, "-m", module, *arguments]
        with started(command, self._env, self._log) as process:
            with PeakMemory(process.pid) as peak:
                cpu_s = await_end(process)
                wall_s = time.perf_counter() - began_s
            printed = process.stdout.read() if process.stdout else b""
        if process.returncode not in exit_codes:
            raise WrongResultError(
                f"{module} {' '.join(arguments)} exited with {process.returncode}: "
                f"{self._log.read_text()[-2000:]}"
            )
        return Run(wall_s, cpu_s, peak.own_mb, peak.all_mb, printed)

    def timed(self, *arguments: str, lines: int | None = None) -> Timed:
        """What `benchmarks.timed` measured; `lines` is how many it must have read."""
        told = json.loads(self.run("benchmarks.timed", *arguments).printed)
        if lines is not None and told["lines"] != lines:
            raise WrongResultError(f"{arguments[0]} read {told['lines']} lines of {lines}")
        return Timed(told["wall_s"], told["cpu_s"])

    @contextmanager
    def process(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """A prodlensd that runs meanwhile."""
        command = [sys.executable, "-m", "prodlensd", *arguments]
        with started(command, self._env, self._log) as process:
            yield process

    @contextmanager
    def daemon(self) -> Iterator[subprocess.Popen[bytes]]:
        """A running daemon that has said it is alive."""
        with self.process("run") as process:
            await_(lambda: self.query("SELECT pid FROM daemon") == [process.pid], "a heartbeat")
            yield process

    def query(self, sql: str) -> list[Any]:
        """The first column of the answer; nothing while there is no ledger."""
        try:
            with self.reader() as db:
                return [row[0] for row in db.execute(sql)]
        except (apsw.CantOpenError, apsw.SQLError):
            return []

    @contextmanager
    def reader(self) -> Iterator[apsw.Connection]:
        """A connection such as any other program may open."""
        db = apsw.Connection(str(self.ledger), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            db.set_busy_timeout(2000)
            yield db
        finally:
            db.close()

    def expect(
        self,
        *,
        traces: int,
        dead_letters: int = 0,
        duplicates: int = 0,
        tokens_in: int | None = None,
        gateway_nanousd: int | None = None,
        **sources: int,
    ) -> None:
        """Compares the ledger with what was logged. Raises WrongResultError.

        `sources` are how many traces there must be of a `cost_source`.
        """
        with self.reader() as db:
            found = dict(
                db.execute("SELECT cost_source, count(*) FROM traces GROUP BY cost_source")
            )
            counted = next(
                db.execute(
                    "SELECT sum(records), sum(traces), sum(dead_letters), sum(duplicates) "
                    "FROM sources"
                )
            )
            tokens, nanousd = next(
                db.execute("SELECT sum(tokens_in), sum(gateway_nanousd) FROM trace")
            )
        expected = (traces + dead_letters + duplicates, traces, dead_letters, duplicates)
        if counted != expected or sum(found.values()) != traces:
            raise WrongResultError(
                f"records, traces, dead letters and duplicates are {counted}, with "
                f"{sum(found.values())} rows; they should be {expected}"
            )
        if tokens_in not in (None, tokens) or gateway_nanousd not in (None, nanousd):
            raise WrongResultError(
                f"input tokens and nano-dollars of the gateway add up to {(tokens, nanousd)}; "
                f"they should to {(tokens_in, gateway_nanousd)}"
            )
        if any(found.get(source, 0) != number for source, number in sources.items()):
            raise WrongResultError(f"prices come from {found}; they should come from {sources}")


def await_(condition: Callable[[], bool], what: str) -> None:
    """Waits until it is so; raises WrongResultError when it does not come about."""
    deadline_s = time.monotonic() + _LONGEST_WAIT_S
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline_s:
            raise WrongResultError(f"not within {_LONGEST_WAIT_S:.0f} s: {what}")
        pause.wait(0.02)
