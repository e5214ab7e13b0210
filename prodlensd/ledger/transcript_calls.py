"""Calls of which transcripts tell: each is found by its key alone, wherever it is told of.

Many lines tell of one call, in one file or in copies of it, and its counts may still grow from line
to line. The call has the time of its earliest line, with what that says of who called, and the
usage of the fullest one. Where the proxy's log or its spend logs tell of it as well, they are
believed: who called and what was charged is theirs, and the transcript adds what they lack.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import orjson

from prodlensd.ledger.connection import Database
from prodlensd.ledger.rows import (
    CALL_ID,
    COLUMNS,
    KEY,
    PRICE,
    PRICED_BY,
    Row,
    at_the_place_of,
    value_of,
)
from prodlensd.ledger.witnesses import APART_US, Call, spans
from prodlensd.model import LOG, Usage

#: The counts of the fullest line are smaller than others: the agent says of its counts that they
#: only grow.
USAGE_SHRANK: Final = "usage_shrank"
#: The proxy has lost what the call used, and its transcript has it.
USAGE_OF_TRANSCRIPT: Final = "usage_of_transcript"
#: The transcripts whose keys have the id of a response that the proxy's logs have too.
_WITH_RESPONSE_ID: Final = " claude_code "

_OF_KEY: Final = "SELECT started_us, key, line_us FROM transcript_call WHERE transcript_key = ?"
# Asked for all at once, a key takes a third of the time.
_OF_KEYS: Final = """
    SELECT transcript_key, started_us, transcript_call.key, line_us
    FROM json_each(?) CROSS JOIN transcript_call ON transcript_key = value
"""
_NOTE: Final = "INSERT INTO transcript_call VALUES (?, ?, ?, ?)"
_NOTE_LINE: Final = "UPDATE transcript_call SET line_us = ? WHERE transcript_key = ?"
_MOVE: Final = "UPDATE transcript_call SET started_us = ? WHERE transcript_key = ?"
_LOGGED: Final = f"SELECT 1 FROM source WHERE format = '{LOG}' AND traces > 0 LIMIT 1"  # noqa: S608
#: The calls of a time that have ids of the proxy's: neither of a transcript, nor without ids.
_NEAR: Final = """
    SELECT started_us, key FROM call
    WHERE started_us BETWEEN ? AND ? AND typeof(key) = 'text' AND key NOT GLOB ' * *'
"""


class Noted(NamedTuple):
    """Where a call is of which a transcript has told.

    `line_us`: the start of its line in the proxy's log, where that was read after the transcript.
    """

    started_us: int
    key: str | bytes
    line_us: int | None

    @property
    def call(self) -> Call:
        """Its place in `trace`."""
        return Call(self.started_us, self.key)


def is_of_transcript(key: str | bytes) -> bool:
    """Whether it is the key of a call of a transcript (see `formats.transcripts`)."""
    return isinstance(key, str) and key[0] == " " and " " in key[1:]


class TranscriptCalls:
    """Finds the calls that transcripts tell of, and notes where they are.

    The mutable state: whether the ledger has calls of logs, and as of which `data_version` it had
    none.
    """

    def __init__(self, ledger: Database) -> None:
        self.ledger = ledger
        self._has_logged = False
        self._version: int | None = None

    def of(self, transcript_key: str) -> Noted | None:
        """Where the call of this key is; None when no transcript has told of it yet."""
        found = self.ledger.db.execute(_OF_KEY, (transcript_key,)).fetchone()
        return None if found is None else Noted._make(found)

    def of_all(self, transcript_keys: Iterable[str]) -> dict[str, Noted]:
        """Where the calls of these keys are, of which a transcript has told already."""
        keys = orjson.dumps(list(transcript_keys)).decode()
        found = self.ledger.db.execute(_OF_KEYS, (keys,))
        return {key: Noted._make(noted) for key, *noted in found}

    def note(self, calls: Iterable[tuple[str, Call]]) -> None:
        """Notes, by key, where these calls are."""
        self.ledger.db.executemany(_NOTE, ((key, *call, None) for key, call in calls))

    def note_line(self, transcript_key: str | bytes, line_us: int) -> None:
        """Notes that a line of the proxy's log, of this start, tells of the call as well."""
        self.ledger.db.execute(_NOTE_LINE, (line_us, transcript_key))

    def move(self, transcript_key: str, started_us: int) -> None:
        """Notes that the call has another start now."""
        self.ledger.db.execute(_MOVE, (started_us, transcript_key))

    def parted(self, rows: list[Row]) -> tuple[list[tuple[Row, Noted]], list[Row]]:
        """The rows of the proxy's logs of whose calls a transcript told first; the others."""
        self._has_logged |= bool(rows)
        if self.ledger.db.execute("SELECT 1 FROM transcript_call LIMIT 1").get is None:
            return [], rows
        known, others = [], []
        for row in rows:
            noted = self.of_proxied(*row[KEY])
            if noted is None:
                others.append(row)
            else:
                known.append((row, noted))
        return known, others

    def of_proxied(self, started_us: int, key: str | bytes) -> Noted | None:
        """The call of a line or row of the proxy's logs, if a transcript told of it first.

        By the id of the response, at about the time: the line and the row of a call have two.
        """
        if isinstance(key, bytes):
            return None
        noted = self.of(f"{_WITH_RESPONSE_ID}{key.partition(' ')[2]}")
        if noted is None or not is_of_transcript(noted.key):
            return None
        near_us = noted.started_us if noted.line_us is None else noted.line_us
        return noted if abs(near_us - started_us) <= APART_US else None

    def proxied(self, rows: Iterable[Row]) -> dict[str, Call]:
        """Of rows of transcripts, by key, the call of about that time that the proxy's logs have.

        The calls of the time are read once for all rows, where there are any of logs.
        """
        if not self._are_any_logged():
            return {}
        wanted = {
            row[1].removeprefix(_WITH_RESPONSE_ID): row
            for row in rows
            if row[1].startswith(_WITH_RESPONSE_ID)
        }
        found: dict[str, Call] = {}
        for span in spans(row[0] for row in wanted.values()):
            for started_us, key in self.ledger.db.execute(_NEAR, span):
                row = wanted.get(key.partition(" ")[2])
                if row is not None and abs(row[0] - started_us) <= APART_US:
                    before = found.get(row[1])
                    if before is None or _apart(row, started_us) < _apart(row, before.started_us):
                        found[row[1]] = Call(started_us, key)
        return found

    def _are_any_logged(self) -> bool:
        """Whether a log has told of calls. Another program may have read one meanwhile."""
        version = self.ledger.db.pragma("data_version")
        if not self._has_logged and version != self._version:
            self._has_logged = self.ledger.db.execute(_LOGGED).get is not None
            self._version = version
        return self._has_logged


