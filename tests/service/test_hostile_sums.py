"""No line ends an answer: sums beyond 64 bits are exact wherever they are told.

9,301 calls of a million dollars each cost more nano-dollars than 64 bits hold, and 9,301 calls of a
million million tokens have more than a double says exactly. What is expected is counted by Python.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from prodlensd.answers.metrics import exposition
from prodlensd.answers.periods import Period
from prodlensd.answers.questions import BY, Question
from prodlensd.app.books import Books
from prodlensd.app.report import report, write_parquet
from prodlensd.cli import main
from prodlensd.cli.report_columns import DEFAULT
from prodlensd.cli.report_forms import csv_of, in_json, markdown, rows_of, table
from prodlensd.config import load
from prodlensd.ledger import Prices
from prodlensd.moments import now_us
from prodlensd.pricing.builtin import BuiltinBook
from tests.scenario.conftest import World

pytestmark = pytest.mark.long  # thousands of calls, repriced and proven

N = 9301
INT64_MAX = 2**63 - 1
#: The longest count that is believed, less one: a sum of many is odd, and no double.
TOKENS = 10**12 - 1
#: For as many the price table asks for less than half of the million dollars that the gateway does.
DEAR_TOKENS = 3 * 10**10 - 1
MILLION = 10**15  # dollars, in nano-dollars
EVERY_BY = [(name,) for name in BY] + [("day", "session"), ("developer", "model")]


def line(number: int, **facts: Any) -> bytes:
    record = {
        "timestamp": f"2026-01-0{number % 3 + 1}T12:00:00Z",
        "id": f"chatcmpl-{number}",
        "litellm_call_id": f"call-{number}",
    }
    return json.dumps(record | facts).encode() + b"\n"


def dear(number: int, **more: Any) -> bytes:
    """A call of a million dollars, says the gateway; its session is all of them."""
    attributes = {"llm.model_name": "anthropic/claude-sonnet-4-5", "latency_ms": 2**53}
    usage = {"input_tokens": DEAR_TOKENS, "output_tokens": 7}
    who = {"session_id": "dear", "developer_id": "ann", "repo": "acme/web"}
    facts = {"attributes": attributes | more, "usage": usage, "metadata": who}
    return line(number, cost_usd=1_000_000, **facts)


def long(number: int) -> bytes:
    """A call that nobody can price, of as many tokens of every kind as are believed."""
    usage = {
        "prompt_tokens": TOKENS,
        "completion_tokens": TOKENS,
        "total_tokens": 2 * TOKENS,
        "prompt_tokens_details": {"cached_tokens": TOKENS - 1, "cache_creation_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": TOKENS},
    }
    attributes = {"llm.model_name": "acme/unknown"}
    return line(number, attributes=attributes, usage=usage, metadata={"session_id": "long"})


def absurd(number: int) -> bytes:
    """A call whose every number is the largest of SQLite's: its status is that of a failure."""
    counts = "input_tokens output_tokens total_tokens cache_read_input_tokens prompt_tokens"
    numbers = dict.fromkeys("latency_ms ttft_ms status_code diff_ratio accepted_lines".split())
    attributes = dict.fromkeys(numbers, INT64_MAX) | {"llm.model_name": "openai/gpt-5"}
    usage = dict.fromkeys(counts.split(), INT64_MAX)
    who = {"session_id": "absurd"}
    at = "9999-12-31T23:59:59Z"
    return line(
        number, timestamp=at, attributes=attributes, usage=usage, cost_usd=INT64_MAX, metadata=who
    )


class Desk(World):
    """A home whose ledger is written, and whose commands are run, in this process."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        super().__init__(home)
        self.home = home
        self.parquet = home / "parquet"
        self.config = home / "config.toml"

    def ingest(self, *lines: bytes) -> None:
        """As the daemon does it, by the prices of the configuration."""
        prices = Books(load().pricing, Prices(self.store, now_us)).pricer
        self.daemon._pricer = prices
        self.append("a.jsonl", *lines)
        self.step()

    def command(self, *arguments: str, code: int = 0) -> str:
        """What prodlensd prints."""
        done: Any = CliRunner().invoke(main, arguments)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert code == done.exit_code, done.stderr
        out: str = done.stdout
        return out

    def asked(self, *arguments: str, code: int = 0) -> Any:
        """The same of what is printed as JSON."""
        return json.loads(self.command(*arguments, "--json", code=code))

    def report(self, by: str, form: str, *options: str) -> str:
        always = ("--since", "always", "--timezone", "UTC")
        return self.command("report", "--by", by, "--format", form, *always, *options)


@pytest.fixture
def desk(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A ledger of all three kinds of calls."""

    class InProcess(BuiltinBook):
        def close(self) -> None:
            """Nothing to end: a process of its own would only take time."""

        def expect(self, questions: object) -> None:
            """Each is answered when it is asked."""

    monkeypatch.setattr("prodlensd.app.books.ChildBook", lambda *_, **__: InProcess())
    desk = Desk(home)
    desk.ingest(
        *map(dear, range(N)),
        *map(long, range(N, 2 * N)),
        *map(absurd, range(2 * N, 2 * N + 100)),
    )
    assert desk.counts() == (2 * N + 100, 2 * N + 100, 0, 0, 0)
    yield desk
    desk.stop()


class Sums(NamedTuple):
    """What calls add up to, in the words of a report."""

    calls: int
    tokens_in: int | None
    tokens_out: int | None
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None
    cost_nanousd: int | None
    unpriced_calls: int


