"""The calls of a configuration's ledger priced again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from prodlensd import __version__
from prodlensd.app.books import Books, fingerprint
from prodlensd.app.ledger import reading, writing
from prodlensd.config import Config
from prodlensd.jobs import repricing
from prodlensd.jobs.repricing import Repriced, Write, write_nothing
from prodlensd.ledger import Prices, Selection, Turns
from prodlensd.moments import now_us
from prodlensd.pricing import ALWAYS, FOREVER

__all__ = ["ALWAYS", "FOREVER", "Repriced", "Selection", "reprice"]

#: What the daemon prices again by itself, and all that new prices can give a price to.
_UNPRICED: Final = Selection(("unpriced",), ALWAYS, FOREVER)


def reprice(
    config: Config, selection: Selection, progress: Callable[[int, int], None], *, dry_run: bool
) -> Repriced:
    """Prices these calls again; `progress` gets days done and in all. Raises LedgerError, OSError.

    What was written before an error is done.
    """
    ours = fingerprint(config.pricing)
    with ExitStack() as stack:
        prices: Prices | None = None
        write: Write = write_nothing
        if not dry_run:
            prices = Prices(stack.enter_context(writing(config)), now_us)
            write = prices.repricing(__version__, selection, now_us()).write
        reader = stack.enter_context(reading(config))
        books = stack.enter_context(Books(config.pricing, prices or reader.prices))
        repriced = repricing.reprice(
            reader,
            selection,
            pricer=books.pricer,
            write=write,
            turn=Turns(time.monotonic, threading.Event().wait),
            progress=progress,
        )
        if prices is not None:
            prices.write_pins()
            if selection == _UNPRICED:
                prices.note_fingerprint(ours)
    return repriced
