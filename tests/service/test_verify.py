"""`verify` on ledgers that hold, and on ledgers with one thing wrong, made on purpose."""

from __future__ import annotations

import gzip
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pyarrow.parquet as pq
import pytest

KEYS = {
    *("schema", "state", "sources", "reread", "unread", "totals", "open_gaps", "known_lost_bytes"),
    *("snapshots", "snapshots_due", "differences", "more_differences", "passed_over"),
}
MAX_LINE_BYTES = 4000


def line(number: int, *, ids: bool = True, **more: Any) -> bytes:
    record: dict[str, Any] = {
        "timestamp": f"2026-01-{1 + number // 10:02d}T00:00:{number:02d}Z",
        "usage": {"input_tokens": 1, "output_tokens": number},
        "metadata": {"session_id": f"s{number:02d}"},
        "cost_usd": 0.001 * number,
    } | more
    if ids:
        record |= {"id": f"id{number:02d}", "litellm_call_id": f"call{number:02d}"}
    return json.dumps(record).encode() + b"\n"


#: One line of every kind: with and without ids, a duplicate, dead letters, blanks, a long one.
LINES = [
    b"\xef\xbb\xbf" + line(1),
    line(2, ids=False).replace(b"\n", b"\r\n"),
    line(2, ids=False).replace(b"\n", b"\r\n"),
    b"\n",
    b"garbage\n",
    line(3),
    line(3),
    b" \r\n",
    line(4, ids=False),
    b"x" * MAX_LINE_BYTES * 2 + b"\n",
    b"garbage\n",
    *(line(number, ids=number % 3 > 0) for number in range(5, 25)),
]
OFFSETS = [sum(map(len, LINES[:n])) for n in range(len(LINES) + 1)]


def append(machine: Any, name: str, *lines: bytes) -> Path:
    path: Path = machine.logs / name
    with path.open("ab") as file:
        file.write(b"".join(lines))
    return path


def verify(machine: Any, *options: str) -> tuple[int, dict[str, Any]]:
    done = machine.command("verify", "--json", *options)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def damage(machine: Any, sql: str) -> None:
    with apsw.Connection(str(machine.ledger)) as db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        db.execute(sql)
        assert db.changes() == 1


def differences(machine: Any) -> list[tuple[str, int | None, str, str, str]]:
    """What `verify` finds wrong: file name, offset, what, expected, found."""
    code, found = verify(machine)
    assert (code, found["state"]) == (1, "broken")
    assert found["differences"]
    keys = ("offset", "what", "expected", "found")
    return [(Path(d["path"]).name, *(d[k] for k in keys)) for d in found["differences"]]


@pytest.fixture
def ledger(machine: Any) -> Any:
    """A machine whose ledger holds, with everything in it that there can be."""
    machine.config.write_text(f"host = 'laptop'\n[logs]\nmax_line_bytes = {MAX_LINE_BYTES}\n")
    append(machine, "a.jsonl", *LINES)
    append(machine, "b.jsonl", line(3), line(30), line(31, ids=False))
    (machine.logs / "c.jsonl.gz").write_bytes(gzip.compress(line(32) + line(33, ids=False)))
    machine.ingest()
    assert machine.query("SELECT count(*), sum(duplicates), sum(blanks) FROM sources") == [
        (3, 2, 2)
    ]
    assert machine.query("SELECT count(*) FROM dead_letters") == [3]
    return machine


def test_a_ledger_that_holds_is_proven_complete(ledger: Any) -> None:
    code, found = verify(ledger)
    assert (code, found["state"], found["differences"]) == (0, "complete", [])
    assert (found["sources"], found["reread"], found["unread"]) == (3, 3, [])
    assert (found["snapshots"], found["snapshots_due"]) == (4, 0)
    assert list(found["totals"].values()) == [len(LINES) + 5, 29, 2, 3, 2, 34, 0]


