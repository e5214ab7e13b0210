"""A refusal says whose the file or folder is that is in the way."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from prodlensd.access import refusal

DENIED = PermissionError(errno.EACCES, "Permission denied")
OTHER = 12345


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may enter, with folders that this user may not: root is another."""
    mine, group = os.geteuid(), os.getegid()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)
        (folder / "closed").mkdir()
        (folder / "closed" / "file").touch()
        (folder / "file").touch(0o644)
        for path, mode in ((folder / "closed", 0), (folder / "file", 0), (folder, 0o555)):
            path.chmod(mode)
        if mine == 0:
            os.setegid(OTHER)
            os.seteuid(OTHER)
        try:
            yield folder
        finally:
            os.seteuid(mine)
            os.setegid(group)
            folder.chmod(0o755)
            (folder / "closed").chmod(0o755)


def owner(path: Path) -> str:
    found = path.stat()
    return f"belongs to {found.st_uid}:{found.st_gid}"


def us() -> str:
    return f"this is user {os.geteuid()}:{os.getegid()}; run as its owner, or let this user in"


@pytest.mark.parametrize("name", ["closed/file", "closed/not/there"])
def test_a_closed_folder_on_the_way_is_named_with_its_owner_and_its_mode(
    folder: Path, name: str
) -> None:
    closed = folder / "closed"
    expected = f"Permission denied: {closed} {owner(closed)}, mode 0000, and {us()}"
    assert expected == refusal(folder / name, DENIED)


def test_what_is_itself_closed_is_not_named_again(folder: Path) -> None:
    file = folder / "file"
    expected = f"Permission denied: it {owner(file)}, mode 0000, and {us()}"
    assert expected == refusal(file, DENIED)


def test_what_cannot_be_made_is_refused_by_the_folder_that_it_would_be_in(folder: Path) -> None:
    expected = f"Permission denied: {folder} {owner(folder)}, mode 0555, and {us()}"
    assert expected == refusal(folder / "new" / "ledger", DENIED, os.W_OK)


def test_without_anything_in_the_way_the_systems_word_stands_alone(folder: Path) -> None:
    assert refusal(folder, DENIED) == "Permission denied"


def test_another_error_is_told_in_the_systems_words(folder: Path) -> None:
    assert refusal(folder / "closed", OSError(errno.EIO, "Input/output error")) == (
        "Input/output error"
    )
