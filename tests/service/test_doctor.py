"""`prodlensd doctor`: what is not wired is said, with what to do; what is right is not doubted."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from prodlensd import litellm, litellm_callback
from prodlensd.app import doctor as wiring
from prodlensd.cli import doctor
from prodlensd.service import units
from tests.service.another_user import NOBODY, as_nobody


class Examined:
    """What the doctor found."""

    def __init__(self, code: int, printed: str) -> None:
        content = json.loads(printed)
        self.code = code
        self.schema = content["schema"]
        self.state = content["state"]
        self.call = content["test_call"]
        self.checks = {check["name"]: check for check in content["checks"]}

    def said(self, name: str) -> tuple[str, str, str]:
        check = self.checks[name]
        return check["state"], check["value"], check["remedy"]

    def wrong(self) -> list[str]:
        return [name for name, check in self.checks.items() if check["state"] != "ok"]


def examined(machine: Any, *options: str) -> Examined:
    done = machine.command("doctor", "--json", *options)
    assert done.stderr == ""
    return Examined(done.returncode, done.stdout)


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home and current folder: no callback of this machine's is found."""
    folder = tmp_path / "nowhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return folder


def wired(machine: Any) -> Any:
    """A daemon that has read a call."""
    machine.log_a_call()
    assert machine.command("run", "--once").returncode == 0
    return machine.start()


def test_when_all_is_wired_nothing_is_wrong(machine: Any) -> None:
    daemon = wired(machine)
    found = examined(machine)
    assert (0, "ok", []) == (found.code, found.state, found.wrong())
    assert [
        *("config", "service", "daemon", "folders", "proxy", "callback", "lines"),
        *("ledger", "snapshots", "clock", "disk", "prices"),
    ] == list(found.checks)
    assert f"running, pid {daemon.pid}" == found.checks["daemon"]["value"]
    assert "none; the daemon was started by other means" == found.checks["service"]["value"]
    done = machine.command("doctor")
    assert (0, True) == (done.returncode, "\neverything is wired\n" in done.stdout)
    assert f"\nfolders   ok       {machine.logs}: 1 log\n" in done.stdout


def test_with_nothing_there_yet_it_says_what_to_do_and_makes_nothing(machine: Any) -> None:
    machine.logs.rmdir()
    found = examined(machine)
    assert 1 == found.code
    assert ["service", "daemon", "folders", "callback", "ledger"] == found.wrong()
    assert "start it: prodlensd run" == found.checks["daemon"]["remedy"]
    assert found.said("folders") == (
        "warning",
        f"{machine.logs}: 0 logs; not there: {machine.logs}",
        "correct logs.directories, or let the daemon create it when it starts",
    )
    assert "prodlensd init --proxy DIR writes one that works" in found.checks["callback"]["remedy"]
    assert [] == list(machine.home.iterdir())
    assert "2 problems, 3 warnings" in machine.command("doctor").stdout


def test_a_configuration_that_cannot_be_used_is_a_finding(machine: Any) -> None:
    machine.config.write_text('[store]\nbatch_max_lines = "many"\n')
    found = examined(machine)
    assert (1, "problem", None) == (found.code, found.state, found.call)
    _, value, remedy = found.said("config")
    assert "store.batch_max_lines: expected int" in value
    assert "correct it: until then nothing starts" == remedy


# Where lines go


