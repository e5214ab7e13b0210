"""A bill in a file against the calls of a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from prodlensd.answers import reconcile as answers
from prodlensd.answers.bills import Bill, read_bill
from prodlensd.answers.reconcile import Reconciled, span_of_bill
from prodlensd.app.calls import opened
from prodlensd.app.ledger import reading
from prodlensd.config import Config
from prodlensd.model import US_PER_DAY, OperationalError
from prodlensd.moments import day_of, now_us

#: A year of a large organisation is some megabytes.
_MOST_BYTES: Final = 256 << 20


class Compared(NamedTuple):
    """The bill, whose calls it was compared with, and how they compare; None: it has no day."""

    bill: Bill
    providers: tuple[str, ...]
    reconciled: Reconciled | None


def reconcile(
    config: Config, path: Path, providers: Sequence[str], tolerance_nanousd: int
) -> Compared:
    """Compares a bill with the ledger; without `providers`, with the calls of who sends it.

    Raises OperationalError, or OSError.
    """
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise OperationalError(f"{path}: larger than a bill may be")
    try:
        bill = read_bill(content.decode("utf-8"))
    except ValueError as error:  # not UTF-8, not JSON, or no bill
        raise OperationalError(f"{path}: not a bill: {error}") from error
    whose = tuple(providers) or ((bill.provider,) if bill.provider else ())
    if not bill.days:
        return Compared(bill, whose, None)
    with reading(config) as reader:
        gaps = reader.sources.open_gaps()
    with opened(config, None, *span_of_bill(bill)) as (calls, _):
        found = answers.reconcile(
            calls,
            bill,
            gaps,
            providers=whose,
            tolerance_nanousd=tolerance_nanousd,
            today=day_of(now_us() // US_PER_DAY),
        )
    return Compared(bill, whose, found)
