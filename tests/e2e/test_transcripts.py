"""A call through a real proxy, of which Claude Code's transcript tells as well, is one call.

The transcript is made here, of the ids that the client received.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.traffic import CLAUDE_SESSION, DEVELOPER, Sent, Traffic, read_lines
from tests.transcripts.calls import Call, Usage
from tests.transcripts.claude_code import Session, Writing
from tests.transcripts.corpus import Maker
from tests.transcripts.laptop import Laptop

pytestmark = pytest.mark.timeout(900)

_MESSAGE = re.compile(rb'"id": ?"(msg_[0-9a-f]{32})"')
#: Since LiteLLM's PR #39511 a line of `/v1/messages` has the id that its client received.
KEYED_BY_RESPONSE = ("1.110.2",)


def answered(traffic: Traffic) -> Iterator[tuple[Sent, Call]]:
    """The calls of Claude Code that a model of Anthropic's answered, as its transcript has them."""
    for sent in traffic.sent:
        found = None if sent.call.is_aborted else _MESSAGE.search(sent.answer)
        if found and sent.call.path.startswith("/v1/messages"):
            plan = sent.call.plan
            written = plan.cache_write_5m + plan.cache_write_1h
            usage = Usage(
                plan.tokens_in + plan.cache_read + written,
                *(plan.cache_read, written, plan.cache_write_1h, plan.tokens_out),
            )
            at_us = round(sent.ended.timestamp() * 1000) * 1000
            model = sent.call.body["model"].partition("/")[2] or sent.call.body["model"]
            yield sent, Call(found[1].decode(), at_us, CLAUDE_SESSION, model, usage)


def transcript(traffic: Traffic) -> bytes:
    make = Maker(1)
    session = Session(make.random, make.texts, CLAUDE_SESSION, cwd="/home/dev/web")
    for sent, call in answered(traffic):
        usage = sent.call.plan.usage
        lines = Session(make.random, make.texts, CLAUDE_SESSION, cwd="/home/dev/web")
        lines.answer(call, Writing(2))
        for line in lines.lines:
            record = json.loads(line)
            record["message"]["usage"] |= usage
            session.lines.append(json.dumps(record).encode() + b"\n")
    return session.content


def calls(laptop: Laptop) -> list[tuple[Any, ...]]:
    known = "call_id, model, session_id, developer_id, tokens_in, tokens_out, cost_usd, cost_source"
    return sorted(laptop.query(f"SELECT {known} FROM traces"), key=repr)


@pytest.mark.parametrize("order", [("log", "transcript"), ("transcript", "log")])
def test_a_call_that_both_tell_of_is_one_call_in_both_orders(
    tmp_path: Path, everyday: Traffic, order: tuple[str, str]
) -> None:
    alone, laptop = Laptop(tmp_path / "alone"), Laptop(tmp_path / "both")
    log = b"".join(path.read_bytes() for path in sorted(everyday.log_folder.glob("*.jsonl")))
    alone.logs.mkdir(parents=True)
    (alone.logs / "traces.jsonl").write_bytes(log)
    alone.ingest()
    for which in order:
        if which == "log":
            laptop.logs.mkdir(parents=True, exist_ok=True)
            (laptop.logs / "traces.jsonl").write_bytes(log)
        else:
            (laptop.place("claude_code") / "session.jsonl").write_bytes(transcript(everyday))
        laptop.ingest()
        laptop.verify()
    told = [call for _, call in answered(everyday)]
    assert len({call.id for call in told}) == len(told) > 3
    logged = {line["id"] for line in read_lines(everyday.log_folder)}
    shared = [call for call in told if call.id in logged]
    if everyday.version in KEYED_BY_RESPONSE:
        assert shared == told
        assert calls(laptop) == calls(alone)
    # Before that nothing that both have tells which call it is: it is there twice.
    assert len(calls(laptop)) == len(calls(alone)) + len(told) - len(shared)
    twice = len(told) + len(shared)
    assert laptop.counters().duplicates == alone.counters().duplicates + twice
    assert {row[3] for row in calls(alone)} >= {DEVELOPER}