def test_the_lines_go_to_a_folder_that_is_not_watched(
    machine: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wired(machine)
    monkeypatch.setenv("LITELLM_LOG_DIR", str(tmp_path / "elsewhere"))
    state, value, remedy = examined(machine).said("callback")
    assert "warning" == state
    assert (
        f"it would write to {tmp_path / 'elsewhere'} (LITELLM_LOG_DIR in this shell), "
        "which is none of logs.directories"
    ) in value
    assert f"where the proxy runs: export LITELLM_LOG_DIR={machine.logs}" == remedy
    link = tmp_path / "link"
    link.symlink_to(machine.logs)
    monkeypatch.setenv("LITELLM_LOG_DIR", str(link))
    assert "ok" == examined(machine).said("callback")[0], "the same folder by another name"


def test_a_folder_inside_a_watched_one_counts_where_those_are_read(
    machine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wired(machine)
    monkeypatch.setenv("LITELLM_LOG_DIR", str(machine.logs / "inside"))
    assert "warning" == examined(machine).said("callback")[0]
    machine.config.write_text("[logs]\nrecursive = true\n")
    assert "ok" == examined(machine).said("callback")[0]


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"PRODLENSD_HOME": ""},
        {"PRODLENSD_HOME": "/somewhere"},
        {"PRODLENSD_HOME": "~/somewhere", "LITELLM_LOG_DIR": ""},
        {"LITELLM_LOG_DIR": "~/logs"},
        {"LITELLM_LOG_DIR": "/var/log/x", "PRODLENSD_HOME": "/somewhere"},
    ],
)
def test_the_folder_is_the_one_that_the_callback_itself_would_take(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PRODLENSD_HOME", "LITELLM_LOG_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert litellm_callback.log_folder() == litellm.callback_folder(os.environ)


@pytest.mark.parametrize("place", [".", "litellm"])
def test_a_copy_of_the_callback_is_of_another_version(
    machine: Any, nowhere: Path, place: str
) -> None:
    wired(machine)
    folder = nowhere / place
    machine.command("litellm-callback", "--install", str(folder))
    copy = folder / "prodlensd_callback.py"
    state, value, _ = examined(machine).said("callback")
    assert ("ok", True) == (state, f"; of this version: {copy}; " in value)
    copy.write_text(copy.read_text() + "# an older one\n")
    state, value, remedy = examined(machine).said("callback")
    assert ("warning", True) == (state, f"; of another version: {copy}; " in value)
    assert f"prodlensd litellm-callback --install {folder}, and start the proxy again" == remedy


def test_the_callback_beside_the_litellm_of_this_shell_is_looked_at(
    machine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wired(machine)
    program = tmp_path / "env/bin/litellm"
    beside = tmp_path / "env/lib/python3.12/site-packages/prodlensd/litellm_callback.py"
    for path, text in ((program, "#!/bin/sh\n"), (beside, "an older one\n")):
        path.parent.mkdir(parents=True)
        path.write_text(text)
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    _, value, remedy = examined(machine).said("callback")
    assert f"of another version: {beside}" in value
    assert f"in the environment of {program}, and start the proxy again" in remedy


def test_no_log_has_a_name_that_is_read(machine: Any) -> None:
    (machine.logs / "traces.json").write_bytes(b"{}\n")
    state, value, remedy = examined(machine).said("folders")
    assert ("warning", "name the files that are logs in logs.include") == (state, remedy)
    assert value.endswith(": 0 logs; 1 passed over (logs.include): traces.json")


def test_lines_that_have_never_come_are_to_be_tried(machine: Any) -> None:
    machine.start()
    found = examined(machine)
    assert ["callback", "lines"] == found.wrong()
    assert "make the test call below" == found.checks["lines"]["remedy"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
class TestAnotherUser:
    def test_the_daemons_user_may_not_read_the_logs(self, machine: Any) -> None:
        machine.log_a_call()
        machine.command("run", "--once")
        os.chown(machine.home / "prodlens.db.lock", NOBODY, NOBODY)
        (machine.logs / "calls.jsonl").chmod(0o600)
        for folder in (machine.logs, *machine.logs.parents[:-2]):
            folder.chmod(0o755)
        state, value, remedy = examined(machine).said("folders")
        assert "problem" == state
        assert "may not read 1 log, the first is " + str(machine.logs / "calls.jsonl") in value
        assert "prodlensd service install --system --run-as USER" in remedy
        (machine.logs / "calls.jsonl").chmod(0o644)
        assert "ok" == examined(machine).said("folders")[0]
        machine.logs.chmod(0o700)
        assert "may not list it" in examined(machine).said("folders")[1]

    @pytest.mark.long
    def test_who_may_not_read_the_ledger_is_told_whom_to_ask(self, machine: Any) -> None:
        wired(machine)
        with tempfile.TemporaryDirectory(prefix="prodlensd-test-") as folder:
            Path(folder).chmod(0o755)
            config = Path(folder) / "config.toml"
            config.write_text(f"[store]\npath = '{machine.ledger}'\n")
            config.chmod(0o644)
            done = as_nobody("doctor", "--json", "-c", str(config))
        assert done.stderr == ""
        found = Examined(done.returncode, done.stdout)
        assert (1, "unknown") == (found.code, found.checks["ledger"]["state"])
        assert "ask as the user who runs the daemon, or as root" in found.said("ledger")[2]


# What coding agents write


def transcripts(folder: Path, *names: str, line: str = '{"sessionId": "s", "uuid": "u"}') -> Path:
    for number, name in enumerate(names):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{line}\n")
        os.utime(file, (number * 86_400, number * 86_400))
    return folder


@pytest.fixture
def no_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the home folder says where agents write."""
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("no_agents")
class TestAgents:
    def test_transcripts_that_nobody_reads_are_told_of_with_the_key_to_set(
        self, machine: Any, nowhere: Path
    ) -> None:
        wired(machine)
        claude = transcripts(nowhere / ".claude/projects", "p/a.jsonl", "p/b.jsonl", "p/c.txt")
        codex = transcripts(nowhere / ".codex/sessions", "2026/01/rollout-1.jsonl", "history.jsonl")
        found = examined(machine)
        assert (0, "ok") == (found.code, found.state), "an offer is nothing wrong"
        _, value, remedy = found.said("agents")
        assert value == (
            f"not read: Claude Code: 2 transcripts of 2 days in {claude}; "
            f"not read: Codex: 1 transcript of 1 day in {codex}"
        )
        assert remedy == (
            "to count these calls too: claude_code = true under [transcripts]; "
            "to count these calls too: codex = true under [transcripts]"
        )
        machine.config.write_text("[transcripts]\nclaude_code = true\n")
        _, value, remedy = examined(machine).said("agents")
        assert value.startswith(
            f"Claude Code: 2 transcripts of 2 days in {claude}; not read: Codex"
        )
        assert "claude_code" not in remedy

    def test_they_are_no_logs_of_the_log_folders(self, machine: Any, nowhere: Path) -> None:
        wired(machine)
        transcripts(nowhere / ".claude/projects", "p/a.jsonl")
        machine.config.write_text("[transcripts]\nclaude_code = true\n")
        assert examined(machine).said("folders")[1] == f"{machine.logs}: 1 log"

    def test_init_offers_them_too(self, machine: Any, nowhere: Path) -> None:
        transcripts(nowhere / ".claude/projects", "p/a.jsonl")
        (nowhere / ".codex/sessions").mkdir(parents=True)
        said = machine.command("init").stdout
        assert (
            f"\nClaude Code: 1 transcript of 1 day in {nowhere}/.claude/projects\n"
            "To count these calls too, set claude_code = true under [transcripts].\n"
        ) in said
        assert "Codex" not in said

    @pytest.mark.parametrize(
        ("folder", "state", "problem", "remedy"),
        [
            ("gone", "warning", "it is not there", "correct transcripts.codex, or leave it out"),
            ("empty", "warning", "no transcript is in it", "name Codex's own folder in transc"),
            (
                "other",
                "warning",
                "the newest do not look like transcripts of Codex",
                "name Codex's own folder in transcripts.codex",
            ),
            ("file", "problem", "it is no folder", "run the daemon as the user who runs Codex"),
            ("right", "ok", "", ""),
            ("begun", "ok", "", ""),
        ],
    )
    def test_a_folder_that_is_not_what_it_should_be_is_said(
        self, machine: Any, tmp_path: Path, folder: str, state: str, problem: str, remedy: str
    ) -> None:
        transcripts(tmp_path / "empty", "a.jsonl")
        transcripts(tmp_path / "other", "rollout-1.jsonl")
        transcripts(tmp_path / "right", "rollout-1.jsonl", line='{"payload": {}}')
        transcripts(tmp_path / "right", "rollout-2.jsonl")
        transcripts(tmp_path / "begun", "rollout-1.jsonl")
        (tmp_path / "begun/rollout-1.jsonl").write_text("")
        (tmp_path / "file").touch()
        machine.config.write_text(f"[transcripts]\ncodex = ['{tmp_path / folder}']\n")
        said = examined(machine).said("agents")
        assert state == said[0]
        assert problem in said[1]
        assert said[2].startswith(remedy)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
    def test_the_daemons_user_may_not_read_them(self, machine: Any, nowhere: Path) -> None:
        machine.ingest()
        os.chown(machine.home / "prodlens.db.lock", NOBODY, NOBODY)
        folder = transcripts(nowhere / ".claude/projects", "a.jsonl", "b.jsonl")
        for each in (folder, *folder.parents[:-2]):
            each.chmod(0o755)
        (folder / "a.jsonl").chmod(0o600)
        machine.config.write_text("[transcripts]\nclaude_code = true\n")
        state, value, remedy = examined(machine).said("agents")
        assert (state, remedy) == ("problem", "run the daemon as the user who runs Claude Code")
        assert value.endswith("may not read 1 transcript")
        folder.chmod(0o700)
        assert examined(machine).said("agents")[1].endswith("may not list it")

    def test_a_service_that_sees_no_home_folders_reads_no_transcripts_there(
        self, manager: Callable[..., Examined], machine: Any, nowhere: Path
    ) -> None:
        machine.config.write_text("[transcripts]\nclaude_code = ['/home/ada/.claude/projects']\n")
        unit = nowhere / ".config/systemd/user/prodlensd.service"
        unit.write_text(unit.read_text() + "ProtectHome=yes\n")
        state, value, remedy = manager(ActiveState="active").said("agents")
        assert state == "problem"
        assert value.endswith(": the system's service does not see home folders")
        assert remedy == "a user's own daemon reads transcripts: prodlensd service install --user"
        changed = unit.with_name("prodlensd.service.d") / "override.conf"
        changed.parent.mkdir()
        changed.write_text("[Service]\nProtectHome=read-only\n")
        assert manager(ActiveState="active").said("agents")[1].endswith(": it is not there")


# The proxy


class OfThatTime(BaseHTTPRequestHandler):
    """As LiteLLM answered until 2026."""

    answer = b'{"status":"healthy","litellm_version":"1.80.0","success_callbacks":[]}'

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        if self.path == "/health/readiness":
            self.wfile.write(self.answer)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def proxy(answer: bytes = OfThatTime.answer) -> Iterator[str]:
    handler = type("Handler", (OfThatTime,), {"answer": answer})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_proxy_says_its_version_where_it_does(
    machine: Any, wait_until: Callable[..., Any]
) -> None:
    wired(machine)
    with proxy() as address:
        machine.config.write_text(f"[proxy]\nurl = 'http://{address}'\n")
        said = wait_until(  # on a busy machine it may be late now and then
            lambda: (
                (told := examined(machine).said("proxy"))[1].endswith("its version is 1.80.0")
                and told
            ),
            "an answer in time",
        )
    assert ("ok", "") == said[::2]
    with proxy(b'{"status":"healthy","litellm_version":"\x1b]0;owned\x07"}') as address:
        machine.config.write_text(f"[proxy]\nurl = 'http://{address}'\n")
        wait_until(
            lambda: "for those with its key only" in examined(machine).said("proxy")[1],
            "an answer in time",
        )


def test_a_proxy_that_is_not_there_and_a_test_call_without_its_password(machine: Any) -> None:
    wired(machine)
    with proxy() as address:
        pass
    machine.config.write_text(f"[proxy]\nurl = 'http://me:secret@{address}/llm/'\n")
    found = examined(machine)
    state, value, remedy = found.said("proxy")
    assert ("warning", "start the LiteLLM proxy, or correct proxy.url") == (state, remedy)
    assert value.startswith("refuses the connection, last line ")
    assert found.call["command"].startswith(f"curl http://{address}/llm/v1/chat/completions ")
    assert "secret" not in json.dumps(found.checks) + json.dumps(found.call)


# The test call


@pytest.mark.sampled(2)
@pytest.mark.parametrize("setting", ["", '[logs]\ninclude = ["x[0-9]", "call-*.txt"]\n'])
def test_the_line_to_copy_makes_a_call_and_the_command_shows_it(machine: Any, setting: str) -> None:
    machine.logs.rmdir()
    machine.config.write_text(setting)
    for count in (1, 2):
        subprocess.run(["/bin/sh", "-c", examined(machine).call["command"]], check=True)
        assert "1 call from 1 file, $0.000006" in machine.command("run", "--once").stdout
        assert [count] == machine.query("SELECT count(*) FROM traces")
    command = examined(machine).call["then"].split()
    assert "prodlensd" == command[0]
    done = machine.command(*command[1:])
    assert (0, True) == (done.returncode, "claude-haiku-4-5" in done.stdout)


def test_a_folder_of_any_name_is_one_word_of_the_shell(machine: Any) -> None:
    odd = machine.home / "it's $HOME; \x1b[31m"
    odd.mkdir()
    machine.config.write_text(f"[logs]\ndirectories = [{json.dumps(str(odd))}]\n")
    subprocess.run(["/bin/bash", "-c", examined(machine).call["command"]], check=True)
    assert ["prodlensd-doctor.jsonl"] == [file.name for file in odd.iterdir()]
    assert "\x1b" not in machine.command("doctor").stdout


# Clock, ledger, disk


def test_a_call_and_a_file_of_the_future_show_that_a_clock_is_wrong(machine: Any) -> None:
    log = machine.logs / "calls.jsonl"
    log.write_bytes(b'{"timestamp": "2999-01-01T00:00:00Z", "cost_usd": 0.1, "usage": {}}\n')
    machine.command("run", "--once")
    state, value, remedy = examined(machine).said("clock")
    assert ("warning", True) == (state, value.startswith("the newest call starts "))
    assert "set this machine's clock" in remedy
    machine.ledger.unlink()
    os.utime(log, (32_000_000_000, 32_000_000_000))
    assert examined(machine).said("clock")[1].startswith("a log was written ")


def test_a_damaged_ledger_is_found_without_reading_the_logs(machine: Any) -> None:
    (machine.logs / "a.jsonl").write_bytes(
        b"".join(
            b'{"timestamp": "2026-01-01T00:00:00Z", "usage": {"input_tokens": %d}}\n' % n
            for n in range(5000)
        )
    )
    machine.command("run", "--once")
    assert "ok" == examined(machine).said("ledger")[0]
    with machine.ledger.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(size // 2)
        file.write(b"\xff" * (size // 4))
    state, _, remedy = examined(machine).said("ledger")
    assert "problem" == state
    assert "restore a backup" in remedy


def test_too_little_room_is_a_problem_and_says_for_what(machine: Any) -> None:
    machine.config.write_text("[status]\nfree_critical_bytes = 4611686018427387904\n")
    state, value, remedy = examined(machine).said("disk")
    assert "problem" == state
    assert value.endswith(" free for the ledger, logs, snapshots")
    assert remedy.startswith("make room")


# The service


@pytest.fixture
def manager(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nowhere: Path, machine: Any
) -> Callable[..., Examined]:
    """The doctor on a machine whose systemd says what it is told, of a unit that is installed."""
    runtime, programs = tmp_path / "runtime", tmp_path / "bin"
    (runtime / "systemd").mkdir(parents=True)
    programs.mkdir()
    unit = nowhere / ".config/systemd/user/prodlensd.service"
    unit.parent.mkdir(parents=True)
    unit.write_text(f"[Service]\nExecStart=prodlensd run --config {machine.config}\n")
    (programs / "systemctl").write_text(f"#!/bin/sh\ncat {tmp_path}/answer\n")
    (programs / "systemctl").chmod(0o755)
    machine.config.touch()
    monkeypatch.setattr(units, "_BOOTED", tmp_path)
    monkeypatch.setattr(wiring, "_PATIENCE_S", 30.0)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))

    def look(**told: str) -> Examined:
        lines = {"LoadState": "loaded", "SubState": "running", "MainPID": "7"} | told
        (tmp_path / "answer").write_text("".join(f"{k}={v}\n" for k, v in lines.items()))
        done = CliRunner().invoke(doctor.command, ["--json"])
        return Examined(done.exit_code, done.stdout)

    return look


def test_a_service_that_runs_and_starts_by_itself_is_right(
    manager: Callable[..., Examined],
) -> None:
    state, value, _ = manager(ActiveState="active", UnitFileState="enabled").said("service")
    assert ("ok", True) == (state, value.endswith("prodlensd.service: active (pid 7)"))


def test_a_service_that_does_not_start_with_the_machine_is_a_warning(
    manager: Callable[..., Examined],
) -> None:
    state, value, remedy = manager(ActiveState="active", UnitFileState="disabled").said("service")
    assert ("warning", "prodlensd service install") == (state, remedy)
    assert value.endswith(", and does not start with the machine")


def test_a_service_that_has_failed_is_a_problem_and_says_where_its_log_is(
    manager: Callable[..., Examined],
) -> None:
    told = {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code"}
    state, value, remedy = manager(UnitFileState="enabled", **told).said("service")
    assert ("problem", True) == (state, value.endswith("prodlensd.service: failed (exit-code)"))
    assert "read why: journalctl --user -u prodlensd" in remedy


def test_a_service_with_another_configuration_is_named(
    manager: Callable[..., Examined], machine: Any, nowhere: Path
) -> None:
    unit = nowhere / ".config/systemd/user/prodlensd.service"
    unit.write_text(unit.read_text().replace(str(machine.config), "/srv/other.toml"))
    found = manager(ActiveState="active", UnitFileState="enabled")
    assert ("warning", "look at that one: prodlensd doctor --config /srv/other.toml") == (
        found.said("config")[::2]
    )
