"""Where coding agents write: the folders that a configuration means, and what is read in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from prodlensd.model import Folder
from prodlensd.transcripts import folders


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """A user's home folder, in which no agent has written yet."""
    user = tmp_path / "ada"
    user.mkdir()
    return user


def made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def claude_code(user: Path, **environ: str) -> list[Path]:
    return [
        path
        for _, path, *_ in folders({"HOME": str(user), **environ}, claude_code=True, codex=False)
    ]


def codex(user: Path, **environ: str) -> list[Path]:
    return [
        path
        for _, path, *_ in folders({"HOME": str(user), **environ}, claude_code=False, codex=True)
    ]


def test_nothing_is_read_that_is_not_asked_for(user: Path) -> None:
    made(user / ".claude/projects")
    assert [] == folders({"HOME": str(user)}, claude_code=False, codex=False)


def test_each_folder_has_its_format_and_the_names_that_are_read(user: Path) -> None:
    assert [
        Folder("claude_code", user / "backup", ("*.jsonl",)),
        Folder("codex", user / "old", ("rollout-*.jsonl",)),
    ] == folders({}, claude_code=[user / "backup"], codex=[user / "old"])


def test_claude_code_writes_in_the_older_place_in_the_newer_or_in_both(user: Path) -> None:
    older, newer = user / ".claude/projects", user / ".config/claude/projects"
    assert [older] == claude_code(user), "one that can be said to be missing"
    made(newer)
    assert [newer] == claude_code(user)
    made(older)
    assert [older, newer] == claude_code(user)
    assert [older] == claude_code(user, XDG_CONFIG_HOME=str(user / "elsewhere"))


def test_one_folder_under_two_names_is_read_once(user: Path) -> None:
    made(user / ".claude/projects")
    made(user / ".config")
    (user / ".config/claude").symlink_to(user / ".claude")
    assert [user / ".claude/projects"] == claude_code(user)


def test_claude_config_dir_may_name_several_folders_whether_or_not_they_are_there(
    user: Path,
) -> None:
    made(user / ".claude/projects")
    assert [user / "work/projects", user / "own/projects"] == claude_code(
        user, CLAUDE_CONFIG_DIR=f" {user}/work , ~/own/projects,,{user}/work/"
    )
    assert [user / ".claude/projects"] == claude_code(user, CLAUDE_CONFIG_DIR=" ,")


def test_codex_archives_are_read_once_there_are_any(user: Path) -> None:
    assert [user / ".codex/sessions"] == codex(user)
    made(user / ".codex/archived_sessions")
    assert [user / ".codex/sessions", user / ".codex/archived_sessions"] == codex(user)
    assert [user / "x/sessions"] == codex(user, CODEX_HOME=str(user / "x"))


@pytest.mark.parametrize("name", ["~nobody-here/x", "relative", "café", "x" * 5000])
def test_any_name_in_the_environment_is_one_of_a_folder(user: Path, name: str) -> None:
    for found in (claude_code(user, CLAUDE_CONFIG_DIR=name), codex(user, CODEX_HOME=name)):
        assert [True] == [path.is_absolute() for path in found]
