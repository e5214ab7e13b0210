"""Twenty hosts' ledgers and what they published, and one question asked of all of them at once.

Tests on two workers ask: `of_this_run` builds the hosts once for both.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw
import pytest
from fasteners import InterProcessLock

from tests.forked import forked
from tests.publish.s3 import S3

#: Where in a bucket they publish to.
PREFIX: Final = "team/prodlens"
_HOSTS: Final = 20
_AT_ONCE: Final = 2
#: Keeps its calls in the ledger for a day: all of them are in its snapshots only.
PRUNED: Final = "laptop-07"
#: A sum of these in floating point loses the nano-dollars.
_DEAR_NANOUSD: Final = 999_999_987_654_321
_DEAR_EACH: Final = 12
_COSTS_NANOUSD: Final = (1, 2, 999_999_999, 100_000_000, 123_456_789, 0, None, None)
#: The table has a price for this one: its calls come with none.
LISTED: Final = "anthropic/claude-3-opus-20240229"

_GROUPS: Final = ("host", "event_date", "developer_id", "model")
#: DuckDB and Spark take the same words; only what stands for the table differs.
QUESTION: Final = """
    SELECT grouping(host), grouping(event_date), grouping(developer_id), grouping(model),
        host, event_date, developer_id, model,
        count(*) AS calls,
        sum(cost_usd) AS cost_usd,
        sum(tokens_in) AS tokens_in,
        sum(tokens_out) AS tokens_out,
        count(*) FILTER (WHERE cost_source = 'unpriced') AS unpriced
    FROM {traces}
    GROUP BY GROUPING SETS ((host), (event_date), (developer_id), (model), ())
