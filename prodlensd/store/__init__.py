"""The ledger: one SQLite database, and all SQL of the program."""

from prodlensd.store.connection import LedgerLostError, StoreError, StoreLockedError
from prodlensd.store.reading import Reader, Refused
from prodlensd.store.store import Committed, Dirty, Redeemed, Store

__all__ = [
    "Committed",
    "Dirty",
    "LedgerLostError",
    "Reader",
    "Redeemed",
    "Refused",
    "Store",
    "StoreError",
    "StoreLockedError",
]
