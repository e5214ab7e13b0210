"""Finds the logs, matches each with its source, and reads them in turn.

It knows which sources there are, which of them have changed, and which files are open.

A file that loses its name, or moves out of the folders, is read to its end through the descriptor
that is still open, and let go when nobody can write to it any more.
"""

from __future__ import annotations

import errno
import os
import resource
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from prodlensd.logs.folders import FileId, Folders, PassedOver
from prodlensd.logs.source import Pause, Source
from prodlensd.logs.zeros import ZEROS_WAIT_NS, Zeros
from prodlensd.model import Checkpoint, Chunk, Fault, Folder, Mismatch, Sighting, file_id

_MAX_OPEN: Final = 128

_T = TypeVar("_T")


class Survey(Struct, frozen=True):
    """What a look found: files without a source, sources that moved, sources whose file is gone."""

    new: list[Sighting]
    moved: list[Checkpoint]  # with the place where they are now
    gone: list[tuple[int, int]]  # source id, bytes known and never read


class Tailer:
    """Follows the files in `directories` whose names match one of the `include` patterns.

    And those in the folders of `transcripts`. `own` are the program's own files, which are not
    logs; zeros may be overwritten for `zeros_wait_ns`. Times named `now_ns` are by a clock that
    never jumps, unless it says otherwise.

    The mutable state: the sources, by id and by device and inode; those that are to be read, in the
    order of their changes; those that cannot be; which files are open.
    """

    def __init__(
        self,
        directories: Sequence[Path],
        *,
        include: Sequence[str],
        recursive: bool,
        max_line_bytes: int,
        own: Iterable[Path] = (),
        transcripts: Iterable[Folder] = (),
        zeros_wait_ns: int = ZEROS_WAIT_NS,
        checkpoints: Iterable[Checkpoint] = (),
    ) -> None:
        self._zeros_wait_ns = zeros_wait_ns
        own = list(own)
        self._logs = Folders(directories, include=include, recursive=recursive, own=own)
        self._transcripts = [
            Folders(
                [folder.path],
                include=folder.include,
                recursive=folder.recursive,
                own=own,
                format=folder.format,
            )
            for folder in transcripts
        ]
        self._max_line_bytes = max_line_bytes
        self._sources: dict[int, Source] = {}
        self._by_file: dict[FileId, int] = {}
        self._changed: dict[int, Source] = {}
        self._faulty: set[int] = set()
        self._open: OrderedDict[int, Source] = OrderedDict()  # least recently used first
        self._new_files: dict[FileId, int] = {}  # open files that have no source yet
        self._folder_faults: list[Fault] = []
        self._now_ns = 0  # of the last look
        self.passed_over: dict[str, PassedOver] = {}
        for checkpoint in checkpoints:
            self.adopt(checkpoint)

    def adopt(self, checkpoint: Checkpoint, sighting: Sighting | None = None) -> None:
        """Follows a source from its committed checkpoint on; later calls move it forward.

        With its `sighting` it can be read at once, otherwise after the next look.
        """
        source_id = checkpoint.source_id
        source = self._sources.get(source_id)
        if source is None:
            zeros = Zeros(self._zeros_wait_ns)
            source = Source(checkpoint, self._max_line_bytes, zeros, self._now_ns)
            self._sources[source_id] = source
        else:
            self._forget_file(source)
            source.advance(checkpoint)
        if sighting is not None:
            source.see(sighting, self._now_ns)
        file = (checkpoint.dev, checkpoint.inode)
        self._by_file[file] = source_id
        self._changed[source_id] = source
        if (opened := self._new_files.pop(file, None)) is not None:
            source.file = opened
            self._open[source_id] = source

    def drop(self, source_id: int) -> None:
        """No longer follows a source."""
        for of in (self._open, self._changed):
            of.pop(source_id, None)
        self._faulty.discard(source_id)
        if source := self._sources.pop(source_id, None):
            self._forget_file(source)
            source.close()

    def _forget_file(self, source: Source) -> None:
        file = (source.checkpoint.dev, source.checkpoint.inode)
        if self._by_file.get(file) == source.source_id:
            del self._by_file[file]

    def close(self) -> None:
        """Closes every file."""
        self._close_all_but(0, nameless=True)
        while self._new_files:
            os.close(self._new_files.popitem()[1])

    def close_quiet(self, now_ns: int) -> None:
        """Closes the files that are read to their end and have not changed for minutes.

        They are opened again when they change.
        """
        for source_id, source in list(self._open.items()):
            if source.is_quiet(now_ns):
                source.close()
                del self._open[source_id]

    @property
    def directories(self) -> list[str]:
        """The log folders that it looks at."""
        return self._logs.directories

    def faults(self, now_ns: int) -> list[Fault]:
        """What could not be read when it was last tried. `now_ns` is since 1970."""
        faults = (self._sources[source_id].fault(now_ns) for source_id in sorted(self._faulty))
        return [*self._folder_faults, *(fault for fault in faults if fault is not None)]

    # Finding files

    def scan(self, now_ns: int) -> Survey:
        """Looks at every file in the folders, and matches it with the sources followed."""
        self._now_ns = now_ns
        files, unlisted = self._look()
        survey = Survey([], [], [])
        by_place: dict[tuple[str, int], int] = {}
        seen: set[int] = set()
        for file, sighting in files.items():
            source_id = self._by_file.get(file)
            if source_id is None:
                # A device's number may change with a reboot; then the path vouches for the inode.
                by_place = by_place or self._by_place()
                source_id = by_place.get((sighting.path, sighting.inode))
            if source_id is None or source_id in seen:
                survey.new.append(sighting)
            else:
                seen.add(source_id)
                self._see(self._sources[source_id], sighting, survey)
        for source_id, source in self._sources.items():
            if source_id not in seen:
                all_listed = source.checkpoint.format not in unlisted
                self._miss(source, survey, all_listed=all_listed)
        survey.new.sort(key=lambda sighting: sighting.mtime_ns)
        return survey

    def _look(self) -> tuple[dict[FileId, Sighting], set[str]]:
        """The files in all folders, and the formats of which a folder could not be listed."""
        self._folder_faults = []
        files: dict[FileId, Sighting] = {}
        unlisted: set[str] = set()
        for folders in (*self._transcripts, self._logs):
            found = folders.look(lambda folder: self._sparing(partial(os.scandir, folder)))
            self._folder_faults += [*found.faults, *found.refused]
            files |= found.files
            if found.faults:
                unlisted.add(folders.format)
            if folders is self._logs:
                self.passed_over = found.passed_over
        return files, unlisted

    def _by_place(self) -> dict[tuple[str, int], int]:
        return {
            (s.checkpoint.path, s.checkpoint.inode): s.source_id for s in self._sources.values()
        }

    def glance(self, paths: Iterable[str], now_ns: int) -> Survey:
        """Looks at these files only. That others are gone or moved, only `scan` finds out."""
        self._now_ns = now_ns
        survey = Survey([], [], [])
        for path in paths:
            sighting = self.sight(path)
            if sighting is None:
                continue
            source_id = self._by_file.get((sighting.dev, sighting.inode))
            if source_id is None:
                survey.new.append(sighting)
                continue
            source = self._sources[source_id]
            known = source.checkpoint.path
            if path != known and (other := self.sight(known)) is not None:
                # One file of two names keeps the one that it is known by.
                sighting = replace(sighting, path=known) if _same(other, sighting) else sighting
            self._see(source, sighting, survey)
            # Within a clock tick a change may leave no other trace than the event.
            source.read_again()
            self._changed[source_id] = source
        survey.new.sort(key=lambda sighting: sighting.mtime_ns)
        return survey

    def sight(self, path: str) -> Sighting | None:
        """The file to be read that stands at this path now; None when there is none."""
        sightings = (folders.sight(path) for folders in (self._logs, *self._transcripts))
        return next(filter(None, sightings), None)

    def _see(self, source: Source, sighting: Sighting, survey: Survey) -> None:
        source.see(sighting, self._now_ns)
        if source.is_unread:
            self._changed[source.source_id] = source
        checkpoint = source.checkpoint
        if (checkpoint.path, checkpoint.dev) != (sighting.path, sighting.dev):
            survey.moved.append(replace(checkpoint, path=sighting.path, dev=sighting.dev))

    def _miss(self, source: Source, survey: Survey, *, all_listed: bool) -> None:
        if source.miss(self._now_ns, all_listed=all_listed):
            survey.gone.append((source.source_id, source.unread_bytes))
        elif source.is_unread:
            self._changed[source.source_id] = source

    # Reading

    def read(self, now_ns: int) -> Iterator[Chunk | Mismatch | Pause]:
        """One chunk, at most, of every source that has changed since it was last read to its end.

        Yields a Mismatch for a source that must begin again. What cannot be read is among `faults`,
        and tried again after the next scan. `now_ns` is since 1970.
        """
        for source_id, source in list(self._changed.items()):
            found = self._read(source, now_ns) if source.is_unread else None
            if found is None:
                self._changed.pop(source_id, None)
            else:
                yield found

    def _read(self, source: Source, now_ns: int) -> Chunk | Mismatch | Pause | None:
        found = None
        try:
            if self.open(source):
                found = source.read(now_ns, self._now_ns)
        except OSError as error:
            source.fail(error)
        if source.is_faulty:
            self._faulty.add(source.source_id)
        else:
            self._faulty.discard(source.source_id)
        return found

    def past(self, offset: int) -> list[int]:
        """The sources that are read to this offset or past it."""
        sources = self._sources.items()
        return [source_id for source_id, source in sources if source.checkpoint.offset >= offset]

    def source(self, source_id: int) -> Source | None:
        """One of the sources; None when it is followed no longer."""
        return self._sources.get(source_id)

    # Open files

    def open_new(self, sightings: Iterable[Sighting]) -> list[Sighting]:
        """Opens files that have no source yet, as many as may be; returns those that are there.

        What is open can be read to its end, however soon its name goes: some rotators make a copy
        only to compress it. The others are opened when they are read.
        """
        sightings = list(sightings)
        wanted = {(sighting.dev, sighting.inode) for sighting in sightings}
        for unwanted in self._new_files.keys() - wanted:
            os.close(self._new_files.pop(unwanted))
        return [sighting for sighting in sightings if self._open_new(sighting)]

    def _open_new(self, sighting: Sighting) -> bool:
        """Opens a file that has no source yet, if there is room; False when it is gone."""
        file = (sighting.dev, sighting.inode)
        if file in self._new_files or len(self._new_files) >= _most_open() // 2:
            return True
        try:
            opened = self._sparing(partial(_open_file, sighting))
        except OSError:
            return True  # a fault when it is read
        if opened is not None:
            self._new_files[file] = opened
        return opened is not None

    def open(self, source: Source) -> bool:
        """Opens the source's file if need be; False when it is not there any more.

        Raises OSError.
        """
        if source.file is not None:
            self._open.move_to_end(source.source_id)
        elif source.sighting is not None:
            self._close_all_but(_most_open() - 1)
            source.file = self._sparing(partial(_open_file, source.sighting))
            if source.file is not None:
                self._open[source.source_id] = source
        return source.file is not None

    def _sparing(self, opener: Callable[[], _T]) -> _T:
        """What `opener` opens; when descriptors have run out, ours are closed first."""
        try:
            return opener()
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self._close_all_but(0)
            return opener()

    def _close_all_but(self, count: int, *, nameless: bool = False) -> None:
        """Closes files, least recently used first; those without a name only if `nameless`."""
        if len(self._open) <= count:
            return
        for source_id, source in list(self._open.items()):
            if len(self._open) <= count:
                return
            if nameless or not source.unseen_scans:
                source.close()
                del self._open[source_id]


def _open_file(sighting: Sighting) -> int | None:
    """The file that was seen; None when another stands there now, or none. Raises OSError.

    Opening neither follows a link nor waits on a FIFO that took the file's place.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        file = os.open(sighting.path, flags)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(file)
    except OSError:
        os.close(file)
        raise
    if file_id(status) == (sighting.dev, sighting.inode) and stat.S_ISREG(status.st_mode):
        return file
    os.close(file)
    return None


def _most_open() -> int:
    """How many files to keep open: the process has other uses for descriptors, too."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MAX_OPEN if soft == resource.RLIM_INFINITY else max(1, min(_MAX_OPEN, soft // 4))


def _same(one: Sighting, other: Sighting) -> bool:
    return (one.dev, one.inode) == (other.dev, other.inode)
