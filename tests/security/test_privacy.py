"""What was said to a model, and any key, is nowhere but in the raw bytes of a refused line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import apsw
import pyarrow.parquet as pq
import pytest

from prodlensd.litellm_callback import TraceLogger
from tests.security.hostile import CANARY, HOSTILE, House, event, payload, span, trace_line

pytestmark = pytest.mark.long  # every command on every kind of line

KEY = f"sk-{CANARY}"
SAID = [{"role": "user", "content": CANARY, "tool_calls": [{"arguments": CANARY}]}]
HEADERS = {"authorization": f"Bearer {KEY}", "x-api-key": KEY, "cookie": CANARY, CANARY: "1"}
REFUSED = "canary-in-a-refused-line"


def a_trace_line() -> dict[str, Any]:
    line = trace_line(1, "known", id="i1", litellm_call_id="c1", messages=SAID, prompt=CANARY)
    line["attributes"] |= {"llm.input_messages": SAID, "error": CANARY, "headers": HEADERS}
    line["attributes"]["error_message"] = line["attributes"]["traceback"] = CANARY
    line["usage"] |= {"prompt": CANARY, CANARY: 1}
    tags = ["known", f"https://user:{KEY}@git.example/a/b", f"repo:https://{KEY}@git.example/a/b"]
    line["metadata"] |= {"key_hash": KEY, "api_key": KEY, "headers": HEADERS, "tags": tags}
    line["metadata"]["repo"] = f"https://user:{KEY}@git.example/acme/web.git"
    return line


def a_payload() -> dict[str, Any]:
    record = payload(1, "known", id="i2", litellm_call_id="c2", messages=SAID)
    record["response"] = {"choices": [{"message": SAID[0]}], "service_tier": CANARY}
    record["error_str"] = record["api_base"] = record["cache_key"] = CANARY
    record["error_information"] |= {"error_message": CANARY, "traceback": CANARY}
    record["model_parameters"] = {"tools": SAID, "user": CANARY, "extra_headers": HEADERS}
    record["hidden_params"] = {"additional_headers": HEADERS, "api_base": CANARY}
    record["request_tags"] = [f"repo:https://x:{KEY}@git.example/acme/web"]
    record["metadata"] |= {
        "user_api_key_hash": KEY,
        "user_api_key": KEY,
        "requester_ip_address": CANARY,
        "requester_metadata": {"note": CANARY, "repo": f"https://{KEY}@git.example/a/b", CANARY: 1},
        "requester_custom_headers": HEADERS,
        "usage_object": {"prompt_tokens": 10, "completion_tokens": 5, CANARY: CANARY},
        "mcp_tool_call_metadata": {"arguments": CANARY},
    }
    return record


def a_span() -> dict[str, Any]:
    record = span(1, "known", name=CANARY, status={"status_code": "ERROR", "description": CANARY})
    record["attributes"] |= {
        "input.value": CANARY,
        "output.value": CANARY,
        "llm.input_messages": SAID,
        "llm.output_messages.0.message.content": CANARY,
        "gen_ai.prompt": CANARY,
        "gen_ai.input.messages": json.dumps(SAID),
        "gen_ai.system_instructions": CANARY,
        "llm.invocation_parameters": json.dumps(HEADERS),
        "llm.prompt_template.variables": CANARY,
        "metadata": json.dumps({"note": CANARY}),
        "http.request.header.authorization": KEY,
        "exception.message": CANARY,
        "error.type": f"{CANARY} is no class of errors",
        "tag.tags": [f"https://{KEY}@git.example/a/b"],
        "vcs.repository.url.full": f"https://x:{KEY}@git.example/acme/web.git",
        CANARY: CANARY,
    }
    exception = {"exception.message": CANARY, "exception.stacktrace": CANARY}
    record["events"] = [{"name": CANARY, "attributes": exception | {"exception.type": "E"}}]
    record["resource"] = {"attributes": {"process.command_args": [CANARY], "host.name": CANARY}}
    return record


def an_event() -> dict[str, Any]:
    record = event(1, "known", severityText=CANARY, eventName=CANARY)
    repo = f"https://x:{KEY}@git.example/acme/web.git"
    said = {"prompt": CANARY, "error": CANARY, "body": json.dumps(SAID), "tool_input": CANARY}
    said |= {"vcs.repository.url.full": repo, "speed": f"{CANARY} is no speed", CANARY: CANARY}
    kept = [one for one in record["attributes"] if one["key"] not in said]
    listed = [{"key": name, "value": {"stringValue": text}} for name, text in said.items()]
    resource = {"attributes": [{"key": "process.command_args", "value": {"stringValue": CANARY}}]}
    return record | {"attributes": kept + listed, "resource": resource}


KINDS = (a_trace_line, a_payload, a_span, an_event)


def passed_over() -> Iterator[bytes]:
    """Records that are known and no call: of these not even the bytes are kept."""
    agent = a_span()
    agent["attributes"]["openinference.span.kind"] = "AGENT"
    prompt = an_event() | {"body": {"stringValue": "claude_code.user_prompt"}}
    yield json.dumps(agent).encode()
    yield json.dumps(prompt).encode()
    yield json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [prompt]}]}]}).encode()


def refused() -> Iterator[bytes]:
    """Lines that are refused, for each of the reasons."""
    yield REFUSED.encode()
    yield b'{"messages": "' + REFUSED.encode() + b'\xff"}'
    yield json.dumps([REFUSED]).encode()
    yield json.dumps({"messages": REFUSED}).encode()
    yield json.dumps({"timestamp": REFUSED, "usage": {}}).encode()
    counting = [{"key": "tokens", "value": {"intValue": "5"}}]
    told = {"timeUnixNano": "1", "body": {"stringValue": REFUSED}, "attributes": counting}
    yield json.dumps(told).encode()
    yield json.dumps({"timestamp": "2026-11-22T18:00:00Z", "usage": {}, "x": REFUSED * 99}).encode()


def test_nothing_said_and_no_key_is_anywhere_but_in_the_bytes_of_refused_lines(
    house: House,
) -> None:
    house.logs.mkdir(parents=True)
    house.environment |= {"OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": KEY}
    lines = [json.dumps(record()).encode() for record in KINDS]
    assert all(line.count(CANARY.encode()) > 8 for line in [*lines, *passed_over()])
    house.config.write_text(f"[logs]\nmax_line_bytes = {max(map(len, lines))}\n")
    long = json.dumps({"timestamp": "2026-11-22T18:00:00Z", "usage": {}, "x": REFUSED * 999})
    content = b"\n".join([*lines, *passed_over(), *refused(), long.encode(), b""])
    (house.logs / "a.jsonl").write_bytes(content)
    said = [house.command("run", "--once")]
    assert said[0].returncode == 0, said[0].stderr
    (house.logs / "a.jsonl").write_bytes(b"\n" + content)  # read again, and everything said of it
    said += [
        house.command(*arguments.split())
        for arguments in (
            *("run --once", "status", "status --json", "verify", "verify --json", "compact"),
            *("prices check", "prices check --json", "reprice --dry-run --json", "reprice"),
            *("dead-letters list --limit 0", "dead-letters list --json", "dead-letters retry"),
            *(
                f"report --since always --by {by} --format {form}"
                for by in ("developer,session", "model", "repo", "provider")
                for form in ("table", "json", "csv", "md")
            ),
        )
    ]
    told = b"".join(done.stdout + done.stderr for done in said)
    assert b"known" in told
    assert b"canary" not in told.lower()
    assert stored(house, "SELECT count(*) FROM traces") == [5]  # the last of refused() is one
    assert stored(house, "SELECT sum(passed_over) FROM sources") == [2 * 3]  # they were read twice
    assert_only_in_refused_lines(house)
    assert "canary" not in snapshots(house)
    assert house.command("verify").returncode == 0


def assert_only_in_refused_lines(house: House) -> None:
    raws = stored(house, "SELECT raw FROM dead_letter")
    assert len(raws) >= 7
    assert all(REFUSED.encode() in raw for raw in raws)
    tables = stored(house, "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')")
    assert {"trace", "traces", "dead_letter", "tally", "price", "daemon"} < set(tables)
    for table in tables:
        for row in stored(house, f"SELECT * FROM {table}", whole=True):
            cells = [cell for cell in row if cell not in raws]
            assert "canary" not in repr(cells).lower(), (table, cells)
    # Nor between the rows, in pages that are free or were.
    for path in house.home.glob("prodlens.db*"):
        assert CANARY.encode() not in path.read_bytes()


def stored(house: House, sql: str, *, whole: bool = False) -> list[Any]:
    db = apsw.Connection(str(house.ledger), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return [row if whole else row[0] for row in db.execute(sql)]
    finally:
        db.close()


def snapshots(house: House) -> str:
    files = list((house.home / "parquet").rglob("*.parquet"))
    assert files
    tables = [pq.read_table(path, partitioning=None) for path in files]
    assert sum(table.num_rows for table in tables) == 5
    return "".join(f"{table.to_pylist()} {table.schema}" for table in tables).lower()


def test_refused_lines_are_purged_as_the_documentation_says(house: House) -> None:
    page = Path(__file__).parents[2] / "SECURITY.md"
    (command,) = re.findall(r"```sh\nprodlensd (.*?)\n```", page.read_text())
    house.logs.mkdir(parents=True)
    filler = b"x" * 20_000
    lines = [b"%d %s %s" % (n, REFUSED.encode(), filler) for n in range(40)]
    (house.logs / "a.jsonl").write_bytes(b"\n".join([*lines, b""]))
    assert house.command("run", "--once").returncode == 0
    assert REFUSED.encode() in house.ledger.read_bytes()
    done = house.command(*command.split())
    assert done.returncode == 0, done.stderr
    for path in house.home.glob("prodlens.db*"):
        assert REFUSED.encode() not in path.read_bytes(), path.name
    listed = json.loads(house.command("dead-letters", "list", "--json").stdout)
    assert (listed["total"], listed["by_state"]["purged"]) == (0, 40)
    assert house.command("dead-letters", "retry").returncode == 0
    assert house.command("verify").returncode == 0
    # And nothing comes back: the lines are known.
    (house.logs / "copy.jsonl").write_bytes((house.logs / "a.jsonl").read_bytes())
    assert house.command("run", "--once").returncode == 0
    assert REFUSED.encode() not in house.ledger.read_bytes()
    assert house.command("verify").returncode == 0


# What the callback makes of a hostile usage object -----------------------------------------------

PROMPT = f"{CANARY}: what was said, {CANARY}"


class Model(SimpleNamespace):
    """Stands for an object of pydantic's."""

    model_fields: ClassVar[dict[str, Any]] = {}


