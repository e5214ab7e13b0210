"""`reprice` as people, programs and the daemon run it."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import apsw
import pyarrow.dataset as ds
import pytest
from click.testing import CliRunner

from prodlensd.app.books import Books, fingerprint
from prodlensd.app.due import has_to_reprice
from prodlensd.cli import main
from prodlensd.config import load
from prodlensd.ledger import Prices
from prodlensd.moments import now_us
from prodlensd.pricing import ChildBook, PriceBook, Quote
from prodlensd.pricing.builtin import BuiltinBook
from prodlensd.pricing.litellm_file import LiteLLMFile
from prodlensd.pricing.rates import Question
from tests.scenario.conftest import World
from tests.service.test_terminal import on_terminal

OVERRIDE = """
[[pricing.override]]
model = "ours/model"
input_usd_per_million = 1.0
output_usd_per_million = 2.0
"""
FALLBACK = "[pricing.fallback]\ninput_usd_per_million = 1.0\noutput_usd_per_million = 1.0\n"
#: The tables that `reprice` may write; the pins are `price`.
TABLES = ("trace", "tally", "partition", "price", "repricing", "cost_change", "pricing")


def line(number: int, model: str = "ours/model", **more: Any) -> bytes:
    """A call of a thousand tokens in and out, one a second from 2026-01-01 on."""
    day, second = divmod(number, 86_400)
    clock = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
    record = {
        "timestamp": f"2026-01-{1 + day:02d}T{clock}Z",
        "attributes": {"llm.model_name": model},
        "usage": {"input_tokens": 1000, "output_tokens": 1000},
        "metadata": {"session_id": f"s{number}"},
        "id": f"id{number}",
        "litellm_call_id": f"call{number}",
    }
    return json.dumps(record | more).encode() + b"\n"


class InProcess(ChildBook):
    """A price book of this process, where a process of its own would only take time."""

    def __init__(
        self, module: str = "", *arguments: str, now_s: Callable[[], float], patience_s: float
    ) -> None:
        super().__init__(module, *arguments, now_s=now_s, patience_s=patience_s)
        self._book: PriceBook | None = None
        if not module:
            self._book = BuiltinBook()
        elif Path(*arguments).read_text() != "{":
            self._book = LiteLLMFile(Path(*arguments))

    def _ask(self, questions: Sequence[Question]) -> Iterator[Quote]:
        if self._book is None:
            return super()._ask(questions)
        return (self._book.quote(question) for question in questions)


class Desk(World):
    """A home folder whose ledger is written, and whose commands are run, in this process."""

    def __init__(self, home: Path) -> None:
        home.mkdir()
        super().__init__(home)
        self.home = home
        self.config = home / "config.toml"

    def ingest(self, *lines: bytes) -> None:
        """As the daemon does it, by the prices of the configuration."""
        self.restart()
        prices = Books(load().pricing, Prices(self.store, now_us)).pricer
        self.daemon._pricer = prices
        self.append("a.jsonl", *lines)
        self.step()

    def command(self, *arguments: str) -> Any:
        """What prodlensd prints, and its exit code as `returncode`."""
        done: Any = CliRunner().invoke(main, arguments)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        done.returncode = done.exit_code
        return done


@pytest.fixture
def desk(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr("prodlensd.app.books.ChildBook", InProcess)
    mask = os.umask(0o022)
    desk = Desk(home)
    yield desk
    desk.stop()
    os.umask(mask)


def append(machine: Any, *lines: bytes) -> None:
    with (machine.logs / "a.jsonl").open("ab", buffering=0) as file:
        file.writelines(lines)


def ingest(machine: Any, *lines: bytes) -> None:
    if isinstance(machine, Desk):
        machine.ingest(*lines)
        return
    append(machine, *lines)
    done = machine.command("run", "--once")
    assert done.returncode == 0, done.stderr


def repriced(machine: Any, *arguments: str) -> Any:
    done = machine.command("reprice", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def costs(machine: Any) -> list[Any]:
    rows: list[Any] = machine.query("SELECT cost_source, cost_usd FROM traces ORDER BY timestamp")
    return rows


def content(ledger: Path) -> dict[str, list[Any]]:
    db = apsw.Connection(str(ledger), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return {table: list(db.execute(f"SELECT * FROM {table}")) for table in TABLES}
    finally:
        db.close()


PRICED = ("override", 0.003)
UNPRICED = ("unpriced", None)

# The command


def test_it_prices_what_had_no_price_and_says_what_changed(desk: Any) -> None:
    ingest(desk, line(1), line(2), line(3, "theirs/model"))
    desk.config.write_text(OVERRIDE)
    before = content(desk.ledger)
    dry = desk.command("reprice", "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert content(desk.ledger) == before
    done = desk.command("reprice")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [row.split() for row in done.stdout.splitlines()]
    assert rows == [
        "model provider was is calls cost before cost after".split(),
        "ours/model (none) unpriced override 2 - $0.006".split(),
        "2 of 3 calls changed: +$0.006; 1 stay unpriced (see prodlensd prices check)".split(),
    ]
    assert dry.stdout == done.stdout.replace("calls changed", "calls would change")
    assert costs(desk) == [PRICED, PRICED, UNPRICED]
    assert desk.query("SELECT call_id, old_cost_source, new_cost_usd FROM cost_changes") == [
        ("call1", "unpriced", 0.003),
        ("call2", "unpriced", 0.003),
    ]
    again = desk.command("reprice")
    assert again.stdout.startswith("0 of 1 calls changed; 1 stay unpriced")
    assert desk.query("SELECT count(*) FROM repricing") == [1]
    desk.config.write_text(OVERRIDE.replace("ours", "theirs"))
    assert desk.command("reprice", "--quiet").stdout == ""
    assert desk.command("reprice").stdout == "0 of 0 calls changed\n"


def test_a_dry_run_leaves_every_byte_of_the_database_as_it_was(desk: Any) -> None:
    ingest(desk, line(1), line(2, "anthropic/claude-sonnet-4-5"))
    desk.config.write_text(OVERRIDE)
    log = desk.ledger.with_name("prodlens.db-wal")
    before = desk.ledger.read_bytes(), log.read_bytes()
    found = repriced(desk, "--dry-run", "--source", "unpriced,table")
    assert (found["dry_run"], found["calls_seen"], found["calls_changed"]) == (True, 2, 1)
    assert (desk.ledger.read_bytes(), log.read_bytes()) == before
    assert not (desk.home / "parquet").exists()


def test_a_program_gets_the_same_keys_when_nothing_changed(desk: Any) -> None:
    ingest(desk, line(1), line(2, "theirs/model"))
    empty = repriced(desk)
    assert empty == {
        "schema": "prodlensd.reprice/1",
        "dry_run": False,
        "calls_seen": 2,
        "calls_changed": 0,
        "calls_unpriced": 2,
        "calls_pruned": 0,
        "old_cost_nanousd": 0,
        "new_cost_nanousd": 0,
        "changes": [],
    }
    desk.config.write_text(OVERRIDE)
    some = repriced(desk)
    assert list(some) == list(empty)
    assert some["new_cost_nanousd"] == 3_000_000
    assert some["changes"] == [
        {
            "provider": None,
            "model": "ours/model",
            "old_source": "unpriced",
            "new_source": "override",
            "calls": 1,
            "old_cost_nanousd": 0,
            "new_cost_nanousd": 3_000_000,
        }
    ]


def test_other_sources_are_priced_again_when_asked_for(desk: Any) -> None:
    sonnet = "anthropic/claude-sonnet-4-5"
    desk.config.write_text(OVERRIDE)
    ingest(desk, line(1), line(2, sonnet), line(3, sonnet, cost_usd=0.5))
    assert costs(desk) == [PRICED, ("table", 0.018), ("gateway", 0.5)]
    desk.config.write_text(OVERRIDE.replace("ours/model", sonnet))
    assert repriced(desk)["calls_seen"] == 0
    assert repriced(desk, "--source", "gateway", "--dry-run")["calls_changed"] == 1
    both = repriced(desk, "--source", " table, override,table")
    assert (both["calls_seen"], both["calls_changed"], both["calls_unpriced"]) == (2, 2, 1)
    assert costs(desk) == [UNPRICED, PRICED, ("gateway", 0.5)]
    said = desk.command("reprice", "--source", "override").stdout
    assert said == "0 of 1 calls changed\n"


@pytest.mark.parametrize(
    ("arguments", "since_second"),
    [
        (("--since", "2026-01-01T00:00:01Z"), 1),
        (("--since", "2026-01-01T00:00:01.000001Z"), 2),
        (("--since", "2026-01-01T02:00:02+02:00"), 2),
        (("--since", "2026-01-01T01:00:01", "--timezone", "Europe/Berlin"), 1),
        (("--since", "2026-01-02"), 86_400),
        (("--since", "2026-01-01", "--until", "2026-01-01"), 0),
    ],
)
def test_a_period_is_as_in_report(desk: Any, arguments: tuple[str, ...], since_second: int) -> None:
    numbers = [0, 1, 2, 86_399, 86_400]
    ingest(desk, *map(line, numbers))
    expected = [n for n in numbers if n >= since_second]
    if "--until" in arguments:
        expected.remove(86_400)
    if "--timezone" not in arguments:
        arguments += ("--timezone", "UTC")
    assert repriced(desk, "--dry-run", *arguments)["calls_seen"] == len(expected)
    narrowed = ("--model", "theirs/*")
    assert repriced(desk, "--dry-run", *arguments, *narrowed)["calls_seen"] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--source", "tabel"), "there is no 'tabel'; did you mean table?"),
        (("--source", "cache_hit"), "expected one of unpriced, table, override, fallback, free"),
        (("--source", ""), "there is no ''; expected one of"),
        (("--source", "table,"), "there is no ''; expected one of"),
        (("--since", "whenever"), "'whenever' is not a time"),
        (("--since", "2026-01-02", "--until", "2026-01-01"), "ends before --since"),
        (("--timezone", "Mars"), "Mars"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(
    desk: Any, arguments: tuple[str, ...], said: str
) -> None:
    done = desk.command("reprice", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.parametrize("arguments", [(), ("--dry-run",), ("--json",)])
def test_without_a_ledger_it_says_so_and_makes_none(desk: Any, arguments: tuple[str, ...]) -> None:
    desk.stop()
    desk.ledger.unlink()
    done = desk.command("reprice", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no ledger" in done.stderr
    assert not desk.ledger.exists()
    desk.restart()


def test_a_price_file_that_is_none_is_said_and_nothing_is_changed(desk: Any) -> None:
    ingest(desk, line(1))
    prices = desk.home / "prices.json"
    prices.write_text("{")
    desk.config.write_text('[pricing]\nlitellm_prices = "prices.json"\n')
    before = content(desk.ledger)
    done = desk.command("reprice")
    assert done.returncode == 1
    assert str(prices) in done.stderr
    assert content(desk.ledger) == before
    entry = {"litellm_provider": "ours", "mode": "chat"}
    entry |= {"input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06}  # type: ignore[dict-item]
    prices.write_text(json.dumps({"model": entry}))
    assert repriced(desk)["calls_changed"] == 1
    assert costs(desk) == [("table", 0.003)]
    assert desk.query("SELECT book, entry FROM price") == [
        ("LiteLLM price file prices.json", "model")
    ]


def test_a_locked_ledger_is_said_and_left_as_it_is(desk: Any) -> None:
    ingest(desk, line(1))
    desk.config.write_text(OVERRIDE)
    holder = apsw.Connection(str(desk.ledger))
    holder.execute("BEGIN IMMEDIATE")
    try:
        done = desk.command("reprice")
        assert done.returncode == 1
        assert "locked by another program" in done.stderr
        assert repriced(desk, "--dry-run")["calls_changed"] == 1
    finally:
        holder.close()
    assert costs(desk) == [UNPRICED]


def test_the_snapshots_follow_those_days_only(desk: Any) -> None:
    ingest(desk, line(1), line(86_401, "theirs/model"))
    assert desk.command("compact").returncode == 0
    parquet = desk.home / "parquet"
    written = {path: path.stat().st_mtime_ns for path in parquet.rglob("*.parquet")}
    assert len(written) == 2
    desk.config.write_text(OVERRIDE)
    assert repriced(desk)["calls_changed"] == 1
    rows = ds.dataset(parquet, partitioning="hive").to_table().sort_by("session_id").to_pylist()
    assert [(row["session_id"], row["cost_source"], row["cost_usd"]) for row in rows] == [
        ("s1", "override", Decimal("0.003000000")),
        ("s86401", "unpriced", None),
    ]
    again = [path.parent.name for path, at in written.items() if path.stat().st_mtime_ns != at]
    assert again == ["event_date=2026-01-01"]
    assert desk.command("compact").stdout == "all snapshots are up to date\n"
    assert desk.command("verify").returncode == 0


@pytest.mark.long
def test_progress_is_shown_on_a_terminal_only(desk: Any) -> None:
    ingest(desk, line(1))
    assert "pricing again" in on_terminal("reprice")
    assert "pricing again" not in on_terminal("reprice", "--quiet")
    done = desk.command("reprice")
    assert "pricing again" not in done.stdout + done.stderr


def test_a_hostile_model_cannot_steer_the_terminal(desk: Any) -> None:
    ingest(desk, line(1, "\x1b]0;owned\x07"))
    desk.config.write_text(FALLBACK)
    done = desk.command("reprice")
    assert "owned" in done.stdout
    assert "\x1b" not in done.stdout


# Beside and by the daemon


@pytest.mark.long
def test_beside_a_daemon_under_load_it_loses_and_doubles_nothing(
    machine: Any, wait_until: Callable[..., Any]
) -> None:
    ingest(machine, *(line(n) for n in range(4000)))
    daemon = machine.start()
    machine.config.write_text(OVERRIDE)  # which the daemon has not read
    stop = threading.Event()
    written = 4000

    def write() -> None:
        nonlocal written
        while not stop.wait(0.001):
            append(machine, *(line(written + n) for n in range(20)))
            written += 20

    writer = threading.Thread(target=write)
    writer.start()
    try:
        found = repriced(machine)
    finally:
        stop.set()
        writer.join()
    assert found["calls_seen"] == found["calls_changed"] >= 4000
    assert found["new_cost_nanousd"] == found["calls_changed"] * 3_000_000
    wait_until(lambda: machine.query("SELECT count(*) FROM traces") == [written], "all lines")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(100) == 0
    assert machine.query("SELECT count(DISTINCT session_id) FROM traces") == [written]
    changed = found["calls_changed"]
    assert machine.query("SELECT cost_source, count(*) FROM traces GROUP BY 1 ORDER BY 1") == [
        row for row in (("override", changed), ("unpriced", written - changed)) if row[1]
    ]
    assert machine.query("SELECT count(*) FROM cost_changes") == [changed]
    assert machine.command("verify").returncode == 0


FAST = "[parquet]\ninterval_s = 0.2\n[logs]\nrescan_interval_s = 0.2\n"


@pytest.mark.long
def test_the_daemon_does_it_by_itself_after_new_prices_and_only_then(
    machine: Any, wait_until: Callable[..., Any]
) -> None:
    machine.config.write_text(FAST)
    ingest(machine, line(1), line(2, "theirs/model"))
    (before,) = machine.query("SELECT fingerprint FROM pricing")
    daemon = machine.start()
    machine.config.write_text(FAST + OVERRIDE)
    daemon.send_signal(signal.SIGHUP)
    wait_until(lambda: costs(machine) == [PRICED, UNPRICED], "the new price after SIGHUP")
    told = "SELECT fingerprint FROM pricing"
    wait_until(lambda: machine.query(told) != [before], "a note of it")
    (after,) = machine.query(told)
    wait_until(
        lambda: machine.query("SELECT version - compacted_version FROM partition") == [0],
        "the snapshot",
    )
    append(machine, line(3))
    wait_until(lambda: costs(machine)[2:] == [PRICED], "a call at the new price")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(100) == 0
    assert machine.query(told) == [after]
    machine.config.write_text(FAST + OVERRIDE.replace("ours", "theirs") + FALLBACK)
    daemon = machine.start()
    wait_until(lambda: costs(machine) == [PRICED, PRICED, PRICED], "the new price after a restart")
    assert machine.query("SELECT repricing_id, call_id FROM cost_changes ORDER BY 1") == [
        (1, "call1"),
        (2, "call2"),
    ]
    assert daemon.poll() is None
    assert "failed" not in machine.said()


def test_run_once_does_it_too_and_not_when_nothing_is_unpriced(machine: Any) -> None:
    ingest(machine, line(1), line(2, "theirs/model"))
    told = "SELECT count(*), max(fingerprint) FROM repricing, pricing"
    assert machine.query(told)[0][0] == 0
    machine.config.write_text(OVERRIDE + FALLBACK)
    ingest(machine)
    assert costs(machine) == [PRICED, ("fallback", 0.002)]
    rows = ds.dataset(machine.home / "parquet", partitioning="hive").to_table().to_pylist()
    assert sorted(row["cost_source"] for row in rows) == ["fallback", "override"]
    count, fingerprint = machine.query(told)[0]
    machine.config.write_text("")  # with nothing unpriced, other prices are only noted
    ingest(machine)
    again, other = machine.query(told)[0]
    assert count == again == 1
    assert fingerprint != other


def test_no_repricing_is_started_when_nothing_is_unpriced_or_the_prices_are_the_same(
    desk: Any,
) -> None:
    def has_new_prices(told: str) -> bool:
        return has_to_reprice(prices, told, prices.fingerprint())

    prices = Prices(desk.store, now_us)
    assert not has_new_prices("one")
    assert prices.fingerprint() == "one"  # an empty ledger has nothing to be priced again
    desk.ingest(line(1), line(2, "anthropic/claude-sonnet-4-5"))
    prices = Prices(desk.store, now_us)
    assert not has_new_prices("one")
    assert has_new_prices("two")
    assert prices.fingerprint() == "one"  # until it is done
    desk.config.write_text(OVERRIDE)
    assert repriced(desk, "--source", "table,unpriced")["calls_changed"] == 1
    assert prices.fingerprint() == "one"  # that was more than what is done by itself
    assert repriced(desk)["calls_seen"] == 0
    told = fingerprint(load().pricing)
    assert prices.fingerprint() == told
    assert not has_new_prices("three")
    assert prices.fingerprint() == "three"


def test_what_somebody_else_has_priced_with_other_prices_is_not_priced_again_by_ours(
    desk: Any,
) -> None:
    desk.ingest(line(1))
    prices = Prices(desk.store, now_us)
    assert has_to_reprice(prices, "ours", None)
    prices.note_fingerprint("theirs")
    assert not has_to_reprice(prices, "ours", None)
    assert has_to_reprice(prices, "ours", "theirs")  # at the next start


def test_the_fingerprint_is_of_the_prices_alone(desk: Any) -> None:
    def told(text: str) -> str:
        desk.config.write_text(text)
        return fingerprint(load().pricing)

    (desk.home / "prices.json").write_text("{}")
    file = '[pricing]\nlitellm_prices = "prices.json"\n'
    texts = ["", OVERRIDE, FALLBACK, "[pricing]\nprefer = 'table'\n", file]
    first = [told(text) for text in texts]
    assert len(set(first)) == len(texts)
    assert [told(text + "[log]\nlevel = 'debug'\n") for text in texts] == first
    (desk.home / "prices.json").write_text("{} ")
    assert told(file) not in first
    pricing = load().pricing
    (desk.home / "prices.json").unlink()
    fingerprint(pricing)  # that the file is gone is said when a price is asked of it
