"""The daemon as a process: one at a time, quick to stop, and never half done."""

from __future__ import annotations

import json
import random
import resource
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest


def line(number: int, *, ids: bool) -> bytes:
    record = {
        "timestamp": "2026-01-01T00:00:00Z",
        "usage": {"input_tokens": 1, "output_tokens": 1},
        "metadata": {"session_id": f"s{number:06d}"},
        "cost_usd": 0.001,
    }
    if ids:
        record |= {"id": f"id{number}", "litellm_call_id": f"call{number}"}
    return json.dumps(record).encode() + b"\n"


def append(machine: Any, *lines: bytes) -> None:
    with (machine.logs / "a.jsonl").open("ab", buffering=0) as file:
        for one in lines:
            file.write(one)


def test_an_appended_line_is_queryable_within_100_ms(
    machine: Any, wait_until: Callable[..., Any]
) -> None:
    machine.config.write_text("[logs]\nrescan_interval_s = 3600\n")
    machine.start()
    delays_s = []
    for number in range(20):
        append(machine, line(number, ids=True))
        written = time.monotonic()
        wait_until(
            lambda n=number: machine.query("SELECT count(*) FROM traces") == [n + 1], "the line"
        )
        delays_s.append(time.monotonic() - written)
    # The quickest: a busy machine keeps anybody waiting. `make bench` measures them all.
    assert min(delays_s) < 0.1, delays_s


