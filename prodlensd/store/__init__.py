"""The ledger: one SQLite database, and all SQL of the program."""

from prodlensd.store.connection import StoreError, StoreLockedError
from prodlensd.store.reading import Reader
from prodlensd.store.store import Committed, Dirty, Store

__all__ = ["Committed", "Dirty", "Reader", "Store", "StoreError", "StoreLockedError"]
