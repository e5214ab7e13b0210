"""The checks of the doctor: facts in, a state and a value out, and what to do when not ok.

What a value quotes (paths, errors of the system) comes from outside, and is not fit to print as is.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from prodlensd import __version__
from prodlensd.access import nearest
from prodlensd.answers.checks import ago
from prodlensd.answers.doctor.facts import (
    QUICK_LOOK_S,
    Callback,
    Database,
    Disk,
    Folders,
    Installed,
    Setup,
    User,
)
from prodlensd.answers.gauges import (
    CRITICAL,
    OK,
    UNKNOWN,
    WARNING,
    Check,
    Gauge,
    Limits,
    worst_of,
)
from prodlensd.answers.status import Health
from prodlensd.litellm import COPIED_CALLBACK_FILE
from prodlensd.model import US_PER_S
from prodlensd.moments import moment_of
from prodlensd.text import counted, duration, size, some

#: Clocks of two machines that are set differ by less.
_CLOCK_S: Final = 120


def configuration(setup: Setup) -> Check:
    """Which file is in force, and whether the service has another one."""
    value = "no file: every key is at its default" if setup.config is None else str(setup.config)
    for service in setup.services:
        other = service.config
        if other is not None and (setup.config is None or not _is_same(other, setup.config)):
            value += f"; the service reads {other}"
            remedy = f"look at that one: prodlensd doctor --config {other}"
            return Check("config", WARNING, value, remedy)
    return Check("config", OK, value)


def _is_same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def service(services: Sequence[Installed], *, is_running: bool) -> Check:
    """Whether a service is installed, runs, and starts by itself."""
    for installed in services:
        path, words = installed.path, _words(installed)
        if installed.fault:
            value = f"{path} is installed; {installed.fault}"
            return Check("service", OK if is_running else WARNING, value)
        if installed.has_failed or not installed.is_up:
            remedy = f"read why: {installed.log_hint}; start it: prodlensd service install"
            return Check("service", CRITICAL, f"{path}: {words}", remedy)
        if not installed.is_enabled:
            value = f"{path}: {words}, and does not start with the machine"
            return Check("service", WARNING, value, "prodlensd service install")
    if services:
        return Check("service", OK, "; ".join(f"{s.path}: {_words(s)}" for s in services))
    if is_running:
        return Check("service", OK, "none; the daemon was started by other means")
    remedy = "prodlensd service install, or start prodlensd run by other means"
    return Check("service", WARNING, "none is installed", remedy)


def _words(service: Installed) -> str:
    return f"{service.word} ({service.detail})" if service.detail else service.word


def folders(found: Folders, setup: Setup, user: User) -> Check:
    """Whether the daemon can read what is in the log folders."""
    value = f"{some([str(folder) for folder in setup.folders])}: {counted(found.files, 'log')}"
    remedies, state = [], OK
    if found.missing:
        value += f"; not there: {some([str(folder) for folder in found.missing])}"
        remedies.append("correct logs.directories, or let the daemon create it when it starts")
        state = WARNING
    for folder, fault in found.closed:
        value += f"; {folder}: {fault}"
        state = CRITICAL
    if found.unreadable:
        count, first = counted(len(found.unreadable), "log"), found.unreadable[0]
        value += f"; {user.name} may not read {count}, the first is {first}"
        state = CRITICAL
    if state == CRITICAL:
        remedies.append(
            f"let {user.name} read them, or run the daemon as the proxy's user: "
            "prodlensd service install --system --run-as USER"
        )
    for rule, files in sorted(found.passed_over.items()):
        value += f"; {files.count} passed over ({rule}): {files.named}"
    if not found.files and "logs.include" in found.passed_over:
        remedies.append("name the files that are logs in logs.include")
        state = WARNING if state == OK else state
    return Check("folders", state, value, "; ".join(remedies))


def proxy(setup: Setup, health: Health, version: str | None) -> Check:
    """Whether the proxy answers; which version it is, where it says so."""
    known = next((check for check in health.checks if check.name == "proxy"), None)
    if known is None or (known.state == OK and not setup.proxy_url):
        value = 'not asked: proxy.url is not set, as in [proxy] url = "http://127.0.0.1:4000"'
        return Check("proxy", OK, value)
    if not health.figures["proxy"]:
        return known
    value = f"{known.value}; its version is {version or 'for those with its key only'}"
    return Check("proxy", known.state, value, known.remedy)


def callback(found: Callback, setup: Setup, health: Health, now_us: int) -> Check:
    """Whether the callback is this version's, and its lines go where the daemon looks."""
    last_us = None if health.facts is None else health.facts.last_line_us
    came = "no line has come" if last_us is None else f"the last line came {ago(now_us, last_us)}"
    old = [path for path, is_ours in found.copies if not is_ours]
    same = [str(path) for path, is_ours in found.copies if is_ours]
    value, remedies = came, []
    if old:
        value += f"; of another version: {some([str(path) for path in old])}"
        if old[0].name == COPIED_CALLBACK_FILE:
            how = f"prodlensd litellm-callback --install {old[0].parent}"
        else:
            how = f"install prodlensd {__version__} in the environment of {found.proxy}"
        remedies.append(f"{how}, and start the proxy again")
    elif same:
        value += f"; of this version: {some(same)}"
    else:
        value += f"; no copy in {some([str(place) for place in setup.places])}"
    named = "LITELLM_LOG_DIR" if found.is_named else "default"
    value += f"; it would write to {found.folder} ({named} in this shell)"
    if not found.is_watched:
        value += ", which is none of logs.directories"
    if not found.is_watched and (found.is_named or last_us is None):
        remedies.append(f"where the proxy runs: export LITELLM_LOG_DIR={setup.folders[0]}")
    if last_us is None:
        remedies.append(
            "put the callback under callbacks in LiteLLM's config: prodlensd init --proxy DIR "
            "writes one that works"
        )
    return Check("callback", WARNING if remedies else OK, value, "; ".join(remedies))


