"""A world to damage: a log folder, a ledger, and a daemon that is stepped by hand."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from prodlensd.config import Logs
from prodlensd.daemon.loop import Daemon, Pace
from prodlensd.jobs.compaction import Compacted, Compaction, proven
from prodlensd.jobs.retention import prune
from prodlensd.ledger import Ledger, Partitions, Reader, TotalsBySource
from prodlensd.logs.bell import Bell
from prodlensd.logs.tailer import Tailer
from prodlensd.model import Folder, Price, Trace
from prodlensd.pricing import Pricer
from prodlensd.process.signals import Signals
from tests.ledgers import query


class PricedBy(Pricer):
    """A pricer that asks a function."""

    def __init__(
        self,
        price: Callable[[Trace], Price],
        expect: Callable[[list[Trace]], None] = lambda _traces: None,
    ) -> None:
        super().__init__()
        self._price = price
        self._expect = expect

    def price(self, trace: Trace) -> Price:
        return self._price(trace)

    def expect(self, traces: Iterable[Trace]) -> None:
        self._expect(list(traces))


def price(trace: Trace) -> Price:
    """A price as good as any: what has no session has no price."""
    return Price(None, "unpriced") if trace.session_id is None else Price(1, "table")


def some(totals: TotalsBySource) -> TotalsBySource:
    """Those that add up to anything."""
    return {source: sums for source, sums in totals.items() if any(sums)}


class World:
    """One machine: its log files, its ledger, and its daemon, which takes a step when told to."""

    def __init__(self, folder: Path) -> None:
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.ledger = folder / "prodlens.db"
        self.max_line_bytes = 1 << 20
        self.zeros_wait_ns = 0
        self.batch_max_lines = 1000
        self.transcripts: list[Folder] = []
        self._start()

    def _start(self) -> None:
        self.store = Ledger(self.ledger, host="laptop")
        self.store.__enter__()
        self.tailer = Tailer(
            [self.logs],
            include=Logs(directories=()).include,
            recursive=False,
            max_line_bytes=self.max_line_bytes,
            transcripts=self.transcripts,
            zeros_wait_ns=self.zeros_wait_ns,
            checkpoints=self.store.sources.checkpoints(),
        )
        self.daemon = Daemon(
            ledger=self.store,
            tailer=self.tailer,
            bell=Bell([self.logs]),
            pricer=PricedBy(price),
            log=structlog.get_logger(),
            now=lambda: time.time_ns() // 1000,
            signals=Signals(),
            pace=Pace(batch_max_lines=self.batch_max_lines),
        )

    def stop(self) -> None:
        self.tailer.close()
        self.store.__exit__(None, None, None)

    def restart(self) -> None:
        self.stop()
        self._start()

    def step(self) -> None:
        """Ingests everything there is, and checks what always holds."""
        self.settle()
        self.check()
        self.sum_up()

    def settle(self) -> None:
        """Ingests everything there is, in a bounded number of steps."""
        for _ in range(1000):
            if not self.daemon.ingest():
                return
        raise AssertionError("the daemon found work a thousand times in a row")

    def check(self) -> None:
        """What holds after every step, whatever happened before it."""
        for column in ("cost_source", "status", "anomalies", "disputed", "reason"):
            table = "dead_letter" if column == "reason" else "trace"
            tallied = f"SELECT value, traces FROM tally WHERE traces <> 0 AND column = '{column}'"
            which = "state = 'open'" if column == "reason" else f"{column} NOT NULL"
            counted = f"SELECT {column}, count(*) FROM {table} WHERE {which} GROUP BY 1"
            assert sorted(self.query(tallied)) == sorted(self.query(counted))
        with Reader(self.ledger) as reader:
            totals, tallies = reader.tallies.totals_by_source(), reader.tallies.tallies()
            added, recounted = reader.tallies.recount()
        assert some(totals) == some(added)
        kept, found = (
            {key: n for key, n in of.items() if key[0] == "unpriced_reason" and n}
            for of in (tallies, recounted)
        )
        assert kept == found
        self.check_spent()
        for table in ("trace", "dead_letter"):
            counted = f"SELECT count(*) FROM {table}"
            assert self.query(counted) == self.query(f"SELECT total({table}s) FROM source")
        records = "traces + duplicates + dead_letters + passed_over"
        assert self.query(f"SELECT * FROM sources WHERE records <> {records}") == []
        days = "SELECT started_us / 86400000000 FROM trace EXCEPT SELECT day FROM partition"
        assert self.query(days) == []

    def check_spent(self) -> None:
        """That what was spent is what the rows say, where they are all there."""
        if not self.query("SELECT 1 FROM pruned LIMIT 1"):
            with Reader(self.ledger) as reader, reader.one_moment():
                reader.spent.recount()
                assert reader.spent.differences(3) == []

    def sum_up(self) -> None:
        """Adds up what may be: each step finds the calls before it in the sums, to change there."""
        while self.store.spending.sum_up(time.time_ns() // 1000):
            pass

    def faults(self) -> set[str]:
        """What cannot be read just now, as the daemon says it."""
        return {f"{fault.path}: {fault.reason}" for fault in self.daemon._faults.unreadable}

    def compaction(self, reader: Reader, folder: Path, host: str = "laptop") -> Compaction:
        """One round over the dirty days, into this folder."""
        return Compaction(
            partitions=Partitions(self.store),
            reader=reader,
            directory=folder,
            host=host,
            price_book="none",
            now=lambda: 1,
            pause=lambda: None,
        )

    def compact(self, folder: Path, host: str = "laptop") -> list[Compacted]:
        """Writes the snapshots of the dirty days into this folder."""
        with Reader(self.ledger) as reader:
            return list(self.compaction(reader, folder, host).run())

    def prune(self, folder: Path, before_day: int = 1 << 20) -> int:
        """Prunes the days before this one; returns how many rows went."""
        with Reader(self.ledger) as reader:
            pruned = prune(
                Partitions(self.store),
                reader,
                lambda partition: partition.place(folder),
                proven,
                before_day=before_day,
                pause=lambda: None,
            )
            return sum(day.rows for day in pruned)

    def dirty_days(self) -> set[int]:
        """The days whose snapshot is behind the ledger."""
        with Reader(self.ledger) as reader:
            return {p.day for p in reader.days.partitions().values() if not p.is_clean}

    def append(self, name: str, *parts: bytes) -> None:
        with (self.logs / name).open("ab") as file:
            for part in parts:
                file.write(part)

    def query(self, sql: str) -> list[Any]:
        """Rows as another process sees them; single columns without their tuple."""
        return query(self.ledger, sql)

    def sessions(self) -> list[str]:
        """The session of every trace, in time order: the tests' name for a line."""
        return self.query("SELECT session_id FROM traces ORDER BY timestamp, source_offset")

    def counts(self) -> tuple[int, int, int, int, int]:
        """lines, traces, duplicates, dead letters, blanks over all sources."""
        row: tuple[int, int, int, int, int] = self.query(
            "SELECT sum(lines), sum(traces), sum(duplicates), sum(dead_letters), sum(blanks) "
            "FROM sources"
        )[0]
        return row


def line(number: int, *, ids: bool = True, pad: str = "", **more: Any) -> bytes:
    """A trace line of session `s<number>`; without ids it does not identify itself."""
    record: dict[str, Any] = {
        "timestamp": f"2026-01-01T00:{number // 60:02d}:{number % 60:02d}Z",
        "attributes": {
            "llm.model_name": "anthropic/claude-sonnet-4-5",
            "latency_ms": 1.5,
            "pad": pad,
        },
        "usage": {"input_tokens": 10, "output_tokens": number, "total_tokens": 10 + number},
        "metadata": {"session_id": f"s{number}"},
    } | more
    if ids:
        record |= {"id": f"chatcmpl-{number}", "litellm_call_id": f"call-{number}"}
    return json.dumps(record).encode() + b"\n"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.stop()


@pytest.fixture
def make_line() -> Any:
    return line
