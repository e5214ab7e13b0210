"""Lines that hold many records: each of them once, whatever happens to the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from prodlensd.ledger import Reader
from prodlensd.model import digest_of
from tests.scenario.proving import PROVEN, verdict
from tests.scenario.test_redeeming import retry

REFUSED = b'{"told": "in a format that nobody knows"}'
NO_CALL = json.dumps(
    {"timeUnixNano": "1", "body": {"stringValue": "claude_code.user_prompt"}, "attributes": []}
).encode()


def array(*records: bytes) -> bytes:
    return b"[" + b", ".join(record.strip() for record in records) + b"]\n"


def counts(world: Any) -> dict[str, int]:
    with Reader(world.ledger) as reader:
        found = reader.sources.counts()._asdict()
    return {name: count for name, count in found.items() if count}


def test_each_record_of_an_array_is_a_call_a_dead_letter_or_no_call(
    world: Any, make_line: Any
) -> None:
    calls = make_line(1), make_line(2, ids=False), make_line(2, ids=False)
    line = array(calls[0], REFUSED, calls[1], NO_CALL, calls[2])
    world.append("a.jsonl", make_line(0), line, b"\n", make_line(3))
    world.step()
    assert world.sessions() == ["s0", "s1", "s2", "s2", "s3"]
    assert counts(world) == {
        "lines": 4,
        "blanks": 1,
        "records": 7,
        "traces": 5,
        "dead_letters": 1,
        "passed_over": 1,
    }
    assert verdict(world) == PROVEN


def test_a_record_stands_where_its_bytes_do(world: Any, make_line: Any) -> None:
    world.append("a.jsonl", make_line(0), array(make_line(1), REFUSED, make_line(2, ids=False)))
    world.step()
    content = (world.logs / "a.jsonl").read_bytes()
    offsets = world.query("SELECT source_offset FROM traces ORDER BY source_offset")
    assert [json.loads(content[at:].partition(b'"timestamp"')[0] + b'"t":1}') for at in offsets]
    ((offset, length, raw, digest),) = world.query(
        "SELECT source_offset, length, raw, digest FROM dead_letter"
    )
    assert content[offset : offset + length] == REFUSED
    assert (raw, digest) == (b"", digest_of(REFUSED))


@pytest.mark.parametrize("again", ["copy", "rename", "new ledger source"])
def test_reading_the_line_again_adds_nothing(world: Any, make_line: Any, again: str) -> None:
    line = array(make_line(1), REFUSED, make_line(2, ids=False), NO_CALL)
    world.append("a.jsonl", line)
    world.step()
    path: Path = world.logs / "a.jsonl"
    if again == "copy":
        (world.logs / "b.jsonl").write_bytes(line)
    elif again == "rename":
        path.rename(world.logs / "a.jsonl.1")
    else:
        path.unlink()
        world.step()
        path.write_bytes(line)
    world.restart()
    world.step()
    assert world.sessions() == ["s1", "s2"]
    assert counts(world)["dead_letters"] == 1
    assert verdict(world) == PROVEN


@pytest.mark.parametrize("piece", range(4))
def test_a_death_between_the_pieces_of_a_line_leaves_nothing_of_it(
    world: Any, make_line: Any, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    class DiedError(Exception):
        pass

    monkeypatch.setattr("prodlensd.pipeline.lines._AHEAD", 3)
    world.append("a.jsonl", make_line(0), array(*(make_line(n, ids=n % 2 == 0) for n in range(9))))
    write, left = world.store._write, [piece]

    def dying(*arguments: Any) -> Any:
        if not left[0]:
            raise DiedError
        left[0] -= 1
        return write(*arguments)

    monkeypatch.setattr(world.store, "_write", dying)
    with pytest.raises(DiedError):
        world.settle()
    assert world.query("SELECT count(*) FROM trace") == [0]
    monkeypatch.undo()
    world.restart()
    world.step()
    assert world.sessions() == ["s0", *(f"s{n}" for n in range(1, 9))]
    assert counts(world) == {"lines": 2, "records": 10, "traces": 9, "duplicates": 1}
    assert verdict(world) == PROVEN


def test_no_more_than_a_piece_of_a_line_is_held(
    world: Any, make_line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prodlensd.pipeline.lines._AHEAD", 10)
    held: list[int] = []
    write = world.store._write

    def counted(outcome: Any, now_us: int) -> Any:
        held.append(outcome.records)
        return write(outcome, now_us)

    monkeypatch.setattr(world.store, "_write", counted)
    world.append("a.jsonl", array(*(make_line(n, ids=False) for n in range(100))))
    world.step()
    assert (max(held), sum(held)) == (10, 100)


@pytest.mark.parametrize(
    "line",
    [b"[", b"[]", b"[{}", b"[{}, {}", b"[{} {}]", b"[{}] and more", b"[1, 2]", b"[{'a': 1}]"],
)
def test_an_array_is_read_whole_or_refused_whole(world: Any, make_line: Any, line: bytes) -> None:
    world.append("a.jsonl", make_line(0), line + b"\n", make_line(1))
    world.step()
    assert world.sessions() == ["s0", "s1"]
    assert counts(world)["lines"] == 3
    kept = world.query("SELECT raw, digest FROM dead_letter")
    if line == b"[]":
        assert (kept, counts(world)["passed_over"]) == ([], 1)
    elif line == b"[{'a': 1}]":
        assert kept == [(b"", digest_of(b"{'a': 1}"))]
    else:
        assert kept == [(line, None)]
    assert verdict(world) == PROVEN


def test_an_array_of_what_is_no_strict_json_is_read_record_by_record(
    world: Any, make_line: Any
) -> None:
    with_nan = make_line(2).replace(b'"pad": ""', b'"pad": NaN')
    assert b"NaN" in with_nan
    world.append("a.jsonl", array(make_line(1), with_nan, b'{"broken": tru}'))
    world.step()
    assert world.sessions() == ["s1", "s2"]
    assert world.query("SELECT reason FROM dead_letters") == ["invalid_json"]


def older(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes it read lines as a version did that knew of no lines of many records."""
    from prodlensd import formats
    from prodlensd.model import BadLine, NotACall

    def parse_line(line: bytes) -> Any:
        try:
            return formats.parse(line)
        except NotACall:
            raise BadLine("unknown_format", "a span that is not the call of a model") from None

    monkeypatch.setattr("prodlensd.pipeline.lines.parse_line", parse_line)


