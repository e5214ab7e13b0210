"""The ledger: one SQLite database, and all SQL of the program."""

from prodlensd.ledger.calls import LOADED, PRUNED_CALLS
from prodlensd.ledger.connection import (
    LedgerError,
    LedgerLockedError,
    LedgerLostError,
    check_is_there,
    sqlite_version,
)
from prodlensd.ledger.days import Partition, Snapshots, Span, span_of
from prodlensd.ledger.heartbeat import Heartbeat
from prodlensd.ledger.letters import BEFORE, LETTER_STATES, Accepted, Letters, Refused
from prodlensd.ledger.measures import BUCKETS_S, Histogram, Measures
from prodlensd.ledger.partitions import Partitions
from prodlensd.ledger.prices import (
    Change,
    CostChange,
    Doubtful,
    PriceReader,
    Prices,
    Selected,
    Selection,
)
from prodlensd.ledger.publishing import Copies, FailedAttempts, Publishing
from prodlensd.ledger.reading import Reader
from prodlensd.ledger.rows import place_of
from prodlensd.ledger.sources import Added, Counts, OpenGaps, Place, Source, Sources, Tail
from prodlensd.ledger.spent import Spent, SpentReader, Sums
from prodlensd.ledger.tallies import TOTALLED, TotalsBySource
from prodlensd.ledger.telling import Telling
from prodlensd.ledger.turns import Turns
from prodlensd.ledger.writing import Ledger, Redeemed

__all__ = [
    "BEFORE",
    "BUCKETS_S",
    "LETTER_STATES",
    "LOADED",
    "PRUNED_CALLS",
    "TOTALLED",
    "Accepted",
    "Added",
    "Change",
    "Copies",
    "CostChange",
    "Counts",
    "Doubtful",
    "FailedAttempts",
    "Heartbeat",
    "Histogram",
    "Ledger",
    "LedgerError",
    "LedgerLockedError",
    "LedgerLostError",
    "Letters",
    "Measures",
    "OpenGaps",
    "Partition",
    "Partitions",
    "Place",
    "PriceReader",
    "Prices",
    "Publishing",
    "Reader",
    "Redeemed",
    "Refused",
    "Selected",
    "Selection",
    "Snapshots",
    "Source",
    "Sources",
    "Span",
    "Spent",
    "SpentReader",
    "Sums",
    "Tail",
    "Telling",
    "TotalsBySource",
    "Turns",
    "check_is_there",
    "place_of",
    "span_of",
    "sqlite_version",
]
