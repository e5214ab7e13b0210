"""What `report` says of real traffic is what plain Python counts over the same ledger's rows."""

from __future__ import annotations

import csv
import fcntl
import gzip
import io
import itertools
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from rich.cells import cell_len

from prodlensd.answers.questions import BY
from prodlensd.cli import main
from prodlensd.cli.report_columns import COLUMNS
from prodlensd.cli.report_forms import in_csv, in_markdown
from prodlensd.text import money, percent, printable, short_count, short_money
from tests.forked import forked
from tests.scenario.asking import Key, figures, grouped, passing, rows_of

DATA = Path(__file__).parents[1] / "data"
ONE_OR_TWO = [
    *BY,
    *("day,model", "developer,week", "developer,session", "model,provider", "repo,month"),
    *("hour,weekday", "tag,team", "model,tag"),
]
#: Far from UTC, so that its days are not those of the snapshots; with a clock change in the data.
ZONE = "America/New_York"
ALWAYS = ("--since", "1970-01-01", "--timezone", ZONE, "--top", "0")
COUNTED = [name for name in figures([]) if name not in ("unpriced_reasons", "cost_by_source")]


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
        who: dict[str, Any] = {"developer_id": name, "developer_via": "header", "session_id": name}
        who |= {"team": name, "key_alias": name, "end_user": name, "tags": [name, "all"]}
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
        options = ["--config", str(home / "config.toml"), *command[1:]]
        environment = os.environ | {"PRODLENSD_HOME": str(home)}
        done = forked(command[0], *options, env=environment)
        assert done.returncode == 0, done.stderr
    return home


