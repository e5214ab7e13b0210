"""Writes the calls that transcripts tell of, each once: see `transcript_calls`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prodlensd.ledger.rows import KEY, Row, filled
from prodlensd.ledger.transactions import Writer
from prodlensd.ledger.transcript_calls import (
    Noted,
    TranscriptCalls,
    completed,
    is_of_transcript,
    merged,
)
from prodlensd.ledger.witnesses import Call

#: A row that is there now, and the one that it replaced; None: it is new.
Changes = tuple[Row, Row | None]


class Transcripts:
    """Writes rows of transcripts, within a transaction. Without state of its own."""

    def __init__(self, ledger: Writer) -> None:
        self._ledger = ledger
        self.calls = TranscriptCalls(ledger)

    def insert(self, rows: list[Row]) -> Iterator[Changes]:
        """Inserts the calls of these rows, or adds what they say to those that are there."""
        calls = _by_call(rows)
        noted = self.calls.of_all(calls)
        unknown = [row for key, row in calls.items() if key not in noted]
        proxied = self.calls.proxied(unknown)
        new = [row for row in unknown if row[1] not in proxied]
        self.calls.note((row[1], Call(*row[KEY])) for row in new)
        self._ledger.rows.insert(new)
        yield from ((row, None) for row in new)
        self.calls.note(proxied.items())
        noted |= {key: Noted(*call, None) for key, call in proxied.items()}
        for key, known in noted.items():
            if (changes := self._add(calls[key], known)) is not None:
                yield changes

    def _add(self, row: Row, noted: Noted) -> Changes | None:
        """Adds what a row says to the call that is there; None when that is nothing."""
        known = self._ledger.rows.get(noted.call)
        if known is None:  # it is pruned
            return None
        if is_of_transcript(noted.key) and noted.line_us is None:
            full = merged(known, row)
        else:
            full = completed(known, row, at=known)
        return None if full == known else self._replace(known, full)

    def complete(self, rows: Iterable[tuple[Row, Noted]]) -> Iterator[Changes]:
        """Adds what the proxy's logs say to the calls that transcripts told of first."""
        for row, noted in rows:
            known = self._ledger.rows.get(noted.call)
            if known is None:
                continue
            if noted.line_us is None:
                self.calls.note_line(noted.key, row[0])
                full = completed(row, known, at=known)
            else:
                full = filled(known, row)
            if full != known:
                yield self._replace(known, full)

    def _replace(self, known: Row, full: Row) -> Changes:
        rows = self._ledger.rows
        if full[KEY] == known[KEY]:
            rows.update(full)
        else:  # a line of an earlier time was found
            rows.delete(known)
            rows.insert([full])
            self.calls.move(full[1], full[0])
        return full, known


def _by_call(rows: list[Row]) -> dict[str, Row]:
    """What the rows say of each call, by its key."""
    calls: dict[str, Row] = {}
    for row in rows:
        known = calls.get(row[1])
        calls[row[1]] = row if known is None else merged(known, row)
    return calls
