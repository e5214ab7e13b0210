"""One day, one Parquet file, whole; and where copies of it go. The only room with pyarrow.

What needs pyarrow is loaded when it is first asked for: most answers are DuckDB's alone, and to
load pyarrow takes as long as they do.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from prodlensd.snapshots.columns import COLUMNS
from prodlensd.snapshots.locks import LockedError, exclusive_lock, shared_lock

if TYPE_CHECKING:
    from prodlensd.snapshots.columnar import GROUP_ROWS, Tables
    from prodlensd.snapshots.destinations import Destination, destination
    from prodlensd.snapshots.files import (
        count,
        digest,
        grouped,
        ledger_rows,
        measure,
        merged,
        read_groups,
        rows_at,
        write_snapshot,
    )
    from prodlensd.snapshots.published import Published, Table
    from prodlensd.snapshots.results import write_rows, write_table
    from prodlensd.snapshots.schema import ENCODED_SCHEMA, SCHEMA

_OF_FILES: Final = (
    *("count", "digest", "grouped", "ledger_rows", "measure", "merged"),
    *("read_groups", "rows_at", "write_snapshot"),
)
#: A name of this room → the module that has it, and that loads pyarrow.
_LOADED_LATE: Final = {
    **dict.fromkeys(("GROUP_ROWS", "Tables"), "columnar"),
    **dict.fromkeys(("Destination", "destination"), "destinations"),
    **dict.fromkeys(_OF_FILES, "files"),
    **dict.fromkeys(("Published", "Table"), "published"),
    **dict.fromkeys(("write_rows", "write_table"), "results"),
    **dict.fromkeys(("ENCODED_SCHEMA", "SCHEMA"), "schema"),
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the module has
    if name not in _LOADED_LATE:
        raise AttributeError(name)
    return getattr(import_module(f"{__name__}.{_LOADED_LATE[name]}"), name)


__all__ = [
    "COLUMNS",
    "ENCODED_SCHEMA",
    "GROUP_ROWS",
    "SCHEMA",
    "Destination",
    "LockedError",
    "Published",
    "Table",
    "Tables",
    "count",
    "destination",
    "digest",
    "exclusive_lock",
    "grouped",
    "ledger_rows",
    "measure",
    "merged",
    "read_groups",
    "rows_at",
    "shared_lock",
    "write_rows",
    "write_snapshot",
    "write_table",
]
