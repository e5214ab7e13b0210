"""One run, one table: `make bench`, or `python -m benchmarks [--quick] [NAME …]`.

Each figure stands beside its budget, which it may miss: speed is recorded here and judged by
people, for a busy machine proves nothing. A count that is wrong fails the run. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import apsw
import orjson

from benchmarks.capacity import capacity
from benchmarks.figures import HEADING, Figure, WrongResultError
from benchmarks.growth import growth
from benchmarks.idle import idle
from benchmarks.latency import latency
from benchmarks.peers import peers
from benchmarks.reports import reports
from benchmarks.repricing import repricing
from benchmarks.scale import scale
from benchmarks.sizes import QUICK, SMOKE, Sizes
from benchmarks.snapshots import snapshots
from benchmarks.throughput import long_line, payloads, traces
from benchmarks.transcripts import transcripts

BENCHMARKS: Final[dict[str, Callable[[Path, Sizes], Iterator[Figure]]]] = {
    "traces": traces,
    "payloads": payloads,
    "transcripts": transcripts,
    "peers": peers,
    "capacity": capacity,
    "long-line": long_line,
    "latency": latency,
    "idle": idle,
    "growth": growth,
    "scale": scale,
    "snapshots": snapshots,
    "repricing": repricing,
    "reports": reports,
}
#: What is quick, and finds a count that is wrong.
_IN_SMOKE: Final = ("traces", "payloads", "transcripts", "peers", "long-line", "latency")


def main() -> int:
    """Runs what was asked for; 1 when a count was wrong."""
    arguments = _arguments()
    # So that what is started and written here is also cleared away after a kill.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sizes = SMOKE if arguments.smoke else QUICK if arguments.quick else Sizes()
    if arguments.rows:
        sizes = replace(sizes, growth_rows=arguments.rows)
    if arguments.transcript_mb:
        sizes = replace(sizes, transcript_mb=arguments.transcript_mb)
    machine = _machine(arguments.dir)
    print(", ".join(f"{name} {value}" for name, value in machine.items()), HEADING, sep="\n\n")
    figures, wrong, began_s = [], 0, time.monotonic()
    for name in arguments.names or (_IN_SMOKE if arguments.smoke else BENCHMARKS):
        folder = Path(tempfile.mkdtemp(prefix="prodlensd-bench-", dir=arguments.dir))
        try:
            for figure in BENCHMARKS[name](folder, sizes):
                print(figure.as_line(), flush=True)
                figures.append({"benchmark": name, **figure.as_json()})
        except WrongResultError as error:
            print(f"{name}: {error}", file=sys.stderr)
            wrong += 1
        finally:
            shutil.rmtree(folder)
    print(f"\n{time.monotonic() - began_s:.0f} s")
    if arguments.json is not None:
        result = {"schema": "prodlensd.bench/1", "machine": machine, "figures": figures}
        arguments.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return min(wrong, 1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=" ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="small sizes, a minute")
    parser.add_argument("--smoke", action="store_true", help="smaller ones, of some: for CI")
    parser.add_argument("--rows", type=int, default=0, help="how large the ledger is to grow")
    parser.add_argument("--transcript-mb", type=int, default=0, help="how many of each agent")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--dir", type=Path, help="a folder on the disk to measure on")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - BENCHMARKS.keys():
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    if not Path("/proc/self/smaps_rollup").exists():
        parser.error("this needs Linux")
    return arguments


def _machine(folder: Path | None) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "cores": os.cpu_count(),
        "load": f"{os.getloadavg()[0]:.1f}",
        "disk": _filesystem(folder or Path(tempfile.gettempdir())),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "orjson": orjson.__version__,
    }


def _filesystem(folder: Path) -> str:
    """Its kind: on a tmpfs, for one, nothing waits for a disk."""
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    within = [mount for mount in mounts if folder.resolve().is_relative_to(mount[1])]
    return max(within, key=lambda mount: len(mount[1]))[2]


if __name__ == "__main__":
    sys.exit(main())
