"""Whoever takes turns leaves others as much time as it takes for itself."""

from __future__ import annotations

import pytest

from prodlensd.ledger.turns import Turns


class Clock:
    """A time of its own, which passes when somebody works or waits."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.waited_s: list[float] = []

    def work(self, s: float) -> None:
        self.now_s += s

    def wait(self, s: float) -> None:
        self.waited_s.append(s)
        self.now_s += s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def turns(clock: Clock) -> Turns:
    return Turns(lambda: clock.now_s, clock.wait)


def test_the_first_turn_begins_at_once(clock: Clock, turns: Turns) -> None:
    with turns:
        pass
    assert clock.waited_s == []


def test_the_next_turn_begins_when_others_had_as_long_as_the_last_one_took(
    clock: Clock, turns: Turns
) -> None:
    with turns:
        clock.work(0.03)
    with turns:
        clock.work(0.05)
    with turns:
        pass
    assert clock.waited_s == pytest.approx([0.03, 0.05])


def test_what_is_done_between_turns_is_time_for_others_as_well(clock: Clock, turns: Turns) -> None:
    with turns:
        clock.work(0.05)
    clock.work(0.03)
    with turns:
        clock.work(0.05)
    clock.work(0.05)
    with turns:
        pass
    assert clock.waited_s == pytest.approx([0.02])


def test_a_long_turn_is_followed_by_no_more_than_a_tenth_of_a_second(
    clock: Clock, turns: Turns
) -> None:
    with turns:
        clock.work(10)
    with turns:
        pass
    assert clock.waited_s == pytest.approx([0.1])


def test_a_turn_that_fails_counts_as_well(clock: Clock, turns: Turns) -> None:
    def fail() -> None:
        clock.work(0.04)
        raise OSError("full")

    with pytest.raises(OSError, match="full"), turns:
        fail()
    with turns:
        pass
    assert clock.waited_s == pytest.approx([0.04])


def test_turns_are_given_one_after_the_other(clock: Clock, turns: Turns) -> None:
    clock.work(0.02)
    turns.give()
    clock.work(0.03)
    turns.give()
    assert clock.waited_s == pytest.approx([0.02, 0.03])
