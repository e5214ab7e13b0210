"""A call that the proxy's log and a transcript tell of is one call."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest

from tests.transcripts.calls import Call, Usage, iso
from tests.transcripts.claude_code import Session, Writing
from tests.transcripts.corpus import BEGIN_US, Corpus, Maker
from tests.transcripts.habits import CORPORA, everything
from tests.transcripts.laptop import Laptop
from tests.transcripts.proxied import LATENCY_US, proxied

ORDERS = [*permutations(("log", "transcripts")), ("both",)]
#: What of a call does not depend on who told of it first. (Its time does: a request begins before
#: the first line of its answer.)
KNOWN = (
    "SELECT call_id, session_id, developer_id, model, tokens_in, tokens_out, cost_usd, "
    "cost_source, gateway_cost_usd, latency_ms, status_code FROM traces"
)


def write_log(laptop: Laptop, corpus: Corpus, **more: Any) -> None:
    laptop.logs.mkdir(parents=True, exist_ok=True)
    lines = (proxied(call, **more) for call in corpus.calls)
    (laptop.logs / "traces.jsonl").write_bytes(b"".join(lines))


def read(laptop: Laptop, corpus: Corpus, order: tuple[str, ...], **more: Any) -> None:
    for which in order:
        if which in ("log", "both"):
            write_log(laptop, corpus, **more)
        if which in ("transcripts", "both"):
            laptop.take(corpus)
        laptop.ingest()
        laptop.verify()


@pytest.mark.parametrize("order", ORDERS)
def test_it_counts_once_whichever_is_read_first(laptop: Laptop, order: tuple[str, ...]) -> None:
    corpus = everything("claude_code")
    read(laptop, corpus, order)
    counted = laptop.counters()
    assert counted.traces == len(corpus.calls)
    assert counted.duplicates == corpus.duplicates + len(corpus.calls)
    assert counted.records == sum(counted[1:])
    whole = ("sum(tokens_in)", "sum(tokens_out)")
    true = tuple(sum(getattr(call.usage, name[4:-1]) for call in corpus.calls) for name in whole)
    assert laptop.query(f"SELECT {', '.join(whole)} FROM traces") == [true]


def test_who_called_and_what_was_charged_is_the_proxys_in_each_order(
    another: Callable[[], Laptop],
) -> None:
    corpus, known = CORPORA["snapshots"](Maker(1)), []
    for order in ORDERS:
        laptop = another()
        read(laptop, corpus, order, cost_usd=0.25)
        known.append(sorted(laptop.query(KNOWN)))
    assert known[0] == known[1] == known[2]
    assert {row[2] for row in known[0]} == {"dev@acme.example"}
    assert {row[6:9] for row in known[0]} == {(0.25, "gateway", 0.25)}
    assert {row[9] for row in known[0]} == {4000.0}


@pytest.mark.parametrize("order", ORDERS)
def test_what_the_proxy_lost_the_transcript_has(laptop: Laptop, order: tuple[str, ...]) -> None:
    """LiteLLM notes zeros where it lost the usage of a stream."""
    corpus = CORPORA["blocks"](Maker(1))
    lost = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    read(laptop, corpus, order, usage=lost)
    used = Usage(*map(sum, zip(*(call.usage for call in corpus.calls), strict=True)))
    sums = "SELECT count(*), sum(tokens_in), sum(tokens_out) FROM traces"
    assert laptop.query(sums) == [(len(corpus.calls), used.tokens_in, used.tokens_out)]
    assert laptop.query("SELECT DISTINCT cost_source FROM traces") == ["table"]


def spend_row(call: Call) -> bytes:
    """A row of LiteLLM's spend logs of the call, which has milliseconds."""
    began_us = (call.first_us - LATENCY_US) // 1000 * 1000
    row = {
        "request_id": call.id,
        "litellm_call_id": f"call-{call.id}",
        "call_type": "acompletion",
        "startTime": iso(began_us),
        "endTime": iso(call.first_us),
        "spend": 0.25,
        "model": call.model,
        "custom_llm_provider": "anthropic",
        "status": "success",
        "prompt_tokens": call.usage.tokens_in,
        "completion_tokens": call.usage.tokens_out,
        "total_tokens": call.usage.total,
        "user": "ann",
    }
    return json.dumps(row).encode() + b"\n"


@pytest.mark.parametrize("order", [*permutations(("log", "spend", "transcripts"))])
def test_a_call_of_three_witnesses_is_one_call(laptop: Laptop, order: tuple[str, ...]) -> None:
    corpus = CORPORA["snapshots"](Maker(1))
    laptop.logs.mkdir(parents=True, exist_ok=True)
    for _ in range(2):
        for which in order:
            if which == "spend":
                rows = b"".join(map(spend_row, corpus.calls))
                (laptop.logs / "spend.jsonl").write_bytes(rows)
                laptop.ingest()
            else:
                read(laptop, corpus, (which,))
        laptop.verify()
        found = laptop.query("SELECT count(*), sum(tokens_out), max(latency_ms) FROM traces")
        tokens_out = sum(call.usage.tokens_out for call in corpus.calls)
        assert found == [(len(corpus.calls), tokens_out, LATENCY_US / 1000)]


@pytest.mark.parametrize("order", ORDERS)
def test_both_may_be_read_again(laptop: Laptop, order: tuple[str, ...]) -> None:
    corpus = CORPORA["forks"](Maker(1))
    read(laptop, corpus, order)
    rows = laptop.rows()
    (laptop.logs / "copy.jsonl").write_bytes((laptop.logs / "traces.jsonl").read_bytes())
    for name, content in corpus.files.items():
        (laptop.place(corpus.agent) / name).with_suffix(".copy.jsonl").write_bytes(content)
    laptop.ingest()
    laptop.verify()
    assert laptop.rows() == rows


def test_a_call_that_the_proxy_lost_grows_on_in_its_transcript(laptop: Laptop) -> None:
    make = Maker(1)
    session = Session(make.random, make.texts, make.uuid(), cwd="/w")
    call = make.claude_call(session.session_id, BEGIN_US)
    session.answer(call, Writing(3, (1, 2)))
    path = laptop.place("claude_code") / "a.jsonl"
    path.write_bytes(session.lines[0])
    laptop.ingest()
    laptop.logs.mkdir(exist_ok=True)
    lost = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    (laptop.logs / "t.jsonl").write_bytes(proxied(call, usage=lost))
    laptop.ingest()
    path.write_bytes(session.content)
    laptop.ingest()
    used = (call.usage.tokens_in, call.usage.tokens_out)
    assert laptop.query("SELECT tokens_in, tokens_out FROM traces") == [used]
    assert laptop.query("SELECT anomalies FROM traces") == ["usage_of_transcript"]
