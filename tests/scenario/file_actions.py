"""A model of what writers, rotators and people do to log files, beside the daemon that reads them.

The oracle knows nothing of keys, chains or offsets. It counts lines as they are written:

* a line that carries ids is one call, however often it stands anywhere;
* any other line is as many calls as it was written times. Copying files is not writing.

So no line without ids is ever written twice, but where a rule repeats it within one append.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from prodlensd.daemon import loop as daemon_module
from prodlensd.logs import source as source_module
from prodlensd.model import digest_of
from tests.scenario.deaths import DiedError
from tests.scenario.driven import DaemonMachine

MAX_LINE_BYTES = 1500
MODEL = "acme/m"
#: Added to the number of the second call on a line of many.
MANY = 1_000_000

_LAST_INDEX = 8
_LONG_AGO_S = 1_700_000_000
_STEPS = 30
_STEPS_TO_LET_GO = 3


def record(number: int, *, ids: bool, pad: int = 0) -> bytes:
    """A trace line of session `s<number>`, without its newline.

    The number comes first, so that no two lines have the same first half.
    """
    told: dict[str, Any] = {
        "n": number,
        "timestamp": f"2026-01-{1 + number % 3:02d}T00:00:{number % 60:02d}Z",
        "attributes": {"llm.model_name": MODEL},
        "usage": {"input_tokens": 1, "output_tokens": number},
        "metadata": {"session_id": f"s{number}"},
        "cost_usd": 0.001,
        "pad": "x" * pad,
    }
    if ids:
        told |= {"id": f"chatcmpl-{number}", "litellm_call_id": f"call-{number}"}
    return json.dumps(told).encode()


def spend_row(number: int) -> bytes:
    """A row of LiteLLM's spend logs, of the same call as the record with ids of this number."""
    told = {
        "n": number,
        "request_id": f"chatcmpl-{number}",
        "litellm_call_id": f"call-{number}",
        "call_type": "acompletion",
        "startTime": f"2026-01-{1 + number % 3:02d} 00:00:{number % 60:02d}.000",
        "model": MODEL,
        "spend": 0.001,
        "prompt_tokens": 1,
        "completion_tokens": number,
        "total_tokens": 1 + number,
        "session_id": f"s{number}",
        "metadata": {"session_id": f"s{number}"},
    }
    return json.dumps(told).encode()


def many(number: int, *, with_refused: bool = False) -> bytes:
    """A line of two calls, one record that is no call, and perhaps one that cannot be read."""
    refused = json.dumps({"n": number, "told": "in a format that nobody knows"}).encode()
    prompt = {"stringValue": "codex.user_prompt"}
    passed_over = json.dumps({"n": number, "timeUnixNano": "1", "body": prompt}).encode()
    calls = (record(number, ids=True), record(number + MANY, ids=False))
    records = [calls[0], passed_over, calls[1], *([refused] if with_refused else [])]
    return b"[%b]" % b", ".join(records)


def records_of(line: bytes) -> list[bytes]:
    """The records on a line but those that are no calls; of most lines it is the line."""
    if not line.startswith(b"[{"):
        return [line]
    try:
        held = json.loads(line)
    except ValueError:
        return [line]  # a torn one
    return [json.dumps(one).encode() for one in held if "body" not in one]


KINDS: dict[str, Callable[[int], bytes]] = {
    "ids": lambda number: record(number, ids=True),
    "no ids": lambda number: record(number, ids=False),
    "row": spend_row,
    "garbage": lambda number: b"%d garbage \xff\x00" % number,
    "blank": lambda _: b"",
    "spaces": lambda _: b" \t\r",
    "carriage return": lambda number: record(number, ids=number % 2 == 0) + b"\r",
    "many": many,
    "many, one refused": lambda number: many(number, with_refused=True),
    "too long": lambda number: record(number, ids=True, pad=2 * MAX_LINE_BYTES),
}


