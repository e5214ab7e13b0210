"""The values that flow through the program, all immutable; nothing here reads or writes anything.

A line's way: `Chunk` (complete lines of one source) → `Trace` (one normalised call) → `Price` →
`Outcome` (of a chunk: rows, dead letters and the checkpoint after them) → one transaction. Traces
are named tuples rather than structs because their fields are bound to SQL as they stand.
"""

from typing import TYPE_CHECKING

from prodlensd.faces import late

if TYPE_CHECKING:
    from prodlensd.model.amounts import NANOUSD_PER_USD, US_PER_DAY, US_PER_S
    from prodlensd.model.calls import (
        NO_BILL,
        UNPRICED_REASONS,
        Bill,
        Checkout,
        PinnedPrice,
        Price,
        SnapshotFile,
        Trace,
        Usage,
        bill_json,
        bill_of,
        provider_in,
    )
    from prodlensd.model.errors import OperationalError, TemporaryError
    from prodlensd.model.lines import (
        CHAIN_ROOT,
        DIGEST_BYTES,
        LOG,
        REASONS,
        BadLine,
        Checkpoint,
        Chunk,
        DeadLetter,
        Fault,
        Folder,
        Gap,
        LongLine,
        Mismatch,
        NotACall,
        Outcome,
        Part,
        PassedOver,
        Sighting,
        digest_of,
        file_id,
        link,
    )
    from prodlensd.model.repos import MAX_TEXT_CHARS, repo_slug
else:
    __getattr__ = late(
        __name__,
        amounts="NANOUSD_PER_USD US_PER_DAY US_PER_S",
        calls=(
            "NO_BILL UNPRICED_REASONS Bill Checkout PinnedPrice "
            "Price SnapshotFile Trace Usage bill_json bill_of provider_in"
        ),
        errors="OperationalError TemporaryError",
        lines=(
            "CHAIN_ROOT DIGEST_BYTES LOG REASONS BadLine Checkpoint Chunk DeadLetter Fault Folder "
            "Gap LongLine Mismatch NotACall Outcome Part PassedOver Sighting digest_of file_id "
            "link"
        ),
        repos="MAX_TEXT_CHARS repo_slug",
    )
