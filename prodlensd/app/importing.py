"""Files that somebody named, read into a configuration's ledger."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Final

from prodlensd.app.books import Books
from prodlensd.app.ledger import reading
from prodlensd.app.owner import owner_of
from prodlensd.config import Config
from prodlensd.jobs.importing import DryRun, Imported, ToLedger, import_file
from prodlensd.ledger import Ledger, Prices, Turns
from prodlensd.moments import now_us
from prodlensd.process import import_lock

__all__ = ["Imported", "import_files"]

#: (bytes read, of how many) of the file that is being read.
Progress = Callable[[int, int], None]
_PREFIX: Final = "prodlensd-import-"


def import_files(
    config: Config, paths: Iterable[Path], progress: Progress, *, dry_run: bool
) -> Iterator[Imported]:
    """Imports the files one after the other, and those in folders; yields what became of each.

    In a dry run nothing changes. Raises LedgerError, OSError, or TemporaryError while another
    import runs; what was yielded, and what was written before that, is done.
    """
    with ExitStack() as stack:
        if dry_run:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=_PREFIX)))
            ledger = stack.enter_context(Ledger(scratch / "ledger.db", durability="normal"))
            reader = stack.enter_context(reading(config)) if config.store.path.exists() else None
            writing: ToLedger = DryRun(ledger, reader, now_us)
            prices = Prices(ledger, now_us) if reader is None else reader.prices
        else:
            stack.enter_context(import_lock(config.store.path))
            ledger = stack.enter_context(
                Ledger(config.store.path, host=config.host, durability=config.store.durability)
            )
            writing = ToLedger(ledger, now_us)
            prices = Prices(ledger, now_us)
        books = stack.enter_context(Books(config.pricing, prices))
        turn = Turns(time.monotonic, threading.Event().wait)
        owner = owner_of(config)  # one for all files: it remembers the folders it was asked about
        for path in chain.from_iterable(map(_files, paths)):
            yield import_file(
                path,
                writing,
                pricer=books.pricer,
                owner=owner,
                max_line_bytes=config.logs.max_line_bytes,
                turn=turn,
                progress=progress,
            )


def _files(path: Path) -> Iterator[Path]:
    """The path itself; of a folder the files of lines in it and below, in the order of their names.

    Links in it are not followed. A folder that cannot be listed, or has no such file, is refused as
    if it were a file.
    """
    found = [
        Path(folder, name)
        for folder, _, names in os.walk(path)
        for name in names
        if name.endswith((".jsonl", ".jsonl.gz"))
    ]
    files = sorted(file for file in found if not file.is_symlink())
    yield from files or [path]
