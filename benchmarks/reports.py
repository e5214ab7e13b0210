"""What answers cost: each question beside the same SQL in a bare DuckDB over the same snapshots."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from benchmarks import lines
from benchmarks.figures import Budget, Figure, WrongResultError
from benchmarks.home import Home
from benchmarks.pages import pages
from benchmarks.sizes import Sizes

_START: Final = datetime(2026, 6, 1, tzinfo=UTC)
_DAYS: Final = 90
_MODELS: Final = (
    ("anthropic/claude-sonnet-4-5", 3, 15),
    ("anthropic/claude-opus-4-8", 5, 25),
    ("openai/gpt-5", 1.25, 10),
    ("anthropic/claude-haiku-4-5", 1, 5),
    ("gemini/gemini-2.5-pro", 1.25, 10),
)
#: What every report adds up, as a table or as JSON shows it.
_SUMS: Final = (
    "count(*), count(*) FILTER (status = 'failure'), "
    "count(*) FILTER (cost_source NOT IN ('cache_hit', 'not_billable', 'free')), "
    "sum(tokens_in), sum(cache_read_tokens), sum(tokens_out), sum(cost_usd), "
    "count(*) FILTER (cost_source = 'unpriced'), "
    "sum(coalesce(total_tokens, tokens_in + tokens_out, tokens_in, tokens_out)) "
    "FILTER (cost_source = 'unpriced')"
)
#: What `report` is asked, and the columns of the same question in SQL.
_QUESTIONS: Final = {
    "day": "CAST(timestamp AS DATE)",
    "developer": "developer_id",
    "developer,model": "developer_id, model",
    "session": "session_id",
}


def reports(folder: Path, sizes: Sizes) -> Iterator[Figure]:
    """Asks a ledger of 90 days, then one whose calls are all pruned; and for their page."""
    for rows in sizes.report_rows:
        home = Home(folder / str(rows), parquet=True)
        _fill(home, rows)
        home.run("prodlensd", "run", "--once")
        home.expect(traces=rows)
        yield from _asked(home, rows, f"{rows:,} calls")
        if rows == sizes.report_rows[-1]:
            (folder / str(rows) / "config.toml").write_text("[retention]\nstore_days = 1\n")
            home.run("prodlensd", "compact")
            if home.query("SELECT count(*) FROM traces") != [0]:
                raise WrongResultError("not all was pruned")
            yield from _asked(home, rows, f"{rows:,} pruned calls")
        yield from pages(home, rows)


def _asked(home: Home, rows: int, what: str) -> Iterator[Figure]:
    for by, columns in _QUESTIONS.items():
        asked = ("report", "--by", by, "--since", "always", "--timezone", "UTC", "--wide")
        ours = home.run("prodlensd", *asked)
        bare = home.run("benchmarks.bare", _sql(home, columns))
        if int(bare.printed) != rows * (1 + len(by.split(","))):
            raise WrongResultError(f"DuckDB counted {bare.printed!r} of {rows} calls")
        if f"{rows:,}".encode() not in ours.printed:
            raise WrongResultError(f"report by {by} does not count {rows:,} calls")
        yield Figure(
            f"report by {by}, {what}", ours.wall_s, "s", 1,
            f"run; bare DuckDB {bare.wall_s:.2f} s, ratio {ours.wall_s / bare.wall_s:.2f}",
            Budget("≤", 1 if rows <= 1_000_000 else 3),
        )  # fmt: skip
        yield Figure("the same, peak memory", ours.peak_mb, "MB", 1, "run", Budget("≤", 500))


def _sql(home: Home, columns: str) -> str:
    files = home.ledger.parent / "parquet/*/*.parquet"
    # With subtotals and the total, as a report has them.
    grouped = f"GROUP BY ROLLUP ({columns})"
    return f"SELECT {columns}, {_SUMS} FROM read_parquet('{files}') {grouped}"  # noqa: S608


def _fill(home: Home, rows: int) -> None:
    """Lines as the callback writes them, some of them failures, a file a day."""
    chance = random.Random(rows)  # noqa: S311 - made up, and repeatable
    for day in range(_DAYS):
        count = rows * (day + 1) // _DAYS - rows * day // _DAYS
        began = _START + timedelta(days=day)
        lines.write(home.logs / f"litellm-traces-{day:03}.jsonl", _day(chance, began, count))


def _day(chance: random.Random, day: datetime, count: int) -> Iterator[bytes]:
    for second in sorted(chance.uniform(0, 86_399) for _ in range(count)):
        model, fresh_usd, out_usd = _MODELS[min(4, int(chance.expovariate(1)))]
        developer = chance.randrange(30)
        cached, fresh, out = (
            chance.randrange(*ends) for ends in ((60_000,), (10, 5000), (5, 2000))
        )
        has_failed = chance.random() < 0.03
        cost = (fresh * fresh_usd + cached * fresh_usd / 10 + out * out_usd) / 1e6
        usage = {
            "prompt_tokens": fresh + cached,
            "completion_tokens": out,
            "total_tokens": fresh + cached + out,
            "prompt_tokens_details": {"cached_tokens": cached},
        }
        line = {
            "timestamp": (day + timedelta(seconds=second)).isoformat(),
            "id": f"msg_{chance.getrandbits(96):024x}",
            "litellm_call_id": f"{chance.getrandbits(128):032x}",
            "cost_usd": 0.0 if has_failed else round(cost, 9),
            "attributes": {
                "llm.model_name": model,
                "provider": model.partition("/")[0],
                "call_type": "acompletion",
                "status": "failure" if has_failed else "success",
                "status_code": 429 if has_failed else 200,
                "latency_ms": round(chance.lognormvariate(8, 0.6), 3),
                "ttft_ms": round(chance.lognormvariate(6.5, 0.5), 3),
                "stream": True,
            },
            "usage": {} if has_failed else usage,
            "metadata": {
                "session_id": f"s-{day:%j}-{developer}-{int(second // 7200)}",
                "session_via": "header",
                "developer_id": f"dev{developer}@example.com",
                "developer_via": "key_user",
                "repo": f"acme/web-{developer % 12}",
                "team": f"team-{developer % 4}",
            },
        }
        yield json.dumps(line).encode() + b"\n"
