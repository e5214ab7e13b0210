"""Dead letters that a newer version can read become traces, once, whatever is read again later.

The older version is one that does not know lines with `"new"` in them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from prodlensd import formats
from prodlensd.jobs import retrying as dead_letters
from prodlensd.ledger import Reader
from prodlensd.model import BadLine, Price, Trace
from tests.scenario.conftest import PricedBy


def price(_trace: Trace) -> Price:
    return Price(1, "table")


def parse_as_an_older_version(line: bytes) -> Any:
    if b'"new"' in line:
        raise BadLine("unknown_format", "too new")
    return formats.parse_line(line)


def new(make_line: Any, number: int, *, ids: bool) -> bytes:
    line: bytes = make_line(number, ids=ids, new=1)
    return line


def ingest_as_an_older_version(world: Any, *lines: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("prodlensd.pipeline.lines.parse_line", parse_as_an_older_version)
        patch.setattr(world.daemon, "_pricer", PricedBy(price))
        world.append("a.jsonl", *lines)
        world.step()


def retry(world: Any, *, max_line_bytes: int = 1 << 20, reason: str | None = None) -> Any:
    """Moved by reason, duplicates, stayed by reason; with the ledger checked after each batch."""
    moved, duplicates, stayed = 0, 0, 0
    with Reader(world.ledger) as reader:
        for batch in dead_letters.retry(
            reader.letters.with_bytes(reason),
            pricer=PricedBy(price),
            redeem=lambda letters: world.store.redeem(letters, 0),
            max_line_bytes=max_line_bytes,
        ):
            world.check()
            assert batch.moved.total() <= dead_letters.BATCH_MAX_LINES
            moved += batch.moved.total()
            duplicates += batch.duplicates
            stayed += batch.stayed.total()
    return moved, duplicates, stayed


def lose_the_checkpoints(world: Any) -> None:
    with world.store.db as db:
        db.execute("UPDATE source SET state = 'gone'")
    world.restart()
    world.step()


@pytest.mark.parametrize("ids", [True, False])
def test_what_can_be_read_now_becomes_a_trace_at_its_old_place(
    world: Any, make_line: Any, ids: bool
) -> None:
    known, later = make_line(1), new(make_line, 2, ids=ids)
    ingest_as_an_older_version(world, known, later, b"garbage\n", make_line(3))
    assert world.counts() == (4, 2, 0, 2, 0)
    (key,) = world.query("SELECT key FROM dead_letter WHERE reason = 'unknown_format'")
    version = world.query("SELECT version FROM partition")[0]
    assert retry(world) == (1, 0, 1)
    assert world.sessions() == ["s1", "s2", "s3"]
    assert world.counts() == (4, 3, 0, 1, 0)
    assert world.query("SELECT source_id, source_offset FROM traces WHERE session_id = 's2'") == [
        (1, len(known))
    ]
    expected = "call-2 chatcmpl-2" if ids else key
    assert world.query("SELECT key FROM trace WHERE session_id = 's2'") == [expected]
    assert world.query("SELECT version FROM partition")[0] > version
    assert retry(world) == (0, 0, 1)
    assert world.counts() == (4, 3, 0, 1, 0)


def test_a_byte_order_mark_before_the_line_is_no_part_of_it(
    world: Any, make_line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parse_from_the_brace(line: bytes, parse: Callable[[bytes], Trace] = formats.parse) -> Trace:
        assert line.startswith(b"{")
        return parse(line)

    ingest_as_an_older_version(world, b"\xef\xbb\xbf", new(make_line, 1, ids=True))
    monkeypatch.setattr(formats, "parse", parse_from_the_brace)
    assert retry(world) == (1, 0, 0)
    assert world.sessions() == ["s1"]


def test_after_it_a_lost_checkpoint_adds_nothing(world: Any, make_line: Any) -> None:
    lines = [make_line(n, ids=n % 2 == 0) for n in range(1, 9)]
    lines[3:3] = [new(make_line, 20, ids=False), b"garbage\n", new(make_line, 21, ids=False)]
    ingest_as_an_older_version(world, *lines)
    assert retry(world) == (2, 0, 1)
    before = world.sessions()
    assert len(before) == 10
    lose_the_checkpoints(world)
    assert world.sessions() == before
    assert world.counts() == (22, 10, 11, 1, 0)


def test_after_it_self_identifying_lines_are_read_again_without_adding(
    world: Any, make_line: Any
) -> None:
    chained_before = make_line(1, ids=False)
    lines = [chained_before, new(make_line, 2, ids=True), make_line(3), make_line(4)]
    ingest_as_an_older_version(world, *lines)
    assert retry(world) == (1, 0, 0)
    lose_the_checkpoints(world)
    assert world.sessions() == ["s1", "s2", "s3", "s4"]
    assert world.counts() == (8, 4, 4, 0, 0)


@pytest.mark.parametrize("retried", [True, False])
def test_chained_lines_after_one_that_now_identifies_itself_are_read_again_without_adding(
    world: Any, make_line: Any, retried: bool
) -> None:
    lines = [new(make_line, 1, ids=True), make_line(2, ids=False), make_line(3, ids=False)]
    ingest_as_an_older_version(world, *lines)
    if retried:
        assert retry(world) == (1, 0, 0)
    lose_the_checkpoints(world)
    assert world.sessions() == ["s1", "s2", "s3"]


@pytest.mark.parametrize("ids", [True, False])
def test_what_a_rereading_brought_already_leaves_the_queue_as_a_duplicate(
    world: Any, make_line: Any, ids: bool
) -> None:
    ingest_as_an_older_version(world, make_line(1), new(make_line, 2, ids=ids))
    lose_the_checkpoints(world)
    assert world.counts() == (4, 2, 1, 1, 0)
    assert retry(world) == (1, 1, 0)
    assert world.sessions() == ["s1", "s2"]
    assert world.counts() == (4, 2, 2, 0, 0)


def test_a_call_that_was_refused_twice_is_one_trace(world: Any, make_line: Any) -> None:
    ingest_as_an_older_version(world, *[new(make_line, 1, ids=True)] * 2)
    assert retry(world) == (2, 1, 0)
    assert world.counts() == (2, 1, 1, 0, 0)


def test_the_richer_record_of_a_known_call_stays(world: Any, make_line: Any) -> None:
    poor = make_line(1, metadata={})
    ingest_as_an_older_version(world, poor, new(make_line, 1, ids=True))
    assert retry(world) == (1, 1, 0)
    assert world.sessions() == ["s1"]
    assert world.counts() == (2, 1, 1, 0, 0)


def test_many_move_in_batches_from_several_sources(
    world: Any, make_line: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "BATCH_MAX_LINES", 7)
    ingest_as_an_older_version(
        world, *(new(make_line, n, ids=n % 3 == 0) for n in range(20)), b"garbage\n"
    )
    (world.logs / "a.jsonl").rename(world.logs / "a.jsonl.1")
    ingest_as_an_older_version(world, *(new(make_line, n, ids=n % 3 == 0) for n in range(20, 40)))
    assert retry(world) == (40, 0, 1)
    assert world.query("SELECT lines, traces, duplicates, dead_letters FROM sources") == [
        (21, 20, 0, 1),
        (20, 20, 0, 0),
    ]


def test_what_somebody_else_moved_meanwhile_is_not_moved_again(world: Any, make_line: Any) -> None:
    ingest_as_an_older_version(world, new(make_line, 1, ids=False), new(make_line, 2, ids=True))
    with Reader(world.ledger) as reader:
        queue = list(reader.letters.with_bytes())
    assert retry(world) == (2, 0, 0)
    late = dead_letters.retry(
        queue,
        pricer=PricedBy(price),
        redeem=lambda letters: world.store.redeem(letters, 0),
        max_line_bytes=1 << 20,
    )
    assert [batch.moved.total() for batch in late] == [0]
    world.check()
    assert world.counts() == (2, 2, 0, 0, 0)


def test_a_line_over_the_limit_waits_for_a_higher_one(world: Any, make_line: Any) -> None:
    world.max_line_bytes = 1000
    world.restart()
    world.append("a.jsonl", make_line(1, ids=False, pad="x" * 2000), make_line(2, ids=False))
    world.step()
    assert world.counts() == (2, 1, 0, 1, 0)
    assert retry(world, max_line_bytes=1000) == (0, 0, 1)
    assert retry(world, max_line_bytes=1 << 20) == (1, 0, 0)
    world.max_line_bytes = 1 << 20
    lose_the_checkpoints(world)
    assert world.sessions() == ["s1", "s2"]
    assert world.counts() == (4, 2, 2, 0, 0)


def test_a_line_of_which_only_the_head_was_kept_stays(world: Any, make_line: Any) -> None:
    # The head by itself would be a trace: what follows it is white space.
    line = make_line(1)[:-1].ljust(100_000) + b"\n"
    world.max_line_bytes = 1000
    world.restart()
    world.append("a.jsonl", line)
    world.step()
    assert world.query("SELECT length, length(raw) FROM dead_letters") == [(100_000, 64 << 10)]
    assert retry(world) == (0, 0, 1)
