"""The ledger: one SQLite database, and all SQL of the program."""

from prodlensd.store.connection import LedgerLostError, StoreError, StoreLockedError
from prodlensd.store.prices import Change, Doubtful, PriceReader, Prices, Selection
from prodlensd.store.reading import Reader, Refused
from prodlensd.store.store import Committed, Dirty, Redeemed, Store
from prodlensd.store.usage import UsageReader

__all__ = [
    "Change",
    "Committed",
    "Dirty",
    "Doubtful",
    "LedgerLostError",
    "PriceReader",
    "Prices",
    "Reader",
    "Redeemed",
    "Refused",
    "Selection",
    "Store",
    "StoreError",
    "StoreLockedError",
    "UsageReader",
]
