"""Corpora of Codex' transcripts: one for each habit that a report tells of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from tests.transcripts.calls import DAY_US, Call, Usage
from tests.transcripts.codex import Thread
from tests.transcripts.corpus import BEGIN_US, CODEX_MODELS, MINUTE_US, Corpus, Maker

_HOUR_US: Final = 60 * MINUTE_US
#: Of earlier ones, what is written to the cache costs what is read afresh.
_PRICED_WRITES: Final = "gpt-5.6-terra"


def _id(make: Maker, at_us: int) -> str:
    """A UUIDv7: what is younger has a larger one."""
    ms, rest = at_us // 1000, make.random.getrandbits(76)
    digits = f"{ms:012x}7{rest:019x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _thread(make: Maker, at_us: int = BEGIN_US, **about: Any) -> Thread:
    return Thread(make.random, make.texts, _id(make, at_us), at_us=at_us, **about)


def _work(
    make: Maker,
    thread: Thread,
    begin_us: int,
    calls: int,
    again: Iterable[int] = (),
    model: str | None = CODEX_MODELS[0],
) -> list[Call]:
    """A turn of so many calls; the counter is repeated after those of these numbers."""
    thread.turn(begin_us, model)
    repeated, made = [*again], []
    for number in range(calls):
        at_us = begin_us + (1 + number) * MINUTE_US
        call = make.codex_call(thread.thread_id, at_us, thread.model)
        thread.call(call)
        thread.said(at_us + 1_000_000)
        for time in range(repeated.count(number)):
            thread.again(at_us + (2 + time) * 7_000_000, call.usage)
        made.append(call)
    return made


def _corpus(make: Maker, *threads: Thread) -> Corpus:
    files = {thread.name: thread.content for thread in threads}
    telling = sum(thread.telling for thread in threads)
    return Corpus("codex", files, make.calls, telling, sum(each.repeated for each in threads))


def again(make: Maker) -> Corpus:
    """Counters that are repeated with fresh times; a turn of another model."""
    thread = _thread(make)
    thread.odd(BEGIN_US)
    _work(make, thread, BEGIN_US, 6, again=(0, 0, 2, 5))
    _work(make, thread, BEGIN_US + _HOUR_US, 3, again=(2,), model=CODEX_MODELS[2])
    return _corpus(make, thread)


def forks(make: Maker) -> Corpus:
    """Forks and forks of forks, which begin with all that was before them, at a new time."""
    parent = _thread(make)
    _work(make, parent, BEGIN_US, 6, again=(1, 5))
    first = parent.forked(_id(make, at := BEGIN_US + _HOUR_US), at_us=at)
    _work(make, first, at, 2, again=(1,))
    other = parent.forked(_id(make, at := BEGIN_US + 2 * _HOUR_US), at_us=at)
    _work(make, other, at, 3)
    second = first.forked(_id(make, at := BEGIN_US + DAY_US), at_us=at)
    _work(make, second, at, 1)
    _work(make, parent, BEGIN_US + 2 * DAY_US, 2)
    return _corpus(make, parent, first, other, second)


def forks_of_old_times(make: Maker) -> Corpus:
    """Forks whose copied lines keep their times."""
    parent = _thread(make)
    _work(make, parent, BEGIN_US, 4)
    fork = parent.forked(_id(make, at := BEGIN_US + _HOUR_US), at_us=at, restamped=False)
    _work(make, fork, at, 2)
    return _corpus(make, parent, fork)


def subagents(make: Maker) -> Corpus:
    """Sub-agents that name their parent and count from zero; two of them use the same at first."""
    parent = _thread(make)
    _work(make, parent, BEGIN_US, 3)
    spawned: list[tuple[Thread, Call]] = []
    for number in range(3):
        at_us = BEGIN_US + (9 + number) * MINUTE_US
        about = {"forked_from_id": parent.thread_id, "parent_thread_id": parent.thread_id}
        thread = _thread(make, at_us, **about, thread_source="subagent")
        thread.turn(at_us, CODEX_MODELS[2])
        same = {"usage": spawned[0][1].usage} if number == 1 else {}
        call = make.codex_call(thread.thread_id, at_us + MINUTE_US, thread.model, **same)
        thread.call(call)
        spawned.append((thread, call))
        _work(make, thread, at_us + 2 * MINUTE_US, 2)
    fork = spawned[0][0].forked(_id(make, at := BEGIN_US + _HOUR_US), at_us=at)
    _work(make, fork, at, 1)
    return _corpus(make, parent, *(thread for thread, _ in spawned), fork)


def spawned(make: Maker) -> Corpus:
    """Sub-agents that begin with their parent's last turn alone, and go on with its counter."""
    parent = _thread(make)
    _work(make, parent, BEGIN_US, 4)
    last_turn = parent.place
    _work(make, parent, BEGIN_US + _HOUR_US, 3, again=(1,))
    agents = []
    for number in range(2):
        at_us = BEGIN_US + (2 + number) * _HOUR_US
        agents.append(parent.spawned(_id(make, at_us), at_us=at_us, since=last_turn))
        _work(make, agents[-1], at_us, 2, again=(0,))
    _work(make, parent, BEGIN_US + 5 * _HOUR_US, 1)
    return _corpus(make, parent, *agents)


