"""Which file is the configuration, what a path in it means, and where the ledger is."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from prodlensd.access import refusal
from prodlensd.model import OperationalError

SYSTEM_FILE: Final = Path("/etc/prodlensd/config.toml")


class ConfigError(OperationalError, ValueError):
    """The configuration cannot be used; the message, for people, names the file and the key."""


def found(path: Path | None, env: Mapping[str, str]) -> tuple[dict[str, Any], Path | None]:
    """What is in `path`, $PRODLENSD_CONFIG, the user's or the system's file, or in none; and it.

    Raises ConfigError, also when a file named by one of the first two is missing.
    """
    if named := path or env.get("PRODLENSD_CONFIG"):
        file = absolute(str(named), Path(), env)
        if (tree := _read(file)) is None:
            raise ConfigError(f"{file}: no such file")
        return tree, file
    for file in (user_file(env), SYSTEM_FILE):
        if (tree := _read(file)) is not None:
            return tree, file
    return {}, None


def user_file(env: Mapping[str, str] = os.environ) -> Path:
    """Where the user's configuration belongs, whether or not it is there."""
    folder = env.get("PRODLENSD_HOME") or f"{env.get('XDG_CONFIG_HOME') or '~/.config'}/prodlensd"
    return absolute(folder, Path(), env) / "config.toml"


def home(env: Mapping[str, str]) -> Path:
    """The folder of what the configuration gives no place."""
    return absolute(env.get("PRODLENSD_HOME") or "~/.local/share/prodlensd", Path(), env)


def ledger_path(path: Path | None = None, *, env: Mapping[str, str] = os.environ) -> Path:
    """Where the ledger is, for who asks for nothing else, and is to wait for nothing else.

    Of the other keys nothing is read. Raises ConfigError.
    """
    tree, file = found(path, env)
    store = tree.get("store", {})
    given = store.get("path", ledger_in(home(env))) if isinstance(store, dict) else None
    return real_ledger(absolute(given, file.parent if file else Path(), env), file)


def ledger_in(folder: Path) -> str:
    """The ledger of a home folder."""
    return str(folder / "prodlens.db")


def real_ledger(path: Path, file: Path | None) -> Path:
    """One ledger has one path, whatever links lead to it: its lock and its -wal lie beside it.

    In the place of one that is yet to be made a link leads nowhere: it is replaced. Raises
    ConfigError.
    """
    real = Path(os.path.realpath(path.parent)) / path.name
    if os.path.exists(real):  # noqa: PTH110 - Path's own raises where a folder is closed to us
        real = Path(os.path.realpath(real))
    try:
        os.fsencode(real).decode()
    except UnicodeDecodeError:
        where = f"{file}: " if file else ""
        raise ConfigError(f"{where}store.path: SQLite needs a path in UTF-8, not {real}") from None
    return real


def absolute(text: object, base: Path, env: Mapping[str, str]) -> Path:
    """The path meant by `text`, seen from `base`. Raises ConfigError."""
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConfigError("Expected a path")
    if text.partition("/")[0] == "~":
        text = (env.get("HOME") or "~") + text[1:]
    if (expanded := os.path.expanduser(text)).startswith("~"):  # noqa: PTH111 - Path's own raises
        raise ConfigError(f"Expected a path whose ~ is a known home folder, got {text}")
    path = (base / expanded).absolute()
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        encoding = sys.getfilesystemencoding()
        raise ConfigError(f"Expected a path that can be named in {encoding}, got {text}") from None
    return path


def _read(file: Path) -> dict[str, Any] | None:
    """The content of the file; None when there is none."""
    try:
        text = file.read_text(encoding="utf-8").removeprefix("\ufeff")
        import tomllib  # noqa: PLC0415 - where there is no file, it takes longer than all the rest

        return tomllib.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {refusal(file, error)}") from error
    except (ValueError, RecursionError) as error:  # bad syntax, with line and column; not UTF-8
        raise ConfigError(f"{file}: not valid TOML: {error}") from error