def hostile_usages() -> Iterator[object]:
    """Usage objects with what was said wherever somebody could put it."""
    odd = [PROMPT.encode(), ValueError(PROMPT), SimpleNamespace(prompt=PROMPT), {PROMPT}, (PROMPT,)]
    yield from (PROMPT, [PROMPT], Model(prompt=PROMPT), *odd)
    yield dict.fromkeys(("prompt_tokens", "completion_tokens", "prompt", "speed"), PROMPT)
    yield {PROMPT: 1, (PROMPT,): 2, PROMPT.encode(): 3, f"{CANARY}\n": 4, f"{CANARY} ": PROMPT}
    yield {"prompt_tokens": 1, "prompt_tokens_details": Model(note=PROMPT, deep=Model(x=PROMPT))}
    yield {"prompt_tokens": 1, "odd": odd, "iterations": [{"prompt": PROMPT, PROMPT: 1}] * 32}
    yield {
        "prompt_tokens": 1,
        **{f"text{n}": f"{CANARY} {t}" for n, t in enumerate(HOSTILE.values())},
    }
    yield {"prompt_tokens": 1, **{f"{CANARY} {text}": 1 for text in HOSTILE.values()}}
    yield {"prompt_tokens": 1, **{f"n{number}": PROMPT for number in range(10**5)}}
    deep: dict[str, Any] = {"prompt": PROMPT}
    for _ in range(500):
        deep = {"deep": deep, "list": [deep, PROMPT]}
    yield deep
    cyclic: dict[str, Any] = {"prompt": PROMPT}
    cyclic |= {f"n{number}": [cyclic, Model(own=cyclic)] for number in range(60)}
    yield cyclic