def inherited(make: Maker) -> Corpus:
    """Forks that copy nothing and begin with the counter of their parent."""
    parent = _thread(make)
    _work(make, parent, BEGIN_US, 4)
    forks = []
    for number in range(2):
        at_us = BEGIN_US + (1 + number) * _HOUR_US
        fork = _thread(make, at_us, forked_from_id=parent.thread_id, thread_source="subagent")
        fork.inherited(at_us, parent.total)
        _work(make, fork, at_us, 2)
        forks.append(fork)
    return _corpus(make, parent, *forks)


def restarts(make: Maker) -> Corpus:
    """A counter that begins anew within a file, also after one small call; and a fork of that."""
    thread = _thread(make)
    for number in range(3):
        _work(make, thread, BEGIN_US + number * _HOUR_US, 3 - number, again=(0,))
        thread.restart()
    thread.call(
        make.codex_call(
            *(thread.thread_id, BEGIN_US + 4 * _HOUR_US, thread.model),
            usage=Usage(tokens_in=9, tokens_out=2),
        )
    )
    thread.restart()
    _work(make, thread, BEGIN_US + 5 * _HOUR_US, 3)
    fork = thread.forked(_id(make, at := BEGIN_US + DAY_US), at_us=at)
    _work(make, fork, at, 1)
    return _corpus(make, thread, fork)


def resumes(make: Maker) -> Corpus:
    """A thread that goes on a month later, in its own file; its head again, after a turn."""
    thread = _thread(make)
    _work(make, thread, BEGIN_US, 3)
    thread.meta(BEGIN_US + 30 * DAY_US)
    _work(make, thread, BEGIN_US + 30 * DAY_US, 2, again=(0,))
    return _corpus(make, thread)


def no_model(make: Maker) -> Corpus:
    """Files of September 2025: nothing says which model it was."""
    thread = _thread(make)
    _work(make, thread, BEGIN_US, 2, again=(1,), model=None)
    return _corpus(make, thread)


def no_last(make: Maker) -> Corpus:
    """Counters without what was used last."""
    thread = _thread(make)
    thread.turn(BEGIN_US, CODEX_MODELS[1])
    for number in range(3):
        at_us = BEGIN_US + (1 + number) * MINUTE_US
        thread.call(make.codex_call(thread.thread_id, at_us, thread.model), last=False)
    return _corpus(make, thread)


def cache_writes(make: Maker) -> Corpus:
    """Counters that note what was written to the cache, which has a price of its own; a fork."""
    thread = _thread(make)
    thread.turn(BEGIN_US, _PRICED_WRITES)
    for number in range(4):
        at_us = BEGIN_US + (1 + number) * MINUTE_US
        call = make.codex_call(thread.thread_id, at_us, thread.model)
        written = (call.usage.tokens_in - call.usage.cache_read) * (number % 3 > 0)
        make.calls[-1] = call._replace(usage=call.usage._replace(cache_write=written))
        thread.call(make.calls[-1])
        thread.again(at_us + 7_000_000, make.calls[-1].usage)
    fork = thread.forked(_id(make, at := BEGIN_US + _HOUR_US), at_us=at)
    _work(make, fork, at, 1, model=_PRICED_WRITES)
    return _corpus(make, thread, fork)


CORPORA: Final[dict[str, Callable[[Maker], Corpus]]] = {
    make.__name__: make
    for make in (
        *(again, forks, forks_of_old_times, subagents, spawned, inherited, restarts, resumes),
        *(no_model, no_last, cache_writes),
    )
}


# As many as were reported ------------------------------------------------------------------------

#: ccusage #1288: what summing `last` is too high by.
REPORTED_AGAIN: Final = (1.30, 1.67)
#: ccusage #897, PokeTokenBar #128: what counting the history of forks is too high by.
REPORTED_FORKS: Final = (3.4, 7.2)


def again_as_reported(make: Maker, threads: int = 40) -> Corpus:
    """Counters repeated as often as in the files of the report."""
    written = []
    for number in range(threads):
        at_us = BEGIN_US + number * 12 * _HOUR_US
        thread = _thread(make, at_us)
        times = make.random.choices(range(60), k=28)
        _work(make, thread, at_us, 60, times, make.random.choice(CODEX_MODELS))
        written.append(thread)
    return _corpus(make, *written)


def forks_as_reported(make: Maker, trees: int = 6) -> Corpus:
    """Threads with sub-agents and forks that replay them, as many as in the files of the report."""
    written = []
    for number in range(trees):
        at_us = BEGIN_US + number * DAY_US
        parent = _thread(make, at_us)
        _work(make, parent, at_us, 60)
        forks = [parent]
        for younger in range(3 + number % 4):
            at = at_us + (2 + younger) * _HOUR_US
            forks.append(make.random.choice(forks).forked(_id(make, at), at_us=at))
            _work(make, forks[-1], at, 3)
        written += forks
    return _corpus(make, *written)
