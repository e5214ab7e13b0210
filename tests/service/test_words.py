"""What is typed, and what is said: what was meant, or what to do."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from click.testing import CliRunner, Result

from prodlensd.cli import COMMANDS, GROUPS, main
from prodlensd.cli.typed import MEANT, Group
from prodlensd.config import Settings
from tests.service.another_user import as_nobody, home_for_all

TERMINAL_CELLS = 80


def run(typed: str) -> Result:
    return CliRunner().invoke(main, shlex.split(typed))


def call(number: int, **more: Any) -> str:
    metadata = {"developer_id": "zoe@example.com", "repo": "acme/shop", "team": "platform"}
    return json.dumps(
        {
            "timestamp": f"2026-01-01T00:00:0{number}Z",
            "attributes": {"llm.model_name": "anthropic/claude-sonnet-4-5"},
            "usage": {"input_tokens": 10, "output_tokens": 1},
            "metadata": metadata | {"session_id": "refactor-billing", "tags": ["nightly"]},
        }
        | more
    )


# Commands, options and values


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        # commands
        ("reprt", "No such command 'reprt'; did you mean report, reprice?"),
        ("statsu", "No such command 'statsu'; did you mean status?"),
        ("dead", "No such command 'dead'; did you mean dead-letters?"),
        ("Report", "No such command 'Report'; did you mean report?"),
        ("frobnicate", "No such command 'frobnicate'"),
        ("prices shw", "No such command 'shw'; did you mean show?"),
        ("dead-letters lst", "No such command 'lst'; did you mean list?"),
        ("help reprt", "No such command 'reprt'; did you mean report, reprice?"),
        ("help service shw", "No such command 'shw'; did you mean show?"),
        # words of other programs
        (
            "start",
            "No such command 'start' → prodlensd run, or as a service: prodlensd service install",
        ),
        ("stop", "No such command 'stop' → prodlensd service show says how"),
        ("logs", "No such command 'logs' → prodlensd service show says how"),
        ("daily", "No such command 'daily' → prodlensd report --by day"),
        ("service status", "No such command 'status' → prodlensd service show"),
        # words in the place of options
        ("report daily", "Got unexpected extra argument 'daily' → --by day"),
        ("report models", "Got unexpected extra argument 'models' → --by model"),
        ("report last-week", "Got unexpected extra argument 'last-week' → --since last-week"),
        ("report whatever", "Got unexpected extra argument 'whatever'"),
        # values
        ("report --by dev", "--by: there is no 'dev'; did you mean developer?"),
        ("report --by developer,modl", "--by: there is no 'modl'; did you mean model?"),
        ("report --columns cst", "--columns: there is no 'cst'; did you mean cost?"),
        (
            "report --sort nam",
            "Invalid value for '--sort': there is no 'nam'; did you mean name?",
        ),
        (
            "report --format jsn",
            "Invalid value for '--format': there is no 'jsn'; did you mean json?",
        ),
        (
            "reprice --source tabel",
            "Invalid value for '--source': there is no 'tabel'; did you mean table?",
        ),
        (
            "dead-letters list --reason utf8",
            "Invalid value for '--reason': there is no 'utf8'; did you mean invalid_utf8?",
        ),
        ("report --since yestreday", "--since: 'yestreday' is not a time; did you mean yesterday?"),
        (
            "report --until yesterday --since today",
            "--until yesterday ends before --since today begins",
        ),
        (
            "report --timezone Berlin",
            "--timezone: no time zone 'Berlin' is known here; did you mean Europe/Berlin?",
        ),
        (
            "report --timezone US/Pacfic",
            "--timezone: no time zone 'US/Pacfic' is known here; did you mean US/Pacific?",
        ),
    ],
)
def test_a_mistake_at_the_command_line_is_answered_with_what_was_meant(
    typed: str, said: str
) -> None:
    done = run(typed)
    assert (2, "") == (done.exit_code, done.stdout)
    assert f"Error: {said}" == done.stderr.splitlines()[-1]


@pytest.mark.parametrize("path", MEANT)
def test_what_stands_for_a_word_of_another_program_is_no_command_of_ours(path: str) -> None:
    assert MEANT[path] in run(path).stderr
    for command in re.findall(r"prodlensd ([a-z]+(?: install| show)?)", MEANT[path]):
        assert 0 == run(f"help {command}").exit_code


@pytest.mark.parametrize("typed", ["help report", "help prices show", "help"])
def test_help_says_what_the_option_says(typed: str) -> None:
    done = run(typed)
    assert 0 == done.exit_code
    assert run(f"{typed.removeprefix('help')} --help").stdout == done.stdout


def test_report_takes_json_as_other_commands_do(machine: Any) -> None:
    (machine.logs / "a.jsonl").write_text(call(1) + "\n")
    assert 0 == machine.command("run", "--once").returncode
    done = run("report --json --since always")
    assert "prodlensd.report/1" == json.loads(done.stdout)["schema"]
    assert run("report --format json --since always").stdout == done.stdout
    assert done.stdout != run("report --since always").stdout
    assert 0 == run("report --since 1w").exit_code


# Help


def test_help_names_every_command_once_in_groups_that_fit_a_terminal() -> None:
    lines = run("--help").stdout.splitlines()
    assert max(map(len, lines)) <= TERMINAL_CELLS
    at = -1
    for title, commands in GROUPS.items():
        at = lines.index(f"{title}:", at + 1)
        for number, (name, line) in enumerate(commands.items(), start=1):
            assert [name, *line.split()] == lines[at + number].split()
    assert {name for commands in GROUPS.values() for name in commands} == COMMANDS.keys()


@pytest.mark.parametrize("name", ["prices", "dead-letters", "service"])
def test_each_line_about_a_subcommand_is_whole(name: str) -> None:
    group = main.get_command(main.make_context("prodlensd", [], resilient_parsing=True), name)
    assert isinstance(group, Group)
    listed = run(f"{name} --help").stdout.partition("Commands:\n")[2].splitlines()
    assert sorted(group.commands) == [line.split()[0] for line in listed]
    for line in listed:
        assert line.endswith((".", "…"))
        assert not line.endswith("...")


# The configuration


def choices() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every key of the configuration that has one of some words."""
    for table in msgspec.structs.fields(Settings):
        for field in getattr(table.type, "__struct_fields__", ()) and msgspec.structs.fields(
            table.type
        ):
            words = get_args(field.type)
            if words and all(isinstance(word, str) for word in words):
                yield f"{table.name}.{field.name}", words


