"""The ledger: one SQLite database, and all SQL of the program."""

from typing import TYPE_CHECKING

from prodlensd.faces import late

if TYPE_CHECKING:
    from prodlensd.ledger.calls import LOADED, PRUNED_CALLS
    from prodlensd.ledger.connection import (
        LedgerError,
        LedgerLockedError,
        LedgerLostError,
        ReadOnly,
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
    from prodlensd.ledger.spent import Spent, SpentReader, Sums, scope_on_plan
    from prodlensd.ledger.tallies import TOTALLED, TotalsBySource
    from prodlensd.ledger.telling import Telling
    from prodlensd.ledger.turns import Turns
    from prodlensd.ledger.writing import Ledger, Redeemed
else:
    __getattr__ = late(
        __name__,
        calls="LOADED PRUNED_CALLS",
        connection=(
            "LedgerError LedgerLockedError LedgerLostError ReadOnly check_is_there sqlite_version"
        ),
        days="Partition Snapshots Span span_of",
        heartbeat="Heartbeat",
        letters="BEFORE LETTER_STATES Accepted Letters Refused",
        measures="BUCKETS_S Histogram Measures",
        partitions="Partitions",
        prices="Change CostChange Doubtful PriceReader Prices Selected Selection",
        publishing="Copies FailedAttempts Publishing",
        reading="Reader",
        rows="place_of",
        sources="Added Counts OpenGaps Place Source Sources Tail",
        spent="Spent SpentReader Sums scope_on_plan",
        tallies="TOTALLED TotalsBySource",
        telling="Telling",
        turns="Turns",
        writing="Ledger Redeemed",
    )
