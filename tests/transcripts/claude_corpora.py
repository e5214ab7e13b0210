"""Corpora of Claude Code's transcripts: one for each habit that a report tells of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from tests.transcripts.calls import DAY_US, Call, Usage
from tests.transcripts.claude_code import Session, Writing
from tests.transcripts.corpus import BEGIN_US, MINUTE_US, Corpus, Maker

_CWD: Final = "/home/dev/work"
_BEFORE_MIDNIGHT_US: Final = BEGIN_US // DAY_US * DAY_US + DAY_US - 400_000


def _session(make: Maker, *, cwd: str = _CWD, agent: str = "", session_id: str = "") -> Session:
    return Session(make.random, make.texts, session_id or make.uuid(), cwd=cwd, agent=agent)


def _talk(
    make: Maker, session: Session, begin_us: int, answers: Iterable[Writing], **told: Any
) -> list[Call]:
    """Prompts, answers and what the tools gave back."""
    calls = []
    for number, writing in enumerate(answers):
        at_us = begin_us + number * MINUTE_US
        session.prompt(at_us)
        calls.append(make.claude_call(session.session_id, at_us + 2_000_000, **told))
        session.answer(calls[-1], writing)
        session.tool_result(at_us + 20_000_000)
    return calls


def _corpus(calls: list[Call], *sessions: Session, refused: int = 0, ends: bytes = b"") -> Corpus:
    files = {session.name: session.content + ends for session in sessions}
    telling = sum(session.telling for session in sessions)
    return Corpus("claude_code", files, calls, telling, refused=refused)


def blocks(make: Maker) -> Corpus:
    """A line for each block of an answer, all with the same usage."""
    session = _session(make)
    session.between(BEGIN_US)
    _talk(make, session, BEGIN_US, [Writing(lines) for lines in (1, 2, 3, 5, 2, 14)])
    return _corpus(make.calls, session)


def snapshots(make: Maker) -> Corpus:
    """Output that grows from line to line, and what only the last line has."""
    session = _session(make)
    growing = [Writing(2, (5,)), Writing(2, (1,), late=True), Writing(4, (1, 1, 12), late=True)]
    _talk(make, session, BEGIN_US, growing, searches=3)
    return _corpus(make.calls, session)


def midnight(make: Maker) -> Corpus:
    """Answers whose first line is of one day and whose last is of the next."""
    session = _session(make)
    for writing in (Writing(3), Writing(3, (5,))):
        session.answer(make.claude_call(session.session_id, _BEFORE_MIDNIGHT_US), writing)
    return _corpus(make.calls, session)


def no_requests(make: Maker) -> Corpus:
    """Answers without a requestId, on all of their lines or on the first."""
    session = _session(make)
    asked = [Writing(2, asks="none"), Writing(3, (5,), asks="some"), Writing(1, asks="none")]
    _talk(make, session, BEGIN_US, asked)
    return _corpus(make.calls, session)


def subagents(make: Maker) -> Corpus:
    """Files of sub-agents, whose answers stand in the file of their session as well."""
    main = _session(make)
    _talk(make, main, BEGIN_US, [Writing(2), Writing(2)])
    agents = [_session(make, agent=name, session_id=main.session_id) for name in ("a0741", "b1")]
    for number, agent in enumerate(agents, 5):
        at_us = BEGIN_US + number * MINUTE_US
        for call in _talk(make, agent, at_us, [Writing(2, (3,)), Writing(1)], is_sidechain=True):
            main.answer(call)
    main.between(BEGIN_US)
    return _corpus(make.calls, main, *agents)


def forks(make: Maker) -> Corpus:
    """Sessions that go on from the lines of others, each of which says where it is from."""
    parent = _session(make)
    _talk(make, parent, BEGIN_US, [Writing(2), Writing(3, (5,)), Writing(1)])
    marked = parent.forked(make.uuid(), marked=True)
    _talk(make, marked, BEGIN_US + 60 * MINUTE_US, [Writing(2), Writing(1)])
    again = marked.forked(make.uuid(), marked=True)
    _talk(make, again, BEGIN_US + 90 * MINUTE_US, [Writing(2)])
    _talk(make, parent, BEGIN_US + 99 * MINUTE_US, [Writing(2, (1,))])
    return _corpus(make.calls, parent, marked, again)


def resumes(make: Maker) -> Corpus:
    """Sessions that are resumed: one appends, one begins with all lines of the one before."""
    first = _session(make)
    _talk(make, first, BEGIN_US, [Writing(2), Writing(2, (5,))])
    second = _session(make)
    first.copied_to(second)
    _talk(make, second, BEGIN_US + DAY_US, [Writing(3)])
    _talk(make, first, BEGIN_US + 2 * DAY_US, [Writing(2)])
    return _corpus(make.calls, first, second)


def placeholders(make: Maker) -> Corpus:
    """What Claude Code says in place of an answer: no calls."""
    session = _session(make)
    _talk(make, session, BEGIN_US, [Writing(2)])
    session.synthetic(BEGIN_US + 2 * MINUTE_US)
    session.api_error(BEGIN_US + 3 * MINUTE_US)
    _talk(make, session, BEGIN_US + 4 * MINUTE_US, [Writing(1)])
    return _corpus(make.calls, session)


def odd_lines(make: Maker) -> Corpus:
    """Texts that quote transcripts, a line that was torn, and one that has not ended."""
    session = _session(make)
    _talk(make, session, BEGIN_US, [Writing(2)])
    session.odd(BEGIN_US + MINUTE_US)
    session.torn(BEGIN_US + MINUTE_US)
    _talk(make, session, BEGIN_US + 2 * MINUTE_US, [Writing(2, (5,))])
    begun = b'{"parentUuid":null,"type":"assistant","message":{"usage":{"input_tokens":1'
    return _corpus(make.calls, session, refused=1, ends=begun)


CORPORA: Final[dict[str, Callable[[Maker], Corpus]]] = {
    make.__name__: make
    for make in (
        *(blocks, snapshots, midnight, no_requests, subagents, forks, resumes),
        *(placeholders, odd_lines),
    )
}


def zeros(make: Maker) -> Corpus:
    """Behind some gateways: nothing but zeros on every line. What was used is not known."""
    session = _session(make)
    _talk(make, session, BEGIN_US, [Writing(2, zeros=True), Writing(1, zeros=True)])
    return _corpus(make.calls, session)


def unmarked_forks(make: Maker) -> Corpus:
    """A fork whose lines do not say where they come from: whose session it was is not known."""
    parent = _session(make)
    _talk(make, parent, BEGIN_US, [Writing(2), Writing(3, (5,)), Writing(1)])
    fork = parent.forked(make.uuid(), marked=False)
    _talk(make, fork, BEGIN_US + 60 * MINUTE_US, [Writing(2), Writing(1)])
    return _corpus(make.calls, parent, fork)


def progress(make: Maker) -> Corpus:
    """The main file tells of a sub-agent's answers while it goes on; its own file has them."""
    main = _session(make)
    own = _session(make, agent="c2", session_id=main.session_id)
    for call in _talk(make, own, BEGIN_US, [Writing(2), Writing(1)], is_sidechain=True):
        main.progress(call)
    return _corpus(make.calls, main, own)


