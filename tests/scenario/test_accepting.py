"""Dead letters that somebody has accepted: they warn of nothing, and stay what they are for good.

The older version is one that does not know lines with `"new"` in them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import apsw
import pytest

from prodlensd.jobs import retrying as dead_letters
from prodlensd.ledger import BEFORE, LETTER_STATES, Letters, Partitions, Reader
from tests.scenario.conftest import World
from tests.scenario.proving import PROVEN, verdict
from tests.scenario.test_redeeming import (
    ingest_as_an_older_version,
    lose_the_checkpoints,
    new,
    retry,
)

ACCEPTED = LETTER_STATES[1:]


def accept(
    world: World,
    state: str,
    *,
    reason: str | None = None,
    meanwhile: Callable[[], None] = lambda: None,
) -> Counter[str]:
    """How many were accepted of each reason; `meanwhile` and a check come after each batch."""
    letters = Letters(world.store)

    def pause() -> None:
        meanwhile()
        world.check()

    accepted: Counter[str] = Counter()
    with Reader(world.ledger) as reader:
        for batch in dead_letters.accept(
            reader.letters.in_pages(reason, BEFORE[state], dead_letters.BATCH_MAX_LINES),
            lambda batch: letters.accept(state, [letter.key for letter in batch]),
            pause,
        ):
            accepted += batch.letters
    return accepted


def open_letters(world: World) -> dict[str, int]:
    """What status, the metrics and their warnings ask."""
    with Reader(world.ledger) as reader:
        return reader.tallies.tally("reason")


def states(world: World) -> Counter[str]:
    return Counter(world.query("SELECT state FROM dead_letters"))


@pytest.mark.parametrize("state", ACCEPTED)
def test_an_accepted_letter_warns_no_longer_and_is_counted_as_before(
    world: World, make_line: Any, state: str
) -> None:
    world.append("a.jsonl", b"garbage\n", b"[1]\n", make_line(1), b"more garbage\n")
    world.step()
    counts = world.counts()
    assert open_letters(world) == {"invalid_json": 2, "not_an_object": 1}
    assert accept(world, state, reason="invalid_json") == {"invalid_json": 2}
    assert open_letters(world) == {"not_an_object": 1}
    assert world.counts() == counts
    assert accept(world, state) == {"not_an_object": 1}
    assert open_letters(world) == {}
    assert accept(world, state) == {}
    assert (world.counts(), verdict(world)) == (counts, PROVEN)


def test_of_a_purged_letter_the_fact_is_kept_and_no_byte(world: World) -> None:
    world.append("a.jsonl", b"x\n", b"garbage\n")
    world.step()
    fact = "SELECT key, source_id, source_offset, length, reason, detail, received_us FROM "
    before = world.query(f"{fact} dead_letter")
    assert accept(world, "purged") == {"invalid_json": 2}
    assert world.query(f"{fact} dead_letter") == before
    assert world.query("SELECT raw, state FROM dead_letters") == [(b"", "purged")] * 2


def test_a_dismissed_letter_can_be_purged_and_a_purged_one_stays_so(world: World) -> None:
    world.append("a.jsonl", b"one\n", b"two\n")
    world.step()
    assert accept(world, "dismissed").total() == 2
    assert accept(world, "purged").total() == 2
    assert accept(world, "dismissed").total() == 0
    assert states(world) == {"purged": 2}


def test_a_dismissed_letter_that_can_be_read_later_becomes_a_trace(
    world: World, make_line: Any
) -> None:
    ingest_as_an_older_version(world, new(make_line, 1, ids=True), new(make_line, 2, ids=False))
    (first, _) = world.query("SELECT key FROM dead_letter ORDER BY rowid")
    Letters(world.store).accept("dismissed", [first])
    assert open_letters(world) == {"unknown_format": 1}
    assert retry(world) == (2, 0, 0)
    assert open_letters(world) == {}
    assert world.sessions() == ["s1", "s2"]
    assert verdict(world) == PROVEN


def test_a_purged_letter_is_not_retried(world: World, make_line: Any) -> None:
    ingest_as_an_older_version(world, new(make_line, 1, ids=True), new(make_line, 2, ids=False))
    accept(world, "purged")
    assert retry(world) == (0, 0, 0)
    assert states(world) == {"purged": 2}


def test_what_is_purged_while_it_is_retried_stays_purged(world: World, make_line: Any) -> None:
    ingest_as_an_older_version(world, new(make_line, 1, ids=False))
    redeem = world.store.redeem

    def purge_first(letters: Iterable[Any], now_us: int) -> Any:
        accept(world, "purged")
        return redeem(letters, now_us)

    world.store.redeem = purge_first  # type: ignore[method-assign]
    assert retry(world) == (0, 0, 0)
    assert (world.sessions(), states(world)) == ([], {"purged": 1})


@pytest.mark.parametrize("state", ACCEPTED)
def test_reading_the_same_bytes_again_neither_reopens_nor_doubles_a_letter(
    world: World, make_line: Any, state: str
) -> None:
    world.append("a.jsonl", b"garbage\n", make_line(1, ids=False), b"[1]\n")
    world.step()
    accept(world, state)
    lose_the_checkpoints(world)
    (world.logs / "copy.jsonl").write_bytes((world.logs / "a.jsonl").read_bytes())
    world.step()
    assert states(world) == {state: 2}
    assert open_letters(world) == {}
    assert world.counts() == (9, 1, 6, 2, 0)
    assert verdict(world) == PROVEN


@pytest.mark.parametrize("ids", [True, False])
def test_a_purged_line_that_turns_up_when_it_can_be_read_is_one_trace(
    world: World, make_line: Any, ids: bool
) -> None:
    """Nothing is left to retry, so the reading itself takes the letter out."""
    lines = [make_line(1, ids=False), new(make_line, 2, ids=ids), make_line(3, ids=False)]
    ingest_as_an_older_version(world, *lines)
    accept(world, "purged")
    assert verdict(world) == PROVEN, "the log can be read now, and the letter is there"
    (world.logs / "copy.jsonl").write_bytes((world.logs / "a.jsonl").read_bytes())
    for _ in range(2):
        world.step()
        assert world.sessions() == ["s1", "s2", "s3"]
        assert verdict(world) == PROVEN
        lose_the_checkpoints(world)


def test_others_commit_between_batches_and_what_they_refuse_stays_open(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "BATCH_MAX_LINES", 3)
    world.append("a.jsonl", *(b"garbage %d\n" % n for n in range(10)))
    world.step()
    seen = []

    def write() -> None:
        world.append("a.jsonl", b"late\n")
        world.settle()
        seen.append(states(world)["purged"])

    assert accept(world, "purged", meanwhile=write).total() == 10
    assert seen == [3, 6, 9, 10]
    assert states(world) == {"purged": 10, "open": 4}


def test_a_transaction_is_kept_to_a_number_of_bytes_too(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "BATCH_MAX_BYTES", 1000)
    sizes = [400, 400, 400, 5000, 400, 600, 1]
    world.append("a.jsonl", *(b"x" * size + b"\n" for size in sizes))
    world.step()
    seen = []
    accept(world, "purged", meanwhile=lambda: seen.append(states(world)["purged"]))
    assert seen == [2, 3, 4, 6, 7]


@pytest.mark.long
def test_the_room_goes_back_to_the_system(world: World) -> None:
    world.append("a.jsonl", *(b"x" * 20_000 + b"\n" for _ in range(500)))
    world.step()
    world.store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert world.ledger.stat().st_size > 10_000_000
    accept(world, "purged")
    while Partitions(world.store).give_back(100):
        world.check()
    assert Letters(world.store).empty_log()
    assert world.ledger.stat().st_size < 500_000
    assert verdict(world) == PROVEN


@pytest.mark.long
def test_where_room_cannot_be_given_back_it_is_used_again(world: World) -> None:
    world.store.db.execute("PRAGMA auto_vacuum = NONE; VACUUM")
    line = b"x" * 20_000 + b"\n"
    world.append("a.jsonl", *[line] * 500)
    world.step()
    world.store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size_bytes = world.ledger.stat().st_size
    accept(world, "purged")
    assert not Partitions(world.store).give_back(100)
    world.append("a.jsonl", *[line] * 450)
    world.step()
    world.store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert size_bytes == world.ledger.stat().st_size


@pytest.mark.parametrize("auto_vacuum", ["INCREMENTAL", "NONE"])
def test_no_purged_byte_is_left_in_the_files_whatever_was_done_with_it_before(
    world: World, auto_vacuum: str
) -> None:
    world.store.db.execute(f"PRAGMA auto_vacuum = {auto_vacuum}; VACUUM")
    world.append("a.jsonl", *(b"canary " * n + b"\n" for n in (1, 100, 10_000)))
    world.step()
    accept(world, "dismissed")
    accept(world, "purged")
    assert Letters(world.store).empty_log()
    for path in world.ledger.parent.glob("prodlens.db*"):
        assert b"canary" not in path.read_bytes(), path.name


def test_a_reader_keeps_the_write_ahead_log_and_that_is_told(world: World) -> None:
    world.append("a.jsonl", b"garbage\n")
    world.step()
    with Reader(world.ledger) as reader, reader.one_moment():
        reader.sources.counts()
        accept(world, "purged")
        assert not Letters(world.store).empty_log()
    assert Letters(world.store).empty_log()


#: Forks one `purge --all` after the other, each on a copy of the ledger, the nth killed at its nth
#: statement; the last one runs to its end.
KILLER = """
import os, shutil, signal, sys
from itertools import count
from pathlib import Path
from prodlensd.jobs import retrying as dead_letters
from prodlensd.app import dead_letters as accepting
from prodlensd.cli import dead_letters as _loaded, main
from prodlensd.ledger import transactions
pristine, folder = map(Path, sys.argv[1:])
dead_letters.BATCH_MAX_LINES = 3
accepting._PAGES_AT_ONCE = 2
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
        main(["dead-letters", "purge", "--all"], standalone_mode=False)
        os._exit(0)
    if os.waitpid(child, 0)[1] != signal.SIGKILL:
        break