def lines(health: Health) -> Check | None:
    """What has come; None without a ledger."""
    found = {check.name: check for check in health.checks}
    if health.facts is None:
        return None
    tail, ingest = found["tail"], found["ingest"]
    if health.facts.has_seen_no_line:
        return Check("lines", WARNING, tail.value, "make the test call below")
    remedies = "; ".join(filter(None, (tail.remedy, ingest.remedy)))
    return Check("lines", worst_of(tail, ingest), ingest.value, remedies)


def ledger(setup: Setup, health: Health, found: Database | None, user: User) -> Check:
    """Whether the database can be written, and trusted."""
    store = next(check for check in health.checks if check.name == "store")
    is_wal_large = any(gauge.name == "wal" and gauge.state != OK for gauge in store.gauges)
    if store.state != UNKNOWN and not user.may(nearest(setup.ledger.parent), os.W_OK | os.X_OK):
        value = f"{setup.ledger}: {user.name} may not write to its folder"
        return Check("ledger", CRITICAL, value, "change its owner, or set store.path")
    if found is None or is_wal_large:
        return Check("ledger", store.state, store.value, store.remedy)
    value = f"{setup.ledger}, SQLite {found.sqlite}"
    if found.faults:
        value += f": {found.faults[0]}"
        remedy = "stop the daemon, and restore a backup, or move the file away: logs are read anew"
        return Check("ledger", CRITICAL, value, remedy)
    if found.faults is None:
        value += f", not looked through in {QUICK_LOOK_S:g} s: prodlensd verify does that"
    else:
        value += ", no fault found"
    return Check("ledger", OK, value)


def snapshots(setup: Setup, health: Health, user: User) -> Check:
    """Whether snapshots can be written, and are."""
    folder = setup.parquet
    if folder is None:
        return Check("snapshots", OK, "off (parquet.enabled)")
    if not user.may(nearest(folder), os.W_OK | os.X_OK):
        value = f"{folder}: {user.name} may not write there"
        return Check("snapshots", CRITICAL, value, "change its owner, or set parquet.directory")
    known = next((check for check in health.checks if check.name == "snapshots"), None)
    if known is None:
        return Check("snapshots", OK, f"{folder}: none yet")
    return Check("snapshots", known.state, f"{folder}: {known.value}", known.remedy)


def clock(health: Health, found: Database | None, newest_file_us: int | None, now_us: int) -> Check:
    """Whether something is of the future: then a clock is wrong."""
    beat = None if health.facts is None else health.facts.beat
    moments = {
        "the newest call starts": found and found.newest_call_us,
        "a log was written": newest_file_us,
        "the last heartbeat was": beat and beat.beat_us,
    }
    for what, at_us in moments.items():
        if at_us is not None and at_us - now_us > _CLOCK_S * US_PER_S:
            value = f"{what} {duration((at_us - now_us) / US_PER_S)} from now"
            remedy = "set this machine's clock, and the proxy's where that is another machine"
            return Check("clock", WARNING, value, remedy)
    now = moment_of(now_us)
    return Check("clock", OK, f"{now:%Y-%m-%d %H:%M} UTC; nothing is of the future")


def room(found: Sequence[Disk], limits: Limits) -> Check:
    """Whether there is room on the disks."""
    floors = limits.free_warning_bytes, limits.free_critical_bytes
    gauges = [Gauge("free", disk.free_bytes, "B", *floors, is_floor=True) for disk in found]
    value = "; ".join(f"{size(disk.free_bytes)} free for {', '.join(disk.holds)}" for disk in found)
    state = worst_of(*gauges)
    remedy = "" if state == OK else "make room, or keep less: see [retention]"
    return Check("disk", state, value, remedy)


def prices(health: Health, list_day: str, price_file: tuple[Path, int] | None) -> Check:
    """What prices come from, and whether calls have none."""
    known = next((check for check in health.checks if check.name == "pricing"), None)
    value = f"LiteLLM's map of {list_day}"
    if price_file is not None:
        path, at_us = price_file
        value += f"; {path} of {moment_of(at_us):%Y-%m-%d}"
    if known is None:
        return Check("prices", OK, f"{health.figures['price_book']}; {value}")
    return Check("prices", known.state, f"{known.value}; {value}", known.remedy)
