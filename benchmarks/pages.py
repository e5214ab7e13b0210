"""What a page costs: cold, warm, in memory; and what it costs the daemon that somebody reloads."""

from __future__ import annotations

import gzip
import json
import os
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from typing import Final

from benchmarks.figures import Budget, Figure, WrongResultError
from benchmarks.home import Home
from benchmarks.latency import append_s, figures_beside
from benchmarks.processes import rss_mb, tree

_PAGES: Final = 5
_APPENDS: Final = 200
_PAUSE_S: Final = 0.02
_DAY: Final = "SELECT count(*) FROM trace WHERE started_us >= 1798761600000000"  # of 2027


def pages(home: Home, rows: int) -> Iterator[Figure]:
    """A daemon that serves the page of a ledger with so many calls, all of them asked for."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    config = home.ledger.with_name("config.toml")
    before = config.read_text() if config.exists() else ""
    config.write_text(f'{before}[http]\nlisten = "127.0.0.1:{port}"\n')
    try:
        with home.daemon() as daemon:
            address = f"http://127.0.0.1:{port}/?since=always&timezone=UTC"
            yield from _served(home, rows, daemon.pid, address)
    finally:
        config.write_text(before)


def _served(home: Home, rows: int, daemon: int, address: str) -> Iterator[Figure]:
    cold_s, page = _timed(address)
    if f"{rows:,}".encode() not in page:
        raise WrongResultError(f"the page does not count {rows:,} calls")
    warm_s = sorted(_timed(address)[0] for _ in range(_PAGES))[_PAGES // 2]
    of = f"{rows:,} calls"
    is_budgeted = rows <= 1_000_000
    yield Figure("page, cold", cold_s, "s", 1, of, Budget("≤", 5) if is_budgeted else None)
    yield Figure("page, warm", warm_s, "s", _PAGES, of, Budget("≤", 2) if is_budgeted else None)
    yield Figure("its size", len(page) / 1000, "kB", 1, of)
    yield Figure("the same with gzip", len(gzip.compress(page)) / 1000, "kB", 1, of)
    maker = max(tree(daemon)[1:], key=rss_mb)
    yield Figure("the process that makes pages, memory", rss_mb(maker), "MB", 1, of)
    yield from figures_beside(_waits_ms(home, address), "appends beside reloads")
    yield Figure("the daemon, memory after it", rss_mb(daemon), "MB", 1, of)


def _timed(address: str) -> tuple[float, bytes]:
    began_s = time.perf_counter()
    with urllib.request.urlopen(address, timeout=100) as answer:  # noqa: S310 - our own daemon
        page = bytes(answer.read())
    return time.perf_counter() - began_s, page


def _waits_ms(home: Home, address: str) -> list[float]:
    """How long each of some lines takes to be visible, while somebody reloads all the time."""
    is_over = threading.Event()

    def reload() -> None:
        while not is_over.is_set():
            _timed(address)

    reloading = threading.Thread(target=reload)
    reloading.start()
    log = os.open(home.logs / "beside.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        with home.reader() as probe:
            waits_ms = []
            for number in range(1, _APPENDS + 1):
                waits_ms.append(1000 * append_s(log, _line(number), probe, number, _DAY))
                is_over.wait(_PAUSE_S)
            return waits_ms
    finally:
        os.close(log)
        is_over.set()
        reloading.join()


def _line(number: int) -> bytes:
    """A call of another year, so that it can be counted quickly."""
    ids = {"id": f"late-{number}", "litellm_call_id": f"late-{number}"}
    record = {"timestamp": "2027-01-01T00:00:00Z", "cost_usd": 0.01, **ids}
    usage = {"input_tokens": 1, "output_tokens": 1}
    return json.dumps({**record, "usage": usage}).encode() + b"\n"
