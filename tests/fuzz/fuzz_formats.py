"""Fuzzes the parsers with atheris: `python tests/fuzz/fuzz_formats.py -runs=100000 -seed=1`.

Takes libFuzzer's options. The promise: whatever the bytes, `formats.parse` gives a trace that the
ledger can hold, the same one each time, or raises NotACall, or BadLine with a reason out of the
vocabulary; the quick reading of a trace line is its careful reading; and the records of a line that
holds many stand one after the other in it. `PRODLENSD_MUTANT` breaks the parsers on purpose, to see
that this is found.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import sys
import tempfile
from collections.abc import Callable
from copy import deepcopy
from itertools import chain
from pathlib import Path
from typing import Any, Final

import atheris

with atheris.instrument_imports(include=["prodlensd.formats"]):
    from prodlensd import formats
    from prodlensd.formats import (
        decoding,
        fields,
        litellm_payload,
        otel_log,
        otel_span,
        trace_line,
        usage_found,
    )
from prodlensd.model import NANOUSD_PER_USD, REASONS, BadLine, NotACall, Trace

DATA: Final = Path(__file__).parents[1] / "data"
SCHEMA: Final = "trace_line.schema.json"
#: Longer payloads are nothing but more prompt.
MAX_SEED_BYTES: Final = 16_384
PAYLOAD_SEEDS: Final = 24
EVENT_SEEDS: Final = 12
INT64: Final = range(-(2**63), 2**63)

START: Final = "2024-01-11T23:45:17.982858Z"
#: Names whose values go into `details`, where their order shows.
TRACE_LINE: Final[dict[str, Any]] = {
    "timestamp": START,
    "litellm_call_id": "7b5e1f64",
    "attributes": {"stream": True, "model_group": "fast", "attempted_retries": 1},
    "usage": {"prompt_tokens": 9, "completion_tokens": 5},
    "metadata": {"team": "platform", "key_alias": "laptop", "tags": ["a"]},
}
SPANS: Final[tuple[dict[str, Any], ...]] = (
    {
        "context": {"trace_id": "0x409df945e0584829", "span_id": "0x01fa961201b88358"},
        "start_time": START,
        "end_time": START,
        "status": {"status_code": "ERROR"},
        "attributes": {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 10},
        "events": [{"attributes": {"exception.type": "Timeout"}}],
    },
    {
        "context.trace_id": "409df945e0584829",
        "context.span_id": "01fa961201b88358",
        "start_time": 1705016717982,
        "span_kind": "LLM",
        "attributes.llm.token_count.prompt": 5.0,
        "attributes.tag.tags": ["a"],
    },
    {
        "traceId": "409df945e0584829",
        "spanId": "01fa961201b88358",
        "startTimeUnixNano": "1705016717982858000",
        "status": {"code": 2},
        "attributes": [
            {"key": "openinference.span.kind", "value": {"stringValue": "LLM"}},
            {"key": "llm.token_count.prompt", "value": {"intValue": "10"}},
            {"key": "tag.tags", "value": {"arrayValue": {"values": [{"stringValue": "a"}]}}},
        ],
    },
)


class Broken(AssertionError):
    """The promise does not hold."""


def seeds() -> dict[str, list[bytes]]:
    """A few lines of each format, whole: what the fuzzer begins with."""
    payloads = gzip.decompress((DATA / "corpus.jsonl.gz").read_bytes()).split(b"\n")
    short = [_without_prose(line) for line in payloads if 0 < len(line) <= MAX_SEED_BYTES]
    schema = json.loads(Path(formats.__file__).parents[1].joinpath(SCHEMA).read_bytes())
    sample = (DATA / "sample.jsonl").read_bytes().splitlines()
    requests = (DATA / "otlp.jsonl").read_bytes().splitlines()
    events = [json.dumps(event).encode() for line in requests for event in _events(line)]
    return {
        "trace line": [
            *sample,
            *(json.dumps(line).encode() for line in (*schema["examples"], TRACE_LINE)),
        ],
        "span": [json.dumps(span).encode() for span in SPANS],
        "log record": events[:: max(1, len(events) // EVENT_SEEDS)],
        "payload": short[:: max(1, len(short) // PAYLOAD_SEEDS)],
        "many": [
            b"[" + b", ".join(sample) + b"]",
            *(line for line in requests if len(line) <= MAX_SEED_BYTES // 4),
        ],
    }


def _events(line: bytes) -> list[dict[str, Any]]:
    """The log records of the request that are calls, each with its resource."""
    return [
        event | {"resource": resource["resource"]}
        for resource in json.loads(line).get("resourceLogs", [])
        for scope in resource["scopeLogs"]
        for event in scope["logRecords"]
        if isinstance(_outcome(formats.parse, json.dumps(event).encode()), Trace)
    ]


def _without_prose(line: bytes) -> bytes:
    """The payload without its bulk, of which nothing is read: changes would be lost in it."""
    bulk = ("messages", "response", "model_map_information", "model_parameters")
    return json.dumps({k: v for k, v in json.loads(line).items() if k not in bulk}).encode()


def keys() -> list[str]:
    """The keys that are read."""
    return sorted(
        {
            *trace_line._Line.__struct_encode_fields__,
            *trace_line._NAMES,
            *trace_line._METADATA,
            *trace_line._METADATA_DETAILS,
            *litellm_payload._FIELDS,
            *otel_span._READ,
            *(part for name in otel_span._READ for part in name.split(".")),
            *(f"attributes.{name}" for name in otel_span._READ),
            *("traceId", "spanId", "context", "trace_id", "span_id", "context.span_id"),
            *(
                *otel_log._TIMES,
                *otel_log._CONTENT,
                *otel_log._CLAUDE_USAGE,
                *otel_log._CODEX_USAGE,
            ),
            *("event.name", "event.kind", "event.timestamp", "event.sequence", "duration_ms"),
            *("resourceLogs", "resourceSpans", "scopeLogs", "logRecords", "error.message"),
            *("start_time", "end_time", "startTimeUnixNano", "endTimeUnixNano", "span_kind"),
            *("events", "resource", "status_code", "code", "stringValue", "intValue"),
            *("prompt_tokens_details", "cached_tokens", "cache_creation_tokens", "input_tokens"),
            *("output_tokens", "cache_read_input_tokens", "completion_tokens_details"),
            *("reasoning_tokens", "promptTokenCount", "thoughtsTokenCount", "inputTokens"),
            *("usage_object", "requester_metadata", "requester_custom_headers", "user_id", "repo"),
            *("user_api_key_hash", "user_api_key_user_id", "developer_id", "error_code"),
        }
    )


#: Values that a key may have all of a sudden.
ODD: Final[tuple[Any, ...]] = (
    *(None, True, False, "", " ", "a", " b ", "\ud800", "é", "x" * 513, "1", "12.5", "NaN", "²"),
    *(0, 1, -1, 0.5, -0.0, 1e7, 1e300, 2**53, 2**63 - 1, 2**63, 10**12 + 1, float("nan")),
    *(10**13, 10**14),  # in milliseconds, longer than since 1970
    *(float("inf"), [], {}, [None], ["a", 1, {}], {"a": "b"}, [[[[]]]]),
    *("success", "failure", "ERROR", "LLM", "chat", "session-", "../..", "a/b", "0" * 64),
    *("1969-12-31T23:59:59Z", "9999-12-31T23:59:59-23:59", "2025-10-12T19:00:00.1234567Z"),
    *(1705016717982, 1705016717982858000, "1705016717982858000", -62135596800),
)


def mutate(line: bytes, max_size: int, seed: int) -> bytes:
    """Mostly a change to the meaning of the line, since most changes to its bytes end that."""
    chance = random.Random(seed)  # noqa: S311
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if type(record) is not dict or chance.random() < PART_OF_BYTES:
        return bytes(atheris.Mutate(line, max_size))
    for _ in range(chance.randint(1, 4)):
        _change(record, chance)
    text = json.dumps(record, ensure_ascii=chance.random() < PART_OF_BYTES)
    return text.encode(errors="replace")[:max_size]


PART_OF_BYTES: Final = 0.2
OTLP_VALUES: Final = {"stringValue", "intValue", "doubleValue"}
_KEYS: Final[list[str]] = []


def _change(record: dict[str, Any], chance: random.Random) -> None:
    """One place of the record gets other values, other names or another order."""
    place = _place_in(record, chance)
    odd = deepcopy(chance.choice(ODD))
    if type(place) is list:
        place[chance.randrange(len(place))] = odd
        return
    if place.keys() & OTLP_VALUES:
        # An attribute is read if it has its type, so it mostly keeps one.
        place[chance.choice([*place])] = odd if chance.random() < PART_OF_BYTES else str(odd)
        return
    key, other = chance.choice([*place, chance.choice(_KEYS)]), chance.choice(_KEYS)
    match chance.randrange(6):
        case 0:
            place.pop(key, None)
        case 1:
            place[other] = place.pop(key, None)
        case 2:
            place[key] = {other: odd}
        case 3:
            place |= dict.fromkeys(chance.sample([*place], min(len(place), 3)), odd)
        case 4:
            for name in chance.sample([*place], len(place)):
                place[name] = place.pop(name)
        case _:
            place[key] = odd


def _place_in(record: dict[str, Any], chance: random.Random) -> Any:
    place: Any = record
    while inner := [v for v in _values(place) if type(v) in (dict, list) and v]:
        if chance.random() < PART_OF_BYTES:
            break
        place = chance.choice(inner)
    return place


def _values(place: Any) -> list[Any]:
    return list(place.values()) if type(place) is dict else place


# The promise --------------------------------------------------------------------------------------


def check(line: bytes) -> None:
    """Raises whatever a parser raised, or Broken."""
    found = _outcome(formats.parse, line)
    _check(found)
    _check_parts(line)
    if found != _outcome(formats.parse, line):
        raise Broken("parsed twice, and differently")
    if _outcome(_read_quickly, line) != _outcome(_read_carefully, line):
        raise Broken("the quick and the careful reading differ")


def _check(found: Trace | tuple[str, None] | None) -> None:
    if isinstance(found, Trace):
        _check_storable(found)
    elif found is not None and found[0] not in REASONS:
        raise Broken(f"reason {found[0]}")


def _check_parts(line: bytes) -> None:
    try:
        parts = formats.parse_line(line)
    except BadLine as bad:
        return _check((bad.reason, None))
    if isinstance(parts, Trace):
        return None
    end = 0
    for begin, length, found in parts:
        if begin < end or length < 1 or begin + length > len(line):
            raise Broken("places")
        end = begin + length
        _check((found.reason, None) if isinstance(found, BadLine) else found)
    return None


def _read_quickly(line: bytes) -> Trace | None:
    decoding.check_utf8(line)
    return trace_line.parse_strict(line) or _read_carefully(line)


def _read_carefully(line: bytes) -> Trace | None:
    return trace_line.parse(decoding.decode(line))


def _outcome(
    parse: Callable[[bytes], Trace | None], line: bytes
) -> Trace | tuple[str, None] | None:
    try:
        return parse(line)
    except BadLine as bad:
        return bad.reason, None
    except NotACall:
        return None


def _check_storable(trace: Trace) -> None:
    for name, value in trace._asdict().items():
        if not _is_storable(value) and name != "anomalies":
            raise Broken(f"{name}: {value!r:.99}")
    if trace.started_us < 0:
        raise Broken("started_us")
    if trace.status not in ("success", "failure"):
        raise Broken("status")
    if (trace.gateway_nanousd or 0) > fields.MAX_COST_USD * NANOUSD_PER_USD:
        raise Broken("cost")
    if type(json.loads(trace.details or "{}")) is not dict:
        raise Broken("details")
    if not all(type(tag) is str for tag in json.loads(trace.tags or "[]")):
        raise Broken("tags")
    if max(trace.tokens_in or 0, trace.tokens_out or 0) > 4 * usage_found.MAX_COUNT:
        raise Broken("tokens")  # sums of counts must stay within SQLite's integers
    hash(trace.key)


def _is_storable(value: object) -> bool:
    match value:
        case None | bool():
            return True
        case str():
            value.encode()
            return True
        case int():
            return value in INT64
        case float():
            return 0 <= value <= INT64.stop
        case _:
            return False


# Parsers with one mistake each --------------------------------------------------------------------


def _text_of_any_surrogate() -> None:
    fields._storable = lambda _value: True  # type: ignore[assignment]


def _counts_of_any_size() -> None:
    count = usage_found._count
    usage_found._count = lambda value: value if type(value) is int else count(value)


def _any_end_of_a_span() -> None:
    def round_it(record: dict[str, Any], nanos: str, other: str) -> int:
        return round(float(record.get(nanos, record.get(other, 0))))

    otel_span._moment_us = round_it


def _any_length_of_an_event() -> None:
    def before_the_beginning(record: dict[str, Any], attributes: dict[str, Any]) -> Any:
        length_ms = fields.number(attributes.get("duration_ms")) or 0
        return otel_log._ended_us(record, attributes) - round(length_ms * 1000), length_ms

    otel_log._times = before_the_beginning


def _order_of_the_line() -> None:
    read = trace_line._read

    def in_its_order(part: Any, table: Any) -> Any:
        mixed = {key: table[key] for key in part if key in table} if type(part) is dict else table
        return read(part, mixed)

    trace_line._read = in_its_order


#: Each with its format: the fuzzer begins with lines of that one alone, or it may come too late.
MUTANTS: Final[dict[str, tuple[Callable[[], None], str]]] = {
    "surrogates": (_text_of_any_surrogate, "trace line"),
    "counts": (_counts_of_any_size, "trace line"),
    "moments": (_any_end_of_a_span, "span"),
    "lengths": (_any_length_of_an_event, "log record"),
    "order": (_order_of_the_line, "trace line"),
}


def main() -> None:
    """Fuzz, beginning with the seeds, until the options say so or a promise is broken."""
    lines = seeds()
    if mutant := os.environ.get("PRODLENSD_MUTANT"):
        make_the_mistake, its_format = MUTANTS[mutant]
        lines = {its_format: lines[its_format]}
        make_the_mistake()
    _KEYS.extend(keys())
    with tempfile.TemporaryDirectory(prefix="prodlensd-fuzz-") as corpus:
        for number, seed in enumerate(chain.from_iterable(lines.values())):
            Path(corpus, f"{number:03}").write_bytes(seed)
        # libFuzzer ends its process, and would leave the folder behind.
        if (child := os.fork()) == 0:
            arguments = [*sys.argv, f"-max_len={MAX_SEED_BYTES}", corpus]
            atheris.Setup(arguments, check, custom_mutator=mutate)
            atheris.Fuzz()
        _, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
