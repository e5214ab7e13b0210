"""The ledger against itself and its snapshots: sums and counts, made again from the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Final

from prodlensd.answers.verify.differences import MAX_NAMED, NOTHING, Differences
from prodlensd.ledger import (
    LOADED,
    PRUNED_CALLS,
    TOTALLED,
    LedgerError,
    Partition,
    Reader,
    Source,
    TotalsBySource,
)
from prodlensd.moments import day_of, short_time

_NO_TOTALS: Final = [0] * len(TOTALLED)


class LedgerChecks:
    """Compares the database, as it is at one moment, with itself and with its snapshots.

    The mutable state: the sums over the rows counted so far.
    """

    def __init__(self, reader: Reader, path: str, differences: Differences) -> None:
        self._reader = reader
        self._path = path
        self._differences = differences
        self._days: dict[int, tuple[int, int]] = {}  # traces, nano-dollars
        self._traces: Counter[int] = Counter()  # of each source
        self._tallies: Counter[tuple[str, str]] = Counter()
        self._totals: TotalsBySource = {}

    def compare_integrity(self) -> bool:
        """Whether SQLite's own check finds the database sound."""
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

        Pruned calls are loaded a day at a time, so that memory holds no more than a day of them.
        """
        self._expect("rows in trace without their row in common", 0, self._reader.days.halves())
        self._count("trace")
        for partition in self._reader.days.partitions().values():
            if partition.pruned and self._load(partition, snapshot_path):
                self._count(PRUNED_CALLS)
                self._reader.calls.forget()
        self._tallies.update(self._reader.tallies.recount_reasons())
        self._compare_rows(sources, self._traces, self._reader.letters.count_by_source())
        kept = self._reader.tallies.tallies()
        for column, value in sorted(self._tallies.keys() | kept.keys()):
            counted, tallied = self._tallies[column, value], kept.get((column, value), 0)
            self._expect(f"tally of {column} {value}", counted, tallied)
        added_up = self._reader.tallies.totals_by_source()
        for source in sorted(self._totals.keys() | added_up.keys()):
            of_rows = self._totals.get(source, _NO_TOTALS)
            of_total = added_up.get(source, _NO_TOTALS)
            for name, expected, found in zip(TOTALLED, of_rows, of_total, strict=True):
                self._expect(f"total of {name} of cost_source {source}", expected, found)
        for whose, quarter_us, again, spent in self._reader.spent.differences(MAX_NAMED):
            self._expect(f"spent of {whose} from {short_time(quarter_us)} on", again, spent)
        for day in sorted(self._days.keys() - self._reader.days.partitions().keys()):
            self._expect(f"partition of {day_of(day)}", "there", NOTHING)

    def _load(
        self, partition: Partition, snapshot_path: Callable[[Partition], Path] | None
    ) -> bool:
        """Loads the pruned calls of a day; False, and a difference, when they cannot be read."""
        from prodlensd import snapshots  # noqa: PLC0415 - loads pyarrow

        what = f"{partition.pruned} pruned calls of {day_of(partition.day)}"
        if snapshot_path is None:
            self._expect(what, "in the snapshot", "snapshots are off: parquet.enabled")
            return False
        path = snapshot_path(partition)
        try:
            self._reader.calls.load(partition, snapshots.ledger_rows(path, LOADED))
        except (LedgerError, OSError, ValueError) as error:
            found = error.strerror if isinstance(error, OSError) else str(error)
            self._differences.expect(str(path), what, "in the snapshot", found)
            return False
        return True

    def _count(self, calls: str) -> None:
        """Adds up the rows of a table of calls."""
        self._reader.spent.recount(calls)
        totals, tallies = self._reader.tallies.recount(calls)
        self._tallies.update(tallies)
        for source, sums in totals.items():
            before = self._totals.get(source, _NO_TOTALS)
            self._totals[source] = [old + new for old, new in zip(before, sums, strict=True)]
        for group in self._reader.tallies.groups(calls):
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
            found = counts.traces + counts.duplicates + counts.dead_letters + counts.passed_over
            self._expect(f"records {of}", found, counts.records)
            if counts.records < counts.lines - counts.blanks:
                expected = f"{counts.lines - counts.blanks} or more"
                self._expect(f"records {of}", expected, counts.records)
            self._expect(f"rows in trace {of}", counts.traces, traces.pop(source_id, 0))
            letters = dead_letters.pop(source_id, 0)
            self._expect(f"rows in dead_letter {of}", counts.dead_letters, letters)
        for table, orphans in (("trace", traces), ("dead_letter", dead_letters)):
            for source_id, count in sorted(orphans.items()):
                self._expect(f"rows in {table} of unknown source {source_id}", 0, count)

    def _expect(self, what: str, expected: object, found: object) -> None:
        self._differences.expect(self._path, what, expected, found)

    def compare_snapshots(
        self, ledger_path: Path, snapshot_path: Callable[[Partition], Path]
    ) -> tuple[int, int]:
        """Compares each snapshot that is up to date with its day: how many were, and were not.

        A snapshot that was written again meanwhile is not compared.
        """
        compared = due = 0
        for day, partition in self._reader.days.partitions().items():
            if not partition.is_clean:
                due += 1
                if not partition.pruned:
                    continue
            differences = Differences()
            self._compare_snapshot(partition, snapshot_path(partition), differences)
            if differences.count:
                with Reader(ledger_path) as now:
                    if now.days.partitions().get(day) != partition:
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
            self._expect(f"rows compacted of {day_of(partition.day)}", rows, partition.rows)
            found_rows, found_nanousd = snapshots.measure(path)
        except FileNotFoundError:
            expect("snapshot", "there", NOTHING)
        except (OSError, ValueError) as error:
            expect("snapshot", "readable", str(error))
        else:
            expect("rows", rows, found_rows)
            expect("sum of cost_usd", _usd(nanousd), _usd(found_nanousd))
            if not differences.count:
                expect("SHA-256", " or ".join(digests), digest)


def _usd(nanousd: int) -> str:
    return f"${Decimal(nanousd).scaleb(-9):f}"
