"""What a line may look like, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.scenario(1)
def test_lines_appear_in_the_order_they_were_written(world: Any, make_line: Any) -> None:
    world.step()
    world.append("a.jsonl", make_line(1), make_line(2))
    world.step()
    world.append("a.jsonl", make_line(3))
    world.step()
    assert world.sessions() == ["s1", "s2", "s3"]
    assert world.counts() == (3, 3, 0, 0, 0)


def test_a_line_still_being_written_is_left_alone(world: Any, make_line: Any) -> None:
    whole = make_line(1)
    for byte in (whole[i : i + 1] for i in range(len(whole) - 1)):
        world.append("a.jsonl", byte)
        world.settle()
        assert world.query("SELECT count(*) FROM traces") == [0]
    world.append("a.jsonl", b"\n")
    world.step()
    assert world.sessions() == ["s1"]
    assert world.query("SELECT offset, lag_bytes FROM sources") == [(len(whole), 0)]


@pytest.mark.scenario(4)
def test_half_a_line_before_a_restart_and_half_after_it_are_one_line(
    world: Any, make_line: Any
) -> None:
    whole = make_line(2)
    world.append("a.jsonl", make_line(1), whole[:40])
    world.step()
    world.stop()
    world.append("a.jsonl", whole[40:])
    world._start()
    world.step()
    assert world.sessions() == ["s1", "s2"]
    assert world.counts() == (2, 2, 0, 0, 0)


@pytest.mark.scenario(50, 51)
def test_windows_line_ends_a_byte_order_mark_and_blank_lines_do_no_harm(
    world: Any, make_line: Any
) -> None:
    crlf = [make_line(n).replace(b"\n", b"\r\n") for n in (1, 2)]
    mark = b"\xef\xbb\xbf"
    world.append("a.jsonl", mark, crlf[0], b"\r\n", b"\n", b"  \t\n", crlf[1], make_line(3))
    world.step()
    assert world.sessions() == ["s1", "s2", "s3"]
    assert world.counts() == (6, 3, 0, 0, 3)
    third = (world.logs / "a.jsonl").stat().st_size - len(make_line(3))
    assert world.query("SELECT source_offset FROM traces WHERE session_id = 's3'") == [third]


@pytest.mark.scenario(52, 55)
@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"not json", "invalid_json"),
        (b'{"timestamp": "2026-01-01T00:00:00Z", "usage": {}', "invalid_json"),
        (b"\xff\xfe{\x00", "invalid_utf8"),
        (b"[1, 2]", "not_an_object"),
        (b'"text"', "not_an_object"),
        (
            b'{"message": "hello", "level": "INFO", "timestamp": "2026-01-01T00:00:00Z"}',
            "unknown_format",
        ),
        (b'{"timestamp": "yesterday", "usage": {}}', "bad_timestamp"),
        (b'{"timestamp": NaN, "usage": {}}', "bad_timestamp"),
        (b"[" * 100_000, "invalid_json"),
        (b'{"timestamp": "2026-01-01T00:00:00Z", "usage": {}, "x": "\0"}', "invalid_json"),
        (b'{"timestamp": "2026-01-01T00:00:00Z", "usage": {}, "x": "\xff"}', "invalid_utf8"),
        (b'{"timestamp": ' + b"9" * 5000 + b', "usage": {}}', "invalid_json"),
    ],
)
def test_a_line_that_is_no_trace_is_kept_with_its_reason(
    world: Any, make_line: Any, bad: bytes, reason: str
) -> None:
    world.append("a.jsonl", make_line(1), bad + b"\n", make_line(2))
    world.step()
    assert world.sessions() == ["s1", "s2"]
    assert world.query("SELECT reason, raw, length, source_offset FROM dead_letters") == [
        (reason, bad, len(bad), len(make_line(1)))
    ]
    assert world.counts() == (3, 2, 0, 1, 0)


@pytest.mark.scenario(52)
@pytest.mark.parametrize(
    "odd",
    [
        '"x": NaN',
        '"x": 1e400',
        '"x": -Infinity',
        '"x": "\\ud800"',
        '"x": 123456789012345678901234567890',
        '"x": 1, "x": 2',
    ],
)
def test_what_gateways_write_beside_strict_json_costs_no_line(
    world: Any, make_line: Any, odd: str
) -> None:
    told = make_line(2).replace(b"{", b"{" + odd.encode() + b", ", 1)
    world.append("a.jsonl", make_line(1), told, make_line(3))
    world.step()
    assert world.sessions() == ["s1", "s2", "s3"]


def test_a_line_over_the_limit_is_set_aside_and_the_next_ones_are_read(
    world: Any, make_line: Any
) -> None:
    world.max_line_bytes = 1000
    world.restart()
    long = make_line(2, pad="x" * 5000)
    world.append("a.jsonl", make_line(1), long, make_line(3))
    world.step()
    assert world.sessions() == ["s1", "s3"]
    assert world.query("SELECT reason, length, length(raw) FROM dead_letters") == [
        ("too_long", len(long) - 1, len(long) - 1)
    ]


def test_a_line_longer_than_memory_should_hold_is_streamed(world: Any, make_line: Any) -> None:
    long = b"x" * (9 << 20)
    world.append("a.jsonl", make_line(1), long[: 5 << 20])
    world.step()
    world.append("a.jsonl", long[5 << 20 :], b"\n", make_line(2))
    world.step()
    assert world.sessions() == ["s1", "s2"]
    assert world.query("SELECT reason, length, length(raw) FROM dead_letters") == [
        ("too_long", 9 << 20, 64 << 10)
    ]


@pytest.mark.scenario(87)
def test_the_same_line_twice_without_ids_is_two_calls(world: Any, make_line: Any) -> None:
    world.append("a.jsonl", make_line(1, ids=False), make_line(1, ids=False))
    world.step()
    assert world.sessions() == ["s1", "s1"]


def test_the_same_call_logged_twice_is_one_call_and_a_counted_duplicate(
    world: Any, make_line: Any
) -> None:
    world.append("a.jsonl", make_line(1), make_line(1))
    world.step()
    world.append("b.jsonl", make_line(1))
    world.step()
    assert world.sessions() == ["s1"]
    assert world.counts() == (3, 1, 2, 0, 0)


@pytest.mark.parametrize("poor_first", [True, False])
def test_of_two_records_of_one_call_the_richer_one_stays(
    world: Any, make_line: Any, poor_first: bool
) -> None:
    poor, rich = make_line(1, metadata={}), make_line(1)
    world.append("a.jsonl", *((poor, rich) if poor_first else (rich, poor)))
    world.step()
    assert world.sessions() == ["s1"]
    assert world.query("SELECT source_offset FROM traces") == [0]
    assert world.counts() == (2, 1, 1, 0, 0)


def test_a_call_that_is_tried_again_under_its_id_is_another_call(
    world: Any, make_line: Any
) -> None:
    world.append("a.jsonl", make_line(1), make_line(1, timestamp="2026-01-01T00:00:01.5Z"))
    world.step()
    assert world.counts() == (2, 2, 0, 0, 0)
