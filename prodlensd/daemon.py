"""Wires the parts and turns the wheel: ingest, do chores, beat, wait.

Each step says whether it found work; the loop drains the work and then waits for the bell. The
mutable state: `_faults` (what is wrong with the world just now, said once), the back-off, and the
times of the next heartbeat and chores.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

import orjson
from structlog.typing import FilteringBoundLogger

from prodlensd import __version__
from prodlensd.bell import Bell
from prodlensd.meter import Meter
from prodlensd.model import US_PER_S, Chunk, Doubt, Part
from prodlensd.service.notify import Notifier
from prodlensd.store import Store, StoreError
from prodlensd.tailer import READ_BYTES, Busy, Tailer

BEAT_INTERVAL_S: Final = 10.0
#: How long one ingest step may drain before the loop gets to beat and to look at the signals.
_DRAIN_S: Final = 1.0
_MAX_BACKOFF_S: Final = 30.0
_CHORE_NICENESS: Final = 19
#: What fails is tried less and less often, but for an interval that is longer still.
_LONGEST_WAIT_S: Final = 3600.0
#: With this a child says that it could not do its work now, and has said why.
EXIT_TRY_LATER: Final = 75


class Work(NamedTuple):
    """Something that a child process does now and then, when there is any of it."""

    start: Callable[[], subprocess.Popen[bytes]]
    is_there: Callable[[], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How much at once, and how often."""

    batch_max_lines: int = 10_000
    rescan_interval_s: float = 5.0
    chore_interval_s: float = 300.0


