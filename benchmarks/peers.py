"""Other programs on the same lines: each puts them into a table of a file.

None of them prices a call, knows one that it has read before, or goes on where it stopped: they are
what somebody would begin with. Each has to find the same calls, and to add up the same tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import apsw
import duckdb

from benchmarks import lines
from benchmarks.callback_lines import callback_lines, truth_of
from benchmarks.figures import Figure, WrongResultError
from benchmarks.home import Home, Run
from benchmarks.sizes import Sizes

_TOLD: Final = """
    SELECT (SELECT count(*) FROM calls), count(*), sum(tokens) FROM (
        SELECT litellm_call_id, max({}) AS tokens FROM calls GROUP BY litellm_call_id
    )
"""


def peers(folder: Path, sizes: Sizes) -> Iterator[Figure]:
    """`prodlensd run --once`, then each peer, once over the same file, as whole processes."""
    log, count = folder / "traces.jsonl", sizes.peer_lines
    lines.write(log, callback_lines(count, duplicate_every=1000))
    truth = truth_of(log)
    home = Home(folder / "ours")
    home.take(log)
    run = home.run("prodlensd", "run", "--once")
    home.expect(traces=truth.calls, duplicates=truth.duplicates, tokens_in=truth.tokens_in)
    yield from _figures("prodlensd run --once", run, count)

    expected = (count, truth.calls, truth.tokens_in)
    store = folder / "duckdb.db"
    run = home.run("benchmarks.bare_table", str(log), str(store))
    with duckdb.connect(str(store), read_only=True) as of_duckdb:
        told = of_duckdb.execute(_TOLD.format("usage.prompt_tokens")).fetchone()
    _check("DuckDB", told, expected)
    yield from _figures("DuckDB, read_json into a table", run, count)

    store = folder / "sqlite-utils.db"
    run = home.run("sqlite_utils", "insert", str(store), "calls", str(log), "--nl")
    with apsw.Connection(str(store)) as of_sqlite:
        told = of_sqlite.execute(_TOLD.format("usage ->> 'prompt_tokens'")).fetchone()
    _check("sqlite-utils", told, expected)
    yield from _figures("sqlite-utils insert --nl", run, count)


def _check(peer: str, told: object, expected: tuple[int, int, int]) -> None:
    if told != expected:
        raise WrongResultError(
            f"{peer}: lines, calls and input tokens are {told}; they should be {expected}"
        )


def _figures(what: str, run: Run, count: int) -> Iterator[Figure]:
    of = "lines, whole process"
    yield Figure(what, count / run.wall_s, "lines/s", count, of)
    yield Figure(f"{what}: CPU", run.cpu_s / count * 1e6, "µs/line", count, of)
    yield Figure(f"{what}: peak RSS", run.peak_with_children_mb, "MB", 1, "run, all processes")