def test_it_says_so_to_people_as_well(ledger: Any) -> None:
    done = ledger.command("verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 of 3 read again" in done.stdout
    assert "proven complete" in done.stdout.splitlines()[-1]
    done = ledger.command("verify", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_empty_ledger_holds_and_has_the_same_keys(machine: Any) -> None:
    done = machine.command("verify")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no ledger" in done.stderr
    machine.ingest()
    code, empty = verify(machine)
    assert code == 0
    assert empty["schema"] == "prodlensd.verify/1"
    assert set(empty) == KEYS
    append(machine, "a.jsonl", *LINES)
    machine.ingest()
    full = verify(machine)[1]
    assert set(full) == KEYS
    assert full["totals"].keys() == empty["totals"].keys()


def test_usage_and_configuration_have_their_own_exit_codes(machine: Any) -> None:
    assert machine.command("verify", "--nonsense").returncode == 2
    machine.config.write_text("nonsense = 1\n")
    assert machine.command("verify").returncode == 78


# One thing wrong


def test_a_trace_that_is_missing_is_named(ledger: Any) -> None:
    damage(ledger, "DELETE FROM call WHERE key = 'call05 id05'")
    found = differences(ledger)
    expected = "trace call05 id05 of 2026-01-01T00:00:05Z"
    assert ("a.jsonl", OFFSETS[11], "line", expected, "nothing") in found
    assert ("a.jsonl", None, "the source's count of traces", "24", "25") in found
    assert any(
        d[2].startswith("rows in trace of source 1 ") and d[3:] == ("25", "24") for d in found
    )
    assert ("prodlens.db", None, "tally of cost_source gateway", "28", "29") in found
    assert not any("duplicates" in d[2] for d in found)
    assert ("laptop.parquet", None, "rows", "9", "10") in found


def test_a_trace_without_ids_that_is_missing_is_named(ledger: Any) -> None:
    (key,) = ledger.query("SELECT hex(key) FROM trace WHERE session_id = 's04'")
    damage(ledger, "DELETE FROM call WHERE session_id = 's04'")
    expected = f"trace {key.lower()} of 2026-01-01T00:00:04Z"
    assert ("a.jsonl", OFFSETS[8], "line", expected, "nothing") in differences(ledger)


def test_a_dead_letter_that_is_missing_is_named(ledger: Any) -> None:
    (key,) = ledger.query("SELECT hex(key) FROM dead_letter WHERE reason = 'too_long'")
    damage(ledger, "DELETE FROM dead_letter WHERE reason = 'too_long'")
    found = differences(ledger)
    assert ("a.jsonl", OFFSETS[9], "line", f"dead letter {key.lower()}", "nothing") in found
    assert ("a.jsonl", None, "the source's count of dead letters", "2", "3") in found
    assert any(d[2].startswith("rows in dead_letter of source 1 ") for d in found)


def test_a_trace_that_nobody_logged_is_noticed(ledger: Any) -> None:
    damage(
        ledger,
        "INSERT INTO call (started_us, key, common_id, source_id, source_offset) "
        "VALUES (1, 'x y', 1, 1, 5)",
    )
    found = differences(ledger)
    assert any(
        d[2].startswith("rows in trace of source 1 ") and d[3:] == ("25", "26") for d in found
    )
    assert ("prodlens.db", None, "partition of 1970-01-01", "there", "nothing") in found


def test_a_trace_that_lost_what_it_has_in_common_is_noticed(ledger: Any) -> None:
    damage(ledger, "DELETE FROM common WHERE common_id = 1")
    found = differences(ledger)
    of_them = "rows in trace without their row in common"
    assert [d[3] for d in found if d[2] == of_them] == ["0"]


@pytest.mark.sampled(2)
@pytest.mark.parametrize(("table", "named"), [("call", "trace"), ("dead_letter", "dead_letter")])
def test_a_row_of_a_source_that_nobody_knows_is_named(ledger: Any, table: str, named: str) -> None:
    damage(
        ledger,
        f"UPDATE {table} SET source_id = 99 WHERE source_id = 1 AND source_offset IN "
        f"(SELECT max(source_offset) FROM {table} WHERE source_id = 1)",
    )
    what = f"rows in {named} of unknown source 99"
    assert ("prodlens.db", None, what, "0", "1") in differences(ledger)


def test_a_snapshot_noted_with_other_rows_than_its_day_is_named(ledger: Any) -> None:
    damage(ledger, "UPDATE partition SET rows = rows + 1 WHERE day = 20455")
    assert differences(ledger) == [
        ("prodlens.db", None, "rows compacted of 2026-01-02", "10", "11")
    ]


def test_a_trace_that_claims_another_place_is_noticed(ledger: Any) -> None:
    damage(ledger, "UPDATE call SET source_offset = source_offset + 1 WHERE session_id = 's07'")
    assert differences(ledger) == [
        ("a.jsonl", None, "the source's count of traces", "24", "25"),
        ("a.jsonl", None, "the source's count of duplicates", "2", "1"),
    ]


def test_a_line_that_is_both_a_trace_and_a_dead_letter_is_named(ledger: Any) -> None:
    damage(
        ledger,
        "INSERT INTO dead_letter "
        "SELECT key, source_id, source_offset, 1, 'too_long', '', x'', 1, 'open', NULL FROM trace "
        "WHERE session_id = 's04'",
    )
    expected = ("in the ledger once", "a trace and a dead letter")
    assert ("a.jsonl", OFFSETS[8], "line", *expected) in differences(ledger)


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("counter", "other"),
    [("lines", "blanks"), ("traces", "duplicates"), ("dead_letters", "blanks")],
)
def test_a_source_that_counted_wrongly_is_named(ledger: Any, counter: str, other: str) -> None:
    sign = "+" if counter == "lines" else "-"
    (was,) = ledger.query(f"SELECT {counter} FROM source WHERE source_id = 1")
    damage(
        ledger,
        f"UPDATE source SET {counter} = {counter} + 1, {other} = {other} {sign} 1 "
        "WHERE source_id = 1",
    )
    what = f"the source's count of {counter.replace('_', ' ')}"
    assert ("a.jsonl", None, what, str(was), str(was + 1)) in differences(ledger)


def test_a_cursor_that_is_wrong_is_named(ledger: Any) -> None:
    damage(ledger, "UPDATE source SET chain = zeroblob(16) WHERE source_id = 1")
    assert [(d[0], d[2]) for d in differences(ledger)] == [("a.jsonl", "chain digest")]


def test_a_tally_that_is_wrong_is_named(ledger: Any) -> None:
    damage(ledger, "UPDATE tally SET traces = traces + 1 WHERE value = 'gateway'")
    assert differences(ledger) == [
        ("prodlens.db", None, "tally of cost_source gateway", "29", "30")
    ]


@pytest.mark.sampled(5)
@pytest.mark.parametrize("number", [0, 5, 8, 9, 10, 20, len(LINES) - 1])
def test_a_byte_of_the_log_edited_in_place_is_found(ledger: Any, number: int) -> None:
    path = ledger.logs / "a.jsonl"
    bytes_ = bytearray(path.read_bytes())
    # A digit of the session in a line without ids, of the call id in one with them.
    place = OFFSETS[number] + max(LINES[number].rfind(b'"'), 3) - 1
    bytes_[place] ^= 1
    path.write_bytes(bytes_)
    found = differences(ledger)
    assert found[0][:2] == ("a.jsonl", OFFSETS[number])


def test_a_newline_taken_out_of_the_log_is_found(ledger: Any) -> None:
    path = ledger.logs / "a.jsonl"
    path.write_bytes(path.read_bytes().replace(LINES[14], LINES[14][:-1] + b" ", 1))
    found = differences(ledger)
    assert found[0][:2] == ("a.jsonl", OFFSETS[14])
    lines = len(LINES)
    assert ("a.jsonl", None, "the source's count of lines", str(lines - 1), str(lines)) in found


def test_a_byte_written_into_the_middle_of_a_hole_that_was_read_is_found(machine: Any) -> None:
    # Of a hole only its ends are looked at before reading on.
    hole = b"\0" * (5 << 20)
    path = append(machine, "a.jsonl", line(1), hole, line(2))
    machine.ingest()
    start = len(line(1)) + (2 << 20)
    with path.open("r+b") as file:
        file.seek(start)
        file.write(b"x")
    (name, offset, what, _expected, found), *_ = differences(machine)
    assert (name, offset, what, found) == ("a.jsonl", start, "line", "nothing")


def test_of_many_differences_twenty_are_named_and_the_rest_counted(ledger: Any) -> None:
    path = ledger.logs / "a.jsonl"
    path.write_bytes(path.read_bytes().replace(b"call", b"cool"))
    code, found = verify(ledger)
    assert code == 1
    assert len(found["differences"]) == 20
    assert found["more_differences"] > 0
    said = ledger.command("verify").stdout
    assert said.count("\ndiffers ") == 20
    assert f"and {found['more_differences']} more differences" in said


def snapshot(machine: Any, day: str) -> Path:
    path: Path = machine.home / "parquet" / f"event_date={day}" / "laptop.parquet"
    assert path.exists()
    return path


def test_a_snapshot_that_is_missing_is_named(ledger: Any) -> None:
    snapshot(ledger, "2026-01-02").unlink()
    assert differences(ledger) == [("laptop.parquet", None, "snapshot", "there", "nothing")]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("size", [0, 3, 200])
def test_a_snapshot_that_is_cut_short_is_named(ledger: Any, size: int) -> None:
    os.truncate(snapshot(ledger, "2026-01-02"), size)
    ((name, _, what, expected, _),) = differences(ledger)
    assert (name, what, expected) == ("laptop.parquet", "snapshot", "readable")


def test_a_snapshot_without_one_of_its_rows_is_named(ledger: Any) -> None:
    path = snapshot(ledger, "2026-01-02")
    pq.write_table(pq.read_table(path, partitioning=None).slice(1), path)
    assert differences(ledger) == [
        ("laptop.parquet", None, "rows", "10", "9"),
        ("laptop.parquet", None, "sum of cost_usd", "$0.145000000", "$0.135000000"),
    ]


def test_a_snapshot_of_other_costs_is_named(ledger: Any) -> None:
    days = "started_us / 86400000000 = 20455"
    damage(ledger, f"UPDATE call SET cost_nanousd = 7 WHERE {days} AND session_id = 's10'")
    assert differences(ledger) == [
        (
            "prodlens.db",
            None,
            "total of cost_nanousd of cost_source gateway",
            "418000007",
            "428000000",
        ),
        spent("host laptop", 10, 135_000_007, 145_000_000),
        spent("session s10", 1, 7, 10_000_000),
        ("laptop.parquet", None, "sum of cost_usd", "$0.135000007", "$0.145000000"),
    ]


def spent(whose: str, calls: int, *nanousd: int) -> tuple[Any, ...]:
    what = f"spent of {whose} from 2026-01-02T00:00:00Z on"
    said = (f"{calls} calls, 0 unpriced, 0 x 2^32 + {cost} nano-dollars" for cost in nanousd)
    return ("prodlens.db", None, what, *said)


def test_a_snapshot_that_is_behind_is_not_compared(ledger: Any) -> None:
    damage(ledger, "UPDATE partition SET version = version + 1 WHERE day = 20455")
    snapshot(ledger, "2026-01-02").unlink()
    code, found = verify(ledger)
    assert (code, found["snapshots"], found["snapshots_due"]) == (0, 3, 1)


def test_a_line_that_no_counter_holds_is_named(ledger: Any) -> None:
    damage(ledger, "UPDATE source SET lines = lines + 1 WHERE source_id = 1")
    lines = len(LINES)
    found = differences(ledger)
    assert found[0][1:] == (None, "the source's count of lines", str(lines), str(lines + 1))
    assert found[1][2].startswith("records of source 1 ")


def test_what_sqlite_finds_wrong_is_named(ledger: Any) -> None:
    with apsw.Connection(str(ledger.ledger)) as db:
        db.execute("PRAGMA writable_schema = ON")
        change = "sql = replace(sql, 'call_id TEXT', 'call_id TEXT NOT NULL')"
        db.execute(f"UPDATE sqlite_schema SET {change} WHERE name = 'call'")
    code, found = verify(ledger)
    assert (code, len(found["differences"])) == (1, 20)
    for difference in found["differences"]:
        assert (difference["what"], difference["expected"]) == ("integrity check", "ok")
        assert difference["found"] == "NULL value in call.call_id"


def test_a_damaged_database_is_named(ledger: Any) -> None:
    (root,) = ledger.query("SELECT rootpage FROM sqlite_schema WHERE name = 'source_live'")
    with ledger.ledger.open("r+b") as file:
        file.seek((root - 1) * 8192 + 8192 - 40)
        file.write(b"\x55" * 40)
    done = ledger.command("verify")
    assert done.returncode == 1
    assert "integrity check" in done.stdout or "damaged" in done.stderr


def test_a_log_file_that_cannot_be_read_is_no_proof(ledger: Any) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (ledger.logs / "a.jsonl").chmod(0)
    assert differences(ledger) == [("a.jsonl", None, "file", "readable", "Permission denied")]


def test_a_compressed_file_that_was_damaged_is_no_proof(ledger: Any) -> None:
    path = ledger.logs / "c.jsonl.gz"
    bytes_ = bytearray(path.read_bytes())
    bytes_[30] ^= 1
    path.write_bytes(bytes_)
    ((name, _, what, expected, found),) = differences(ledger)
    assert (name, what, expected) == ("c.jsonl.gz", "file", "readable")
    assert "not a complete gzip file" in found


# Nothing wrong


@pytest.mark.sampled(2)
@pytest.mark.parametrize("ids", [True, False])
def test_dead_letters_that_can_be_read_now_hold_before_and_after_they_are_retried(
    machine: Any, ids: bool
) -> None:
    machine.config.write_text("[logs]\nmax_line_bytes = 500\n")
    append(machine, "a.jsonl", line(1, ids=False), line(2, ids=ids, pad="x" * 900), line(3))
    machine.ingest()
    assert verify(machine)[0] == 0
    machine.config.write_text("")
    before = verify(machine)[0]
    assert machine.command("dead-letters", "retry").returncode == 0
    assert machine.query("SELECT count(*) FROM traces") == [3]
    after = verify(machine)
    assert (before, after[0]) == (0, 0), after[1]["differences"]


@pytest.mark.long
def test_an_open_gap_is_exit_3(machine: Any) -> None:
    path = append(machine, "a.jsonl", line(1), line(2)[:50])
    machine.ingest()
    path.write_bytes(line(3))
    machine.ingest()
    code, found = verify(machine)
    assert (code, found["state"]) == (3, "gaps")
    assert (found["open_gaps"], found["known_lost_bytes"]) == (1, 50)
    assert "proven, with open gaps" in machine.command("verify").stdout
    damage(machine, "UPDATE source SET chain = zeroblob(16) WHERE state = 'live'")
    assert verify(machine)[0] == 1


@pytest.mark.long
def test_a_gap_that_was_acknowledged_is_spoken_of_no_more(machine: Any) -> None:
    path = append(machine, "a.jsonl", line(1), line(2)[:50])
    machine.ingest()
    path.write_bytes(line(3))
    machine.ingest()
    assert verify(machine)[0] == 3
    acknowledged = machine.command("verify", "--acknowledge-gaps")
    assert (acknowledged.returncode, acknowledged.stderr) == (0, "1 gap acknowledged\n")
    code, found = verify(machine)
    assert (code, found["state"], found["open_gaps"]) == (0, "complete", 0)
    assert machine.query("SELECT state, known_bytes FROM gaps") == [("acknowledged", 50)]
    assert "ingest    2 lines" in machine.command("status").stdout


def test_a_file_that_is_gone_is_said_and_is_no_failure(ledger: Any) -> None:
    (ledger.logs / "b.jsonl").unlink()
    code, found = verify(ledger)
    assert (code, found["sources"], found["reread"]) == (0, 3, 2)
    assert [(Path(u["path"]).name, u["reason"]) for u in found["unread"]] == [("b.jsonl", "gone")]
    assert "1 not on disk any more, not read again: gone" in ledger.command("verify").stdout


def test_a_folder_that_is_gone_is_no_failure(ledger: Any) -> None:
    ledger.logs.rename(ledger.home / "elsewhere")
    code, found = verify(ledger)
    assert (code, found["reread"]) == (0, 0)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("content", [b"", line(40), line(40) * 100])
def test_a_file_that_was_rewritten_is_said_and_is_no_failure(ledger: Any, content: bytes) -> None:
    (ledger.logs / "a.jsonl").write_bytes(content)
    code, found = verify(ledger)
    assert (code, found["reread"]) == (0, 2)
    reason = "truncated" if len(content) < OFFSETS[-1] else "rewritten"
    assert [unread["reason"] for unread in found["unread"]] == [reason]
    ledger.ingest()
    code, found = verify(ledger)
    assert (code, found["sources"], found["reread"]) == (0, 4, 3)
    assert [unread["reason"] for unread in found["unread"]] == ["replaced"]


def test_a_file_that_was_renamed_since_is_found_and_read(ledger: Any) -> None:
    (ledger.logs / "a.jsonl").rename(ledger.logs / "a.jsonl.1")
    append(ledger, "a.jsonl", line(41))
    code, found = verify(ledger)
    assert (code, found["reread"]) == (0, 3)


def test_what_is_not_committed_yet_is_left_alone(ledger: Any) -> None:
    append(ledger, "a.jsonl", b"garbage\n", line(41), line(42)[:10])
    assert verify(ledger)[0] == 0


def test_more_sources_than_are_read_at_once_are_all_read(machine: Any) -> None:
    for number in range(40):
        append(machine, f"{number}.jsonl", line(number), line(number, ids=False))
    machine.ingest()
    code, found = verify(machine)
    assert (code, found["reread"]) == (0, 40)


def test_without_snapshots_none_are_asked_for(machine: Any) -> None:
    machine.config.write_text("[parquet]\nenabled = false\n")
    append(machine, "a.jsonl", line(1))
    machine.ingest()
    code, found = verify(machine)
    assert (code, found["snapshots"]) == (0, 0)


@pytest.mark.long
def test_it_holds_while_a_daemon_ingests_compacts_and_files_rotate(
    machine: Any, wait_until: Callable[..., Any]
) -> None:
    machine.config.write_text("[parquet]\ninterval_s = 0.1\n[logs]\nrescan_interval_s = 0.1\n")
    path = append(machine, "a.jsonl", line(0))
    machine.start()
    written = 1
    for turn in range(8):
        for number in range(500):
            more = {"timestamp": f"2026-02-{1 + turn % 3:02d}T00:00:00Z"}
            append(machine, "a.jsonl", line(1000 * turn + number, ids=number % 2 == 0, **more))
        written += 500
        code, found = verify(machine)
        assert (code, found["differences"]) == (0, [])
        if turn == 3:
            path.rename(machine.logs / "a.jsonl.1")
    wait_until(lambda: machine.query("SELECT count(*) FROM traces") == [written], "every line")
    code, found = verify(machine)
    assert (code, found["reread"], found["totals"]["lines"]) == (0, 2, written)


@pytest.mark.long
def test_on_a_terminal_a_bar_goes_to_stderr_and_only_there(ledger: Any) -> None:
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "prodlensd", "verify", "--json"],
            stdout=subprocess.PIPE,
            stderr=theirs,
            check=True,
            timeout=100,
        )
        os.close(theirs)
        assert json.loads(done.stdout)["state"] == "complete"
        assert b"reading the logs again" in os.read(ours, 1 << 16)
    finally:
        os.close(ours)
    assert ledger.logs.exists()