class Daemon:
    """One run of the daemon on one configuration. Its steps: ingest, do_chores, beat.

    Each of the three chores is a callable that starts it, and one that says whether there is
    anything for it to do.
    """

    def __init__(  # noqa: PLR0913 - it wires all the parts
        self,
        *,
        store: Store,
        tailer: Tailer,
        bell: Bell,
        build: Callable[[Chunk], Part],
        log: FilteringBoundLogger,
        stop: threading.Event,
        pace: Pace = Pace(),
        compaction: Work | None = None,
        repricing: Work | None = None,
        publication: Work | None = None,
        now: Callable[[], int],
        on_idle: Callable[[], None] = lambda: None,
        notifier: Notifier | None = None,
    ) -> None:
        self._store = store
        self._tailer = tailer
        self._bell = bell
        self._build = build
        self._log = log
        self._stop = stop
        self._pace = pace
        self._on_idle = on_idle
        self._now = now
        self._started_us = now()
        self._meter = Meter()
        self._faults: set[str] = set()
        self._backoff_s = 0.0
        self._next_beat = 0.0
        self._notifier = notifier or Notifier({})
        self._is_caught_up = False
        self._told: tuple[bool, frozenset[str]] | None = None
        self._next_status = 0.0
        self._committed_us = 0
        self._chores = [
            _Chore(what, work, pace.chore_interval_s, log)
            for what, work in (
                ("compaction", compaction),
                ("repricing", repricing),
                ("publication", publication),
            )
            if work is not None
        ]

    def begin(self) -> None:
        """Takes the ledger over; no other daemon can write to it from here on."""
        self._store.take_over(pid=os.getpid(), version=__version__, started_us=self._started_us)

    def run(self, interrupted: Callable[[], bool] = lambda: False) -> None:
        """Turns the wheel until asked to stop, or until `interrupted` says so."""
        self.begin()
        while not self._stop.is_set() and not interrupted():
            self._notifier.alive()
            try:
                found_work = self.ingest()
                self.do_chores()
                self.beat("running")
                self._backoff_s = 0.0
                self._tell()
                if not found_work:
                    self._wait_for_work()
            except (StoreError, OSError) as error:
                self._back_off(error)
        if self._stop.is_set():
            self._notifier.stopping()
        for chore in self._chores:
            chore.end()
        self._beat_last()

    # Ingesting

    def ingest(self) -> bool:
        """Looks at the folders once and takes in what is new; True when there was anything."""
        faults = self._survey()
        found_work = False
        deadline = time.monotonic() + _DRAIN_S
        while more := self._ingest_round(faults):
            found_work = True
            if self._stop.is_set() or time.monotonic() > deadline:
                break
        self._is_caught_up = not more
        self._say_faults(faults)
        if found_work:
            self._resolve_gaps()
        return found_work

    def _survey(self) -> set[str]:
        """Brings the sources up to date with the files that are there."""
        survey = self._tailer.scan(time.monotonic_ns())
        for checkpoint in survey.moved:
            self._store.relocate(checkpoint)
            self._tailer.adopt(checkpoint)
        for source_id, known_bytes in survey.gone:
            self._store.retire(source_id, known_bytes, self._now())
            self._tailer.drop(source_id)
        if survey.new:
            for checkpoint, sighting in zip(
                self._store.register(survey.new, self._now()), survey.new, strict=True
            ):
                self._tailer.adopt(checkpoint, sighting)
        return {*survey.faults, *survey.refused}

    def _ingest_round(self, faults: set[str]) -> bool:
        """At most one chunk of every source, so that a huge file does not starve the small ones."""
        batch = _Batch()
        found_work = False
        for outcome in self._tailer.read(time.time_ns()):
            if isinstance(outcome, Chunk):
                batch.add(outcome, self._build(outcome))
                found_work = True
                if batch.lines >= self._pace.batch_max_lines or batch.size_bytes >= READ_BYTES:
                    self._commit(batch)
                    batch = _Batch()
            elif isinstance(outcome, Doubt):
                self._begin_again(outcome)
                found_work = True
            elif isinstance(outcome, Busy):
                found_work = True
            else:
                faults.add(outcome)
        self._commit(batch)
        return found_work

    def _commit(self, batch: _Batch) -> None:
        if not batch.parts:
            return
        built_s = time.monotonic()
        committed = self._store.commit(batch.parts, self._now())
        for part in batch.parts:
            self._tailer.adopt(part.end)
        self._log.debug("committed", **committed._asdict())
        now_s = time.monotonic()
        self._meter.committed(committed.lines, now_s - batch.began_s, now_s - built_s)
        now_us = self._committed_us = self._now()
        for appended_us in batch.appended_us:
            if appended_us >= self._started_us:
                self._meter.visible_after((now_us - appended_us) / US_PER_S)
        self._notifier.alive()

    def _resolve_gaps(self) -> None:
        """Closes the gaps whose bytes have meanwhile been read in a copy of the file."""
        for gap in self._store.open_gaps():
            if self._tailer.has_read(gap):
                self._store.resolve(gap)

    def _begin_again(self, doubt: Doubt) -> None:
        self._log.info(
            "reading again from the start: known lines are not counted twice",
            path=doubt.sighting.path,
            reason=doubt.reason,
        )
        checkpoint = self._store.replace(doubt, self._now())
        self._tailer.drop(doubt.source_id)
        self._tailer.adopt(checkpoint)

    # Chores and heartbeat

    def do_chores(self) -> None:
        """Starts each chore that is due, and sees those that have ended."""
        for chore in self._chores:
            chore.step()

    def beat(self, phase: str, *, force: bool = False) -> None:
        """Says in the store, every ten seconds, that the daemon is alive, and what troubles it."""
        if time.monotonic() < self._next_beat and not force:
            return
        self._next_beat = time.monotonic() + BEAT_INTERVAL_S
        self._store.beat(
            pid=os.getpid(),
            version=__version__,
            started_us=self._started_us,
            now_us=self._now(),
            phase=phase,
            watcher=self._bell.state,
            fault="; ".join(sorted(self._faults)) or None,
            measures=orjson.dumps(self._meter.read(time.monotonic()).as_dict()).decode(),
        )

    def _beat_last(self) -> None:
        try:
            self.beat("stopped", force=True)
        except StoreError as error:
            self._log.warning("could not note the stop", fault=str(error))

    # Waiting, and what the service manager hears

    def _wait_for_work(self) -> None:
        self._on_idle()
        self._bell.repair()
        for slice_s in self._slices(self._pace.rescan_interval_s):
            if self._bell.wait(slice_s):
                return
            self.beat("running")

    def _slices(self, duration_s: float) -> Iterator[float]:
        """The duration in pieces, so that a long wait does not pass for the end of us."""
        end = time.monotonic() + duration_s
        while (left_s := end - time.monotonic()) > 0:
            yield min(left_s, BEAT_INTERVAL_S, self._notifier.alive_every_s)
            self._notifier.alive()

    def _tell(self) -> None:
        """Tells the service manager, if there is one, where we stand."""
        if not self._notifier.is_heard:
            return
        if self._is_caught_up:
            self._notifier.ready()
        standing = (self._is_caught_up, frozenset(self._faults))
        now_s = time.monotonic()
        if standing == self._told and now_s < self._next_status:
            return
        self._told, self._next_status = standing, now_s + BEAT_INTERVAL_S
        text = "up to date" if self._is_caught_up else "catching up"
        if lines := self._meter.read(now_s).lines:
            last = datetime.fromtimestamp(self._committed_us / US_PER_S, UTC)
            many = "1 line" if lines == 1 else f"{lines:,} lines"
            text += f": {many} since the start, the last at {last:%Y-%m-%d %H:%M:%SZ}"
        if self._faults:
            text += f"; cannot read, will keep trying: {'; '.join(sorted(self._faults))}"
        self._notifier.status(text)

    # Faults of the environment: said once, waited out, healed by themselves

    def _say_faults(self, faults: Iterable[str]) -> None:
        faults = set(faults)
        if faults == self._faults:
            return
        for fault in sorted(faults - self._faults):
            self._log.warning("cannot read; will keep trying", fault=fault)
        for fault in sorted(self._faults - faults):
            self._log.info("healed", fault=fault)
        self._faults = faults
        self._next_beat = 0.0

    def _back_off(self, error: Exception) -> None:
        if self._backoff_s == 0.0:
            self._log.error("cannot go on just now; will keep trying", fault=str(error))
        self._notifier.status(f"cannot go on just now, will keep trying: {error}")
        self._told = None
        self._backoff_s = min(_MAX_BACKOFF_S, self._backoff_s * 2 or 0.5)
        for slice_s in self._slices(self._backoff_s):
            if self._stop.wait(slice_s):
                return


