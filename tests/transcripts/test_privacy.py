"""What was said, shown or answered is in the transcripts, and no byte of it anywhere else."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.transcripts.calls import SAID
from tests.transcripts.claude_code import Session
from tests.transcripts.codex import Thread
from tests.transcripts.corpus import BEGIN_US, MINUTE_US, Maker
from tests.transcripts.habits import AGENTS, everything
from tests.transcripts.laptop import Laptop

COMMANDS = (
    *("status", "status --json", "verify", "verify --json", "doctor", "compact", "statusline"),
    *("dead-letters list --limit 0", "dead-letters list --json", "dead-letters retry"),
    *("reprice --dry-run --json", "reprice", "prices check --json"),
    *(
        f"report --since always --by {by} --format {form}"
        for by in ("session", "model", "source", "repo")
        for form in ("table", "json", "csv")
    ),
)


def hostile_lines(make: Maker) -> list[bytes]:
    """Lines with what was said where the program looks for something else."""
    session = Session(make.random, make.texts, make.uuid(), cwd="/w")
    call = make.claude_call(session.session_id, BEGIN_US)
    session.answer(call)
    told = json.loads(session.lines[-1])
    said: dict[str, Any] = {f"{SAID} is no count": 1, "service_tier": f"{SAID} is no tier"}
    said |= {"speed": f"{SAID} is no speed", "inference_geo": f"{SAID} no place", "note": SAID}
    usage = told["message"]["usage"] | said | {"iterations": [{"type": SAID, "note": SAID}]}
    odd = [
        told | {"message": told["message"] | {"usage": usage, "id": "msg_odd", "type": SAID}},
        told | {"message": told["message"] | {"id": f"{SAID} is no id"}},
        told | {"message": told["message"] | {"id": {"said": SAID}}},
        told | {"timestamp": f"{SAID} is no time", "message": told["message"] | {"id": "msg_b"}},
        told | {"message": told["message"] | {"id": "msg_c", "usage": {"input_tokens": SAID}}},
        told | {"message": told["message"] | {"id": "msg_d", "usage": SAID}},
        told | {"message": SAID, "usage": {"input_tokens": 1}},
    ]
    lines = [json.dumps(line).encode() + b"\n" for line in odd]
    return [
        *lines,
        b'{"usage" ' + SAID.encode() + b"\xff\n",
        b'["usage", "' + SAID.encode() + b'"]\n',
    ]


def hostile_rollout(make: Maker) -> bytes:
    thread = Thread(make.random, make.texts, make.uuid(), at_us=BEGIN_US, thread_source=SAID)
    thread.turn(BEGIN_US, "gpt-5")
    thread.call(make.codex_call(thread.thread_id, BEGIN_US + MINUTE_US, "gpt-5"))
    count = json.loads(thread.lines[-1])
    odd = [
        count | {"timestamp": f"{SAID} is no time", "payload": count["payload"] | {"x": SAID}},
        count | {"payload": {"type": "token_count", "info": {"total_token_usage": {"x": SAID}}}},
        count | {"payload": {"type": "token_count", "info": {"total_token_usage": SAID}}},
        count | {"payload": {"type": "token_count", "info": SAID}},
        {"type": "session_meta", "payload": {"note": SAID}},
        {"type": "turn_context", "payload": SAID},
        {"type": SAID, "payload": {"type": "token_count", "said": SAID}},
    ]
    long = {"type": "event_msg", "payload": {"type": "token_count", "said": SAID * 9999}}
    lines = [json.dumps(line).encode() + b"\n" for line in (*odd, long)]
    torn = b'{"type":"turn_context","payload":{"said":"' + SAID.encode() + b"\n"
    return thread.content + b"".join(lines) + torn


def anywhere(folder: Path, word: bytes) -> list[str]:
    """The files below this folder that hold the word."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and word in path.read_bytes()
    ]


def take_all(laptop: Laptop) -> None:
    make = Maker(7)
    for agent in AGENTS:
        laptop.take(everything(agent))
    (laptop.place("claude_code") / "odd.jsonl").write_bytes(b"".join(hostile_lines(make)))
    (laptop.place("codex") / "sessions/rollout-odd.jsonl").write_bytes(hostile_rollout(make))


@pytest.mark.long
def test_nothing_that_was_said_is_kept_or_told(laptop: Laptop) -> None:
    laptop.config.write_text(laptop.config.read_text() + "[logs]\nmax_line_bytes = 100_000\n")
    take_all(laptop)
    done = laptop.command("run", "--once")
    assert done.returncode == 0, done.stderr
    assert laptop.counters().dead_letters > 5
    assert laptop.query("SELECT DISTINCT raw FROM dead_letter") == [b""]
    said = [done]
    said += [laptop.command(*line.split()) for line in COMMANDS]
    said.append(laptop.command("sql", "FROM calls", "--format", "json"))
    told = b"".join(one.stdout + one.stderr for one in said)
    assert b"gpt-5-codex" in told
    assert SAID.encode() not in told
    assert list((laptop.home / "parquet").rglob("*.parquet"))
    assert anywhere(laptop.home, SAID.encode()) == []


@pytest.mark.long
def test_nothing_that_was_said_is_in_the_files_of_a_daemon_that_runs(
    laptop: Laptop, wait_until: Callable[..., Any], tmp_path: Path
) -> None:
    """Its write-ahead log and its own log as well, while it runs and after it was killed."""
    take_all(laptop)
    with (tmp_path / "log").open("wb") as log:
        process = laptop.popen("run", stdout=log, stderr=log)
        try:
            lines = sum(map(len, (everything(agent).calls for agent in AGENTS)))
            wait_until(
                lambda: laptop.ledger.exists() and laptop.counters().traces >= lines, "all calls"
            )
            assert (laptop.home / "prodlens.db-wal").exists()
            assert anywhere(laptop.home, SAID.encode()) == []
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(100)
    assert anywhere(laptop.home, SAID.encode()) == []
    assert SAID.encode() not in (tmp_path / "log").read_bytes()


def test_the_search_finds_what_is_there(laptop: Laptop) -> None:
    take_all(laptop)
    files = list(laptop.user.rglob("*.jsonl"))
    assert len(files) > 30
    assert len(anywhere(laptop.user, SAID.encode())) == len(files)
