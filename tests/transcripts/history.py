"""A model of what coding agents and people do to transcripts, beside the daemon that reads them.

The oracle knows nothing of keys, chains or offsets. A call has the time of the first line that was
ever written of it and the usage of the last, however many files hold copies of them.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from prodlensd.daemon import loop as daemon_module
from prodlensd.logs import source as source_module
from prodlensd.model import Folder
from tests.scenario.conftest import World
from tests.scenario.deaths import DiedError
from tests.scenario.driven import DaemonMachine
from tests.scenario.file_actions import Totals
from tests.transcripts.calls import DAY_US, Call
from tests.transcripts.claude_code import Session, Writing
from tests.transcripts.codex import Thread
from tests.transcripts.corpus import BEGIN_US, CODEX_MODELS, MINUTE_US, Maker
from tests.transcripts.proxied import proxied

_STEPS_TO_LET_GO: Final = 3
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TOLD: Final = ("session_id", "model", "tokens_in", "tokens_out", "cache_read_tokens")
_INDEX: Final = st.integers(0, 9)


class TranscriptWorld(World):
    """The same machine, with the folders of two agents."""

    def __init__(self, folder: Path) -> None:
        self.claude_code, self.codex = folder / "projects", folder / "codex"
        super().__init__(folder)
        self.stop()
        self.transcripts = [
            Folder("claude_code", self.claude_code, ("*.jsonl",)),
            Folder("codex", self.codex, ("rollout-*.jsonl",)),
        ]
        for each in self.transcripts:
            each.path.mkdir()
        self._start()

    def check(self) -> None:
        """What holds of all rows holds of those that are there only before any is pruned."""
        if not self.query("SELECT 1 FROM pruned LIMIT 1"):
            super().check()


class Written:
    """A file of an agent's, and how much of it is on the disk."""

    def __init__(self, writer: Session | Thread, path: Path) -> None:
        self.writer = writer
        self.path = path
        self.lines = 0

    def flush(self) -> None:
        """Writes what is not on the disk yet."""
        new, self.lines = self.writer.lines[self.lines :], len(self.writer.lines)
        with self.path.open("ab") as file:
            file.write(b"".join(new))