class Written:
    """Every line that was ever complete, and how many calls or dead letters it stands for."""

    def __init__(self) -> None:
        self.lines: Counter[bytes] = Counter()
        self.halves: dict[bytes, bytes] = {}  # half line → the rest of it
        self.number = 0

    def new(self, kind: str) -> bytes:
        self.number += 1
        return KINDS[kind](self.number)

    def note(self, lines: list[bytes], *, again: bool = True) -> None:
        for line in (record for each in lines for record in records_of(each)):
            if line.strip():
                identified = b"litellm_call_id" in line and len(line) <= MAX_LINE_BYTES
                once = identified or not again
                self.lines[line] = 1 if once else self.lines[line] + 1

    def session(self, line: bytes) -> str | None:
        """The session of a line that is a trace; None of a line that is a dead letter."""
        try:
            told = json.loads(line)
        except ValueError:
            return None
        if "metadata" not in told:
            return None
        return told["metadata"]["session_id"] if len(line) <= MAX_LINE_BYTES else None


class Totals(Counter[str]):
    """What happened, over all histories: a fault that never came proves nothing."""

    def __str__(self) -> str:
        return ", ".join(f"{count} {what}" for what, count in sorted(self.items()))


class Files:
    """The log folder, and the programs that write there."""

    def __init__(self, folder: Path, written: Written, totals: Totals) -> None:
        self.folder = folder
        self.written = written
        self.totals = totals
        self.writers: list[BinaryIO] = []
        self.backups: list[tuple[str, bytes]] = []
        self._made = 0

    def names(self) -> list[Path]:
        """The plain files, without those that were compressed."""
        return sorted(path for path in self.folder.iterdir() if path.suffix != ".gz")

    def pick(self, index: int) -> Path:
        """A file that is there; one that is not when there is none, or the index is over 8."""
        names = self.names()
        if not names or index > _LAST_INDEX:
            return self.folder / f"{'abc'[index % 3]}.jsonl"
        return names[index % len(names)]

    def another(self, path: Path) -> Path:
        """A free name that sorts before or after the others."""
        self._made += 1
        stem = path.name.split(".")[0]
        return self.folder / f"{stem}.jsonl.{(self._made * 37) % 100:02d}-{self._made}"

    @contextmanager
    def writer(self, path: Path) -> Iterator[BinaryIO]:
        """Writes where the content ends: at the end, or where zeros stand for what is to come."""
        content = path.read_bytes() if path.exists() else b""
        written = content.rstrip(b"\0")
        if len(written) == len(content):
            with path.open("ab", buffering=0) as file:
                yield file
        else:
            with path.open("r+b", buffering=0) as file:
                file.seek(len(written))
                yield file
            self.totals["writes into zeros"] += 1

    def complete(self, path: Path) -> None:
        """The writer ends the line that it had begun."""
        content = path.read_bytes().rstrip(b"\0") if path.exists() else b""
        tail = content.rpartition(b"\n")[2]
        if rest := self.written.halves.get(tail):
            with self.writer(path) as file:
                file.write(rest + b"\n")
            self.written.note([tail + rest], again=False)

    def write(self, path: Path, lines: list[bytes]) -> None:
        self.complete(path)
        with self.writer(path) as file:
            self.write_to(file, path, lines)

    def append(self, path: Path, lines: list[bytes]) -> None:
        """At the end of the file, whatever stands there."""
        with path.open("ab", buffering=0) as file:
            self.write_to(file, path, lines)

    def write_to(self, file: BinaryIO, path: Path | None, lines: list[bytes]) -> None:
        """Writes lines through a descriptor; `path` is another way to the same file."""
        tail = b""
        if path is not None:
            self.complete(path)
            begin = file.tell() if "+" in file.mode else path.stat().st_size
            tail = path.read_bytes()[:begin].rpartition(b"\n")[2]
        if not lines:
            return
        file.write(b"".join(line + b"\n" for line in lines))
        if tail.strip(b"\0"):  # what a cut has left: the writer itself tears this one
            self.written.note([tail.lstrip(b"\0") + lines[0]], again=False)
            self.written.note([tail + lines[0]], again=False)
            lines = lines[1:]
        self.written.note(lines)
        self.totals["lines"] += len(lines)

    def write_half(self, path: Path, line: bytes, cut: int) -> None:
        self.complete(path)
        if path.exists() and path.read_bytes().rstrip(b"\0")[-1:] not in (b"", b"\n"):
            return
        half = line[: 12 + cut % (len(line) - 12)]
        self.written.halves[half] = line[len(half) :]
        with self.writer(path) as file:
            file.write(half)
        self.totals["half lines"] += 1

    def copy(self, path: Path, *, old: bool = False) -> Path:
        copy = self.another(path)
        shutil.copy(path, copy)
        if old:
            os.utime(copy, (_LONG_AGO_S, _LONG_AGO_S))
        assert copy.stat().st_ino != path.stat().st_ino
        return copy

    def truncate(self, path: Path, size: int = 0) -> None:
        before = path.stat()
        os.truncate(path, size)
        after = path.stat()
        assert after.st_ino == before.st_ino
        if after.st_size < before.st_size:
            self.totals["truncations"] += 1

    def contents(self) -> Iterator[bytes]:
        for path in self.folder.iterdir():
            content = path.read_bytes()
            yield gzip.decompress(content) if path.suffix == ".gz" else content

    def close(self) -> None:
        for writer in self.writers:
            writer.close()


