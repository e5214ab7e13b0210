"""The ledger: one SQLite database, and all SQL of the program."""

from prodlensd.store.connection import LedgerLostError, StoreError, StoreLockedError
from prodlensd.store.days import DayReader
from prodlensd.store.letters import BEFORE, Accepted, Letters
from prodlensd.store.partitions import Partitions
from prodlensd.store.prices import Change, Doubtful, PriceReader, Prices, Selected, Selection
from prodlensd.store.reading import LETTER_STATES, Reader, Refused
from prodlensd.store.store import Committed, Redeemed, Store
from prodlensd.store.usage import UsageReader

__all__ = [
    "BEFORE",
    "LETTER_STATES",
    "Accepted",
    "Change",
    "Committed",
    "DayReader",
    "Doubtful",
    "LedgerLostError",
    "Letters",
    "Partitions",
    "PriceReader",
    "Prices",
    "Reader",
    "Redeemed",
    "Refused",
    "Selected",
    "Selection",
    "Store",
    "StoreError",
    "StoreLockedError",
    "UsageReader",
]
