"""Proves the ledger: reads every log file that is still there again, and compares.

What is proven of a source: each line before its offset is in the ledger once, as the trace or dead
letter that was first read there, or as a duplicate of one read elsewhere, or is blank; its counters
are those very numbers; its cursor's digests come out the same. And of the whole ledger: its tables
hold as many rows as the sources count, the tallies and totals are true, the database is sound, and
each snapshot holds its day.

The ledger is read as it was at one moment, so a daemon may go on meanwhile. A file that is gone by
now, or whose bytes are no longer those that were committed, is told of and not compared: the daemon
takes it for another source as well.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import accumulate, islice
from pathlib import Path
from typing import Any, Final

from prodlensd.model import CHAIN_ROOT, Checkpoint, Chunk, Doubt, Part
from prodlensd.store import DayReader, Reader, StoreError
from prodlensd.store.calls import LOADED, PRUNED_CALLS
from prodlensd.store.days import Partition
from prodlensd.store.reading import Counts, Place, Source
from prodlensd.store.store import TOTALLED, Totals
from prodlensd.store.tallies import TallyReader
from prodlensd.tailer import Tailer

#: So many differences are named, the others counted.
MAX_NAMED: Final = 20

COMPLETE: Final = "complete"
GAPS: Final = "gaps"
BROKEN: Final = "broken"
EXIT_CODES: Final = {COMPLETE: 0, BROKEN: 1, GAPS: 3}

# Each unpacks a window of its own when it is compressed, and each group costs a look at all names.
_SOURCES_AT_ONCE: Final = 16
# What was committed is complete: there is nothing to wait for.
_PATIENCE_NS: Final = 86_400_000_000_000
_NOTHING: Final = "nothing"
_NO_TOTALS: Final = [0] * len(TOTALLED)

#: A tailer that begins at these checkpoints.
Follow = Callable[[Iterable[Checkpoint]], Tailer]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that does not hold: in which file, at which byte of it (None: not at one)."""

    path: str
    offset: int | None
    what: str
    expected: str
    found: str


@dataclass(slots=True)
class Differences:
    """The first MAX_NAMED of them, and the number of all."""

    named: list[Difference] = field(default_factory=list)
    count: int = 0

    def add(self, difference: Difference) -> None:
        """Adds one."""
        self.count += 1
        if len(self.named) < MAX_NAMED:
            self.named.append(difference)

    def expect(self, path: str, what: str, expected: object, found: object) -> None:
        """Adds one when the two are not equal."""
        if expected != found:
            self.add(Difference(path, None, what, _said(expected), _said(found)))

    def take(self, others: Differences) -> None:
        """Adds all of these."""
        self.named += others.named[: MAX_NAMED - len(self.named)]
        self.count += others.count


