"""Others at the ledger: long readers, a daemon that was stopped, and who took a part of it away."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from prodlensd.ledger import LedgerError
from tests.service.conftest import Machine

_WAL_LIMIT_BYTES = 64 << 20
_PAD = "x" * 500_000


def wal_bytes(world: Any) -> int:
    return Path(f"{world.ledger}-wal").stat().st_size


def counted(reader: apsw.Connection) -> Any:
    return reader.execute(
        "SELECT (SELECT count(*) FROM traces), (SELECT count(*) FROM dead_letters)"
    ).get


@pytest.mark.long
@pytest.mark.scenario(79)
def test_under_a_long_reader_the_wal_grows_and_after_it_shrinks_and_all_rows_are_right(
    world: Any, make_line: Any
) -> None:
    world.append("a.jsonl", make_line(1))
    world.step()
    reader = apsw.Connection(str(world.ledger), flags=apsw.SQLITE_OPEN_READONLY)
    reader.execute("BEGIN")
    assert counted(reader) == (1, 0)
    number = 1
    garbage = 0
    while wal_bytes(world) <= _WAL_LIMIT_BYTES + (8 << 20):
        for _ in range(8):
            number += 1
            garbage += 1
            world.append("a.jsonl", make_line(number), b"%d garbage %a\n" % (garbage, _PAD))
        world.step()
        assert garbage < 500, "the log does not grow"
    assert counted(reader) == (1, 0)
    assert world.query("SELECT count(*) FROM traces") == [number]
    grown = wal_bytes(world)
    reader.execute("COMMIT")
    assert counted(reader) == (number, garbage)
    reader.close()
    for _ in range(3):
        number += 1
        world.append("a.jsonl", make_line(number))
        world.step()
    assert wal_bytes(world) <= _WAL_LIMIT_BYTES < grown
    assert world.query("PRAGMA integrity_check") == ["ok"]
    assert len(set(world.sessions())) == number
    assert world.counts() == (number + garbage, number, 0, garbage, 0)
    world.restart()
    world.step()
    assert world.counts() == (number + garbage, number, 0, garbage, 0)


@pytest.mark.long
@pytest.mark.scenario(79)
def test_readers_that_come_and_go_let_the_wal_be_used_again(world: Any, make_line: Any) -> None:
    pages = 50
    world.store.db.pragma("wal_autocheckpoint", pages)
    number = 0
    reader: apsw.Connection | None = None
    for _ in range(60):
        later = apsw.Connection(str(world.ledger), flags=apsw.SQLITE_OPEN_READONLY)
        later.execute("BEGIN")
        counted(later)
        if reader is not None:
            reader.close()
        reader = later
        for _ in range(20):
            number += 1
            world.append("a.jsonl", make_line(number, pad="x" * 200, ids=False))
        world.step()
    assert reader is not None
    assert counted(reader)[0] == number - 20
    grown = wal_bytes(world)
    assert grown > 3 * pages * world.store.db.pragma("page_size"), "no reader was in the way"
    reader.close()
    for _ in range(2 * pages):
        number += 1
        world.append("a.jsonl", make_line(number))
        world.step()
        # It is written from the front again, but for the step in which it is written back.
        assert wal_bytes(world) <= grown + (64 << 10)
    assert world.counts() == (number, number, 0, 0, 0)


@pytest.mark.scenario(77)
def test_a_ledger_taken_away_without_its_wal_is_not_begun_anew_over_that(
    world: Any, make_line: Any
) -> None:
    lines = [make_line(number, ids=number % 2 == 0) for number in range(1, 301)]
    for at in range(0, 300, 100):
        world.append("a.jsonl", *lines[at : at + 100])
        world.step()
        world.store.db.execute("PRAGMA wal_checkpoint")
    world.append("a.jsonl", make_line(301))
    world.step()
    wal = Path(f"{world.ledger}-wal")
    left_by_a_kill = wal.read_bytes()
    world.stop()
    world.ledger.unlink()
    wal.write_bytes(left_by_a_kill)
    with pytest.raises(LedgerError, match=r"prodlens\.db-wal is there"):
        world._start()
    assert not world.ledger.exists()
    assert wal.read_bytes() == left_by_a_kill
    wal.rename(wal.with_suffix(".away"))
    world._start()
    world.step()
    assert world.sessions() == [f"s{number}" for number in range(1, 302)]
    assert world.counts() == (301, 301, 0, 0, 0)


@pytest.mark.long
@pytest.mark.scenario(83)
def test_a_daemon_that_was_stopped_still_holds_its_ledger(
    home: Path, make_line: Any, wait_until: Callable[..., Any]
) -> None:
    machine = Machine(home, wait_until)
    try:
        holder = machine.start()
        holder.send_signal(signal.SIGSTOP)
        stat = Path(f"/proc/{holder.pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(") ")[2][0] == "T", "that it is stopped")
        (machine.logs / "a.jsonl").write_bytes(make_line(1))
        second = machine.command("run", "--once")
        assert second.returncode == 75
        assert "another prodlensd is running" in second.stderr
        assert machine.query("SELECT count(*) FROM traces") == [0]
        holder.send_signal(signal.SIGCONT)
        wait_until(lambda: machine.query("SELECT count(*) FROM traces") == [1], "the line")
        assert machine.query("SELECT pid FROM daemon") == [holder.pid]
    finally:
        machine.reap()
