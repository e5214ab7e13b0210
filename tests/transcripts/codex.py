"""Writes the files of Codex' threads, as public reports describe them.

A counter of the thread's tokens, written again and again; and forks that begin with the whole
history of their parent. The reports that each habit is known from are in docs/transcripts.md. No
file of a real thread was seen.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any, Final

from tests.transcripts.calls import SAID, Call, Usage, iso
from tests.transcripts.texts import Texts, line

_COUNTS: Final = {
    "input_tokens": "tokens_in",
    "cached_input_tokens": "cache_read",
    "output_tokens": "tokens_out",
    "reasoning_output_tokens": "reasoning",
}


class Thread:
    """One file, line by line, and its counter; `telling` of them tell of a call."""

    def __init__(
        self,
        random: Random,
        texts: Texts,
        thread_id: str,
        *,
        at_us: int,
        cwd: str = "/home/dev/work",
        **about: Any,
    ) -> None:
        self._random = random
        self._texts = texts
        self._cwd = cwd
        self._began_us = at_us
        self.thread_id = thread_id
        self.total = Usage()
        self.model: str | None = None
        self.lines: list[bytes] = []
        self.telling = 0
        self.repeated = 0
        self.meta(at_us, **about)

    @property
    def name(self) -> str:
        """Where the file stands in `$CODEX_HOME`."""
        began = iso(self._began_us)
        day, stamp = began[:10].replace("-", "/"), began[:19].replace(":", "-")
        return f"sessions/{day}/rollout-{stamp}-{self.thread_id}.jsonl"

    @property
    def content(self) -> bytes:
        return b"".join(self.lines)

    # What is no call

    def meta(self, at_us: int, **about: Any) -> None:
        git = {"commit_hash": "0" * 40, "branch": "main", "note": SAID}
        payload = {
            "id": self.thread_id,
            "timestamp": iso(self._began_us),
            "cwd": self._cwd,
            "originator": "codex_cli_rs",
            "cli_version": "0.144.0",
            "instructions": SAID,
            "base_instructions": {"text": self._texts.text()},
            "model_provider": "openai",
            "git": git,
        }
        self._add(at_us, "session_meta", payload | about)

    def turn(self, at_us: int, model: str | None) -> None:
        """A turn begins; in old files nothing says of which model."""
        self.said(at_us)
        self.model = model
        if model is not None:
            payload = {"cwd": self._cwd, "approval_policy": "never", "model": model}
            self._add(at_us, "turn_context", payload | {"user_instructions": self._texts.text()})

    def said(self, at_us: int) -> None:
        text = self._texts.text()
        content = [{"type": "input_text", "text": text}]
        self._add(at_us, "response_item", {"type": "message", "role": "user", "content": content})
        self._add(at_us, "event_msg", {"type": "user_message", "message": text})
        reasoning = {"type": "reasoning", "summary": [], "encrypted_content": SAID}
        self._add(at_us, "response_item", reasoning)
        asked = {"type": "function_call", "name": "shell", "arguments": self._texts.quoting()}
        self._add(at_us, "response_item", asked)
        given = {
            "type": "function_call_output",
            "output": f'{{"type":"token_count"}} {self._texts.output()}',
        }
        self._add(at_us, "response_item", given)
        self._add(at_us, "event_msg", {"type": "agent_message", "message": '"token_count"' + SAID})

    def odd(self, at_us: int) -> None:
        """Lines that have the marks of a counter, and count nothing."""
        self._add(at_us, "event_msg", {"type": "token_count", "info": None, "rate_limits": _LIMITS})
        self._add(at_us, "event_msg", {"type": "token_count", "info": {}, "note": SAID})
        self._add(at_us, "compacted", {"message": SAID, "replacement_history": ["token_count"]})
        self._add(at_us, "event_msg", {"type": "thread_settings_applied", "said": "turn_context"})

    def again(self, at_us: int, last: Usage) -> None:
        """The counter as it was, because a rate limit was refreshed."""
        self._count(at_us, last)
        self.repeated += 1

    # What is a call

    def call(self, call: Call, *, last: bool = True) -> None:
        self.total = Usage(*map(sum, zip(self.total, call.usage, strict=True)))
        self._count(call.first_us, call.usage if last else None)
        self.telling += 1

    def restart(self) -> None:
        """The counter begins anew."""
        self.total = Usage()

    def inherited(self, at_us: int, total: Usage) -> None:
        """A counter that another thread has come to, with nothing used since."""
        self.total = total
        self._count(at_us, Usage())

    # Files made of others

    def forked(self, thread_id: str, *, at_us: int, restamped: bool = True) -> Thread:
        """Another file, which begins with all that this one holds."""
        about = {"forked_from_id": self.thread_id, "parent_thread_id": self.thread_id}
        about["thread_source"] = "subagent"
        fork = Thread(self._random, self._texts, thread_id, at_us=at_us, cwd=self._cwd, **about)
        for each in self.lines:
            record = json.loads(each)
            if restamped:
                record["timestamp"] = iso(at_us)
            fork.lines.append(line(record))
        fork.total, fork.model = self.total, self.model
        fork.telling, fork.repeated = self.telling, self.repeated
        return fork

    @property
    def place(self) -> tuple[int, int, int]:
        """How far the file is, and how many of its lines tell of calls, or tell of one again."""
        return len(self.lines), self.telling, self.repeated

    def spawned(self, thread_id: str, *, at_us: int, since: tuple[int, int, int]) -> Thread:
        """Another file, which begins with what this one holds since that place."""
        source = {"subagent": {"thread_spawn": {"parent_thread_id": self.thread_id, "depth": 1}}}
        about: dict[str, Any] = {"source": source, "thread_source": "subagent"}
        spawn = Thread(self._random, self._texts, thread_id, at_us=at_us, cwd=self._cwd, **about)
        begin, telling, repeated = since
        spawn.lines += self.lines[begin:]
        spawn.total, spawn.model = self.total, self.model
        spawn.telling, spawn.repeated = self.telling - telling, self.repeated - repeated
        return spawn

    def _count(self, at_us: int, last: Usage | None) -> None:
        info = {"total_token_usage": counts_of(self.total), "model_context_window": 272_000}
        if last is not None:
            info["last_token_usage"] = counts_of(last)
        payload = {"type": "token_count", "info": info, "rate_limits": _LIMITS}
        self._add(at_us, "event_msg", payload)

    def _add(self, at_us: int, kind: str, payload: dict[str, Any]) -> None:
        self.lines.append(line({"timestamp": iso(at_us), "type": kind, "payload": payload}))


_LIMITS: Final = {
    "primary": {"used_percent": 7.0, "window_minutes": 300, "resets_at": 1_790_000_000},
    "secondary": {"used_percent": 77.0, "window_minutes": 10_080, "resets_at": 1_790_000_000},
    "plan_type": SAID,
}


def counts_of(usage: Usage) -> dict[str, int]:
    counts = {name: int(getattr(usage, field)) for name, field in _COUNTS.items()}
    if usage.cache_write:
        counts["cache_write_input_tokens"] = usage.cache_write
    return counts | {"total_tokens": usage.total}
