"""Wires the parts and turns the wheel: ingest, do chores, beat, wait.

Each step says whether it found work; the loop drains the work and then waits for the bell. The
mutable state: `_faults` (what is wrong with the world just now, said once), the back-off, and the
times of the next look at everything, heartbeat and chores.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

import orjson
from structlog.typing import FilteringBoundLogger

from prodlensd import __version__
from prodlensd.daemon.meter import Meter
from prodlensd.daemon.notify import Notifier
from prodlensd.ledger import Heartbeat, Ledger, LedgerError
from prodlensd.logs import READ_BYTES, Bell, GapSearch, Tailer
from prodlensd.model import US_PER_S, Chunk, Fault, Mismatch, Outcome
from prodlensd.pipeline import build
from prodlensd.pricing import Pricer
from prodlensd.process import Signals, wait

BEAT_INTERVAL_S: Final = 10.0
#: How long one ingest step may drain before the loop gets to beat and to look at the signals.
_DRAIN_S: Final = 1.0
#: How long one step may search for lost bytes.
_SEARCH_S: Final = 0.02
_MAX_BACKOFF_S: Final = 30.0
_CHORE_NICENESS: Final = 19
#: What fails is waited for twice as long each time, up to an hour, or to its interval.
_LONGEST_WAIT_S: Final = 3600.0
_MAX_DOUBLINGS: Final = 16
#: Of the faults that are alike one is named; of those that are not, so many are.
_MAX_KINDS: Final = 5
_MAX_FAULT_CHARS: Final = 400
#: What the environment may do to any step. MemoryError: what is asked for may fit another time.
_PASSING: Final = (LedgerError, OSError, MemoryError)
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
    anything for it to do. `unsaid` tells how many messages its log could not take.
    """

    def __init__(  # noqa: PLR0913 - it wires all the parts
        self,
        *,
        ledger: Ledger,
        tailer: Tailer,
        bell: Bell,
        pricer: Pricer,
        log: FilteringBoundLogger,
        signals: Signals,
        pace: Pace = Pace(),
        compaction: Work | None = None,
        repricing: Work | None = None,
        publication: Work | None = None,
        now: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
        on_idle: Callable[[], None] = lambda: None,
        notifier: Notifier | None = None,
        unsaid: Callable[[], int] = lambda: 0,
    ) -> None:
        self._ledger = ledger
        self._tailer = tailer
        self._bell = bell
        self._pricer = pricer
        self._log = log
        self._signals = signals
        self._pace = pace
        self._on_idle = on_idle
        self._unsaid = unsaid
        self._now = now
        self._clock = clock
        self._started_us = now()
        self._meter = Meter()
        self._search = GapSearch(tailer, clock)
        self._are_gaps_known = False
        self._next_scan = 0.0
        self._faults: frozenset[Fault] = frozenset()
        self._trouble = ""  # why the last step could not be done
        self._backoff_s = 0.0
        self._next_beat = 0.0
        self._notifier = notifier or Notifier({})
        self._is_caught_up = False
        self._told: tuple[bool, str] | None = None
        self._next_status = 0.0
        self._committed_us = 0
        self._chores = [
            _Chore(what, work, pace.chore_interval_s, log, clock)
            for what, work in (
                ("compaction", compaction),
                ("repricing", repricing),
                ("publication", publication),
            )
            if work is not None
        ]

    def begin(self) -> None:
        """Takes the ledger over; no other daemon can write to it from here on."""
        self._ledger.take_over(pid=os.getpid(), version=__version__, started_us=self._started_us)

    def run(self, is_new_configuration: Callable[[], bool] = lambda: False) -> bool:
        """Turns the wheel until a signal asks to stop; False then.

        True when `is_new_configuration` says so, asked where a signal says to read it again: then
        another daemon is to go on.
        """
        self.begin()
        is_new = False
        while not self._signals.stop_asked and not is_new:
            self._notifier.alive()
            try:
                found_work = self.ingest(self._where_to_look())
                self.do_chores()
                self.beat("running")
                self._backoff_s, self._trouble = 0.0, ""
                self._tell()
                if not found_work:
                    self._wait_for_work()
            except _PASSING as error:
                self._back_off(error)
            if self._signals.take_reload():
                self._notifier.reloading()
                is_new = is_new_configuration()
        if self._signals.stop_asked:
            self._notifier.stopping()
        for chore in self._chores:
            chore.end()
        self._beat_last()
        return is_new and not self._signals.stop_asked

    # Ingesting

    def _where_to_look(self) -> Collection[str] | None:
        """The files that events told of; None: everywhere, which is due from time to time."""
        changed = self._bell.take()
        if changed is not None and self._clock() < self._next_scan:
            return changed
        self._next_scan = self._clock() + self._pace.rescan_interval_s
        return None

    def ingest(self, paths: Collection[str] | None = None) -> bool:
        """Looks at these files, or at all, and takes in what is new; True when there was anything.

        Raises LedgerError, OSError or MemoryError; the same is found again at the next step.
        """
        self._survey(paths)
        found_work = False
        deadline = self._clock() + _DRAIN_S
        while more := self._ingest_round():
            found_work = True
            if self._signals.stop_asked or self._clock() > deadline:
                break
        self._is_caught_up = not more
        self._say_faults(self._tailer.faults(self._now() * 1000))
        return self._search_gaps() or found_work

    def _survey(self, paths: Collection[str] | None = None) -> None:
        """Brings the sources up to date with the files that are there."""
        now_ns = int(self._clock() * 1e9)
        survey = self._tailer.scan(now_ns) if paths is None else self._tailer.glance(paths, now_ns)
        if survey.moved:
            self._ledger.sources.relocate(survey.moved)
            for checkpoint in survey.moved:
                self._tailer.adopt(checkpoint)
        if survey.gone:
            self._ledger.sources.retire(survey.gone, self._now())
            for source_id, known_bytes in survey.gone:
                self._tailer.drop(source_id)
                self._are_gaps_known &= not known_bytes
        new = self._tailer.open_new(survey.new)
        if new:
            for checkpoint, sighting in zip(
                self._ledger.sources.register(new, self._now()), new, strict=True
            ):
                self._tailer.adopt(checkpoint, sighting)

    def _ingest_round(self) -> bool:
        """At most one chunk of every source, so that a huge file does not starve the small ones."""
        batch = _Batch(self._clock())
        found_work = False
        for found in self._tailer.read(self._now() * 1000):
            found_work = True
            if isinstance(found, Chunk):
                batch.add(found, build(found, self._pricer))
                if batch.lines >= self._pace.batch_max_lines or batch.size_bytes >= READ_BYTES:
                    self._commit(batch)
                    batch = _Batch(self._clock())
            elif isinstance(found, Mismatch):
                self._begin_again(found)
        self._commit(batch)
        return found_work

    def _commit(self, batch: _Batch) -> None:
        if not batch.outcomes:
            return
        built_s = self._clock()
        committed = self._ledger.commit(batch.outcomes, self._now())
        for outcome in batch.outcomes:
            self._tailer.adopt(outcome.end)
            self._search.read_on(outcome.start, outcome.end)
        self._log.debug("committed", **committed._asdict())
        now_s = self._clock()
        self._meter.committed(committed.lines, now_s - batch.began_s, now_s - built_s)
        now_us = self._committed_us = self._now()
        for appended_us in batch.appended_us:
            if appended_us >= self._started_us:
                self._meter.visible_after((now_us - appended_us) / US_PER_S)
        self._notifier.alive()

    def _search_gaps(self) -> bool:
        """Closes gaps whose bytes have been read in a copy; True when there is more to look at."""
        if not self._are_gaps_known:
            self._search.watch(self._ledger.sources.open_gaps())
            self._are_gaps_known = True
        if self._search.is_over:
            return False
        for gap in self._search.work(_SEARCH_S):
            self._ledger.sources.resolve(gap)
        return True

    def _begin_again(self, mismatch: Mismatch) -> None:
        self._log.info(
            "reading again from the start: known lines are not counted twice",
            path=mismatch.sighting.path,
            reason=mismatch.reason,
        )
        checkpoint = self._ledger.sources.replace(mismatch, self._now())
        self._are_gaps_known &= not mismatch.known_bytes
        self._tailer.drop(mismatch.source_id)
        self._tailer.adopt(checkpoint)

    # Chores and heartbeat

    def do_chores(self) -> None:
        """Starts each chore that is due, and sees those that have ended."""
        for chore in self._chores:
            chore.step()

    def beat(self, phase: str, *, force: bool = False) -> None:
        """Says in the ledger, every ten seconds, that the daemon is alive, and what troubles it."""
        if self._clock() < self._next_beat and not force:
            return
        self._next_beat = self._clock() + BEAT_INTERVAL_S
        self._ledger.beat(
            Heartbeat(
                pid=os.getpid(),
                version=__version__,
                started_us=self._started_us,
                beat_us=self._now(),
                phase=phase,
                watcher=self._bell.state,
                fault=self._fault_text() or None,
                measures=orjson.dumps(self._meter.read(self._clock()).as_dict()).decode(),
            )
        )

    def _beat_last(self) -> None:
        try:
            self.beat("stopped", force=True)
        except LedgerError as error:
            self._log.warning("could not note the stop", fault=str(error))

    # Waiting, and what the service manager hears

    def _wait_for_work(self) -> None:
        self._on_idle()
        self._tailer.close_quiet(int(self._clock() * 1e9))
        self._bell.repair()
        for slice_s in self._slices(self._next_scan - self._clock()):
            if wait(slice_s, self._bell.wakeup, self._signals.wakeup):
                return
            self.beat("running")

    def _slices(self, duration_s: float) -> Iterator[float]:
        """The duration in pieces, so that a long wait does not pass for the end of us."""
        end = self._clock() + duration_s
        while (left_s := end - self._clock()) > 0:
            yield min(left_s, BEAT_INTERVAL_S, self._notifier.alive_every_s)
            self._notifier.alive()

    def _tell(self) -> None:
        """Tells the service manager, if there is one, where we stand."""
        if not self._notifier.is_heard:
            return
        if self._is_caught_up:
            self._notifier.ready()
        faults = self._fault_text()
        standing = (self._is_caught_up, faults)
        now_s = self._clock()
        if standing == self._told and now_s < self._next_status:
            return
        self._told, self._next_status = standing, now_s + BEAT_INTERVAL_S
        text = "up to date" if self._is_caught_up else "catching up"
        if lines := self._meter.read(now_s).lines:
            last = datetime.fromtimestamp(self._committed_us / US_PER_S, UTC)
            many = "1 line" if lines == 1 else f"{lines:,} lines"
            text += f": {many} since the start, the last at {last:%Y-%m-%d %H:%M:%SZ}"
        if faults:
            text += f"; will keep trying: {faults}"
        self._notifier.status(text)

    # Faults of the environment: said once, waited out, healed by themselves

    def _say_faults(self, faults: Iterable[Fault]) -> None:
        now = frozenset(faults)
        if now == self._faults:
            return
        for fault in _summary(now - self._faults):
            self._log.warning("cannot read; will keep trying", fault=fault)
        for fault in _summary(self._faults - now):
            self._log.info("healed", fault=fault)
        self._faults = now
        self._next_beat = 0.0

    def _fault_text(self) -> str:
        """What is wrong just now, in a few words whatever it is; empty when nothing is."""
        faults = [self._trouble, *(chore.fault for chore in self._chores)]
        if unsaid := self._unsaid():
            faults.append(f"{unsaid:,} messages of the daemon's log could not be written")
        return "; ".join([*filter(None, faults), *_summary(self._faults)])

    def _back_off(self, error: Exception) -> None:
        """Waits, twice as long each time, for what troubles the world to pass."""
        if self._backoff_s == 0.0:
            self._log.error("cannot go on just now; will keep trying", fault=_named(error))
        self._trouble = _named(error)
        self._notifier.status(f"cannot go on just now, will keep trying: {self._trouble}")
        self._told = None
        self._next_scan = 0.0
        self._backoff_s = min(_MAX_BACKOFF_S, self._backoff_s * 2 or 0.5)
        for slice_s in self._slices(self._backoff_s):
            if not isinstance(error, LedgerError):
                with suppress(*_PASSING):
                    self.beat("running")
            if wait(slice_s, self._signals.wakeup):
                return


