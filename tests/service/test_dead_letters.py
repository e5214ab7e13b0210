"""`dead-letters`: nothing of a refused line steers a terminal, and each line is moved once.

The older version here is one that does not know lines with `"new"` in them.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from prodlensd.model import REASONS
from tests.forked import forked_raw

OLDER_VERSION = """
from prodlensd import formats
from prodlensd.model import BadLine
parse = formats.parse
def parse_known(line):
    if b'"new"' in line:
        raise BadLine("unknown_format", "too new")
    return parse(line)
formats.parse = parse_known
"""

#: Forks one `retry` after the other on a copy of the ledger, the nth killed at its nth statement.
KILLER = """
import json, os, shutil, signal, sys
from itertools import count
from pathlib import Path
from prodlensd.jobs import retrying as dead_letters
from prodlensd.cli import dead_letters as _loaded, main, run as _loaded_too
from prodlensd.ledger import transactions
pristine, folder = map(Path, sys.argv[1:])
dead_letters.BATCH_MAX_LINES = 3
open_writer = transactions.open_writer
for nth in count(1):
    home = folder / str(nth)
    home.mkdir()
    shutil.copy(pristine, home / "prodlens.db")
    os.environ["PRODLENSD_HOME"] = str(home)
    child = os.fork()
    if child == 0:
        seen = count(1)
        def kill(_cursor, _sql, _bindings):
            if next(seen) == nth:
                os.kill(os.getpid(), signal.SIGKILL)
            return True
        def open_watched(path, durability, migrating):
            db = open_writer(path, durability, migrating)
            db.exec_trace = kill
            return db
        transactions.open_writer = open_watched
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        main(["dead-letters", "retry"], standalone_mode=False)
        os._exit(0)
    if os.waitpid(child, 0)[1] != signal.SIGKILL:
        break
