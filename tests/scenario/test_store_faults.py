"""The ledger's own troubles: a full disk, a lock, a long reader, a database damaged or gone."""

from __future__ import annotations

import os
import shutil
from typing import Any

import apsw
import pytest

from prodlensd.ledger import Ledger, LedgerError, LedgerLockedError, LedgerLostError


@pytest.mark.scenario(72)
def test_a_full_disk_moves_no_offset_and_heals_by_itself(world: Any, make_line: Any) -> None:
    world.append("a.jsonl", *(make_line(n) for n in range(1, 11)))
    world.step()
    pages = world.store.db.pragma("page_count")
    world.store.db.pragma("max_page_count", pages)
    world.append("a.jsonl", *(make_line(n, pad="") for n in range(11, 1011)))
    with pytest.raises(LedgerError, match="full"):
        world.step()
    assert world.query("SELECT count(*), (SELECT sum(lines) FROM sources) FROM traces") == [
        (10, 10)
    ]
    world.store.db.pragma("max_page_count", 1 << 30)
    world.step()
    assert world.counts() == (1010, 1010, 0, 0, 0)


@pytest.mark.scenario(78)
def test_a_database_locked_by_another_program_is_waited_for(world: Any, make_line: Any) -> None:
    world.append("a.jsonl", make_line(1))
    world.step()
    world.store.db.set_busy_timeout(10)
    other = apsw.Connection(str(world.ledger))
    other.execute("BEGIN EXCLUSIVE")
    world.append("a.jsonl", make_line(2))
    with pytest.raises(LedgerLockedError, match="locked by another program"):
        world.step()
    other.execute("ROLLBACK")
    other.close()
    world.step()
    assert world.sessions() == ["s1", "s2"]


@pytest.mark.long
@pytest.mark.scenario(79)
def test_a_reader_that_never_ends_keeps_nobody_from_writing(world: Any, make_line: Any) -> None:
    world.append("a.jsonl", make_line(1))
    world.step()
    reader = apsw.Connection(str(world.ledger), flags=apsw.SQLITE_OPEN_READONLY)
    reader.execute("BEGIN")
    assert list(reader.execute("SELECT count(*) FROM traces")) == [(1,)]
    for number in range(2, 50):
        world.append("a.jsonl", make_line(number))
        world.step()
    assert list(reader.execute("SELECT count(*) FROM traces")) == [(1,)]
    reader.close()
    assert len(world.sessions()) == 49


@pytest.mark.scenario(77)
@pytest.mark.parametrize("how", ["deleted", "moved", "replaced"])
def test_a_database_taken_away_stops_the_daemon_before_it_writes_into_the_void(
    world: Any, make_line: Any, how: str
) -> None:
    world.daemon.begin()
    world.append("a.jsonl", make_line(1))
    world.step()
    if how == "deleted":
        world.ledger.unlink()
    elif how == "moved":
        world.ledger.rename(world.ledger.with_suffix(".old"))
    else:
        shutil.copy(world.ledger, world.ledger.with_suffix(".copy"))
        world.ledger.with_suffix(".copy").replace(world.ledger)
    world.append("a.jsonl", make_line(2))
    with pytest.raises(LedgerLostError, match="moved, deleted or replaced"):
        world.step()


@pytest.mark.scenario(82)
def test_a_daemon_whose_lock_was_deleted_is_shut_out_by_the_next_one(
    world: Any, make_line: Any
) -> None:
    world.daemon.begin()
    world.append("a.jsonl", make_line(1))
    world.step()
    with Ledger(world.ledger) as second:
        second.take_over(pid=1, version="x", started_us=1)
    world.append("a.jsonl", make_line(2))
    with pytest.raises(LedgerLostError, match="taken over by another prodlensd"):
        world.step()
    assert world.sessions() == ["s1"]


@pytest.mark.scenario(76)
@pytest.mark.parametrize("damage", ["header", "middle", "cut"])
def test_a_damaged_database_is_refused_and_not_begun_anew(
    world: Any, make_line: Any, damage: str
) -> None:
    world.append("a.jsonl", *(make_line(n) for n in range(2000)))
    world.step()
    world.stop()
    size = world.ledger.stat().st_size
    with world.ledger.open("r+b") as file:
        if damage == "cut":
            file.truncate(size // 2)
        else:
            file.seek(0 if damage == "header" else 8192)
            file.write(os.urandom(16384))
    with pytest.raises(LedgerError), Ledger(world.ledger) as store:
        store.sources.checkpoints()
    assert world.ledger.stat().st_size > 0


@pytest.mark.scenario(76)
def test_an_empty_database_file_where_a_ledger_was_is_refused(world: Any, make_line: Any) -> None:
    world.append("a.jsonl", make_line(1))
    world.step()
    world.stop()
    os.truncate(world.ledger, 0)
    with pytest.raises(LedgerError, match="empty"), Ledger(world.ledger):
        pass