# As many as were reported ------------------------------------------------------------------------

#: ClaudeCodeUsage #92; codeburn PR #201; vibe-usage PR #63.
REPORTED_ANSWERS: Final = 9_632
REPORTED_LINES: Final = 23_516
REPORTED_FACTOR: Final = 2.15
REPORTED_AFFECTED: Final = 0.40
REPORTED_UNDERCOUNT: Final = 0.06
REPORTED_CHANGING: Final = 760
_FILES: Final = 200
_ANSWERS_OF_SMALL_FILES: Final = 4
_MOST_LINES: Final = 8
_LEAST_OUT: Final = 95


def as_reported(make: Maker, share: float = 1.0) -> Corpus:
    """The reported numbers of answers, lines and files, or a share of them."""
    files = max(10, round(_FILES * share))
    affected = round(files * REPORTED_AFFECTED)
    answers, lines = round(REPORTED_ANSWERS * share), round(REPORTED_LINES * share)
    small = min((files - affected) * _ANSWERS_OF_SMALL_FILES, answers // 10)
    counts = [1] * small + _lines_of_answers(make, answers - small, lines - small)
    sessions = [_session(make, cwd=f"{_CWD}/p{number % 7}") for number in range(files)]
    owners = [sessions[affected:], sessions[:affected]]
    growing = _growing(make, counts, round(REPORTED_CHANGING * share))
    mean, slope = _mean_and_slope(counts)
    calls = []
    for index, count in enumerate(counts):
        among = owners[index >= small]
        session = among[index % len(among)]
        at_us = BEGIN_US + index * 28 * DAY_US // answers
        size = max(0.1, 1 - slope * (count - mean))
        call = _sized(make.claude_call(session.session_id, at_us), size, index in growing)
        writing = _written(make, count, index in growing)
        session.prompt(at_us - 1_000_000)
        session.answer(call, writing)
        session.tool_result(at_us + 20_000_000)
        calls.append(call)
    return _corpus(calls, *sessions)


def _lines_of_answers(make: Maker, answers: int, lines: int) -> list[int]:
    """So many answers, of so many lines together."""
    counts = make.random.choices((1, 2, 3, 4, 5), (25, 33, 23, 12, 7), k=answers)
    while missing := lines - sum(counts):
        step = 1 if missing > 0 else -1
        for index in make.random.sample(range(answers), min(abs(missing), answers)):
            if 1 <= counts[index] + step <= _MOST_LINES:
                counts[index] += step
    return counts


def _growing(make: Maker, counts: list[int], number: int) -> set[int]:
    """Which answers grow from line to line."""
    many = [index for index, count in enumerate(counts) if count > 1]
    return {*make.random.sample(many, number)}


def _mean_and_slope(counts: list[int]) -> tuple[float, float]:
    """How much smaller calls are for each line more: so have the tokens the reported factor."""
    mean = sum(counts) / len(counts)
    variance = sum(count * count for count in counts) / len(counts) - mean**2
    return mean, (mean - REPORTED_FACTOR) / variance


def _sized(call: Call, size: float, grows: bool) -> Call:
    """The input as small as that; the output of those that grow as the report has it."""
    usage = call.usage
    read, written = round(usage.cache_read * size), round(usage.cache_write * size)
    fresh = usage.tokens_in - usage.cache_read - usage.cache_write
    return call._replace(
        usage=Usage(
            tokens_in=fresh + read + written,
            cache_read=read,
            cache_write=written,
            cache_write_1h=written if usage.cache_write_1h else 0,
            tokens_out=_LEAST_OUT + usage.tokens_out * 57 // 100 if grows else usage.tokens_out,
        )
    )


def _written(make: Maker, lines: int, grows: bool) -> Writing:
    asks = make.random.choices(("all", "some", "none"), (90, 5, 5))[0]
    return Writing(lines, (5, 90)[: lines - 1] if grows else (), asks, late=grows)
