"""The folder in which an agent worked → its repository and whose calls these are, as git has them.

Nothing is run. The folder's name comes from a transcript and may be anything: only regular files of
a bounded size are read, by names that git gives them, and no more of them is kept than two names.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from prodlensd.model import MAX_TEXT_CHARS, Checkout, repo_slug
from prodlensd.transcripts.git_config import GitConfig, parse

_MAX_BYTES: Final = 1 << 16
_MAX_PATH_CHARS: Final = 4096
_MAX_LEVELS: Final = 64
_REMEMBERED: Final = 1024
_LIFE_S: Final = 60.0

#: Here a look can do more than look: mount what a name asks for, or wake a device.
_NEVER: Final = ("/dev/", "/net/", "/proc/", "/sys/")


class Checkouts:
    """Answers for a minute what was found. The mutable state: the answers, as first asked for."""

    def __init__(
        self, environ: Mapping[str, str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._environ = environ
        self._clock = clock
        self._answers: dict[str, tuple[float, Checkout]] = {}

    def of(self, cwd: str) -> Checkout:
        """The checkout that holds this folder. Never raises; None is what cannot be known.

        A folder that is gone is in no repository, whatever is around it.
        """
        folder = cwd if _is_plain(cwd) else ""
        now_s = self._clock()
        until_s, checkout = self._answers.get(folder, (now_s, None))
        if checkout is None or now_s >= until_s:
            checkout = _look(folder, self._environ)
            self._answers[folder] = (now_s + _LIFE_S, checkout)
            if len(self._answers) > _REMEMBERED:
                del self._answers[next(iter(self._answers))]
        return checkout


def _look(cwd: str, environ: Mapping[str, str]) -> Checkout:
    users = _users_configs(environ)
    try:
        own = _config_around(Path(os.path.realpath(cwd))) if cwd and Path(cwd).is_dir() else None
    except OSError:
        own = None
    if own is None:
        return Checkout(None, _email(users))
    return Checkout(_repository(own), _email([own, *users]))


def _config_around(folder: Path) -> GitConfig | None:
    """What the configuration says of the repository that holds the folder; None: none does.

    Raises OSError.
    """
    for place in (folder, *folder.parents[:_MAX_LEVELS]):
        if os.path.lexists(git := place / ".git"):
            return parse(_read(_common_folder(git) / "config") or "")
    return None


def _common_folder(git: Path) -> Path:
    """Where a repository's configuration lies: in a worktree or a submodule a file says where."""
    said = (_read(git) or "").strip()
    if not said.startswith("gitdir:"):
        return git
    own = git.parent / said.removeprefix("gitdir:").strip()
    return own / (_read(own / "commondir") or "").strip()


def _users_configs(environ: Mapping[str, str]) -> list[GitConfig]:
    """What the user's own files say, the one that wins first. No log names them: links are fine."""
    home = Path(environ.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111 - Path's own raises
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    found = (_read(path, follow=True) for path in (home / ".gitconfig", config / "git/config"))
    return [parse(content) for content in found if content]


def _repository(config: GitConfig) -> str | None:
    """The slug of the remote "origin", or of the only one. An address in this machine is none."""
    remotes = config.remotes
    only = next(iter(remotes.values())) if len(remotes) == 1 else ""
    address = remotes.get("origin", only)
    return repo_slug(address) if ":" in address else None


def _email(configs: Iterable[GitConfig]) -> str | None:
    """The first address, in the order in which git lets one file win over others."""
    for config in configs:
        if config.depends:
            return None
        if (email := config.email) and email.isprintable() and len(email) <= MAX_TEXT_CHARS:
            return email
    return None


def _is_plain(path: str) -> bool:
    """Whether a path is absolute, printable, free of "..", and not in a place to stay away from."""
    return (
        len(path) <= _MAX_PATH_CHARS
        and path.isprintable()
        and path.startswith("/")
        and not path.startswith(("//", *_NEVER))
        and os.path.normpath(path) == (path.rstrip("/") or "/")
    )


def _read(path: Path, *, follow: bool = False) -> str | None:
    """The content of a regular file of a bounded size; None of any other, which is not opened."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    try:
        if not _is_plain(name := os.path.normpath(path)):
            return None
        if not stat.S_ISREG(Path(name).stat(follow_symlinks=follow).st_mode):
            return None
        descriptor = os.open(name, flags | (0 if follow else os.O_NOFOLLOW))
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # it was another a moment ago
                return None
            content = file.read(_MAX_BYTES + 1)
    except OSError:
        return None
    return content.decode(errors="surrogateescape") if len(content) <= _MAX_BYTES else None
