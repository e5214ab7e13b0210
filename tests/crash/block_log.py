"""What reaches a disk and when: records a ledger's writes, and gives what a power loss leaves.

The model of the disk. What a file was synced with is there. Of what was written to it since, any
part may be there: each write wholly, in its first sectors, or not at all, in any order. Names (new,
renamed, deleted) survive in their order: all up to the last one of a file that was synced, or to
the last sync of the folder, and any number of the later ones.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import apsw

_SECTOR_BYTES: Final = 512

How = Literal["nothing", "everything", "torn", "any"]
#: What is left of the writes that nobody waited for.
HOWS: Final[tuple[How, ...]] = ("nothing", "everything", "torn", "any")


class Op(NamedTuple):
    """One thing that was done to a file; or, with "committed", what the ledger then held."""

    kind: Literal["create", "write", "truncate", "sync", "delete", "rename", "committed"]
    name: str = ""
    offset: int = 0  # of a truncation: the new size
    data: bytes = b""
    to: str = ""
    syncs_folder: bool = False
    held: tuple[int, int] = (0, 0)  # traces, dead letters


class Recorder(apsw.VFS):
    """SQLite's files in one folder, each write and sync noted. The default as long as it lives."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ops: list[Op] = []
        super().__init__("recorder", "unix", makedefault=True)

    def note(self, op: Op) -> None:
        self.ops.append(op)

    def name_of(self, path: str | None) -> str | None:
        """The file's name; None when it is not in the folder."""
        return Path(path).name if path and Path(path).parent == self._folder else None

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        known = self.name_of(path)
        # The ledger's own file is made before SQLite opens it, and is empty then.
        if known is not None and not (Path(path).exists() and Path(path).stat().st_size):
            self.note(Op("create", known))
        return RecordedFile(self, known, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(filename, syncdir)
        if (known := self.name_of(filename)) is not None:
            self.note(Op("delete", known, syncs_folder=syncdir))


class RecordedFile(apsw.VFSFile):
    def __init__(self, recorder: Recorder, known: str | None, name: Any, flags: list[int]) -> None:
        self._recorder = recorder
        self._known = known
        # SQLite syncs the folder with the first sync of a journal that it has just made.
        self._is_new_journal = (known or "").endswith(("-wal", "-journal"))
        super().__init__("unix", name, flags)

    def _note(self, op: Op) -> None:
        if self._known is not None:
            self._recorder.note(op)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802
        super().xWrite(data, offset)
        self._note(Op("write", self._known or "", offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        super().xTruncate(newsize)
        self._note(Op("truncate", self._known or "", newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802
        super().xSync(flags)
        self._note(Op("sync", self._known or "", syncs_folder=self._is_new_journal))
        self._is_new_journal = False


@dataclass
class _Inode:
    synced: bytearray = field(default_factory=bytearray)
    pending: list[Op] = field(default_factory=list)


class Left(NamedTuple):
    """What a power loss leaves: the files by name, and how much of what was written is missing."""

    files: dict[str, bytes]
    lost_ops: int
    torn_writes: int
    lost_names: int


class _Disk:
    def __init__(self) -> None:
        self.running: dict[str, _Inode] = {}  # as the running system sees them
        self.names: dict[str, _Inode] = {}  # as they are on the disk
        self.pending: list[tuple[Op, _Inode]] = []

    def do(self, op: Op) -> None:
        if op.kind == "create":
            inode = self.running[op.name] = _Inode()
            self.pending.append((op, inode))
        elif op.kind in ("delete", "rename"):
            inode = self.running.pop(op.name)
            if op.kind == "rename":
                self.running[op.to] = inode
            self.pending.append((op, inode))
        elif op.kind in ("write", "truncate"):
            self.running[op.name].pending.append(op)
        elif op.kind == "sync":
            inode = self.running[op.name]
            for done in inode.pending:
                _apply(inode.synced, done, done.data)
            inode.pending.clear()
            own = [at for at, (_, of) in enumerate(self.pending, 1) if of is inode]
            self._settle(max(own, default=0))
        if op.syncs_folder:
            self._settle(len(self.pending))

    def _settle(self, count: int) -> None:
        for op, inode in self.pending[:count]:
            _rename(self.names, op, inode)
        del self.pending[:count]

    def left(self, how: How, dice: random.Random) -> Left:
        names = dict(self.names)
        kept_names = {"nothing": 0, "any": dice.randint(0, len(self.pending))}.get(
            how, len(self.pending)
        )
        for op, inode in self.pending[:kept_names]:
            _rename(names, op, inode)
        lost = torn = 0
        files = {}
        for name, inode in names.items():
            content = bytearray(inode.synced)
            for at, op in enumerate(inode.pending):
                fate = _fate(how, at == len(inode.pending) - 1, dice)
                data = op.data
                if fate == "torn" and op.kind == "write":
                    data = data[: len(data) // 2 // _SECTOR_BYTES * _SECTOR_BYTES]
                    torn += 1
                if fate == "lost":
                    lost += 1
                else:
                    _apply(content, op, data)
            files[name] = bytes(content)
        return Left(files, lost, torn, len(self.pending) - kept_names)


def _fate(how: How, last: bool, dice: random.Random) -> str:
    if how == "any":
        return dice.choice(("lost", "torn", "kept", "kept"))
    if how == "torn":
        return "torn" if last else "kept"
    return "lost" if how == "nothing" else "kept"


def _apply(content: bytearray, op: Op, data: bytes) -> None:
    if op.kind == "truncate":
        del content[op.offset :]
    content.extend(bytes(max(0, op.offset - len(content))))
    content[op.offset : op.offset + len(data)] = data


def _rename(names: dict[str, _Inode], op: Op, inode: _Inode) -> None:
    if op.kind == "create":
        names[op.name] = inode
        return
    names.pop(op.name, None)
    if op.kind == "rename":
        names[op.to] = inode


def left_by_power_loss(ops: Sequence[Op], at: int, how: How, seed: int) -> Left:
    """What is on the disk when the power fails after the first `at` operations."""
    disk = _Disk()
    for op in ops[:at]:
        disk.do(op)
    return disk.left(how, random.Random(seed))  # noqa: S311


def committed_before(ops: Iterable[Op]) -> list[tuple[int, int]]:
    """What the ledger held after each commit that had returned, oldest first."""
    return [op.held for op in ops if op.kind == "committed"]
