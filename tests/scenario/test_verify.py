"""What `verify` proves while the ledger moves on under it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prodlensd.answers.verify import Verdict
from prodlensd.logs.tailer import Tailer
from prodlensd.model import Price, Trace
from tests.scenario.proving import proof


def unpriced(_trace: Trace) -> Price:
    return Price(None, "unpriced")


def prove(world: Any, parquet: Path, meanwhile: Callable[[], None]) -> Verdict:
    """The verdict, with something happening after the moment that it is about."""
    pending = [meanwhile]
    return proof(
        world,
        parquet,
        progress=lambda _done, _total: pending.pop()() if pending else None,
    )


@pytest.fixture
def parquet(world: Any, make_line: Any, tmp_path: Path) -> Path:
    """The snapshots of a ledger of ten lines."""
    world.append("a.jsonl", *(make_line(n, ids=n % 2 == 0) for n in range(10)))
    world.step()
    world.compact(tmp_path)
    return tmp_path


def test_lines_that_are_ingested_meanwhile_are_of_another_moment(
    world: Any, make_line: Any, parquet: Path
) -> None:
    def meanwhile() -> None:
        world.append("a.jsonl", *(make_line(n) for n in range(10, 20)), b"garbage\n")
        world.append("b.jsonl", make_line(20))
        world.step()

    verdict = prove(world, parquet, meanwhile)
    assert (verdict.state, verdict.differences) == ("complete", ())
    assert (verdict.sources, verdict.totals.lines, verdict.snapshots) == (1, 10, 1)
    assert prove(world, parquet, lambda: None).totals.lines == 22


def test_a_snapshot_that_is_written_meanwhile_is_not_compared(
    world: Any, make_line: Any, parquet: Path
) -> None:
    def meanwhile() -> None:
        world.append("a.jsonl", make_line(11))
        world.step()
        world.compact(parquet)

    verdict = prove(world, parquet, meanwhile)
    assert (verdict.state, verdict.differences) == ("complete", ())
    assert (verdict.snapshots, verdict.snapshots_due) == (0, 1)
    verdict = prove(world, parquet, lambda: None)
    assert (verdict.snapshots, verdict.snapshots_due) == (1, 0)


@pytest.mark.parametrize("action", ["rename", "unlink", "truncate", "rewrite"])
def test_a_file_that_changes_meanwhile_is_no_failure(
    world: Any, make_line: Any, parquet: Path, action: str
) -> None:
    path = world.logs / "a.jsonl"

    def meanwhile() -> None:
        if action == "rename":
            path.rename(path.with_name("a.jsonl.1"))
        elif action == "unlink":
            path.unlink()
        else:
            path.write_bytes(make_line(30) * (100 if action == "rewrite" else 0))

    verdict = prove(world, parquet, meanwhile)
    assert (verdict.state, verdict.differences) == ("complete", ())
    reasons = {"unlink": "gone", "truncate": "truncated", "rewrite": "rewritten"}
    expected = [reasons[action]] if action in reasons else []
    assert [unread.reason for unread in verdict.unread] == expected


def test_a_file_that_is_rewritten_between_two_reads_is_no_failure(
    world: Any, make_line: Any, parquet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.append("a.jsonl", *(make_line(n, pad="x" * 4000) for n in range(2000, 3500)))
    world.step()
    path = world.logs / "a.jsonl"
    read, reads = Tailer.read, []

    def rewriting(tailer: Tailer, now_ns: int) -> Any:
        reads.append(now_ns)
        if len(reads) == 2:
            path.write_bytes(make_line(30) * 100_000)
        return read(tailer, now_ns)

    monkeypatch.setattr(Tailer, "read", rewriting)
    verdict = prove(world, parquet, lambda: None)
    assert (verdict.state, verdict.differences) == ("complete", ())
    assert [unread.reason for unread in verdict.unread] == ["rewritten"]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_hole_is_no_difference_however_it_was_read(
    world: Any, make_line: Any, tmp_path: Path, at_once: bool
) -> None:
    zeros = b"\0" * 1000
    ends = [b"garbage\n", make_line(2), make_line(3, ids=False), b"\n"]
    for part in (make_line(1), *(part for end in ends for part in (zeros, end)), zeros):
        world.append("a.jsonl", part)
        if not at_once:
            world.step()
    world.step()
    for more in (b"", zeros, make_line(4)):
        world.append("a.jsonl", more)
        verdict = prove(world, tmp_path, lambda: None)
        assert (verdict.state, verdict.differences) == ("complete", ())
        assert (verdict.reread, verdict.totals.lines) == (1, 5)