class TranscriptMachine(DaemonMachine):
    """What destroys no line that was not read: afterwards the ledger holds just the true calls."""

    def __init__(self, world_of: Callable[[Path], Any], folder: Path, totals: Totals) -> None:
        super().__init__()
        self.totals = totals
        self.patch = pytest.MonkeyPatch()
        folder.mkdir(parents=True)
        self.folder = folder
        self.parquet = folder / "parquet"
        self.world = world_of(folder)
        self.up = True
        self.make = Maker(1, characters=30)
        self.random: Random = self.make.random
        self.moment_us = BEGIN_US
        self.files: list[Written] = []
        self.calls: dict[str, Call] = {}
        self.refused: set[bytes] = set()
        self.proxied: set[str] = set()
        self._start_again()
        totals["histories"] += 1

    # The daemon

    @initialize(
        read_bytes=st.sampled_from([64, 257, 1024, 4096, 1 << 22]),
        batch=st.sampled_from([1, 2, 3, 5, 1000]),
    )
    def sizes(self, read_bytes: int, batch: int) -> None:
        self.patch.setattr(source_module, "READ_BYTES", read_bytes)
        self.patch.setattr(daemon_module, "READ_BYTES", read_bytes)
        self.world.batch_max_lines = batch
        self._start_again()
        self.begin_session()
        self.begin_thread()

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

    @rule(after=st.booleans(), nth=st.integers(1, 4), index=_INDEX)
    def crash(self, after: bool, nth: int, index: int) -> None:
        """Dies before or after the n-th commit, in whatever the daemon has to do now."""
        self._start()
        self.answer(index, lines=2)
        real, commits = self.world.store.commit, 0

        def dying(*arguments: Any) -> Any:
            nonlocal commits
            commits += 1
            if commits == nth and not after:
                raise DiedError
            done = real(*arguments)
            if commits == nth:
                raise DiedError
            return done

        self.patch.setattr(self.world.store, "commit", dying)
        try:
            self.world.step()
        except DiedError:
            self.totals["crashes"] += 1
            self._start_again()
        else:
            self.world.store.commit = real

    @rule()
    def lose_checkpoints(self) -> None:
        self._start()
        with self.world.store.db as db:
            db.execute("UPDATE source SET state = 'gone'")
            self.totals["lost checkpoints"] += db.changes()
        self._start_again()

    @rule(days=st.integers(0, 3), keep=st.booleans())
    def compact(self, days: int, keep: bool) -> None:
        """Writes the snapshots; perhaps only these have the calls of some days from now on."""
        self._step()
        self._compact()
        if not keep:
            day = self.moment_us // DAY_US - days
            self.totals["pruned calls"] += self.world.prune(self.parquet, before_day=day)
            self.check_stored()

    def _compact(self) -> None:
        self.world.compact(self.parquet)
        archived = Counter(row for row, _ in self._archived())
        assert archived == self.stored()
        self.totals["snapshots"] += archived.total() > 0

    def _archived(self) -> list[tuple[tuple[Any, ...], tuple[int, int]]]:
        """Each row of the snapshots, and its place in the transcripts."""
        found = []
        for path in self.parquet.glob("*/*.parquet"):
            for row in pq.ParquetFile(path).read().to_pylist():
                at_us = (row["timestamp"] - _EPOCH) // timedelta(microseconds=1)
                told = [row[name] for name in _TOLD]
                place = (row["source_id"], row["source_offset"])
                found.append((self._known(row["call_id"], at_us, *told), place))
        return found

    # Claude Code

    def _now_us(self) -> int:
        """Time goes on, in steps that cross days."""
        self.moment_us += self.random.choice((MINUTE_US, MINUTE_US, DAY_US // 3))
        return self.moment_us

    def _sessions(self) -> list[Written]:
        return [file for file in self.files if isinstance(file.writer, Session)]

    def _threads(self) -> list[Written]:
        return [file for file in self.files if isinstance(file.writer, Thread)]

    def _add(self, writer: Session | Thread) -> Written:
        place = self.world.claude_code if isinstance(writer, Session) else self.world.codex
        path = place / writer.name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.files.append(Written(writer, path))
        self.files[-1].flush()
        return self.files[-1]

    @rule()
    def begin_session(self) -> None:
        session = Session(self.random, self.make.texts, self.make.uuid(), cwd="/home/dev/work")
        session.between(self._now_us())
        self._add(session)

    def _session(self, index: int) -> Written:
        found = self._sessions()
        return found[index % len(found)]

    def _call(self, session: Session) -> Call:
        return self.make.claude_call(session.session_id, self._now_us())

    @rule(index=_INDEX, lines=st.integers(1, 4))
    def answer(self, index: int, lines: int) -> None:
        file = self._session(index)
        session = file.writer
        assert isinstance(session, Session)
        call = self._call(session)
        session.answer(call, Writing(lines, asks=self.random.choice(("all", "some", "none"))))
        session.tool_result(self._now_us())
        self._note(call)
        file.flush()
        self.totals["answers"] += 1

    @rule(index=_INDEX, until=st.integers(1, 3), copied=st.booleans(), stepped=st.booleans())
    def answer_that_grows(self, index: int, until: int, copied: bool, stepped: bool) -> None:
        """A line at a time, while others read, copy, or fork the file; perhaps it never ends."""
        file = self._session(index)
        session = file.writer
        assert isinstance(session, Session)
        call = self._call(session)
        whole = Session(self.random, self.make.texts, session.session_id, cwd="/home/dev/work")
        outputs = tuple(sorted(self.random.randrange(1, call.usage.tokens_out) for _ in range(2)))
        whole.answer(call, Writing(3, outputs, late=True))
        for number, line in enumerate(whole.lines[:until]):
            session.lines.append(line)
            out = (*outputs, call.usage.tokens_out)[number]
            self._note(call._replace(usage=call.usage._replace(tokens_out=out)))
            file.flush()
            if stepped:
                self._step()
            if copied and not number:
                self.fork_session(index)
        self.totals["answers that grow"] += 1

    @rule(index=_INDEX)
    def other_lines(self, index: int) -> None:
        file = self._session(index)
        session = file.writer
        assert isinstance(session, Session)
        for write in (session.synthetic, session.api_error, session.odd, session.torn):
            write(self._now_us())
        self.refused.add(session.lines[-1])
        file.flush()

    @rule(index=_INDEX)
    def fork_session(self, index: int) -> None:
        session = self._session(index).writer
        assert isinstance(session, Session)
        self._add(session.forked(self.make.uuid(), marked=True))
        self.totals["forked sessions"] += 1

    @rule(index=_INDEX)
    def resume_with_all_lines(self, index: int) -> None:
        session = self._session(index).writer
        assert isinstance(session, Session)
        resumed = Session(self.random, self.make.texts, self.make.uuid(), cwd="/home/dev/work")
        session.copied_to(resumed)
        self._add(resumed)
        self.totals["resumed sessions"] += 1

    @rule(index=_INDEX)
    def call_through_the_proxy(self, index: int) -> None:
        """Its line of the log is written as the answer's last line is."""
        self.answer(index, lines=2)
        call = [*self.calls.values()][-1]
        with (self.world.logs / "traces.jsonl").open("ab") as file:
            file.write(proxied(call))
        self.proxied.add(f"call-{call.id}")
        self.totals["calls of two witnesses"] += 1

    # Codex

    @rule()
    def begin_thread(self) -> None:
        at_us = self._now_us()
        thread = Thread(self.random, self.make.texts, self._thread_id(at_us), at_us=at_us)
        thread.turn(at_us, CODEX_MODELS[0])
        self._add(thread)

    def _thread_id(self, at_us: int) -> str:
        digits = f"{at_us // 1000:012x}7{self.random.getrandbits(76):019x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def _thread(self, index: int) -> Written:
        found = self._threads()
        return found[index % len(found)]

    @rule(index=_INDEX, calls=st.integers(1, 3), again=st.integers(0, 2), stepped=st.booleans())
    def work(self, index: int, calls: int, again: int, stepped: bool) -> None:
        file = self._thread(index)
        thread = file.writer
        assert isinstance(thread, Thread)
        for _ in range(calls):
            call = self.make.codex_call(thread.thread_id, self._now_us(), thread.model)
            thread.call(call)
            self._note(call)
            for _ in range(again):
                thread.again(self._now_us(), call.usage)
            file.flush()
            if stepped:
                self._step()
        self.totals["calls of threads"] += calls

    @rule(index=_INDEX)
    def turn(self, index: int) -> None:
        file = self._thread(index)
        thread = file.writer
        assert isinstance(thread, Thread)
        thread.odd(self._now_us())
        thread.meta(self._now_us())
        thread.turn(self._now_us(), self.random.choice(CODEX_MODELS))
        file.flush()

    @rule(index=_INDEX)
    def restart_counter(self, index: int) -> None:
        thread = self._thread(index).writer
        assert isinstance(thread, Thread)
        thread.restart()
        self.totals["restarted counters"] += 1

    @rule(index=_INDEX, restamped=st.booleans())
    def fork_thread(self, index: int, restamped: bool) -> None:
        thread = self._thread(index).writer
        assert isinstance(thread, Thread)
        at_us = self._now_us()
        self._add(thread.forked(self._thread_id(at_us), at_us=at_us, restamped=restamped))
        self.totals["forked threads"] += 1

    @rule(index=_INDEX)
    def spawn(self, index: int) -> None:
        """A sub-agent that names its parent, copies nothing and counts from zero."""
        parent = self._thread(index).writer
        assert isinstance(parent, Thread)
        at_us = self._now_us()
        about = {"forked_from_id": parent.thread_id, "parent_thread_id": parent.thread_id}
        own = self._thread_id(at_us)
        self._add(Thread(self.random, self.make.texts, own, at_us=at_us, **about))
        self.totals["sub-agents"] += 1

    # What is read before what it is a copy of, as from another machine

    def _meanwhile(self, compacted: bool) -> None:
        """The daemon reads the copy; its calls are of a later time as yet, or smaller."""
        self._start()
        self.world.step()
        if compacted:
            self.world.compact(self.parquet)
        self.totals["copies before their originals"] += 1

    @rule(restamped=st.booleans(), compacted=st.booleans())
    def thread_after_its_fork(self, restamped: bool, compacted: bool) -> None:
        began_us = self._now_us()
        own = self._thread_id(began_us)
        parent = Thread(self.random, self.make.texts, own, at_us=began_us)
        parent.turn(began_us, CODEX_MODELS[1])
        calls = [self.make.codex_call(own, self._now_us(), parent.model) for _ in range(3)]
        for call in calls:
            parent.call(call)
            parent.again(call.first_us, call.usage)
        self.moment_us += DAY_US  # so that all calls have another day than their copies
        at_us = self._now_us()
        fork = parent.forked(self._thread_id(at_us), at_us=at_us, restamped=restamped)
        calls.append(self.make.codex_call(fork.thread_id, self._now_us(), fork.model))
        fork.call(calls[-1])
        self._add(fork)
        self._meanwhile(compacted)
        self.calls |= {call.id: call for call in calls}
        self._add(parent)

    @rule(only=st.integers(0, 2), compacted=st.booleans())
    def session_after_some_of_its_lines(self, only: int, compacted: bool) -> None:
        session = Session(self.random, self.make.texts, self.make.uuid(), cwd="/home/dev/work")
        part = Session(self.random, self.make.texts, self.make.uuid(), cwd="/home/dev/work")
        for _ in range(2):
            call = self._call(session)._replace(first_us=self._now_us() // DAY_US * DAY_US - 1000)
            session.answer(call, Writing(3, (1, 2), late=True))
            part.lines.append(session.lines[only - 3])
            self.calls[call.id] = call
        self._add(part)
        self._meanwhile(compacted)
        self._add(session)

    # Files

    def _file(self, index: int) -> Written:
        return self.files[index % len(self.files)]

    @rule(index=_INDEX, cut=st.integers(1, 400))
    def half_line(self, index: int, cut: int) -> None:
        """The last line comes in two parts, and the daemon looks between them."""
        file = self._file(index)
        if isinstance(file.writer, Session):
            file.writer.prompt(self._now_us())
        else:
            file.writer.again(self._now_us(), file.writer.total)
        line = file.writer.lines[-1]
        with file.path.open("ab") as opened:
            opened.write(line[: cut % len(line)])
        self._step()
        with file.path.open("ab") as opened:
            opened.write(line[cut % len(line) :])
        file.lines = len(file.writer.lines)
        self.totals["half lines"] += 1

    @rule(index=_INDEX, old=st.booleans())
    def copy(self, index: int, old: bool) -> None:
        """As from another machine: in another folder, under the same name."""
        path = self._file(index).path
        copy = path.parent.with_name(f"copy-{len(self.files)}-{self.moment_us}") / path.name
        copy.parent.mkdir(parents=True)
        shutil.copy(path, copy)
        if old:
            os.utime(copy, (1_700_000_000, 1_700_000_000))
        self._now_us()
        self.totals["copies"] += 1

    @rule(index=_INDEX)
    def move(self, index: int) -> None:
        file = self._file(index)
        moved = file.path.with_name(f"{file.path.stem}-{self._now_us()}.jsonl")
        file.path = file.path.rename(moved)
        self.totals["moves"] += 1

    @rule(index=_INDEX, kept=st.integers(0, 9), in_place=st.booleans())
    def write_anew(self, index: int, kept: int, in_place: bool) -> None:
        """The agent replaces a file that was read by one with fewer of its first lines."""
        file = self._file(index)
        if isinstance(file.writer, Thread):
            return  # the counters of a thread are only known from their first on
        self._step()
        file.writer.lines = file.writer.lines[-kept:] if kept else []
        if not in_place:
            file.path.unlink()
        file.path.write_bytes(file.writer.content)
        file.lines = len(file.writer.lines)
        self.totals["files written anew"] += 1

    @rule(index=_INDEX)
    def delete(self, index: int) -> None:
        """After thirty days, when it was read long ago; its agent may go on in a new file."""
        file = self._file(index)
        self._step()
        file.path.unlink()
        if isinstance(file.writer, Session):
            file.writer.lines, file.lines = [], 0
        else:
            file.lines = 0
        file.flush()
        self.totals["deletions"] += 1

    # What must hold

    def _note(self, call: Call) -> None:
        """A line that tells of this call is about to be written."""
        self.calls[call.id] = call

    def stored(self) -> Counter[tuple[Any, ...]]:
        """The calls in the ledger, and those that only the snapshots still have."""
        rows = self.world.query(f"SELECT call_id, started_us, {', '.join(_TOLD)} FROM traces")
        pruned = set(self.world.query("SELECT source_id, source_offset FROM pruned"))
        archived = [row for row, place in self._archived() if place in pruned] if pruned else []
        return Counter([*(self._known(*row) for row in rows), *archived])

    def _known(
        self, call_id: str, at_us: int, session: str, model: str | None, *used: int
    ) -> tuple[Any, ...]:
        """What is certain of a call. One that went through the proxy begins before its answer."""
        if call_id in self.proxied:
            return call_id, session, (model or "").removeprefix("anthropic/"), *used
        own_id = call_id if call_id.startswith("msg_") else None  # of Codex it is our own
        return own_id, at_us, session, model, *used

    def expected(self) -> Counter[tuple[Any, ...]]:
        true: Counter[tuple[Any, ...]] = Counter()
        for call in self.calls.values():
            used = call.usage
            known: tuple[Any, ...] = (f"call-{call.id}",)
            if known[0] not in self.proxied:
                id_ = call.id if call.id.startswith("msg_") else None
                known = (id_, call.first_us // 1000 * 1000)
            about = (call.session_id, call.model, used.tokens_in, used.tokens_out, used.cache_read)
            true[*known, *about] += 1
        return true

    def check_stored(self) -> None:
        stored, expected = self.stored(), self.expected()
        nothing: Counter[tuple[Any, ...]] = Counter()
        found = {"doubled or invented": stored - expected, "missing": expected - stored}
        assert found == {"doubled or invented": nothing, "missing": nothing}
        letters = self.world.query("SELECT raw FROM dead_letter")
        assert letters == [b""] * len(self.refused)

    def teardown(self) -> None:
        try:
            for _ in range(_STEPS_TO_LET_GO):
                self._step()
            self._compact()
        finally:
            self._stop()
            self.patch.undo()
            shutil.rmtree(self.folder)
