"""What other ways of counting make of the same files: the sums that reports complain about."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.transcripts.calls import Totals, Usage
from tests.transcripts.corpus import Corpus


class Event(NamedTuple):
    """A usage on a line: where it stands, what may identify it, and what it says was used.

    key      the message; of Codex, the time and the counters
    request  the message and the request; of Codex, the counters and the thread of the file
    """

    file: str
    key: tuple[Any, ...]
    request: tuple[Any, ...]
    used: Usage
    total: Usage = Usage()


def events(corpus: Corpus) -> Iterator[Event]:
    read = _claude if corpus.agent == "claude_code" else _codex
    for name, content in corpus.files.items():
        for line in content.splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            yield from read(name, record)


def _claude(name: str, record: dict[str, Any]) -> Iterator[Event]:
    message = record.get("message", {})
    if record["type"] != "assistant" or "id" not in message:
        return
    if message["model"] == "<synthetic>" or record.get("isApiErrorMessage"):
        return
    usage = message["usage"]
    read, written = (usage[f"cache_{what}_input_tokens"] for what in ("read", "creation"))
    used = Usage(usage["input_tokens"] + read + written, read, written, 0, usage["output_tokens"])
    yield Event(name, (message["id"],), (message["id"], record.get("requestId")), used)


def _codex(name: str, record: dict[str, Any]) -> Iterator[Event]:
    if record["payload"].get("type") != "token_count" or not record["payload"]["info"]:
        return
    info = record["payload"]["info"]
    total = _counts(info["total_token_usage"])
    last = _counts(info.get("last_token_usage", info["total_token_usage"]))
    yield Event(name, (record["timestamp"], last, total), (name, total), last, total)


def _counts(said: dict[str, int]) -> Usage:
    return Usage(said["input_tokens"], said["cached_input_tokens"], 0, 0, said["output_tokens"])


def _added(used: Iterator[Usage] | list[Usage]) -> Totals:
    listed = [*used]
    summed = (sum(each.tokens_in for each in listed), sum(each.tokens_out for each in listed))
    return Totals(len(listed), *summed)


def summed(corpus: Corpus) -> Totals:
    """Each line that has a usage."""
    return _added(event.used for event in events(corpus))


def first_seen(corpus: Corpus) -> Totals:
    """The first line of each message; of Codex, of each time and counter."""
    return _added([*{event.key: event.used for event in reversed([*events(corpus)])}.values()])


def last_seen(corpus: Corpus) -> Totals:
    """The last line of each message; of Codex, the last counter of each file."""
    if corpus.agent == "claude_code":
        return _added([*{event.key: event.used for event in events(corpus)}.values()])
    return _added([*{event.file: event.total for event in events(corpus)}.values()])


def by_request(corpus: Corpus) -> Totals:
    """The last line of each message and request; of Codex, each counter of each file once."""
    return _added([*{event.request: event.used for event in events(corpus)}.values()])


def by_file(corpus: Corpus) -> Totals:
    """The last line of each message in each file; of Codex, as by_request."""
    if corpus.agent == "codex":
        return by_request(corpus)
    return _added([*{(event.file, event.key): event.used for event in events(corpus)}.values()])
