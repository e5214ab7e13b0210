"""What the doctor looks at: the parts of a configuration, and the service of this machine."""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from prodlensd.answers.doctor import Examination, Installed, Setup, examine, misconfigured
from prodlensd.app.following import follow, transcript_folders
from prodlensd.app.status import health, limits
from prodlensd.app.transcripts import unread
from prodlensd.config import Config, ConfigError, load
from prodlensd.moments import now_us
from prodlensd.service import Launchd, Manager, ServiceError, Systemd

_PATIENCE_S: Final = 0.5
#: Those that decide where the callback writes, and which LiteLLM is started.
_VARIABLES: Final = ("LITELLM_LOG_DIR", "PRODLENSD_HOME", "PATH")


def doctor(config_path: Path | None) -> Examination:
    """Looks at everything that the configuration in force names. A bad one is a finding, too."""
    try:
        config = load(config_path)
    except ConfigError as error:
        return misconfigured(str(error))
    return examine(_setup(config), partial(health, config), limits(config), now_us())


def _setup(config: Config) -> Setup:
    return Setup(
        config=config.path,
        ledger=config.store.path,
        folders=config.logs.directories,
        include=config.logs.include,
        recursive=config.logs.recursive,
        follow=partial(follow, config),
        transcripts=transcript_folders(config),
        unread=unread(config),
        parquet=config.parquet.directory if config.parquet.enabled else None,
        proxy_url=config.proxy.url,
        price_file=config.pricing.litellm_prices,
        services=_services(),
        places=_places(),
        env={name: os.environ[name] for name in _VARIABLES if name in os.environ},
    )


def _places() -> list[Path]:
    """Where the manual puts a callback, and where this shell is."""
    places = []
    with suppress(OSError):  # the folder is gone
        places.append(Path.cwd())
    if home := os.environ.get("HOME"):
        places.append(Path(home) / "litellm")
    return places


def _services() -> list[Installed]:
    """The services of prodlensd that are installed here, this user's first."""
    uid = os.geteuid()
    managers: list[Manager]
    if sys.platform == "darwin":
        managers = [Launchd(os.environ, uid=uid)]
    else:
        managers = [Systemd(os.environ, user=is_user, uid=uid) for is_user in (True, False)]
    return [installed for manager in managers if (installed := _installed(manager))]


def _hides_homes(unit: str, path: Path) -> bool:
    """Whether a unit, as `systemctl edit` has changed it, shows its service no home folders."""
    for changed in sorted(path.with_name(f"{path.name}.d").glob("*.conf")):
        with suppress(OSError, ValueError):
            unit += "\n" + changed.read_text(encoding="utf-8")
    said = re.findall(r"(?m)^ProtectHome=(\S*)", unit)
    return bool(said) and said[-1] in ("yes", "true", "on", "1", "tmpfs")


def _installed(manager: Manager) -> Installed | None:
    try:
        unit = manager.path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return None
    config = re.search(r"--config[ <>/a-z\n\t]*?[ >](/[^\s<]+)", unit)
    user = re.search(r"(?m)^User=(\S+)$", unit)
    found = Installed(
        manager.path,
        manager.log_hint,
        Path(config[1]) if config else None,
        user[1] if user else None,
        hides_homes=_hides_homes(unit, manager.path),
    )
    manager.timeout_s = _PATIENCE_S
    try:
        manager.check()
        state = manager.state()
    except ServiceError as error:
        return found._replace(fault=str(error))
    return found._replace(
        word=state.word,
        detail=state.detail,
        is_up=state.is_up,
        has_failed=state.has_failed,
        is_enabled=state.is_enabled,
    )
