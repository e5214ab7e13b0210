"""Log lines to measure with: the same on every run, no two alike, in nearly the order of time.

The number of a line decides everything in it, so that parts of one long log can be made apart.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Final

import orjson

_CORPUS: Final = Path(__file__).parents[1] / "tests" / "data" / "corpus.jsonl.gz"
_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
#: Half a second from call to call, so that half a million of them spread over three days.
_STEP_US: Final = 500_000
#: Calls are logged when they end, and named after when they began: up to 8 s out of order.
_DISORDER_US: Final = 8_000_000
_GOLDEN: Final = 0x9E3779B97F4A7C15  # an odd number: no two multiples are alike in 64 bits
_WRITE_LINES: Final = 10_000
#: Longer payloads are rare (two of 231) and would decide the mean.
_MAX_PAYLOAD_BYTES: Final = 65_536


def shuffle(number: int) -> int:
    """64 bits that are no other number's."""
    return number * _GOLDEN & 0xFFFFFFFFFFFFFFFF


def start_of(number: int) -> datetime:
    """When the call of this number began."""
    disorder_us = (shuffle(number) >> 12) % _DISORDER_US
    return _START + timedelta(microseconds=number * _STEP_US - disorder_us)


def trace_lines(count: int, *, start: int = 0, gateway_only: bool = False) -> Iterator[bytes]:
    """Trace lines of about 400 bytes, with both ids.

    Every other line, or every one, has a cost from the gateway; the rest is priced from the table.
    """
    for number in range(start, start + count):
        shuffled, began = shuffle(number), start_of(number)
        tokens_in, tokens_out = 1 + shuffled % 9000, 1 + (shuffled >> 20) % 1500
        cost = f'"cost_usd":{tokens_in * 3e-6 + tokens_out * 15e-6:.6f},'
        yield (
            f'{{"timestamp":"{began.isoformat()[:-6]}Z",'
            f'"id":"chatcmpl-{shuffled:016x}","litellm_call_id":"{_uuid(shuffled, number)}",'
            f"{cost if gateway_only or number % 2 else ''}"
            '"attributes":{"llm.model_name":"anthropic/claude-sonnet-4-5","status_code":200,'
            f'"latency_ms":{300 + shuffled % 60000 / 8}}},'
            f'"usage":{{"input_tokens":{tokens_in},"output_tokens":{tokens_out},'
            f'"total_tokens":{tokens_in + tokens_out}}},'
            f'"metadata":{{"session_id":"session-{number // 40:08}",'
            f'"developer_id":"dev{shuffled % 23}@example.com","repo":"acme/web-{number % 17}"}}}}\n'
        ).encode()


def day_lines(count: int) -> Iterator[bytes]:
    """The same, of one day."""
    step_us = 86_000_000_000 // count
    for number, line in enumerate(trace_lines(count)):
        started = _START + timedelta(seconds=1, microseconds=number * step_us)
        yield b'{"timestamp":"' + started.isoformat()[:-6].encode() + line[line.index(b"Z") :]


def payload_lines(count: int) -> Iterator[bytes]:
    """What a real LiteLLM proxy logged, about 13 kB a line, with fresh ids and times."""
    templates = _templates()
    for number in range(count):
        shuffled = shuffle(number)
        began = _START.timestamp() + number * _STEP_US / 1e6
        facts = {
            "id": f"chatcmpl-{shuffled:016x}",
            "litellm_call_id": _uuid(shuffled, number),
            "startTime": began,
            "completionStartTime": began + 0.25,
            "endTime": began + 1.5,
        }
        yield json.dumps(facts)[:-1].encode() + b", " + templates[number % len(templates)]


def write(path: Path, lines: Iterable[bytes]) -> int:
    """Writes the lines, flushed to disk so that it is not done while measuring; returns bytes."""
    lines = iter(lines)
    with path.open("wb") as file:
        while block := b"".join(islice(lines, _WRITE_LINES)):
            file.write(block)
        return file.tell()


def _uuid(shuffled: int, number: int) -> str:
    high = f"{shuffled:016x}"
    return f"{high[:8]}-{high[8:12]}-{high[12:]}-a000-{number:012x}"


@cache
def _templates() -> list[bytes]:
    """The corpus' payloads without what makes each unique and without their opening brace."""
    templates = []
    for line in gzip.decompress(_CORPUS.read_bytes()).splitlines():
        if len(line) <= _MAX_PAYLOAD_BYTES and _is_strict(line):
            payload = json.loads(line)
            for name in ("id", "litellm_call_id", "startTime", "completionStartTime", "endTime"):
                del payload[name]
            text = json.dumps(payload, ensure_ascii=line.isascii())
            templates.append(f"{text[1:]}\n".encode())
    return templates


def _is_strict(line: bytes) -> bool:
    """Whether orjson, which we are compared with, can read it; LiteLLM also writes NaN."""
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True
