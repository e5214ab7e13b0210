"""Writes what became of lines.

The ledger invariant: in one transaction a source's offset advances over exactly the lines whose
outcome (trace, duplicate, dead letter, blank) is written. Whatever kills the process, and wherever,
the lines before the offset are in the ledger once and the lines after it are not in it at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

import apsw

from prodlensd.ledger.connection import key_digest
from prodlensd.ledger.rows import (
    ENRICH,
    INSERT,
    INSERT_NEW,
    KEY,
    SELECT,
    Row,
    as_logged,
    at_the_price_of,
    enriched,
    priced_by,
    value_of,
)
from prodlensd.ledger.sources import Counts, Sources
from prodlensd.ledger.tallies import Tallies
from prodlensd.ledger.transactions import Writer
from prodlensd.model import US_PER_DAY, DeadLetter, Outcome

_ADVANCE: Final = """
    UPDATE source SET path = ?, size_bytes = ?, offset = ?, chain = ?,
        record_bytes = ?, record_digest = ?, lines = lines + ?, traces = traces + ?,
        duplicates = duplicates + ?, dead_letters = dead_letters + ?, blanks = blanks + ?,
        last_read_us = ?
    WHERE source_id = ? AND offset = ? AND state = 'live'
"""
_MARK_DIRTY: Final = """
    INSERT INTO partition (day, version) VALUES (?, 1)
    ON CONFLICT DO UPDATE SET version = version + 1
"""
_REDEEM: Final = """
    UPDATE source SET dead_letters = dead_letters - ?, traces = traces + ?,
        duplicates = duplicates + ? WHERE source_id = ?
"""
_DELETE_LETTER: Final = """
    DELETE FROM dead_letter WHERE key = ? AND state <> 'purged' RETURNING reason, state
"""
_DELETE_PURGED: Final = """
    DELETE FROM dead_letter WHERE key = ? AND state = 'purged' RETURNING source_id
