"""One TOML file → one frozen `Config`, or one `ConfigError` that names the key and its meaning."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from prodlensd.access import refusal
from prodlensd.config.settings import (
    LIMITS,
    SCOPES,
    Budget,
    Config,
    Fallback,
    Http,
    Log,
    Logs,
    Notify,
    Parquet,
    PriceOverride,
    Pricing,
    Proxy,
    Publish,
    Retention,
    Settings,
    Status,
    Store,
    Transcripts,
)
from prodlensd.faces import late
from prodlensd.model import OperationalError

if TYPE_CHECKING:
    from prodlensd.config.meanings import example, keys
else:
    __getattr__ = late(__name__, meanings="example keys")

SYSTEM_FILE: Final = Path("/etc/prodlensd/config.toml")


class ConfigError(OperationalError, ValueError):
    """The configuration cannot be used; the message, for people, names the file and the key."""


def load(path: Path | None = None, *, env: Mapping[str, str] = os.environ) -> Config:
    """The configuration in `path`, $PRODLENSD_CONFIG, the user's or the system's file, or none.

    Raises ConfigError, also when a file named by one of the first two is missing.
    """
    if named := path or env.get("PRODLENSD_CONFIG"):
        file = _absolute(str(named), Path(), env)
        if (tree := _read(file)) is None:
            raise ConfigError(f"{file}: no such file")
        return build(tree, file, env)
    for file in (user_file(env), SYSTEM_FILE):
        if (tree := _read(file)) is not None:
            return build(tree, file, env)
    return build({}, None, env)


def user_file(env: Mapping[str, str] = os.environ) -> Path:
    """Where the user's configuration belongs, whether or not it is there."""
    home = env.get("PRODLENSD_HOME") or f"{env.get('XDG_CONFIG_HOME') or '~/.config'}/prodlensd"
    return _absolute(home, Path(), env) / "config.toml"


def build(tree: dict[str, Any], file: Path | None, env: Mapping[str, str]) -> Config:
    """The configuration that `tree`, the content of `file`, asks for. Raises ConfigError."""
    home = _absolute(env.get("PRODLENSD_HOME") or "~/.local/share/prodlensd", Path(), env)
    tree = dict(tree)
    for table, key, default in (
        ("logs", "directories", [str(home / "logs")]),
        ("store", "path", str(home / "prodlens.db")),
        ("parquet", "directory", str(home / "parquet")),
    ):
        if isinstance(given := tree.get(table, {}), dict):
            tree[table] = {key: default} | given
    pricing = tree.get("pricing")
    if isinstance(pricing, dict) and pricing.get("litellm_prices") == "":
        tree["pricing"] = {k: value for k, value in pricing.items() if k != "litellm_prices"}
    base = file.parent if file else Path()

    def to_path(_kind: type, value: object) -> Path:
        return _absolute(value, base, env)

    try:
        # In a list, so that every message of msgspec's ends in a place: $[0] is the file.
        settings = msgspec.convert([tree], tuple[Settings], dec_hook=to_path)[0]
    except msgspec.ValidationError as error:
        from prodlensd.config.meanings import explain  # noqa: PLC0415 - mostly nothing is wrong

        raise ConfigError(f"{file}: {explain(str(error), tree)}") from None
    if (prices := settings.pricing.litellm_prices) is not None and not prices.is_file():
        raise ConfigError(f"{file}: pricing.litellm_prices: no such file: {prices}")
    if settings.transcripts.claude_code or settings.transcripts.codex:
        _check_apart(settings, file, env)
    values = msgspec.structs.asdict(settings)
    # One ledger has one path, whatever links lead to it: its lock and its -wal lie beside the file.
    # In the place of one that is yet to be made a link leads nowhere: it is replaced.
    real = Path(os.path.realpath(settings.store.path.parent)) / settings.store.path.name
    if os.path.exists(real):  # noqa: PTH110 - Path's own raises where a folder is closed to us
        real = Path(os.path.realpath(real))
    try:
        os.fsencode(real).decode()
    except UnicodeDecodeError:
        where = f"{file}: " if file else ""
        raise ConfigError(f"{where}store.path: SQLite needs a path in UTF-8, not {real}") from None
    values["store"] = msgspec.structs.replace(settings.store, path=real)
    return Config(**values | {"host": settings.host or _host_name(), "path": file})


def _check_apart(settings: Settings, file: Path | None, env: Mapping[str, str]) -> None:
    from prodlensd.config.apart import overlap  # noqa: PLC0415 - most read no transcripts
    from prodlensd.config.meanings import with_meaning  # noqa: PLC0415

    if fault := overlap(settings, env):
        raise ConfigError(f"{file}: {with_meaning(*fault)}")


def check_address(url: str) -> None:
    """Raises ValueError unless this could be the `publish.url` of a host."""
    try:
        build({"publish": {"url": url or "-"}}, None, {})
    except ConfigError as error:
        raise ValueError(str(error).partition("publish.url: ")[2]) from None


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


def _absolute(text: object, base: Path, env: Mapping[str, str]) -> Path:
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


def _host_name() -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", os.uname().nodename).lstrip("._-")[:200] or "localhost"


__all__ = [
    "LIMITS",
    "SCOPES",
    "SYSTEM_FILE",
    "Budget",
    "Config",
    "ConfigError",
    "Fallback",
    "Http",
    "Log",
    "Logs",
    "Notify",
    "Parquet",
    "PriceOverride",
    "Pricing",
    "Proxy",
    "Publish",
    "Retention",
    "Settings",
    "Status",
    "Store",
    "Transcripts",
    "build",
    "check_address",
    "example",
    "keys",
    "load",
    "user_file",
]
