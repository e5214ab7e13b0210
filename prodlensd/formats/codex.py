"""A transcript of Codex: `sessions/YYYY/MM/DD/rollout-*.jsonl`, one file a thread.

Its counters are totals of the thread, which are written again and again: a call is a growth of the
total. A fork may begin with the whole history of its parent, with the time of the fork, or with the
parent's total alone. So a call is known by the thread in which its counter began and the total
after it, and a file is read with a memory of what its lines have said.

The shape of these lines is known from public reports (docs/transcripts.md), not from a description.
"""

from __future__ import annotations

import re
from datetime import datetime
from operator import lt, sub
from typing import Any, Final, NamedTuple

import msgspec

from prodlensd.formats.fields import INT64_MAX, integer, provider, text
from prodlensd.formats.transcripts import (
    AGAIN,
    About,
    Again,
    CallerIn,
    about_calls,
    decoded,
    one_word,
    reading_of,
    start_us,
    trace_of,
)
from prodlensd.formats.usage import Reading
from prodlensd.formats.usage_found import MAX_COUNT
from prodlensd.model import NO_BILL, BadLine, Trace, Usage, repo_slug

NAME: Final = "codex"
#: Only a line of one of these types tells of calls, or of what is needed to read others.
_COUNT: Final = b'"token_count"'
_META: Final = b'"session_meta"'
_TURN: Final = b'"turn_context"'
#: How a line begins, as Codex writes it, that is of another type, however long it is.
_OTHER: Final = re.compile(rb'\{"timestamp":"[^"\\]*","type":"(?:response_item|compacted)"')
#: As LiteLLM calls a call of this kind.
_CALL_TYPE: Final = "responses"
_PROVIDER: Final = "openai"


class _Totals(NamedTuple):
    """A counter of tokens: cached and written ones are part of the input, reasoning of the output.

    Those written to the cache are noted since version 0.145 only: no counter is known by them.
    """

    tokens_in: int = 0
    cached: int = 0
    tokens_out: int = 0
    reasoning: int = 0
    written: int = 0

    @property
    def mark(self) -> tuple[int, ...]:
        """What the counter is known by."""
        return self[:-1]

    def usage(self) -> dict[str, Any]:
        """As OpenAI writes it."""
        written = {"cache_write_tokens": self.written} if self.written else {}
        return {
            "prompt_tokens": self.tokens_in,
            "completion_tokens": self.tokens_out,
            "total_tokens": self.tokens_in + self.tokens_out,
            "prompt_tokens_details": {"cached_tokens": self.cached, **written},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        }


_COUNTERS: Final = (
    *("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens"),
    "cache_write_input_tokens",
)


class _Memory(msgspec.Struct, omit_defaults=True):
    """What the lines so far have said.

    session, thread, parent
               the file's own thread, the last of those that it begins with, and where that is from
    root       the thread in which the counter began, None before the first; part of all keys
    totals     the last counter; None before the first
    restarts   how often the counter began anew
    """

    session: str | None = None
    thread: str | None = None
    parent: str | None = None
    root: str | None = None
    folder: str | None = None
    branch: str | None = None
    repo_slug: str | None = None
    provider: str | None = None
    model: str | None = None
    totals: _Totals | None = None
    restarts: int = 0


class _Line(msgspec.Struct, gc=False):
    type: str
    payload: dict[str, Any]
    timestamp: Any = None


class _UsualLine(_Line, gc=False):
    """The same as it mostly is."""

    timestamp: datetime | None = None


_DECODER: Final = msgspec.json.Decoder(_Line)
_USUAL: Final = msgspec.json.Decoder(_UsualLine)
_MEMORY: Final = msgspec.json.Decoder(_Memory)


