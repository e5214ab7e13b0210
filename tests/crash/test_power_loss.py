"""The power fails: of what was written to the database last, only a part is there."""

from __future__ import annotations

import random
import signal
from pathlib import Path
from typing import Any

import pytest

_PAGE_BYTES = 8192
_HEADER_BYTES = 32
_FRAME_BYTES = 24 + _PAGE_BYTES


def torn(home: Any, main: bytes, wal: bytes) -> None:
    """Puts the database there as the disk has it after a power loss."""
    Path(f"{home.ledger}-shm").unlink(missing_ok=True)
    home.ledger.write_bytes(main)
    Path(f"{home.ledger}-wal").write_bytes(wal)


@pytest.mark.sampled(2)
@pytest.mark.scenario(71, 76)
@pytest.mark.parametrize("second_run", [False, True])
def test_any_part_of_the_wal_leads_to_the_same_ledger(driver: Any, second_run: bool) -> None:
    home = driver.home()
    home.first_lines()
    if second_run:
        assert home.run() == 0
        home.rotate()
    assert home.run("Writer.beat", "after", 1) == -signal.SIGKILL
    main, wal = home.ledger.read_bytes(), Path(f"{home.ledger}-wal").read_bytes()
    cuts = [0, *range(_HEADER_BYTES, len(wal) + 1, _FRAME_BYTES)]
    assert cuts[-1] == len(wal), "frames of another size"
    assert len(cuts) > 10
    # Every third frame, from any on: test_block_replay loses and tears each single write.
    (first,) = random.sample(range(3), 1)
    for cut in {*cuts[first::3], cuts[-1], *random.sample(range(len(wal)), 5)}:
        torn(home, main, wal[:cut])
        assert home.run() == 0, (cut, home.said())
        assert home.wrong() == [], cut


@pytest.mark.long
@pytest.mark.scenario(76)
def test_a_database_cut_short_is_refused_and_left_as_it_is(driver: Any) -> None:
    home = driver.home()
    home.first_lines()
    assert home.run() == 0
    main = home.ledger.read_bytes()
    last_page = len(main) - _PAGE_BYTES
    assert last_page > 4 * _PAGE_BYTES
    cuts = [0, 2, 100, 511, 512, *range(_PAGE_BYTES - 1, last_page, _PAGE_BYTES), last_page]
    for cut in [*cuts, *random.sample(range(2, last_page), 5)]:
        torn(home, main[:cut], b"")
        assert home.run() == 1, cut
        assert home.ledger.read_bytes() == main[:cut]
    assert "damaged" in home.said()
    torn(home, main, b"")
    assert home.run() == 0
    assert home.wrong() == []


def test_a_database_of_which_one_byte_is_left_is_refused(driver: Any) -> None:
    home = driver.home()
    home.first_lines()
    assert home.run() == 0
    torn(home, home.ledger.read_bytes()[:1], b"")
    assert home.run() == 1


def test_a_database_that_lacks_its_last_byte_is_refused(driver: Any) -> None:
    home = driver.home()
    home.first_lines()
    assert home.run() == 0
    torn(home, home.ledger.read_bytes()[:-1], b"")
    assert home.run() == 1
