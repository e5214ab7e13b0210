"""Lines that hold many records: which they are, where each stands, and what is next to it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from prodlensd.formats import BadLine, NotACall, Parts, otel_log, otel_span, parse_line
from prodlensd.formats import parts as parts_module
from prodlensd.formats.structure import elements, is_all, members, value_end
from prodlensd.model import Part, Trace

DATA = Path(__file__).parents[1] / "data"
SAMPLE = (DATA / "sample.jsonl").read_bytes().splitlines()
REQUESTS = (DATA / "otlp.jsonl").read_bytes().splitlines()
SPANS = [json.loads(line)["span"] for line in (DATA / "spans.jsonl").read_bytes().splitlines()]
#: Everything that ends a value, in a text.
BRACKETS = '}]{[,:"\\\\" \\" ]} \n\t "resourceLogs":[{'


def parts_of(line: bytes) -> list[Part]:
    found = parse_line(line)
    assert isinstance(found, Parts)
    return list(found)


def records_of(line: bytes) -> list[Any]:
    """Each part of the line, decoded from the bytes that it says are its own."""
    found = parse_line(line)
    assert isinstance(found, Parts)
    return [json.loads(found.bytes_of(part)) for part in found]


def outcomes(line: bytes) -> list[Trace | str | None]:
    return [
        part.found.reason if isinstance(part.found, BadLine) else part.found
        for part in parts_of(line)
    ]


def alone(parse: Any, record: dict[str, Any]) -> Trace | str | None:
    """What becomes of a record that is by itself."""
    try:
        trace: Trace | None = parse(record)
    except NotACall:
        return None
    except BadLine as bad:
        return bad.reason
    return "unknown_format" if trace is None else trace


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def loose(value: object) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).replace("\n", "\r\n").encode()


def spaced(value: object) -> bytes:
    return json.dumps(value, separators=(" , ", " : ")).encode()


#: As different programs write it; NaN and Infinity too.
WRITINGS = st.sampled_from([compact, loose, spaced])


# Arrays -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [b",", b" ,\t", b"\r\n , \n"])
def test_each_record_of_an_array_is_what_it_is_on_a_line_of_its_own(separator: bytes) -> None:
    line = b" [ " + separator.join(SAMPLE) + b"\n] "
    parts = parts_of(line)
    assert [part.found for part in parts] == [parse_line(record) for record in SAMPLE]
    assert [line[part.begin : part.begin + part.length] for part in parts] == SAMPLE


def test_one_that_cannot_be_read_spoils_no_other() -> None:
    refused = [b"{}", b"5", b'"text"', b"[1, [2]]", b"null", b'{"timestamp": "never", "usage": {}}']
    line = b"[" + b",".join([SAMPLE[0], *refused, SAMPLE[1]]) + b"]"
    first, *others, last = outcomes(line)
    assert [first, last] == [parse_line(SAMPLE[0]), parse_line(SAMPLE[1])]
    assert others == ["unknown_format", *["not_an_object"] * 4, "bad_timestamp"]


@pytest.mark.parametrize("odd", [b'{"a": NaN}', b'{"a": "\\ud800"}', b'{"a": 1e999}', b"{'a': 1}"])
def test_what_is_no_strict_json_is_found_all_the_same(odd: bytes) -> None:
    line = b"[" + odd + b", " + SAMPLE[0] + b"]"
    parts = parts_of(line)
    assert isinstance(parts[0].found, BadLine)
    assert [line[part.begin : part.begin + part.length] for part in parts] == [odd, SAMPLE[0]]
    assert parts[1].found == parse_line(SAMPLE[0])


@pytest.mark.parametrize(
    "line", [b"[]", b" [ ] ", b'{"resourceLogs":[]}', b'{"resourceSpans":null}']
)
def test_a_line_may_hold_no_record_at_all(line: bytes) -> None:
    assert parts_of(line) == []


def test_many_records_are_found_without_holding_them(monkeypatch: pytest.MonkeyPatch) -> None:
    line = b"[" + b", ".join(SAMPLE * 5) + b"]"
    quickly = parts_of(line)
    monkeypatch.setattr(parts_module, "_MAX_COMMAS", 3)
    monkeypatch.setattr(parts_module, "_RAWS", None)  # it holds them all
    assert parts_of(line) == quickly
    assert len(quickly) == 15


# Requests of OTLP ---------------------------------------------------------------------------------


def of_spans(spans: list[dict[str, Any]]) -> dict[str, Any]:
    """A request with each span in a scope and a resource of its own."""
    return {
        "resourceSpans": [
            {
                "resource": span.get("resource", {}),
                "scopeSpans": [
                    {
                        "scope": span.get("scope", {}),
                        "spans": [
                            {k: v for k, v in span.items() if k not in ("resource", "scope")}
                        ],
                    }
                ],
            }
            for span in spans
        ]
    }


@pytest.mark.parametrize("written", [compact, loose, spaced])
def test_each_captured_span_is_in_a_request_what_it_is_alone(written: Any) -> None:
    about: dict[str, Any] = {"resource": {}, "scope": {}}
    want = [alone(otel_span.parse, about | span) for span in SPANS]
    assert outcomes(written(of_spans(SPANS))) == want
    assert sum(isinstance(found, Trace) for found in want) >= 15
    assert None in want


@pytest.mark.parametrize("line", REQUESTS, ids=range(len(REQUESTS)))
def test_each_captured_event_is_in_its_request_what_it_is_alone(line: bytes) -> None:
    want = []
    for resource in json.loads(line).get("resourceLogs", []):
        for scope in resource["scopeLogs"]:
            about = {"resource": resource["resource"], "scope": scope["scope"]}
            want += [alone(otel_log.parse, record | about) for record in scope["logRecords"]]
    if b'{"resourceLogs"' in line:
        assert want
        assert outcomes(line) == want
    else:  # spans of Claude Code, which are no calls beside its events; and its metrics
        assert set(outcomes(line)) <= {None}


def test_metrics_hold_no_record() -> None:
    (metrics,) = [line for line in REQUESTS if line.startswith(b'{"resourceMetrics"')]
    assert parts_of(metrics) == []


def event(**attributes: str) -> dict[str, Any]:
    said = {"event.name": "codex.sse_event", "event.kind": "response.completed", "model": "gpt-5"}
    said |= {"input_token_count": "5", "output_token_count": "3"} | attributes
    listed = [{"key": name, "value": {"stringValue": value}} for name, value in said.items()]
    return {"timeUnixNano": "1795816624297000000", "body": None, "attributes": listed}


def named(name: str) -> dict[str, Any]:
    return {"attributes": [{"key": "user.email", "value": {"stringValue": name}}]}


def developers(line: bytes) -> list[str | None]:
    return [found.developer_id for found in outcomes(line) if isinstance(found, Trace)]


def test_every_record_is_of_its_own_resource() -> None:
    of_two = {
        "resourceLogs": [
            {
                "resource": named("a"),
                "scopeLogs": [{"logRecords": [event(), event()]}, {"logRecords": [event()]}],
            },
            {"resource": named("b"), "scopeLogs": [{"logRecords": [event()]}]},
            {"scopeLogs": [{"logRecords": [event() | {"resource": named("forged")}]}]},
        ]
    }
    assert developers(compact(of_two)) == ["a", "a", "a", "b", None]


@given(st.randoms(use_true_random=False), WRITINGS)
def test_members_may_come_in_any_order_and_with_others(chance: random.Random, written: Any) -> None:
    def mixed(**known: object) -> dict[str, Any]:
        all_of_it = [*known.items(), ("schemaUrl", BRACKETS), ("x", [{"logRecords": [{}]}])]
        return dict(chance.sample(all_of_it, len(all_of_it)))

    records = [event(session=BRACKETS), mixed(**event(**{BRACKETS: "[{"}))]
    scope = mixed(scope=mixed(name=BRACKETS), logRecords=records)
    resource = mixed(resource=mixed(**named("a")), scopeLogs=[scope, mixed(logRecords=None)])
    line = written({"resourceLogs": [resource], "schemaUrl": BRACKETS, "x": [{}]})
    assert records_of(line) == records
    assert developers(line) == ["a", "a"]


@pytest.mark.parametrize("nothing", [None, [], ...])
@pytest.mark.parametrize("place", ["resourceLogs", "scopeLogs", "logRecords", "x"])
def test_a_list_may_be_null_empty_or_absent(place: str, nothing: object) -> None:
    def but(name: str, value: object) -> dict[str, Any]:
        value = nothing if name == place else value
        return {} if value is ... else {name: value}

    scope = {"scope": None} | but("logRecords", [event()])
    resource = {"resource": None} | but("scopeLogs", [scope])
    line = compact({"resourceSpans": []} | but("resourceLogs", [resource]))
    assert len(parts_of(line)) == (1 if place == "x" else 0)


@pytest.mark.parametrize("other", [5, "text", True, {"a": 1}])
@pytest.mark.parametrize("place", ["resourceLogs", "scopeLogs", "logRecords", "resource"])
def test_a_list_that_is_none_spoils_the_line(place: str, other: object) -> None:
    request: dict[str, Any] = {"resource": {}, "scopeLogs": [{"logRecords": [event()]}]}
    if place == "logRecords":
        request["scopeLogs"] = [{"logRecords": other}]
    elif place in request:
        request[place] = other
    line = compact({"resourceLogs": other if place == "resourceLogs" else [request]})
    if place == "resource" and type(other) is dict:
        assert len(parts_of(line)) == 1
        return
    with pytest.raises(BadLine) as refused:
        parse_line(line)
    assert refused.value.reason in ("invalid_json", "not_an_object")


def test_spans_and_logs_may_share_a_line() -> None:
    both = of_spans(SPANS[:1]) | {"resourceLogs": [{"scopeLogs": [{"logRecords": [event()]}]}]}
    assert [isinstance(found, Trace) for found in outcomes(compact(both))] == [True, True]


@pytest.mark.parametrize("record", [{}, {"spanId": "1"}, event()])
def test_what_is_in_a_list_of_spans_and_no_span_is_refused(record: dict[str, Any]) -> None:
    assert outcomes(compact(of_spans([record]))) == ["unknown_format"]


# Lines that are broken ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"[{}",
        b"[{}]]",
        b"[{}] {}",
        b'[{"a": "}]',
        b"[{} {}]",
        b"[{},]",
        b'{"resourceLogs":[{}]',
        b'{"resourceLogs":[{}]}}',
        b'{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}]}',
        b'{"resourceLogs":[],}',
        b"[" * 5000 + b"]" * 5000,
        b"[" + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"]",
    ],
    ids=lambda line: str(line[:40]),
)
def test_a_line_whose_structure_is_broken_is_refused_whole(line: bytes) -> None:
    with pytest.raises(BadLine) as refused:
        parse_line(line)
    assert refused.value.reason in ("invalid_json", "not_an_object")


@given(st.data())
def test_whatever_became_of_a_request_its_parts_are_in_it_or_it_is_refused(data: Any) -> None:
    line = bytearray(data.draw(st.sampled_from([*REQUESTS[1:5], compact([json.loads(SAMPLE[0])])])))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(line) - 1))
        line[at : at + data.draw(st.integers(0, 40))] = data.draw(
            st.sampled_from(
                [b"", b"]", b"}", b"[", b"{", b'"', b",", b":", b"\\", b"null", b"\xff"]
            )
        )
    try:
        found = parse_line(bytes(line))
    except BadLine:
        return
    end = 0
    for part in found if isinstance(found, Parts) else ():
        assert isinstance(part, Part)
        assert end <= part.begin < part.begin + part.length <= len(line)
        end = part.begin + part.length


# Where values stand -------------------------------------------------------------------------------

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text('"\\[]{},: aé\n😀'),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text('"\\[]{},:a', max_size=4), inner)
    ),
    max_leaves=12,
)


@given(st.lists(ANY_JSON, max_size=5), WRITINGS)
@example([{"a": '\\"]'}, [[]], "", "\\"], compact)
def test_the_elements_of_an_array_are_those_that_json_says(values: list[Any], written: Any) -> None:
    line = b" " + written(values)
    spans = list(elements(line, 1))
    assert repr([json.loads(line[begin:end]) for begin, end in spans]) == repr(values)
    assert all(line[begin:end].strip() == line[begin:end] for begin, end in spans)


@given(st.dictionaries(st.text('"\\[]{},:aé', max_size=5), ANY_JSON, max_size=5), WRITINGS)
def test_the_members_of_an_object_are_those_that_json_says(values: Any, written: Any) -> None:
    line = written(values)
    found = {
        json.loads(b'"' + name + b'"'): json.loads(line[begin:end])
        for name, begin, end in members(line, 0)
    }
    assert repr(found) == repr(values)
    assert value_end(line, 0) == len(line)


@given(ANY_JSON, WRITINGS, st.sampled_from([b"", b" \r\n", b"]", b" {}", b",", b"x"]))
def test_a_value_ends_where_json_says(value: Any, written: Any, after: bytes) -> None:
    line = written([value]) + after
    assert value_end(line, 0) == len(line) - len(after)
    assert is_all(line, value_end(line, 0)) == (not after.strip())
