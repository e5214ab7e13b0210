"""The ledger: one SQLite database, and all SQL of the program."""

from prodlensd.ledger.calls import LOADED, PRUNED_CALLS
from prodlensd.ledger.connection import LedgerError, LedgerLockedError, LedgerLostError
from prodlensd.ledger.days import (
    DayReader,
    Partition,
    Published,
    Publishing,
    Snapshots,
    Span,
    span_of,
)
from prodlensd.ledger.letters import BEFORE, Accepted, Letters
from prodlensd.ledger.measures import BUCKETS_S, Histogram, Measures
from prodlensd.ledger.partitions import Partitions
from prodlensd.ledger.prices import Change, Doubtful, PriceReader, Prices, Selected, Selection
from prodlensd.ledger.reading import (
    LETTER_STATES,
    Counts,
    Heartbeat,
    Place,
    Reader,
    Refused,
    Source,
    Tail,
    Totals,
)
from prodlensd.ledger.tallies import TallyReader
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
from prodlensd.ledger.writing import TOTALLED, Committed, Ledger, Redeemed, TotalsBySource

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
    "Change",
    "Committed",
    "Cost",
    "Counts",
    "DayReader",
    "Doubtful",
    "Heartbeat",
    "Histogram",
    "Key",
    "Latency",
    "Ledger",
    "LedgerError",
    "LedgerLockedError",
    "LedgerLostError",
    "Letters",
    "Measures",
    "Partition",
    "Partitions",
    "Place",
    "PriceReader",
    "Prices",
    "Published",
    "Publishing",
    "Reader",
    "Redeemed",
    "Refused",
    "Requests",
    "Selected",
    "Selection",
    "Snapshots",
    "Source",
    "Span",
    "Sums",
    "Tail",
    "TallyReader",
    "Totals",
    "TotalsBySource",
    "Turns",
    "UsageReader",
    "span_of",
]
