"""`prodlensd import`: history comes in once, from files as people have them."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.scenario.test_witnesses import payload, row

SAID = "the words of a prompt"
HEADER = (
    "request_id,call_type,startTime,endTime,model,spend,prompt_tokens,completion_tokens,"
    "total_tokens,end_user,litellm_call_id,metadata"
)


def records(count: int = 12) -> list[dict[str, Any]]:
    return [json.loads(row(number)) for number in range(count)]


def csv_of(rows: Iterable[dict[str, Any]]) -> bytes:
    def cell(value: object) -> str:
        text = value if isinstance(value, str) else json.dumps(value, indent=1)
        return '"' + text.replace('"', '""') + '"'

    names = HEADER.split(",")
    lines = [",".join(cell(record.get(name, "")) for name in names) for record in rows]
    return "\r\n".join([HEADER, *lines, ""]).encode()


#: What people have: how the same rows stand in a file.
SHAPES: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "lines": lambda rows: b"".join(json.dumps(row).encode() + b"\n" for row in rows),
    "lines without a last newline": lambda rows: "\n".join(map(json.dumps, rows)).encode(),
    "array": lambda rows: json.dumps(rows).encode(),
    "array as PostgreSQL writes it": lambda rows: (
        b"[" + b", \n ".join(json.dumps(row).encode() for row in rows) + b"]\n"
    ),
    "array laid out": lambda rows: json.dumps(rows, indent=4).encode(),
    "arrays on lines": lambda rows: (
        json.dumps(rows[:5]).encode() + b"\n" + json.dumps(rows[5:]).encode() + b"\n"
    ),
    "page of the API": lambda rows: json.dumps({"data": rows, "total": len(rows)}).encode(),
    "page laid out": lambda rows: json.dumps({"data": rows, "page": 1}, indent=2).encode(),
    "table": csv_of,
    "table with a byte order mark": lambda rows: b"\xef\xbb\xbf" + csv_of(rows),
}


def imported(machine: Any, *arguments: object) -> dict[str, Any]:
    done = machine.command("import", "--json", *map(str, arguments))
    assert done.stdout, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def counted(said: dict[str, Any]) -> tuple[int, int, int]:
    total = said["total"]
    return total["calls_new"], total["calls_known"], total["records_refused"]


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.sampled(4)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_come_in_from_every_shape_of_file_once(
    machine: Any, tmp_path: Path, shape: str, packed: bool
) -> None:
    content = SHAPES[shape](records())
    path = written(tmp_path, "export", gzip.compress(content) if packed else content)
    assert (12, 0, 0) == counted(imported(machine, path))
    assert (0, 12, 0) == counted(imported(machine, path))
    known = "SELECT count(*), count(DISTINCT call_id), sum(tokens_out), count(team) FROM traces"
    assert [(12, 12, 66, 12)] == machine.query(known)


def test_exports_of_different_shapes_that_overlap_count_each_call_once(
    machine: Any, tmp_path: Path
) -> None:
    rows = records(30)
    paths = [
        written(tmp_path, f"{number}", shape(rows[number * 2 : number * 2 + 12]))
        for number, shape in enumerate(SHAPES.values())
    ]
    assert (30, 90, 0) == counted(imported(machine, *paths))
    assert [30] == machine.query("SELECT count(*) FROM traces")
    assert machine.command("verify").returncode == 0


def test_a_callbacks_file_of_one_payload_without_a_newline_comes_in(
    machine: Any, tmp_path: Path
) -> None:
    paths = [written(tmp_path, f"{n}.json", payload(n).rstrip()) for n in range(3)]
    laid_out = json.dumps(json.loads(payload(3)), indent=2).encode()
    paths.append(written(tmp_path, "3.json", laid_out))
    assert (4, 0, 0) == counted(imported(machine, *paths))


def test_a_dry_run_says_the_same_and_changes_nothing(machine: Any, tmp_path: Path) -> None:
    rows = records(20)
    first = written(tmp_path, "first", SHAPES["lines"](rows[:8]))
    both = [
        written(tmp_path, "lines", SHAPES["lines"](rows) + b"garbage\n"),
        written(tmp_path, "payloads", b"".join(payload(n) for n in range(25))),
    ]
    dry = imported(machine, "--dry-run", *both)
    assert not machine.ledger.exists()
    assert (25, 20, 1) == counted(dry)
    assert (8, 0, 0) == counted(imported(machine, first))
    before = machine.query("SELECT * FROM traces"), machine.query("SELECT * FROM sources")
    dry = imported(machine, "--dry-run", *both)
    assert before == (machine.query("SELECT * FROM traces"), machine.query("SELECT * FROM sources"))
    real = imported(machine, *both)
    assert (17, 28, 1) == counted(dry) == counted(real)
    assert dry["files"] == real["files"]
    assert dry["total"] == real["total"]
    assert real["total"]["first_call_at"] == "2026-11-01T12:00:08.123000Z"


def test_a_dry_run_knows_a_call_by_its_other_witness(machine: Any, tmp_path: Path) -> None:
    lines = written(tmp_path, "payloads", b"".join(payload(n) for n in range(10)))
    rows = written(tmp_path, "rows", SHAPES["lines"](records(20)))
    imported(machine, lines)
    dry = imported(machine, "--dry-run", rows)
    assert (10, 10, 0) == counted(dry) == counted(imported(machine, rows))
    later = written(tmp_path, "later", b"".join(payload(n) for n in range(5, 25)))
    dry = imported(machine, "--dry-run", later)
    assert (5, 15, 0) == counted(dry) == counted(imported(machine, later))


def test_it_says_from_when_to_when_and_what_the_new_calls_cost(
    machine: Any, tmp_path: Path
) -> None:
    rows = [*records(2), json.loads(row(2, startTime="2026-11-03T00:00:00Z"))]
    path = written(tmp_path, "rows.jsonl", SHAPES["lines"](rows))
    said = machine.command("import", str(path)).stdout
    assert said == f"{path}: 3 new calls, from 2026-11-01 to 2026-11-03: $1.50\n"
    said = machine.command("import", str(path)).stdout
    assert said == f"{path}: nothing new; 3 calls known\n"


def test_calls_without_a_price_make_the_cost_a_least(machine: Any, tmp_path: Path) -> None:
    unknown = json.loads(row(0, spend=0, model="nobody/knows", custom_llm_provider="nobody"))
    path = written(tmp_path, "rows.jsonl", SHAPES["lines"]([unknown, *records(2)[1:]]))
    assert ": ≥ $0.50\n" in machine.command("import", str(path)).stdout


def test_what_cannot_be_read_is_named_by_its_place_and_kept_without_its_bytes(
    machine: Any, tmp_path: Path
) -> None:
    bad = json.dumps({"request_id": SAID, "startTime": SAID, "call_type": "x"}).encode()
    lines = [row(0), bad + b"\n", SAID.encode() + b"\n", row(1)]
    array = b"[" + b",".join(line.strip() for line in (row(2), bad, row(3))) + b"]"
    paths = [
        written(tmp_path, "lines", b"".join(lines)),
        written(tmp_path, "array", array),
        written(tmp_path, "table", csv_of(records(5)) + b'"not",enough\r\n'),
    ]
    said = imported(machine, *paths)
    assert (5, 4, 4) == counted(said)
    at = [place["offset"] for file in said["files"] for place in file["refused_at"]]
    content = paths[2].read_bytes()
    assert [
        len(lines[0]),
        len(lines[0]) + len(lines[1]),
        array.index(bad),
        content.index(b'"not",enough'),
    ] == at
    text = machine.command("import", *map(str, paths))
    assert SAID not in text.stdout + text.stderr
    letters = machine.query("SELECT raw, length FROM dead_letters")
    assert [b""] * 4 == [raw for raw, _ in letters]
    assert SAID.encode() not in machine.ledger.read_bytes()
    assert (0, 9, 4) == counted(imported(machine, *paths))
    assert 4 == len(machine.query("SELECT * FROM dead_letters"))


#: What is no history, or not all of a file.
FOREIGN: dict[str, Callable[[], bytes]] = {
    "text": lambda: b"nothing of ours\n" * 10,
    "lines of other objects": lambda: b'{"a": 1}\n' * 10,
    "another table": lambda: b"id,name\n1,2\n",
    "array of numbers": lambda: b"[1, 2, 3]",
    "array of other objects": lambda: json.dumps([{"a": 1}] * 3).encode(),
    "array cut off": lambda: json.dumps(records(), indent=1).encode()[:-9],
    "picture": lambda: b"\x89PNG\r\n\x1a\n" + bytes(100),
    "gzip file cut off": lambda: gzip.compress(json.dumps(records()).encode())[:-9],
    "zstd": lambda: b"\x28\xb5\x2f\xfd" + bytes(30),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_file_of_no_known_kind_is_refused_whole_and_the_others_come_in(
    machine: Any, tmp_path: Path, kind: str
) -> None:
    bad, good = written(tmp_path, "bad", FOREIGN[kind]()), written(tmp_path, "good", row(0))
    done = machine.command("import", str(bad), str(good))
    assert done.returncode == 1
    assert f"Error: {bad}: " in done.stderr
    assert "Traceback" not in done.stderr
    assert [(1, 1)] == machine.query("SELECT count(*), sum(records) FROM sources")
    assert [] == machine.query("SELECT * FROM dead_letters")


def test_what_is_no_file_is_refused_in_a_sentence(machine: Any, tmp_path: Path) -> None:
    done = machine.command("import", str(tmp_path), str(tmp_path / "absent"), "/dev/null")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"Error: {tmp_path}: not a file, nor a folder with *.jsonl files in it",
        f"Error: {tmp_path / 'absent'}: No such file or directory",
        "Error: /dev/null: not a file, nor a folder with *.jsonl files in it",
    ]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"[]", b"[\n]\n", HEADER.encode() + b"\n"])
def test_an_empty_export_is_no_error(machine: Any, tmp_path: Path, content: bytes) -> None:
    assert (0, 0, 0) == counted(imported(machine, written(tmp_path, "empty", content)))


def test_a_running_daemon_neither_follows_what_is_imported_nor_misses_it(
    machine: Any, tmp_path: Path, wait_until: Callable[..., Any]
) -> None:
    machine.start()
    (machine.logs / "a.jsonl").write_bytes(b"".join(payload(n) for n in range(6)))
    wait_until(lambda: machine.query("SELECT count(*) FROM traces") == [6], "the lines")
    path = written(tmp_path, "rows.json", SHAPES["array laid out"](records()))
    assert (6, 6, 0) == counted(imported(machine, path))
    path.unlink()
    with (machine.logs / "a.jsonl").open("ab") as file:
        file.write(b"".join(payload(n) for n in range(6, 14)))
    wait_until(lambda: machine.query("SELECT count(*) FROM traces") == [14], "the later lines")
    assert [("imported",), ("live",)] == sorted(
        (state,) for state in machine.query("SELECT state FROM sources")
    )
    assert [] == machine.query("SELECT * FROM gaps")
    assert machine.command("verify").returncode == 0


def test_of_two_imports_at_once_the_second_is_to_try_later(machine: Any, tmp_path: Path) -> None:
    path = written(tmp_path, "rows.jsonl", row(0))
    machine.home.mkdir(exist_ok=True)
    code = (
        "import sys; from pathlib import Path; from prodlensd.process import import_lock\n"
        f"with import_lock(Path({str(machine.ledger)!r})):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"held\n"
        done = machine.command("import", str(path))
        assert done.returncode == 75
        assert (
            done.stderr
            == f"Error: another import is running: it holds {machine.ledger}.import.lock\n"
        )
    finally:
        holder.stdin.close()
        holder.wait(10)
        holder.stdout.close()
    assert (1, 0, 0) == counted(imported(machine, path))