class Machine(DaemonMachine):
    """What destroys no line: afterwards the ledger holds just what was written."""

    destructive = False

    def __init__(self, world_of: Callable[[Path], Any], folder: Path, totals: Totals) -> None:
        super().__init__()
        self.totals = totals
        self.patch = pytest.MonkeyPatch()
        folder.mkdir(parents=True)
        self.folder = folder
        self.world = world_of(folder)
        self.world.max_line_bytes = MAX_LINE_BYTES
        self.written = Written()
        self.files = Files(self.world.logs, self.written, totals)
        self.up = True
        self._start_again()
        totals["histories"] += 1

    # The daemon

    @initialize(
        read_bytes=st.sampled_from([64, 100, 257, 1024, 4096, 1 << 22]),
        batch=st.sampled_from([1, 2, 3, 5, 1000]),
    )
    def sizes(self, read_bytes: int, batch: int) -> None:
        self.patch.setattr(source_module, "READ_BYTES", read_bytes)
        self.patch.setattr(daemon_module, "READ_BYTES", read_bytes)
        self.world.batch_max_lines = batch
        self._start_again()
        for path in map(self.files.pick, (9, 10)):
            self.files.write(path, [self.written.new(kind) for kind in KINDS])

    @rule()
    def step(self) -> None:
        self._step()
        self.totals["steps"] += 1

    @rule()
    def restart(self) -> None:
        self._start_again()

    @rule()
    def stop(self) -> None:
        self._stop()

    @rule(
        seam=st.sampled_from(["commit", "commit", "commit", "register", "replace", "retire"]),
        after=st.booleans(),
        nth=st.integers(1, 4),
    )
    def crash(self, seam: str, after: bool, nth: int) -> None:
        """Dies before or after the n-th call, in whatever the daemon has to do now."""
        self._start()
        self.files.write(self.files.pick(nth), [self.written.new("no ids") for _ in range(3)])
        store = self.world.store
        owner = store if seam == "commit" else store.sources
        real = getattr(owner, seam)
        calls = 0

        def dying(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == nth and not after:
                raise DiedError
            done = real(*arguments)
            if calls == nth:
                raise DiedError
            return done

        self.patch.setattr(owner, seam, dying)
        try:
            self.world.step()
        except DiedError:
            self.totals[f"crashes {'after' if after else 'before'} {seam}"] += 1
            self.totals["crashes"] += 1
            self._start_again()
        else:
            setattr(owner, seam, real)

    @rule()
    def lose_checkpoints(self) -> None:
        self._start()
        with self.world.store.db as db:
            db.execute("UPDATE source SET state = 'gone'")
            self.totals["lost checkpoints"] += db.changes()
        self._start_again()

    # Writers

    @rule(
        index=st.integers(0, 9),
        kinds=st.lists(
            st.sampled_from([*KINDS, "no ids", "no ids", "ids"]), min_size=1, max_size=5
        ),
    )
    def write(self, index: int, kinds: list[str]) -> None:
        self.files.write(self.files.pick(index), [self.written.new(kind) for kind in kinds])

    @rule(
        index=st.integers(0, 9),
        kind=st.sampled_from(["no ids", "garbage", "ids", "too long"]),
        between=st.lists(st.sampled_from(list(KINDS)), max_size=2),
    )
    def write_the_same_twice(self, index: int, kind: str, between: list[str]) -> None:
        same = self.written.new(kind)
        others = [self.written.new(other) for other in between]
        self.files.write(self.files.pick(index), [same, *others, same])
        self.totals["repeated lines"] += 1

    @rule(
        index=st.integers(0, 9),
        kind=st.sampled_from(["no ids", "ids", "too long"]),
        cut=st.integers(0, 4000),
    )
    def write_half(self, index: int, kind: str, cut: int) -> None:
        self.files.write_half(self.files.pick(index), self.written.new(kind), cut)

    @rule(index=st.integers(0, 9), size=st.integers(1, 9000))
    def give_size(self, index: int, size: int) -> None:
        """A file gets the size that it is to have, before the bytes; the writer fills it in."""
        path = self.files.pick(index)
        path.touch()
        os.truncate(path, path.stat().st_size + size)
        self.totals["sizes before bytes"] += 1

    @rule(
        index=st.integers(0, 9),
        nth=st.integers(1, 12),
        kinds=st.lists(st.sampled_from(["ids", "no ids", "garbage"]), min_size=1, max_size=3),
    )
    def write_during_a_step(self, index: int, nth: int, kinds: list[str]) -> None:
        """A writer goes on just before the n-th read of a file in one step of the daemon."""
        self._start()
        path = self.files.pick(index)
        self.files.write(path, [self.written.new(kind) for kind in kinds])
        path.touch()
        os.truncate(path, path.stat().st_size + 2000)
        lines = [self.written.new(kind) for kind in kinds]
        real, calls = os.pread, 0

        def pread(file: int, count: int, offset: int) -> bytes:
            nonlocal calls
            calls += 1
            if calls == nth:
                self.files.write(path, lines)
                self.totals["writes during a read"] += 1
            return real(file, count, offset)

        self.patch.setattr(os, "pread", pread)
        try:
            self.world.step()
        finally:
            self.patch.setattr(os, "pread", real)
        self._step()

    @rule(index=st.integers(0, 9))
    def finish_half(self, index: int) -> None:
        self.files.complete(self.files.pick(index))

    @rule(index=st.integers(0, 9), kinds=st.lists(st.sampled_from(list(KINDS)), max_size=3))
    def write_late(self, index: int, kinds: list[str]) -> None:
        """Through the descriptor from before a rotation."""
        if not self.files.writers:
            return
        writer = self.files.writers[index % len(self.files.writers)]
        inode = os.fstat(writer.fileno()).st_ino
        path = next((p for p in self.files.names() if p.stat().st_ino == inode), None)
        if path is not None or self.destructive:
            self.files.write_to(writer, path, [self.written.new(kind) for kind in kinds])
            self.totals["late writes"] += 1

    # Rotators

    @rule(index=st.integers(0, 8), create=st.booleans())
    def rotate(self, index: int, create: bool) -> None:
        path = self.files.pick(index)
        if not path.exists():
            return
        self.files.writers.append(path.open("ab", buffering=0))
        moved = path.rename(self.files.another(path))
        assert moved.stat().st_ino == os.fstat(self.files.writers[-1].fileno()).st_ino
        if create:
            self.files.write(path, [self.written.new("no ids")])
        self.totals["rotations"] += 1

    @rule(index=st.integers(0, 8), late=st.integers(0, 2), regrown=st.integers(0, 6))
    def copytruncate(self, index: int, late: int, regrown: int) -> None:
        """Lines that come between the copy and the truncation are seen in time by the daemon."""
        path = self.files.pick(index)
        if not path.exists():
            return
        self.files.complete(path)
        self.files.copy(path)
        self.files.write(path, [self.written.new("no ids") for _ in range(late)])
        self._step()
        self.files.truncate(path)
        self.files.write(path, [self.written.new("no ids") for _ in range(regrown)])

    @rule(index=st.integers(0, 8))
    def compress(self, index: int) -> None:
        path = self.files.pick(index)
        if not path.exists():
            return
        self.files.complete(path)
        zipped = path.with_name(f"{self.files.another(path).name}.gz")
        zipped.write_bytes(gzip.compress(path.read_bytes(), compresslevel=1))
        self._unlink(path)
        self.totals["compressed files"] += 1

    # People

    @rule(index=st.integers(0, 8), old=st.booleans())
    def copy(self, index: int, old: bool) -> None:
        path = self.files.pick(index)
        if path.exists():
            self.files.copy(path, old=old)
            self.totals["copies"] += 1

    @rule(index=st.integers(0, 8))
    def save_from_an_editor(self, index: int) -> None:
        """A new file with the old content and one line more takes the old one's place."""
        path = self.files.pick(index)
        if not path.exists():
            return
        self.files.complete(path)
        inode = path.stat().st_ino
        draft = self.folder / "draft"
        shutil.copy(path, draft)
        self.files.write(draft, [self.written.new("no ids")])
        self._forget_writers(path)
        draft.replace(path)
        assert path.stat().st_ino != inode
        self.totals["editor saves"] += 1

    @rule(index=st.integers(0, 8))
    def link(self, index: int) -> None:
        path = self.files.pick(index)
        if path.exists():
            self.files.another(path).hardlink_to(path)
            assert path.stat().st_nlink > 1
            self.totals["hard links"] += 1

    @rule(index=st.integers(0, 8), down=st.booleans(), grown=st.integers(1, 6))
    def recreate(self, index: int, down: bool, grown: int) -> None:
        """A file that was read is deleted; the next one may get its inode."""
        path = self.files.pick(index)
        if not path.exists():
            return
        self.files.complete(path)
        self._step()
        if down:
            self._stop()
        inode = path.stat().st_ino
        self._unlink(path)
        self.files.write(path, [self.written.new("no ids") for _ in range(grown)])
        self.totals["reused inodes"] += path.stat().st_ino == inode

    def _unlink(self, path: Path) -> None:
        self._forget_writers(path)
        path.unlink()

    def _forget_writers(self, path: Path) -> None:
        """Who writes to this file, stops: what is written to a file without a name may be lost."""
        status = path.stat()
        if self.destructive or status.st_nlink > 1:
            return
        for writer in list(self.files.writers):
            if os.fstat(writer.fileno()).st_ino == status.st_ino:
                writer.close()
                self.files.writers.remove(writer)

    # What must hold

    def stored(self) -> Counter[bytes]:
        """The lines in the ledger, by their text."""
        sessions = {self.written.session(line): line for line in self.written.lines}
        stored: Counter[bytes] = Counter()
        for session, tokens, call_id in self.world.query(
            "SELECT session_id, tokens_out, call_id FROM traces"
        ):
            assert session in sessions, f"invented: {session}"
            line = sessions[session]
            identified = b"litellm_call_id" in line
            assert (session, call_id) == (f"s{tokens}", f"call-{tokens}" if identified else None)
            stored[line] += 1
        by_digest = {digest_of(line): line for line in self.written.lines}
        for raw, reason, digest in self.world.query("SELECT raw, reason, digest FROM dead_letter"):
            if reason == "unterminated" and self.destructive:
                continue
            if digest is not None:  # a record that shared its line
                assert raw == b""
                raw = by_digest[digest]  # noqa: PLW2901
            self.totals["torn"] += raw not in self.written.lines
            assert raw in self.written.lines, f"torn: {raw!r}"
            stored[raw] += 1
        return stored

    def _note(self, fault: str, lines: Counter[bytes]) -> None:
        self.totals[fault] += lines.total()

    def check_stored(self) -> None:
        stored = self.stored()
        self._note("doubled", doubled := stored - self.written.lines)
        assert doubled == Counter(), "stored twice"
        self._note("missing", missing := self.written.lines - stored)
        assert missing == Counter(), "missing"

    def teardown(self) -> None:
        try:
            for _ in range(_STEPS_TO_LET_GO):
                self._step()
            self.totals["lines stored"] += sum(self.stored().values())
        finally:
            self._stop()
            self.files.close()
            self.patch.undo()
            shutil.rmtree(self.folder)


class DestructiveMachine(Machine):
    """With what destroys lines: nothing is doubled, torn or invented; what can be read is kept."""

    destructive = True

    def check_stored(self) -> None:
        stored = self.stored()
        self._note("doubled", doubled := stored - self.written.lines)
        assert doubled == Counter(), "stored twice"
        readable = {
            record
            for content in self.files.contents()
            for line in content.split(b"\n")[:-1]
            if line.strip(b" \t\r\0")
            for record in records_of(line.lstrip(b"\0"))
        }
        self._note("missing", missing := Counter(readable - stored.keys()))
        assert missing == Counter(), "missing"

    @rule(index=st.integers(0, 8), late=st.integers(1, 3), regrown=st.integers(0, 6))
    def copytruncate_busy(self, index: int, late: int, regrown: int) -> None:
        """Lines that come between the copy and the truncation are nobody's."""
        path = self.files.pick(index)
        if path.exists():
            self.files.copy(path)
            self.files.write(path, [self.written.new("no ids") for _ in range(late)])
            self.files.truncate(path)
            self.files.write(path, [self.written.new("no ids") for _ in range(regrown)])

    @rule(index=st.integers(0, 8), cut=st.integers(0, 5000), regrown=st.integers(0, 9))
    def cut(self, index: int, cut: int, regrown: int) -> None:
        path = self.files.pick(index)
        if path.exists():
            self.files.truncate(path, cut % (path.stat().st_size + 1))
            self.files.write(path, [self.written.new("no ids") for _ in range(regrown)])

    @rule(index=st.integers(0, 8), first=st.booleans(), grown=st.integers(1, 3))
    def leave_a_hole(self, index: int, first: bool, grown: int) -> None:
        """A writer without O_APPEND goes on where it was, or beyond what is there."""
        path = self.files.pick(index)
        if not path.exists() or not (size := path.stat().st_size):
            return
        self.files.complete(path)
        if first:
            self.files.truncate(path)
        start = path.stat().st_size
        os.truncate(path, start + size)
        self.files.append(path, [self.written.new("no ids") for _ in range(grown)])
        assert path.read_bytes()[start : start + size] == bytes(size)
        self.totals["holes"] += 1

    @rule(index=st.integers(0, 8))
    def back_up(self, index: int) -> None:
        path = self.files.pick(index)
        if path.exists():
            self.files.backups.append((path.name, path.read_bytes()))

    @precondition(lambda self: self.files.backups)
    @rule(index=st.integers(0, 9), in_place=st.booleans(), grown=st.integers(0, 2))
    def restore(self, index: int, in_place: bool, grown: int) -> None:
        name, content = self.files.backups[index % len(self.files.backups)]
        path = self.files.folder / name
        if not in_place:
            path.unlink(missing_ok=True)
        path.write_bytes(content)
        self.files.write(path, [self.written.new("no ids") for _ in range(grown)])
        self.totals["restored backups"] += 1

    @rule(index=st.integers(0, 8))
    def delete(self, index: int) -> None:
        path = self.files.pick(index)
        if path.exists():
            path.unlink()
            self.totals["deletions"] += 1

    @rule(index=st.integers(0, 8))
    def move_out(self, index: int) -> None:
        path = self.files.pick(index)
        if path.exists():
            path.rename(self.folder / f"away-{self.written.number}")
            self.totals["moved out"] += 1


def histories(
    machine: Callable[..., RuleBasedStateMachine],
    world_of: Callable[[Path], Any],
    folder: Path,
    examples: int,
    totals: Totals,
    seeded: int | None = None,
) -> None:
    """Runs so many histories (of a seed, or of any) and adds up what happened in them."""

    def history() -> RuleBasedStateMachine:
        return machine(world_of, folder / f"history-{totals['histories']}", totals)

    run_state_machine_as_test(
        cast("Any", history if seeded is None else seed(seeded)(history)),
        settings=settings(
            max_examples=examples,
            stateful_step_count=_STEPS,
            suppress_health_check=list(HealthCheck),
            database=None,
            # A failing history is readable as it is; making it smaller takes minutes.
            phases=[Phase.generate],
        ),
    )
