"""Where coding agents write their transcripts, and which names there are transcripts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from prodlensd.model import Folder

_INCLUDE: Final = {"claude_code": ("*.jsonl",), "codex": ("rollout-*.jsonl",)}

#: What a key of the configuration says: none, those where the agent writes by itself, or these.
Wanted = bool | Sequence[Path]


def folders(environ: Mapping[str, str], *, claude_code: Wanted, codex: Wanted) -> list[Folder]:
    """The folders that are meant, each once under the first of its names, there or not.

    No other file in them is ever opened than those of `include`. `environ` is the agents'
    environment; a daemon's may differ.
    """
    wanted = {
        "claude_code": _claude_code(environ) if claude_code is True else claude_code or (),
        "codex": _codex(environ) if codex is True else codex or (),
    }
    return [
        Folder(format_, path, _INCLUDE[format_])
        for format_, paths in wanted.items()
        for path in _once(paths)
    ]


def _once(paths: Sequence[Path]) -> Iterable[Path]:
    known: dict[str, Path] = {}
    for path in paths:
        known.setdefault(os.path.realpath(path), path)
    return known.values()


def _claude_code(environ: Mapping[str, str]) -> list[Path]:
    """Where Claude Code writes: in $CLAUDE_CONFIG_DIR, which may be several divided by commas.

    Without it, in the older place, the newer or both; the older is said to be missing if neither
    is there.
    """
    named = [
        name for part in environ.get("CLAUDE_CONFIG_DIR", "").split(",") if (name := part.strip())
    ]
    if named:
        paths = [_absolute(name, environ) for name in named]
        return [path if path.name == "projects" else path / "projects" for path in paths]
    config = environ.get("XDG_CONFIG_HOME") or "~/.config"
    places = [
        _absolute(name, environ) for name in ("~/.claude/projects", f"{config}/claude/projects")
    ]
    return [path for path in places if _is_there(path)] or places[:1]


def _codex(environ: Mapping[str, str]) -> list[Path]:
    """Where Codex writes, and where it moves what is archived, if it has archived anything."""
    home = _absolute(environ.get("CODEX_HOME") or "~/.codex", environ)
    archive = home / "archived_sessions"
    return [home / "sessions", *([archive] if _is_there(archive) else [])]


def _is_there(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - Path's own raises where a folder is closed to us


def _absolute(name: str, environ: Mapping[str, str]) -> Path:
    """The path, with the home folder in the place of a ~ before it."""
    home, slash, rest = name.partition("/")
    if home == "~" and environ.get("HOME"):
        name = environ["HOME"] + slash + rest
    return Path(os.path.expanduser(name)).absolute()  # noqa: PTH111 - Path's own raises