CHOICES = dict(choices())


def test_there_are_choices_in_the_configuration() -> None:
    assert {"pricing.prefer", "store.durability", "log.level"} <= CHOICES.keys()


@pytest.mark.parametrize("key", CHOICES)
def test_a_misspelled_choice_in_the_configuration_is_answered_with_what_was_meant(
    machine: Any, key: str
) -> None:
    for word in CHOICES[key]:
        typed = word[:-3] + word[-2:]
        machine.config.write_text(f'{key} = "{typed}"\n')
        done = run("report")
        first, last = (json.dumps(CHOICES[key][place]) for place in (0, -1))
        assert 78 == done.exit_code
        assert f"{key}: expected {first}" in done.stderr
        assert f'or {last}, found "{typed}"; did you mean "{word}"? (' in done.stderr


def test_the_gatway_is_the_gateway(machine: Any) -> None:
    machine.config.write_text('pricing.prefer = "gatway"\n')
    said = 'pricing.prefer: expected "gateway" or "table", found "gatway"; did you mean "gateway"?'
    assert said in run("report").stderr


# Names in the ledger


#: Filters that let nothing pass → what is said of them.
NAMES: list[tuple[str, list[str]]] = [
    ("--developer zo", ["--developer zo: no call has this developer; did you mean {zoe}?"]),
    ("--developer ZOE@example.com", ["--developer ZOE@example.com: {no} developer{zoe_}"]),
    ("--team platfrom", ["--team platfrom: {no} team; did you mean platform?"]),
    ("--model sonet", ["--model sonet: {no} model; did you mean {sonnet}?"]),
    ("--model claude-sonnet-4-5", ["--model claude-sonnet-4-5: {no} model{sonnet_}"]),
    ("--provider antropic", ["--provider antropic: {no} provider; did you mean anthropic?"]),
    ("--repo shop", ["--repo shop: {no} repo; did you mean acme/shop?"]),
    ("--session billing", ["--session billing: {no} session; did you mean refactor-billing?"]),
    ("--tag nigtly", ["--tag nigtly: {no} tag; did you mean nightly?"]),
    ("--status sucess", ["--status sucess: {no} status; did you mean success?"]),
    ("--host elsewhere", ["--host elsewhere: {no} host"]),
    ("--team \udcff", [r"--team \udcff: {no} team"]),  # a byte that is no text
    (
        "--developer zoe@example.com --team platfrom --repo nothing",
        ["--team platfrom: {no} team; did you mean platform?", "--repo nothing: {no} repo"],
    ),
    ("--developer zoe@example.com --since 2026-01-02", []),  # the name is right
    ("--developer 'x*' --team '(none)'", []),
]