def test_an_array_that_an_older_version_refused_is_retried_into_its_records(
    world: Any, make_line: Any
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        older(patch)
        world.append(
            "a.jsonl", array(make_line(1), REFUSED, make_line(2, ids=False)), NO_CALL, b"\n"
        )
        world.step()
    assert counts(world) == {"lines": 2, "records": 2, "dead_letters": 2}
    assert verdict(world) == PROVEN  # an upgrade alone changes nothing
    assert retry(world) == (2, 0, 0)
    assert world.sessions() == ["s1", "s2"]
    assert counts(world) == {
        "lines": 2,
        "records": 4,
        "traces": 2,
        "dead_letters": 1,
        "passed_over": 1,
    }
    assert world.query("SELECT raw FROM dead_letters") == [b""]
    assert verdict(world) == PROVEN


def test_what_an_older_version_kept_of_no_call_goes_when_it_is_read_again(
    world: Any, make_line: Any
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        older(patch)
        world.append("a.jsonl", make_line(1), NO_CALL, b"\n")
        world.step()
    (world.logs / "b.jsonl").write_bytes((world.logs / "a.jsonl").read_bytes())
    world.step()
    assert world.query("SELECT raw FROM dead_letters") == []
    assert counts(world)["passed_over"] == 2
    assert verdict(world) == PROVEN


def test_the_records_of_a_line_are_pruned_and_stay_each_once(
    world: Any, make_line: Any, tmp_path: Path
) -> None:
    line = array(*(make_line(n, ids=n % 2 == 0) for n in range(1, 5)))
    world.append("a.jsonl", line)
    world.step()
    parquet = tmp_path / "parquet"
    world.compact(parquet)
    assert world.prune(parquet) == 4
    (world.logs / "b.jsonl").write_bytes(line)
    world.append("a.jsonl", make_line(5))
    world.settle()
    assert world.sessions() == ["s5"]
    assert counts(world) == {"lines": 3, "records": 9, "traces": 5, "duplicates": 4}
    world.compact(parquet)
    assert world.prune(parquet) == 1


def test_a_log_whose_refused_records_are_nowhere_else_is_not_deleted(
    world: Any, make_line: Any
) -> None:
    world.append("a.jsonl", array(make_line(1), REFUSED))
    world.append("b.jsonl", array(make_line(2), NO_CALL))
    world.step()
    with Reader(world.ledger) as reader:
        finished = [Path(s.checkpoint.path).name for s in reader.sources.finished(1 << 60, 1 << 60)]
    assert finished == ["b.jsonl"]
