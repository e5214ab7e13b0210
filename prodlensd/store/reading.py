"""The reading side of the ledger, on a connection that cannot write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import apsw

from prodlensd.model import US_PER_DAY
from prodlensd.store.connection import open_reader, translated


class Heartbeat(NamedTuple):
    """The daemon's last sign of life."""

    pid: int
    version: str
    started_us: int
    beat_us: int
    phase: str
    watcher: str
    fault: str | None


class Tail(NamedTuple):
    """The live sources together. `lag_bytes` as of each source's last read."""

    sources: int
    lag_bytes: int
    last_read_us: int | None


class Totals(NamedTuple):
    """What the ledger holds."""

    lines: int
    traces: int
    duplicates: int
    dead_letters: int
    blanks: int
    unpriced: int
    open_gaps: int
    known_lost_bytes: int


class Snapshots(NamedTuple):
    """How far the Parquet files are."""

    days: int
    dirty_days: int
    last_compacted_us: int | None


class Cost(NamedTuple):
    """One line of a day's or a ledger's costs, by where the price came from."""

    source: str
    calls: int
    nanousd: int | None


class Reader:
    """A read-only view of the ledger, a context manager; raises StoreError when there is none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: apsw.Connection

    def __enter__(self) -> Self:
        self._db = open_reader(self._path)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._db.close()

    def heartbeat(self) -> Heartbeat | None:
        """The daemon's last sign of life; None before the first."""
        row = self._one(
            "SELECT pid, version, started_us, beat_us, phase, watcher, fault FROM daemon"
        )
        return None if row is None else Heartbeat(*row)

    def tail(self) -> Tail:
        """The live sources together."""
        return Tail(
            *self._row(
                "SELECT count(*), coalesce(sum(max(size_bytes - offset, 0)), 0), max(last_read_us) "
                "FROM source WHERE state = 'live'"
            )
        )

    def totals(self) -> Totals:
        """Totals from the sources' counters: as fast on a large ledger as on a small one."""
        return Totals(
            *self._row(
                "SELECT coalesce(sum(lines), 0), coalesce(sum(traces), 0), "
                "coalesce(sum(duplicates), 0), "
                "coalesce(sum(dead_letters), 0), coalesce(sum(blanks), 0) FROM source"
            ),
            *self._row("SELECT count(*) FROM trace WHERE cost_source = 'unpriced'"),
            *self._row(
                "SELECT count(*), coalesce(sum(known_bytes), 0) FROM gap WHERE state = 'open'"
            ),
        )

    def anomalies(self) -> dict[str, int]:
        """How many traces had each anomaly."""
        counts: dict[str, int] = {}
        for kinds, traces in self._all(
            "SELECT anomalies, count(*) FROM trace WHERE anomalies IS NOT NULL GROUP BY anomalies"
        ):
            for kind in kinds.split(","):
                counts[kind] = counts.get(kind, 0) + traces
        return counts

    def dead_letters(self) -> dict[str, int]:
        """How many dead letters there are of each reason."""
        return dict(
            self._all("SELECT reason, count(*) FROM dead_letter GROUP BY reason ORDER BY reason")
        )

    def snapshots(self) -> Snapshots:
        """How far the Parquet files are."""
        return Snapshots(
            *self._row(
                "SELECT count(*), coalesce(sum(version > compacted_version), 0), max(compacted_us) "
                "FROM partition"
            )
        )

    def costs(self, *, since_us: int = 0, until_us: int = 2**63 - 1) -> list[Cost]:
        """Calls and cost of a time span, by cost source."""
        return [
            Cost(*row)
            for row in self._all(
                "SELECT cost_source, count(*), sum(cost_nanousd) FROM trace "
                "WHERE started_us >= ? AND started_us < ? "
                "GROUP BY cost_source ORDER BY cost_source",
                (since_us, until_us),
            )
        ]

    def day(self, day: int, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """These columns of one UTC day's traces (days since 1970), in time order, read as one view.

        Beside the columns of the `traces` view there are the exact `started_us` and `cost_nanousd`.
        """
        return self._all(
            f"SELECT {', '.join(columns)} FROM trace_exact "  # noqa: S608 - names of columns
            "WHERE started_us >= ? AND started_us < ? ORDER BY started_us",
            (day * US_PER_DAY, (day + 1) * US_PER_DAY),
        )

    def _all(self, sql: str, bindings: tuple[object, ...] = ()) -> Iterator[tuple[Any, ...]]:
        with translated(self._path):
            yield from self._db.execute(sql, bindings)

    def _one(self, sql: str) -> tuple[Any, ...] | None:
        return next(self._all(sql), None)

    def _row(self, sql: str) -> tuple[Any, ...]:
        return next(self._all(sql))
