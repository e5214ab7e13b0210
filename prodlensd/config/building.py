"""What is read becomes one frozen `Config`, or one `ConfigError` that names key and meaning."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from prodlensd.config.files import ConfigError, absolute, found, home, ledger_in, real_ledger
from prodlensd.config.settings import Config, Settings


def load(path: Path | None = None, *, env: Mapping[str, str] = os.environ) -> Config:
    """The configuration in `path`, $PRODLENSD_CONFIG, the user's or the system's file, or none.

    Raises ConfigError, also when a file named by one of the first two is missing.
    """
    return build(*found(path, env), env)


def build(tree: dict[str, Any], file: Path | None, env: Mapping[str, str]) -> Config:
    """The configuration that `tree`, the content of `file`, asks for. Raises ConfigError."""
    folder, tree = home(env), dict(tree)
    for table, key, default in (
        ("logs", "directories", [str(folder / "logs")]),
        ("store", "path", ledger_in(folder)),
        ("parquet", "directory", str(folder / "parquet")),
    ):
        if isinstance(given := tree.get(table, {}), dict):
            tree[table] = {key: default} | given
    pricing = tree.get("pricing")
    if isinstance(pricing, dict) and pricing.get("litellm_prices") == "":
        tree["pricing"] = {k: value for k, value in pricing.items() if k != "litellm_prices"}
    base = file.parent if file else Path()

    def to_path(_kind: type, value: object) -> Path:
        return absolute(value, base, env)

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
    real = real_ledger(settings.store.path, file)
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


def _host_name() -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", os.uname().nodename).lstrip("._-")[:200] or "localhost"
