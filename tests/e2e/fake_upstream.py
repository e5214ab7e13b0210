"""A provider that speaks OpenAI's and Anthropic's wire formats and answers as a test has planned.

A request names its plan in its prompt, as `[[name]]`. Everything runs in a thread of the test.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from uuid import uuid4

#: In every answer and in every error text. No part of it may ever reach a trace.
CANARY: Final = "canary-said-by-the-model"
PLAN_NAME: Final = re.compile(r"\[\[([a-z0-9-]+)\]\]")

Json = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How to answer: tokens, waits in seconds, and the statuses to fail with before that."""

    tokens_in: int = 11  # uncached input
    cache_read: int = 0
    cache_write_5m: int = 0
    cache_write_1h: int = 0
    tokens_out: int = 7
    usage: Json = field(default_factory=dict)  # what it says beside the tokens
    wait_s: float = 0.0  # before the status line
    pause_s: float = 0.0  # before each piece of a stream
    pieces: int = 3
    failures: tuple[int, ...] = ()  # one status for each attempt that shall fail
    always: int = 0  # a status for every attempt


@dataclass
class FakeUpstream:
    """The server, its plans by name, and how often each plan was asked for."""

    plans: dict[str, Plan] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        upstream = self

        class Handler(_Handler):
            fake = upstream

        self._stopping = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def wait(self, seconds: float) -> None:
        self._stopping.wait(seconds)

    def close(self) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    fake: FakeUpstream
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        name = (PLAN_NAME.findall(json.dumps(body)) or [""])[-1]
        plan = self.fake.plans.get(name, Plan())
        attempt = self.fake.attempts[name] = self.fake.attempts.get(name, 0) + 1
        self.fake.wait(plan.wait_s)
        failing = dict(enumerate(plan.failures, start=1))
        status = plan.always or failing.get(attempt, 0)
        answer = ANSWERS[self.path.split("?")[0]]
        with suppress(ConnectionError):  # a client that went away is part of the tests
            if status:
                self._send(status, error(status, body))
            elif body.get("stream"):
                self._stream(plan, answer.stream(plan, body))
            else:
                self._send(200, answer.whole(plan, body))

    def _send(self, status: int, answer: Json) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        if status >= 400:
            self.send_header("retry-after", "0")
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, plan: Plan, events: Iterator[Json | str]) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        for event in events:
            name = (
                f"event: {event['type']}\n" if isinstance(event, dict) and "type" in event else ""
            )
            data = event if isinstance(event, str) else json.dumps(event)
            self.wfile.write(f"{name}data: {data}\n\n".encode())
            self.fake.wait(plan.pause_s)

    def log_message(self, *_: object) -> None:
        pass


def error(status: int, body: Json) -> Json:
    """An error that quotes the prompt, as providers do."""
    message = f"{CANARY} in an error about {json.dumps(body)}"
    return {
        "type": "error",
        "error": {"type": "api_error", "message": message, "code": str(status)},
    }


