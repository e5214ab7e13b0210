"""What `report` says of real traffic is what DuckDB says of the snapshots of the same ledger.

DuckDB groups by its own calendar and time zones, counts requests its own way and knows nothing of
our SQL; only how a name was found is not in the snapshots.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from prodlensd.cli.report import in_csv, in_markdown
from prodlensd.text import money, printable

DATA = Path(__file__).parents[1] / "data"
BY = ("day", "week", "month", "developer", "model", "provider", "repo", "session")
ONE_OR_TWO = [
    *BY,
    "day,model",
    "developer,week",
    "developer,session",
    "model,provider",
    "repo,month",
]
#: Far from UTC, so that its days are not those of the snapshots; with a clock change in the data.
ZONE = "America/New_York"
ALWAYS = ("--since", "1970-01-01", "--timezone", ZONE, "--top", "0")

_LOCAL = "timezone('America/New_York', timestamp)"
_KEYS = {
    "day": f"strftime({_LOCAL}, '%Y-%m-%d')",
    "week": f"strftime({_LOCAL}, '%G-W%V')",
    "month": f"strftime({_LOCAL}, '%Y-%m')",
    "developer": "developer_id",
    "model": "model",
    "provider": "provider",
    "repo": "repo_slug",
    "session": "session_id",
}
_REQUEST = "coalesce(call_id, concat(host, source_id, '/', source_offset))"
_UNPRICED = "FILTER (cost_source = 'unpriced')"
_FIGURES = {
    "requests": f"count(DISTINCT {_REQUEST})",
    "failed_requests": f"count(DISTINCT {_REQUEST})"
    f" - count(DISTINCT {_REQUEST}) FILTER (status = 'success')",
    "calls": "count(*)",
    "billed_calls": "count(*) FILTER (NOT cost_source IN ('cache_hit', 'not_billable', 'free'))",
    "errors": "count(*) FILTER (status = 'failure')",
    "tokens_in": "sum(tokens_in)",
    "tokens_out": "sum(tokens_out)",
    "cache_read_tokens": "sum(cache_read_tokens)",
    "cache_write_tokens": "sum(cache_write_tokens)",
    "reasoning_tokens": "sum(reasoning_tokens)",
    "cost_nanousd": "CAST(sum(cost_usd) * 1000000000 AS BIGINT)",
    "unpriced_calls": f"count(*) {_UNPRICED}",
    "unpriced_tokens": f"sum(total_tokens) {_UNPRICED}",
    "latency_p50_ms": "quantile_cont(latency_ms, 0.5) FILTER (status = 'success')",
    "latency_p95_ms": "quantile_cont(latency_ms, 0.95) FILTER (status = 'success')",
}


def line(number: int, at: str, **parts: Any) -> str:
    """A trace line with both ids; those of one `request` share the gateway's."""
    request = parts.pop("request", number)
    record = {"timestamp": at, "id": f"r{number}", "litellm_call_id": f"request-{request}"}
    return json.dumps(record | {"usage": {"input_tokens": 10, "output_tokens": 5}} | parts)


