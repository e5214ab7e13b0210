"""What repricing costs: every call of one large day gets another price, beside a working daemon."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks import lines
from benchmarks.figures import Figure, WrongResultError
from benchmarks.home import Home
from benchmarks.latency import figures_beside, waits_beside_ms
from benchmarks.sizes import Sizes

#: Of the calls' model; another price than any they have.
_OVERRIDE: Final = """
[parquet]
enabled = false
[[pricing.override]]
model = "anthropic/claude-sonnet-4-5"
input_usd_per_million = 7.0
output_usd_per_million = 9.0
"""
_ALL: Final = ("reprice", "--source", "gateway,table")


def repricing(folder: Path, sizes: Sizes) -> Iterator[Figure]:
    """Reprices alone, and the same calls again beside a daemon."""
    calls = sizes.repriced_calls
    log = folder / "a.jsonl"
    lines.write(log, lines.day_lines(calls))
    home = _ingested(folder / "alone", log, calls)
    _change_prices(home)
    alone = home.run("prodlensd", *_ALL)
    _check(home, calls)
    yield Figure("repricing", calls / alone.wall_s, "calls/s", calls, "calls, all changed")
    yield Figure("the same, peak memory", alone.peak_with_children_mb, "MB", 1, "run")
    home = _ingested(folder / "beside", log, calls)
    waits_ms = waits_beside_ms(home, *_ALL, prepare=partial(_change_prices, home))
    _check(home, calls)
    yield from figures_beside(waits_ms, f"appends while {calls:,} calls are repriced")


def _ingested(folder: Path, log: Path, calls: int) -> Home:
    home = Home(folder)
    home.take(log)
    home.run("prodlensd", "run", "--once")
    home.expect(traces=calls)
    return home


def _change_prices(home: Home) -> None:
    """Without the knowledge of a daemon at work, which would reprice by itself."""
    home.ledger.with_name("config.toml").write_text(_OVERRIDE)


def _check(home: Home, calls: int) -> None:
    changed = home.query("SELECT count(*) FROM traces WHERE cost_source = 'override'")
    if changed != [calls] or home.query("SELECT count(*) FROM cost_changes") != [calls]:
        raise WrongResultError(f"{changed} of {calls} calls were repriced")