class Codex:
    """See `Transcript`. The mutable state: what is known of the thread, and of its calls."""

    def __init__(self, memory: str, caller_in: CallerIn) -> None:
        self._caller_in = caller_in
        self._known_about: About | None = None
        self._known = _MEMORY.decode(memory) if memory else _Memory()

    def memory(self) -> str:
        """See `Transcript`."""
        return "" if self._known == _Memory() else msgspec.json.encode(self._known).decode()

    def read(self, line: bytes) -> Trace | Again | None:
        """See `Transcript`."""
        if _OTHER.match(line) or not (_COUNT in line or _META in line or _TURN in line):
            return None
        record: _Line | None = decoded(line, _USUAL, _DECODER)
        if record is None:
            return None
        if record.type == "session_meta":
            self._begin_thread(record.payload)
        elif record.type == "turn_context":
            self._begin_turn(record.payload)
        elif record.type == "event_msg" and record.payload.get("type") == "token_count":
            return self._count(record.payload.get("info"), record.timestamp)
        return None

    def _begin_thread(self, said: dict[str, Any]) -> None:
        """A file begins with its own thread, and then, of a fork, with those it comes from."""
        known, thread = self._known, text(said.get("id"))
        if known.totals is not None or thread in (None, known.session):
            return  # it was resumed, or says again what it is
        self._known_about = None
        known.thread, known.parent = thread, _parent(said)
        if known.session is None:
            git = said.get("git")
            about: dict[str, Any] = git if type(git) is dict else {}
            known.session = thread
            known.folder = _path(said.get("cwd"))
            known.branch = text(about.get("branch"))
            known.repo_slug = repo_slug(about.get("repository_url"))
            known.provider = provider(said.get("model_provider"))

    def _begin_turn(self, said: dict[str, Any]) -> None:
        self._known_about = None
        self._known.model = text(said.get("model")) or self._known.model
        self._known.folder = _path(said.get("cwd")) or self._known.folder

    def _count(self, info: object, timestamp: object) -> Trace | Again | None:
        """The call of a counter, if it has grown."""
        known = self._known
        if type(info) is not dict or (totals := _totals(info.get("total_token_usage"))) is None:
            return None  # a note of rate limits alone
        if known.totals is not None and totals.mark == known.totals.mark:
            return AGAIN
        if not any(totals.mark):
            return None
        last = _totals(info.get("last_token_usage"))
        root = known.root or one_word(
            known.thread if _is_same(last, totals) else known.parent or known.thread,
            "session_meta.payload.id, before the first token_count",
        )
        started_us = start_us(timestamp)
        used = self._used(totals, last)
        known.root, known.totals = root, totals
        if used is None:
            return None
        call = "/".join(map(str, (root, known.restarts, *totals.mark)))
        about = self._about()
        reading = _reading(used, about)
        return trace_of(started_us, f" {NAME} {call}", call, _CALL_TYPE, about, reading)

    def _about(self) -> About:
        """What its calls have in common until the next turn."""
        if self._known_about is None:
            self._known_about = self._read_about()
        return self._known_about

    def _read_about(self) -> About:
        known = self._known
        about = about_calls(
            self._caller_in(known.folder),
            session=known.session,
            model=known.model,
            provider=known.provider or _PROVIDER,
            source=NAME,
            branch=known.branch,
        )
        return about if known.repo_slug is None else about._replace(repo_slug=known.repo_slug)

    def _used(self, totals: _Totals, last: _Totals | None) -> _Totals | None:
        """What was used since the last counter; None: nothing by a call of this file.

        The first counter of a file, and one that began anew, may hold calls that the file does not
        have: there the call is what Codex notes as the last one.
        """
        before = self._known.totals
        if before is not None:
            is_anew = any(map(lt, totals.mark, before.mark)) or _is_same(last, totals)
            if not is_anew:
                written = max(0, totals.written - before.written)
                return _Totals(*map(sub, totals.mark, before.mark))._replace(written=written)
            self._known.restarts += 1
        if last is None or any(map(lt, totals.mark, last.mark)):
            return totals
        return last if any(last.mark) else None


def _parent(said: dict[str, Any]) -> str | None:
    """The thread that it was forked from, or that spawned it."""
    found: Any = said.get("source")
    for name in ("subagent", "thread_spawn", "parent_thread_id"):
        found = found.get(name) if type(found) is dict else None
    return text(said.get("forked_from_id")) or text(found)


def _is_same(last: _Totals | None, totals: _Totals) -> bool:
    return last is not None and last.mark == totals.mark


def _reading(used: _Totals, about: About) -> Reading:
    """What was used: of usual counts, without a way through JSON."""
    tokens_in, cached, tokens_out, reasoning, written = used
    total = tokens_in + tokens_out
    is_usual = cached + written <= tokens_in and reasoning <= tokens_out and total <= MAX_COUNT
    if not is_usual or not total or "claude" in (about.model or ""):
        return reading_of(used.usage(), _CALL_TYPE, about)
    parts = (cached, written or None, None, reasoning, None, None)
    return Reading(_new(Usage, (tokens_in, tokens_out, total, *parts)), NO_BILL, None, ())


def _totals(said: object) -> _Totals | None:
    if type(said) is not dict:
        return None
    counts = tuple([said.get(name, 0) for name in _COUNTERS])
    if set(map(type, counts)) != _ONLY_INT or min(counts) < 0 or max(counts) > INT64_MAX:
        counts = tuple(map(integer, counts))
        if None in counts:
            raise BadLine("unknown_format", "token_count: expected whole numbers of tokens")
    return _new(_Totals, counts)


_ONLY_INT: Final = {int}
_new: Final = tuple.__new__  # makes a NamedTuple in half its constructor's time, once a call


def _path(value: object) -> str | None:
    return value if type(value) is str and value else None
