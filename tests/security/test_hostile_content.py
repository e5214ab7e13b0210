"""Nothing that anybody writes into a log, a file's name or the configuration steers anything."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import time
from pathlib import Path
from typing import Any, Final

import apsw
import click
import pytest
from click.testing import CliRunner

from prodlensd.answers.questions import BY
from prodlensd.cli import main
from tests.security.hostile import (
    CANARY,
    COMMAND,
    FORMATS,
    HOSTILE,
    NAMES,
    TEXTS,
    House,
    said_harmlessly,
    toml,
    trace_line,
    written,
)

pytestmark = pytest.mark.xdist_group("hostile content")  # whose ledger is made once
_FOREIGN: Final = b"\x28\xb5\x2f\xfd0123456789\n"  # how files of zstd begin
_DECLARED: Final = [
    *("[logs]", "recursive = true", "rescan_interval_s = 0.1"),
    *("[pricing]", f"free_providers = [{', '.join(map(toml, TEXTS.values()))}]"),
]


def overrides() -> list[str]:
    """Prices of hostile models."""
    prices = "input_usd_per_million = 1\noutput_usd_per_million = 2"
    return [f"[[pricing.override]]\nmodel = {toml(text)}\n{prices}" for text in TEXTS.values()]


def fill(house: House) -> None:
    """Log files of hostile names in folders of hostile names, full of hostile lines."""
    house.logs.mkdir(parents=True)
    house.config.write_text("\n".join([*_DECLARED, *overrides()]))
    number = 0
    for name, text in HOSTILE.items():
        folder = house.logs / (f"in {text}" if name in NAMES else name)
        folder.mkdir()
        with (folder / f"{text if name in NAMES else name}.jsonl").open("wb") as file:
            for form in FORMATS:
                number += 1
                file.write(written(form(number, text)))
            number += 1
            ids = {"id": f"i{number}", "litellm_call_id": f"c{number}"}
            model = {"attributes": {"llm.model_name": text}}
            file.write(written(trace_line(number, "plain", **ids, **model)))
            raw = text.encode("utf-8", "surrogatepass").replace(b"\n", b" ")
            file.write(raw + b"\n" + b'{"timestamp": "' + raw + b'", "usage": {}}\n[]\n{}\n')
        if name in NAMES:
            (folder / f"foreign {text}.jsonl").write_bytes(_FOREIGN)
    Path(os.fsdecode(os.fsencode(house.logs) + b"/\xff\x1b]0;x\x07.jsonl")).write_text("x\n")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[House, bytes]:
    """A house with everything hostile in its ledger, and what the daemon said meanwhile."""
    house = House(tmp_path_factory.mktemp("hostile") / "home")
    fill(house)
    first = house.ingest()
    for name, text in NAMES.items():  # what is rewritten is said, by name
        del name
        file = house.logs / f"in {text}" / f"{text}.jsonl"
        file.write_bytes(b"{}\n" + file.read_bytes())
    return house, first + house.ingest()


def run(house: House, *arguments: str) -> Any:
    """The command, called in this process; nothing but an exit may come of it."""
    found = CliRunner().invoke(main, arguments, env=house.environment)
    if not isinstance(found.exception, SystemExit | None):
        raise found.exception
    return found


def forms(*names: str) -> list[str]:
    """The choices of a command's option `--format`."""
    command: Any = main
    for name in names:
        command = command.get_command(click.Context(command), name)
    return next(list(p.type.choices) for p in command.params if p.name == "form")


# What is said ------------------------------------------------------------------------------------