"""

HOSTILE = [
    b"not json \x1b]0;owned\x07\x1b[2J\x9b31m",
    "\u009b31m \u202e \u2066 caf\u00e9 \u20ac \x7f\r".encode(),
    # Zeros at its start would be a hole, and no part of it.
    b"?" + bytes(range(32)).replace(b"\n", b"") + b"\xff\xfe\xed\xa0\x80",
    b'["\x1b[31mred"]',
]


def line(number: int, *, ids: bool = True, **more: Any) -> bytes:
    record = {
        "timestamp": f"2026-01-01T00:00:{number % 60:02d}Z",
        "usage": {"input_tokens": 1, "output_tokens": 1},
        "metadata": {"session_id": f"s{number}"},
        "cost_usd": 0.001,
    } | more
    if ids:
        record |= {"id": f"id{number}", "litellm_call_id": f"call{number}"}
    return json.dumps(record).encode() + b"\n"


def append(machine: Any, *lines: bytes, name: str = "a.jsonl") -> None:
    with (machine.logs / name).open("ab", buffering=0) as file:
        file.writelines(lines)


def ingest(machine: Any, *lines: bytes) -> None:
    append(machine, *lines)
    machine.ingest()


def ingest_as_an_older_version(machine: Any, *lines: bytes, name: str = "a.jsonl") -> None:
    append(machine, *lines, name=name)
    machine.ingest(first=OLDER_VERSION)


def raw_output(*arguments: str) -> bytes:
    done = forked_raw("dead-letters", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def listed(machine: Any, *arguments: str) -> Any:
    done = machine.command("dead-letters", "list", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def table(text: str) -> list[list[str]]:
    return [row.split() for row in text.splitlines()]


def check(ledger: Path) -> tuple[int, int]:
    """The counters agree with the rows, and the days are marked; traces and dead letters."""
    db = apsw.Connection(str(ledger))  # to write: it recovers what a killed process left
    try:
        traces, letters = (db.execute(f"SELECT count(*) FROM {t}").get for t in TABLES)
        assert db.execute("SELECT sum(traces), sum(dead_letters) FROM source").get == (
            traces,
            letters,
        )
        tallied = "SELECT total(traces) FROM tally WHERE column = 'cost_source'"
        assert db.execute(tallied).get == traces
        days = "SELECT started_us / 86400000000 FROM trace EXCEPT SELECT day FROM partition"
        assert db.execute(days).get is None
        assert db.pragma("integrity_check") == "ok"
        return traces, letters
    finally:
        db.close()


TABLES = ("trace", "dead_letter")


# Listing


def test_the_newest_is_listed_first_and_the_rest_counted(machine: Any) -> None:
    ingest(machine, b"one\n", line(1), b"[2]\n")
    ingest(machine, b"three\n")
    done = machine.command("dead-letters", "list", "--limit", "2")
    header, newest, older, more = table(done.stdout)
    assert header == ["id", "received", "state", "reason", "length", "path:offset", "detail"]
    assert newest[2:5] == ["open", "invalid_json", "5"]
    assert newest[5] == f"{machine.logs / 'a.jsonl'}:{len(line(1)) + 8}"
    assert older[2:5] == ["open", "not_an_object", "3"]
    assert more[:3] == ["and", "1", "more:"]
    assert "more" not in machine.command("dead-letters", "list").stdout
    assert len(table(machine.command("dead-letters", "list", "--limit", "0").stdout)) == 4


def test_a_program_gets_the_same_keys_when_there_are_none(machine: Any) -> None:
    ingest(machine, line(1))
    empty = listed(machine)
    assert empty == {
        "schema": "prodlensd.dead-letters/1",
        "dead_letters": [],
        "total": 0,
        "more": 0,
        "by_state": {"open": 0, "dismissed": 0, "purged": 0},
    }
    assert machine.command("dead-letters", "list").stdout == "no open dead letters\n"
    ingest(machine, b"one\n", b"two\n")
    some = listed(machine, "--limit", "1")
    assert list(some) == list(empty)
    assert (some["total"], some["more"], len(some["dead_letters"])) == (2, 1, 1)
    assert some["dead_letters"][0] | {"id": "", "received_at": "", "detail": ""} == {
        "id": "",
        "path": str(machine.logs / "a.jsonl"),
        "source_offset": len(line(1)) + 4,
        "length": 3,
        "state": "open",
        "reason": "invalid_json",
        "detail": "",
        "received_at": "",
    }


def test_one_reason_can_be_asked_for(machine: Any) -> None:
    ingest(machine, b"one\n", b"[2]\n", b"three\n")
    assert listed(machine, "--reason", "not_an_object")["total"] == 1
    assert listed(machine, "--reason", "too_long")["dead_letters"] == []
    done = machine.command("dead-letters", "list", "--reason", "too_long")
    assert done.stdout == "no open dead letters of reason too_long\n"


@pytest.mark.parametrize("command", ["list", "export", "retry", "dismiss", "purge"])
def test_an_unknown_reason_is_a_usage_error_that_names_the_known_ones(
    machine: Any, command: str
) -> None:
    done = machine.command("dead-letters", command, "--reason", "because")
    assert done.returncode == 2
    for reason in REASONS:
        assert reason in done.stderr


def test_the_list_shows_twelve_digits_and_any_that_begin_one_id_alone_will_do(
    machine: Any,
) -> None:
    ingest(machine, b"one\n", b"two\n", b"[3]\n")
    first, second, third = machine.query("SELECT lower(hex(key)) FROM dead_letter ORDER BY rowid")
    twin = f"{first[:11]}{'0' if first[11] != '0' else '1'}{second[12:]}"
    writer = apsw.Connection(str(machine.ledger))
    writer.execute(f"UPDATE dead_letter SET key = x'{twin}' WHERE key = x'{second}'")
    writer.close()
    done = machine.command("dead-letters", "list")
    shown = [row[0] for row in table(done.stdout)[1:]]
    assert shown == [third[:12], twin[:12], first[:12]]
    for id_ in (*shown, third[:2], first[:12].upper(), first):
        assert machine.command("dead-letters", "show", id_).returncode == 0
    ambiguous = machine.command("dead-letters", "show", first[:11])
    assert ambiguous.returncode == 1
    assert "more than one dead letter" in ambiguous.stderr


# Hostile bytes


def test_nothing_of_a_line_reaches_the_list(machine: Any) -> None:
    ingest(machine, *(raw + b"\n" for raw in HOSTILE))
    for output in (raw_output("list"), raw_output("list", "--json")):
        for word in (b"owned", b"red", b"31m", b"\x1b", b"\xc2\x9b", b"caf"):
            assert word not in output


def test_nothing_of_a_path_steers_the_terminal(machine: Any) -> None:
    append(machine, b"one\n", name="\x1b]0;owned\x07.jsonl")
    ingest(machine, b"two\n")
    ids = [letter["id"] for letter in listed(machine)["dead_letters"]]
    for output in (raw_output("list"), raw_output("export"), *(raw_output("show", i) for i in ids)):
        assert b"\x1b" not in output
    assert b"owned" in raw_output("list")


def test_a_line_is_shown_escaped_and_written_exactly(machine: Any) -> None:
    ingest(machine, *(raw + b"\n" for raw in HOSTILE))
    letters = listed(machine)["dead_letters"][::-1]
    assert len(letters) == len(HOSTILE)
    for letter, raw in zip(letters, HOSTILE, strict=True):
        assert raw_output("show", letter["id"], "--raw") == raw
        shown = raw_output("show", letter["id"][:20].upper()).decode()
        assert letter["id"] in shown
        assert all(char.isprintable() for char in shown.replace("\n", ""))
    titles = raw_output("show", letters[0]["id"]).decode().splitlines()
    assert titles[-1] == r"not json \x1b]0;owned\x07\x1b[2J\x9b31m"
    marks = raw_output("show", letters[1]["id"]).decode().splitlines()
    assert marks[-1] == r"\xc2\x9b31m \xe2\x80\xae \xe2\x81\xa6 café € \x7f\x0d"


def test_a_terminal_that_does_not_know_a_character_is_no_failure(machine: Any) -> None:
    ingest(machine, "€\n".encode())
    (letter,) = listed(machine)["dead_letters"]
    done = subprocess.run(
        [sys.executable, "-m", "prodlensd", "dead-letters", "show", letter["id"]],
        env=os.environ | {"PYTHONIOENCODING": "latin-1"},
        stdout=subprocess.PIPE,
        check=True,
    )
    assert done.stdout.endswith(b"\\u20ac\n")


def test_a_long_line_is_shown_in_part_unless_all_is_asked_for(machine: Any) -> None:
    raw = b"\x1b[31m" + b"x" * (1 << 20)
    ingest(machine, raw + b"\n")
    (letter,) = listed(machine)["dead_letters"]
    assert letter["length"] == len(raw)
    for arguments, shown, rest in (
        ((), 4096, len(raw) - 4096),
        (("--bytes", "10"), 10, len(raw) - 10),
        (("--bytes", "0"), len(raw), 0),
    ):
        output = raw_output("show", letter["id"], *arguments)
        assert b"\n\\x1b[31m" + b"x" * (shown - 5) + b"\n" in output
        assert (f"\n{rest} bytes more" in output.decode()) == bool(rest)
    assert raw_output("show", letter["id"], "--raw") == raw


def test_of_a_very_long_line_it_says_how_much_was_kept(machine: Any) -> None:
    machine.config.write_text("[logs]\nmax_line_bytes = 1000\n")
    ingest(machine, b"x" * 100_000 + b"\n")
    (letter,) = listed(machine)["dead_letters"]
    assert letter["reason"] == "too_long"
    shown = raw_output("show", letter["id"]).decode()
    assert "100000 bytes, the first 65536 kept" in shown


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("0123456789abcdef", "no dead letter has an id that begins with 0123456789abcdef"),
        ("\x1b[31m", r"'\x1b[31m' is not an id"),
        ("", "'' is not an id"),
        ("0" * 33, "is not an id"),
    ],
)
def test_an_unknown_id_is_said(machine: Any, wrong: str, said: str) -> None:
    ingest(machine, b"one\n")
    done = machine.command("dead-letters", "show", "--", wrong)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stdout == ""


def test_an_export_holds_every_byte_and_is_plain_ascii(machine: Any) -> None:
    ingest(machine, *(raw + b"\n" for raw in HOSTILE))
    output = raw_output("export")
    assert output.isascii()
    assert not any(byte < 32 and byte != 10 for byte in output)
    exported = [json.loads(row) for row in output.splitlines()]
    raws = [
        letter["raw"].encode() if "raw" in letter else base64.b64decode(letter["raw_base64"])
        for letter in exported
    ]
    assert raws == HOSTILE
    assert [("raw" in letter, "raw_base64" in letter) for letter in exported] == [
        (False, True),
        (True, False),
        (False, True),
        (True, False),
    ]
    letters = listed(machine)["dead_letters"][::-1]
    assert [letter | {"raw": 0} for letter in letters] == [
        {key: value for key, value in letter.items() if key != "raw_base64"} | {"raw": 0}
        for letter in exported
    ]
    reasons = Counter(letter["reason"] for letter in exported)
    for reason in REASONS:
        assert len(raw_output("export", "--reason", reason).splitlines()) == reasons[reason]


def test_an_export_nobody_reads_to_its_end_ends_quietly(machine: Any) -> None:
    ingest(machine, *(b"x" * 10_000 + b"\n" for _ in range(100)))
    export = subprocess.Popen(
        [sys.executable, "-m", "prodlensd", "dead-letters", "export"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert export.stdout
    assert export.stderr
    export.stdout.read(100)
    export.stdout.close()
    assert export.stderr.read() == b""
    export.stderr.close()
    assert export.wait(100) == 1


# Retrying


def test_retry_moves_what_can_be_read_now_and_says_so(machine: Any) -> None:
    ingest_as_an_older_version(
        machine,
        line(1),
        line(2, ids=False, new=1),
        b"garbage\n",
        line(3, new=1),
        line(3, new=1),
    )
    dry = machine.command("dead-letters", "retry", "--dry-run")
    assert dry.returncode == 0
    assert table(dry.stdout) == [
        ["reason", "would", "move", "would", "stay"],
        ["invalid_json", "0", "1"],
        ["unknown_format", "3", "0"],
        ["all", "3", "1"],
    ]
    assert check(machine.ledger) == (1, 4)
    done = machine.command("dead-letters", "retry")
    assert done.returncode == 0, done.stderr
    assert table(done.stdout) == [
        ["reason", "moved", "stayed"],
        ["invalid_json", "0", "1"],
        ["unknown_format", "3", "0"],
        ["all", "3", "1"],
        "already in the ledger: 1 of the moved".split(),
    ]
    assert check(machine.ledger) == (3, 1)
    assert machine.query("SELECT lines, traces, duplicates, dead_letters FROM sources") == [
        (5, 3, 1, 1)
    ]
    assert machine.query("SELECT session_id, cost_usd, cost_source FROM traces") == [
        (f"s{n}", 0.001, "gateway") for n in (1, 2, 3)
    ]
    assert ": 3 rows" in machine.command("compact").stdout  # the day's snapshot was behind
    again = machine.command("dead-letters", "retry")
    assert table(again.stdout)[-1] == ["all", "0", "1"]
    assert check(machine.ledger) == (3, 1)


def test_retry_prices_from_the_table_and_by_the_configuration(machine: Any) -> None:
    model = {"llm.model_name": "anthropic/claude-3-opus-20240229"}
    own = {"llm.model_name": "our/model"}
    usage = {"input_tokens": 500, "output_tokens": 300}
    ingest_as_an_older_version(
        machine,
        line(1, new=1, cost_usd=None, attributes=model, usage=usage),
        line(2, new=1, cost_usd=None, attributes=own, usage=usage),
    )
    machine.config.write_text("[pricing]\nfree_providers = ['our']\n")
    assert machine.command("dead-letters", "retry").returncode == 0
    assert machine.query("SELECT cost_usd, cost_source FROM traces ORDER BY session_id") == [
        (0.03, "table"),
        (0.0, "free"),
    ]


def test_retry_can_be_kept_to_one_reason(machine: Any) -> None:
    ingest_as_an_older_version(machine, line(1, new=1), b"garbage\n")
    done = machine.command("dead-letters", "retry", "--reason", "invalid_json")
    assert table(done.stdout)[-1] == ["all", "0", "1"]
    none = machine.command("dead-letters", "retry", "--reason", "too_long")
    assert none.stdout == "no dead letters of reason too_long\n"
    assert machine.command("dead-letters", "retry", "--reason", "unknown_format").returncode == 0
    assert check(machine.ledger) == (1, 1)


@pytest.mark.long
def test_retry_beside_a_running_daemon_loses_and_doubles_nothing(
    machine: Any, wait_until: Callable[..., Any]
) -> None:
    ingest_as_an_older_version(
        machine, *(line(n, ids=n % 2 == 0, new=1) for n in range(3000)), b"garbage\n"
    )
    daemon = machine.start()
    stop = threading.Event()
    written = 0

    def write() -> None:
        nonlocal written
        while not stop.wait(0.001):
            append(machine, *(line(10_000 + written + n, ids=n % 2 == 0) for n in range(20)))
            written += 20

    writer = threading.Thread(target=write)
    writer.start()
    try:
        done = machine.command("dead-letters", "retry")
    finally:
        stop.set()
        writer.join()
    assert done.returncode == 0, done.stderr
    assert table(done.stdout)[-1] == ["all", "3000", "1"]
    wait_until(
        lambda: machine.query("SELECT count(*) FROM traces") == [3000 + written], "all lines"
    )
    assert machine.query("SELECT count(DISTINCT session_id) FROM traces") == [3000 + written]
    assert daemon.poll() is None
    assert check(machine.ledger) == (3000 + written, 1)


@pytest.mark.long
def test_kill_9_at_any_statement_leaves_batches_whole(
    machine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [line(n, ids=n % 2 == 0, new=1) for n in range(5)]
    ingest_as_an_older_version(machine, line(1, ids=False), *lines, lines[0], b"garbage\n")
    ingest_as_an_older_version(machine, line(6, new=1), line(7, ids=False, new=1), name="b.jsonl")
    assert check(machine.ledger) == (1, 9)
    subprocess.run(
        [sys.executable, "-c", KILLER, machine.ledger, tmp_path], check=True, timeout=100
    )
    runs = sorted(int(folder.name) for folder in tmp_path.iterdir() if folder.name.isdigit())
    outcomes = [check(tmp_path / str(nth) / "prodlens.db") for nth in runs]
    assert len(outcomes) > 30
    assert outcomes == sorted(outcomes)  # the later it was killed, the more was done
    # Eight can be read, in batches of three; one of the second batch is a duplicate.
    assert set(outcomes) == {(1, 9), (4, 6), (6, 3), (8, 1)}
    monkeypatch.setenv("PRODLENSD_HOME", str(tmp_path / "40"))
    assert machine.command("dead-letters", "retry").returncode == 0
    assert check(tmp_path / "40" / "prodlens.db") == (8, 1)


# Accepting


ACCEPTING = [("dismiss", "dismissed"), ("purge", "purged")]


def warned_of(machine: Any) -> Any:
    """The dead letters that `status` has something to say of, by reason."""
    return json.loads(machine.command("status", "--json").stdout)["figures"]["dead_letter_reasons"]


def purged_says(length: int) -> list[list[str]]:
    return [f"{length} bytes of them are gone".split()]


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("command", "state"), ACCEPTING)
def test_what_is_accepted_is_said_and_no_longer_warned_of(
    machine: Any, command: str, state: str
) -> None:
    ingest(machine, b"one\n", b"[2]\n", line(1), b"three\n")
    assert warned_of(machine) == {"invalid_json": 2, "not_an_object": 1}
    done = machine.command("dead-letters", command, "--reason", "invalid_json")
    assert done.returncode == 0, done.stderr
    said = [["reason", state], ["invalid_json", "2"], ["all", "2"]]
    assert table(done.stdout) == said + (purged_says(8) if command == "purge" else [])
    assert warned_of(machine) == {"not_an_object": 1}
    assert machine.command("dead-letters", command, "--all").returncode == 0
    assert warned_of(machine) == {}
    assert check(machine.ledger) == (1, 3)
    assert machine.command("verify").returncode == 0
    again = machine.command("dead-letters", command, "--all")
    assert again.stdout == f"no dead letters to {command}\n"


@pytest.mark.parametrize(("command", "state"), ACCEPTING)
def test_some_can_be_chosen_by_their_ids(machine: Any, command: str, state: str) -> None:
    ingest(machine, b"one\n", b"two\n", b"three\n")
    first, second, third = (letter["id"] for letter in listed(machine)["dead_letters"])
    done = machine.command("dead-letters", command, first, third[:20].upper(), third)
    assert table(done.stdout)[-1 - (command == "purge")] == ["all", "2"]
    assert [letter["id"] for letter in listed(machine)["dead_letters"]] == [second]
    accepted = listed(machine, "--state", state)
    assert [letter["id"] for letter in accepted["dead_letters"]] == [first, third]
    assert accepted["by_state"] == {"open": 1, "dismissed": 0, "purged": 0} | {state: 2}


@pytest.mark.parametrize(("command", "_state"), ACCEPTING)
def test_one_unknown_id_and_nothing_is_accepted(machine: Any, command: str, _state: str) -> None:
    ingest(machine, b"one\n")
    (letter,) = listed(machine)["dead_letters"]
    done = machine.command("dead-letters", command, letter["id"], "0123456789abcdef")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no dead letter has an id that begins with 0123456789abcdef" in done.stderr
    assert listed(machine)["total"] == 1


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("command", "_state"), ACCEPTING)
@pytest.mark.parametrize(
    "chosen", [[], ["ab", "--all"], ["ab", "--reason", "too_long"], ["--all", "--reason=too_long"]]
)
def test_nothing_is_accepted_that_nobody_chose(
    machine: Any, command: str, _state: str, chosen: list[str]
) -> None:
    ingest(machine, b"one\n")
    done = machine.command("dead-letters", command, *chosen)
    assert done.returncode == 2
    assert "say which: one or more ids, or --reason, or --all" in done.stderr
    assert listed(machine)["total"] == 1


@pytest.mark.parametrize(("command", "_state"), ACCEPTING)
def test_a_dry_run_counts_and_changes_nothing(machine: Any, command: str, _state: str) -> None:
    ingest(machine, b"one\n", b"[2]\n")
    before = machine.query("SELECT * FROM dead_letter")
    done = machine.command("dead-letters", command, "--all", "--dry-run")
    assert table(done.stdout)[:4] == [
        ["reason", "would", command],
        ["invalid_json", "1"],
        ["not_an_object", "1"],
        ["all", "2"],
    ]
    assert ("6 bytes of them would be gone\n" in done.stdout) == (command == "purge")
    assert machine.query("SELECT * FROM dead_letter") == before


def test_the_list_shows_the_open_ones_and_counts_the_others(machine: Any) -> None:
    ingest(machine, b"one\n", b"two\n", b"three\n", b"four\n", b"[5]\n")
    five, four, three, *_ = (letter["id"] for letter in listed(machine)["dead_letters"])
    assert "--state all" not in machine.command("dead-letters", "list").stdout
    machine.command("dead-letters", "purge", five)
    machine.command("dead-letters", "dismiss", three, four)
    said = machine.command("dead-letters", "list").stdout
    assert said.splitlines()[-1] == "and 2 dismissed, 1 purged: --state all lists them too"
    assert [row[2] for row in table(said)[1:-1]] == ["open", "open"]
    told = table(machine.command("dead-letters", "list", "--state", "all", "--limit", "4").stdout)
    assert [row[2] for row in told[1:5]] == ["purged", "dismissed", "dismissed", "open"]
    assert told[5][:3] == ["and", "1", "more:"]
    assert listed(machine, "--reason", "not_an_object")["by_state"] == {
        "open": 0,
        "dismissed": 0,
        "purged": 1,
    }


def test_a_purged_letter_is_shown_without_its_bytes_and_not_exported(machine: Any) -> None:
    ingest(machine, b"one\n", b"two\n")
    newest, oldest = (letter["id"] for letter in listed(machine)["dead_letters"])
    machine.command("dead-letters", "purge", newest)
    machine.command("dead-letters", "dismiss", oldest)
    shown = machine.command("dead-letters", "show", newest).stdout
    assert ["state", "purged"] in table(shown)
    assert ["length", "3", "bytes"] in table(shown)
    assert shown.endswith("\n\nits bytes were purged\n")
    raw = machine.command("dead-letters", "show", "--raw", newest)
    assert (raw.returncode, raw.stdout, raw.stderr) == (1, "", "Error: its bytes were purged\n")
    exported = [json.loads(row) for row in raw_output("export").splitlines()]
    assert [(letter["raw"], letter["state"]) for letter in exported] == [("one", "dismissed")]


@pytest.mark.long
def test_a_purge_makes_the_ledger_small_again_while_the_daemon_runs(
    machine: Any, wait_until: Callable[..., Any]
) -> None:
    machine.start()
    append(machine, *(b"[%s]\n" % (b"5," * 2500) for _ in range(3000)))
    wait_until(lambda: machine.query("SELECT count(*) FROM dead_letter") == [3000], "the letters")
    done = machine.command("dead-letters", "purge", "--all")
    assert (done.returncode, done.stderr) == (0, "")
    assert machine.ledger.stat().st_size < 1_500_000
    append(machine, line(1))
    wait_until(lambda: machine.query("SELECT count(*) FROM trace") == [1], "the next line")
    assert machine.command("verify").returncode == 0
    assert check(machine.ledger) == (1, 3000)


# When it cannot


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["show", "ab"],
        ["export"],
        ["retry"],
        ["retry", "--dry-run"],
        ["dismiss", "--all"],
        ["purge", "--all"],
        ["purge", "--all", "--dry-run"],
    ],
)
def test_without_a_ledger_it_says_what_compact_says(machine: Any, arguments: list[str]) -> None:
    compact = machine.command("compact")
    done = machine.command("dead-letters", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == compact.stderr
    assert not machine.ledger.exists()


@pytest.mark.parametrize("arguments", [["retry"], ["dismiss", "--all"], ["purge", "--all"]])
def test_it_gives_way_to_whoever_holds_the_ledger(machine: Any, arguments: list[str]) -> None:
    ingest_as_an_older_version(machine, line(1, new=1))
    holder = apsw.Connection(str(machine.ledger))
    holder.execute("BEGIN IMMEDIATE")
    try:
        done = machine.command("dead-letters", *arguments)
        assert done.returncode == 75
        assert "locked by another program" in done.stderr
        assert machine.command("dead-letters", "list").returncode == 0
    finally:
        holder.close()
    assert check(machine.ledger) == (0, 1)


@pytest.mark.parametrize(
    "arguments", [["list"], ["show", "ab"], ["export"], ["retry"], ["dismiss", "--all"]]
)
def test_a_bad_configuration_ends_it(machine: Any, arguments: list[str]) -> None:
    machine.config.write_text("not toml [")
    assert machine.command("dead-letters", *arguments).returncode == 78


@pytest.mark.parametrize("name", ["list", "show", "export", "retry", "dismiss", "purge"])
def test_each_explains_itself_and_takes_a_configuration(machine: Any, name: str) -> None:
    done = machine.command("dead-letters", name, "--help")
    assert done.returncode == 0
    assert "-c, --config FILE" in done.stdout
