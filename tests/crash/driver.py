"""Runs `prodlensd run --once` in processes that die by SIGKILL where they are told to.

`python -m tests.crash.driver` reads one case a line (JSON) from stdin, forks a process for each
from this one, which has everything imported already, and answers with how it ended (JSON):

    {"home": folder, "seam": "store.Ledger.commit", "when": "before", "nth": 3, "mutant": ""}

The seam "sql" is every SQL statement of the process; no seam lets it run to its end. With paths
under "imported" it is `prodlensd import` of these. The program
has no hooks for this: seams are patched by name. Compaction runs in the same process, so that its
seams are reached as well.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

import apsw
import click

from prodlensd.app import compaction, due
from prodlensd.app import daemon as wiring
from prodlensd.cli import compact, import_, publish, run
from prodlensd.daemon import loop as daemon
from prodlensd.logs import source
from prodlensd.moments import now_us
from tests.crash.mutants import MUTANTS  # imports the snapshots as well: no child has to


class _NoPandas(MetaPathFinder):
    """Where pandas is installed, pyarrow would import it in each child: most of a case's time."""

    def find_spec(self, fullname: str, *_: Any) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname)


#: Where to die: the module, and the name in it.
SEAMS = {
    "Sources.register": ("prodlensd.ledger.sources", "Sources.register"),
    "Sources.relocate": ("prodlensd.ledger.sources", "Sources.relocate"),
    "Sources.replace": ("prodlensd.ledger.sources", "Sources.replace"),
    "Sources.retire": ("prodlensd.ledger.sources", "Sources.retire"),
    "Ledger.commit": ("prodlensd.ledger.writing", "Ledger.commit"),
    "Ledger._insert": ("prodlensd.ledger.writing", "Ledger._insert"),
    "Pins.write": ("prodlensd.ledger.pins", "Pins.write"),
    "Ledger.mark": ("prodlensd.ledger.writing", "Ledger.mark"),
    "Spending.add": ("prodlensd.ledger.spending", "Spending.add"),
    "Spending.sum_up": ("prodlensd.ledger.spending", "Spending.sum_up"),
    "Writer.beat": ("prodlensd.ledger.transactions", "Writer.beat"),
    "Partitions.announce": ("prodlensd.ledger.partitions", "Partitions.announce"),
    "Partitions.mark_clean": ("prodlensd.ledger.partitions", "Partitions.mark_clean"),
    "Partitions.note_directory": ("prodlensd.ledger.partitions", "Partitions.note_directory"),
    "Tailer.adopt": ("prodlensd.logs.tailer", "Tailer.adopt"),
    "write_snapshot": ("prodlensd.snapshots", "write_snapshot"),
    "os.fsync": ("os", "fsync"),
    "Path.replace": ("pathlib", "Path.replace"),
}
#: The same, of what only happens where there is something to prune, to delete or to publish.
RETENTION_SEAMS = {
    "Partitions.prune": ("prodlensd.ledger.partitions", "Partitions.prune"),
    "Partitions.give_back": ("prodlensd.ledger.partitions", "Partitions.give_back"),
    "Publishing.note_copied": ("prodlensd.ledger.publishing", "Publishing.note_copied"),
    "merged": ("prodlensd.snapshots", "merged"),
    "os.rename": ("os", "rename"),
    "_delete": ("prodlensd.jobs.retention", "_delete"),
    "Folder.put": ("prodlensd.snapshots.destinations", "Folder.put"),
    "copyfileobj": ("shutil", "copyfileobj"),
}
#: The same, of what only happens when the snapshots move to another folder.
MOVING_SEAMS = {
    "Partitions.mark_unwritten": ("prodlensd.ledger.partitions", "Partitions.mark_unwritten"),
}
#: The same, of what only happens where coding agents write transcripts.
TRANSCRIPT_SEAMS = {
    "Transcripts._replace": ("prodlensd.ledger.transcripts", "Transcripts._replace"),
    "TranscriptCalls.note": ("prodlensd.ledger.transcript_calls", "TranscriptCalls.note"),
    "TranscriptCalls.note_line": ("prodlensd.ledger.transcript_calls", "TranscriptCalls.note_line"),
    "TranscriptCalls.move": ("prodlensd.ledger.transcript_calls", "TranscriptCalls.move"),
}
_READ_BYTES = 1000
#: Later than anything is young.
_LATER_US = 100 * 86_400_000_000


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_at(seam: str, when: str, nth: int) -> None:
    module_name, dotted = (SEAMS | RETENTION_SEAMS | MOVING_SEAMS | TRANSCRIPT_SEAMS)[seam]
    owner: Any = import_module(module_name)
    *parents, name = dotted.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    real: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def deadly(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth and when == "before":
            die()
        done = real(*arguments, **named)
        if calls == nth:
            die()
        return done

    setattr(owner, name, deadly)


def _die_at_statement(nth: int) -> None:
    statements = 0

    def count(_cursor: apsw.Cursor, _sql: str, _bindings: Any) -> bool:
        nonlocal statements
        statements += 1
        if statements == nth:
            die()
        return True

    def hook(connection: apsw.Connection) -> None:
        connection.exec_trace = count

    apsw.connection_hooks.append(hook)


class _Child:
    """In place of a process that the daemon would start."""

    def __init__(self, command: click.Command) -> None:
        self._command = command

    def wait(self) -> int:
        return _called(self._command, ["--quiet"])


def _called(command: click.Command, arguments: list[str]) -> int:
    try:
        command.main(arguments, standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return 0


def _run_case(case: dict[str, Any]) -> int:
    home = Path(case["home"])
    os.environ["PRODLENSD_HOME"] = str(home)
    os.environ["PRODLENSD_CONFIG"] = str(home / "config.toml")
    said = os.open(home / "said.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    for module in (source, daemon):
        setattr(module, "READ_BYTES", _READ_BYTES)  # noqa: B010 - a Final, but not for us
    commands = {"compact": compact.command, "publish": publish.command}
    wiring._start = lambda _config, name: _Child(commands[name])  # type: ignore[assignment,return-value]
    for asking in (compaction, due):
        setattr(asking, "now_us", lambda: now_us() + _LATER_US)  # noqa: B010 - imported there
    if case.get("mutant"):
        MUTANTS[case["mutant"]](setattr)
    if case.get("seam") == "sql":
        _die_at_statement(case["nth"])
    elif case.get("seam"):
        _die_at(case["seam"], case["when"], case["nth"])
    if paths := case.get("imported"):
        return _called(import_.command, paths)
    return _called(run.command, ["--once"])


def _forked(case: dict[str, Any]) -> int:
    """The exit code of the process, or minus the signal that killed it."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = _run_case(case)
        except BaseException:  # noqa: BLE001 - a child must not return into its parent's loop
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.meta_path.insert(0, _NoPandas())
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_forked(json.loads(line))) + "\n")
        sys.stdout.flush()
