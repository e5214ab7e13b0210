"""`status` with the daemon alive, stopped, killed, hung, or never there."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import apsw
import pytest


def report(machine: Any, *options: str) -> tuple[int, dict[str, Any]]:
    done = machine.command("status", "--json", *options)
    return done.returncode, json.loads(done.stdout)


def checks(content: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["state"] for check in content["checks"]}


def test_with_nothing_there_yet_it_is_critical_and_says_what_to_do(machine: Any) -> None:
    done = machine.command("status")
    assert done.returncode == 2
    assert "start it: prodlensd run" in done.stdout
    assert not machine.ledger.exists()


def test_alive_it_is_ok_and_stopped_it_is_critical(machine: Any) -> None:
    daemon = machine.start()
    code, content = report(machine)
    assert (code, content["state"], content["figures"]["pid"]) == (0, "ok", daemon.pid)
    daemon.terminate()
    daemon.wait(5)
    code, content = report(machine)
    assert (code, content["state"], checks(content)["daemon"]) == (2, "critical", "critical")


def test_killed_it_is_said_to_have_died(machine: Any) -> None:
    daemon = machine.start()
    daemon.kill()
    daemon.wait(5)
    done = machine.command("status")
    assert done.returncode == 2
    assert "died" in done.stdout


def test_a_daemon_that_hangs_is_told_from_one_that_works(machine: Any) -> None:
    daemon = machine.start()
    daemon.send_signal(signal.SIGSTOP)
    with apsw.Connection(str(machine.ledger)) as db:
        db.execute("UPDATE daemon SET beat_us = beat_us - 60 * 1000000")
    done = machine.command("status")
    assert done.returncode == 2
    assert "last heartbeat" in done.stdout


def test_dead_letters_are_a_warning_that_names_the_reason(
    machine: Any, wait_until: Callable[..., Any]
) -> None:
    (machine.logs / "a.jsonl").write_bytes(b"garbage\n")
    machine.start()
    wait_until(lambda: machine.query("SELECT count(*) FROM dead_letters") == [1], "the dead letter")
    done = machine.command("status")
    assert done.returncode == 1
    assert "invalid_json 1" in done.stdout


def test_json_has_the_same_keys_full_and_empty(machine: Any) -> None:
    _, empty = report(machine)
    machine.start()
    _, full = report(machine)
    assert empty["schema"] == full["schema"] == "prodlensd.status/1"
    assert empty.keys() == full.keys()
    assert empty["figures"].keys() == full["figures"].keys()


def test_quiet_prints_nothing_and_docker_knows_two_codes(machine: Any) -> None:
    done = machine.command("status", "-q", "--exit", "docker")
    assert (done.returncode, done.stdout) == (1, "")
    machine.start()
    done = machine.command("status", "-q", "--exit", "docker")
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("options", [["--nonsense"], ["-c", "missing.toml"]])
def test_a_wrong_question_is_unknown_and_not_critical(machine: Any, options: list[str]) -> None:
    done = machine.command("status", *options)
    assert done.returncode == 3
    assert done.stderr


def test_a_ledger_in_a_folder_we_may_not_write_to_can_be_read_after_a_clean_stop(
    machine: Any,
) -> None:
    # Root may write anywhere, so the two files that make the difference are looked at instead.
    assert machine.command("run", "--once").returncode == 0
    assert not machine.ledger.with_name("prodlens.db-wal").exists()
    code, content = report(machine)
    assert code == 2
    assert checks(content)["store"] == "ok"


def test_status_loads_neither_pyarrow_nor_watchdog_nor_the_price_book() -> None:
    import subprocess
    import sys

    code = (
        "import sys\nfrom prodlensd.cli import main\n"
        "try: main(['status', '-q'])\nexcept SystemExit: pass\n"
        "heavy = {'pyarrow', 'watchdog', 'genai_prices', 'pydantic', 'rich', 'structlog'}\n"
        "print(*sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
