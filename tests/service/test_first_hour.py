"""The mistakes of a first hour, each made on purpose, and the sentence that is shown for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.service.test_terminal import on_terminal


def status(machine: Any) -> str:
    """What `status` says, of what is in the logs by now."""
    assert machine.command("run", "--once").returncode == 0
    done = machine.command("status")
    assert done.returncode == 2, "no daemon runs"
    return str(done.stdout)


def a_call(number: int = 0, **told: object) -> bytes:
    call: dict[str, object] = {
        "timestamp": "2026-01-01T00:00:00Z",
        "usage": {"input_tokens": 1, "output_tokens": 1},
        "id": f"id{number}",
        "litellm_call_id": f"call{number}",
        "cost_usd": 0.25,
    }
    return json.dumps(call | told).encode() + b"\n"


class TestStatus:
    def test_nothing_is_wired(self, machine: Any) -> None:
        machine.start()
        done = machine.command("status")
        assert (1, True) == (done.returncode, "health    warning" in done.stdout)
        assert (
            f"tail      warning: no line has ever come to {machine.logs}; 0 files, 0 B unread\n"
            "          → send a call through the proxy; prodlensd doctor says what is not wired\n"
        ) in done.stdout
        figures = json.loads(machine.command("status", "--json").stdout)["figures"]
        assert ([str(machine.logs)], {}) == (figures["log_folders"], figures["files_passed_over"])

    def test_after_the_first_call_all_is_well(
        self, machine: Any, wait_until: Callable[..., Any]
    ) -> None:
        machine.start()
        machine.log_a_call()
        wait_until(lambda: machine.query("SELECT count(*) FROM traces") == [1], "the call")
        done = machine.command("status")
        assert (0, True) == (done.returncode, "health    ok" in done.stdout)

    def test_the_logs_have_names_that_are_passed_over(self, machine: Any) -> None:
        for name in ("traces.json", "proxy.log", "\x1b]0;owned\x07.txt", "zz.txt", "zzz.txt"):
            (machine.logs / name).write_bytes(a_call())
        said = status(machine)
        assert "no line has ever come to" in said
        assert (
            r"5 passed over (logs.include): \x1b]0;owned\x07.txt, proxy.log, traces.json and 2 more"
        ) in said
        content = json.loads(machine.command("status", "--json").stdout)
        assert {"logs.include": 5} == content["figures"]["files_passed_over"]

    def test_a_folder_of_the_configuration_is_not_there(self, machine: Any) -> None:
        folder = machine.home / "mistyped" / "logs"
        machine.config.write_text(f'[logs]\ndirectories = ["{folder}"]\n')
        first, again = (machine.command("run", "--once").stderr for _ in range(2))
        [told] = [json.loads(line) for line in first.splitlines() if "created" in line]
        assert {
            "event": "created a log folder that was not there",
            "level": "warning",
            "path": str(folder),
        } == {name: told[name] for name in ("event", "level", "path")}
        assert "created" not in again
        assert f"no line has ever come to {folder}" in machine.command("status").stdout

    def test_the_usual_folder_is_made_without_a_warning(self, machine: Any) -> None:
        machine.logs.rmdir()
        said = machine.command("run", "--once").stderr
        [told] = [json.loads(line) for line in said.splitlines() if "created" in line]
        assert ("created the log folder", "info") == (told["event"], told["level"])
        assert str(machine.logs) == told["path"]

    def test_a_folder_cannot_be_listed(self, machine: Any) -> None:
        machine.log_a_call()
        status(machine)
        file = machine.home / "file"
        file.touch()
        machine.config.write_text(f'[logs]\ndirectories = ["{machine.logs}", "{file}"]\n')
        assert (
            f"tail      warning: 1 file, 0 B unread; not all folders can be listed: {file}: "
            "Not a directory\n"
            "          → let the daemon's user list it, or correct logs.directories or "
            "transcripts\n"
        ) in machine.command("status").stdout

    @pytest.mark.sampled(2)
    @pytest.mark.parametrize("line", [b"INFO: Uvicorn running\n", b'{"event": "start"}\n', b"\n"])
    def test_lines_come_and_none_of_them_is_a_call(self, machine: Any, line: bytes) -> None:
        machine.config.write_text("[status]\ndead_letters_warning_count = 9\n")
        (machine.logs / "other.jsonl").write_bytes(line * 3)
        said = status(machine)
        assert "ingest    warning: 3 lines = 0 traces + 0 duplicates" in said
        assert "none of these lines is a call" in said
        assert "→ see prodlensd doctor for what writes calls\n" in said
        assert " 'calls'=0c;1:;;0; " in machine.command("status", "--line").stdout
        with (machine.logs / "other.jsonl").open("ab") as file:
            file.write(a_call())
        assert "none of these lines is a call" not in status(machine)


class TestOnce:
    def sum(self, machine: Any) -> str:
        done = machine.command("run", "--once")
        assert done.returncode == 0
        return str(done.stdout)

    def test_it_says_what_was_new_and_that_nothing_was(self, machine: Any) -> None:
        for name in ("a", "b"):
            path = machine.logs / f"{name}.jsonl"
            path.write_bytes(a_call(ord(name)) + a_call(1000 + ord(name)))
        with (machine.logs / "a.jsonl").open("ab") as file:
            file.write(b"garbage\n")
        assert "4 calls from 2 files, 1 dead letter, $1.00; see prodlensd report\n" == self.sum(
            machine
        )
        assert (
            "nothing new: 4 calls from 2 files are in the ledger; see prodlensd report\n"
            == self.sum(machine)
        )

    def test_it_says_what_was_known(self, machine: Any) -> None:
        (machine.logs / "a.jsonl").write_bytes(a_call(1))
        self.sum(machine)
        (machine.logs / "copy.jsonl").write_bytes(a_call(1) + a_call(2))
        assert "1 call from 1 file, 1 known already, $0.25" in self.sum(machine)

    def test_a_cost_with_calls_without_a_price_is_a_floor(self, machine: Any) -> None:
        unknown = a_call(2, cost_usd=None, attributes={"llm.model_name": "acme/unheard-of"})
        (machine.logs / "a.jsonl").write_bytes(a_call(1) + unknown)
        assert "2 calls from 1 file, ≥ $0.25; see" in self.sum(machine)
        with (machine.logs / "a.jsonl").open("ab") as file:
            file.write(unknown.replace(b"id2", b"id3").replace(b"call2", b"call3"))
        assert "1 call from 1 file, no known price; see" in self.sum(machine)

    def test_with_nothing_to_read_it_says_where_it_looked(self, machine: Any) -> None:
        expected = f"nothing to read in {machine.logs}; prodlensd doctor says what is not wired\n"
        assert expected == self.sum(machine)


class TestBars:
    @pytest.mark.long
    def test_on_a_terminal_long_work_has_a_bar_and_the_sum_stays(self, machine: Any) -> None:
        folder = machine.home / "team"
        folder.mkdir()
        machine.config.write_text(f'[publish]\nurl = "file://{folder}"\n')
        (machine.logs / "a.jsonl").write_bytes(a_call())
        for command, what, said in (
            (("run", "--once"), "reading the logs", "1 call from 1 file, $0.25; see"),
            (("compact",), "writing snapshots", "all snapshots are up to date"),
            (("publish", "--all"), "copying", "1 snapshot copied, "),
            (("reprice",), "pricing again", "0 of 0 calls changed"),
        ):
            shown = on_terminal(*command, TERM="xterm")
            assert what in shown, command
            assert said in shown.rpartition("\x1b[2K")[2], "after the bar was taken away"

    def test_where_there_is_no_terminal_there_is_none(self, machine: Any) -> None:
        (machine.logs / "a.jsonl").write_bytes(a_call())
        done = machine.command("run", "--once")
        assert "reading" not in done.stderr + done.stdout
        assert all(line.startswith("{") for line in done.stderr.splitlines())

    def test_compact_adds_up_what_it_did(self, machine: Any) -> None:
        machine.config.write_text("[parquet]\nenabled = false\n")
        (machine.logs / "a.jsonl").write_bytes(
            a_call(1) + a_call(2, timestamp="2026-01-02T00:00:00Z")
        )
        machine.command("run", "--once")
        machine.config.write_text("[retention]\nstore_days = 1\n")
        lines = machine.command("compact").stdout.splitlines()
        assert 5 == len(lines)
        assert lines[-1].startswith("2 snapshots written, 2 calls, ")
        assert lines[-1].endswith(" kB; 2 days pruned, 2 calls")
