"""The daemon's loop: ingest, do jobs, beat, wait.

Each step returns whether it found work; the loop repeats them while there is work, and then waits
for the bell.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from itertools import chain
from typing import Final

import orjson
from msgspec import Struct
from structlog.typing import FilteringBoundLogger

from prodlensd import __version__
from prodlensd.daemon.faults import PASSING, Faults
from prodlensd.daemon.jobs import Job, ScheduledJob
from prodlensd.daemon.meter import Meter
from prodlensd.daemon.notify import Notifier
from prodlensd.ledger import Heartbeat, Ledger, LedgerError
from prodlensd.logs import READ_BYTES, Bell, GapSearch, Tailer
from prodlensd.model import US_PER_S, Checkpoint, Chunk, Mismatch, Outcome
from prodlensd.moments import moment_of
from prodlensd.pipeline import NOBODY, Owner, build
from prodlensd.pricing import Pricer
from prodlensd.process import Signals, wait
from prodlensd.text import counted

BEAT_INTERVAL_S: Final = 10.0
#: How long one ingest step may drain before the loop gets to beat and to look at the signals.
_DRAIN_S: Final = 1.0
#: The share of a core that looks at everything may take, where the bell tells of changes.
_LOOKING_SHARE: Final = 0.002
#: How long one step may search for lost bytes.
_SEARCH_S: Final = 0.02


class Pace(Struct, frozen=True, kw_only=True):
    """The most lines of one transaction, and the time between looks at everything and jobs."""

    batch_max_lines: int = 10_000
    rescan_interval_s: float = 5.0
    job_interval_s: float = 300.0


_USUAL_PACE: Final = Pace()


class Daemon:
    """One run of the daemon on one configuration. Its steps: ingest, do_jobs, beat.

    `owner` is whose transcripts are read. `now` is the time in microseconds since 1970, `clock` one
    in seconds that never goes back.
    `lost_messages` counts those that the daemon's log could not write. The mutable state: the
    faults, what the service manager was shown, whether the open gaps are known, what the last look
    at everything took, and the times of the next one, of the next heartbeat and status.
    """

    def __init__(  # noqa: PLR0913 - it wires all the parts
        self,
        *,
        ledger: Ledger,
        tailer: Tailer,
        bell: Bell,
        pricer: Pricer,
        owner: Owner = NOBODY,
        log: FilteringBoundLogger,
        signals: Signals,
        pace: Pace = _USUAL_PACE,
        jobs: Iterable[Job] = (),
        now: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
        on_idle: Callable[[], None] = lambda: None,
        notifier: Notifier | None = None,
        lost_messages: Callable[[], int] = lambda: 0,
    ) -> None:
        self._ledger = ledger
        self._tailer = tailer
        self._bell = bell
        self._pricer = pricer
        self._owner = owner
        self._log = log
        self._signals = signals
        self._pace = pace
        self._on_idle = on_idle
        self._lost_messages = lost_messages
        self._now = now
        self._clock = clock
        self._started_us = now()
        self._meter = Meter()
        self._search = GapSearch(tailer, clock)
        self._are_gaps_known = False
        self._faults = Faults(log)
        self._next_scan_s = 0.0
        self._look_cpu_s = 0.0
        self._next_beat_s = 0.0
        self._notifier = notifier or Notifier({})
        self._is_caught_up = False
        self._shown: tuple[bool, str] | None = None  # to the service manager
        self._next_status_s = 0.0
        self._committed_us = 0
        self._jobs = [
            ScheduledJob(job, job.interval_s or pace.job_interval_s, log, clock) for job in jobs
        ]

    def begin(self) -> None:
        """Takes the ledger over: no other daemon can write to it from now on."""
        self._ledger.take_over(pid=os.getpid(), version=__version__, started_us=self._started_us)

    def run(self, is_new_configuration: Callable[[], bool] = lambda: False) -> bool:
        """Runs until a signal asks to stop (False), or there is a new configuration (True).

        `is_new_configuration` is called when a signal asks to read the configuration again.
        """
        self.begin()
        is_new = False
        while not self._signals.stop_asked and not is_new:
            self._notifier.alive()
            try:
                found_work = self.ingest(self._where_to_look()) or self._sum_up()
                self.do_jobs()
                self.beat("running")
                self._faults.succeed()
                self._show_status()
                if not found_work:
                    self._wait_for_work()
            except PASSING as error:
                self._back_off(error)
            if self._signals.take_reload():
                self._notifier.reloading()
                is_new = is_new_configuration()
        if self._signals.stop_asked:
            self._notifier.stopping()
        for job in self._jobs:
            job.end()
        self._beat_last()
        return is_new and not self._signals.stop_asked

    # Ingesting

    def _where_to_look(self) -> Collection[str] | None:
        """The files with events; None: everywhere, which is due from time to time."""
        changed = self._bell.take()
        if changed is not None and self._clock() < self._next_scan_s:
            return changed
        # Looks at very many files are rarer: what they would find, the bell mostly has told.
        pause_s = self._look_cpu_s / _LOOKING_SHARE if self._bell.state == "ok" else 0.0
        self._next_scan_s = self._clock() + max(self._pace.rescan_interval_s, pause_s)
        return None

    def ingest(self, paths: Collection[str] | None = None) -> bool:
        """Ingests what is new in these files, or in all; True when there was anything.

        Raises LedgerError, OSError or MemoryError; the next step then finds the same again.
        """
        self._survey(paths)
        found_work = False
        deadline = self._clock() + _DRAIN_S
        while more := self._ingest_round():
            found_work = True
            if self._signals.stop_asked or self._clock() > deadline:
                break
        self._is_caught_up = not more
        if self._faults.update(self._tailer.faults(self._now() * 1000)):
            self._next_beat_s = 0.0
        return self._search_gaps() or found_work

    def _survey(self, paths: Collection[str] | None = None) -> None:
        """Brings the sources up to date with the files in the log folders."""
        now_ns = int(self._clock() * 1e9)
        if paths is None:
            began_s = time.thread_time()
            survey = self._tailer.scan(now_ns)
            self._look_cpu_s = time.thread_time() - began_s
        else:
            survey = self._tailer.glance(paths, now_ns)
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
                batch.add(found, build(found, self._pricer, self._owner))
                if batch.lines >= self._pace.batch_max_lines or batch.size_bytes >= READ_BYTES:
                    self._commit(batch)
                    batch = _Batch(self._clock())
            elif isinstance(found, Mismatch):
                self._begin_again(found)
        self._commit(batch)
        return found_work

    def _commit(self, batch: _Batch) -> None:
        if not batch.chunks:
            return
        built_s = self._clock()
        committed = self._ledger.commit(batch.outcomes(), self._now())
        for start, end in batch.ends:
            self._tailer.adopt(end)
            self._search.read_on(start, end)
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

    def _sum_up(self) -> bool:
        """Adds up what quarters of an hour have cost; True when there are more of them."""
        return self._ledger.spending.sum_up(self._now())

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

    # Jobs and heartbeat

    def do_jobs(self) -> None:
        """Starts each job that is due, and takes note of those that have ended."""
        for job in self._jobs:
            job.step()

    def beat(self, phase: str, *, force: bool = False) -> None:
        """Notes in the ledger, every ten seconds, that the daemon is alive, and its faults."""
        if self._clock() < self._next_beat_s and not force:
            return
        self._next_beat_s = self._clock() + BEAT_INTERVAL_S
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

    # Waiting, and what the service manager is shown

    def _wait_for_work(self) -> None:
        self._on_idle()
        self._tailer.close_quiet(int(self._clock() * 1e9))
        self._bell.repair()
        for slice_s in self._slices(self._next_scan_s - self._clock()):
            if wait(slice_s, self._bell.wakeup, self._signals.wakeup):
                return
            self.beat("running")

    def _slices(self, duration_s: float) -> Iterator[float]:
        """The duration in pieces, so that nobody takes a long wait for the daemon's end."""
        end = self._clock() + duration_s
        while (left_s := end - self._clock()) > 0:
            yield min(left_s, BEAT_INTERVAL_S, self._notifier.alive_every_s)
            self._notifier.alive()

    def _show_status(self) -> None:
        """Tells the service manager, if there is one, how far ingestion is."""
        if not self._notifier.is_heard:
            return
        if self._is_caught_up:
            self._notifier.ready()
        faults = self._fault_text()
        status = (self._is_caught_up, faults)
        now_s = self._clock()
        if status == self._shown and now_s < self._next_status_s:
            return
        self._shown, self._next_status_s = status, now_s + BEAT_INTERVAL_S
        text = "up to date" if self._is_caught_up else "catching up"
        if lines := self._meter.read(now_s).lines:
            last = f"{moment_of(self._committed_us):%Y-%m-%d %H:%M:%SZ}"
            text += f": {counted(lines, 'line')} since the start, the last at {last}"
        if faults:
            text += f"; will keep trying: {faults}"
        self._notifier.status(text)

    def _fault_text(self) -> str:
        """What is wrong just now, in a text of bounded length; "" when nothing is."""
        faults = [job.fault for job in self._jobs]
        if lost := self._lost_messages():
            faults.append(f"{lost:,} messages of the daemon's log could not be written")
        return self._faults.text(*faults)

    def _back_off(self, error: Exception) -> None:
        """Waits for the environment to recover, twice as long each time."""
        wait_s = self._faults.fail(error)
        self._notifier.status(f"cannot go on just now, will keep trying: {self._faults.trouble}")
        self._shown = None
        self._next_scan_s = 0.0
        for slice_s in self._slices(wait_s):
            if not isinstance(error, LedgerError):
                with suppress(*PASSING):
                    self.beat("running")
            if wait(slice_s, self._signals.wakeup):
                return


class _Batch:
    """What one transaction writes. `appended_us`: of the files that are now read to their end.

    `ends` are the checkpoints before and after each chunk, once all its outcomes were taken.
    """

    def __init__(self, began_s: float) -> None:
        self.chunks = self.lines = self.size_bytes = 0
        self.began_s = began_s
        self.appended_us: list[int] = []
        self.ends: list[tuple[Checkpoint, Checkpoint]] = []
        self._built: list[Iterator[Outcome]] = []

    def add(self, chunk: Chunk, outcomes: Iterator[Outcome]) -> None:
        # The first outcome, which mostly is the only one, is made before the transaction.
        self._built.append(chain([next(outcomes)], outcomes))
        self.chunks += 1
        self.lines += len(chunk.lines)
        self.size_bytes += chunk.end - chunk.start.offset
        if chunk.end == chunk.size_bytes:
            self.appended_us.append(chunk.appended_ns // 1000)

    def outcomes(self) -> Iterator[Outcome]:
        """All outcomes, once; those of a line that holds many records are made when asked for."""
        for outcomes in self._built:
            for outcome in outcomes:
                yield outcome
            self.ends.append((outcome.start, outcome.end))