OUTPUTS: Final[list[tuple[str, ...]]] = [
    ("status",),
    ("status", "--json"),
    ("verify",),
    ("verify", "--json"),
    ("compact",),
    ("prices", "check"),
    ("prices", "check", "--json"),
    ("reprice", "--dry-run", "--source", "unpriced,override,free,gateway,table"),
    ("reprice", "--dry-run", "--source", "unpriced,override,free,gateway,table", "--json"),
    ("dead-letters", "list"),
    ("dead-letters", "list", "--limit", "0"),
    ("dead-letters", "list", "--json"),
    ("dead-letters", "export"),
    ("dead-letters", "retry", "--dry-run"),
]
REPORTS: Final = [
    ("report", "--since", "always", "--by", by, "--format", form)
    for form in forms("report")
    for by in (*BY, "developer,session", "tag,model")
    if form not in ("parquet", "html")  # the one is no text, the other has tests of its own
]


@pytest.mark.sampled(63)
@pytest.mark.parametrize("arguments", REPORTS, ids=" ".join)
def test_no_report_of_a_hostile_ledger_steers_a_terminal(
    told: tuple[House, bytes], arguments: tuple[str, ...]
) -> None:
    found = run(told[0], *arguments)
    said = said_harmlessly(found.stdout_bytes.replace(b"\r\n", b"\n"))
    assert said
    said_harmlessly(found.stderr_bytes)
    if "json" in arguments:
        assert json.loads(said)["schema"].startswith("prodlensd.")


@pytest.mark.sampled(3)
@pytest.mark.parametrize("arguments", OUTPUTS, ids=" ".join)
def test_no_output_of_a_hostile_ledger_steers_a_terminal(
    told: tuple[House, bytes], arguments: tuple[str, ...]
) -> None:
    found = run(told[0], *arguments)
    said = said_harmlessly(found.stdout_bytes.replace(b"\r\n", b"\n"))
    assert said
    said_harmlessly(found.stderr_bytes)
    if "--json" in arguments:
        assert json.loads(said)["schema"].startswith("prodlensd.")
    if "export" in arguments:
        assert all(json.loads(line)["id"] for line in said.splitlines())


