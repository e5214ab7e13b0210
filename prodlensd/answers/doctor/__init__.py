"""Is everything wired, from the proxy to the price, and if not, what to do.

What `status` knows is taken from there. Works with no daemon, without a ledger, and as any user.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from msgspec import Struct

from prodlensd.access import nearest
from prodlensd.answers.doctor import agents, checks, facts
from prodlensd.answers.doctor.agents import offers
from prodlensd.answers.doctor.facts import Installed, Setup
from prodlensd.answers.gauges import CRITICAL, OK, Check, Limits, worst_of
from prodlensd.answers.proxy import Version
from prodlensd.answers.status import Health
from prodlensd.litellm import quoted
from prodlensd.pricing import newest_day

__all__ = [
    "SESSION",
    "Examination",
    "Installed",
    "SampleCall",
    "Setup",
    "examine",
    "misconfigured",
    "offers",
]

#: The session of the test call.
SESSION: Final = "prodlensd-doctor"
#: Of `status`, those that are only told of when something is wrong.
_ONLY_WHEN_WRONG: Final = ("version", "faults", "watcher", "publish")
_MODEL: Final = "claude-haiku-4-5"


class SampleCall(NamedTuple):
    """A call to make by hand: a line for the shell, and the command that then shows it."""

    command: str
    then: str


class Examination(Struct, frozen=True):
    """All checks, and a call to try; None where that makes no sense yet."""

    checks: tuple[Check, ...]
    call: SampleCall | None

    @property
    def state(self) -> str:
        """The worst of the checks."""
        return worst_of(*self.checks)


def misconfigured(fault: str) -> Examination:
    """All that can be said where the configuration cannot be used."""
    remedy = "correct it: until then nothing starts"
    return Examination((Check("config", CRITICAL, fault, remedy),), None)


def examine(
    setup: Setup, health_now: Callable[[], Health], limits: Limits, now_us: int
) -> Examination:
    """Looks at everything; `health_now` is what `status` finds."""
    version = Version(setup.proxy_url) if setup.proxy_url else None
    health = health_now()
    of_status = {check.name: check for check in health.checks}
    user = facts.user_of(setup.ledger, setup.services)
    found = facts.look_at_folders(setup, user)
    database = facts.database(setup.ledger)
    given = [
        checks.configuration(setup),
        checks.service(setup.services, is_running=of_status["daemon"].state == OK),
        of_status["daemon"],
        *(of_status[name] for name in _ONLY_WHEN_WRONG if _is_wrong(of_status.get(name))),
        checks.folders(found, setup, user),
        agents.check(setup, user),
        checks.proxy(setup, health, None if version is None else version.version()),
        checks.callback(facts.callback(setup), setup, health, now_us),
        checks.lines(health),
        checks.ledger(setup, health, database, user),
        checks.snapshots(setup, health, user),
        checks.clock(health, database, found.newest_us, now_us),
        checks.room(facts.disks(_places(setup)), limits),
        checks.prices(health, newest_day(), _dated(setup.price_file)),
    ]
    return Examination(tuple(filter(None, given)), sample_call(setup))


def _places(setup: Setup) -> list[tuple[str, Path]]:
    """What is to be written where."""
    places = [("the ledger", setup.ledger), *(("logs", folder) for folder in setup.folders)]
    return places if setup.parquet is None else [*places, ("snapshots", setup.parquet)]


def _is_wrong(check: Check | None) -> bool:
    return check is not None and check.state != OK


def _dated(file: Path | None) -> tuple[Path, int] | None:
    try:
        return None if file is None else (file, file.stat().st_mtime_ns // 1000)
    except OSError:
        return None


def sample_call(setup: Setup) -> SampleCall:
    """A call through the proxy, or else a trace line as if there had been one."""
    then = f"prodlensd show {SESSION}"
    who = {"session_id": SESSION, "developer_id": "doctor"}
    if setup.proxy_url:
        address = urlsplit(setup.proxy_url)
        # A user and a password in the address are nothing to show.
        host = address.netloc.rpartition("@")[2]
        url = f"{address.scheme}://{host}{address.path.rstrip('/')}/v1/chat/completions"
        body = {
            "model": _MODEL,
            "max_tokens": 8,
            "messages": [{"role": "user", "content": "Say hello."}],
            "metadata": who,
        }
        command = (
            f'curl {shlex.quote(url)} -H "Authorization: Bearer $LITELLM_MASTER_KEY" '
            f"-H 'Content-Type: application/json' -d {shlex.quote(json.dumps(body))}"
        )
        return SampleCall(command, then)
    line = {
        "timestamp": "%s",
        "attributes": {"llm.model_name": f"anthropic/{_MODEL}", "status_code": 200},
        "usage": {"input_tokens": 1, "output_tokens": 1},
        "metadata": who,
    }
    folder = setup.folders[0]
    file = folder / _log_name(setup.include)
    made = "" if nearest(folder) == folder else f"mkdir -p {quoted(folder)} && "
    command = (
        f"{made}printf {shlex.quote(json.dumps(line) + chr(92) + 'n')} "
        f'"$(date -u +%Y-%m-%dT%H:%M:%SZ)" >> {quoted(file)}'
    )
    return SampleCall(command, then)


def _log_name(include: Sequence[str]) -> str:
    """A name that the daemon takes for a log."""
    plain = (pattern for pattern in include if not set(pattern) & set("?["))
    return next(plain, "*.jsonl").replace("*", SESSION)