def cpu_of_children_s() -> float:
    """The CPU time of all processes that were started here and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.long
@pytest.mark.scenario(86)
def test_sigterm_and_sigint_stop_it_within_five_seconds_under_load(
    machine: Any, wait_until: Callable[..., Any]
) -> None:
    beats = "SELECT pid FROM daemon WHERE phase = 'running'"
    for number, asked in enumerate((signal.SIGTERM, signal.SIGINT)):
        append(machine, *(line(number * 15_000 + n, ids=True) for n in range(15_000)))
        before_s = cpu_of_children_s()
        daemon = subprocess.Popen([sys.executable, "-m", "prodlensd", "run"])  # a child of ours
        machine._started.append(daemon)
        wait_until(lambda pid=daemon.pid: machine.query(beats) == [pid], "its first heartbeat")
        daemon.send_signal(asked)
        assert daemon.wait(100) == 0
        # Its CPU time, from its start on: on a busy machine it has to wait for that.
        assert cpu_of_children_s() - before_s < 5
        assert machine.query("SELECT phase FROM daemon") == ["stopped"]
        traces, lines = machine.query(
            "SELECT (SELECT count(*) FROM traces), sum(lines) FROM sources"
        )[0]
        assert traces == lines
    assert machine.command("run", "--once").returncode == 0
    assert machine.query("SELECT count(*), count(DISTINCT session_id) FROM traces") == [
        (30_000, 30_000)
    ]


@pytest.mark.long
@pytest.mark.scenario(69)
def test_kill_9_at_any_moment_loses_nothing_and_doubles_nothing(machine: Any) -> None:
    chance = random.Random(1)  # noqa: S311 - repeatable on purpose
    written = 0
    for _ in range(12):
        daemon = machine.start()
        for _ in range(chance.randrange(1, 20)):
            block = chance.randrange(1, 400)
            append(machine, *(line(written + n, ids=n % 3 > 0) for n in range(block)))
            written += block
        before = machine.query("SELECT count(*) FROM traces")[0]
        daemon.kill()
        assert daemon.wait(100) == -signal.SIGKILL
        assert machine.query("SELECT count(*) FROM traces")[0] >= before
    assert machine.command("run", "--once").returncode == 0
    assert machine.query("SELECT count(*), count(DISTINCT session_id) FROM traces") == [
        (written, written)
    ]
    assert machine.query("SELECT sum(traces), sum(duplicates) FROM sources") == [(written, 0)]


@pytest.mark.scenario(81)
def test_a_second_daemon_is_refused_and_the_first_goes_on(
    machine: Any, wait_until: Callable[..., Any]
) -> None:
    first = machine.start()
    second = machine.command("run")
    assert second.returncode == 75
    assert "another prodlensd is running" in second.stderr
    append(machine, line(1, ids=True))
    wait_until(
        lambda: machine.query("SELECT count(*) FROM traces") == [1], "the first daemon's work"
    )
    assert first.poll() is None


def test_a_link_to_the_ledger_leads_to_its_lock_and_its_figures(machine: Any) -> None:
    real = machine.home / "disk" / "real.db"
    real.parent.mkdir()
    other = machine.home / "other.toml"
    other.write_text(f'[store]\npath = "{real}"\n')
    assert machine.command("run", "--once", "-c", str(other)).returncode == 0
    machine.ledger.symlink_to(real)
    append(machine, line(1, ids=True))
    machine.start()
    through_link = json.loads(machine.command("status", "--json").stdout)
    wal = real.with_name("real.db-wal")
    assert wal.stat().st_size == through_link["figures"]["wal_bytes"] > 0
    assert real.with_name("real.db.lock").exists()
    assert not [path for path in machine.home.iterdir() if path.name.startswith("prodlens.db.")]
    for arguments in (("run",), ("run", "-c", str(other))):
        assert 75 == machine.command(*arguments).returncode


def test_a_killed_daemons_lock_does_not_keep_the_next_one_out(machine: Any) -> None:
    machine.start().kill()
    machine.start()


@pytest.mark.scenario(2)
def test_once_ingests_everything_compacts_and_exits(machine: Any) -> None:
    append(machine, *(line(n, ids=True) for n in range(1000)))
    done = machine.command("run", "--once")
    assert (0, "1,000 calls from 1 file, $1.00; see prodlensd report\n") == (
        done.returncode,
        done.stdout,
    )
    assert machine.query("SELECT count(*) FROM traces") == [1000]
    assert [path.name for path in (machine.home / "parquet").glob("*/*.parquet")]


def test_sighup_reads_the_configuration_again(machine: Any, wait_until: Callable[..., Any]) -> None:
    machine.config.write_text('[logs]\ninclude = ["*.jsonl"]\n')
    daemon = machine.start()
    (machine.logs / "a.ndjson").write_bytes(line(1, ids=True))
    machine.config.write_text('[logs]\ninclude = ["*.ndjson"]\n')
    daemon.send_signal(signal.SIGHUP)
    wait_until(
        lambda: machine.query("SELECT count(*) FROM traces") == [1], "the newly included file"
    )


def test_sighup_with_a_bad_configuration_keeps_the_old_one_and_says_why(
    machine: Any, wait_until: Callable[..., Any]
) -> None:
    machine.config.write_text("")
    daemon = machine.start()
    machine.config.write_text("[logs]\nrescan_interval_s = false\n")
    daemon.send_signal(signal.SIGHUP)
    wait_until(lambda: "logs.rescan_interval_s" in machine.said(), "the error about the key")
    append(machine, line(1, ids=True))
    wait_until(lambda: machine.query("SELECT count(*) FROM traces") == [1], "work as before")
    assert daemon.poll() is None


def test_a_bad_configuration_at_the_start_is_exit_78(machine: Any) -> None:
    machine.config.write_text("[store]\nbatch_max_lines = 0\n")
    refused = machine.command("run")
    assert refused.returncode == 78
    assert "store.batch_max_lines" in refused.stderr


def test_a_wrong_flag_is_exit_2(machine: Any) -> None:
    assert machine.command("run", "--twice").returncode == 2


def test_what_it_creates_is_nobody_elses_business(machine: Any) -> None:
    append(machine, line(1, ids=True))
    assert machine.command("run", "--once").returncode == 0
    made = [machine.ledger, *(machine.home / "parquet").rglob("*")]
    assert len(made) >= 3
    for path in made:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path


def test_off_a_terminal_its_log_is_json_and_holds_nothing_of_a_line(machine: Any) -> None:
    secret = b'{"timestamp": "2026-01-01T00:00:00Z", "prompt": "SECRET-CANARY'
    append(machine, secret + b"\n", line(1, ids=True)[:-2] + b', "x": "SECRET-CANARY"}\n')
    machine.start("-c", str(machine.config)) if machine.config.exists() else machine.start()
    events = [json.loads(row) for row in machine.said().splitlines()]
    assert "started" in [event["event"] for event in events]
    assert "SECRET-CANARY" not in machine.said()


@pytest.mark.scenario(80)
def test_a_ledger_of_a_newer_schema_is_refused(machine: Any) -> None:
    import apsw

    assert machine.command("run", "--once").returncode == 0
    with apsw.Connection(str(machine.ledger)) as db:
        db.execute("PRAGMA user_version = 999")
    refused = machine.command("run", "--once")
    assert refused.returncode == 1
    assert "999 is newer" in refused.stderr


def test_a_database_of_somebody_else_is_refused_and_left_as_it_was(machine: Any) -> None:
    import apsw

    with apsw.Connection(str(machine.ledger)) as db:
        db.execute("CREATE TABLE theirs (x)")
    refused = machine.command("run", "--once")
    assert refused.returncode == 1
    assert "not prodlensd's" in refused.stderr
    assert machine.query("SELECT name FROM sqlite_schema") == ["theirs"]