@pytest.mark.long
def test_a_filter_that_nothing_passes_is_answered_with_the_names_there_are(machine: Any) -> None:
    (machine.logs / "a.jsonl").write_text(f"{call(1)}\n{call(2)}\n")
    assert 0 == machine.command("run", "--once").returncode
    words = {"no": "no call has this", "zoe": "zoe@example.com"}
    words |= {"sonnet": "anthropic/claude-sonnet-4-5"}
    words |= {f"{name}_": f"; did you mean {words[name]}?" for name in ("zoe", "sonnet")}
    for typed, said in NAMES:
        since = "" if "--since" in typed else "--since always"
        done = run(f"report {since} {typed}")
        assert (0, True) == (done.exit_code, done.stdout.startswith("no calls pass the filters"))
        assert [line.format(**words) for line in said] == done.stderr.splitlines()
        as_json = run(f"report --json {since} {typed}")
        assert 0 == json.loads(as_json.stdout)["total"]["calls"]
        assert done.stderr == as_json.stderr


def test_a_hostile_name_that_may_be_meant_cannot_steer_the_terminal(machine: Any) -> None:
    hostile = call(1, metadata={"developer_id": "zoe\x1b[31m", "repo": "acme/shop"})
    (machine.logs / "a.jsonl").write_text(hostile + "\n")
    assert 0 == machine.command("run", "--once").returncode
    said = run("report --since always --developer zo").stderr
    assert "did you mean zoe\\x1b[31m?" in said
    assert said.isascii()
    assert "\x1b" not in said


# What is in the way on this machine


def test_a_folder_that_cannot_be_made_for_the_ledger_is_said_with_what_to_do(
    machine: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    machine.config.write_text(f'store.path = "{tmp_path}/file/prodlens.db"\n')
    done = machine.command("run")
    assert 1 == done.returncode
    assert (
        f"Error: store.path: cannot make the folder {tmp_path}/file: File exists; "
        "set store.path or $PRODLENSD_HOME\n"
    ) == done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
class TestAnotherUser:
    @pytest.fixture
    def home(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        assert not home.exists()
        with home_for_all(monkeypatch) as home_of_all:
            yield home_of_all

    @pytest.fixture
    def config(self, machine: Any) -> Path:
        (machine.logs / "a.jsonl").write_text(call(1) + "\n")
        assert 0 == machine.command("run", "--once").returncode
        path: Path = machine.home.with_name("config.toml")
        path.write_text(f'store.path = "{machine.ledger}"\nparquet.enabled = false\n')
        machine.home.chmod(0o755)
        return path

    @pytest.mark.long
    def test_who_may_not_read_the_ledger_is_told_so_by_every_command(
        self, machine: Any, config: Path
    ) -> None:
        said = f"{machine.ledger}: this user may not read it"
        remedy = "ask as the user who runs the daemon, or as root"
        for mode in (0o755, 0o700):  # the file is closed to us; so is its folder
            machine.home.chmod(mode)
            for command in (["report"], ["verify"], []):
                done = (
                    as_nobody("-c", str(config))
                    if not command
                    else as_nobody(*command, "-c", str(config))
                )
                assert (1, "") == (done.returncode, done.stdout)
                assert f"Error: {said}; {remedy}\n" == done.stderr
            status = as_nobody("status", "-c", str(config)).stdout
            assert said in status
            assert remedy in status

    @pytest.mark.long
    def test_logs_in_a_folder_that_may_not_be_listed_are_not_said_to_be_gone(
        self, machine: Any, config: Path
    ) -> None:
        machine.ledger.chmod(0o644)
        for closed in (machine.logs, machine.home):
            machine.logs.chmod(0o755)
            closed.chmod(0o711 if closed == machine.home else 0o700)
            done = as_nobody("verify", "-c", str(config))
            if closed == machine.logs:
                assert 1 == done.returncode
                assert (
                    "1 could not be read: Permission denied: it belongs to 0:0, mode 0700"
                    in done.stdout
                )
                assert "not on disk" not in done.stdout
                found = json.loads(as_nobody("verify", "--json", "-c", str(config)).stdout)
                (unread,) = found["unread"]
                assert ("unreadable", "Permission denied") == (
                    unread["reason"],
                    unread["fault"].partition(":")[0],
                )
            else:
                assert 0 == done.returncode, done.stdout

    @pytest.mark.long
    def test_a_lock_that_may_not_be_opened_names_its_folder_and_whose_that_is(
        self, machine: Any, config: Path
    ) -> None:
        done = as_nobody("run", "--once", "-c", str(config))
        assert 1 == done.returncode
        cannot = f"Error: store.path: cannot write in {machine.home}: Permission denied: it belongs"
        assert done.stderr.startswith(cannot)
