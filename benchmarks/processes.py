"""Other processes: how to start them so that none stays behind, and what Linux knows about them."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Self

_PROC: Final = Path("/proc")
_GRACE_S: Final = 10
_SAMPLE_INTERVAL_S: Final = 0.05
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_MB_PER_KIB: Final = 1024 / 1e6


@contextmanager
def started(
    arguments: Sequence[str], env: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A process, whose output goes to the end of `log`; ended, by force if need be, on leaving."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            arguments, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=output
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()


def await_end(process: subprocess.Popen[bytes]) -> float:
    """Waits for the end; returns the CPU seconds of the process and of all it waited for itself."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def tree(pid: int) -> list[int]:
    """The process and all that it started, directly or not."""
    children: dict[int, list[int]] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                state, parent, *_ = _stat(entry)
                if state != "Z":  # ended, and its parent has not looked yet
                    children.setdefault(int(parent), []).append(int(entry.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds so far, in steps of a hundredth."""
    fields = _stat(_PROC / str(pid))
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def wake_ups(pid: int) -> int:
    """How often its threads have gone to sleep on their own so far, and so were woken."""
    return sum(
        _number(task / "status", "voluntary_ctxt_switches:")
        for task in (_PROC / str(pid) / "task").iterdir()
    )


def rss_mb(pid: int) -> float:
    """Memory held just now, what is shared with other processes counted in full."""
    return _number(_PROC / str(pid) / "smaps_rollup", "Rss:") * _MB_PER_KIB


def pss_mb(pid: int) -> float:
    """The same, what is shared with other processes counted in part."""
    return _number(_PROC / str(pid) / "smaps_rollup", "Pss:") * _MB_PER_KIB


def _number(path: Path, name: str) -> int:
    return int(path.read_text().partition(f"\n{name}")[2].split(maxsplit=1)[0])


def _stat(process: Path) -> list[str]:
    """The fields after the name (which may hold anything): the state, the parent and so on."""
    return (process / "stat").read_text().rpartition(") ")[2].split()


class PeakMemory:
    """Watches the peak RSS of a process and of those it starts. A context manager.

    Not from wait4: its peak begins with that of the process that started this one.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peaks: dict[int, int] = {}  # KiB by process
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def own_mb(self) -> float:
        """The peak of the process itself."""
        return self._peaks.get(self._pid, 0) * _MB_PER_KIB

    @property
    def all_mb(self) -> float:
        """The sum of all peaks, as if they had come at the same moment."""
        return sum(self._peaks.values()) * _MB_PER_KIB

    def _watch(self) -> None:
        while not self._stop.wait(_SAMPLE_INTERVAL_S):
            for pid in tree(self._pid):
                with suppress(OSError, IndexError):  # ended meanwhile
                    self._peaks[pid] = _number(_PROC / str(pid) / "status", "VmHWM:")