def by_hand() -> Iterator[str]:
    """What the corpora lack: retries, nights of clock changes, no price at all, hostile names."""
    failed = {"status": "failure", "status_code": 529, "llm.model_name": "anthropic/claude-opus-4"}
    yield line(1, "2026-03-08T06:59:59Z", attributes=failed, usage={}, request="retried")
    yield line(2, "2026-03-08T07:00:00Z", request="retried", cost_usd=0.000000001)
    yield line(3, "2026-03-09T03:59:59.999999Z", attributes=failed, usage={}, request="lost")
    yield line(4, "2026-03-09T04:00:00Z", attributes=failed, usage={}, request="lost")
    yield line(5, "2026-11-01T03:59:59Z", cost_usd=1234.5)
    yield line(6, "2026-11-01T04:00:00Z", cost_usd=0.25, attributes={"latency_ms": 7})
    yield line(7, "2026-11-02T04:59:59Z", attributes={"latency_ms": 8, "cache_hit": True})
    yield line(8, "2026-11-02T05:00:00Z", attributes={"llm.model_name": "ollama/llama3"})
    for number, name in enumerate(["=1+1", "a|b`c`", "\x1b]0;owned\x07", "x" * 300, "a\nb"], 20):
        who = {"developer_id": name, "developer_via": "header", "session_id": name}
        model = {"llm.model_name": name, "latency_ms": number + 0.25}
        yield line(number, "2026-02-14T12:00:00Z", attributes=model, metadata=who)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a ledger made by the program itself, and its snapshots."""
    home = tmp_path_factory.mktemp("report") / "home"
    (home / "logs").mkdir(parents=True)
    for name in ("corpus", "corpus_1_80_0"):
        content = gzip.decompress((DATA / f"{name}.jsonl.gz").read_bytes())
        (home / "logs" / f"{name}.jsonl").write_bytes(content)
    (home / "logs" / "sample.jsonl").write_bytes((DATA / "sample.jsonl").read_bytes())
    (home / "logs" / "by-hand.jsonl").write_text("\n".join([*by_hand(), ""]))
    (home / "config.toml").write_text("")
    for command in (["run", "--once"], ["compact"]):
        prodlensd = [sys.executable, "-m", "prodlensd", command[0]]
        options = ["--config", str(home / "config.toml"), *command[1:]]
        done = subprocess.run(
            [*prodlensd, *options],
            env={"PRODLENSD_HOME": str(home)},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    return home


@pytest.fixture
def report(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`report(by, form, *options)`: what the command prints."""
    monkeypatch.setenv("PRODLENSD_HOME", str(ledger))

    def run(by: str, form: str, *options: str) -> str:
        command = [sys.executable, "-m", "prodlensd", "report", "--by", by, "--format", form]
        done = subprocess.run([*command, *options], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout.decode()

    return run


def duck(ledger: Path, by: str, where: str = "true") -> dict[tuple[Any, ...], dict[str, Any]]:
    """The figures of each key, the one of all calls under the key ()."""
    keys = [_KEYS[name] for name in by.split(",")]
    snapshots = ledger / "parquet" / "*" / "*.parquet"
    sets = f"GROUPING SETS (({', '.join(keys)}), ())"
    sql = (
        f"SELECT grouping({keys[0]}), {', '.join([*keys, *_FIGURES.values()])} "
        f"FROM read_parquet('{snapshots}') WHERE {where} GROUP BY {sets}"
    )
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        rows = db.execute(sql).fetchall()
    return {
        () if is_total else (*row[: len(keys)],): dict(zip(_FIGURES, row[len(keys) :], strict=True))
        for is_total, *row in rows
    }


def assert_same(expected: dict[str, Any], found: dict[str, Any], columns: Any) -> None:
    for column in columns:
        if column.startswith("latency") and expected[column] is not None:
            assert found[column] == pytest.approx(expected[column], rel=1e-12), column
        else:
            assert found[column] == expected[column], column


def test_the_ledger_has_what_the_tests_are_about(ledger: Path) -> None:
    total = duck(ledger, "day")[()]
    assert total["calls"] == 231 + 85 + 3 + 13
    assert total["requests"] < total["calls"]
    assert min(total[name] for name in ("failed_requests", "unpriced_calls", "errors")) > 2
    assert total["billed_calls"] < total["calls"]
    assert len(duck(ledger, "session")) > 50
    assert min(len(duck(ledger, name)) for name in BY) > 3


@pytest.mark.parametrize("by", ONE_OR_TWO)
def test_json_is_what_duckdb_says(ledger: Path, report: Any, by: str) -> None:
    expected, said = duck(ledger, by), json.loads(report(by, "json", *ALWAYS))
    found = {tuple(group[name] for name in by.split(",")): group for group in said["groups"]}
    assert len(found) == len(said["groups"])
    assert found.keys() == expected.keys() - {()}
    found[()] = said["total"]
    for key, figures in expected.items():
        assert_same(figures, found[key], _FIGURES)
        nanousd = figures["cost_nanousd"]
        assert found[key]["cost_usd"] == (None if nanousd is None else nanousd / 1e9)
        sources = found[key]["cost_by_source"].values()
        assert sum(source["calls"] for source in sources) == figures["calls"]
        costs = [source["cost_nanousd"] for source in sources]
        assert sum(cost or 0 for cost in costs) == (nanousd or 0)
        assert all(cost is None for cost in costs) == (nanousd is None)


@pytest.mark.parametrize("by", ONE_OR_TWO)
def test_csv_is_what_duckdb_says(ledger: Path, report: Any, by: str) -> None:
    expected = duck(ledger, by)
    del expected[()]
    rows = list(csv.DictReader(io.StringIO(report(by, "csv", *ALWAYS), newline="")))
    found = {tuple(row[name] for name in by.split(",")): row for row in rows}
    assert len(found) == len(rows) == len(expected)
    for key, figures in expected.items():
        row = found[tuple("" if part is None else in_csv(part) for part in key)]
        numbers = {name: json.loads(row[name] or "null") for name in figures}
        assert_same(figures, numbers, _FIGURES)


#: What people see of a figure.
_SHOWN: dict[str, Any] = {
    **{name: name.replace("_", " ") for name in ("requests", "calls", "errors")},
    "tokens_in": "tokens in",
    "tokens_out": "tokens out",
    "unpriced_calls": "unpriced",
    "latency_p50_ms": "p50 ms",
    "latency_p95_ms": "p95 ms",
}


def seen(figures: dict[str, Any]) -> dict[str, str]:
    """The cells for people, from DuckDB's figures."""
    cells = {
        title: "-" if figures[name] is None else f"{figures[name]:,.0f}"
        for name, title in _SHOWN.items()
    }
    nanousd, unpriced = figures["cost_nanousd"], figures["unpriced_calls"]
    cost = "unpriced" if nanousd is None else ("≥ " if unpriced else "") + money(nanousd)
    return cells | {"cost": cost}


def rows_of(printed: str) -> list[dict[str, str]]:
    """The rows of a table by its titles; at its end a row may be short of ways."""
    lines = itertools.takewhile(bool, printed.split("\n"))
    title, *rows = [re.split(r" {2,}", line) for line in lines]
    return [dict(zip(title, cells, strict=False)) for cells in rows]


@pytest.mark.parametrize("by", BY)
def test_the_table_is_what_duckdb_says(ledger: Path, report: Any, by: str) -> None:
    printed = report(by, "table", *ALWAYS)
    expected = duck(ledger, by)
    total = expected.pop(())
    *rows, last = rows_of(printed)
    found = {row[by]: row for row in rows}
    assert len(found) == len(rows) == len(expected)
    for (name,), figures in expected.items():
        text = "(none)" if name is None else printable(name)
        cut = text if len(text) <= 40 else f"{text[:39]}…"
        assert {title: found[cut][title] for title in seen(figures)} == seen(figures)
    assert {title: last[title] for title in seen(total)} == seen(total)
    calls, tokens = total["unpriced_calls"], round(total["unpriced_tokens"] / 1000)
    unpriced = f"({calls} calls, {tokens}k tokens unpriced)"
    assert f"\ncost ≥ {money(total['cost_nanousd'])} {unpriced}, since 1970" in printed


def test_the_table_is_set_in_columns(report: Any) -> None:
    options = ("--since", "2025-10-12", "--until", "2025-10-12", "--timezone", "UTC")
    title, *rows, _, summary, end = report("provider,model", "table", *options).split("\n")
    assert title.split()[:4] == ["provider", "model", "requests", "calls"]
    assert rows == [
        f"{provider:9}  {model:36}         {numbers}"
        for provider, model, numbers in (
            (
                "anthropic",
                "anthropic/claude-3-opus-20240229",
                "1      1       0        500         300     $0.03         0   2,346   2,346",
            ),
            (
                "anthropic",
                "anthropic/claude-3-5-sonnet-20241022",
                "1      1       0        250         150    $0.003         0   1,234   1,234",
            ),
            (
                "anthropic",
                "anthropic/claude-3-5-haiku-latest",
                "1      1       0        100          50  $0.00028         0     568     568",
            ),
            (
                "total",
                "",
                "3      3       0        850         500  $0.03328         0   1,234   2,234",
            ),
        )
    ]
    until = "from 2025-10-12 00:00 until 2025-10-13 00:00"
    assert (summary, end) == (f"cost $0.03328, {until}, time zone UTC", "")


@pytest.mark.parametrize("by", ONE_OR_TWO)
def test_markdown_is_what_duckdb_says(ledger: Path, report: Any, by: str) -> None:
    expected = duck(ledger, by)
    title, _, *lines = itertools.takewhile(bool, report(by, "md", *ALWAYS).split("\n"))
    rows = [re.split(r"(?<!\\)\|", row)[1:-1] for row in (title, *lines)]
    cells = [[cell.strip() for cell in row] for row in rows]
    width = by.count(",") + 1
    found = {tuple(row[:width]): dict(zip(cells[0], row, strict=True)) for row in cells[1:]}
    assert len(found) == len(lines) == len(expected)
    for key, figures in expected.items():
        names = [in_markdown("(none)" if part is None else part) for part in key]
        row = found[tuple(names) or ("total", *[""] * (width - 1))]
        assert {name: row[name] for name in seen(figures)} == seen(figures)


@pytest.mark.parametrize(
    ("options", "where"),
    [
        (
            ["--since", "2026-03-08", "--until", "2026-03-08", "--timezone", ZONE],
            "timestamp >= '2026-03-08 05:00Z' AND timestamp < '2026-03-09 04:00Z'",
        ),
        (
            ["--since", "2026-11-01", "--until", "2026-11-01", "--timezone", ZONE],
            "timestamp >= '2026-11-01 04:00Z' AND timestamp < '2026-11-02 05:00Z'",
        ),
        (
            ["--since", "2025-10-12T19:05Z", "--until", "2025-10-12T19:10Z", "--timezone", "UTC"],
            "timestamp >= '2025-10-12 19:05Z' AND timestamp < '2025-10-12 19:10Z'",
        ),
    ],
)
def test_a_period_holds_its_first_moment_and_not_its_last(
    ledger: Path, report: Any, options: list[str], where: str
) -> None:
    expected = duck(ledger, "model", where)[()]
    assert 0 < expected["calls"] < 4
    for by in ("model", "day", "month"):
        said = json.loads(report(by, "json", *options))
        assert_same(expected, said["total"], _FIGURES)
        assert sum(group["calls"] for group in said["groups"]) == expected["calls"]


def test_a_retried_request_is_one_and_fails_only_when_every_call_failed(report: Any) -> None:
    options = ("--since", "2026-03-08", "--until", "2026-03-09", "--timezone", ZONE)
    said = json.loads(report("day", "json", *options))
    days = {group["day"]: group for group in said["groups"]}
    assert [days["2026-03-08"][name] for name in ("requests", "calls", "errors")] == [2, 3, 2]
    assert days["2026-03-08"]["failed_requests"] == 1
    # Its second try was on the next day, which by itself has one request.
    assert [days["2026-03-09"][name] for name in ("requests", "failed_requests")] == [1, 1]
    assert [said["total"][name] for name in ("requests", "failed_requests")] == [2, 1]


def test_names_come_with_the_ways_in_which_they_were_found(report: Any) -> None:
    said = json.loads(report("developer,session", "json", *ALWAYS))["groups"]
    ways = {group["developer"]: group["developer_via"] for group in said}
    assert (ways["alice"], ways["=1+1"], ways[None]) == (["key_user"], ["header"], [])
    assert {way for group in said for way in group["session_via"]} >= {"trace_id", "header"}


def test_nothing_from_the_log_steers_a_terminal(report: Any) -> None:
    for form, by in itertools.product(("table", "md", "csv"), ("developer", "session,model")):
        printed = report(by, form, *ALWAYS)
        assert "owned" in printed
        assert printed.replace("\n", "").replace("\r", "").isprintable()


def test_a_period_without_calls_says_where_there_are_some(report: Any) -> None:
    options = ("--since", "2024-01-01", "--until", "2024-01-31", "--timezone", "UTC")
    assert report("day", "table", *options) == (
        "no calls from 2024-01-01 00:00 until 2024-02-01 00:00, time zone UTC: "
        "the ledger's are from 2025-10-12 to 2026-11-22, try --since 2025-10-12\n"
    )
    empty = json.loads(report("day", "json", *options))
    assert empty["groups"] == []
    assert (empty["total"]["calls"], empty["total"]["cost_usd"]) == (0, None)
    assert report("day", "csv", *options).count("\n") == 1


def test_the_days_are_those_of_this_machines_zone_unless_told(
    report: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--since", "2026-03-08", "--until", "2026-03-09")
    told = report("day", "json", *options, "--timezone", ZONE)
    monkeypatch.setenv("TZ", ZONE)
    assert report("day", "json", *options) == told
    assert json.loads(told)["timezone"] == ZONE
    monkeypatch.setenv("TZ", "")
    assert json.loads(report("day", "json", *options))["timezone"] == "UTC"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--by", "colour"], "expected one of day, week, month, developer"),
        (["--since", "soon"], "accepted are 2026-11-01"),
        (["--since", "2026-01-02", "--until", "2026-01-01"], "is before"),
        (["--timezone", "Mars/Olympus"], "expected a name such as Europe/Berlin"),
        (["--timezone", "../../etc/passwd"], "expected a name such as Europe/Berlin"),
        (["--timezone", ""], "expected a name such as Europe/Berlin"),
        (["--format", "xml"], "'table', 'json', 'csv', 'md'"),
        (["--top", "-1"], "not in the range 0<=x<=1000000000"),
        (["--top", str(2**63)], "not in the range 0<=x<=1000000000"),
    ],
)
def test_a_wrong_question_is_a_usage_error_that_says_what_is_accepted(
    machine: Any, options: list[str], said: str
) -> None:
    done = machine.command("report", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in " ".join(done.stderr.split())


def test_a_hundred_groups_are_shown_unless_told_and_programs_are_told_on_stderr(
    ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRODLENSD_HOME", str(ledger))
    expected = duck(ledger, "session")
    total = expected.pop(())
    hint = (
        f"{len(expected) - 100} groups are not shown, none of them dearer than these: "
        "--top 0 shows all\n"
    )

    def printed(form: str, *options: str) -> tuple[str, str]:
        asked = ["report", "--by", "session", "--since", "always", "--format", form, *options]
        command = [sys.executable, "-m", "prodlensd", *asked]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout, done.stderr

    out, err = printed("json")
    said = json.loads(out)
    assert (len(said["groups"]), said["more_groups"], err) == (100, len(expected) - 100, hint)
    assert_same(total, said["total"], _FIGURES)
    for name in ("calls", "cost_nanousd", "tokens_in", "errors"):
        shown = sum(group[name] or 0 for group in said["groups"])
        assert total[name] == shown + said["rest"][name]
    out, err = printed("csv")
    assert (len(list(csv.reader(io.StringIO(out, newline="")))), err) == (101, hint)
    out, err = printed("table", "--top", "3")
    assert (len(rows_of(out)), err) == (3 + 2, "")
    assert "--top 0 shows all" in out
    assert "--top" not in printed("table", "--top", "1000000000")[0]


def test_without_a_ledger_report_says_so(machine: Any) -> None:
    done = machine.command("report")
    assert done.returncode == 1
    assert "no ledger" in done.stderr
    assert not machine.ledger.exists()


def test_an_empty_ledger_is_no_error(machine: Any) -> None:
    assert machine.command("run", "--once").returncode == 0
    done = machine.command("report")
    assert done.returncode == 0
    assert "the ledger is empty" in done.stdout


def test_it_reads_while_the_daemon_runs(machine: Any, wait_until: Any) -> None:
    machine.start()
    (machine.logs / "a.jsonl").write_text(line(1, "2026-03-08T06:59:59Z") + "\n")
    options = ("--since", "2026-03-08", "--timezone", "UTC", "--format", "csv", "--by", "month")
    wait_until(
        lambda: "\n2026-03,1,0,1,1,0,10,5," in machine.command("report", *options).stdout,
        "the line in the report",
    )


def test_a_question_loads_nothing_heavy() -> None:
    code = (
        "import sys; from prodlensd.cli import report; "
        "print({'pyarrow', 'rich', 'genai_prices', 'structlog', 'watchdog'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