def _named(error: Exception) -> str:
    text = str(error) or "not enough memory"
    return text if len(text) <= _MAX_FAULT_CHARS else f"{text[: _MAX_FAULT_CHARS - 1]}…"


def _summary(faults: Iterable[Fault]) -> list[str]:
    """Faults in a few lines of bounded length: those that are alike are counted, and one named."""
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for path, reason in sorted(faults):
        alike[reason[:_MAX_FAULT_CHARS]].append(path)
    lines = []
    for reason, paths in list(alike.items())[:_MAX_KINDS]:
        more = f" (and {len(paths) - 1:,} more)" if len(paths) > 1 else ""
        lines.append(f"{paths[0]}: {reason}{more}")
    if (rest := len(alike) - _MAX_KINDS) > 0:
        lines.append(f"and {rest:,} more faults of other kinds")
    return lines


class _Batch:
    """What one transaction is to write."""

    def __init__(self, began_s: float) -> None:
        self.outcomes: list[Outcome] = []
        self.lines = self.size_bytes = 0
        self.began_s = began_s
        self.appended_us: list[int] = []  # of files that are now read to their end

    def add(self, chunk: Chunk, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.lines += len(chunk.lines)
        self.size_bytes += chunk.end - chunk.start.offset
        if chunk.end == chunk.size_bytes:
            self.appended_us.append(chunk.appended_ns // 1000)


class _Chore:
    """Work that a child process does now and then, one at a time.

    It may be killed at any moment, and be started again as if nothing had been.
    """

    def __init__(
        self,
        what: str,
        work: Work,
        interval_s: float,
        log: FilteringBoundLogger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._work = work
        self._interval_s = interval_s
        self._log = log
        self._clock = clock
        self._next = clock() + min(interval_s, 10.0)
        self._child: subprocess.Popen[bytes] | None = None
        self._failures = 0
        self.fault = ""  # why it could not be started

    def step(self) -> bool:
        """Starts the work when it is due and there is any, and sees its end; True while it runs."""
        if self._child is not None:
            code = self._child.poll()
            if code is None:
                return True
            self._child = None
            if code in (0, EXIT_TRY_LATER):
                self._failures = 0
            else:
                self._log.warning(f"{self._what} failed; it will be tried again", exit_code=code)
                self._fail()
        if self._clock() < self._next:
            return False
        self._next = self._clock() + self._interval_s
        if not self._work.is_there():
            return False
        try:
            self._child = self._work.start()
        except (OSError, MemoryError) as error:
            # No process, descriptor or memory left, or our interpreter is gone: that holds up
            # this work, and nothing else.
            if not self.fault:
                self._log.warning(
                    f"{self._what} cannot be started; it will be tried again", fault=_named(error)
                )
            self.fault = f"{self._what} cannot be started: {_named(error)}"
            self._fail()
            return False
        self.fault = ""
        # Ingesting goes first. The kernel gives a nice process a low rank at the disk as well
        # (ioprio_set(2)). A service manager may forbid it, and the child may have ended already.
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._child.pid, _CHORE_NICENESS)
        return True

    def _fail(self) -> None:
        self._failures += 1
        wait_s = min(self._interval_s * 2 ** min(self._failures, _MAX_DOUBLINGS), _LONGEST_WAIT_S)
        self._next = max(self._next, self._clock() + max(wait_s, self._interval_s))

    def end(self) -> None:
        """Ends the work wherever it is."""
        if self._child is not None:
            self._child.terminate()
            self._child.wait()
