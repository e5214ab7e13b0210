"""What clients send through the proxy, and what they truly saw of it.

Every text that must not be traced contains "canary": prompts, tools, answers, errors, keys, headers
and whatever else of a request is none of a ledger's business.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

from tests.e2e.fake_upstream import FakeUpstream, Plan
from tests.e2e.litellm_proxy import MASTER_KEY, Proxy

CLAUDE_SESSION: Final = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"
DEVELOPER: Final = "dev@acme.example"
REPO: Final = "git@github.com:acme/web.git"
CLAUDE: Final = "claude-sonnet-4-5-20250929"

#: What Anthropic says in a usage object beside the tokens, of a call in fast mode.
FAST: Final[dict[str, Any]] = {
    "server_tool_use": {"web_search_requests": 3},
    "speed": "fast",
    "inference_geo": "us",
    "service_tier": "priority",
}

#: The same as far as there is a list price for it.
PRICED: Final[dict[str, Any]] = {
    **FAST,
    "inference_geo": "not_available",
    "service_tier": "standard",
}

#: US dollars for a million tokens: uncached input, cache read, 5-minute cache write, output.
PRICES: Final = {
    CLAUDE: (3.0, 0.3, 3.75, 15.0),
    "gpt-4o-mini": (0.15, 0.075, 0.0, 0.6),
    "gpt-4.1": (2.0, 0.5, 0.0, 8.0),
    "text-embedding-3-small": (0.02, 0.0, 0.0, 0.0),
}


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request. `outcomes` are the lines it shall leave, as (status, status code) in order."""

    name: str
    path: str
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)
    plan: Plan = field(default_factory=Plan)
    key: str = MASTER_KEY
    is_aborted: bool = False  # the client leaves after the first piece of the answer
    is_cache_hit: bool = False
    session_id: str | None = None
    developer_id: str | None = None
    developer_via: str | None = None
    repo: str | None = None
    outcomes: tuple[tuple[str, int], ...] = (("success", 200),)

    @property
    def is_stream(self) -> bool:
        return self.body.get("stream") is True


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A call that was sent, and what its client saw: the truth that traces are compared with.

    Calls are sent one after the other, so a line belongs to the call during which it began. (Call
    ids do not tell: LiteLLM adopts the client's for some calls only, and not with every version.)
    """

    call: Call
    began: datetime
    ended: datetime
    first_byte_ms: float
    http_status: int
    answer: bytes  # as far as it was read

    @property
    def milliseconds(self) -> float:
        return (self.ended - self.began) / timedelta(milliseconds=1)

    @property
    def cost_usd(self) -> float:
        """By the provider's list prices."""
        if self.call.is_cache_hit:
            return 0.0
        plan = self.call.plan
        tokens = (plan.tokens_in, plan.cache_read, plan.cache_write_5m, plan.tokens_out)
        model = self.call.body["model"].split("/")[-1].replace("flaky", "gpt-4o-mini")
        return sum(count * price for count, price in zip(tokens, PRICES[model], strict=True)) / 1e6


def send_all(proxy: Proxy, upstream: FakeUpstream, calls: list[Call]) -> list[Sent]:
    """Send one call after the other."""
    upstream.plans.update({call.name: call.plan for call in calls})
    return [_send(proxy, call) for call in calls]


def _send(proxy: Proxy, call: Call) -> Sent:
    headers = {
        "content-type": "application/json",
        "authorization": f"Bearer {call.key}",
        "x-note": "canary-header",
        "cookie": "canary=cookie",
        **call.headers,
    }
    connection = HTTPConnection("127.0.0.1", proxy.port, timeout=100)
    began = datetime.now(UTC)
    connection.request("POST", call.path, json.dumps(call.body), headers)
    response = connection.getresponse()
    answer = response.read1(64)
    first_byte = datetime.now(UTC)
    if not call.is_aborted:
        answer += response.read()
    response.close()
    connection.close()
    return Sent(
        call=call,
        began=began,
        ended=datetime.now(UTC),
        first_byte_ms=(first_byte - began) / timedelta(milliseconds=1),
        http_status=response.status,
        answer=answer,
    )


@dataclass(frozen=True)
class Traffic:
    """All that was sent through one version of LiteLLM, and the folder its callback wrote to.

    The proxy is dead, killed without warning, when a test sees this: what is in the folder was not
    waiting for anything.
    """

    version: str
    log_folder: Path
    sent: list[Sent]

    def calls(self) -> Iterator[tuple[Sent, list[dict[str, Any]]]]:
        """Each call with its lines, in the order in which they were written."""
        lines = read_lines(self.log_folder)
        for sent in self.sent:
            yield sent, [line for line in lines if sent.began <= _began(line) <= sent.ended]

    def answered(self) -> Iterator[tuple[Sent, dict[str, Any]]]:
        """Each call that got its whole answer, at list price, with the line of that answer."""
        for sent, lines in self.calls():
            is_whole = sent.http_status == HTTPStatus.OK and not sent.call.is_aborted
            if is_whole and not sent.call.plan.usage:
                yield sent, lines[-1]

    def call(self, name: str) -> tuple[Sent, list[dict[str, Any]]]:
        """The call of that name, with its lines."""
        return next(call for call in self.calls() if call[0].call.name == name)


def _began(line: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(line["timestamp"])


def read_lines(folder: Path) -> list[dict[str, Any]]:
    """The complete lines of all files, in the order in which they were written."""
    text = b"".join(path.read_bytes() for path in sorted(folder.glob("*.jsonl")))
    return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]


def everyday_calls() -> list[Call]:
    """Calls that any user of the config as it is may make."""
    return [
        _chat("warm-up"),  # the first request of each kind pays for a second of lazy imports
        _claude_code("claude-warm-up"),
        _chat("chat", model="openai/gpt-4o-mini", plan=Plan(tokens_in=30, cache_read=100)),
        _chat("chat-bare-name"),
        _chat("chat-stream", plan=Plan(wait_s=0.4, pause_s=0.1), stream=True),
        _chat("chat-claude", model=f"anthropic/{CLAUDE}"),
        _responses("responses"),
        _responses("responses-stream", plan=Plan(wait_s=0.4), stream=True),
        _responses("responses-claude", model=CLAUDE, plan=Plan(tokens_in=9, cache_read=200)),
        _responses("responses-claude-stream", model=CLAUDE, stream=True),
        _embeddings("embeddings"),
        _claude_code("claude", plan=Plan(cache_read=1000, cache_write_5m=50, wait_s=0.4)),
        _claude_code(
            "claude-stream",
            plan=Plan(cache_read=1000, cache_write_5m=50, wait_s=0.8, pause_s=0.1),
            stream=True,
        ),
        _claude_code("claude-fast", speed="fast", plan=Plan(cache_write_1h=40, usage=FAST)),
        _claude_code(
            "claude-fast-stream",
            speed="fast",
            plan=Plan(cache_write_1h=40, usage=FAST),
            stream=True,
        ),
        _claude_code(
            "claude-fast-priced",
            model="claude-opus-4-8",
            speed="fast",
            plan=Plan(cache_write_1h=40, usage=PRICED),
        ),
        _claude_code("claude-without-header", sends_session_header=False),
        _claude_code("claude-on-gpt", model="gpt-4o-mini"),
        _chat("unknown-model", model="no-such-model", outcomes=(("failure", 400),)),
        _chat("retried", plan=Plan(failures=(500,)), outcomes=(("failure", 500), ("success", 200))),
    ]


def refused_calls(version: str) -> list[Call]:
    """Calls whose key is refused. LiteLLM 1.110 reports nothing of the request then."""
    more: dict[str, Any] = {"outcomes": (("failure", 400),)}
    if version == "1.110.2":
        more |= dict.fromkeys(("session_id", "developer_id", "developer_via", "repo"))
    return [
        _chat("bad-key", key="sk-canary-bad-key", **more),
        _chat("raw-key", key="canary-raw-key", **more),
    ]


def aborted_calls(version: str) -> list[Call]:
    """Streams whose client goes away. LiteLLM 1.80.0 reports nothing of them."""
    more: dict[str, Any] = {
        "plan": Plan(pause_s=0.1, pieces=60),
        "is_aborted": True,
        "outcomes": () if version == "1.80.0" else (("success", 499),),
    }
    return [
        _chat("chat-aborted", stream=True, **more),
        _claude_code("claude-aborted", stream=True, **more),
    ]


def extra_calls() -> list[Call]:
    """Calls that need the extra settings: a cache, a model with a fallback, no retries."""
    return [
        _chat("cache-miss", prompt="the same", cache={"use-cache": True}),
        _chat("cache-hit", prompt="the same", cache={"use-cache": True}, is_cache_hit=True),
        _chat("rate-limited", plan=Plan(always=429), outcomes=(("failure", 429),)),
        _chat("provider-refuses-key", plan=Plan(always=401), outcomes=(("failure", 401),)),
        _claude_code("claude-refused", plan=Plan(always=400), outcomes=(("failure", 400),)),
        _chat(
            "fallback",
            model="flaky",
            plan=Plan(failures=(503,)),
            outcomes=(("failure", 503), ("success", 200)),
        ),
    ]


def _chat(
    name: str,
    model: str = "gpt-4o-mini",
    prompt: str | None = None,
    cache: dict[str, Any] | None = None,
    *,
    stream: bool = False,
    **more: Any,
) -> Call:
    """An OpenAI client that says who it is in the request's metadata."""
    parameters = {"type": "object", "properties": {"canary_argument": {"type": "string"}}}
    tool = {"name": "canary_tool", "description": "canary", "parameters": parameters}
    body: dict[str, Any] = {
        "model": model,
        "messages": [
            {"role": "system", "content": "canary: a system prompt"},
            {"role": "user", "content": f"canary: {prompt or f'[[{name}]]'}"},
        ],
        "tools": [{"type": "function", "function": tool}],
        "metadata": {
            "session_id": "session-of-chats",
            "developer_id": DEVELOPER,
            "repo": REPO,
            "note": "canary",
            "nested": {"repo": "canary", "list": ["canary"]},
        },
    }
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if cache:
        body |= {"cache": cache}
    who = _who("session-of-chats", "metadata")
    return Call(name=name, path="/v1/chat/completions", body=body, **{**who, **more})


def _responses(name: str, model: str = "gpt-4.1", *, stream: bool = False, **more: Any) -> Call:
    """An OpenAI client that says who it is in headers."""
    headers = {
        "x-litellm-session-id": "session-of-responses",
        "x-prodlens-developer": DEVELOPER,
        "x-prodlens-repo": REPO,
    }
    body = {
        "model": model,
        "input": f"canary: [[{name}]]",
        "instructions": "canary",
        "stream": stream,
    }
    who = _who("session-of-responses", "header")
    return Call(name=name, path="/v1/responses", body=body, headers=headers, **who, **more)


def _embeddings(name: str) -> Call:
    body = {"model": "text-embedding-3-small", "input": f"canary: [[{name}]]"}
    return Call(name=name, path="/v1/embeddings", body=body, plan=Plan(tokens_out=0))


def _claude_code(
    name: str,
    model: str = CLAUDE,
    *,
    stream: bool = False,
    speed: str | None = None,
    sends_session_header: bool = True,
    **more: Any,
) -> Call:
    """Claude Code as it is set up by `prodlensd init --proxy`."""
    user_id = {"device_id": "d" * 64, "account_uuid": "", "session_id": CLAUDE_SESSION}
    body = {
        "model": model,
        "max_tokens": 100,
        "system": [{"type": "text", "text": "canary: a system prompt"}],
        "messages": [{"role": "user", "content": f"canary: [[{name}]]"}],
        "tools": [{"name": "canary_tool", "input_schema": {"type": "object", "properties": {}}}],
        "metadata": {"user_id": json.dumps(user_id)},
        "stream": stream,
    }
    if speed:
        body |= {"speed": speed}
    headers = {
        "anthropic-version": "2023-06-01",
        "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14",
        "user-agent": "claude-cli/2.1.0 (external, cli)",
        "x-app": "cli",
        "x-prodlens-developer": DEVELOPER,
        "x-prodlens-repo": REPO,
    }
    if sends_session_header:
        headers["x-claude-code-session-id"] = CLAUDE_SESSION
    who = _who(CLAUDE_SESSION, "header")
    return Call(name=name, path="/v1/messages?beta=true", body=body, headers=headers, **who, **more)


def _who(session_id: str, developer_via: str) -> dict[str, Any]:
    return {
        "session_id": session_id,
        "developer_id": DEVELOPER,
        "developer_via": developer_via,
        "repo": REPO,
    }