@dataclass(frozen=True, slots=True)
class Unread:
    """A source that was not read again, and why not."""

    source_id: int
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was proven, and what does not hold."""

    sources: int
    reread: int
    unread: tuple[Unread, ...]
    totals: Counts
    open_gaps: int
    known_lost_bytes: int
    snapshots: int  # those compared with their day
    snapshots_due: int  # those that are behind the ledger, and not compared
    differences: tuple[Difference, ...]
    more_differences: int

    @property
    def state(self) -> str:
        """COMPLETE, GAPS or BROKEN."""
        if self.differences:
            return BROKEN
        return GAPS if self.open_gaps else COMPLETE


def verify(
    store_path: Path,
    *,
    follow: Follow,
    build: Callable[[Chunk], Part],
    snapshot_path: Callable[[Partition], Path] | None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Verdict:
    """Compares the ledger with the logs, with itself, and with its snapshots.

    Calls that were pruned are those of their snapshots. `snapshot_path` gives the place of a day's;
    None: there are none to compare. `progress` is told how many bytes of how many were read. Raises
    StoreError.
    """
    differences = Differences()
    with TallyReader(store_path) as reader, reader.one_moment():
        sources, totals = reader.sources(), reader.totals()
        ledger = _Ledger(reader, str(store_path), differences)
        rereading = _Rereading(reader, follow, build)
        unread: list[Unread] = []
        compared = due = 0
        sound = ledger.compare_integrity()
        try:
            unread = _reread(sources, rereading, differences, progress)
            ledger.compare_tables(sources, snapshot_path)
            if snapshot_path is not None:
                compared, due = ledger.compare_snapshots(store_path, snapshot_path)
        except StoreError as error:
            if sound:
                raise
            differences.expect(str(store_path), "database", "readable", str(error))
    return Verdict(
        sources=len(sources),
        reread=len(sources) - len(unread),
        unread=tuple(unread),
        totals=Counts(*totals[: len(Counts._fields)]),
        open_gaps=totals.open_gaps,
        known_lost_bytes=totals.known_lost_bytes,
        snapshots=compared,
        snapshots_due=due,
        differences=tuple(differences.named),
        more_differences=differences.count - len(differences.named),
    )


def proven(
    reader: Reader,
    sources: list[Source],
    *,
    follow: Follow,
    build: Callable[[Chunk], Part],
) -> set[int]:
    """Of these live sources, those whose file is there and holds nothing that the ledger lacks.

    By the same rule: read again from 0, each line is in the ledger once. Raises StoreError.
    """
    rereading = _Rereading(reader, follow, build)
    replays = [_Replay(source) for source in sources]
    differences = Differences()
    unread = {u.source_id for u in rereading.compare(replays, differences, lambda _bytes: None)}
    return {
        replay.goal.source_id
        for replay in replays
        if replay.finished and not replay.differences.count and replay.goal.source_id not in unread
    }


# The logs


def _reread(
    sources: list[Source],
    rereading: _Rereading,
    differences: Differences,
    progress: Callable[[int, int], None],
) -> list[Unread]:
    """Reads all live sources again, some at a time; returns those that could not be."""
    unread = [
        Unread(source.checkpoint.source_id, source.checkpoint.path, source.state)
        for source in sources
        if source.state != "live"
    ]
    live = (source for source in sources if source.state == "live")
    total = sum(source.checkpoint.offset for source in sources if source.state == "live")
    done = 0

    def advance(size_bytes: int) -> None:
        nonlocal done
        done += size_bytes
        progress(done, total)

    advance(0)
    while group := list(islice(live, _SOURCES_AT_ONCE)):
        unread += rereading.compare([_Replay(source) for source in group], differences, advance)
    return unread


class _Replay:
    """One source read again from 0. The mutable state: how far, and what was counted so far."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.goal = source.checkpoint
        self.cursor = replace(
            self.goal, offset=0, chain=CHAIN_ROOT, record_bytes=0, record_digest=b""
        )
        self.path = self.goal.path  # where the file is now
        self.lines = self.traces = self.duplicates = self.dead_letters = self.blanks = 0
        self.differences = Differences()
        self._unnoted: list[tuple[int, str, str, str]] = []
        self.first_different = self.goal.offset  # where the first line that differs begins

    @property
    def finished(self) -> bool:
        return self.cursor.offset == self.goal.offset

    def take(self, part: Part, reader: Reader) -> None:
        """Counts the lines of one part, and looks each of them up in the ledger."""
        places = reader.places_of_traces(row[:2] for row in part.rows)
        for row, chain, place in zip(part.rows, part.chains, places, strict=True):
            self._take_trace(row, chain, place, reader)
        for letter in part.dead_letters:
            place = reader.place_of_dead_letter(letter.key)
            here = self._is_here(place, letter.source_offset)
            self.dead_letters += here
            self.duplicates += place is not None and not here
            if place is None:
                name = f"dead letter {letter.key.hex()}"
                self._differs(letter.source_offset, "line", name, _NOTHING)
        self.blanks += part.blanks
        self.lines += len(part.rows) + len(part.dead_letters) + part.blanks
        self.cursor = part.end
        self._note()

    def _take_trace(
        self, row: tuple[Any, ...], chain: bytes, place: Place | None, reader: Reader
    ) -> None:
        started_us, key, *_, offset = row
        if here := self._is_here(place, offset):
            self.traces += 1
        # What an older version refused, and this one can read, is in the queue under its chain.
        refused = None if here and key != chain else reader.place_of_dead_letter(chain)
        if place is not None and refused is not None and key == chain:
            self._differs(offset, "line", "in the ledger once", "a trace and a dead letter")
        elif place is refused is None:
            name = chain.hex() if key == chain else key
            self._differs(offset, "line", f"trace {name} of {_time(started_us)}", _NOTHING)
        elif not here:
            refused_here = self._is_here(refused, offset)
            self.dead_letters += refused_here
            self.duplicates += not refused_here

    def _is_here(self, place: Place | None, offset: int) -> bool:
        """Whether the line at this offset is the one that was first read at this place."""
        return place == (self.goal.source_id, offset)

    def overrun(self) -> None:
        """Notes that the next line goes on where the ledger has read to."""
        expected = f"an end at byte {self.goal.offset} or before"
        self._differs(self.cursor.offset, "line", expected, "an end after it")
        self._note()

    def _differs(self, offset: int, what: str, expected: str, found: str) -> None:
        self._unnoted.append((offset, what, expected, found))

    def _note(self) -> None:
        """Notes the differences of one part in the order of its lines."""
        for offset, what, expected, found in sorted(self._unnoted):
            self.first_different = min(self.first_different, offset)
            self.differences.add(Difference(self.path, offset, what, expected, found))
        self._unnoted.clear()

    def compare(self, *, edited: bool) -> None:
        """Compares the source's counters and its cursor with what was read.

        `edited`: the last record is not the one that was committed.
        """
        if edited:
            last = self.goal.offset - self.goal.record_bytes
            self._differs(last, "last record", "the bytes committed", "others")
            self._note()
        if not self.finished:
            return
        read = Counts(self.lines, self.traces, self.duplicates, self.dead_letters, self.blanks)
        expect = partial(self.differences.expect, self.path)
        for name, count, counter in zip(Counts._fields, read, self.source.counts, strict=True):
            expect(f"the source's count of {name.replace('_', ' ')}", count, counter)
        expect("chain digest", self.cursor.chain, self.goal.chain)

    @property
    def only_its_last_record_was_edited(self) -> bool:
        """Whether the file is the one that was committed but for the bytes of the last record.

        Then that record was edited in place, while in a file that was rewritten or replaced other
        lines differ too.
        """
        last = self.goal.offset - self.goal.record_bytes
        return self.finished and 0 < last <= self.first_different and last < self.goal.offset


