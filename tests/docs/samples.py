"""Made-up calls for the `console` blocks of the manual, one function a sample.

A page names a sample above a block, `<!-- sample: team -->`. It writes log lines into the default
log folder of the given $PRODLENSD_HOME and has the program read them. The calls are of October 2025
and come from a seed, and the host has a name, so that a page prints the same every day everywhere.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

_MONDAY: Final = datetime(2025, 10, 6, tzinfo=UTC)
_PATIENCE_S: Final = 100


def three(home: Path) -> None:
    """The three calls of `prodlensd demo`: two developers, priced from the table."""
    calls = (
        ("abc123", "dev@example.com", "claude-3-5-sonnet-20241022", 250, 150, 1234.5),
        ("abc124", "dev@example.com", "claude-3-5-haiku-latest", 100, 50, 567.8),
        ("xyz789", "alice@example.com", "claude-3-opus-20240229", 500, 300, 2345.6),
    )
    _ingest(
        home,
        {
            "litellm-traces-2025-10-12.jsonl": [
                json.dumps(
                    {
                        "timestamp": f"2025-10-12T19:{5 * number:02}:00Z",
                        "attributes": {
                            "llm.model_name": f"anthropic/{model}",
                            "status_code": 200,
                            "latency_ms": latency_ms,
                        },
                        "usage": {"input_tokens": tokens_in, "output_tokens": tokens_out},
                        "metadata": {
                            "session_id": f"session-{session}",
                            "developer_id": developer,
                            "repo": "test/prodlens-demo",
                        },
                    }
                )
                for number, (session, developer, model, tokens_in, tokens_out, latency_ms)
                in enumerate(calls)
            ]
        },
    )  # fmt: skip


def team(home: Path) -> None:
    """A week of five developers behind one proxy: retries, failures, a model without a price."""
    _ingest(home, dict(_days(random.Random(11), days=5)))  # noqa: S311 - made up, and repeatable


def refused(home: Path) -> None:
    """Two calls, and three lines that cannot be read: a torn one, a list and a foreign object."""
    calls = list(_calls(random.Random(5), _MONDAY, count=2))  # noqa: S311
    bad = ['{"timestamp":"2025-10-06T09:00:00Z","usa', "[1, 2, 3]", '{"event":"server started"}']
    _ingest(home, {"my-tool.jsonl": [*calls, *bad]})


def history(home: Path) -> None:
    """Two exports of spend logs that overlap, beside the home folder; one row is damaged."""
    rows = [json.dumps(_row(number)) for number in range(300)]
    folder = home.parents[2]
    (folder / "october.jsonl").write_text("\n".join(rows[:200]) + "\n", encoding="utf-8")
    last = ",\n".join(
        [*rows[150:], '{"request_id": "chatcmpl-300", "startTime": "", "call_type": ""}']
    )
    (folder / "november.json").write_text(f"[{last}]\n", encoding="utf-8")


def _row(number: int) -> dict[str, Any]:
    start = (_MONDAY + timedelta(hours=3 * number)).isoformat(timespec="milliseconds")
    return {
        "request_id": f"chatcmpl-{number}",
        "call_type": "acompletion",
        "startTime": start,
        "endTime": start,
        "model": "openai/gpt-4o-mini",
        "custom_llm_provider": "openai",
        "spend": 0.0045,
        "prompt_tokens": 20_000,
        "completion_tokens": 2_500,
        "total_tokens": 22_500,
        "user": "ana@example.com",
        "status": "success",
        "metadata": {"user_api_key_team_alias": "platform"},
    }


def searches(home: Path) -> None:
    """One call with web searches, fast mode and cache writes of an hour, which nobody billed."""
    call = {
        "timestamp": "2026-11-02T12:00:00Z",
        "id": "msg-7",
        "litellm_call_id": "call-7",
        "attributes": {"llm.model_name": "anthropic/claude-opus-4-8", "status": "success"},
        "usage": {
            "input_tokens": 1200,
            "output_tokens": 800,
            "cache_read_input_tokens": 30_000,
            "cache_creation_input_tokens": 5000,
            "cache_creation": {"ephemeral_1h_input_tokens": 5000},
            "server_tool_use": {"web_search_requests": 3},
            "speed": "fast",
        },
    }
    _ingest(home, {"litellm-traces-2026-11-02.jsonl": [json.dumps(call)]})


def deployment(home: Path) -> None:
    """Twelve calls of a deployment whose price nobody knows; seven on which two prices differ."""
    private = _Model("azure/my-deployment", 0.0, 0.0, 0.0)
    dear = _Model("anthropic/claude-sonnet-4-5", 9.0, 45.0, 9.0)  # three times its list price
    lines = [
        _line(
            start=_MONDAY + timedelta(hours=9, minutes=5 * number),
            ids=(f"resp-{number:02}", f"call-{number:02}"),
            model=private if number < 12 else dear,
            tokens=(12_000, 0, 800),
            who=("ana@example.com", "s-1", "acme/web"),
        )
        for number in range(19)
    ]
    _ingest(home, {"litellm-traces-2025-10-06.jsonl": lines})


class _Model(NamedTuple):
    """A model as LiteLLM names it, and what the gateway asks per million tokens, in dollars."""

    name: str
    input_usd: float
    output_usd: float
    cache_read_usd: float


_MODELS: Final = (
    _Model("anthropic/claude-sonnet-4-5", 3.0, 15.0, 0.3),
    _Model("anthropic/claude-opus-4-1", 15.0, 75.0, 1.5),
    _Model("openai/gpt-5-mini", 0.25, 2.0, 0.025),
    _Model("azure/my-deployment", 0.0, 0.0, 0.0),  # LiteLLM says 0.0 where it knows no price
)
#: How often each of the models is asked.
_SHARES: Final = (60, 12, 26, 2)
#: A developer, the repository they work on, and how many requests they make on a usual day.
_DEVELOPERS: Final = (
    ("ana@example.com", "acme/web", 70),
    ("ben@example.com", "acme/web", 45),
    ("chloé@example.com", "acme/api", 60),
    ("dev@example.com", "acme/infra", 20),
    ("eri@example.com", "acme/docs", 8),
)


def _days(chance: random.Random, days: int) -> Iterator[tuple[str, list[str]]]:
    """The log file of each day, by its name, and its lines in the order of time."""
    for number in range(days):
        day = _MONDAY + timedelta(days=number)
        count = sum(calls for *_, calls in _DEVELOPERS) + chance.randrange(-40, 40)
        yield f"litellm-traces-{day:%Y-%m-%d}.jsonl", list(_calls(chance, day, count))


def _calls(chance: random.Random, day: datetime, count: int) -> Iterator[str]:
    """The calls for `count` requests of one working day: every other failed one is tried again."""
    weights = [calls for *_, calls in _DEVELOPERS]
    start = day + timedelta(hours=8)
    for number in range(count):
        start += timedelta(seconds=chance.randrange(20, 240))
        developer, repo, _ = chance.choices(_DEVELOPERS, weights)[0]
        (model,) = chance.choices(_MODELS, _SHARES)
        tokens_in = chance.randrange(2_000, 60_000)
        tokens = (tokens_in, chance.randrange(tokens_in), chance.randrange(50, 2_500))
        session = f"{developer.partition('@')[0]}-{day:%m%d}-{number // 60}"
        failed = chance.random() < 0.04
        for attempt in range(1 + (failed and number % 2)):
            yield _line(
                start=start + timedelta(seconds=10 * attempt),
                ids=(f"resp-{day:%m%d}-{number:03}-{attempt}", f"call-{day:%m%d}-{number:03}"),
                model=model,
                tokens=None if failed and attempt == 0 else tokens,
                who=(developer, session, repo),
                latency_ms=chance.randrange(600, 9_000),
            )


def _line(
    start: datetime,
    ids: tuple[str, str],
    model: _Model,
    tokens: tuple[int, int, int] | None,
    who: tuple[str, str, str],
    latency_ms: int = 1_200,
) -> str:
    """A trace line as the callback writes it; `tokens` are all input, cached, output, or None."""
    developer, session, repo = who
    usage: dict[str, Any] = {}
    cost_usd = 0.0
    if tokens is not None:
        tokens_in, cached, tokens_out = tokens
        usage = {
            "prompt_tokens": tokens_in,
            "completion_tokens": tokens_out,
            "total_tokens": tokens_in + tokens_out,
            "prompt_tokens_details": {"cached_tokens": cached},
        }
        cost_usd = (
            (tokens_in - cached) * model.input_usd
            + cached * model.cache_read_usd
            + tokens_out * model.output_usd
        ) / 1e6
    outcome = {"status": "success", "status_code": 200}
    if tokens is None:
        outcome = {"status": "failure", "status_code": 429, "error_class": "RateLimitError"}
    return json.dumps(
        {
            "timestamp": f"{start:%Y-%m-%dT%H:%M:%S.%fZ}",
            "id": ids[0],
            "litellm_call_id": ids[1],
            "cost_usd": round(cost_usd, 9),
            "attributes": {
                "llm.model_name": model.name,
                "provider": model.name.partition("/")[0],
                "latency_ms": latency_ms,
                **outcome,
            },
            "usage": usage,
            "metadata": {
                "session_id": session,
                "developer_id": developer,
                "developer_via": "key_user",
                "repo": repo,
            },
        }
    )


def _ingest(home: Path, logs: dict[str, list[str]]) -> None:
    folder = home / "logs"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = home / "sample.toml"
    config.write_text('host = "laptop-07"\n', encoding="utf-8")
    for name, lines in logs.items():
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "prodlensd", "run", "--once", "--config", str(config)],
        env=os.environ | {"PRODLENSD_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=_PATIENCE_S,
        check=True,
    )
    config.unlink()