class Chat:
    """OpenAI's chat completions."""

    def usage(self, plan: Plan) -> Json:
        tokens_in = plan.tokens_in + plan.cache_read
        return {
            "prompt_tokens": tokens_in,
            "completion_tokens": plan.tokens_out,
            "total_tokens": tokens_in + plan.tokens_out,
            "prompt_tokens_details": {"cached_tokens": plan.cache_read},
            **plan.usage,
        }

    def whole(self, plan: Plan, body: Json) -> Json:
        message = {"role": "assistant", "content": CANARY}
        return {
            "id": f"chatcmpl-{id(body):x}",
            "object": "chat.completion",
            "created": 1_790_000_000,
            "model": body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": self.usage(plan),
        }

    def stream(self, plan: Plan, body: Json) -> Iterator[Json | str]:
        frame = {
            "id": f"chatcmpl-{id(body):x}",
            "object": "chat.completion.chunk",
            "created": 1_790_000_000,
            "model": body["model"],
        }
        for _ in range(plan.pieces):
            delta = {"role": "assistant", "content": f"{CANARY} "}
            yield {**frame, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        yield {**frame, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        if (body.get("stream_options") or {}).get("include_usage"):
            yield {**frame, "choices": [], "usage": self.usage(plan)}
        yield "[DONE]"


class Responses:
    """OpenAI's responses."""

    def whole(self, plan: Plan, body: Json) -> Json:
        tokens_in = plan.tokens_in + plan.cache_read
        text = {"type": "output_text", "text": CANARY, "annotations": []}
        message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
        return {
            "id": f"resp_{id(body):032x}",
            "object": "response",
            "created_at": 1_790_000_000,
            "status": "completed",
            "model": body["model"],
            "output": [{**message, "content": [text]}],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "metadata": {},
            "temperature": 1.0,
            "top_p": 1.0,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "usage": {
                "input_tokens": tokens_in,
                "input_tokens_details": {"cached_tokens": plan.cache_read},
                "output_tokens": plan.tokens_out,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": tokens_in + plan.tokens_out,
                **plan.usage,
            },
        }

    def stream(self, plan: Plan, body: Json) -> Iterator[Json | str]:
        whole = self.whole(plan, body)
        begun = {**whole, "status": "in_progress", "output": [], "usage": None}
        yield {"type": "response.created", "sequence_number": 1, "response": begun}
        for number in range(plan.pieces):
            place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
            delta = {"type": "response.output_text.delta", "delta": CANARY, **place}
            yield {"sequence_number": number + 2, **delta}
        yield {"type": "response.completed", "sequence_number": 99, "response": whole}


class Embeddings:
    """OpenAI's embeddings, which have no stream."""

    def whole(self, plan: Plan, body: Json) -> Json:
        return {
            "object": "list",
            "model": body["model"],
            "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}],
            "usage": {"prompt_tokens": plan.tokens_in, "total_tokens": plan.tokens_in},
        }

    def stream(self, plan: Plan, body: Json) -> Iterator[Json | str]:
        raise NotImplementedError


class Messages:
    """Anthropic's messages."""

    def usage(self, plan: Plan) -> Json:
        return {
            "input_tokens": plan.tokens_in,
            "output_tokens": plan.tokens_out,
            "cache_read_input_tokens": plan.cache_read,
            "cache_creation_input_tokens": plan.cache_write_5m + plan.cache_write_1h,
            "cache_creation": {
                "ephemeral_5m_input_tokens": plan.cache_write_5m,
                "ephemeral_1h_input_tokens": plan.cache_write_1h,
            },
            **plan.usage,
        }

    def whole(self, plan: Plan, body: Json) -> Json:
        return {
            "id": f"msg_{uuid4().hex}",  # no two are alike, as of the true ones
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [{"type": "text", "text": CANARY}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": self.usage(plan),
        }

    def stream(self, plan: Plan, body: Json) -> Iterator[Json | str]:
        begun = {**self.whole(plan, body), "content": [], "stop_reason": None}
        begun["usage"] = {**self.usage(plan), "output_tokens": 1}
        yield {"type": "message_start", "message": begun}
        empty = {"type": "text", "text": ""}
        yield {"type": "content_block_start", "index": 0, "content_block": empty}
        for _ in range(plan.pieces):
            delta = {"type": "text_delta", "text": f"{CANARY} "}
            yield {"type": "content_block_delta", "index": 0, "delta": delta}
        yield {"type": "content_block_stop", "index": 0}
        ended = {"stop_reason": "end_turn", "stop_sequence": None}
        usage = {"output_tokens": plan.tokens_out}
        yield {"type": "message_delta", "delta": ended, "usage": usage}
        yield {"type": "message_stop"}


ANSWERS: Final[dict[str, Chat | Responses | Embeddings | Messages]] = {
    "/v1/chat/completions": Chat(),
    "/v1/responses": Responses(),
    "/v1/embeddings": Embeddings(),
    "/v1/messages": Messages(),
}
