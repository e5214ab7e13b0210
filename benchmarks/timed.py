"""Runs one thing in a process of its own and prints what it cost, without the interpreter's start.

python -m benchmarks.timed prodlensd        `prodlensd run --once` in $PRODLENSD_HOME
python -m benchmarks.timed rows FILE STORE  the bare loop: orjson.loads and a 20-column insert
python -m benchmarks.timed loads FILE       orjson.loads of each line, and nothing else
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import Any, Final

import apsw
import orjson

from prodlensd.cli.run import command as run_command
from prodlensd.logs import READ_BYTES

_COLUMNS: Final = (
    "timestamp id litellm_call_id cost_usd model provider call_type status status_code latency_ms "
    "ttft_ms tokens_in tokens_out total_tokens session_id developer_id repo end_user team "
    "source_offset"
).split()
_NOTHING: Final[dict[str, Any]] = {}


def prodlensd() -> float:
    """The whole of the real command; what it read, its ledger says."""
    began_s = time.perf_counter()
    with redirect_stdout(sys.stderr):  # ours is the figure
        run_command(["--once"], standalone_mode=False)
    return time.perf_counter() - began_s


def rows(path: str, store: str) -> tuple[int, float]:
    """As little as anybody could do who keeps the lines: as durable, in batches of the same size.

    No identity, no price, no checkpoint, no index: a second run would insert everything again.
    """
    began_s = time.perf_counter()
    lines = offset = 0
    db = apsw.Connection(store)
    db.execute("PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
    db.execute(f"CREATE TABLE bare ({', '.join(_COLUMNS)})")
    insert = f"INSERT INTO bare VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608
    for chunk in _chunks(path):
        batch = []
        for line in chunk:
            batch.append(_row(orjson.loads(line), offset))
            offset += len(line) + 1
        with db:
            db.executemany(insert, batch)
        lines += len(batch)
    db.close()
    return lines, time.perf_counter() - began_s


def loads(path: str) -> tuple[int, float]:
    """Only the decoding is timed, not the reading of the file."""
    lines, spent_s = 0, 0.0
    decode = orjson.loads
    for chunk in _chunks(path):
        began_s = time.perf_counter()
        for line in chunk:
            decode(line)
        spent_s += time.perf_counter() - began_s
        lines += len(chunk)
    return lines, spent_s


def _row(record: dict[str, Any], offset: int) -> tuple[object, ...]:
    get = record.get
    attributes = get("attributes", _NOTHING).get
    usage = get("usage", _NOTHING).get
    metadata = get("metadata", _NOTHING).get
    return (
        get("timestamp"),
        get("id"),
        get("litellm_call_id"),
        get("cost_usd"),
        attributes("llm.model_name"),
        attributes("provider"),
        attributes("call_type"),
        attributes("status"),
        attributes("status_code"),
        attributes("latency_ms"),
        attributes("ttft_ms"),
        usage("input_tokens"),
        usage("output_tokens"),
        usage("total_tokens"),
        metadata("session_id"),
        metadata("developer_id"),
        metadata("repo"),
        metadata("end_user"),
        metadata("team"),
        offset,
    )


def _chunks(path: str) -> Iterator[list[bytes]]:
    """The lines of the file, as many at once as the daemon takes."""
    offset = 0
    file = os.open(path, os.O_RDONLY)
    try:
        while data := os.pread(file, READ_BYTES, offset):
            lines = data.split(b"\n")
            offset += len(data) - len(lines.pop())
            yield lines
    finally:
        os.close(file)


def _main() -> None:
    """Prints how many lines it read (0: not known) and in how many seconds, as JSON."""
    what, *arguments = sys.argv[1:]
    if what == "prodlensd":
        lines, wall_s = 0, prodlensd()
    elif what == "rows":
        lines, wall_s = rows(*arguments)
    else:
        lines, wall_s = loads(*arguments)
    print(json.dumps({"lines": lines, "wall_s": wall_s}))


if __name__ == "__main__":
    _main()