"""


class Killed(World):
    """A world of which only the ledger is left, after a purge of it was killed."""

    def __init__(self, home: Path) -> None:
        self.ledger = home / "prodlens.db"

    def run_again(self) -> None:
        environment = os.environ | {"PRODLENSD_HOME": str(self.ledger.parent)}
        command = [sys.executable, "-m", "prodlensd", "dead-letters", "purge", "--all"]
        subprocess.run(command, env=environment, check=True, timeout=100, stdout=subprocess.DEVNULL)

    def done(self) -> tuple[int, int]:
        """How many were purged, and minus the pages that are still free."""
        purged = "SELECT count(*) FROM dead_letter WHERE state = 'purged' AND raw = x''"
        return self.query(purged)[0], -self.query("PRAGMA freelist_count")[0]

    def outcome(self) -> list[Any]:
        tables = ["SELECT * FROM dead_letter", "SELECT * FROM tally WHERE traces", "SELECT 0 + 0"]
        return [sorted(map(repr, self.query(table))) for table in tables] + [self.counts()]


@pytest.mark.long
def test_kill_9_at_any_statement_of_a_purge_leaves_batches_whole_and_can_be_run_again(
    world: World, make_line: Any, tmp_path: Path
) -> None:
    world.append("a.jsonl", make_line(1), *(b"x" * 9000 + b"%d\n" % n for n in range(7)), b"[1]\n")
    world.step()
    folder = tmp_path / "killed"
    folder.mkdir()
    pristine = tmp_path / "pristine.db"
    world.store.db.execute("VACUUM INTO ?", (str(pristine),))
    command = [sys.executable, "-c", KILLER, str(pristine), str(folder)]
    subprocess.run(command, check=True, timeout=120)
    count = len(list(folder.iterdir()))
    *killed, whole = (Killed(folder / str(n + 1)) for n in range(count))
    assert len(killed) > 30
    expected = whole.outcome()
    assert whole.done() == (8, 0)
    done = []
    for n, one in enumerate(killed):
        assert apsw.Connection(str(one.ledger)).pragma("integrity_check") == "ok"
        one.check()
        done.append(one.done()[0])
        if n % 8 == 0 or n > count - 4:  # each is a process
            one.run_again()
            one.check()
            assert (one.outcome(), one.done()) == (expected, (8, 0))
    assert done == sorted(done)  # the later it was killed, the more was done
    assert set(done) == {0, 3, 6, 8}