"""
_INSERT_LETTER: Final = (
    "INSERT INTO dead_letter VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)
_SOURCE_ID: Final = value_of("source_id")


class Redeemed(NamedTuple):
    """The keys of the dead letters that one transaction moved; how many were known calls."""

    keys: list[bytes]
    duplicates: int


class Ledger(Writer):
    """The ledger, to be written to. `sources` and `tallies` belong to it."""

    def __init__(self, path: Path, *, host: str = "", durability: str = "full") -> None:
        super().__init__(path, host=host, durability=durability)
        self.sources = Sources(self)
        self.tallies = Tallies(self)

    def commit(self, outcomes: Iterable[Outcome], now_us: int) -> Counts:
        """Writes the outcome of every line and moves the sources' offsets over them, or nothing."""
        with self.transaction():
            written = [self._commit_outcome(outcome, now_us) for outcome in outcomes]
        return Counts(*map(sum, zip(*written, strict=True))) if written else Counts()

    def redeem(self, letters: Iterable[tuple[bytes, Row]]) -> Redeemed:
        """Moves dead letters to `trace`, all or none: by key, with the row that each now is.

        A letter that another program has moved or purged meanwhile is passed over.
        """
        with self.transaction():
            there: list[tuple[bytes, Row]] = []
            opened: Counter[str] = Counter()
            for key, row in letters:
                if (letter := self.db.execute(_DELETE_LETTER, (key,)).fetchone()) is not None:
                    reason, state = letter
                    opened[reason] += state == "open"
                    there.append((key, row))
            self.tallies.count("reason", opened, -1)
            duplicates = 0
            moved = sorted((row for _, row in there), key=_SOURCE_ID)
            for source_id, of_source in groupby(moved, _SOURCE_ID):
                rows = list(of_source)
                changed, replaced = self._insert(rows)
                new = len(changed) - len(replaced)
                self.db.execute(_REDEEM, (len(rows), new, len(rows) - new, source_id))
                self._mark(changed, replaced)
                duplicates += len(rows) - new
        return Redeemed([key for key, _ in there], duplicates)

    def _commit_outcome(self, outcome: Outcome, now_us: int) -> Counts:
        self._drop_purged(outcome.rows)
        changed, replaced = self._insert(outcome.rows)
        new = len(changed) - len(replaced)
        refused = Counter(
            letter.reason
            for letter in outcome.dead_letters
            if self._insert_dead_letter(letter, now_us)
        )
        letters = refused.total()
        lines = len(outcome.rows) + len(outcome.dead_letters) + outcome.blanks
        done = Counts(lines, new, lines - new - letters - outcome.blanks, letters, outcome.blanks)
        end = outcome.end
        self.db.execute(
            _ADVANCE,
            (
                *(end.path, end.size_bytes, end.offset, end.chain),
                *(end.record_bytes, end.record_digest),
                *done,
                *(now_us, end.source_id, outcome.start.offset),
            ),
        )
        if self.db.changes() != 1:
            raise AssertionError(
                f"source {end.source_id} ({end.path!a}) is not at offset {outcome.start.offset}"
            )
        self._mark(changed, replaced)
        self.tallies.count("reason", refused)
        return done

    def _drop_purged(self, rows: list[Row]) -> None:
        """Deletes the purged dead letters of these lines, which an older version refused.

        A purged letter cannot be retried. Without this, a line that is read again and now is a
        trace would stay in the ledger twice.
        """
        chains = [(row[1],) for row in rows if isinstance(row[1], bytes)]
        for (source_id,) in self.db.executemany(_DELETE_PURGED, chains):
            self.db.execute(_REDEEM, (1, 0, 1, source_id))

    def _insert(self, rows: list[Row]) -> tuple[list[Row], list[Row]]:
        """Inserts the rows; returns those that changed the ledger, and what they replaced in it.

        Duplicates are rare: all rows are tried at once, and one by one only when some are known.
        """
        rows = self._not_pruned(rows)
        try:
            with self.db:
                self.db.executemany(INSERT, rows)
        except apsw.ConstraintError:
            return self._insert_one_by_one(rows)
        return rows, []

    def _not_pruned(self, rows: list[Row]) -> list[Row]:
        """The rows without those of pruned calls, which are duplicates."""
        last_us = self.db.execute("SELECT max(started_us) FROM pruned").get
        if last_us is None:
            return rows
        known = "SELECT 1 FROM pruned WHERE started_us = ? AND key = ?"
        return [
            row
            for row in rows
            if row[0] > last_us or self.db.execute(known, (row[0], key_digest(row[1]))).get is None
        ]

    def _insert_one_by_one(self, rows: list[Row]) -> tuple[list[Row], list[Row]]:
        changed, replaced = [], []
        for row in rows:
            before = self.db.total_changes()
            self.db.execute(INSERT_NEW, row)
            if self.db.total_changes() > before:
                changed.append(row)
                continue
            key = row[KEY]
            poorer = self.db.execute(SELECT, key).get
            if priced_by(row) == priced_by(poorer):
                # A price is not looked up again because more is known that it does not depend on.
                row = at_the_price_of(poorer, row)  # noqa: PLW2901
            self.db.execute(ENRICH, (*enriched(row), *key, as_logged(row).count(None)))
            if self.db.total_changes() > before:
                changed.append(row)
                replaced.append(poorer)
        return changed, replaced

    def _mark(self, changed: list[Row], replaced: list[Row]) -> None:
        """Marks the days of the changed rows dirty, and keeps the tallies and the totals."""
        self.mark_dirty({row[0] // US_PER_DAY for row in changed})
        self.tallies.add(changed)
        self.tallies.add(replaced, -1)

    def mark_dirty(self, days: Iterable[int]) -> None:
        """Notes that these days' snapshots are behind, within a transaction."""
        self.db.executemany(_MARK_DIRTY, [(day,) for day in days])

    def _insert_dead_letter(self, letter: DeadLetter, now_us: int) -> bool:
        before = self.db.total_changes()
        self.db.execute(_INSERT_LETTER, (*letter, now_us, "open"))
        return self.db.total_changes() > before
