"""The ledger: one SQLite database, and all SQL of the program."""

from prodlensd.ledger.calls import LOADED, PRUNED_CALLS, CallReader
from prodlensd.ledger.connection import LedgerError, LedgerLockedError, LedgerLostError
from prodlensd.ledger.days import DayReader, Partition, Snapshots, Span, span_of
from prodlensd.ledger.heartbeat import Heartbeat
from prodlensd.ledger.letters import BEFORE, LETTER_STATES, Accepted, LetterReader, Letters, Refused
from prodlensd.ledger.measures import BUCKETS_S, Histogram, Measures
from prodlensd.ledger.partitions import Partitions
from prodlensd.ledger.prices import Change, Doubtful, PriceReader, Prices, Selected, Selection
from prodlensd.ledger.publishing import Copies, FailedAttempts, Publishing, PublishingReader
from prodlensd.ledger.reading import Reader
from prodlensd.ledger.sources import Counts, OpenGaps, Place, Source, SourceReader, Tail
from prodlensd.ledger.tallies import TOTALLED, TallyReader, TotalsBySource
from prodlensd.ledger.turns import Turns
from prodlensd.ledger.usage import (
    COLUMNS,
    REST,
    SHOWN,
    Cost,
    Key,
    Latency,
    Requests,
    Sums,
    UsageReader,
)
from prodlensd.ledger.writing import Ledger, Redeemed

__all__ = [
    "BEFORE",
    "BUCKETS_S",
    "COLUMNS",
    "LETTER_STATES",
    "LOADED",
    "PRUNED_CALLS",
    "REST",
    "SHOWN",
    "TOTALLED",
    "Accepted",
    "CallReader",
    "Change",
    "Copies",
    "Cost",
    "Counts",
    "DayReader",
    "Doubtful",
    "FailedAttempts",
    "Heartbeat",
    "Histogram",
    "Key",
    "Latency",
    "Ledger",
    "LedgerError",
    "LedgerLockedError",
    "LedgerLostError",
    "LetterReader",
    "Letters",
    "Measures",
    "OpenGaps",
    "Partition",
    "Partitions",
    "Place",
    "PriceReader",
    "Prices",
    "Publishing",
    "PublishingReader",
    "Reader",
    "Redeemed",
    "Refused",
    "Requests",
    "Selected",
    "Selection",
    "Snapshots",
    "Source",
    "SourceReader",
    "Span",
    "Sums",
    "Tail",
    "TallyReader",
    "TotalsBySource",
    "Turns",
    "UsageReader",
    "span_of",
]
