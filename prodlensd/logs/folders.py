"""Finds the files of a set of folders: which stand in them now, which are passed over, and why.

Symbolic links are not followed, and only regular files are logs. The program's own files are never
logs, whatever their names.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from fnmatch import translate
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from prodlensd.access import refusal
from prodlensd.model import LOG, Fault, Sighting, file_id
from prodlensd.text import some

#: How many of the files that a rule passes over are named; the others are counted.
_MAX_NAMED: Final = 3
_OUR_STREAMS: Final = (1, 2)

FileId = tuple[int, int]


class PassedOver(Struct):
    """Files that one rule passes over: how many, and the first few names in order."""

    count: int = 0
    names: list[str] = field(default_factory=list)

    def add(self, path: str) -> None:
        """Counts a file, and names it if it is among the first in order."""
        self.count += 1
        self.names = sorted([*self.names, path])[:_MAX_NAMED]

    @property
    def named(self) -> str:
        """The first few names without their folders, unescaped: not to be printed as they are."""
        return some([*map(os.path.basename, self.names)], self.count)


class Found(Struct):
    """What one look at the folders found.

    files        by device and inode; of a file's several names (hard links) the first in order
    faults       folders that could not be listed: nothing is known of the files in them
    refused      files that cannot be followed
    passed_over  by the rule that passes them over, a key of the configuration or a kind of file
    """

    files: dict[FileId, Sighting] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    refused: list[Fault] = field(default_factory=list)
    passed_over: dict[str, PassedOver] = field(default_factory=dict)


#: os.scandir, or what does the same when descriptors are scarce.
ScanFolder = Callable[[str], AbstractContextManager[Iterator[os.DirEntry[str]]]]


class Folders:
    """Folders of files of one format, and which names in them are read.

    `own` are the program's own files and folders. The mutable state: which files these are now, by
    device and inode.
    """

    def __init__(
        self,
        directories: Sequence[Path],
        *,
        include: Sequence[str],
        recursive: bool,
        own: Iterable[Path] = (),
        format: str = LOG,  # noqa: A002 - the word of the model
    ) -> None:
        self.format = format
        self.directories = [os.fspath(directory) for directory in directories]
        self._included = re.compile("|".join(map(translate, include)))
        self._recursive = recursive
        self._own = [os.fspath(path) for path in own]
        self._own_ids: set[FileId] = set()

    def look(self, scandir: ScanFolder) -> Found:
        """Looks at every file in the folders."""
        found = Found()
        self._own_ids = self._see_own()
        folders = list(self.directories)
        while folders:
            folder = folders.pop()
            try:
                with scandir(folder) as entries:
                    for entry in entries:
                        self._take(entry, found, folders)
            except OSError as error:
                named = folder if is_text(folder) else ascii(folder)
                found.faults.append(Fault(named, refusal(Path(folder), error)))
        return found

    def _take(self, entry: os.DirEntry[str], found: Found, folders: list[str]) -> None:
        path = entry.path
        if path in self._own:
            return
        if entry.is_dir(follow_symlinks=False):
            if self._recursive:
                folders.append(path)
            else:
                _pass_over(found, "logs.recursive", path)
        elif not entry.is_file(follow_symlinks=False):
            _pass_over(found, "links" if entry.is_symlink() else "not files", path)
        elif not self._included.match(entry.name):
            _pass_over(found, "logs.include", path)
        elif not is_text(path):
            found.refused.append(Fault(ascii(path), "its name is not UTF-8; rename it"))
        else:
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                return
            sighting = sighting_of(path, status, self.format)
            file = (sighting.dev, sighting.inode)
            known = found.files.get(file)
            if file not in self._own_ids and (known is None or path < known.path):
                found.files[file] = sighting

    def sight(self, path: str) -> Sighting | None:
        """The file at this path; None when there is none, or it is not to be followed."""
        folder, name = os.path.split(path)
        within = folder in self.directories or (
            self._recursive and any(folder.startswith(f"{root}/") for root in self.directories)
        )
        if not within or not self._included.match(name) or not is_text(path):
            return None
        try:
            status = os.lstat(path)
        except OSError:
            return None
        is_own = path in self._own or file_id(status) in self._own_ids
        if is_own or not stat.S_ISREG(status.st_mode):
            return None
        return sighting_of(path, status, self.format)

    def _see_own(self) -> set[FileId]:
        """The program's own files, and the file that its output goes to, if it is one."""
        files: list[str | int] = [*self._own, *_OUR_STREAMS]
        seen = set()
        for file in files:
            with suppress(OSError):
                status = os.stat(file)  # noqa: PTH116 - a path or a descriptor
                if stat.S_ISREG(status.st_mode):
                    seen.add(file_id(status))
        return seen


def sighting_of(path: str, status: os.stat_result, format_: str = LOG) -> Sighting:
    """The sighting of a file with this status."""
    times_ns = status.st_mtime_ns, status.st_ctime_ns
    return Sighting(path, *file_id(status), status.st_size, *times_ns, format_)


def is_text(path: str) -> bool:
    """Whether the path is UTF-8 and can be stored: Python decodes other bytes to surrogates."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _pass_over(found: Found, rule: str, path: str) -> None:
    found.passed_over.setdefault(rule, PassedOver()).add(path if is_text(path) else ascii(path))
