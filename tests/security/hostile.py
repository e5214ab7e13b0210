"""What hostile people write, lines that hold it in every field, and what must never come of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.forked import forked_raw

#: As the installed command starts: with nothing of the current folder in its path.
COMMAND = (sys.executable, "-P", "-m", "prodlensd")

CANARY = "canary-which-nobody-may-see"

HOSTILE = {
    "colour": "\x1b[31mred\x1b[0m",
    "title": "\x1b]0;owned\x07",
    "link": "\x1b]8;;http://evil.example/\x1b\\click\x1b]8;;\x1b\\",
    "clipboard": "\x1b]52;c;cm0gLXJmIH4=\x07",
    "c1": "\x9b31m\x9d0;owned\x9c",
    "delete": "rm\x7f\x08\x08",
    "bidi": "a\u202egpj.exe\u202c\u2066x\u2069",
    "journal": "a\nPRIORITY=0\nMESSAGE=forged",
    "syslog": "a\n<0>prodlensd: all is lost",
    "log": 'a"}\n{"event":"forged","level":"critical"}',
    "return": "a\r\nstopped",
    "separators": "a\x85b\u2028c\u2029d\x0b\x0c",
    "nul": "a\0b",
    "sql": "a'); DROP TABLE trace; DELETE FROM dead_letter; --",
    "glob": "*[?]*' OR 1=1",
    "format": "%s%n{0}{0.__class__.__mro__}${HOME}",
    "shell": "$(touch pwned)`touch pwned`;touch pwned|touch pwned&",
    "formula": "=HYPERLINK(1)|cmd",
    "path": "../../../../../../tmp/pwned",
    "invisible": "a\u200b\u2060\ufeff\U000e0041b",
    "long": "A" * 20_000,
    "surrogate": "a\ud800b\udfff",
}
#: Those that can be a file's name, and be said on a command line.
NAMES = {
    name: text
    for name, text in HOSTILE.items()
    if not {"\0", "/"} & set(text) and len(text) < 200 and name != "surrogate"
}
TEXTS = {name: text for name, text in HOSTILE.items() if name not in ("nul", "surrogate")}


def said_harmlessly(said: bytes) -> str:
    """What a program printed, once it is sure that it steers nothing and is on lines of its own."""
    text = said.decode()
    harmful = {
        f"U+{ord(char):04X}"
        for char in text
        if char != "\n" and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    }
    assert not harmful, f"{sorted(harmful)} in {text!a:.2000}"
    lines = text.splitlines()
    forged = ("PRIORITY=", "MESSAGE=", "<0>", "stopped", '{"event":"forged"')
    assert not [line for line in lines if line.startswith(forged)]
    return text


def toml(text: str) -> str:
    """The text as TOML has it."""
    return '"' + "".join(f"\\U{ord(char):08x}" for char in text) + '"'


# Lines -------------------------------------------------------------------------------------------


def trace_line(number: int, text: str, **more: Any) -> dict[str, Any]:
    names = ("llm.model_name", "provider", "call_type", "status", "service_tier", "error_class")
    who = ("session_id", "session_via", "developer_id", "developer_via", "repo", "end_user")
    return {
        "timestamp": f"2026-11-22T18:00:00.{number:06d}Z",
        "attributes": dict.fromkeys((*names, "model_group", "latency_ms", text[:40]), text),
        "usage": {"input_tokens": 10, "output_tokens": 5, text[:40]: text},
        "metadata": dict.fromkeys((*who, "team", "key_alias", "key_hash"), text)
        | {"tags": [text, f"repo:{text}"]},
        text[:40]: text,
    } | more


def payload(number: int, text: str, **more: Any) -> dict[str, Any]:
    keys = ("user_id", "user_email", "team_alias", "team_id", "alias", "hash", "end_user_id")
    who = dict.fromkeys((f"user_api_key_{key}" for key in keys), text)
    return {
        "startTime": 1795456801 + number / 1000,
        "endTime": 1795456802 + number / 1000,
        "status": "success",
        "error_information": {"error_class": text, "error_code": text},
        "metadata": who
        | {
            "requester_metadata": {"session_id": text, "developer_id": text, "repo": text},
            "requester_custom_headers": {"x-prodlens-repo": text, "x-litellm-session-id": text},
            "usage_object": {"prompt_tokens": 10, "completion_tokens": 5, "service_tier": text},
        },
        "request_tags": [text],
        **dict.fromkeys(("id", "litellm_call_id", "trace_id", "session_id", "call_type"), text),
        **dict.fromkeys(("model", "model_group", "custom_llm_provider", "end_user"), text),
    } | more


def span(number: int, text: str, **more: Any) -> dict[str, Any]:
    names = ("gen_ai.response.model", "gen_ai.provider.name", "session.id", "user.id", "enduser.id")
    others = ("openai.response.service_tier", "error.type", "gen_ai.response.id")
    return {
        "name": text,
        "context": {"trace_id": text, "span_id": f"{number:016x}"},
        "start_time": f"2026-11-22T18:00:02.{number:06d}Z",
        "end_time": text,
        "status": {"status_code": "ERROR", "description": text},
        "attributes": {"openinference.span.kind": "LLM", "tag.tags": [text]}
        | {"llm.token_count.prompt": 10, "llm.token_count.completion": 5}
        | dict.fromkeys((*names, *others, "gen_ai.operation.name"), text),
        "events": [{"name": text, "attributes": {"exception.type": text}}],
        "resource": {"attributes": {"vcs.repository.url.full": text}},
    } | more


def event(number: int, text: str, **more: Any) -> dict[str, Any]:
    names = ("model", "user.email", "team.id", "gen_ai.provider.name", "vcs.repository.url.full")
    others = ("session.id", "request_id", "event.sequence", "event.timestamp", "speed", "error")
    counts = {"input_tokens": "10", "output_tokens": "5", f"{text[:40]}_tokens": text}
    said = dict.fromkeys((*names, *others, "status_code", text[:40]), text) | counts
    return {
        "timeUnixNano": str(1795456803000000000 + number * 1000),
        "body": {"stringValue": "claude_code.api_error"},
        "attributes": [{"key": key, "value": {"stringValue": said[key]}} for key in said],
        "severityText": text,
        "resource": {"attributes": [{"key": text, "value": {"stringValue": text}}]},
    } | more


def spend_row(number: int, text: str, **more: Any) -> dict[str, Any]:
    names = ("call_type", "model", "model_group", "custom_llm_provider", "end_user", "session_id")
    others = ("user", "team_id", "api_key", "cache_hit", "status", "litellm_call_id", "api_base")
    keys = ("alias", "team_alias", "user_email", "user_id")
    about = dict.fromkeys((f"user_api_key_{key}" for key in keys), text) | {
        "error_information": {"error_class": text, "error_code": text},
        "spend_logs_metadata": {"repo": text},
        "additional_usage_values": {"service_tier": text, text[:40]: text},
    }
    return {
        "request_id": text[:100],
        "startTime": f"2026-11-22 18:00:03.{number:06d}",
        "endTime": text,
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "spend": text,
        "metadata": json.dumps(about),
        "request_tags": [text, f"repo:{text}"],
        **dict.fromkeys((*names, *others), text),
    } | more


FORMATS: tuple[Callable[..., dict[str, Any]], ...] = (trace_line, payload, span, event, spend_row)


def written(record: dict[str, Any]) -> bytes:
    """The record as JSON, which has an escape for everything, and once with as few as may be."""
    escaped = json.dumps(record).encode()
    try:
        return escaped + b"\n" + json.dumps(record, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return escaped + b"\n"


# Programs ----------------------------------------------------------------------------------------


class House:
    """A home folder, and the commands run there."""

    def __init__(self, home: Path, work: Path | None = None) -> None:
        self.home = home
        self.logs = home / "logs"
        self.ledger = home / "prodlens.db"
        self.work = work or home.with_name(f"{home.name}-work")
        self.work.mkdir()
        self.config = self.work.with_name("config.toml")  # and none of this machine's
        self.config.touch()
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PRODLENSD_", "LITELLM_"))
        } | {"PRODLENSD_HOME": str(home), "PRODLENSD_CONFIG": str(self.config)}

    def popen(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        options = {"env": self.environment, "cwd": self.work, **options}
        return subprocess.Popen([*COMMAND, *arguments], **options)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """Runs it to its end."""
        return forked_raw(*arguments, env=self.environment, cwd=self.work)

    def ingest(self) -> bytes:
        """What `run --once` logs; its jobs run within it."""
        done = forked_raw("run", "--once", env=self.environment, cwd=self.work)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def started(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        """The same with a start of the interpreter, where that is what could do harm."""
        options = {"env": self.environment, "cwd": self.work, "timeout": 100, **options}
        done: subprocess.CompletedProcess[bytes] = subprocess.run(
            [*COMMAND, *arguments], capture_output=True, check=False, **options
        )
        return done