@pytest.fixture
def report(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`report(by, form, *options)`: what the command prints."""
    monkeypatch.setenv("PRODLENSD_HOME", str(ledger))

    def run(by: str, form: str, *options: str) -> str:
        done = CliRunner().invoke(main, ["report", "--by", by, "--format", form, *options])
        assert (done.exit_code, done.stderr) == (0, ""), done.exception
        return done.stdout_bytes.decode()

    return run


@pytest.fixture(scope="module")
def rows(ledger: Path) -> list[dict[str, Any]]:
    """All its calls."""
    return rows_of(ledger / "prodlens.db", ledger / "parquet")


def counted(rows: list[dict[str, Any]], by: str) -> dict[Key, dict[str, Any]]:
    """The figures of each key, by New York's clock."""
    groups = grouped(rows, by.split(","), ZoneInfo(ZONE))
    return {key: figures(among) for key, among in groups.items()}


def assert_same(expected: dict[str, Any], found: dict[str, Any]) -> None:
    for name in COUNTED:
        nearly = name.startswith(("latency", "ttft", "diff_ratio"))
        value = pytest.approx(expected[name]) if nearly else expected[name]
        assert found[name] == value, name


def test_the_ledger_has_what_the_tests_are_about(rows: list[dict[str, Any]]) -> None:
    total = figures(rows)
    assert total["calls"] == 231 + 85 + 3 + 13
    assert total["requests"] < total["calls"]
    assert min(total[name] for name in ("failed_requests", "unpriced_calls", "errors")) > 2
    assert total["billed_calls"] < total["calls"]
    assert len(counted(rows, "session")) > 50
    assert {by: 1 for by in BY if len(counted(rows, by)) < 3} == {
        "status": 1,
        "host": 1,
        "source": 1,
    }


def test_the_program_says_nothing_more_on_its_way_out(machine: Any) -> None:
    machine.log_a_call()
    machine.ingest()
    command = [sys.executable, "-m", "prodlensd", "report", "--since", "always"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    assert done.stderr == ""


@pytest.mark.sampled(10)
@pytest.mark.parametrize("by", ONE_OR_TWO)
def test_json_is_what_python_counts(rows: Any, report: Any, by: str) -> None:
    expected, said = counted(rows, by), json.loads(report(by, "json", *ALWAYS))
    found = {tuple(group[name] for name in by.split(",")): group for group in said["groups"]}
    assert len(found) == len(said["groups"])
    assert found.keys() == expected.keys()
    for key, of in [*expected.items(), ((), figures(rows))]:
        group = found[key] if key else said["total"]
        assert_same(of, group)
        nanousd = of["cost_nanousd"]
        assert group["cost_usd"] == (None if nanousd is None else nanousd / 1e9)
        sources = group["cost_by_source"].items()
        assert {name: tuple(cost.values()) for name, cost in sources} == of["cost_by_source"]
        assert group["unpriced_reasons"] == of["unpriced_reasons"]
    first = by.split(",", maxsplit=1)[0]
    subtotals = {subtotal[first]: subtotal for subtotal in said["subtotals"]}
    firsts = counted(rows, first) if "," in by else {}
    assert subtotals.keys() == {name for (name,) in firsts}
    in_order = dict.fromkeys(group[first] for group in said["groups"])
    assert list(subtotals) in ([], list(in_order))
    for (name,), of in firsts.items():
        assert_same(of, subtotals[name])


@pytest.mark.sampled(10)
@pytest.mark.parametrize("by", ONE_OR_TWO)
def test_csv_is_what_python_counts(rows: Any, report: Any, by: str) -> None:
    expected = counted(rows, by)
    lines = list(csv.DictReader(io.StringIO(report(by, "csv", *ALWAYS), newline="")))
    found = {tuple(line[name] for name in by.split(",")): line for line in lines}
    assert len(found) == len(lines) == len(expected)
    for key, of in expected.items():
        line = found[tuple("" if part is None else in_csv(part) for part in key)]
        assert_same(of, {name: json.loads(line[name] or "null") for name in of if name in line})


@pytest.mark.parametrize("by", ["day", "developer,tag"])
def test_parquet_is_what_python_counts(rows: Any, report: Any, tmp_path: Path, by: str) -> None:
    path = tmp_path / "answer.parquet"
    assert report(by, "parquet", "-o", str(path), *ALWAYS) == ""
    expected, lines = counted(rows, by), pq.read_table(path).to_pylist()
    assert len(lines) == len(expected)
    for line in lines:
        of = expected[tuple(line[name] for name in by.split(","))]
        assert_same(of, line)
        nanousd = of["cost_nanousd"]
        assert line["cost_usd"] == (None if nanousd is None else Decimal(nanousd).scaleb(-9))


def test_a_column_of_parquet_has_one_type_whatever_is_in_it(report: Any, tmp_path: Path) -> None:
    """So that files of many months are one table."""
    full, empty = tmp_path / "full.parquet", tmp_path / "empty.parquet"
    report("developer", "parquet", "-o", str(full), *ALWAYS)
    report(
        "developer", "parquet", "-o", str(empty), "--since", "1971-01-01", "--until", "1971-01-01"
    )
    assert pq.read_table(empty).num_rows == 0
    assert pq.read_schema(full) == pq.read_schema(empty)
    assert not [field.name for field in pq.read_schema(full) if str(field.type) == "null"]


def seen(of: dict[str, Any], total: dict[str, Any]) -> dict[str, str]:
    """The cells for people."""
    known = {"input": "tokens_in", "output": "tokens_out"}
    cells = {title: "-" if of[name] is None else f"{of[name]:,}" for title, name in known.items()}
    nanousd, unpriced = of["cost_nanousd"], of["unpriced_calls"]
    cost = "unpriced" if unpriced else "-"
    if nanousd is not None and not (unpriced and unpriced == of["billed_calls"]):
        cost = ("≥ " if unpriced else "") + money(nanousd)
    return cells | {
        "calls": f"{of['calls']:,}",
        "failed": percent(of["errors"], of["calls"]),
        "cached": percent(of["cache_read_tokens"] or 0, of["tokens_in"] or 0),
        "cost": cost,
        "share": percent(nanousd or 0, total["cost_nanousd"]) if "$" in cost else "-",
    }


def rows_shown(printed: str) -> list[dict[str, str]]:
    """The rows of a table by its titles; at its end a row may be short of ways."""
    lines = itertools.takewhile(bool, printed.split("\n"))
    title, *rows = [re.split(r" {2,}", line) for line in lines]
    return [dict(zip(title, cells, strict=False)) for cells in rows]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("by", BY)
def test_the_table_is_what_python_counts(rows: Any, report: Any, by: str) -> None:
    printed = report(by, "table", *ALWAYS)
    expected, total = counted(rows, by), figures(rows)
    *lines, last = rows_shown(printed)
    found = {line[by]: line for line in lines}
    assert len(found) == len(lines) == len(expected)
    for (name,), of in expected.items():
        line = found["(none)" if name is None else printable(name)]
        cells = seen(of, total)
        assert {title: line[title] for title in cells} == cells
    assert {title: last[title] for title in seen(total, total)} == seen(total, total)
    calls = f"{total['unpriced_calls']} calls have no price ("
    assert f" · ≥ {money(total['cost_nanousd'])} · {calls}" in printed


TABLE = """\
provider / model                        calls  failed  input  cached  output      cost   share
anthropic                                   3     0 %    850     0 %     500  $0.03328   100 %
  anthropic/claude-3-opus-20240229          1     0 %    500     0 %     300     $0.03  90.1 %
  anthropic/claude-3-5-sonnet-20241022      1     0 %    250     0 %     150    $0.003   9.0 %
  anthropic/claude-3-5-haiku-latest         1     0 %    100     0 %      50  $0.00028   0.8 %
total                                       3     0 %    850     0 %     500  $0.03328   100 %

12 Oct 2025 (1 day, UTC) · $0.03328
"""


def test_the_table_is_set_in_columns(report: Any) -> None:
    options = ("--since", "2025-10-12", "--until", "2025-10-12", "--timezone", "UTC")
    assert report("provider,model", "table", *options) == TABLE


@pytest.mark.sampled(5)
@pytest.mark.parametrize("by", ONE_OR_TWO)
def test_markdown_is_what_python_counts(rows: Any, report: Any, by: str) -> None:
    total = figures(rows)
    title, _, *lines = itertools.takewhile(bool, report(by, "md", *ALWAYS).split("\n"))
    split = [re.split(r"(?<!\\)\|", line)[1:-1] for line in (title, *lines)]
    heads, *cells = [[cell.strip() for cell in line] for line in split]
    found = [(line[0], dict(zip(heads, line, strict=True))) for line in cells]

    def named(name: str | None) -> str:
        return in_markdown("(none)" if name is None else name)

    names = by.split(",")
    expected = {(named(key[-1]), str(seen(of, total))) for key, of in counted(rows, by).items()}
    expected |= {("total", str(seen(total, total)))}
    if len(names) > 1:
        expected = {(f"&emsp;{name}" if name != "total" else name, of) for name, of in expected}
        firsts = counted(rows, names[0]).items()
        expected |= {(named(name), str(seen(of, total))) for (name,), of in firsts}
    titles = [*seen(total, total)]
    assert {(name, str({head: line[head] for head in titles})) for name, line in found} == expected


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("options", "first", "end"),
    [
        (
            ["--since", "2026-03-08", "--until", "2026-03-08", "--timezone", ZONE],
            *("2026-03-08T05:00:00", "2026-03-09T04:00:00"),
        ),
        (
            ["--since", "2026-11-01", "--until", "2026-11-01", "--timezone", ZONE],
            *("2026-11-01T04:00:00", "2026-11-02T05:00:00"),
        ),
        (
            ["--since", "2025-10-12T19:05Z", "--until", "2025-10-12T19:10Z", "--timezone", "UTC"],
            *("2025-10-12T19:05:00", "2025-10-12T19:10:00"),
        ),
    ],
)
def test_a_period_holds_its_first_moment_and_not_its_last(
    rows: Any, report: Any, options: list[str], first: str, end: str
) -> None:
    expected = figures([row for row in rows if first <= row["timestamp"] < end])
    assert 0 < expected["calls"] < 4
    for by in ("model", "day", "month"):
        said = json.loads(report(by, "json", *options))
        assert_same(expected, said["total"])
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


@pytest.mark.long
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
        (["--by", "colour"], "expected one of day, week, month, hour, weekday, developer"),
        (["--by", "day,model,repo"], "expected one or two names, not the same twice"),
        (["--by", "model,model"], "not the same twice"),
        (["--sort", "colour"], "expected one of cost, calls, failed"),
        (["--columns", "colour"], "expected one of calls, failed, input"),
        (["--columns", ""], "expected one of calls, failed, input"),
        (["--columns", "+"], "expected one of calls, failed, input"),
        (["--format", "parquet"], "needs a file: -o FILE"),
        (["-o", "/dev/null"], "-o /dev/null: no regular file"),
        (["--compare", "--since", "always"], "nothing can have been before that time"),
        (["--colour", "red"], "No such option"),
        (["--since", "soon"], "accepted are 2026-11-01"),
        (["--since", "2026-01-02", "--until", "2026-01-01"], "ends before --since"),
        (["--timezone", "Mars/Olympus"], "expected a name such as Europe/Berlin"),
        (["--timezone", "../../etc/passwd"], "expected a name such as Europe/Berlin"),
        (["--timezone", ""], "expected a name such as Europe/Berlin"),
        (["--format", "xml"], "expected one of table, json, csv, md"),
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


@pytest.mark.long
def test_a_hundred_groups_are_shown_unless_told_and_programs_are_told_on_stderr(
    ledger: Path, rows: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRODLENSD_HOME", str(ledger))
    expected, total = counted(rows, "session"), figures(rows)
    hint = f"{len(expected) - 100} groups more: --top 0 shows all\n"

    def printed(form: str, *options: str) -> tuple[str, str]:
        asked = ["report", "--by", "session", "--since", "always", "--format", form, *options]
        done = forked(*asked)
        assert done.returncode == 0
        return done.stdout, done.stderr

    out, err = printed("json")
    said = json.loads(out)
    assert (len(said["groups"]), said["more_groups"], err) == (100, len(expected) - 100, hint)
    assert_same(total, said["total"])
    for name in ("calls", "cost_nanousd", "tokens_in", "errors"):
        shown = sum(group[name] or 0 for group in said["groups"])
        assert total[name] == shown + said["rest"][name]
    out, err = printed("csv")
    assert (len(list(csv.reader(io.StringIO(out, newline="")))), err) == (101, hint)
    out, err = printed("table", "--top", "3")
    assert (len(rows_shown(out)), err) == (3 + 2, "")
    assert "--top 0 shows all" in out
    assert "--top" not in printed("table", "--top", "1000000000")[0]


def test_without_a_ledger_report_says_so(machine: Any) -> None:
    done = machine.command("report")
    assert done.returncode == 1
    assert "no ledger" in done.stderr
    assert not machine.ledger.exists()


def test_an_empty_ledger_is_no_error(machine: Any) -> None:
    machine.ingest()
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


ASKING = [
    *("report", "show", "sql", "overview", "status", "prices", "verify", "dead_letters"),
]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("command", ASKING)
def test_what_answers_a_question_is_loaded_when_it_is_asked(command: str) -> None:
    heavy = {"duckdb", "pyarrow", "rich", "genai_prices", "structlog"}
    code = f"import sys; from prodlensd.cli import {command}; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.long
def test_days_that_are_in_their_snapshots_are_answered_without_pyarrow(machine: Any) -> None:
    (machine.logs / "a.jsonl").write_text(line(1, "2026-03-08T06:59:59Z") + "\n")
    assert machine.command("run", "--once").returncode == 0
    code = """
import sys
from prodlensd.__main__ import main
sys.argv[1:] = ["report", "--since", "always", "--by", "developer,model"]
try:
    main()
except SystemExit as end:
    assert not end.code
assert "pyarrow" not in sys.modules, "to load it takes as long as the answer"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 call" in done.stdout


# On a terminal


def on_a_terminal(cells: int, *arguments: str) -> str:
    """What the command prints on a terminal so wide, without colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, cells, 0, 0))
    environment = {name: of for name, of in os.environ.items() if name != "COLUMNS"}
    command = subprocess.Popen(
        [sys.executable, "-m", "prodlensd", "report", *arguments],
        env=environment | {"NO_COLOR": "1"},
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    said = b""
    with suppress(OSError):  # how Linux says that the other side is closed
        while block := os.read(ours, 65536):
            said += block
    os.close(ours)
    assert command.wait(100) == 0, said
    return re.sub(r"\x1b\[[01]m", "", said.decode()).replace("\r\n", "\n")


QUICK = {"day", "session", "developer,model"}


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "by",
    [
        by if by in QUICK else pytest.param(by, marks=pytest.mark.long)
        for by in (*BY, "developer,model", "day,session", "tag,repo")
    ],
)
def test_every_report_fits_a_terminal_of_80_cells_and_no_number_is_cut(
    ledger: Path, rows: Any, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    monkeypatch.setenv("PRODLENSD_HOME", str(ledger))
    printed = on_a_terminal(80, "--by", by, *ALWAYS)
    assert max(cell_len(text) for text in printed.split("\n")) <= 80
    lines = [*itertools.takewhile(bool, printed.split("\n"))]
    at = next(place for place, text in enumerate(lines) if text.startswith("total "))
    assert "─" * 8 in lines[at - 1], "a rule is above the total"
    total, cells = figures(rows), re.split(r" {2,}", lines[at])
    assert cells[1:3] == [f"{total['calls']:,}", percent(total["errors"], total["calls"])]
    assert cells[3] in {f"{total['tokens_in']:,}", short_count(total["tokens_in"])}
    assert cells[5] in {f"{total['tokens_out']:,}", short_count(total["tokens_out"])}
    assert len(cells) <= 8, "what is all calls has no bar"
    usd = total["cost_nanousd"]
    assert cells[6] in {f"≥ {money(usd)}", f"≥ {short_money(usd)}"}


@pytest.mark.long
def test_wide_shows_all_in_full_and_a_file_has_neither_colours_nor_a_width(
    report: Any, tmp_path: Path
) -> None:
    options = ("--by", "developer,model", *ALWAYS)
    expected = report("developer,model", "table", *ALWAYS)
    wide = [text for text in on_a_terminal(80, "--wide", *options).split("\n") if "──" not in text]
    assert wide == expected.split("\n")
    path = tmp_path / "report.txt"
    assert on_a_terminal(80, "-o", str(path), *options) == ""
    assert path.read_text() == expected
    assert path.stat().st_mode & 0o777 == 0o600


# What is asked for


def test_columns_are_those_that_are_asked_for_in_their_order(report: Any) -> None:
    def titles(columns: str) -> list[str]:
        return re.split(
            r" {2,}", report("model", "table", "--columns", columns, *ALWAYS).split("\n")[0]
        )

    assert titles("p95,cost,calls") == ["model", "p95", "cost", "calls"]
    usual = ["model", "calls", "failed", "input", "cached", "output", "cost", "share"]
    assert titles("+ttft_p50,+p99") == [*usual, "ttft p50", "p99"]
    assert len(titles(",".join(COLUMNS))) == len(COLUMNS)  # but for the bar, and the name


def test_figures_that_are_asked_for_are_those_of_json(rows: Any, report: Any) -> None:
    asked = "requests,failed_requests,billed,unpriced,cache_read,cache_write,reasoning,sessions"
    (*_, last) = rows_shown(report("model", "table", "--columns", asked, *ALWAYS))
    total = figures(rows)
    names = (
        *("requests", "failed_requests", "billed_calls", "unpriced_calls", "cache_read_tokens"),
        *("cache_write_tokens", "reasoning_tokens", "sessions"),
    )
    assert list(last.values()) == ["total", *(f"{total[name]:,}" for name in names)]


def test_filters_are_said_to_programs_and_leave_what_passes(rows: Any, report: Any) -> None:
    options = ("--model", "openai/*", "--model", "*haiku*", "--status", "success")
    said = json.loads(report("model", "json", *options, *ALWAYS))
    asked = [("model", ("openai/*", "*haiku*")), ("status", ("success",))]
    assert said["filters"] == {name: list(patterns) for name, patterns in asked}
    assert_same(figures(passing(rows, asked)), said["total"])
    assert 0 < said["total"]["calls"] < len(rows)
    nobody = report("model", "table", "--developer", "nobody*", *ALWAYS)
    assert nobody.startswith("no calls pass the filters since ")
    assert "no calls pass the filters" in report(
        "day", "table", "--team", os.fsdecode(b"\xff*"), *ALWAYS
    )


def test_a_period_is_compared_with_the_one_before(report: Any) -> None:
    options = ("--since", "2026-03-08", "--until", "2026-03-08", "--timezone", ZONE, "--compare")
    said = json.loads(report("day", "json", *options))
    assert said["total"]["calls"] == 3
    before = said["before"]
    assert (before["since"], before["until"]) == (
        "2026-03-07T05:00:00.000000Z",
        "2026-03-08T05:00:00.000000Z",
    )
    assert before["total"]["calls"] == 0
    printed = report("day", "table", *options)
    assert "\nbefore (2026-03-07 00:00 until 2026-03-08 00:00): -, 0 calls · cost new · " in printed
    options = ("--since", "2026-11-01", "--until", "2026-11-01", "--timezone", ZONE, "--compare")
    change = "$1,234.50, 1 call · cost -100.0 % · calls +100.0 % · cached 0 % → 0 %"
    assert f"\nbefore (2026-10-31 00:00 until 2026-11-01 00:00): {change}\n" in report(
        "day", "md", *options
    )


def damaged(home: Path, name: str, damage: str) -> None:
    """Does that to the snapshot of a day."""
    (path,) = (home / "parquet" / f"event_date={name}").glob("*.parquet")
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        os.truncate(path, path.stat().st_size // 2)
    else:  # of its size, but not what it was
        content = path.read_bytes()
        end = len(content) if damage == "zeros" else len(content) // 2
        path.write_bytes(content[:4] + b"\0" * (end - 4) + content[end:])


@pytest.mark.sampled(3)
@pytest.mark.parametrize("damage", ["gone", "cut", "zeros", "half zeros"])
def test_a_lost_pruned_day_is_named_in_one_sentence(machine: Any, damage: str) -> None:
    lines = [line(n, f"2026-01-0{n}T12:00:00Z") for n in (1, 2, 3)]
    (machine.logs / "a.jsonl").write_text("\n".join([*lines, ""]))
    machine.config.write_text("[retention]\nstore_days = 1\n")
    machine.ingest()
    assert machine.command("compact").returncode == 0
    assert machine.query("SELECT count(*) FROM pruned") == [3]
    asked = ("report", "--since", "2026-01-01", "--timezone", "UTC")
    assert machine.command(*asked).returncode == 0
    damaged(machine.home, "2026-01-02", damage)
    done = machine.command(*asked)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "2026-01-02" in done.stderr
    assert "prodlensd verify says more" in done.stderr
    later = machine.command("report", "--since", "2026-01-03", "--timezone", "UTC")
    assert (later.returncode, later.stderr) == (0, "")


def test_what_cannot_be_written_is_said(machine: Any, tmp_path: Path) -> None:
    machine.ingest()
    for form in ("csv", "parquet"):
        path = tmp_path / "nowhere" / "report"
        done = machine.command("report", "--format", form, "-o", str(path))
        assert (done.returncode, done.stdout) == (1, "")
        assert "No such file or directory" in done.stderr
        assert len(done.stderr.splitlines()) == 1