def test_nothing_said_gets_into_a_line_of_the_callback_by_way_of_the_usage(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LITELLM_LOG_DIR", str(house.logs))
    logger, usages = TraceLogger(), [*hostile_usages()]
    for number, usage in enumerate(usages):
        logged = {"metadata": {"usage_object": usage}, "response": {"usage": usage}}
        for place, answer in (
            ("log", None),
            ("dict", {"usage": usage}),
            ("object", Model(usage=usage)),
        ):
            payload = logged if answer is None else {"metadata": {}}
            logger.log_success_event(
                kwargs={
                    "litellm_call_id": f"{place}-{number}",
                    "standard_logging_object": {"id": "known", "model": "known", **payload},
                },
                response_obj=answer,
                start_time=datetime(2026, 11, 22, 18, tzinfo=UTC),
                end_time=datetime(2026, 11, 22, 18, tzinfo=UTC),
            )
    written = b"".join(path.read_bytes() for path in house.logs.iterdir())
    assert written.count(b"\n") == 3 * len(usages)
    assert len(written) < 3 * len(usages) * 2**16
    assert b"canary" not in written
    marked = [line for line in written.splitlines() if b'"usage": {}' not in line]
    assert len(marked) >= len(usages)
    assert all(b"true" in line.partition(b'"usage"')[2] for line in marked)
    assert house.command("run", "--once").returncode == 0
    assert stored(house, "SELECT count(*) FROM traces") == [3 * len(usages)]


@pytest.mark.parametrize("record", KINDS)
def test_each_line_is_read(record: Any) -> None:
    from prodlensd.formats import parse

    trace = parse(json.dumps(record()).encode())
    assert trace.model == "known"
    assert CANARY not in repr(trace)
    assert trace.repo_slug in ("acme/web", "a/b")
