"""The least that anybody could do who keeps the calls of transcripts: what ours is compared with.

As durable, in batches of the same size, with as many columns to a call and a note of its key. Each
line is believed to be as usual. No price, no checkpoint, no repository, no sums, and no odd line: a
second run would insert all calls again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from io import BytesIO
from operator import sub
from pathlib import Path
from typing import Final

import apsw
import msgspec

from prodlensd.ledger.rows import COLUMNS
from prodlensd.logs import READ_BYTES

Row = tuple[object, ...]
#: One that has as many values as a row of ours mostly has.
_VALUES: Final = 27
_NO_VALUES: Final = (None,) * (len(COLUMNS) - _VALUES)
_CONSTANT: Final = ("dev@acme.io", "git", "acme/app", "transcript", "success", False, 1, "table", 1)


class _Usage(msgspec.Struct, gc=False):
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0


class _Message(msgspec.Struct, gc=False):
    id: str = ""
    model: str = ""
    usage: _Usage | None = None


class _Answer(msgspec.Struct, gc=False):
    message: _Message
    timestamp: str
    session: str = msgspec.field(name="sessionId")
    folder: str = msgspec.field(name="cwd")
    branch: str = msgspec.field(name="gitBranch")


def claude_code(lines: list[bytes]) -> Iterator[Row]:
    """The calls of a file: of several lines of an answer the one with the most output."""
    decode = msgspec.json.Decoder(_Answer).decode
    fullest: dict[str, _Answer] = {}
    for line in lines:
        if line.rfind(b'"usage"') < 0:
            continue
        answer = decode(line)
        message = answer.message
        if (usage := message.usage) is None:
            continue
        known = fullest.get(message.id)
        if known is None or known.message.usage.output_tokens < usage.output_tokens:  # type: ignore[union-attr]
            fullest[message.id] = answer
    for key, answer in fullest.items():
        usage = answer.message.usage or _Usage()
        cached = usage.cache_read_input_tokens, usage.cache_creation_input_tokens
        about = answer.session, answer.folder, answer.branch, answer.message.model
        yield _row(key, answer.timestamp, about, usage.input_tokens, cached, usage.output_tokens)


class _Totals(msgspec.Struct, gc=False):
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    reasoning_output_tokens: int


class _Info(msgspec.Struct, gc=False):
    total_token_usage: _Totals


class _Payload(msgspec.Struct, gc=False):
    info: _Info | None = None
    id: str = ""
    model: str = ""
    cwd: str = ""


class _Line(msgspec.Struct, gc=False):
    timestamp: str
    payload: _Payload


#: A line's type stands at its beginning.
_HEAD_BYTES: Final = 100
_MARKERS: Final = (b'"token_count"', b'"turn_context"', b'"session_meta"')


def codex(lines: list[bytes]) -> Iterator[Row]:
    """The calls of a file: by how much its counter has grown."""
    decode = msgspec.json.Decoder(_Line).decode
    thread = model = folder = ""
    before = (0, 0, 0, 0)
    for line in lines:
        if not any(line.find(marker, 0, _HEAD_BYTES) > 0 for marker in _MARKERS):
            continue
        record = decode(line)
        payload = record.payload
        thread, model = thread or payload.id, payload.model or model
        folder = payload.cwd or folder
        if payload.info is None:
            continue
        total = payload.info.total_token_usage
        tokens = total.input_tokens, total.cached_input_tokens
        after = (*tokens, total.output_tokens, total.reasoning_output_tokens)
        if after != before:
            tokens_in, read, tokens_out, reasoning = map(sub, after, before)
            before = after
            about = (thread, folder, "", model)
            key = f"{thread}/{after}"
            yield _row(key, record.timestamp, about, tokens_in, (read, reasoning), tokens_out)


def _row(
    key: str,
    started: str,
    about: tuple[str, str, str, str],
    tokens_in: int,
    parts: tuple[int, int],
    tokens_out: int,
) -> Row:
    total = tokens_in + tokens_out
    counts = (tokens_in, tokens_out, total, *parts, 0, total, total)
    return (started, key, key, *about, *_CONSTANT, *counts, "{}", 1, 0, *_NO_VALUES)


_AGENTS: Final[dict[str, Callable[[list[bytes]], Iterator[Row]]]] = {
    "claude_code": claude_code,
    "codex": codex,
}


def keep(agent: str, folder: Path, store: str) -> int:
    """Keeps the calls of all transcripts in the folder; how many lines these have."""
    db = apsw.Connection(store)
    db.execute("PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
    db.execute(f"CREATE TABLE bare ({', '.join(COLUMNS)})")
    db.execute("CREATE TABLE note (key PRIMARY KEY, started, of) WITHOUT ROWID")
    insert = f"INSERT INTO bare VALUES ({','.join('?' * len(COLUMNS))})"  # noqa: S608
    note = "INSERT INTO note VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
    count = size_bytes = 0
    rows: list[Row] = []
    for lines in _files(folder):
        count += len(lines)
        size_bytes += sum(map(len, lines))
        rows += _AGENTS[agent](lines)
        if size_bytes >= READ_BYTES:
            _commit(db, insert, note, rows)
            size_bytes, rows = 0, []
    _commit(db, insert, note, rows)
    db.close()
    return count


def _commit(db: apsw.Connection, insert: str, note: str, rows: list[Row]) -> None:
    with db:
        db.executemany(insert, rows)
        db.executemany(note, [(row[1], row[0], row[1]) for row in rows])


def _files(folder: Path) -> Iterator[list[bytes]]:
    """The lines of each file; those of the backlog are smaller than what the daemon reads once."""
    for path in folder.rglob("*.jsonl"):
        file = os.open(path, os.O_RDONLY)
        yield BytesIO(os.pread(file, os.fstat(file).st_size, 0)).readlines()
        os.close(file)