class _Rereading:
    """Reads groups of sources again, with the daemon's own tailer and pipeline."""

    def __init__(self, reader: Reader, follow: Follow, build: Callable[[Chunk], Part]) -> None:
        self._reader = reader
        self._follow = follow
        self._build = build
        self._folders: set[str] = set()  # those said to be unreadable

    def compare(
        self, replays: list[_Replay], differences: Differences, advance: Callable[[int], None]
    ) -> Iterator[Unread]:
        """Compares these sources; yields those that could not be read again."""
        faults = self._read(replays, advance)
        self._say_folders(faults, differences)
        # Asked after the reading, so that what changed under us counts as changed.
        doubts = self._doubts(replay.goal for replay in replays if replay.goal.offset)
        for replay in replays:
            source_id, path = replay.goal.source_id, replay.path
            if source_id in doubts and not replay.only_its_last_record_was_edited:
                yield Unread(source_id, path, doubts[source_id])
            elif replay.finished or replay.differences.count:
                replay.compare(edited=source_id in doubts)
                differences.take(replay.differences)
            elif fault := next((f for f in faults if f.startswith(f"{path}: ")), None):
                found = fault.removeprefix(f"{path}: ")
                differences.add(Difference(path, None, "file", "readable", found))
                yield Unread(source_id, path, "unreadable")
            else:
                yield Unread(source_id, path, "changed" if replay.cursor.offset else "gone")

    def _say_folders(self, faults: set[str], differences: Differences) -> None:
        """Says once of each folder that is there that it cannot be read."""
        for fault in sorted(faults):
            folder, _, found = fault.rpartition(": ")
            if folder not in self._folders and Path(folder).is_dir():
                self._folders.add(folder)
                differences.add(Difference(folder, None, "folder", "readable", found))

    def _read(self, replays: list[_Replay], advance: Callable[[int], None]) -> set[str]:
        """Reads each to where its source is committed; returns what could not be read, and why."""
        going = {replay.goal.source_id: replay for replay in replays if not replay.finished}
        tailer = self._follow(replay.cursor for replay in going.values())
        faults: set[str] = set()
        try:
            survey = tailer.scan(time.monotonic_ns())
            faults.update(survey.faults)
            for moved in survey.moved:
                going[moved.source_id].path = moved.path
            found_work = True
            while found_work:
                found_work = False
                for outcome in tailer.read(time.time_ns() + _PATIENCE_NS):
                    found_work |= not isinstance(outcome, str)
                    if isinstance(outcome, str):
                        faults.add(outcome)
                    elif isinstance(outcome, Chunk):
                        replay = going[outcome.start.source_id]
                        self._take(replay, outcome, tailer)
                        advance(replay.cursor.offset - outcome.start.offset)
                    elif isinstance(outcome, Doubt):
                        tailer.drop(outcome.source_id)
        finally:
            tailer.close()
        return faults

    def _take(self, replay: _Replay, chunk: Chunk, tailer: Tailer) -> None:
        cut = _cut(chunk, replay.goal.offset)
        replay.take(self._build(cut), self._reader)
        if replay.finished:
            tailer.drop(replay.goal.source_id)
        elif replay.cursor.offset > chunk.start.offset:
            tailer.adopt(replay.cursor)
        else:
            replay.overrun()
            tailer.drop(replay.goal.source_id)

    def _doubts(self, checkpoints: Iterable[Checkpoint]) -> dict[int, str]:
        """Sources whose last committed record no longer stands before the offset, and why."""
        tailer = self._follow(checkpoints)
        try:
            tailer.scan(time.monotonic_ns())
            return {
                outcome.source_id: outcome.reason
                for outcome in tailer.read(time.time_ns())
                if isinstance(outcome, Doubt)
            }
        finally:
            tailer.close()


