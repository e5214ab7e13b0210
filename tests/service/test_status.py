"""`status` with the daemon alive, stopped, killed, hung, or never there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.service.another_user import NOBODY, as_nobody, home_for_all


def report(machine: Any, *options: str) -> tuple[int, dict[str, Any]]:
    done = machine.command("status", "--json", *options)
    return done.returncode, json.loads(done.stdout)


def checks(content: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["state"] for check in content["checks"]}


def start_after_a_call(machine: Any) -> Any:
    """A daemon on a ledger that has read a call: one that nothing is wrong with."""
    machine.log_a_call()
    assert machine.command("run", "--once").returncode == 0
    return machine.start()


def test_with_nothing_there_yet_it_is_critical_and_says_what_to_do(machine: Any) -> None:
    done = machine.command("status")
    assert done.returncode == 2
    assert "start it: prodlensd run" in done.stdout
    assert not machine.ledger.exists()


def test_alive_it_is_ok_and_stopped_it_is_critical(machine: Any) -> None:
    daemon = start_after_a_call(machine)
    code, content = report(machine)
    assert (code, content["state"], content["figures"]["pid"]) == (0, "ok", daemon.pid)
    daemon.terminate()
    daemon.wait(100)
    code, content = report(machine)
    assert (code, content["state"], checks(content)["daemon"]) == (2, "critical", "critical")


def test_killed_it_is_said_to_have_died(machine: Any) -> None:
    daemon = machine.start()
    daemon.kill()
    daemon.wait(100)
    done = machine.command("status")
    assert done.returncode == 2
    assert "died" in done.stdout


def test_a_daemon_that_hangs_is_told_from_one_that_works(machine: Any) -> None:
    daemon = machine.start()
    daemon.send_signal(signal.SIGSTOP)
    with apsw.Connection(str(machine.ledger)) as db:
        db.execute("UPDATE daemon SET beat_us = beat_us - 3600 * 1000000")
    done = machine.command("status")
    assert done.returncode == 2
    assert f"pid {daemon.pid} holds the lock, last heartbeat 60 min ago" in done.stdout
    assert machine.command("status", "-q", "--exit", "docker").returncode == 1


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


@pytest.mark.parametrize(
    "options",
    [
        ["--nonsense"],
        ["--exit", "icinga"],
        ["too", "many"],
        ["-c"],
        ["-c", "missing.toml"],
        ["-c", "/"],
    ],
)
def test_a_wrong_question_is_unknown_and_not_critical(machine: Any, options: list[str]) -> None:
    done = machine.command("status", *options)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr


def test_a_bad_configuration_is_unknown_on_the_line_too(machine: Any) -> None:
    machine.config.write_text('[status]\nlag_warning_bytes = "a|b"\n')
    done = machine.command("status", "--line")
    assert done.returncode == 3
    assert done.stdout.startswith("PRODLENSD UNKNOWN - ")
    assert done.stdout.count("\n") == 1
    assert "|" not in done.stdout
    assert machine.command("status", "--exit", "docker").returncode == 1


def test_a_bug_is_unknown_and_not_a_warning(machine: Any) -> None:
    code = (
        "from prodlensd.cli import main, status\n"
        "status.health = lambda *_, **__: 1 // 0\n"
        "main(['status'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "ZeroDivisionError" in done.stderr
    assert not machine.ledger.exists()


def test_the_limits_of_the_configuration_are_in_force(
    machine: Any, wait_until: Callable[..., Any]
) -> None:
    machine.log_a_call()
    (machine.logs / "a.jsonl").write_bytes(b"garbage\n")
    machine.config.write_text("[status]\ndead_letters_warning_count = 1\n")
    machine.start()
    wait_until(lambda: machine.query("SELECT count(*) FROM dead_letters") == [1], "the dead letter")
    assert checks(report(machine)[1])["ingest"] == "ok"
    machine.config.write_text("[status]\ndead_letters_warning_count = 0\n")
    assert checks(report(machine)[1])["ingest"] == "warning"


def test_the_line_of_a_healthy_daemon(machine: Any) -> None:
    daemon = start_after_a_call(machine)
    done = machine.command("status", "--line")
    assert done.returncode == 0
    assert done.stdout.startswith(f"PRODLENSD OK - daemon running, pid {daemon.pid}; ")
    assert " | 'heartbeat'=" in done.stdout
    assert done.stdout.count("\n") == 1


def test_what_the_daemon_measured_is_told(machine: Any) -> None:
    (machine.logs / "a.jsonl").write_bytes(b'{"timestamp": "2026-11-22T18:00:00Z", "usage": {}}\n')
    machine.ingest()
    measures = report(machine)[1]["figures"]["measures"]
    assert (measures["lines"], measures["batches"]) == (1, 1)
    assert measures["commit_seconds"]["sum_s"] > 0


def test_unread_lines_of_a_dead_daemon_are_counted_found_or_not(machine: Any) -> None:
    (machine.logs / "a.jsonl").write_bytes(b"1\n")
    machine.ingest()
    with (machine.logs / "a.jsonl").open("ab") as file:
        file.write(b"22\n")
    (machine.logs / "b.jsonl").write_bytes(b"333\n")
    _, content = report(machine)
    assert (content["figures"]["lag_bytes"], content["figures"]["sources"]) == (7, 2)
    assert content["figures"]["oldest_unread_at"]


class Alive(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health/liveliness" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_the_proxy_is_asked_where_there_is_one(
    machine: Any, wait_until: Callable[..., Any]
) -> None:
    machine.start()
    assert report(machine)[1]["figures"]["proxy"] is None
    with HTTPServer(("127.0.0.1", 0), Alive) as server:
        machine.config.write_text(f"[proxy]\nurl = 'http://127.0.0.1:{server.server_port}'\n")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            # On a busy machine it may be late now and then.
            wait_until(lambda: report(machine)[1]["figures"]["proxy"], "an answer in time")
        finally:
            server.shutdown()
            thread.join()
    code, content = report(machine)
    assert (code, content["figures"]["proxy"], checks(content)["proxy"]) == (1, False, "warning")


def test_a_ledger_in_a_folder_we_may_not_write_to_can_be_read_after_a_clean_stop(
    machine: Any,
) -> None:
    # Root may write anywhere, so the two files that make the difference are looked at instead.
    machine.ingest()
    assert not machine.ledger.with_name("prodlens.db-wal").exists()
    code, content = report(machine)
    assert code == 2
    assert checks(content)["store"] == "ok"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
class TestAnotherUser:
    @pytest.fixture
    def home(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        assert not home.exists()
        with home_for_all(monkeypatch) as home_of_all:
            yield home_of_all

    def share(self, machine: Any) -> None:
        machine.home.chmod(0o755)
        machine.logs.chmod(0o755)
        for file in machine.home.glob("prodlens.db*"):
            if file.suffix != ".lock":
                file.chmod(0o644)

    @pytest.mark.long
    def test_who_may_not_read_the_ledger_is_told_so_and_not_that_it_is_down(
        self, machine: Any
    ) -> None:
        machine.start()
        config = machine.home.with_name("config.toml")
        config.write_text(f"[store]\npath = '{machine.ledger}'\n")
        # The folder is closed, the ledger is, its write-ahead log is.
        for folder, ledger in ((0o700, 0o600), (0o755, 0o600), (0o755, 0o644)):
            machine.home.chmod(folder)
            machine.ledger.chmod(ledger)
            done = as_nobody("status", "-c", str(config))
            assert (done.returncode, done.stderr) == (3, "")
            assert "this user may not read it" in done.stdout
            assert "ask as the user who runs the daemon" in done.stdout
            assert (
                "PRODLENSD UNKNOWN - daemon"
                in as_nobody("status", "--line", "-c", str(config)).stdout
            )

    @pytest.mark.long
    def test_who_may_only_read_sees_the_daemon_run_hang_and_stop(self, machine: Any) -> None:
        daemon = start_after_a_call(machine)
        self.share(machine)
        before = sorted(machine.home.iterdir())
        done = as_nobody("status")
        assert (done.returncode, done.stderr) == (0, "")
        assert f"running, pid {daemon.pid}, run by another user" in done.stdout

        daemon.send_signal(signal.SIGSTOP)
        with apsw.Connection(str(machine.ledger)) as db:
            db.execute("UPDATE daemon SET beat_us = beat_us - 3600 * 1000000")
        done = as_nobody("status")
        assert done.returncode == 2
        assert "died or hangs: last heartbeat 60 min ago" in done.stdout
        assert sorted(machine.home.iterdir()) == before

        daemon.send_signal(signal.SIGCONT)
        daemon.terminate()
        daemon.wait(100)
        db.close()
        done = as_nobody("status")
        assert done.returncode == 2
        assert "not running (stopped" in done.stdout

    def test_root_is_told_whose_daemon_it_is(self, machine: Any) -> None:
        start_after_a_call(machine)
        assert "another user" not in machine.command("status").stdout
        os.chown(machine.home / "prodlens.db.lock", NOBODY, NOBODY)
        done = machine.command("status")
        assert done.returncode == 0
        assert "run by another user" in done.stdout


#: What is slow to load or large, or of no use to a command that answers at once.
HEAVY = frozenset(
    "pyarrow duckdb watchdog genai_prices pydantic rich structlog prometheus_client jinja2 asyncio "
    "http.client ssl email importlib.metadata ctypes typing_extensions".split()
)
#: And to what is answered at once, all of whose time is that of loading modules.
NEEDLESS = frozenset(
    "hashlib socket zoneinfo logging subprocess signal difflib orjson click msgspec inspect "
    "gettext locale uuid platform textwrap threading tempfile shutil".split()
)
#: The files of our rooms that `--version` needs, beside the face of each.
NEEDED_AT_LEAST = frozenset("cli.at_once cli.streams faces process.descriptors".split())
#: And `statusline`.
NEEDED = NEEDED_AT_LEAST | frozenset(
    "access answers.periods answers.statusline app.ledger app.statusline app.zone config.files "
    "ledger.connection ledger.later ledger.schema ledger.spent ledger.sums ledger.views "
    "model.amounts model.errors moments text.plain text.suggestions".split()
)
FACES = frozenset("__main__ answers app cli config ledger model process text".split())


def loaded_by(command: str) -> set[str]:
    """The modules that there are at the end of a command, which has a session on stdin."""
    code = (
        f"import sys; sys.argv[1:] = {command.split()}\n"
        "from prodlensd.__main__ import main\n"
        "try: main()\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    python = [sys.executable, "-c", code]
    done = subprocess.run(python, input=b'{"session_id": "a"}', capture_output=True, check=False)
    return set(done.stderr.decode().split())


def test_status_loads_nothing_heavy(machine: Any) -> None:
    machine.ingest()
    loaded = loaded_by("status -q")
    assert "prodlensd.answers.status" in loaded
    assert set() == loaded & HEAVY


def test_the_daemon_does_without_what_others_would_load_for_it(machine: Any) -> None:
    machine.config.write_text("[store]\npath = '/dev/null'\n")  # it ends, with all it needs loaded
    loaded = loaded_by("run")
    assert {"asyncio", "structlog", "prodlensd.daemon.loop"} <= loaded
    assert set() == loaded & {"ssl", "rich", "numpy", "pandas", "pyarrow", "duckdb"}


def ours(loaded: set[str]) -> set[str]:
    return {name.removeprefix("prodlensd.") for name in loaded if name.startswith("prodlensd.")}


def test_a_status_line_loads_only_what_its_one_question_needs(machine: Any) -> None:
    machine.ingest()
    machine.config.write_text("[parquet]\nenabled = false\n")
    loaded = loaded_by("statusline")
    assert "prodlensd.ledger.spent" in loaded
    assert set() == loaded & (HEAVY | NEEDLESS)
    assert set() == ours(loaded) - NEEDED - FACES


def test_the_version_is_told_before_all_else_is_loaded() -> None:
    loaded = loaded_by("--version")
    assert set() == loaded & (HEAVY | NEEDLESS | {"json", "apsw", "pathlib", "datetime"})
    assert set() == ours(loaded) - NEEDED_AT_LEAST - {"__main__", "cli", "process"}


@pytest.mark.parametrize("command", ["--version", "statusline", "status -q"])
def test_the_end_of_a_command_does_not_look_through_what_it_has_loaded(
    machine: Any, command: str
) -> None:
    machine.ingest()
    code = (
        f"import gc, sys; sys.argv[1:] = {command.split()}\n"
        "from prodlensd.__main__ import main\n"
        "try: main()\n"
        "finally: print(len(gc.get_objects()), gc.get_freeze_count(), file=sys.stderr)"
    )
    python = [sys.executable, "-c", code]
    done = subprocess.run(python, input=b"", capture_output=True, check=False)
    looked_at, kept = map(int, done.stderr.split())
    assert looked_at < 100 < kept


@pytest.mark.parametrize("command", ["report", "sql", "statusline"])
def test_the_end_of_a_command_is_quiet(machine: Any, command: str) -> None:
    """DuckDB complains at the interpreter's end where it finds objects of its own still there."""
    machine.log_a_call()
    machine.ingest()
    arguments = [command, *(["SELECT 1"] if command == "sql" else [])]
    python = [sys.executable, "-m", "prodlensd", *arguments]
    done = subprocess.run(python, input=b"{}", capture_output=True, check=False)
    assert (0, b"") == (done.returncode, done.stderr)