DEAR = Sums(N, N * DEAR_TOKENS, N * 7, None, None, None, N * MILLION, 0)
LONG = Sums(N, N * TOKENS, N * TOKENS, N * (TOKENS - 1), N, N * TOKENS, None, N)
ABSURD = Sums(100, None, None, None, None, None, 0, 0)


def added(*parts: Sums) -> Sums:
    columns = [
        [value for value in column if value is not None] for column in zip(*parts, strict=True)
    ]
    return Sums._make(sum(known) if known else None for known in columns)


ALL = added(DEAR, LONG, ABSURD)


def sums(figures: dict[str, Any]) -> Sums:
    return Sums._make(figures[name] for name in Sums._fields)


def test_every_report_is_exact_in_every_form(desk: Desk) -> None:
    assert INT64_MAX < N * MILLION
    for by, top in product(EVERY_BY, (0, 1)):
        question = Question(by=by, period=Period(0, None, UTC), top=top)
        answer = report(load(), question)
        said = json.loads(in_json(answer))
        rest = [said["rest"]] if said["rest"] else []
        assert sums(said["total"]) == ALL, by
        assert added(*map(sums, [*said["groups"], *rest])) == ALL, by
        for text in (table(answer, DEFAULT, width=None), markdown(answer, DEFAULT)):
            assert "9,301,000,000.00" in text
        rows = list(csv.DictReader(io.StringIO(csv_of(answer))))
        usd = sum(Decimal(row["cost_usd"]) for row in rows if row["cost_usd"])
        assert top or usd == N * 1_000_000, by
        write_parquet(desk.home / "answer.parquet", *rows_of(answer))
        costs = pq.read_table(desk.home / "answer.parquet")["cost_nanousd"].to_pylist()
        assert top or sum(cost or 0 for cost in costs) == N * MILLION, by
    groups = json.loads(desk.report("session", "json"))["groups"]
    by_session = {group["session"]: sums(group) for group in groups}
    assert by_session == {"dear": DEAR, "long": LONG, "absurd": ABSURD}


def test_the_views_metrics_and_status_say_the_same(desk: Desk) -> None:
    columns = "calls, tokens_in, tokens_out, total_tokens, cost_usd, unpriced_calls"
    assert desk.query(f"SELECT session_id, {columns} FROM sessions ORDER BY 1") == [
        ("absurd", 100, None, None, None, 0, 0),
        ("dear", N, N * DEAR_TOKENS, N * 7, N * (DEAR_TOKENS + 7), N * 1e6, 0),
        ("long", N, N * TOKENS, N * TOKENS, 2 * N * TOKENS, None, N),
    ]
    assert len(desk.query("SELECT * FROM traces")) == 2 * N + 100
    text = exposition(desk.ledger, now_us=1, stalled_s=1).decode()
    samples = dict(re.findall(r"^prodlensd_(\S+) (\S+)$", text, re.MULTILINE))
    assert float(samples["input_tokens"]) == float(ALL.tokens_in or 0)
    assert float(samples['cost_usd{cost_source="gateway"}']) == N * 1e6
    assert desk.asked("status", code=2)["figures"]["unpriced_traces"] == N


def test_what_has_no_price_or_two_is_listed(desk: Desk) -> None:
    said = desk.asked("prices", "check", code=1)
    unpriced = {of["model"]: (of["calls"], of["tokens"]) for of in said["unpriced"]}
    assert unpriced == {"acme/unknown": (N, 2 * N * TOKENS)}
    (disputed,) = said["disputed"]
    assert (disputed["calls"], disputed["gateway_nanousd"]) == (N, N * MILLION)
    desk.command("prices", "check", code=1)


def test_the_ledger_is_proven_also_when_such_calls_are_repriced_and_enriched(desk: Desk) -> None:
    assert "proven complete" in desk.command("verify")
    desk.config.write_text(
        '[pricing]\nprefer = "table"\n[[pricing.override]]\nmodel = "acme/unknown"\n'
        "input_usd_per_million = 0.5\noutput_usd_per_million = 0.5\n"
    )
    desk.command("reprice", "--quiet")
    cost = desk.query("SELECT cost_nanousd FROM trace WHERE model = 'acme/unknown' LIMIT 1")[0]
    said = json.loads(desk.report("session", "json"))["groups"]
    costs = {group["session"]: group["cost_nanousd"] for group in said}
    assert costs == {"dear": N * MILLION, "long": N * cost, "absurd": 0}
    desk.command("reprice", "--quiet", "--source", "gateway")
    desk.check()
    assert "proven complete" in desk.command("verify")
    desk.ingest(*(dear(number, ttft_ms=1.5) for number in range(N)))
    assert desk.counts() == (3 * N + 100, 2 * N + 100, N, 0, 0)
    assert "proven complete" in desk.command("verify")


def test_snapshots_hold_such_calls_and_can_be_pruned(desk: Desk) -> None:
    assert len(desk.compact(desk.parquet)) == 4
    totals = (
        "SELECT count(*), sum(tokens_in), sum(tokens_out), sum(cost_usd) "
        f"FROM read_parquet('{desk.parquet}/*/*.parquet', hive_partitioning = true)"
    )
    with duckdb.connect() as db:
        found = db.execute(totals).fetchall()
    assert found == [(ALL.calls, ALL.tokens_in, ALL.tokens_out, Decimal(N * 1_000_000))]
    assert "proven complete" in desk.command("verify")
    before = [desk.report(by, "json") for by in ("day", "session,model")]
    assert desk.prune(desk.parquet, 1 << 22) == 2 * N + 100
    assert before == [desk.report(by, "json") for by in ("day", "session,model")]
    assert "proven complete" in desk.command("verify")
