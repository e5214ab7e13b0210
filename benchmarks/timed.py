"""Runs one thing in a process of its own and prints what it cost, without the interpreter's start.

python -m benchmarks.timed prodlensd        `prodlensd run --once` in $PRODLENSD_HOME
python -m benchmarks.timed rows FILE STORE  the bare loop: orjson.loads and an insert of 40 columns
python -m benchmarks.timed loads FILE       orjson.loads of each line, and nothing else
python -m benchmarks.timed transcripts AGENT FOLDER STORE
                                            the bare loop for its transcripts
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from operator import add, sub
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw
import orjson

from benchmarks import bare_transcripts
from prodlensd.cli.run import command as run_command
from prodlensd.logs import READ_BYTES

_COLUMNS: Final = (
    "started id call_id session_id session_via developer_id developer_via repo model provider "
    "call_type tokens_in tokens_out total_tokens cache_read_tokens cache_write_tokens "
    "cache_write_1h_tokens reasoning_tokens audio_in_tokens audio_out_tokens latency_ms ttft_ms "
    "status status_code cache_hit service_tier end_user tags error_class stream model_group "
    "attempted_retries attempted_fallbacks team key_alias key_hash cost_usd region source_id "
    "source_offset"
).split()


class Cost(NamedTuple):
    """Seconds; those of the CPU are of this process only, and of all its threads."""

    wall_s: float
    cpu_s: float


_NOTHING: Final[dict[str, Any]] = {}


def prodlensd() -> Cost:
    """The whole of the real command; what it read, its ledger says."""
    began = _now()
    with redirect_stdout(sys.stderr):  # ours is the figure
        run_command(["--once"], standalone_mode=False)
    return _since(began)


def rows(path: str, store: str) -> tuple[int, Cost]:
    """As little as anybody could do who keeps the lines: as durable, in batches of the same size.

    No identity, no price, no checkpoint, no index: a second run would insert everything again.
    """
    began = _now()
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
    return lines, _since(began)


def transcripts(agent: str, folder: str, store: str) -> tuple[int, Cost]:
    """See `bare_transcripts`."""
    began = _now()
    return bare_transcripts.keep(agent, Path(folder), store), _since(began)


def loads(path: str) -> tuple[int, Cost]:
    """Only the decoding is timed, not the reading of the file."""
    lines, spent = 0, Cost(0, 0)
    decode = orjson.loads
    for chunk in _chunks(path):
        began = _now()
        for line in chunk:
            decode(line)
        spent = Cost(*map(add, spent, _since(began)))
        lines += len(chunk)
    return lines, spent


def _now() -> Cost:
    return Cost(time.perf_counter(), time.process_time())


def _since(began: Cost) -> Cost:
    return Cost(*map(sub, _now(), began))


def _row(record: dict[str, Any], offset: int) -> tuple[object, ...]:
    get = record.get
    attributes = get("attributes", _NOTHING).get
    usage = get("usage", _NOTHING).get
    details = usage("prompt_tokens_details", _NOTHING).get
    written = details("cache_creation_token_details", _NOTHING).get
    output = usage("completion_tokens_details", _NOTHING).get
    metadata = get("metadata", _NOTHING).get
    tags = metadata("tags")
    return (
        get("timestamp"),
        get("id"),
        get("litellm_call_id"),
        metadata("session_id"),
        metadata("session_via"),
        metadata("developer_id"),
        metadata("developer_via"),
        metadata("repo"),
        attributes("llm.model_name"),
        attributes("provider"),
        attributes("call_type"),
        usage("prompt_tokens"),
        usage("completion_tokens"),
        usage("total_tokens"),
        details("cached_tokens"),
        details("cache_write_tokens"),
        written("ephemeral_1h_input_tokens"),
        output("reasoning_tokens"),
        details("audio_tokens"),
        output("audio_tokens"),
        attributes("latency_ms"),
        attributes("ttft_ms"),
        attributes("status"),
        attributes("status_code"),
        attributes("cache_hit"),
        attributes("service_tier"),
        metadata("end_user"),
        None if tags is None else ",".join(tags),
        attributes("error_class"),
        attributes("stream"),
        attributes("model_group"),
        attributes("attempted_retries"),
        attributes("attempted_fallbacks"),
        metadata("team"),
        metadata("key_alias"),
        metadata("key_hash"),
        get("cost_usd"),
        attributes("region"),
        1,
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
    """Prints how many lines it read (0: not known) and what that cost, as JSON."""
    what, *arguments = sys.argv[1:]
    if what == "prodlensd":
        lines, cost = 0, prodlensd()
    elif what == "rows":
        lines, cost = rows(*arguments)
    elif what == "transcripts":
        lines, cost = transcripts(*arguments)
    else:
        lines, cost = loads(*arguments)
    print(json.dumps({"lines": lines, **cost._asdict()}))


if __name__ == "__main__":
    _main()