class _Batch:
    """What one transaction is to write."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.lines = self.size_bytes = 0
        self.began_s = time.monotonic()
        self.appended_us: list[int] = []  # of files that are now read to their end

    def add(self, chunk: Chunk, part: Part) -> None:
        self.parts.append(part)
        self.lines += len(chunk.lines)
        self.size_bytes += chunk.end - chunk.start.offset
        if chunk.end == chunk.size_bytes:
            self.appended_us.append(chunk.appended_ns // 1000)


class _Chore:
    """Work that a child process does now and then, one at a time.

    It may be killed at any moment, and be started again as if nothing had been.
    """

    def __init__(self, what: str, work: Work, interval_s: float, log: FilteringBoundLogger) -> None:
        self._what = what
        self._work = work
        self._interval_s = interval_s
        self._log = log
        self._next = time.monotonic() + min(interval_s, 10.0)
        self._child: subprocess.Popen[bytes] | None = None
        self._failures = 0

    def step(self) -> bool:
        """Starts the work when it is due and there is any, and sees its end; True while it runs."""
        if self._child is not None:
            code = self._child.poll()
            if code is None:
                return True
            self._child = None
            self._failures = self._failures + 1 if code not in (0, EXIT_TRY_LATER) else 0
            if self._failures:
                self._log.warning(f"{self._what} failed; it will be tried again", exit_code=code)
                wait_s = min(self._interval_s * 2**self._failures, _LONGEST_WAIT_S)
                self._next = max(self._next, time.monotonic() + wait_s)
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + self._interval_s
        if not self._work.is_there():
            return False
        self._child = self._work.start()
        # Ingesting goes first; and where nobody says otherwise, disks serve by this as well. A
        # service manager may forbid it, and the child may have ended already.
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._child.pid, _CHORE_NICENESS)
        return True

    def end(self) -> None:
        """Ends the work wherever it is."""
        if self._child is not None:
            self._child.terminate()
            self._child.wait()
