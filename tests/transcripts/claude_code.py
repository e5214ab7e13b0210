"""Writes the files of Claude Code's sessions, as public reports describe them.

A line for each block of an answer; the same usage on each, or a smaller one while it streamed. The
reports that each habit is known from are in docs/transcripts.md. No file of a real session was
seen.
"""

from __future__ import annotations

import json
from random import Random
from typing import Any, Final, NamedTuple
from uuid import UUID

from tests.transcripts.calls import SAID, Call, Usage, iso
from tests.transcripts.texts import Texts, line

_BETWEEN_LINES_US: Final = 900_000
_OF_SUBAGENTS: Final = 0.1
_BLOCKS: Final = ("thinking", "text", "tool_use")


class Writing(NamedTuple):
    """How the lines of one answer come out.

    lines        one for each block
    snapshots    output tokens on the first lines, while the answer streamed; the rest have all
    asks         whether lines have a requestId: "all", "none", or "some": the first has not
    late         whether only the last line has `iterations` and `server_tool_use`
    zeros        whether a gateway left nothing but zeros on every line
    """

    lines: int = 1
    snapshots: tuple[int, ...] = ()
    asks: str = "all"
    late: bool = False
    zeros: bool = False


class Session:
    """One file, line by line; `telling` of them tell of a call."""

    def __init__(
        self, random: Random, texts: Texts, session_id: str, *, cwd: str, agent: str = ""
    ) -> None:
        self._random = random
        self._texts = texts
        self._cwd = cwd
        self._agent = agent
        self._last_uuid: str | None = None
        self.session_id = session_id
        self.lines: list[bytes] = []
        self.telling = 0

    @property
    def name(self) -> str:
        """Where the file stands in the folder `projects`."""
        project = self._cwd.replace("/", "-")
        if self._agent:
            return f"{project}/{self.session_id}/subagents/agent-{self._agent}.jsonl"
        return f"{project}/{self.session_id}.jsonl"

    @property
    def content(self) -> bytes:
        return b"".join(self.lines)

    # What is no call

    def prompt(self, at_us: int) -> None:
        message = {"role": "user", "content": self._texts.text()}
        self._add(at_us, type="user", message=message)

    def tool_result(self, at_us: int) -> None:
        """What a tool gave back: with a usage, where the tool was a sub-agent."""
        result = {"tool_use_id": f"toolu_{SAID}", "type": "tool_result"}
        said: dict[str, Any] = {"stdout": self._texts.output()}
        if self._random.random() < _OF_SUBAGENTS:
            said |= {"usage": usage_of(Usage(999_999, 0, 0, 0, 999_999))}
        message = {"role": "user", "content": [result | {"content": self._texts.output()}]}
        self._add(at_us, type="user", message=message, toolUseResult=said)

    def between(self, at_us: int) -> None:
        """Lines of other types, which tell what the session is about."""
        kept = {"backup": self._texts.text()}
        self.lines += [
            line({"type": "summary", "summary": self._texts.text(), "leafUuid": SAID}),
            line({"type": "file-history-snapshot", "messageId": SAID, "snapshot": kept}),
            line({"type": "ai-title", "aiTitle": SAID, "sessionId": self.session_id}),
        ]
        self._add(at_us, type="system", subtype="turn_duration", content=self._texts.text())
        self._add(at_us, type="attachment", attachment={"type": "file", "content": SAID})

    def odd(self, at_us: int) -> None:
        """Lines that hold the word, and are no calls."""
        quoted = {"role": "user", "content": [{"type": "text", "text": self._texts.quoting()}]}
        self._add(at_us, type="user", message=quoted)
        self._add(at_us, type="user", message={"role": "user", "content": "usage", "said": SAID})
        self._add(at_us, type="user", toolUseResult=json.loads(self._texts.quoting()))
        self._add(at_us, type="assistant", message={"role": "assistant", "content": SAID})

    def synthetic(self, at_us: int) -> None:
        """What Claude Code says itself in place of an answer."""
        self._add(at_us, **self._error("<synthetic>"))

    def api_error(self, at_us: int) -> None:
        told = self._error("claude-opus-4-8")
        self._add(at_us, isApiErrorMessage=True, error="rate_limit", apiErrorStatus=429, **told)

    def _error(self, model: str) -> dict[str, Any]:
        message = {
            "id": self._uuid(),
            "model": model,
            "role": "assistant",
            "content": [{"type": "text", "text": f"API Error: 429 {SAID}"}],
            "usage": usage_of(Usage()),
        }
        return {"type": "assistant", "message": message}

    def progress(self, call: Call) -> None:
        """What the main file says of a sub-agent's answer, while that goes on."""
        message = {"id": call.id, "model": call.model, "role": "assistant", "content": SAID}
        told = {"type": "assistant", "message": message | {"usage": usage_of(call.usage)}}
        self._add(call.first_us, type="progress", data={"type": "agent_progress", "message": told})

    # What is a call

    def answer(self, call: Call, writing: Writing = Writing()) -> None:  # noqa: B008 - frozen
        for number in range(writing.lines):
            usage = call.usage
            if number < len(writing.snapshots):
                usage = usage._replace(tokens_out=writing.snapshots[number], reasoning=0)
            is_last = number == writing.lines - 1
            searches = call.searches if is_last or not writing.late else 0
            told = usage_of(Usage() if writing.zeros else usage, searches)
            if (is_last or not writing.late) and not writing.zeros:
                told |= {"iterations": [_iteration(usage)], "speed": "standard"}
            elif writing.late:
                del told["server_tool_use"]
            self._answer_line(call, number, told, writing)

    def _answer_line(
        self, call: Call, number: int, usage: dict[str, Any], writing: Writing
    ) -> None:
        message = {
            "model": call.model,
            "id": call.id,
            "type": "message",
            "role": "assistant",
            "content": [self._block(_BLOCKS[number % len(_BLOCKS)])],
            "stop_reason": "tool_use" if number == writing.lines - 1 else None,
            "usage": usage,
            "diagnostics": {"note": SAID},
        }
        asked = {"requestId": f"req_{call.id[4:]}"}
        asked = {} if writing.asks == "none" or (writing.asks == "some" and not number) else asked
        at_us = call.first_us + number * _BETWEEN_LINES_US
        told = {"isSidechain": call.is_sidechain, "gitBranch": call.branch}
        self._add(at_us, message=message, **asked, type="assistant", **told)
        self.telling += 1

    def _block(self, kind: str) -> dict[str, Any]:
        if kind == "thinking":
            return {"type": kind, "thinking": self._texts.text(), "signature": SAID}
        if kind == "text":
            return {"type": kind, "text": self._texts.text()}
        asked = {"command": self._texts.text(), "usage": {"of": SAID}}
        return {"type": kind, "id": f"toolu_{self._uuid()}", "name": "Bash", "input": asked}

    # Files made of others

    def forked(self, session_id: str, *, marked: bool) -> Session:
        """Another file that begins with these lines, under its own name; they keep their times."""
        fork = Session(self._random, self._texts, session_id, cwd=self._cwd)
        for each in self.lines:
            try:
                record = json.loads(each)
            except ValueError:
                continue  # a torn line: the agent cannot read it either
            if "sessionId" in record:
                own = {"sessionId": record["sessionId"], "messageUuid": record.get("uuid")}
                record["sessionId"] = session_id
                if marked:
                    record = {"forkedFrom": own} | record
            fork.lines.append(line(record))
        fork.telling = self.telling
        return fork

    def copied_to(self, other: Session) -> None:
        """All lines once more, at the end of another file."""
        other.lines += self.lines
        other.telling += self.telling

    def torn(self, at_us: int) -> None:
        """A line that was cut off where the machine stopped, and the next one after it."""
        whole = line({"type": "assistant", "message": {"usage": {"note": SAID}}, "at": iso(at_us)})
        self.lines.append(whole[:-9] + b"\n")

    def _add(self, at_us: int, **record: Any) -> None:
        before, self._last_uuid = self._last_uuid, self._uuid()
        common = {
            "parentUuid": before,
            "isSidechain": bool(self._agent),
            **({"agentId": self._agent} if self._agent else {}),
            "userType": "external",
            "cwd": self._cwd,
            "sessionId": self.session_id,
            "version": "2.1.247",
            "gitBranch": "main",
        }
        tail = {"uuid": self._last_uuid, "timestamp": iso(at_us)}
        self.lines.append(line(common | record | tail))

    def _uuid(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))


def usage_of(usage: Usage, searches: int = 0) -> dict[str, Any]:
    """Anthropic's counts: input is what no cache had to do with."""
    return {
        "input_tokens": usage.tokens_in - usage.cache_read - usage.cache_write,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write - usage.cache_write_1h,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        },
        "output_tokens": usage.tokens_out,
        "server_tool_use": {"web_search_requests": searches, "web_fetch_requests": 0},
        "service_tier": "standard",
        "inference_geo": "not_available",
    }


def _iteration(usage: Usage) -> dict[str, Any]:
    counts = usage_of(usage)
    kept = ("input_tokens", "output_tokens", "cache_read_input_tokens")
    more = ("cache_creation_input_tokens", "cache_creation")
    return {name: counts[name] for name in (*kept, *more)} | {"type": "message"}