def _cut(chunk: Chunk, goal: int) -> Chunk:
    """What of the chunk ends at the offset `goal` or before; may be nothing."""
    if chunk.end <= goal:
        return chunk
    start = chunk.start.offset
    if chunk.zeros:
        return replace(chunk, end=goal, zeros=goal - start)
    ends = list(accumulate((len(line) + 1 for line in chunk.lines), initial=start))
    count = bisect_right(ends, goal) - 1
    # Without a last record, because that of the chunk is no longer its last.
    return Chunk(chunk.start, chunk.lines[:count], ends[count], chunk.size_bytes, 0, b"")


# The ledger and its snapshots


class _Ledger:
    """The database as it is at one moment, compared with itself and with its snapshots."""

    def __init__(self, reader: TallyReader, path: str, differences: Differences) -> None:
        self._reader = reader
        self._path = path
        self._differences = differences
        # What the rows themselves add up to.
        self._days: dict[int, tuple[int, int]] = {}  # traces, nano-dollars
        self._traces: Counter[int] = Counter()  # of each source
        self._tallies: Counter[tuple[str, str]] = Counter()
        self._totals: Totals = {}

    def compare_integrity(self) -> bool:
        """Whether SQLite finds nothing wrong with the database."""
        faults = self._reader.faults(MAX_NAMED)
        for fault in faults:
            self._differences.expect(self._path, "integrity check", "ok", fault)
        return not faults

    def compare_tables(
        self,
        sources: list[Source],
        snapshot_path: Callable[[Partition], Path] | None = None,
    ) -> None:
        """Compares the counters, tallies and totals with the rows themselves.

        The pruned ones are looked at a day at a time, so that no more than a day has to be held.
        """
        self._count("trace")
        for partition in self._reader.partitions().values():
            if partition.pruned and self._load(partition, snapshot_path):
                self._count(PRUNED_CALLS)
                self._reader.forget()
        self._tallies.update(self._reader.recount_reasons())
        self._compare_rows(sources, self._traces, self._reader.dead_letters_of_sources())
        kept = self._reader.tallies()
        for column, value in sorted(self._tallies.keys() | kept.keys()):
            counted, tallied = self._tallies[column, value], kept.get((column, value), 0)
            self._expect(f"tally of {column} {value}", counted, tallied)
        added_up = self._reader.totals_by_source()
        for source in sorted(self._totals.keys() | added_up.keys()):
            of_rows = self._totals.get(source, _NO_TOTALS)
            of_total = added_up.get(source, _NO_TOTALS)
            for name, expected, found in zip(TOTALLED, of_rows, of_total, strict=True):
                self._expect(f"total of {name} of cost_source {source}", expected, found)
        for day in sorted(self._days.keys() - self._reader.partitions().keys()):
            self._expect(f"partition of {_date(day)}", "there", _NOTHING)

    def _load(
        self, partition: Partition, snapshot_path: Callable[[Partition], Path] | None
    ) -> bool:
        """Loads the pruned calls of a day; False, and a difference, when they cannot be had."""
        from prodlensd import snapshots  # noqa: PLC0415 - loads pyarrow

        what = f"{partition.pruned} pruned calls of {_date(partition.day)}"
        if snapshot_path is None:
            self._expect(what, "in the snapshot", "snapshots are off: parquet.enabled")
            return False
        path = snapshot_path(partition)
        try:
            self._reader.load(partition, snapshots.ledger_rows(path, LOADED))
        except (StoreError, OSError, ValueError) as error:
            found = error.strerror if isinstance(error, OSError) else str(error)
            self._differences.expect(str(path), what, "in the snapshot", found)
            return False
        return True

    def _count(self, calls: str) -> None:
        """Adds up the rows of a table of calls."""
        totals, tallies = self._reader.recount(calls)
        self._tallies.update(tallies)
        for source, sums in totals.items():
            before = self._totals.get(source, _NO_TOTALS)
            self._totals[source] = [old + new for old, new in zip(before, sums, strict=True)]
        for group in self._reader.groups(calls):
            self._traces[group.source_id] += group.traces
            self._tallies["cost_source", group.cost_source] += group.traces
            if group.anomalies is not None:
                self._tallies["anomalies", group.anomalies] += group.traces
            if group.disputed is not None:
                self._tallies["disputed", group.disputed] += group.traces
            count, nanousd = self._days.get(group.day, (0, 0))
            self._days[group.day] = (count + group.traces, nanousd + group.nanousd)

    def _compare_rows(
        self, sources: list[Source], traces: Counter[int], dead_letters: dict[int, int]
    ) -> None:
        for source in sources:
            source_id, path = source.checkpoint.source_id, source.checkpoint.path
            counts, of = source.counts, f"of source {source_id} ({path})"
            self._expect(f"lines {of}", sum(counts[1:]), counts.lines)
            self._expect(f"rows in trace {of}", counts.traces, traces.pop(source_id, 0))
            letters = dead_letters.pop(source_id, 0)
            self._expect(f"rows in dead_letter {of}", counts.dead_letters, letters)
        for table, orphans in (("trace", traces), ("dead_letter", dead_letters)):
            for source_id, count in sorted(orphans.items()):
                self._expect(f"rows in {table} of unknown source {source_id}", 0, count)

    def _expect(self, what: str, expected: object, found: object) -> None:
        self._differences.expect(self._path, what, expected, found)

    def compare_snapshots(
        self, store_path: Path, snapshot_path: Callable[[Partition], Path]
    ) -> tuple[int, int]:
        """Compares each snapshot that is up to date with its day; returns how many, and the rest.

        A snapshot that was written again meanwhile is of the rest.
        """
        compared = due = 0
        for day, partition in self._reader.partitions().items():
            if not partition.is_clean:
                due += 1
                if not partition.pruned:
                    continue
            differences = Differences()
            self._compare_snapshot(partition, snapshot_path(partition), differences)
            if differences.count:
                with DayReader(store_path) as now:
                    if now.partitions().get(day) != partition:
                        due += partition.is_clean
                        continue
            compared += partition.is_clean
            self._differences.take(differences)
        return compared, due

    def _compare_snapshot(self, partition: Partition, path: Path, differences: Differences) -> None:
        from prodlensd import snapshots  # noqa: PLC0415 - loads pyarrow

        expect = partial(differences.expect, str(path))
        digests = [d.hex() for d in (partition.sha256, partition.next_sha256) if d is not None]
        try:
            digest = snapshots.digest(path).hex()
            if not partition.is_clean:
                expect("SHA-256", digest if digest in digests else " or ".join(digests), digest)
                return
            rows, nanousd = self._days.get(partition.day, (0, 0))
            self._expect(f"rows compacted of {_date(partition.day)}", rows, partition.rows)
            found_rows, found_nanousd = snapshots.measure(path)
        except FileNotFoundError:
            expect("snapshot", "there", _NOTHING)
        except (OSError, ValueError) as error:
            expect("snapshot", "readable", str(error))
        else:
            expect("rows", rows, found_rows)
            expect("sum of cost_usd", _usd(nanousd), _usd(found_nanousd))
            if not differences.count:
                expect("SHA-256", " or ".join(digests), digest)


def _date(day: int) -> str:
    return str(date(1970, 1, 1) + timedelta(days=day))


def _time(moment_us: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=moment_us)
    return moment.isoformat().replace("+00:00", "Z")


def _usd(nanousd: int) -> str:
    return f"${Decimal(nanousd).scaleb(-9):f}"


def _said(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
