"""Writes what became of lines, and of the records in them.

The ledger invariant: in one transaction a source's offset advances over exactly the lines whose
outcome (blank, or for each record trace, duplicate, dead letter or passed over) is written.
Whatever kills the process, and wherever, the lines before the offset are in the ledger once and the
lines after it are not in it at all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

import apsw

from prodlensd.ledger.connection import key_digest
from prodlensd.ledger.rows import (
    KEY,
    Row,
    as_logged,
    at_the_place_of,
    at_the_price_of,
    filled,
    priced_by,
)
from prodlensd.ledger.sources import Counts, Sources
from prodlensd.ledger.spending import Spending
from prodlensd.ledger.tallies import Tallies
from prodlensd.ledger.transactions import Writer
from prodlensd.ledger.transcript_calls import is_of_transcript
from prodlensd.ledger.transcripts import Changes, Transcripts
from prodlensd.ledger.witnesses import Call, Near, Witnesses, is_of_spend_logs
from prodlensd.model import US_PER_DAY, DeadLetter, Outcome

_ADVANCE: Final = """
    UPDATE source SET path = ?, size_bytes = ?, offset = ?, chain = ?, memory = ?,
        record_bytes = ?, record_digest = ?, lines = lines + ?, traces = traces + ?,
        duplicates = duplicates + ?, dead_letters = dead_letters + ?, blanks = blanks + ?,
        records = records + ?, passed_over = passed_over + ?, last_read_us = ?
    WHERE source_id = ? AND offset = ? AND state IN ('live', 'imported')
"""
_MARK_DIRTY: Final = """
    INSERT INTO partition (day, version) VALUES (?, 1)
    ON CONFLICT DO UPDATE SET version = version + 1
"""
_REDEEM: Final = """
    UPDATE source SET traces = traces + ?, duplicates = duplicates + ?,
        dead_letters = dead_letters + ?, records = records + ?, passed_over = passed_over + ?
    WHERE source_id = ?
"""
_DELETE_LETTER: Final = """
    DELETE FROM dead_letter WHERE key = ? AND state <> 'purged' RETURNING reason, state, source_id
"""
_DELETE_PURGED: Final = """
    DELETE FROM dead_letter WHERE key = ? AND state = 'purged' RETURNING source_id
