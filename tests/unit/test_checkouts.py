"""What git knows of a folder that a transcript names, read without running it, from anything."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodlensd.model import Checkout
from prodlensd.transcripts import Checkouts
from prodlensd.transcripts.git_config import parse

UNKNOWN = Checkout(None, None)


class Machine:
    """A user's home folder, repositories in it, and a clock that stands still."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environ = {"HOME": str(home)}
        self.now_s = 0.0
        self.checkouts = Checkouts(self.environ, lambda: self.now_s)

    def write(self, name: str, content: str | bytes) -> Path:
        file = self.home / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    def repository(self, name: str, url: str = "git@github.com:acme/web.git") -> Path:
        self.write(f"{name}/.git/config", f'[remote "origin"]\n\turl = {url}\n')
        return self.home / name

    def of(self, cwd: object) -> Checkout:
        """What is said now, not what was said a minute ago."""
        self.now_s += 3600
        return self.checkouts.of(str(cwd))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    home = tmp_path / "home"
    home.mkdir()
    return Machine(home)


@pytest.fixture
def git(machine: Machine) -> Callable[..., None]:
    """Runs the real git as this user."""

    def run(*arguments: object, cwd: Path = machine.home) -> None:
        environ = machine.environ | {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1"}
        command = ["git", "-c", "protocol.file.allow=always", *map(str, arguments)]
        subprocess.run(command, cwd=cwd, env=environ, check=True, capture_output=True)

    return run


class TestWhatGitWrote:
    @pytest.fixture
    def web(self, machine: Machine, git: Callable[..., None]) -> Path:
        git("config", "--global", "user.email", "ada@example.com")
        git("config", "--global", "user.name", "Ada")
        web = machine.home / "web"
        git("init", web)
        git("remote", "add", "origin", "https://ada:secret@github.com/acme/web.git", cwd=web)
        git("commit", "--allow-empty", "-m", "first", cwd=web)
        return web

    def test_a_clone_and_the_folders_inside_it(self, machine: Machine, web: Path) -> None:
        (web / "src/deep").mkdir(parents=True)
        for cwd in (web, web / "src", web / "src/deep", f"{web}/"):
            assert Checkout("acme/web", "ada@example.com") == machine.of(cwd)

    def test_a_worktree_is_of_the_repository_that_it_belongs_to(
        self, machine: Machine, git: Callable[..., None], web: Path
    ) -> None:
        git("worktree", "add", machine.home / "trees/fix", cwd=web)
        assert machine.of(machine.home / "trees/fix").repo_slug == "acme/web"

    def test_a_submodule_is_a_repository_of_its_own(
        self, machine: Machine, git: Callable[..., None], web: Path
    ) -> None:
        git("clone", web, machine.home / "lib")
        git("submodule", "add", machine.home / "lib", "vendor/lib", cwd=web)
        git("remote", "set-url", "origin", "git@github.com:acme/lib", cwd=web / "vendor/lib")
        assert machine.of(web / "vendor/lib").repo_slug == "acme/lib"
        assert machine.of(web / "vendor").repo_slug == "acme/web"

    def test_the_email_of_the_repository_wins(
        self, machine: Machine, git: Callable[..., None], web: Path
    ) -> None:
        git("config", "user.email", 'ada "at" work; x#y@example.com', cwd=web)
        assert machine.of(web).developer_id == 'ada "at" work; x#y@example.com'


class TestTheRepository:
    @pytest.mark.parametrize(
        ("content", "slug"),
        [
            ('[remote "upstream"]\nurl = https://github.com/acme/web', "acme/web"),
            ('[remote "a"]\nurl = https://h/a/a\n[remote "b"]\nurl = https://h/b/b', None),
            ('[remote "a"]\nurl=https://h/a/a\n[remote "origin"]\nurl=https://h/b/b', "b/b"),
            ('[remote "origin"]\nurl = https://h/a/a\nurl = https://h/b/b', "a/a"),
            ('[remote "origin"] url = https://h/a/a', "a/a"),
            ('[ REMOTE "origin" ]\r\n  URL = "https://h/a/a" # b\r\n', "a/a"),
            ('[remote "origin"]\nurl = \\\nhttps://h/a/a', "a/a"),
            ('[remote "origin"]\nurl = /srv/acme/web', None),
            ('[remote "origin"]\nurl = acme/web', None),
            ('[remote "origin"]\nurl = file:///srv/acme/web', None),
            ('[remote "origin"]\nurl = https://gitlab.com/group/sub/web', None),
            ('[remote "origin"]\nurl = https://h/..%2f/x', None),
            ('[remote "origin"]\nurl', None),
            ('[remote "origin"]\npushurl = https://h/a/a', None),
            ('[branch "x"]\nurl = https://h/a/a', None),
            ("", None),
        ],
    )
    def test_the_remote_origin_or_the_only_one_names_it(
        self, machine: Machine, content: str, slug: str | None
    ) -> None:
        config = machine.write("acme/web/.git/config", content)
        assert machine.of(config.parents[1]).repo_slug == slug

    def test_the_nearest_one_is_meant(self, machine: Machine) -> None:
        machine.repository("all", "https://h/acme/all")
        assert machine.of(machine.repository("all/in/one", "https://h/acme/one")) == Checkout(
            "acme/one", None
        )
        assert machine.of(machine.home / "all/in").repo_slug == "acme/all"

    def test_a_name_of_a_folder_is_no_repository(self, machine: Machine) -> None:
        (machine.home / "acme/web").mkdir(parents=True)
        assert machine.of(machine.home / "acme/web") == UNKNOWN

    def test_a_folder_that_is_gone_is_in_none(self, machine: Machine) -> None:
        machine.write(".gitconfig", "[user]\nemail = ada@example.com")
        web = machine.repository("web")
        assert machine.of(web / "gone") == Checkout(None, "ada@example.com")


class TestTheDeveloper:
    def test_one_file_wins_over_another_as_in_git(self, machine: Machine) -> None:
        web = machine.repository("web")
        files = (".config/git/config", ".gitconfig", "web/.git/config")
        for number, file in enumerate(files):
            machine.write(file, f"[user]\n\temail = {number}@example.com\n")
            assert machine.of(web).developer_id == f"{number}@example.com"

    def test_the_users_own_file_may_be_a_link_and_elsewhere(self, machine: Machine) -> None:
        dotfile = machine.write("dotfiles/config", "[user]\nemail = ada@example.com")
        machine.environ["XDG_CONFIG_HOME"] = str(machine.home / "xdg")
        link = machine.home / "xdg/git/config"
        link.parent.mkdir(parents=True)
        link.symlink_to(dotfile)
        assert machine.of("/").developer_id == "ada@example.com"

    def test_where_it_depends_on_the_folder_it_is_not_guessed(self, machine: Machine) -> None:
        machine.write(
            ".gitconfig", '[user]\nemail = a@b\n[includeIf "gitdir:~/work/"]\npath = work'
        )
        web = machine.repository("web")
        assert machine.of(web) == Checkout("acme/web", None)
        machine.write("web/.git/config", "[user]\nemail = own@b")
        assert machine.of(web).developer_id == "own@b"

    @pytest.mark.parametrize("email", ["", '""', "a\x1b[2Jb", "\u202eb", "a" * 600, b"\xff@b"])
    def test_what_is_no_name_is_none(self, machine: Machine, email: str | bytes) -> None:
        said = email if isinstance(email, bytes) else email.encode()
        machine.write(".gitconfig", b"[user]\nemail = " + said)
        assert machine.of("/") == UNKNOWN


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of all that is opened."""
    opened: list[str] = []
    real = os.open

    def noting(path: str, flags: int, *rest: int) -> int:
        opened.append(str(path))
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", noting)
    return opened


class TestHostileFolders:
    """The folder's name, and whatever lies in it, may be made by somebody else."""

    @pytest.mark.parametrize(
        "cwd",
        [
            *("", ".", "web", "~/web", "/a/../web", "//web", "C:\\web"),
            *("/\0", "/\ud800", "/a\nb", "/" + "x" * 5000, "/" + "x/" * 2000, "/" + "x" * 300),
            *("/proc/self/cwd", "/dev/fd", "/net/x/y"),
        ],
    )
    def test_a_name_that_is_none_is_not_looked_at(
        self, machine: Machine, watched: list[str], cwd: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(machine.repository("web"))
        assert machine.of(cwd) == UNKNOWN
        assert [] == watched

    def test_a_name_that_cannot_be_printed_is_none(self, machine: Machine) -> None:
        assert machine.of(machine.repository("a\nb")) == UNKNOWN

    def test_a_place_to_stay_away_from_is_so_for_a_file_that_leads_there(
        self, machine: Machine, watched: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        machine.repository("web")
        machine.write("tree/.git", "gitdir: ../web/.git")
        assert machine.of(machine.home / "tree").repo_slug == "acme/web"
        monkeypatch.setattr("prodlensd.transcripts.checkouts._NEVER", (f"{machine.home}/web/",))
        watched.clear()
        assert machine.of(machine.home / "tree") == UNKNOWN
        assert [str(machine.home / "tree/.git")] == watched

    def test_a_link_in_the_name_leads_where_it_leads(self, machine: Machine) -> None:
        web = machine.repository("web")
        (machine.home / "link").symlink_to(web)
        assert machine.of(machine.home / "link").repo_slug == "acme/web"
        (web / "src").mkdir()
        (machine.home / "inner").symlink_to(web / "src")
        assert machine.of(machine.home / "inner").repo_slug == "acme/web"
        (machine.home / "out").symlink_to("/proc/self/cwd")
        assert machine.of(machine.home / "out") == UNKNOWN

    def test_links_in_the_place_of_files_are_not_followed(
        self, machine: Machine, watched: list[str]
    ) -> None:
        web = machine.repository("web")
        for name in ("linked", "inside", "round"):
            (machine.home / name).mkdir()
        (machine.home / "linked/.git").symlink_to(web / ".git")
        (machine.home / "round/.git").symlink_to(machine.home / "round/.git")
        (machine.home / "inside/.git").mkdir()
        (machine.home / "inside/.git/config").symlink_to(web / ".git/config")
        for name in ("inside", "round"):
            assert machine.of(machine.home / name) == UNKNOWN
        assert [] == watched

    @pytest.mark.parametrize("name", [".git", ".git/config"])
    def test_a_pipe_holds_nothing_up(self, machine: Machine, watched: list[str], name: str) -> None:
        pipe = machine.home / "web" / name
        pipe.parent.mkdir(parents=True)
        os.mkfifo(pipe)
        assert machine.of(machine.home / "web") == UNKNOWN
        assert [] == watched

    @pytest.mark.parametrize("target", ["/dev/zero", "/dev/tty", "/proc/self", "/dev"])
    def test_a_file_that_leads_to_a_device_leads_nowhere(
        self, machine: Machine, watched: list[str], target: str
    ) -> None:
        file = machine.write("web/.git", f"gitdir: {target}")
        machine.of(file.parent)
        machine.write("web/.git", f"gitdir: {machine.home}/own")
        machine.write("own/commondir", target)
        assert machine.of(file.parent) == UNKNOWN
        assert [name for name in watched if name.startswith(("/dev", "/proc"))] == []

    def test_files_that_lead_to_each_other_are_read_once(
        self, machine: Machine, watched: list[str]
    ) -> None:
        machine.write("a/.git", "gitdir: ../b/.git")
        machine.write("b/.git", "gitdir: ../a/.git")
        assert machine.of(machine.home / "a") == UNKNOWN
        assert len(watched) == 1

    @pytest.mark.parametrize(
        "content",
        [
            *(b"\0" * 1000, b"\xff\xfe[remote", b"[" * 60_000, b"=" * 60_000, b"a=" * 30_000),
            b'[remote "' + b"\\" * 60_000,
            b'[remote "origin"]\nurl = ' + b'"' * 60_000,
        ],
        ids=range(7),
    )
    def test_what_is_no_configuration_says_nothing(self, machine: Machine, content: bytes) -> None:
        machine.write("web/.git/config", content)
        assert machine.of(machine.home / "web") == UNKNOWN

    def test_a_huge_file_is_not_read(self, machine: Machine) -> None:
        web = machine.repository("web")
        os.truncate(web / ".git/config", 1 << 40)
        assert machine.of(web) == UNKNOWN

    def test_a_closed_folder_is_unknown(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        web = machine.repository("web")

        def closed(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        for function in ("stat", "open", "lstat"):
            with monkeypatch.context() as patch:
                patch.setattr(os, function, closed)
                assert machine.of(web).developer_id is None

    @pytest.mark.long
    @given(content=st.text(alphabet='[]"\\#;= \t\nremotuigl:/.aA\r\0', max_size=200))
    def test_any_content_is_read_or_passed_over(self, content: str) -> None:
        parse('[remote "origin"]' + content)


class TestWhatIsRemembered:
    def test_an_answer_holds_for_a_minute(self, machine: Machine, watched: list[str]) -> None:
        web = machine.repository("web")
        checkouts = machine.checkouts
        assert checkouts.of(str(web)).repo_slug == "acme/web"
        machine.repository("web", "https://h/acme/other")
        asked = len(watched)
        machine.now_s = 59.9
        assert checkouts.of(str(web)).repo_slug == "acme/web"
        assert asked == len(watched)
        machine.now_s = 60
        assert checkouts.of(str(web)).repo_slug == "acme/other"

    def test_only_so_many_answers_are_held(self, machine: Machine, watched: list[str]) -> None:
        first = machine.repository("0")
        for number in range(1100):
            machine.checkouts.of(f"{machine.home}/{number}")
        assert len(machine.checkouts._answers) == 1024
        asked = len(watched)
        machine.checkouts.of(str(first))
        assert asked < len(watched)

    def test_names_that_are_none_share_one_answer(self, machine: Machine) -> None:
        for number in range(10):
            machine.checkouts.of(f"{number}\n" * 10_000)
        assert len(machine.checkouts._answers) == 1