@pytest.mark.long
@pytest.mark.parametrize("number", [20, pytest.param(60, marks=pytest.mark.long)])
def test_each_dead_letter_is_shown_and_steers_nothing(
    told: tuple[House, bytes], number: int
) -> None:
    listed = run(told[0], "dead-letters", "list", "--json", "--limit", "0").stdout
    letters = json.loads(listed)["dead_letters"]
    assert len(letters) > 3 * len(HOSTILE)
    for letter in letters[:: max(1, len(letters) // number)]:
        said_harmlessly(run(told[0], "dead-letters", "show", letter["id"]).stdout_bytes)


def test_what_the_daemon_says_is_one_object_a_line_and_forges_nothing(
    told: tuple[House, bytes],
) -> None:
    said = said_harmlessly(told[1])
    events = [json.loads(line)["event"] for line in said.splitlines()]
    assert set(events) == {
        "beginning a new ledger",
        "started",
        "cannot read; will keep trying",
        "reading again from the start: known lines are not counted twice",
        "stopped",
    }
    assert events.count("stopped") == events.count("started") == 2
    assert len(events) > len(NAMES)


@pytest.mark.long
def test_on_a_terminal_what_the_daemon_says_steers_nothing(house: House) -> None:
    fill(house)
    ours, theirs = pty.openpty()
    daemon = subprocess.Popen(
        [*COMMAND, "run", "--once"],
        # A terminal that can take no progress bar, which steers it in a way of its own.
        env=house.environment | {"NO_COLOR": "1", "TERM": "dumb"},
        cwd=house.work,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    said = b""
    try:
        while block := _read(ours):
            said += block
    finally:
        os.close(ours)
    assert daemon.wait(100) == 0
    text = said_harmlessly(said.replace(b"\r\n", b"\n"))
    # Files that cannot be read for the same reason are said in one line, and one of them named.
    assert 0 < text.count("cannot read; will keep trying") < len(NAMES)
    assert f"(and {len(NAMES) - 1} more)" in text


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that the other side is closed
        return b""


@pytest.mark.long
def test_what_a_damaged_ledger_says_of_hostile_paths_steers_nothing(house: House) -> None:
    fill(house)
    house.ingest()
    db = apsw.Connection(str(house.ledger))
    db.execute("UPDATE source SET lines = lines + 1, blanks = blanks + 1")
    db.execute("DELETE FROM dead_letter")
    db.close()
    for form in ((), ("--json",)):
        found = run(house, "verify", *form)
        assert found.exit_code == 1
        assert "differences" in said_harmlessly(found.stdout_bytes)


@pytest.mark.sampled(6)
@pytest.mark.parametrize("name", ["title", "bidi", "sql", "format", "c1"])
def test_a_hostile_model_is_asked_for_and_steers_nothing(house: House, name: str) -> None:
    text = HOSTILE[name]
    for form in ((), ("--json",)):
        found = run(house, "prices", "show", text, "--provider", text, "--tier", text, *form)
        assert found.exit_code == 1
        assert "unpriced" in said_harmlessly(found.stdout_bytes)


def test_no_metric_holds_what_a_log_line_says(told: tuple[House, bytes]) -> None:
    from prodlensd.answers import metrics

    now_us = time.time_ns() // 1000
    text = metrics.exposition(told[0].ledger, now_us=now_us, stalled_s=30).decode()
    said_harmlessly(text.encode())
    labels = set(re.findall(r'="([^"]*)"', text))
    assert {"gateway", "invalid_json"} < labels
    assert {label for label in labels if not re.fullmatch(r"[a-z_0-9.]+|\+Inf", label)} == set()
    assert not {"plain", "red", "owned", "forged"} & labels


# What is done ------------------------------------------------------------------------------------


def test_sql_shell_and_format_strings_are_nothing_but_text(told: tuple[House, bytes]) -> None:
    house, _ = told
    db = apsw.Connection(str(house.ledger), flags=apsw.SQLITE_OPEN_READONLY)
    models = {model for (model,) in db.execute("SELECT model FROM traces")}
    paths = {path for (path,) in db.execute("SELECT path FROM sources")}
    db.close()
    for text in (HOSTILE["sql"], HOSTILE["shell"], HOSTILE["format"], HOSTILE["glob"]):
        assert text in models
    assert str(house.logs / f"in {HOSTILE['sql']}" / f"{HOSTILE['sql']}.jsonl") in paths
    verdict = json.loads(run(house, "verify", "--json").stdout)
    assert verdict["state"] == "complete"
    assert not list(house.work.iterdir())
    assert not [*house.home.rglob("pwned*"), *house.home.parent.glob("pwned*")]


def test_no_value_from_a_line_becomes_a_path(told: tuple[House, bytes]) -> None:
    house, _ = told
    beside = {path.name for path in house.home.iterdir()}
    beside -= {"prodlens.db-wal", "prodlens.db-shm"}  # of who reads it
    assert beside == {"logs", "parquet", "prodlens.db", "prodlens.db.lock"}
    for path in (house.home / "parquet").rglob("*"):
        name = str(path.relative_to(house.home / "parquet"))
        assert re.fullmatch(
            r"\.prodlensd\.lock|event_date=\d{4}-\d\d-\d\d(/[\w.-]+\.parquet)?", name
        )


# Errors ------------------------------------------------------------------------------------------

BAD: Final = {
    "host": "host = {0}",
    "model": "[[pricing.override]]\nmodel = {0}",
    "key": "{0} = 1",
    "table": "[{0}]",
    "number": "[store]\nbatch_max_lines = {0}",
    "choice": "[log]\nlevel = {0}",
    "include": "[logs]\ninclude = [{0}, 'a/b']",
    "prices": "[pricing]\nlitellm_prices = {0}",
    "store": "[store]\npath = {0}",
    "store folder": "[store]\npath = '/dev/null/' {0}",
}


@pytest.mark.parametrize("where", BAD)
@pytest.mark.parametrize("name", ["title", "bidi", "c1", "syslog", "return", "path", "format"])
def test_an_error_quotes_the_configuration_harmlessly(house: House, where: str, name: str) -> None:
    house.config.write_text(BAD[where].format(toml(HOSTILE[name])))
    for arguments in (("status", "--json"), ("report",), ("compact",), ("prices", "check")):
        found = run(house, *arguments)
        assert found.exit_code != 0
        said_harmlessly(found.stderr_bytes)
        assert said_harmlessly(found.stdout_bytes + found.stderr_bytes)


@pytest.mark.parametrize("name", NAMES)
def test_an_error_quotes_a_path_harmlessly(house: House, name: str) -> None:
    home = str(house.home / NAMES[name])
    for arguments in (
        ("init",),
        ("status",),
        ("status", "--json"),
        ("report",),
        ("verify",),
        ("compact",),
        ("dead-letters", "list"),
        ("dead-letters", "show", NAMES[name]),
        ("report", "--by", NAMES[name]),
        ("report", "--since", NAMES[name]),
        ("report", "--timezone", NAMES[name]),
        ("report", "--columns", NAMES[name]),
        ("report", "--developer", NAMES[name]),
        ("report", "--sort", NAMES[name]),
        ("report", "-o", NAMES[name]),
        ("status", "--config", NAMES[name]),
        ("reprice", "--source", NAMES[name]),
        ("litellm-callback", "--install", "/dev/null/" + NAMES[name]),
        ("init",),  # it is there already
        ("init", "--proxy", f"{home}/proxy"),
        ("litellm-callback", "--install", f"{home}/proxy"),
    ):
        found = CliRunner().invoke(main, arguments, env={"PRODLENSD_HOME": home})
        assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
        assert said_harmlessly(found.stdout_bytes + found.stderr_bytes)


@pytest.mark.long
def test_a_bug_says_a_hostile_path_harmlessly_and_no_secret(house: House, wait_until: Any) -> None:
    fill(house)
    house.environment |= {"OPENAI_API_KEY": CANARY, "LITELLM_MASTER_KEY": CANARY}
    with house.popen("run", stderr=subprocess.PIPE) as daemon:
        try:
            wait_until(lambda: _phase(house) == "running", "the daemon's first heartbeat")
            db = apsw.Connection(str(house.ledger))
            db.set_busy_timeout(10_000)
            db.execute("UPDATE source SET offset = offset + 1")  # what cannot be
            db.close()
            for text in NAMES.values():
                with (house.logs / f"in {text}" / f"{text}.jsonl").open("ab") as file:
                    file.write(b"{}\n")
            said = daemon.communicate(timeout=100)[1]
        finally:
            daemon.kill()
    assert daemon.returncode == 1
    assert b"AssertionError" in said
    assert CANARY.encode() not in said
    said_harmlessly(said)


def _phase(house: House) -> str | None:
    try:
        db = apsw.Connection(str(house.ledger), flags=apsw.SQLITE_OPEN_READONLY)
    except apsw.CantOpenError:
        return None
    try:
        return next((str(phase) for (phase,) in db.execute("SELECT phase FROM daemon")), None)
    except apsw.SQLError:
        return None
    finally:
        db.close()


def test_a_folder_whose_name_is_no_text_and_that_cannot_be_listed_stops_nothing(
    house: House,
) -> None:
    house.logs.mkdir(parents=True)
    house.config.write_text("[logs]\nrecursive = true\n")
    (house.logs / "a.jsonl").write_bytes(written(trace_line(1, "x")))
    before = os.getcwd()  # noqa: PTH109 - to come back from where no path leads
    os.chdir(house.logs)
    try:  # deeper than any path can say
        for _ in range(20):
            os.mkdir(b"\xff" * 250)  # noqa: PTH102
            os.chdir(b"\xff" * 250)
    finally:
        os.chdir(before)
    done = house.command("run", "--once")
    assert done.returncode == 0, done.stderr
    assert "File name too long" in said_harmlessly(done.stderr)
    assert "File name too long" in said_harmlessly(house.command("status").stdout)