"""
_INSERT_LETTER: Final = (
    "INSERT INTO dead_letter (key, source_id, source_offset, length, reason, detail, raw, digest, "
    "received_us, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'open') ON CONFLICT DO NOTHING"
)


class Redeemed(NamedTuple):
    """The keys of the dead letters that one transaction moved.

    `duplicates` of the records that they now are were known calls, `refused` are dead letters.
    """

    keys: list[bytes]
    duplicates: int
    refused: int = 0


class Ledger(Writer):
    """The ledger, to be written to. `sources`, `tallies` and `spending` belong to it."""

    def __init__(
        self,
        path: Path,
        *,
        host: str = "",
        durability: str = "full",
        migrating: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(path, host=host, durability=durability, migrating=migrating)
        self.sources = Sources(self)
        self.tallies = Tallies(self)
        self.spending = Spending(self)
        self._witnesses = Witnesses(self)
        self._transcripts = Transcripts(self)

    def commit(self, outcomes: Iterable[Outcome], now_us: int) -> Counts:
        """Writes the outcome of every line and moves the sources' offsets over them, or nothing.

        The outcomes may be made while they are written.
        """
        with self.transaction():
            written = [self._commit_outcome(outcome, now_us) for outcome in outcomes]
        return Counts(*map(sum, zip(*written, strict=True))) if written else Counts()

    def redeem(self, letters: Iterable[tuple[bytes, list[Outcome]]], now_us: int) -> Redeemed:
        """Moves dead letters, all or none: by key, with what its bytes now are.

        A letter that another program has moved or purged meanwhile is passed over.
        """
        keys: dict[int, list[bytes]] = {}
        found: dict[int, list[Outcome]] = {}
        duplicates = refused = 0
        with self.transaction():
            for key, outcomes in letters:
                if (source_id := self._delete_letter(key)) is not None:
                    keys.setdefault(source_id, []).append(key)
                    found.setdefault(source_id, []).extend(outcomes)
            for source_id, outcomes in found.items():
                counts = self._write(_as_one(outcomes), now_us)
                self._redeem(source_id, counts, letters=len(keys[source_id]))
                duplicates += counts.duplicates
                refused += counts.dead_letters
        return Redeemed([key for some in keys.values() for key in some], duplicates, refused)

    def _delete_letter(self, key: bytes) -> int | None:
        """Deletes a letter that was not purged; gives the source that has counted it."""
        if (deleted := self.db.execute(_DELETE_LETTER, (key,)).fetchone()) is None:
            return None
        reason, state, source_id = deleted
        self.tallies.count("reason", {reason: state == "open"}, -1)
        return int(source_id)

    def _redeem(self, source_id: int, counts: Counts, *, letters: int = 1) -> None:
        """Counts in a source what some of its letters, which are gone, now are."""
        dead_letters, records = counts.dead_letters - letters, counts.records - letters
        changes = (counts.traces, counts.duplicates, dead_letters, records, counts.passed_over)
        self.db.execute(_REDEEM, (*changes, source_id))

    def _commit_outcome(self, outcome: Outcome, now_us: int) -> Counts:
        self._drop_known(outcome)
        done = self._write(outcome, now_us)
        end = outcome.end
        self.db.execute(
            _ADVANCE,
            (
                *(end.path, end.size_bytes, end.offset, end.chain, end.memory),
                *(end.record_bytes, end.record_digest),
                *done,
                *(now_us, end.source_id, outcome.start.offset),
            ),
        )
        if self.db.changes() != 1:
            raise AssertionError(
                f"source {end.source_id} ({end.path!a}) is not at offset {outcome.start.offset}"
            )
        return done

    def _write(self, outcome: Outcome, now_us: int) -> Counts:
        """Writes the records, and counts them; the source's counters and offset stay."""
        changed, replaced = self._insert(outcome.rows)
        refused = Counter(
            letter.reason
            for letter in outcome.dead_letters
            if self._insert_dead_letter(letter, now_us)
        )
        self.mark(changed, replaced)
        self.tallies.count("reason", refused)
        new, letters = len(changed) - len(replaced), refused.total()
        others = outcome.no_calls
        return Counts(
            outcome.lines,
            traces=new,
            duplicates=outcome.records - new - letters - others,
            dead_letters=letters,
            blanks=outcome.blanks,
            records=outcome.records,
            passed_over=others,
        )

    def _drop_known(self, outcome: Outcome) -> None:
        """Deletes dead letters of these records, which an older version refused.

        A purged letter cannot be retried. Without this, a record that is read again and now is a
        trace would stay in the ledger twice. And what is no call may hold what was said.
        """
        chains = [(row[1],) for row in outcome.rows if isinstance(row[1], bytes)]
        if outcome.line is not None:
            chains.append((outcome.line,))
        for (source_id,) in self.db.executemany(_DELETE_PURGED, chains):
            self._redeem(source_id, Counts(duplicates=1, records=1))
        for key, _ in outcome.passed_over:
            if (of_source := self._delete_letter(key)) is not None:
                self._redeem(of_source, Counts(passed_over=1, records=1))

    def _insert(self, rows: list[Row]) -> tuple[list[Row], list[Row]]:
        """Inserts the rows; returns those that changed the ledger, and what they replaced in it.

        Duplicates are rare: all rows are tried at once, and one by one only when some are known.
        Calls that another witness may have told of (see `witnesses`) come last.
        """
        if rows and is_of_transcript(rows[0][1]):
            return _together(self._transcripts.insert(rows))
        by_transcripts, rows = self._transcripts.calls.parted(rows)
        witnessed, rows = self._witnesses.parted(self._not_pruned(rows))
        changed, replaced = self._insert_unwitnessed(rows)
        if witnessed:
            near = self._witnesses.near([row for row in witnessed if is_of_spend_logs(row)])
            for row in witnessed:
                also_changed, also_replaced = self._insert_witnessed(row, near)
                changed, replaced = changed + also_changed, replaced + also_replaced
        if by_transcripts:
            also_changed, also_replaced = _together(self._transcripts.complete(by_transcripts))
            changed, replaced = changed + also_changed, replaced + also_replaced
        return changed, replaced

    def _insert_witnessed(self, row: Row, near: Near) -> tuple[list[Row], list[Row]]:
        """Inserts a call that may have been told of, or fills in what was not known of it."""
        witnesses = self._witnesses
        call: Call | None = None
        if is_of_spend_logs(row):
            call = witnesses.call_of_row(row, near)
            witnesses.note(row, call or Call(*row[KEY]))
        elif (noted := witnesses.of_line(row)) is not None:
            witnesses.note_line(row, noted)
            call = noted.call
        if call is None or call == row[KEY]:
            return self._insert_one_by_one([row])
        known = self.rows.get(call)
        if known is None:  # it is pruned
            return [], []
        full = filled(known, row)
        if full == known:
            return [], []
        self.rows.update(full)
        return [full], [known]

    def _insert_unwitnessed(self, rows: list[Row]) -> tuple[list[Row], list[Row]]:
        try:
            self.rows.insert(rows)
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
            if self.rows.insert_new(row):
                changed.append(row)
            elif (richer := self._enrich(row)) is not None:
                changed.append(richer[0])
                replaced.append(richer[1])
        return changed, replaced

    def _enrich(self, row: Row) -> tuple[Row, Row] | None:
        """Writes the row of a known call if it is richer; it, and the one that it replaced."""
        known = self.rows.get(row[KEY])
        if known is None:
            raise AssertionError(f"no row of {row[KEY]!r}, which is known")
        if as_logged(row).count(None) >= as_logged(known).count(None):
            return None
        if priced_by(row) == priced_by(known):
            # A price is not looked up again because more is known that it does not depend on.
            row = at_the_price_of(known, row)
        row = at_the_place_of(known, row)
        self.rows.update(row)
        return row, known

    def mark(self, changed: list[Row], replaced: list[Row]) -> None:
        """Notes, within a transaction, that these rows are there now, in place of others.

        The snapshots of their days are behind, and tallies, totals and sums are others now.
        """
        days = {(row[0] // US_PER_DAY,) for rows in (changed, replaced) for row in rows}
        self.db.executemany(_MARK_DIRTY, days)
        for rows, sign in ((changed, 1), (replaced, -1)):
            self.tallies.add(rows, sign)
            self.spending.add(rows, sign)

    def _insert_dead_letter(self, letter: DeadLetter, now_us: int) -> bool:
        before = self.db.total_changes()
        self.db.execute(_INSERT_LETTER, (*letter, now_us))
        return self.db.total_changes() > before


def _together(changes: Iterable[Changes]) -> tuple[list[Row], list[Row]]:
    """The rows that are there now, and those they replaced."""
    found = list(changes)
    return [new for new, _ in found], [old for _, old in found if old is not None]


def _as_one(outcomes: list[Outcome]) -> Outcome:
    """The records of all these outcomes of a source."""
    first = outcomes[0]
    return Outcome(
        first.start,
        first.end,
        [row for one in outcomes for row in one.rows],
        [],
        [letter for one in outcomes for letter in one.dead_letters],
        [passed for one in outcomes for passed in one.passed_over],
        0,
        skipped=sum(one.skipped for one in outcomes),
    )