def _apart(row: Row, started_us: int) -> int:
    return abs(int(row[0]) - started_us)


# What two rows of a call come to -----------------------------------------------------------------

#: What the lines of one call may differ in, taken whole from one of them.
_WHO: Final = tuple(
    tuple(map(COLUMNS.index, group))
    for group in (
        ("session_id", "session_via"),
        ("developer_id", "developer_via"),
        ("repo_slug",),
        ("details",),
    )
)
_USED: Final = tuple(map(COLUMNS.index, (*PRICED_BY, *PRICE, "anomalies")))
_COUNTS: Final = value_of(
    *("tokens_in", "tokens_out", "cache_read_tokens", "cache_write_tokens"),
    *("cache_write_1h_tokens", "reasoning_tokens"),
)
#: The counts alone: what the call used, of which somebody has charged the cost.
_COUNTED: Final = tuple(map(COLUMNS.index, Usage._fields))
_BILL: Final = value_of("bill")
_COST_SOURCE: Final = value_of("cost_source")
_SESSION: Final = value_of("session_id")
_DETAILS: Final = COLUMNS.index("details")
_PLACE: Final = slice(COLUMNS.index("source_id"), COLUMNS.index("source_offset") + 1)
_ANOMALIES: Final = COLUMNS.index("anomalies")
_tokens: Final = value_of("tokens_in", "tokens_out")


def merged(known: Row, row: Row) -> Row:
    """What two lines of transcripts say of a call, at the place of the one that was read first."""
    first, later = (row, known) if _age(row) < _age(known) else (known, row)
    fuller, other = (row, known) if _fullness(row) > _fullness(known) else (known, row)
    full = list(first)
    for group in _WHO:
        if first[group[0]] is None:
            _take(full, later, group)
    if fuller is not first:
        _take(full, fuller, _USED)
    if _is_less_somewhere(fuller, other):
        _add_anomaly(full, USAGE_SHRANK)
    full[_PLACE] = known[_PLACE]
    return tuple(full)


def completed(proxied: Row, transcript: Row, at: Row) -> Row:
    """What the proxy's logs say of a call, with what they lack, where the row `at` is kept."""
    full = list(proxied)
    for group in _WHO[:-1]:
        if proxied[group[0]] is None:
            _take(full, transcript, group)
    if _has_lost_usage(proxied) and _fullness(transcript) > _fullness(proxied):
        is_charged = _COST_SOURCE(proxied) in ("gateway", "provider")
        _take(full, transcript, _COUNTED if is_charged else _USED)
        _add_anomaly(full, USAGE_OF_TRANSCRIPT)
    facts, more = (json.loads(row[_DETAILS] or "{}") for row in (proxied, transcript))
    more.pop("source", None)
    if more.keys() - facts.keys():
        full[_DETAILS] = json.dumps(more | facts, separators=(",", ":"))
    full[KEY] = at[KEY]
    if full[CALL_ID] is None and proxied[1] != at[1]:
        full[CALL_ID] = proxied[1].partition(" ")[0] or None
    return at_the_place_of(at, tuple(full))


def _age(row: Row) -> tuple[int, str, str]:
    """Which of two rows is the first.

    A copy may have the same time. Then their names decide, and not the order in which they are
    read; of Codex' sessions the name of the older one sorts first.
    """
    return row[0], _SESSION(row) or "~", row[_DETAILS] or ""


def _has_lost_usage(proxied: Row) -> bool:
    """Whether the proxy does not say what the call used; a transcript may have said it since."""
    return _tokens(proxied) == (None, None) or USAGE_OF_TRANSCRIPT in _anomalies(proxied)


def _anomalies(row: Sequence[Any]) -> list[str]:
    return row[_ANOMALIES].split(",") if row[_ANOMALIES] else []


def _add_anomaly(full: list[Any], word: str) -> None:
    full[_ANOMALIES] = ",".join(dict.fromkeys((*_anomalies(full), word)))


def _take(full: list[Any], row: Row, columns: Iterable[int]) -> None:
    for column in columns:
        full[column] = row[column]


def _fullness(row: Row) -> tuple[int, int]:
    """Which of two rows has more: by all counts, then by what else the price depends on."""
    return sum(filter(None, _COUNTS(row))), len(_BILL(row) or "")


def _is_less_somewhere(fuller: Row, other: Row) -> bool:
    counts, others = _COUNTS(fuller), _COUNTS(other)
    if counts == others:
        return False
    pairs = zip(counts, others, strict=True)
    return any(more is not None and less is not None and more < less for more, less in pairs)
