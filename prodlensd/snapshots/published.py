"""What many hosts have published to one folder or bucket, read as one table.

Only the files are read whose day is asked for, and of these only the columns that are. Before a
file is read it is looked at: one that is not ours would else be rows without a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow import fs

from prodlensd.snapshots.destinations import file_system
from prodlensd.snapshots.schema import SCHEMA

#: As DuckDB and others find it: the folder's day is a column.
PUBLISHED_SCHEMA: Final = SCHEMA.append(pa.field("event_date", pa.date32()))

_KEY: Final = re.compile(r"event_date=(\d{4}-\d\d-\d\d)/([^/._][^/]*)\.parquet")
_FORMAT: Final = ds.ParquetFileFormat()
_TIME: Final = SCHEMA.field("timestamp").type
#: Files that are looked at, or read, at once: a bucket answers slowly, but many at a time.
_AT_ONCE: Final = 16
_BATCHES_AHEAD: Final = 2
_BATCH_ROWS: Final = 32_768


class Copy(NamedTuple):
    """A file that a host has published: the calls of a day."""

    day: date
    host: str
    path: str


class Published:
    """The files at a file://, s3:// or gs:// address.

    Raises OSError or ValueError where they cannot be listed.
    """

    def __init__(self, url: str) -> None:
        self._files, root = file_system(url)
        found = self._files.get_file_info(fs.FileSelector(root, recursive=True))
        self.copies = sorted(_copies(found, root))

    def table(self, first: date, last: date) -> Table:
        """The calls of these days, the last one included."""
        wanted = [copy for copy in self.copies if first <= copy.day <= last]
        return Table([_fragment(copy, self._files) for copy in wanted], self._files)


class Table(ds.FileSystemDataset):  # type: ignore[misc] # pyarrow ships no types
    """The table, which DuckDB asks for a scan of what a query needs.

    The mutable state: `fault`, what was wrong with a file of the last scan.
    """

    def __init__(self, fragments: Sequence[Any], files: fs.FileSystem) -> None:
        super().__init__(fragments, PUBLISHED_SCHEMA, _FORMAT, files)
        self._files = files
        self._scanned: Sequence[Any] = ()
        self.fault: str | None = None

    def scanner(
        self,
        columns: Any = None,  # noqa: ANN401 - as pyarrow has it
        filter: Any = None,  # noqa: A002, ANN401
        **options: Any,  # noqa: ANN401
    ) -> ds.Scanner:
        """A scan of these columns. Raises ValueError, and notes it, for a file that is not ours."""
        self.fault = None
        self._scanned = list(self.get_fragments(filter))
        self.fault = _first(_at_once(_fault, self._scanned))
        if self.fault is not None:
            raise ValueError(self.fault)
        options = {
            "batch_size": _BATCH_ROWS,
            "batch_readahead": _BATCHES_AHEAD,
            "fragment_readahead": _AT_ONCE,
            **options,
        }
        wanted = ds.FileSystemDataset(self._scanned, PUBLISHED_SCHEMA, _FORMAT, self._files)
        return wanted.scanner(columns=columns, filter=filter, **options)

    def damage(self) -> str | None:
        """What is wrong with a file of the last scan, in words that name it; None: nothing."""
        if self.fault is None:
            self.fault = _first(map(_read, self._scanned))
        return self.fault


def _copies(found: Iterable[fs.FileInfo], root: str) -> Iterator[Copy]:
    for info in found:
        key = info.path.removeprefix(root).lstrip("/")
        if info.type == fs.FileType.File and (named := _KEY.fullmatch(key)):
            try:
                yield Copy(date.fromisoformat(named[1]), named[2], info.path)
            except ValueError:  # no such day: not ours
                continue


def _fragment(copy: Copy, files: fs.FileSystem) -> Any:  # noqa: ANN401 - pyarrow ships no types
    """The file, and what is known of its rows before it is read."""
    start = datetime(copy.day.year, copy.day.month, copy.day.day, tzinfo=UTC)
    known = (
        (ds.field("event_date") == pa.scalar(copy.day))
        & (ds.field("timestamp") >= pa.scalar(start, _TIME))
        & (ds.field("timestamp") < pa.scalar(start + timedelta(days=1), _TIME))
    )
    return _FORMAT.make_fragment(copy.path, files, partition_expression=known)


def _at_once(look: Any, fragments: Sequence[Any]) -> Iterator[str | None]:  # noqa: ANN401
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        yield from threads.map(look, fragments)


def _first(faults: Iterable[str | None]) -> str | None:
    return next((fault for fault in faults if fault is not None), None)


def _fault(fragment: Any) -> str | None:  # noqa: ANN401
    """What is wrong with the schema of a file, which is read and kept; None: nothing."""
    try:
        fragment.ensure_complete_metadata()
        schema = fragment.physical_schema
    except (OSError, ValueError) as error:
        return f"{fragment.path} cannot be read: {_in_a_line(error)}"
    if "timestamp" not in schema.names or "host" not in schema.names:
        return f"{fragment.path} is not a snapshot: it has no column timestamp or host"
    for field in schema:
        at = SCHEMA.get_field_index(field.name)
        if at >= 0 and field.type != SCHEMA.field(at).type:
            return f"{fragment.path} is not a snapshot: {field.name} is {field.type}"
    return None


def _read(fragment: Any) -> str | None:  # noqa: ANN401
    """What is wrong with the content of a file, all of which is read; None: nothing."""
    try:
        for _ in fragment.to_batches(batch_size=_BATCH_ROWS):
            pass
    except (OSError, ValueError) as error:
        return f"{fragment.path} cannot be read: {_in_a_line(error)}"
    return None


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())