"""


class Sums(NamedTuple):
    """What some calls add up to."""

    calls: int
    cost_usd: Decimal
    tokens_in: int
    tokens_out: int
    unpriced: int


#: By a column and its value, and ("all", "") of everything.
Totals = dict[tuple[str, str], Sums]


def answered(rows: Iterable[Any]) -> Totals:
    """The answer to QUESTION; dates may be dates or text, and so may decimals."""
    totals: Totals = {}
    for row in rows:
        is_summed, values, (calls, cost_usd, *counts) = row[:4], row[4:8], row[8:]
        groups = zip(_GROUPS, is_summed, values, strict=True)
        by = [(name, str(value)) for name, summed, value in groups if not summed]
        key = by[0] if by else ("all", "")
        assert key not in totals, f"{key} twice"
        totals[key] = Sums(calls, Decimal(cost_usd or 0), *(count or 0 for count in counts))
    return totals


class Call(NamedTuple):
    """One call, in a ledger or in a log; the cost is an integer of nano-dollars."""

    host: str
    event_date: str
    developer_id: str | None
    model: str | None
    nanousd: int | None
    tokens_in: int | None
    tokens_out: int | None
    is_unpriced: bool


def added_up(calls: Iterable[Call]) -> Totals:
    """The sums of these calls, all in integers."""
    sums: dict[tuple[str, str], list[int]] = {}
    for call in calls:
        keys = [(name, str(getattr(call, name))) for name in _GROUPS]
        more = (call.nanousd, call.tokens_in, call.tokens_out, call.is_unpriced)
        for key in [*keys, ("all", "")]:
            group = sums.setdefault(key, [0] * 5)
            for place, value in enumerate((1, *more)):
                group[place] += value or 0
    return {
        key: Sums(calls, Decimal(nanousd).scaleb(-9), *counts)
        for key, (calls, nanousd, *counts) in sums.items()
    }


class Host:
    """A home with a ledger, on a machine of this name."""

    def __init__(self, name: str, home: Path) -> None:
        self.name = name
        self.home = home

    def log(self, lines: Iterable[dict[str, Any]]) -> None:
        """Appends these lines to its log."""
        folder = self.home / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "a.jsonl").open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)

    def run(self, *arguments: str, url: str) -> str:
        """What prodlensd says, which must succeed, with this `publish.url`."""
        retention = "[retention]\nstore_days = 1\n" if self.name == PRUNED else ""
        (self.home / "config.toml").write_text(
            f'host = "{self.name}"\n{retention}[publish]\nurl = "{url}"\n'
        )
        # No credentials but the tests' own are to be found.
        foreign = ("AWS_", "GOOGLE_", "CLOUDSDK_", "PRODLENSD_", "LITELLM_")
        known = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        own = {"HOME": str(self.home), "PRODLENSD_HOME": str(self.home), **S3.environment}
        done = forked(*arguments, env=known | own)
        said = done.stdout + done.stderr
        assert (0, False) == (done.returncode, "cannot publish" in said), said
        return done.stdout

    def query(self, sql: str) -> list[Any]:
        """What the ledger answers."""
        path = str(self.home / "prodlens.db")
        with closing(apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)) as db:
            db.set_busy_timeout(2000)
            return list(db.execute(sql))

    def ledger(self) -> list[Call]:
        """The calls that are in the ledger, from its own integers."""
        rows = self.query(
            """
            SELECT date(started_us / 1000000, 'unixepoch'), developer_id, model,
                cost_nanousd, tokens_in, tokens_out, cost_source = 'unpriced'
            FROM trace
            """
        )
        return [Call._make((self.name, *values, bool(last))) for *values, last in rows]

    def snapshots(self) -> set[str]:
        """The keys of its snapshots."""
        folder = self.home / "parquet"
        return {str(path.relative_to(folder)) for path in folder.glob("*/*")}


class Fleet(NamedTuple):
    """Twenty hosts, and the folder that they all have published to."""

    hosts: list[Host]
    folder: Path

    def publish(self, url: str) -> list[str]:
        """What each host says that publishes to there, two at a time."""
        return self.at_once(lambda host: host.run("publish", url=url))

    def at_once(self, act: Callable[[Host], str]) -> list[str]:
        """What this comes to for each host."""
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            return list(threads.map(act, self.hosts))

    def calls(self) -> list[Call]:
        """All there are: from the ledgers, and where they are pruned, as they were logged."""
        return [
            call
            for host in self.hosts
            for call in (logged(host.name) if host.name == PRUNED else host.ledger())
        ]

    def totals(self) -> Totals:
        """What the statements have to say."""
        return added_up(self.calls())


def of_this_run(factory: pytest.TempPathFactory) -> Fleet:
    """The hosts, built by the first worker who asks."""
    folder = factory.getbasetemp()
    root = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "fleet"
    names = [f"laptop-{number:02d}" for number in range(1, _HOSTS + 1)]
    fleet = Fleet([Host(name, root / name) for name in names], root / "team")
    fleet.folder.mkdir(parents=True, exist_ok=True)
    with InterProcessLock(root / "lock"):
        if not (root / "ready").exists():
            fleet.at_once(lambda host: _first_run(host, fleet.folder.as_uri()))
            (root / "ready").touch()
    return fleet


def _first_run(host: Host, url: str) -> str:
    host.log(_line(number, call) for number, call in enumerate(logged(host.name)))
    return host.run("run", "--once", url=url)


# What is logged -----------------------------------------------------------------------------------


def logged(host: str) -> list[Call]:
    """The calls of a host, of which no two hosts have as many."""
    return list(_calls(host, int(host.removeprefix("laptop-"))))


def _calls(host: str, number: int) -> Iterator[Call]:
    # A day that all hosts have, one that some have, and one that nobody else has.
    days = ("2026-01-01", f"2026-01-{2 + number % 5:02d}", f"2026-02-{number:02d}")
    for turn in range(30 + 2 * number):
        nanousd = _COSTS_NANOUSD[turn % len(_COSTS_NANOUSD)]
        yield Call(
            host,
            days[turn % len(days)],
            ("everybody@example.com", f"dev-{number % 4}@example.com", f"{host}@x", None)[turn % 4],
            ("acme/all", f"acme/model-{number % 3}", f"acme/{host}", None)[(turn // 4) % 4],
            nanousd or (None if nanousd is None else number),
            turn * 1000 + number,
            turn if turn % 6 else None,
            nanousd is None,
        )
    for turn in range(_DEAR_EACH):
        dear = _DEAR_NANOUSD - turn - number
        yield Call(host, days[turn % 2], None, "acme/all", dear, number, 1, is_unpriced=False)
    if host != PRUNED:  # what the table says, the ledger alone knows
        yield Call(host, days[0], None, LISTED, None, 100, 50, is_unpriced=False)


def _line(number: int, call: Call) -> dict[str, Any]:
    # The last microseconds of the day; and ids that other hosts have as well: those are not copies.
    moment = datetime.fromisoformat(f"{call.event_date}T23:59:59.999999Z")
    usage = {"input_tokens": call.tokens_in, "output_tokens": call.tokens_out}
    return {
        "timestamp": (moment - timedelta(microseconds=number)).isoformat(),
        "id": f"chatcmpl-{number}",
        "litellm_call_id": f"call-{number}",
        "cost_usd": None if call.nanousd is None else call.nanousd / 1e9,
        "attributes": {"llm.model_name": call.model},
        "usage": {name: value for name, value in usage.items() if value is not None},
        "metadata": {"developer_id": call.developer_id},
    }
